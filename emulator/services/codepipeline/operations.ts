/**
 * The operations of CodePipeline.
 */
import { randomUUID } from "node:crypto";
import type * as sdk from "@aws-sdk/client-codepipeline";
import {
  AwsError,
  notImplemented,
  operation,
  type Access,
  type Call,
  type Cloud,
  type Operation,
} from "../../core/definitions";
import { describeActionRun, describeExecution, describeState, summarize } from "./describe";
import { Execution, newLocks, stageIndex, type Pipeline } from "./store";
import { checkDeclaration, validation } from "./structure";

const CONCURRENT_EXECUTIONS = 50;

const actionMembers = [
  "name",
  "actionTypeId",
  "runOrder",
  "configuration",
  "inputArtifacts.name",
  "outputArtifacts.name",
  "namespace",
].map((member) => `pipeline.stages.actions.${member}`);

const pipelineMembers = [
  "pipeline.name",
  "pipeline.roleArn",
  "pipeline.artifactStore.type",
  "pipeline.artifactStore.location",
  "pipeline.stages.name",
  ...actionMembers,
  "pipeline.executionMode",
  "pipeline.pipelineType",
  "pipeline.variables",
];

export const operations: Operation[] = [
  operation<sdk.CreatePipelineCommandInput, sdk.CreatePipelineCommandOutput>({
    name: "CreatePipeline",
    honours: [...pipelineMembers, "tags"],
    authorize: ({ pipeline }, { cloud }) => withRole(cloud, "CreatePipeline", pipeline),
    handle: ({ pipeline: declaration, tags = [] }, call) => {
      const created = createPipeline(call.cloud, declaration, tags);
      startExecution(created, call, "CreatePipeline", {});
      return { pipeline: created.declaration, tags: created.tags };
    },
  }),
  operation<sdk.GetPipelineCommandInput, sdk.GetPipelineCommandOutput>({
    name: "GetPipeline",
    honours: ["name", "version"],
    authorize: ({ name }, { cloud }) => onPipeline(cloud, "GetPipeline", name),
    handle: ({ name, version }, { cloud }) => {
      const { declaration, arn, created, updated } = cloud.stores.codepipeline.pipeline(name);
      if (version !== undefined && version !== declaration.version)
        throw notImplemented("GetPipeline.version of the past");
      return { pipeline: declaration, metadata: { pipelineArn: arn, created, updated } };
    },
  }),
  operation<sdk.UpdatePipelineCommandInput, sdk.UpdatePipelineCommandOutput>({
    name: "UpdatePipeline",
    honours: [...pipelineMembers, "pipeline.version"],
    authorize: ({ pipeline }, { cloud }) => withRole(cloud, "UpdatePipeline", pipeline),
    handle: ({ pipeline: declaration }, { cloud }) => updatePipeline(cloud, declaration),
  }),
  operation<sdk.DeletePipelineCommandInput, sdk.DeletePipelineCommandOutput>({
    name: "DeletePipeline",
    honours: ["name"],
    authorize: ({ name }, { cloud }) => onPipeline(cloud, "DeletePipeline", name),
    handle: ({ name }, { cloud }) => {
      const { pipelines } = cloud.stores.codepipeline;
      const pipeline = pipelines.get(name ?? "");
      // A pipeline that is not there is no error.
      if (pipeline !== undefined) cancelAll(cloud, pipeline);
      pipelines.delete(name ?? "");
      return {};
    },
  }),
  operation<sdk.StartPipelineExecutionCommandInput, sdk.StartPipelineExecutionCommandOutput>({
    name: "StartPipelineExecution",
    honours: ["name", "variables", "clientRequestToken", "sourceRevisions"],
    authorize: ({ name }, { cloud }) => onPipeline(cloud, "StartPipelineExecution", name),
    handle: (input, call) => {
      const pipeline = call.cloud.stores.codepipeline.pipeline(input.name);
      const earlier = pipeline.tokens.get(input.clientRequestToken ?? "");
      const { id } = earlier ?? startExecution(pipeline, call, "StartPipelineExecution", input);
      return { pipelineExecutionId: id };
    },
  }),
  operation<sdk.StopPipelineExecutionCommandInput, sdk.StopPipelineExecutionCommandOutput>({
    name: "StopPipelineExecution",
    honours: ["pipelineName", "pipelineExecutionId", "abandon", "reason"],
    authorize: ({ pipelineName }, { cloud }) => onPipeline(cloud, "StopPipelineExecution", pipelineName),
    handle: (input, { cloud }) => {
      const pipeline = cloud.stores.codepipeline.pipeline(input.pipelineName);
      const execution = executionOf(pipeline, input.pipelineExecutionId);
      stopExecution(cloud, execution, input.abandon === true, input.reason);
      return { pipelineExecutionId: execution.id };
    },
  }),
  operation<sdk.RetryStageExecutionCommandInput, sdk.RetryStageExecutionCommandOutput>({
    name: "RetryStageExecution",
    honours: ["pipelineName", "stageName", "pipelineExecutionId", "retryMode"],
    authorize: ({ pipelineName, stageName }, { cloud }) =>
      onPipeline(cloud, "RetryStageExecution", `${pipelineName}/${stageName}`),
    handle: (input, { cloud }) => {
      const pipeline = cloud.stores.codepipeline.pipeline(input.pipelineName);
      const execution = executionOf(pipeline, input.pipelineExecutionId);
      retryStage(cloud, pipeline, execution, input.stageName ?? "", input.retryMode ?? "FAILED_ACTIONS");
      return { pipelineExecutionId: execution.id };
    },
  }),
  operation<sdk.GetPipelineStateCommandInput, sdk.GetPipelineStateCommandOutput>({
    name: "GetPipelineState",
    honours: ["name"],
    authorize: ({ name }, { cloud }) => onPipeline(cloud, "GetPipelineState", name),
    handle: ({ name }, { cloud }) => describeState(cloud.stores.codepipeline.pipeline(name)),
  }),
  operation<sdk.GetPipelineExecutionCommandInput, sdk.GetPipelineExecutionCommandOutput>({
    name: "GetPipelineExecution",
    honours: ["pipelineName", "pipelineExecutionId"],
    authorize: ({ pipelineName }, { cloud }) => onPipeline(cloud, "GetPipelineExecution", pipelineName),
    handle: (input, { cloud }) => {
      const pipeline = cloud.stores.codepipeline.pipeline(input.pipelineName);
      return { pipelineExecution: describeExecution(executionOf(pipeline, input.pipelineExecutionId)) };
    },
  }),
  operation<sdk.ListPipelineExecutionsCommandInput, sdk.ListPipelineExecutionsCommandOutput>({
    name: "ListPipelineExecutions",
    honours: ["pipelineName", "maxResults", "nextToken"],
    authorize: ({ pipelineName }, { cloud }) => onPipeline(cloud, "ListPipelineExecutions", pipelineName),
    handle: (input, { cloud }) => {
      const pipeline = cloud.stores.codepipeline.pipeline(input.pipelineName);
      const { items, nextToken } = page([...pipeline.executions.values()].reverse(), input);
      return { pipelineExecutionSummaries: items.map(summarize), ...nextToken };
    },
  }),
  operation<sdk.ListActionExecutionsCommandInput, sdk.ListActionExecutionsCommandOutput>({
    name: "ListActionExecutions",
    honours: ["pipelineName", "filter.pipelineExecutionId", "maxResults", "nextToken"],
    authorize: ({ pipelineName }, { cloud }) => onPipeline(cloud, "ListActionExecutions", pipelineName),
    handle: (input, { cloud }) => {
      const pipeline = cloud.stores.codepipeline.pipeline(input.pipelineName);
      const { items, nextToken } = page(actionRuns(pipeline, input.filter?.pipelineExecutionId), input);
      return { actionExecutionDetails: items, ...nextToken };
    },
  }),
  operation<sdk.ListTagsForResourceCommandInput, sdk.ListTagsForResourceCommandOutput>({
    name: "ListTagsForResource",
    honours: ["resourceArn"],
    authorize: ({ resourceArn }) => [{ action: "codepipeline:ListTagsForResource", resource: resourceArn ?? "" }],
    handle: ({ resourceArn }, { cloud }) => ({ tags: byArn(cloud, resourceArn).tags }),
  }),
  operation<sdk.TagResourceCommandInput, sdk.TagResourceCommandOutput>({
    name: "TagResource",
    honours: ["resourceArn", "tags"],
    authorize: ({ resourceArn }) => [{ action: "codepipeline:TagResource", resource: resourceArn ?? "" }],
    handle: ({ resourceArn, tags = [] }, { cloud }) => {
      const pipeline = byArn(cloud, resourceArn);
      const given = new Set(tags.map(({ key }) => key));
      pipeline.tags = [...pipeline.tags.filter(({ key }) => !given.has(key)), ...tags];
      return {};
    },
  }),
  operation<sdk.UntagResourceCommandInput, sdk.UntagResourceCommandOutput>({
    name: "UntagResource",
    honours: ["resourceArn", "tagKeys"],
    authorize: ({ resourceArn }) => [{ action: "codepipeline:UntagResource", resource: resourceArn ?? "" }],
    handle: ({ resourceArn, tagKeys = [] }, { cloud }) => {
      const pipeline = byArn(cloud, resourceArn);
      pipeline.tags = pipeline.tags.filter(({ key }) => !tagKeys.includes(key ?? ""));
      return {};
    },
  }),
];

// Pipelines -----------------------------------------------------------------------------------------------------------

function createPipeline(cloud: Cloud, given: sdk.PipelineDeclaration | undefined, tags: sdk.Tag[]): Pipeline {
  const declaration = normalized(given, 1);
  checkDeclaration(declaration);
  const { pipelines } = cloud.stores.codepipeline;
  const name = declaration.name ?? "";
  if (pipelines.has(name)) {
    throw new AwsError(
      "PipelineNameInUseException",
      `A pipeline with the name '${name}' already exists in account '${cloud.account}'`,
    );
  }
  checkRole(cloud, declaration);
  const now = cloud.clock.now();
  const pipeline: Pipeline = {
    name,
    arn: pipelineArn(cloud, name),
    created: now,
    updated: now,
    declaration,
    tags,
    executions: new Map(),
    locks: newLocks(declaration.stages ?? []),
    latest: new Map(),
    tokens: new Map(),
  };
  pipelines.set(name, pipeline);
  return pipeline;
}

/** Executions that are running are cancelled; their builds go on. */
function updatePipeline(
  cloud: Cloud,
  given: sdk.PipelineDeclaration | undefined,
): Omit<sdk.UpdatePipelineCommandOutput, "$metadata"> {
  const pipeline = cloud.stores.codepipeline.pipeline(given?.name);
  const declaration = normalized(given, (pipeline.declaration.version ?? 0) + 1);
  checkDeclaration(declaration);
  checkRole(cloud, declaration);
  cancelAll(cloud, pipeline);
  pipeline.declaration = declaration;
  pipeline.locks = newLocks(declaration.stages ?? []);
  pipeline.updated = cloud.clock.now();
  return { pipeline: declaration };
}

/** As GetPipeline shows it: defaults filled in. */
function normalized(given: sdk.PipelineDeclaration | undefined, version: number): sdk.PipelineDeclaration {
  const stages = (given?.stages ?? []).map((stage) => ({
    ...stage,
    actions: (stage.actions ?? []).map((action) => ({
      ...action,
      runOrder: action.runOrder ?? 1,
      configuration: action.configuration ?? {},
      inputArtifacts: action.inputArtifacts ?? [],
      outputArtifacts: action.outputArtifacts ?? [],
    })),
  }));
  return { ...given, name: given?.name, roleArn: given?.roleArn, stages, version };
}

function checkRole(cloud: Cloud, { roleArn = "" }: sdk.PipelineDeclaration): void {
  try {
    cloud.assumeRole(roleArn, "create", "codepipeline.amazonaws.com");
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    const message = `CodePipeline is not authorized to perform AssumeRole on role ${roleArn}`;
    throw new AwsError("InvalidStructureException", message);
  }
}

function cancelAll(cloud: Cloud, pipeline: Pipeline): void {
  // The newest first: a waiting one must not enter a stage that an older one leaves.
  const running = [...pipeline.executions.values()].reverse().filter((execution) => execution.running);
  for (const execution of running) cloud.stores.codepipeline.runner.cut(execution, "Cancelled");
}

// Executions ----------------------------------------------------------------------------------------------------------

function startExecution(
  pipeline: Pipeline,
  { cloud, principal }: Call,
  triggerType: sdk.TriggerType,
  input: Partial<sdk.StartPipelineExecutionCommandInput>,
): Execution {
  const running = [...pipeline.executions.values()].filter((execution) => execution.running);
  if (running.length >= CONCURRENT_EXECUTIONS) {
    throw new AwsError(
      "ConcurrentPipelineExecutionsLimitExceededException",
      `Pipeline ${pipeline.name} has ${running.length} executions in progress, the limit is ${CONCURRENT_EXECUTIONS}`,
    );
  }
  const execution = new Execution(
    randomUUID(),
    pipeline,
    pipeline.declaration,
    { triggerType, triggerDetail: principal.arn },
    resolveVariables(pipeline, input.variables ?? [], triggerType === "CreatePipeline"),
    checkedRevisions(pipeline, input.sourceRevisions ?? []),
    cloud.clock.now(),
  );
  pipeline.executions.set(execution.id, execution);
  if (input.clientRequestToken !== undefined) pipeline.tokens.set(input.clientRequestToken, execution);
  cloud.stores.codepipeline.runner.start(execution);
  return execution;
}

/** A variable without a default is required, but for the execution that creates the pipeline. */
function resolveVariables(
  { declaration }: Pipeline,
  given: readonly sdk.PipelineVariable[],
  creating: boolean,
): sdk.ResolvedPipelineVariable[] {
  const declared = declaration.variables ?? [];
  const unknown = given.find(({ name }) => declared.every((variable) => variable.name !== name));
  if (unknown !== undefined) throw validation(`Variable ${unknown.name} is not declared by the pipeline`);
  return declared.flatMap(({ name, defaultValue }) => {
    const resolvedValue = given.find((variable) => variable.name === name)?.value ?? defaultValue;
    if (resolvedValue !== undefined) return [{ name, resolvedValue }];
    if (creating) return [];
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

function stopExecution(cloud: Cloud, execution: Execution, abandon: boolean, reason: string | undefined): void {
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

function retryStage(
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

function executionOf(pipeline: Pipeline, id: string | undefined): Execution {
  const execution = pipeline.executions.get(id ?? "");
  if (execution !== undefined) return execution;
  throw new AwsError(
    "PipelineExecutionNotFoundException",
    `Pipeline execution with ID ${id} could not be found in pipeline '${pipeline.name}'`,
  );
}

/** Newest first. */
function actionRuns(pipeline: Pipeline, id: string | undefined): sdk.ActionExecutionDetail[] {
  const executions = id === undefined ? [...pipeline.executions.values()] : [executionOf(pipeline, id)];
  const runs = executions.flatMap((execution) => execution.actionRuns.map((run) => ({ execution, run })));
  runs.sort((a, b) => a.run.startTime.getTime() - b.run.startTime.getTime()).reverse();
  return runs.map(({ execution, run }) => describeActionRun(execution, run));
}

interface Paged {
  readonly maxResults?: number | undefined;
  readonly nextToken?: string | undefined;
}

function page<T>(all: readonly T[], { maxResults = 100, nextToken = "0" }: Paged) {
  const start = /^\d+$/.test(nextToken) ? Number(nextToken) : undefined;
  if (start === undefined)
    throw new AwsError("InvalidNextTokenException", "The next token was specified in an invalid format");
  if (maxResults < 1 || maxResults > 100)
    throw validation("Value at 'maxResults' failed to satisfy constraint: 1 to 100");
  const end = start + maxResults;
  return { items: all.slice(start, end), nextToken: end < all.length ? { nextToken: String(end) } : {} };
}

// Who may -------------------------------------------------------------------------------------------------------------

function pipelineArn({ partition, region, account }: Cloud, name: string): string {
  return `arn:${partition}:codepipeline:${region}:${account}:${name}`;
}

function onPipeline(cloud: Cloud, action: string, name: string | undefined): Access[] {
  return [{ action: `codepipeline:${action}`, resource: pipelineArn(cloud, name ?? "") }];
}

function withRole(cloud: Cloud, action: string, pipeline: sdk.PipelineDeclaration | undefined): Access[] {
  const context = { "iam:PassedToService": "codepipeline.amazonaws.com" };
  const passed = { action: "iam:PassRole", resource: pipeline?.roleArn ?? "", context };
  return [...onPipeline(cloud, action, pipeline?.name), passed];
}

function byArn(cloud: Cloud, arn: string | undefined): Pipeline {
  const found = [...cloud.stores.codepipeline.pipelines.values()].find((pipeline) => pipeline.arn === arn);
  if (found !== undefined) return found;
  throw new AwsError("ResourceNotFoundException", `The account does not have a resource with the ARN ${arn}`);
}
