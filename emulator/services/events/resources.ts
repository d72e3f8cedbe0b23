/** The `aws:cloudwatch/event*` resource types. */
import { randomBytes } from "node:crypto";
import {
  DeleteRuleCommand,
  DescribeRuleCommand,
  ListTagsForResourceCommand,
  ListTargetsByRuleCommand,
  PutRuleCommand,
  PutTargetsCommand,
  RemoveTargetsCommand,
  TagResourceCommand,
  Target,
  UntagResourceCommand,
} from "@aws-sdk/client-eventbridge";
import { AwsError, Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import { amount, block, compact, map, required, tagChanges, tagOutputs, tagPairs, text, unless } from "../properties";

const gone = ["ResourceNotFoundException"];

const eventRule: ResourceDefinition = {
  type: "aws:cloudwatch/eventRule:EventRule",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_cloudwatch_event_rule: name, Forces new resource",
      autoname: { maxLength: 64 },
    },
    eventPattern: {},
    description: {},
    state: {},
    forceDestroy: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const Tags = tagPairs(inputs);
    const put = await context.send(new PutRuleCommand({ ...ruleInput(inputs), ...(Tags.length > 0 && { Tags }) }));
    return ruleState(inputs, put.RuleArn, context);
  },
  read: async (id, state, context) => {
    const found = await unless(gone, context.send(new DescribeRuleCommand({ Name: id })));
    if (!found) return undefined;
    const { Tags = [] } = await context.send(new ListTagsForResourceCommand({ ResourceARN: found.Arn }));
    const tags = Object.fromEntries(Tags.map(({ Key, Value }) => [Key ?? "", Value ?? ""]));
    const actual = {
      name: id,
      eventPattern: sameJson(state.eventPattern, found.EventPattern) ? state.eventPattern : found.EventPattern,
      description: found.Description,
      ...(state.state !== undefined || found.State !== "ENABLED" ? { state: found.State } : {}),
      ...(Tags.length > 0 || state.tags !== undefined ? { tags } : {}),
    };
    return ruleState({ ...state, ...actual }, found.Arn, context);
  },
  update: async (_id, news, olds, context) => {
    const put = await context.send(new PutRuleCommand(ruleInput(news)));
    const { set, removed } = tagChanges(olds, news);
    const ResourceARN = put.RuleArn;
    if (removed.length > 0) await context.send(new UntagResourceCommand({ ResourceARN, TagKeys: removed }));
    if (set.length > 0) await context.send(new TagResourceCommand({ ResourceARN, Tags: set }));
    return ruleState(news, put.RuleArn, context);
  },
  delete: async (id, _state, context) => {
    await context.send(new DeleteRuleCommand({ Name: id }));
  },
};

function ruleInput(inputs: Properties) {
  return {
    Name: required(inputs, "name"),
    EventPattern: text(inputs, "eventPattern"),
    Description: text(inputs, "description"),
    State: text(inputs, "state") as "ENABLED" | undefined,
  };
}

function ruleState(state: Properties, arn: string | undefined, { cloud }: ResourceContext) {
  return {
    id: required(state, "name"),
    outputs: {
      state: "ENABLED",
      eventBusName: "default",
      forceDestroy: false,
      ...state,
      ...tagOutputs(state),
      arn,
      region: cloud.region,
    },
  };
}

const eventTarget: ResourceDefinition = {
  type: "aws:cloudwatch/eventTarget:EventTarget",
  inputs: {
    rule: { replaceOn: "terraform-provider-aws, aws_cloudwatch_event_target: rule, Forces new resource" },
    targetId: { replaceOn: "terraform-provider-aws, aws_cloudwatch_event_target: target_id, Forces new resource" },
    arn: {},
    roleArn: {},
    input: {},
    inputPath: {},
    inputTransformer: {},
    retryPolicy: {},
  },
  create: async (inputs, context) => {
    // "If missing, will generate a random, unique id."
    const targetId = text(inputs, "targetId") ?? `terraform-${randomBytes(13).toString("hex")}`;
    return putTarget({ ...inputs, targetId }, context);
  },
  read: async (id, state, context) => {
    const Rule = required(state, "rule");
    const { Targets = [] } = (await unless(gone, context.send(new ListTargetsByRuleCommand({ Rule })))) ?? {};
    const found = Targets.find((target) => target.Id === state.targetId);
    return found && { id, outputs: { ...state, ...targetProperties(found), region: context.cloud.region } };
  },
  update: (_id, news, olds, context) => putTarget({ ...news, targetId: news.targetId ?? olds.targetId }, context),
  delete: async (_id, state, context) => {
    const [Rule, id] = [required(state, "rule"), required(state, "targetId")];
    await unless(gone, context.send(new RemoveTargetsCommand({ Rule, Ids: [id] })));
  },
};

async function putTarget(inputs: Properties, context: ResourceContext) {
  const [Rule, Id] = [required(inputs, "rule"), required(inputs, "targetId")];
  const transformer = block(inputs, "inputTransformer");
  const retry = block(inputs, "retryPolicy");
  const target: Target = {
    Id,
    Arn: required(inputs, "arn"),
    RoleArn: text(inputs, "roleArn"),
    Input: text(inputs, "input"),
    InputPath: text(inputs, "inputPath"),
    ...(transformer && {
      InputTransformer: {
        InputPathsMap: { ...map(transformer, "inputPaths") },
        InputTemplate: required(transformer, "inputTemplate"),
      },
    }),
    ...(retry && {
      RetryPolicy: {
        MaximumEventAgeInSeconds: amount(retry, "maximumEventAgeInSeconds"),
        MaximumRetryAttempts: amount(retry, "maximumRetryAttempts"),
      },
    }),
  };
  const { FailedEntries: [failed] = [] } = await context.send(new PutTargetsCommand({ Rule, Targets: [target] }));
  if (failed) throw new AwsError(failed.ErrorCode ?? "InternalException", failed.ErrorMessage ?? "PutTargets failed");
  return {
    id: `${Rule}-${Id}`,
    outputs: { eventBusName: "default", forceDestroy: false, ...inputs, region: context.cloud.region },
  };
}

function targetProperties(target: Target): Properties {
  const { InputTransformer: transformer, RetryPolicy: retry } = target;
  return {
    arn: target.Arn,
    roleArn: target.RoleArn,
    input: target.Input,
    inputPath: target.InputPath,
    inputTransformer:
      transformer &&
      compact({
        inputPaths: Object.keys(transformer.InputPathsMap ?? {}).length > 0 ? transformer.InputPathsMap : undefined,
        inputTemplate: transformer.InputTemplate,
      }),
    retryPolicy:
      retry &&
      compact({
        maximumEventAgeInSeconds: retry.MaximumEventAgeInSeconds,
        maximumRetryAttempts: retry.MaximumRetryAttempts,
      }),
  };
}

function sameJson(a: unknown, b: string | undefined): boolean {
  try {
    return JSON.stringify(JSON.parse(String(a))) === JSON.stringify(JSON.parse(b ?? ""));
  } catch {
    return false;
  }
}

export const resources: readonly ResourceDefinition[] = [eventRule, eventTarget];
