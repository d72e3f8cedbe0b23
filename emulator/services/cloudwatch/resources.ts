/** The `aws:cloudwatch/metricAlarm` resource type. */
import {
  type ComparisonOperator,
  DeleteAlarmsCommand,
  DescribeAlarmsCommand,
  ListTagsForResourceCommand,
  type MetricAlarm,
  PutMetricAlarmCommand,
  type StandardUnit,
  type Statistic,
  TagResourceCommand,
  UntagResourceCommand,
} from "@aws-sdk/client-cloudwatch";
import type { Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import { amount, compact, flag, map, required, tagChanges, tagOutputs, tagPairs, text, unless } from "../properties";

const metricAlarm: ResourceDefinition = {
  type: "aws:cloudwatch/metricAlarm:MetricAlarm",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_cloudwatch_metric_alarm: alarm_name, Forces new resource",
      autoname: { maxLength: 255 },
    },
    alarmDescription: {},
    actionsEnabled: {},
    namespace: {},
    metricName: {},
    dimensions: {},
    statistic: {},
    period: {},
    unit: {},
    evaluationPeriods: {},
    datapointsToAlarm: {},
    threshold: {},
    comparisonOperator: {},
    treatMissingData: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const Tags = tagPairs(inputs);
    await context.send(new PutMetricAlarmCommand({ ...alarmInput(inputs), ...(Tags.length > 0 && { Tags }) }));
    return alarmState(inputs, context);
  },
  read: async (id, state, context) => {
    const { MetricAlarms: [found] = [] } = await context.send(
      new DescribeAlarmsCommand({ AlarmNames: [id], AlarmTypes: ["MetricAlarm"] }),
    );
    if (!found) return undefined;
    const { Tags = [] } = await context.send(new ListTagsForResourceCommand({ ResourceARN: found.AlarmArn }));
    const tags = Object.fromEntries(Tags.map(({ Key, Value }) => [Key ?? "", Value ?? ""]));
    const tagged = Tags.length > 0 || state.tags !== undefined ? { tags } : {};
    return alarmState({ ...state, ...actual(state, found), ...tagged }, context);
  },
  update: async (id, news, olds, context) => {
    await context.send(new PutMetricAlarmCommand(alarmInput(news)));
    const { set, removed } = tagChanges(olds, news);
    const ResourceARN = arnOf(id, context);
    if (removed.length > 0) await context.send(new UntagResourceCommand({ ResourceARN, TagKeys: removed }));
    if (set.length > 0) await context.send(new TagResourceCommand({ ResourceARN, Tags: set }));
    return alarmState(news, context);
  },
  delete: async (id, _state, context) => {
    await unless(["ResourceNotFound"], context.send(new DeleteAlarmsCommand({ AlarmNames: [id] })));
  },
};

function alarmInput(inputs: Properties) {
  return {
    AlarmName: required(inputs, "name"),
    AlarmDescription: text(inputs, "alarmDescription"),
    ActionsEnabled: flag(inputs, "actionsEnabled"),
    Namespace: text(inputs, "namespace"),
    MetricName: text(inputs, "metricName"),
    Dimensions: Object.entries(map(inputs, "dimensions")).map(([Name, Value]) => ({ Name, Value })),
    Statistic: text(inputs, "statistic") as Statistic | undefined,
    Period: amount(inputs, "period"),
    Unit: text(inputs, "unit") as StandardUnit | undefined,
    EvaluationPeriods: amount(inputs, "evaluationPeriods"),
    DatapointsToAlarm: amount(inputs, "datapointsToAlarm"),
    // The provider's threshold is 0 unless given.
    Threshold: amount(inputs, "threshold") ?? 0,
    ComparisonOperator: text(inputs, "comparisonOperator") as ComparisonOperator | undefined,
    TreatMissingData: text(inputs, "treatMissingData"),
  };
}

/** What CloudWatch says of the alarm; a default that the program left out stays out. */
function actual(state: Properties, found: MetricAlarm): Properties {
  const dimensions = Object.fromEntries((found.Dimensions ?? []).map(({ Name, Value }) => [Name ?? "", Value ?? ""]));
  const unlessDefault = (name: string, value: unknown, usual: unknown): Properties =>
    state[name] !== undefined || value !== usual ? { [name]: value } : {};
  return {
    name: found.AlarmName,
    alarmDescription: found.AlarmDescription,
    namespace: found.Namespace,
    metricName: found.MetricName,
    statistic: found.Statistic,
    period: found.Period,
    unit: found.Unit,
    evaluationPeriods: found.EvaluationPeriods,
    datapointsToAlarm: found.DatapointsToAlarm,
    comparisonOperator: found.ComparisonOperator,
    ...unlessDefault("actionsEnabled", found.ActionsEnabled, true),
    ...unlessDefault("threshold", found.Threshold, 0),
    ...unlessDefault("treatMissingData", found.TreatMissingData ?? "missing", "missing"),
    ...(Object.keys(dimensions).length > 0 || state.dimensions !== undefined ? { dimensions } : {}),
  };
}

function alarmState(state: Properties, context: ResourceContext) {
  const name = required(state, "name");
  return {
    id: name,
    // What CloudWatch does not have any more is not in the state, either.
    outputs: compact({
      actionsEnabled: true,
      treatMissingData: "missing",
      ...state,
      ...tagOutputs(state),
      arn: arnOf(name, context),
      region: context.cloud.region,
    }),
  };
}

function arnOf(name: string, { cloud }: ResourceContext): string {
  return `arn:aws:cloudwatch:${cloud.region}:${cloud.account}:alarm:${name}`;
}

export const resources: readonly ResourceDefinition[] = [metricAlarm];
