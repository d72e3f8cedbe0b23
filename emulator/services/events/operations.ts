import {
  DeleteRuleCommandInput,
  DeleteRuleCommandOutput,
  DescribeRuleCommandInput,
  DescribeRuleCommandOutput,
  ListTagsForResourceCommandInput,
  ListTagsForResourceCommandOutput,
  ListTargetsByRuleCommandInput,
  ListTargetsByRuleCommandOutput,
  PutRuleCommandInput,
  PutRuleCommandOutput,
  PutTargetsCommandInput,
  PutTargetsCommandOutput,
  RemoveTargetsCommandInput,
  RemoveTargetsCommandOutput,
  Tag,
  TagResourceCommandInput,
  TagResourceCommandOutput,
  Target,
  UntagResourceCommandInput,
  UntagResourceCommandOutput,
} from "@aws-sdk/client-eventbridge";
import { Access, AwsError, Call, notImplemented, Operation, operation } from "../../core/definitions";
import { eventPattern } from "./event-pattern";
import { checkTargetInput } from "./input-transformer";
import { checkRetryPolicy, projectOf } from "./invocation";
import { EventStore, Rule } from "./store";

/** On one bus ("Amazon EventBridge quotas"). */
const mostRules = 300;

const putRule = operation<PutRuleCommandInput, PutRuleCommandOutput>({
  name: "PutRule",
  honours: ["Name", "EventPattern", "State", "Description", "EventBusName", "Tags"],
  authorize: (input, call) => [
    ...onRule(call, input.Name, "PutRule"),
    ...((input.Tags ?? []).length > 0 ? onRule(call, input.Name, "TagResource") : []),
  ],
  handle: (input, call) => {
    defaultBus(input.EventBusName);
    const store = storeOf(call);
    const name = validName(input.Name);
    const pattern = input.EventPattern;
    if (pattern === undefined) throw invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.");
    if (pattern.length > 4096) throw invalid("EventPattern must have length less than or equal to 4096.");
    const matches = eventPattern(pattern);
    const state = input.State ?? "ENABLED";
    if (state !== "ENABLED" && state !== "DISABLED") throw notImplemented(`PutRule.State ${state}`);
    const existing = store.rules.get(name);
    if (!existing && store.rules.size >= mostRules)
      throw new AwsError("LimitExceededException", "The requested resource exceeds the maximum number allowed.", 400);
    const fresh: Rule = {
      name,
      arn: store.arnOf(name),
      pattern,
      matches,
      state,
      description: input.Description,
      // "If you are updating an existing rule, any tags you specify are ignored."
      tags: existing?.tags ?? tagsOf(input.Tags),
      targets: existing?.targets ?? new Map<string, Target>(),
    };
    store.rules.set(name, fresh);
    return { RuleArn: fresh.arn };
  },
});

const describeRule = operation<DescribeRuleCommandInput, DescribeRuleCommandOutput>({
  name: "DescribeRule",
  honours: ["Name", "EventBusName"],
  authorize: (input, call) => onRule(call, input.Name, "DescribeRule"),
  handle: (input, call) => {
    defaultBus(input.EventBusName);
    const rule = storeOf(call).rule(input.Name);
    return {
      Name: rule.name,
      Arn: rule.arn,
      EventPattern: rule.pattern,
      State: rule.state,
      Description: rule.description,
      EventBusName: "default",
      CreatedBy: call.cloud.account,
    };
  },
});

const deleteRule = operation<DeleteRuleCommandInput, DeleteRuleCommandOutput>({
  name: "DeleteRule",
  // Forcing concerns managed rules only, and there are none.
  honours: ["Name", "EventBusName", "Force"],
  authorize: (input, call) => onRule(call, input.Name, "DeleteRule"),
  handle: (input, call) => {
    defaultBus(input.EventBusName);
    const store = storeOf(call);
    const rule = store.rules.get(input.Name ?? "");
    if (rule && rule.targets.size > 0) throw invalid("Rule can't be deleted since it has targets.");
    // Deleting what does not exist succeeds.
    if (rule) store.rules.delete(rule.name);
    return {};
  },
});

const putTargets = operation<PutTargetsCommandInput, PutTargetsCommandOutput>({
  name: "PutTargets",
  honours: [
    "Rule",
    "EventBusName",
    "Targets.Id",
    "Targets.Arn",
    "Targets.RoleArn",
    "Targets.Input",
    "Targets.InputPath",
    "Targets.InputTransformer",
    "Targets.RetryPolicy",
  ],
  authorize: (input, call) => [
    ...onRule(call, input.Rule, "PutTargets"),
    ...(input.Targets ?? []).flatMap(({ RoleArn }) =>
      RoleArn === undefined
        ? []
        : [
            {
              action: "iam:PassRole",
              resource: RoleArn,
              context: { "iam:PassedToService": "events.amazonaws.com" },
            },
          ],
    ),
  ],
  handle: (input, call) => {
    defaultBus(input.EventBusName);
    const rule = storeOf(call).rule(input.Rule);
    const targets = input.Targets ?? [];
    targets.forEach(checkTarget);
    const ids = new Set([...rule.targets.keys(), ...targets.map(({ Id }) => Id ?? "")]);
    if (ids.size > 5)
      throw new AwsError("LimitExceededException", "The requested resource exceeds the maximum number allowed.", 400);
    for (const target of targets) rule.targets.set(target.Id ?? "", target);
    return { FailedEntryCount: 0, FailedEntries: [] };
  },
});

const removeTargets = operation<RemoveTargetsCommandInput, RemoveTargetsCommandOutput>({
  name: "RemoveTargets",
  honours: ["Rule", "EventBusName", "Ids", "Force"],
  authorize: (input, call) => onRule(call, input.Rule, "RemoveTargets"),
  handle: (input, call) => {
    defaultBus(input.EventBusName);
    const rule = storeOf(call).rule(input.Rule);
    const missing = (input.Ids ?? []).filter((id) => !rule.targets.delete(id));
    return {
      FailedEntryCount: missing.length,
      FailedEntries: missing.map((TargetId) => ({
        TargetId,
        ErrorCode: "ResourceNotFoundException",
        ErrorMessage: `Rule ${rule.name} does not have a target with the Id ${TargetId}.`,
      })),
    };
  },
});

const listTargetsByRule = operation<ListTargetsByRuleCommandInput, ListTargetsByRuleCommandOutput>({
  name: "ListTargetsByRule",
  honours: ["Rule", "EventBusName"],
  authorize: (input, call) => onRule(call, input.Rule, "ListTargetsByRule"),
  handle: (input, call) => {
    defaultBus(input.EventBusName);
    return { Targets: [...storeOf(call).rule(input.Rule).targets.values()] };
  },
});

const tagResource = operation<TagResourceCommandInput, TagResourceCommandOutput>({
  name: "TagResource",
  honours: ["ResourceARN", "Tags"],
  authorize: (input) => [{ action: "events:TagResource", resource: input.ResourceARN ?? "" }],
  handle: (input, call) => {
    const rule = storeOf(call).ruleByArn(input.ResourceARN);
    const added = tagsOf(input.Tags);
    const keys = added.map(({ Key }) => Key);
    rule.tags = [...rule.tags.filter(({ Key }) => !keys.includes(Key)), ...added];
    return {};
  },
});

const untagResource = operation<UntagResourceCommandInput, UntagResourceCommandOutput>({
  name: "UntagResource",
  honours: ["ResourceARN", "TagKeys"],
  authorize: (input) => [{ action: "events:UntagResource", resource: input.ResourceARN ?? "" }],
  handle: (input, call) => {
    const rule = storeOf(call).ruleByArn(input.ResourceARN);
    rule.tags = rule.tags.filter(({ Key }) => !(input.TagKeys ?? []).includes(Key));
    return {};
  },
});

const listTagsForResource = operation<ListTagsForResourceCommandInput, ListTagsForResourceCommandOutput>({
  name: "ListTagsForResource",
  honours: ["ResourceARN"],
  authorize: (input) => [{ action: "events:ListTagsForResource", resource: input.ResourceARN ?? "" }],
  handle: (input, call) => ({ Tags: [...storeOf(call).ruleByArn(input.ResourceARN).tags] }),
});

export const operations: readonly Operation[] = [
  putRule,
  describeRule,
  deleteRule,
  putTargets,
  removeTargets,
  listTargetsByRule,
  tagResource,
  untagResource,
  listTagsForResource,
];

function storeOf(call: Call): EventStore {
  return call.cloud.stores.events;
}

function onRule(call: Call, name: string | undefined, action: string): readonly Access[] {
  return [{ action: `events:${action}`, resource: storeOf(call).arnOf(name ?? "") }];
}

/** There is only the bus that the account's services write to. */
function defaultBus(name: string | undefined): void {
  if (name !== undefined && name !== "default" && !name.endsWith(":event-bus/default"))
    throw new AwsError("ResourceNotFoundException", `Event bus ${name} does not exist.`, 400);
}

function checkTarget(target: Target): void {
  if (!/^[.\-_A-Za-z0-9]{1,64}$/.test(target.Id ?? ""))
    throw invalid(
      `Value '${target.Id ?? ""}' at 'targets.member.id' failed to satisfy constraint: [\\.\\-_A-Za-z0-9]+`,
    );
  if (projectOf(target.Arn) === undefined) throw notImplemented(`PutTargets.Targets.Arn ${target.Arn ?? ""}`);
  if (target.RoleArn === undefined) throw invalid(`RoleArn is required for target ${target.Arn ?? ""}.`);
  checkRetryPolicy(target.RetryPolicy ?? {});
  checkTargetInput({ ...target, InputTransformer: target.InputTransformer });
}

function validName(name: string | undefined): string {
  if (name !== undefined && /^[.\-_A-Za-z0-9]{1,64}$/.test(name)) return name;
  throw invalid(
    `1 validation error detected: Value '${name ?? ""}' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+`,
  );
}

function tagsOf(tags: readonly Tag[] = []): Rule["tags"] {
  return tags.map(({ Key, Value }) => ({ Key: Key ?? "", Value: Value ?? "" }));
}

function invalid(message: string): AwsError {
  return new AwsError("ValidationException", message, 400);
}
