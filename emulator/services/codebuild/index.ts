/**
 * CodeBuild: projects, and builds that run real commands in real shells.
 */
import model = require("@aws-sdk/client-codebuild");
import type { Install } from "../../core/definitions";
import { operations } from "./operations";
import { projectResource } from "./resources";
import { CodeBuildStore } from "./store";

export const install: Install = (cloud) => {
  const store = new CodeBuildStore();
  cloud.stores.codebuild = store;
  cloud.onClose(async () => {
    await Promise.all(store.running().map((run) => run.end("STOPPED")));
  });
  return {
    signingName: "codebuild",
    protocol: "awsJson1_1",
    model,
    operations,
    resources: [projectResource],
    invokes: [],
  };
};
