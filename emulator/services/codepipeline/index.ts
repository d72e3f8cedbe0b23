/**
 * CodePipeline: pipelines of type V2, QUEUED or SUPERSEDED, whose actions move real zips and start real builds.
 */
import model = require("@aws-sdk/client-codepipeline");
import type { Install } from "../../core/definitions";
import { startExecution } from "./executions";
import { operations } from "./operations";
import { SourcePolling } from "./polling";
import { pipelineResource } from "./resources";
import { PipelineRunner } from "./runner";
import { CodePipelineStore } from "./store";

export const install: Install = (cloud) => {
  const runner = new PipelineRunner(cloud);
  const polling = new SourcePolling(cloud, (pipeline) => {
    startExecution(cloud, pipeline, { triggerType: "PollForSourceChanges" });
  });
  cloud.stores.codepipeline = new CodePipelineStore(runner, polling);
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
