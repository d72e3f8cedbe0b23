/**
 * The operations of CodePipeline.
 */
import type * as sdk from "@aws-sdk/client-codepipeline";
import { AwsError, notImplemented, operation, type Access, type Cloud, type Operation } from "../../core/definitions";
import { putApprovalResult } from "./approval";
import { describeActionRun, describeExecution, describeState, summarize } from "./describe";
import { executionOf, retryStage, startExecution, stopExecution } from "./executions";
import { newLocks, type Pipeline } from "./store";
import { checkDeclaration, checkLength, polls, validation } from "./structure";

/** "Quotas in AWS CodePipeline": of one account in one Region. */
const PIPELINES = 1_000;
const POLLING_PIPELINES = 300;
const TAGS = 50;
const APPROVAL_SUMMARY = 512;

const actionMembers = [
  "name",
  "actionTypeId",
  "runOrder",
  "configuration",
  "inputArtifacts.name",
  "outputArtifacts.name",
  "namespace",
  "timeoutInMinutes",
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
    handle: ({ pipeline: declaration, tags = [] }, { cloud, principal }) => {
      const created = createPipeline(cloud, declaration, tags);
      startExecution(cloud, created, { triggerType: "CreatePipeline", triggerDetail: principal.arn });
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
      if (pipeline !== undefined) {
        cloud.stores.codepipeline.polling.forget(pipeline);
        cancelAll(cloud, pipeline);
      }
      pipelines.delete(name ?? "");
      return {};
    },
  }),
  operation<sdk.StartPipelineExecutionCommandInput, sdk.StartPipelineExecutionCommandOutput>({
    name: "StartPipelineExecution",
    honours: ["name", "variables", "clientRequestToken", "sourceRevisions"],
    authorize: ({ name }, { cloud }) => onPipeline(cloud, "StartPipelineExecution", name),
    handle: (input, { cloud, principal }) => {
      const pipeline = cloud.stores.codepipeline.pipeline(input.name);
      const earlier = pipeline.tokens.get(input.clientRequestToken ?? "");
      const trigger = { triggerType: "StartPipelineExecution", triggerDetail: principal.arn } as const;
      const { id } = earlier ?? startExecution(cloud, pipeline, trigger, input);
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
  operation<sdk.PutApprovalResultCommandInput, sdk.PutApprovalResultCommandOutput>({
    name: "PutApprovalResult",
    honours: ["pipelineName", "stageName", "actionName", "token", "result"],
    authorize: ({ pipelineName, stageName, actionName }, { cloud }) =>
      onPipeline(cloud, "PutApprovalResult", `${pipelineName}/${stageName}/${actionName}`),
    handle: (input, { cloud, principal }) => {
      checkLength("result.summary", input.result?.summary, APPROVAL_SUMMARY);
      putApprovalResult(cloud, input, principal.arn);
      return { approvedAt: cloud.clock.now() };
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
      const all = [...pipeline.tags.filter(({ key }) => !given.has(key)), ...tags];
      checkTags(all);
      pipeline.tags = all;
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
  checkTags(tags);
  const { pipelines, polling } = cloud.stores.codepipeline;
  const name = declaration.name ?? "";
  if (pipelines.has(name)) {
    throw new AwsError(
      "PipelineNameInUseException",
      `A pipeline with the name '${name}' already exists in account '${cloud.account}'`,
    );
  }
  checkRole(cloud, declaration);
  if (pipelines.size >= PIPELINES) throw limitExceeded(`The account has ${PIPELINES} pipelines already`);
  const sources = declaration.stages?.[0]?.actions ?? [];
  if (sources.some(polls) && polling.pipelines >= POLLING_PIPELINES) {
    throw limitExceeded(`The account has ${POLLING_PIPELINES} pipelines already that poll for changes`);
  }
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
  polling.watch(pipeline);
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
  cloud.stores.codepipeline.polling.watch(pipeline);
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
  const executionMode = given?.executionMode ?? "SUPERSEDED";
  return { ...given, name: given?.name, roleArn: given?.roleArn, executionMode, stages, version };
}

function checkTags(tags: readonly sdk.Tag[]): void {
  if (tags.length <= TAGS) return;
  throw new AwsError("TooManyTagsException", `A pipeline has at most ${TAGS} tags, not ${tags.length}`);
}

function limitExceeded(message: string): AwsError {
  return new AwsError("LimitExceededException", message);
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

// Pages ---------------------------------------------------------------------------------------------------------------

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
