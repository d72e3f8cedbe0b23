/**
 * CodePipeline: pipelines of type V2 in QUEUED mode, whose actions move real zips and start real builds.
 */
import * as model from "@aws-sdk/client-codepipeline";
import type { Install } from "../../core/definitions";
import { operations } from "./operations";
import { pipelineResource } from "./resources";
import { PipelineRunner } from "./runner";
import { CodePipelineStore } from "./store";

export const install: Install = (cloud) => {
  const runner = new PipelineRunner(cloud);
  cloud.stores.codepipeline = new CodePipelineStore(runner);
  cloud.onClose(() => runner.close());
  return {
    signingName: "codepipeline",
    protocol: "awsJson1_1",
    model,
    operations,
    resources: [pipelineResource],
    invokes: [],
  };
};
