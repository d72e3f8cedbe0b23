/**
 * Executions and pipelines as the API shows them.
 */
import type {
  ActionExecutionDetail,
  ActionState,
  GetPipelineStateCommandOutput,
  PipelineExecution,
  PipelineExecutionSummary,
  StageState,
} from "@aws-sdk/client-codepipeline";
import type { NamedObject } from "../codebuild/store";
import type { ActionRun, Execution, Pipeline } from "./store";

export function describeExecution(execution: Execution): PipelineExecution {
  return {
    pipelineName: execution.pipeline.name,
    pipelineVersion: execution.declaration.version,
    pipelineExecutionId: execution.id,
    status: execution.status,
    statusSummary: execution.stopReason,
    artifactRevisions: execution.revisions.map(({ actionName: _actionName, ...revision }) => revision),
    variables: [...execution.variables],
    trigger: execution.trigger,
    executionMode: execution.declaration.executionMode,
    executionType: "STANDARD",
  };
}

export function summarize(execution: Execution): PipelineExecutionSummary {
  return {
    pipelineExecutionId: execution.id,
    status: execution.status,
    statusSummary: execution.stopReason,
    startTime: execution.startTime,
    lastUpdateTime: execution.lastUpdateTime,
    sourceRevisions: execution.revisions.map(({ actionName, revisionId, revisionSummary, revisionUrl }) => ({
      actionName,
      revisionId,
      revisionSummary,
      revisionUrl,
    })),
    trigger: execution.trigger,
    ...(execution.stopReason !== undefined && { stopTrigger: { reason: execution.stopReason } }),
    executionMode: execution.declaration.executionMode,
    executionType: "STANDARD",
  };
}

export function describeActionRun(execution: Execution, run: ActionRun): ActionExecutionDetail {
  const { action } = run;
  return {
    pipelineExecutionId: execution.id,
    actionExecutionId: run.id,
    pipelineVersion: execution.declaration.version,
    stageName: run.stage,
    actionName: action.name,
    startTime: run.startTime,
    lastUpdateTime: run.lastUpdateTime,
    status: run.status,
    input: {
      actionTypeId: action.actionTypeId,
      configuration: action.configuration,
      resolvedConfiguration: run.resolvedConfiguration,
      roleArn: run.roleArn,
      region: execution.pipeline.arn.split(":")[3],
      inputArtifacts: run.inputs.map(artifactDetail),
      namespace: action.namespace,
    },
    output: {
      outputArtifacts: run.status === "Succeeded" ? run.outputs.map(artifactDetail) : [],
      executionResult: run.result,
      outputVariables: run.outputVariables,
    },
  };
}

function artifactDetail({ name, bucket, key }: NamedObject) {
  return { name, s3location: { bucket, key } };
}

export function describeState(pipeline: Pipeline): Omit<GetPipelineStateCommandOutput, "$metadata"> {
  return {
    pipelineName: pipeline.name,
    pipelineVersion: pipeline.declaration.version,
    stageStates: (pipeline.declaration.stages ?? []).map(({ name = "", actions = [] }) => ({
      ...stageState(pipeline, name),
      actionStates: actions.map((action) => actionState(pipeline, name, action.name ?? "")),
    })),
    created: pipeline.created,
    updated: pipeline.updated,
  };
}

function stageState(pipeline: Pipeline, stageName: string): StageState {
  const waiting = pipeline.locks.get(stageName)?.waiting ?? [];
  const inbound = waiting.map(({ id }) => ({ pipelineExecutionId: id, status: "InProgress" as const }));
  const latest = pipeline.latest.get(stageName);
  const stage = latest?.stages.get(stageName);
  return {
    stageName,
    ...(inbound[0] !== undefined && { inboundExecution: inbound[0], inboundExecutions: inbound }),
    inboundTransitionState: { enabled: true },
    ...(latest !== undefined &&
      stage !== undefined && {
        latestExecution: { pipelineExecutionId: latest.id, status: stage.status, type: "STANDARD" as const },
        ...(stage.retries > 0 && {
          retryStageMetadata: {
            manualStageRetryAttempt: stage.retries,
            latestRetryTrigger: "ManualStageRetry" as const,
          },
        }),
      }),
  };
}

/** What the action did last, in whichever execution. */
function actionState(pipeline: Pipeline, stage: string, actionName: string): ActionState {
  const newest = [...pipeline.executions.values()].reverse();
  const execution = newest.find((candidate) => candidate.latestRun(stage, actionName) !== undefined);
  const run = execution?.latestRun(stage, actionName);
  if (execution === undefined || run === undefined) return { actionName };
  const { externalExecutionId, externalExecutionUrl, externalExecutionSummary, errorDetails } = run.result;
  const revision = execution.revisions.find((candidate) => candidate.actionName === actionName);
  return {
    actionName,
    ...(revision !== undefined && {
      currentRevision: {
        revisionId: revision.revisionId,
        revisionChangeId: revision.revisionChangeIdentifier,
        created: revision.created,
      },
      revisionUrl: revision.revisionUrl,
    }),
    latestExecution: {
      actionExecutionId: run.id,
      status: run.status,
      lastStatusChange: run.lastUpdateTime,
      ...(externalExecutionSummary !== undefined && { summary: externalExecutionSummary }),
      ...(externalExecutionId !== undefined && { externalExecutionId }),
      ...(externalExecutionUrl !== undefined && { externalExecutionUrl }),
      ...(errorDetails !== undefined && { errorDetails }),
      ...(run.lastUpdatedBy !== undefined && { lastUpdatedBy: run.lastUpdatedBy }),
      ...(run.approval !== undefined && run.status === "InProgress" && { token: run.approval.token }),
    },
  };
}
