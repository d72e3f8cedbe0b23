/**
 * Starting, stopping and retrying executions: what is refused, and why.
 */
import { randomUUID } from "node:crypto";
import type * as sdk from "@aws-sdk/client-codepipeline";
import { AwsError, notImplemented, type Cloud } from "../../core/definitions";
import { Execution, remember, stageIndex, type Pipeline } from "./store";
import { checkLength, validation } from "./structure";

const CONCURRENT_EXECUTIONS = 50;
const VARIABLE_VALUE = 1_000;
const STOP_REASON = 200;

type StartInput = Partial<sdk.StartPipelineExecutionCommandInput>;

/** Also for executions that nobody has asked for: the one that creates a pipeline, and those of a changed source. */
export function startExecution(
  cloud: Cloud,
  pipeline: Pipeline,
  trigger: sdk.ExecutionTrigger,
  input: StartInput = {},
): Execution {
  const running = [...pipeline.executions.values()].filter((execution) => execution.running);
  if (pipeline.declaration.executionMode === "QUEUED" && running.length >= CONCURRENT_EXECUTIONS) {
    throw new AwsError(
      "ConcurrentPipelineExecutionsLimitExceededException",
      `Pipeline ${pipeline.name} has ${running.length} executions in progress, the limit is ${CONCURRENT_EXECUTIONS}`,
    );
  }
  const execution = new Execution(
    randomUUID(),
    pipeline,
    pipeline.declaration,
    trigger,
    resolveVariables(pipeline, input.variables ?? [], trigger.triggerType === "StartPipelineExecution"),
    checkedRevisions(pipeline, input.sourceRevisions ?? []),
    cloud.clock.now(),
  );
  remember(pipeline, execution);
  if (input.clientRequestToken !== undefined) pipeline.tokens.set(input.clientRequestToken, execution);
  cloud.stores.codepipeline.runner.start(execution);
  return execution;
}

/** A variable without a default is required, but for an execution that nobody has asked for. */
function resolveVariables(
  { declaration }: Pipeline,
  given: readonly sdk.PipelineVariable[],
  asked: boolean,
): sdk.ResolvedPipelineVariable[] {
  const declared = declaration.variables ?? [];
  const unknown = given.find(({ name }) => declared.every((variable) => variable.name !== name));
  if (unknown !== undefined) throw validation(`Variable ${unknown.name} is not declared by the pipeline`);
  for (const { value } of given) checkLength("variables.member.value", value, VARIABLE_VALUE);
  return declared.flatMap(({ name, defaultValue }) => {
    const resolvedValue = given.find((variable) => variable.name === name)?.value ?? defaultValue;
    if (resolvedValue !== undefined) return [{ name, resolvedValue }];
    if (!asked) return [];
    throw validation(`Value for the pipeline variable ${name} is required: it has no default value`);
  });
}

function checkedRevisions(
  { declaration }: Pipeline,
  revisions: readonly sdk.SourceRevisionOverride[],
): readonly sdk.SourceRevisionOverride[] {
  const sources = declaration.stages?.[0]?.actions?.map(({ name }) => name) ?? [];
  for (const { actionName, revisionType } of revisions) {
    if (!sources.includes(actionName)) throw validation(`sourceRevisions: there is no source action ${actionName}`);
    if (revisionType !== "S3_OBJECT_VERSION_ID") throw notImplemented(`sourceRevisions.revisionType ${revisionType}`);
  }
  return revisions;
}

export function stopExecution(cloud: Cloud, execution: Execution, abandon: boolean, reason: string | undefined): void {
  checkLength("reason", reason, STOP_REASON);
  const { runner } = cloud.stores.codepipeline;
  if (!execution.running) {
    throw new AwsError(
      "PipelineExecutionNotStoppableException",
      `Unable to stop pipeline execution '${execution.id}': its status is ${execution.status}`,
    );
  }
  if (execution.status === "Stopping" && !abandon) {
    throw new AwsError("DuplicatedStopRequestException", `Pipeline execution '${execution.id}' is already stopping`);
  }
  execution.stopReason = reason;
  if (abandon) runner.cut(execution, "Stopped");
  else runner.stopAndWait(execution);
}

export function retryStage(
  cloud: Cloud,
  pipeline: Pipeline,
  execution: Execution,
  stageName: string,
  mode: sdk.StageRetryMode,
): void {
  const index = stageIndex(pipeline.declaration, stageName);
  if (index < 0) {
    throw new AwsError(
      "StageNotFoundException",
      `Pipeline '${pipeline.name}' does not have a stage named '${stageName}'`,
    );
  }
  const refuse = (why: string): AwsError =>
    new AwsError(
      "StageNotRetryableException",
      `Unable to retry stage ${stageName} of execution ${execution.id}: ${why}`,
    );
  if (execution.declaration !== pipeline.declaration) throw refuse("the structure of the pipeline has changed");
  const stage = execution.stages.get(stageName);
  if (stage === undefined) throw refuse("the execution has not reached it");
  if (pipeline.latest.get(stageName) !== execution) {
    throw new AwsError(
      "NotLatestPipelineExecutionException",
      `Pipeline execution ${execution.id} is not the latest one in stage ${stageName}`,
    );
  }
  if (stage.status === "InProgress") {
    if (mode === "ALL_ACTIONS") throw refuse("it is in progress");
    if (!someFailed(execution, stageName)) throw refuse("none of its actions has failed");
  } else if (stage.status !== "Failed" && stage.status !== "Stopped") {
    throw refuse(`its status is ${stage.status}`);
  } else if (execution.running) {
    throw refuse(`the execution's status is ${execution.status}`);
  }
  cloud.stores.codepipeline.runner.retry(execution, index, mode);
}

function someFailed(execution: Execution, stageName: string): boolean {
  const { stages = [] } = execution.declaration;
  const { actions = [] } = stages[stageIndex(execution.declaration, stageName)] ?? {};
  return actions.some(({ name }) => execution.latestRun(stageName, name)?.status === "Failed");
}

export function executionOf(pipeline: Pipeline, id: string | undefined): Execution {
  const execution = pipeline.executions.get(id ?? "");
  if (execution !== undefined) return execution;
  throw new AwsError(
    "PipelineExecutionNotFoundException",
    `Pipeline execution with ID ${id} could not be found in pipeline '${pipeline.name}'`,
  );
}
