/**
 * The events of executions, stages and actions, in the form of "Monitoring CodePipeline events".
 */
import type { Cloud } from "../../core/definitions";
import type { ActionRun, Execution } from "./store";

export type StageEvent = "STARTED" | "RESUMED" | "SUCCEEDED" | "FAILED" | "STOPPING" | "STOPPED" | "CANCELED";
type PipelineEvent = StageEvent | "SUPERSEDED";
export type ActionEvent = "STARTED" | "SUCCEEDED" | "FAILED" | "CANCELED" | "ABANDONED";

export function emitExecution(cloud: Cloud, execution: Execution, state: PipelineEvent): void {
  emit(cloud, execution, "Pipeline", {
    state,
    ...(execution.stopReason !== undefined && { "stop-execution-comments": execution.stopReason }),
  });
}

export function emitStage(cloud: Cloud, execution: Execution, stage: string, state: StageEvent): void {
  emit(cloud, execution, "Stage", { stage, state });
}

export function emitAction(cloud: Cloud, execution: Execution, run: ActionRun, state: ActionEvent): void {
  const { externalExecutionId, externalExecutionSummary, externalExecutionUrl, errorDetails } = run.result;
  emit(cloud, execution, "Action", {
    stage: run.stage,
    action: run.action.name,
    "action-execution-id": run.id,
    state,
    region: cloud.region,
    type: run.action.actionTypeId,
    "input-artifacts": run.inputs.map(({ name, bucket, key }) => ({ name, s3location: { bucket, key } })),
    "output-artifacts": run.outputs.map(({ name, bucket, key }) => ({ name, s3location: { bucket, key } })),
    ...(state !== "STARTED" && {
      "execution-result": {
        ...(externalExecutionId !== undefined && { "external-execution-id": externalExecutionId }),
        ...(externalExecutionUrl !== undefined && { "external-execution-url": externalExecutionUrl }),
        ...(externalExecutionSummary !== undefined && { "external-execution-summary": externalExecutionSummary }),
        ...(errorDetails?.code !== undefined && { "error-code": errorDetails.code }),
      },
    }),
  });
}

function emit(cloud: Cloud, execution: Execution, what: "Pipeline" | "Stage" | "Action", detail: object): void {
  const { pipeline, id, trigger, startTime, declaration, attempt } = execution;
  cloud.emit({
    source: "aws.codepipeline",
    detailType: `CodePipeline ${what} Execution State Change`,
    resources: [pipeline.arn],
    detail: {
      pipeline: pipeline.name,
      "execution-id": id,
      "start-time": startTime.toISOString(),
      ...(what === "Pipeline" && {
        "execution-trigger": { "trigger-type": trigger.triggerType, "trigger-detail": trigger.triggerDetail },
      }),
      version: declaration.version,
      "pipeline-execution-attempt": attempt,
      ...detail,
    },
  });
}
