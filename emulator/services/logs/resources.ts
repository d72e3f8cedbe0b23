/** The `aws:cloudwatch/logGroup` resource type. */
import {
  CreateLogGroupCommand,
  DeleteLogGroupCommand,
  DeleteRetentionPolicyCommand,
  DescribeLogGroupsCommand,
  ListTagsForResourceCommand,
  PutRetentionPolicyCommand,
  TagResourceCommand,
  UntagResourceCommand,
} from "@aws-sdk/client-cloudwatch-logs";
import { Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import { amount, flag, map, required, tagChanges, tagOutputs, unless } from "../properties";

const gone = ["ResourceNotFoundException"];

const logGroup: ResourceDefinition = {
  type: "aws:cloudwatch/logGroup:LogGroup",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_cloudwatch_log_group: name, Forces new resource",
      autoname: { maxLength: 512 },
    },
    retentionInDays: {},
    skipDestroy: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const logGroupName = required(inputs, "name");
    const tags = map(inputs, "tags");
    await context.send(new CreateLogGroupCommand({ logGroupName, ...(Object.keys(tags).length > 0 && { tags }) }));
    context.made(logGroupName);
    await setRetention(logGroupName, inputs, {}, context);
    return groupState(inputs, context);
  },
  read: async (id, state, context) => {
    const { logGroups = [] } = await context.send(new DescribeLogGroupsCommand({ logGroupNamePrefix: id }));
    const found = logGroups.find(({ logGroupName }) => logGroupName === id);
    if (!found) return undefined;
    const { tags = {} } = await context.send(new ListTagsForResourceCommand({ resourceArn: found.logGroupArn }));
    const retention =
      found.retentionInDays !== undefined || state.retentionInDays !== undefined
        ? { retentionInDays: found.retentionInDays ?? 0 }
        : {};
    const tagged = Object.keys(tags).length > 0 || state.tags !== undefined ? { tags } : {};
    return groupState({ ...state, name: id, ...retention, ...tagged }, context);
  },
  update: async (id, news, olds, context) => {
    await setRetention(id, news, olds, context);
    const { set, removed } = tagChanges(olds, news);
    const resourceArn = arnOf(id, context);
    if (removed.length > 0) await context.send(new UntagResourceCommand({ resourceArn, tagKeys: removed }));
    if (set.length > 0) {
      const tags = Object.fromEntries(set.map(({ Key, Value }) => [Key, Value]));
      await context.send(new TagResourceCommand({ resourceArn, tags }));
    }
    return groupState(news, context);
  },
  delete: async (id, state, context) => {
    if (flag(state, "skipDestroy") === true) return;
    await unless(gone, context.send(new DeleteLogGroupCommand({ logGroupName: id })));
  },
};

/** 0 means for ever. */
async function setRetention(
  logGroupName: string,
  news: Properties,
  olds: Properties,
  context: ResourceContext,
): Promise<void> {
  const [before, after] = [amount(olds, "retentionInDays") ?? 0, amount(news, "retentionInDays") ?? 0];
  if (before === after) return;
  if (after === 0) await context.send(new DeleteRetentionPolicyCommand({ logGroupName }));
  else await context.send(new PutRetentionPolicyCommand({ logGroupName, retentionInDays: after }));
}

function groupState(state: Properties, context: ResourceContext) {
  const name = required(state, "name");
  return {
    id: name,
    outputs: {
      retentionInDays: 0,
      skipDestroy: false,
      logGroupClass: "STANDARD",
      ...state,
      ...tagOutputs(state),
      // Without the `:*` that the API adds.
      arn: arnOf(name, context),
      region: context.cloud.region,
    },
  };
}

function arnOf(name: string, { cloud }: ResourceContext): string {
  return `arn:aws:logs:${cloud.region}:${cloud.account}:log-group:${name}`;
}

export const resources: readonly ResourceDefinition[] = [logGroup];
