/** The operations on alarms. */
import type {
  DeleteAlarmsCommandInput,
  DeleteAlarmsCommandOutput,
  DescribeAlarmsCommandInput,
  DescribeAlarmsCommandOutput,
  ListTagsForResourceCommandInput,
  ListTagsForResourceCommandOutput,
  MetricAlarm,
  PutMetricAlarmCommandInput,
  PutMetricAlarmCommandOutput,
  SetAlarmStateCommandInput,
  SetAlarmStateCommandOutput,
  TagResourceCommandInput,
  TagResourceCommandOutput,
  UntagResourceCommandInput,
  UntagResourceCommandOutput,
} from "@aws-sdk/client-cloudwatch";
import { type Access, AwsError, notImplemented, type Operation, operation } from "../../core/definitions";
import { type Comparison, comparisons, type MissingData } from "./evaluation";
import { statistics } from "./metrics";
import type { Alarm, AlarmSettings, CloudWatchStore } from "./store";
import { checkLength, combination, invalid, pageFrom, validationError } from "./validation";

const day = 86_400;
const mostTags = 50;

export function alarmOperations(store: CloudWatchStore): readonly Operation[] {
  return [...writing(store), describeAlarms(store), ...tagging(store)];
}

function writing(store: CloudWatchStore): readonly Operation[] {
  return [
    operation<PutMetricAlarmCommandInput, PutMetricAlarmCommandOutput>({
      name: "PutMetricAlarm",
      honours: [
        "AlarmName",
        "AlarmDescription",
        "ActionsEnabled",
        "Namespace",
        "MetricName",
        "Dimensions",
        "Statistic",
        "Period",
        "Unit",
        "EvaluationPeriods",
        "DatapointsToAlarm",
        "Threshold",
        "ComparisonOperator",
        "TreatMissingData",
        "Tags",
      ],
      authorize: (input) => [
        ...onAlarms(store, "PutMetricAlarm", [input.AlarmName]),
        ...((input.Tags ?? []).length > 0 ? onAlarms(store, "TagResource", [input.AlarmName]) : []),
      ],
      handle: (input) => {
        const settings = settingsOf(input);
        checkTags(input.Tags?.length);
        store.setAlarm(settings, input.Tags ?? []);
        return {};
      },
    }),
    operation<DeleteAlarmsCommandInput, DeleteAlarmsCommandOutput>({
      name: "DeleteAlarms",
      honours: ["AlarmNames"],
      authorize: ({ AlarmNames }) => onAlarms(store, "DeleteAlarms", AlarmNames ?? []),
      handle: ({ AlarmNames = [] }) => {
        if (AlarmNames.length > 100) throw validationError("AlarmNames must have at most 100 members");
        const missing = AlarmNames.find((name) => !store.alarms.has(name));
        // "If you specify an incorrect alarm name or make any other error ..., no alarms are deleted."
        if (missing !== undefined) throw noSuchAlarm(missing);
        for (const name of AlarmNames) store.removeAlarm(name);
        return {};
      },
    }),
    operation<SetAlarmStateCommandInput, SetAlarmStateCommandOutput>({
      name: "SetAlarmState",
      honours: ["AlarmName", "StateValue", "StateReason", "StateReasonData"],
      authorize: ({ AlarmName }) => onAlarms(store, "SetAlarmState", [AlarmName]),
      handle: ({ AlarmName = "", StateValue, StateReason = "", StateReasonData }) => {
        checkLength("stateReason", StateReason, 0, 1023);
        const alarm = store.alarms.get(AlarmName);
        if (!alarm) throw noSuchAlarm(AlarmName);
        if (StateValue !== "OK" && StateValue !== "ALARM" && StateValue !== "INSUFFICIENT_DATA")
          throw validationError(`Value '${String(StateValue)}' at 'stateValue' must be OK, ALARM or INSUFFICIENT_DATA`);
        if (StateReasonData !== undefined) {
          checkLength("stateReasonData", StateReasonData, 0, 4000);
          checkJson(StateReasonData);
        }
        store.setState(alarm, StateValue, StateReason, StateReasonData);
        return {};
      },
    }),
  ];
}

function describeAlarms(store: CloudWatchStore): Operation {
  return operation<DescribeAlarmsCommandInput, DescribeAlarmsCommandOutput>({
    name: "DescribeAlarms",
    honours: ["AlarmNames", "AlarmNamePrefix", "AlarmTypes", "StateValue", "MaxRecords", "NextToken"],
    // "You can't return information about composite alarms if your permission has a narrower scope" than `*`.
    authorize: ({ AlarmNames, AlarmTypes = [] }) =>
      onAlarms(store, "DescribeAlarms", AlarmTypes.includes("CompositeAlarm") ? ["*"] : (AlarmNames ?? ["*"])),
    handle: (input) => {
      const { AlarmNames: names, AlarmNamePrefix: prefix, AlarmTypes: types, StateValue: state } = input;
      if (names !== undefined && prefix !== undefined)
        throw combination("AlarmNames and AlarmNamePrefix can't be used together.");
      if ((names?.length ?? 0) > 100) throw validationError("AlarmNames must have at most 100 members");
      // Composite and log alarms do not exist here: nobody can have made one.
      const wanted = types === undefined || types.length === 0 || types.includes("MetricAlarm");
      const found = [...store.alarms.values()]
        .filter(({ settings: { name } }) => names?.includes(name) ?? name.startsWith(prefix ?? ""))
        .filter((alarm) => wanted && (state === undefined || alarm.state.value === state))
        .sort((a, b) => (a.settings.name < b.settings.name ? -1 : 1));
      const page = pageFrom(found, input.NextToken, input.MaxRecords ?? 50, 100);
      return { MetricAlarms: page.items.map(described), CompositeAlarms: [], NextToken: page.next };
    },
  });
}

function tagging(store: CloudWatchStore): readonly Operation[] {
  const onArn = (action: string, arn: string | undefined): readonly Access[] => [
    { action: `cloudwatch:${action}`, resource: arn ?? "*", context: tagContext(store.tagged(arn)) },
  ];
  return [
    operation<TagResourceCommandInput, TagResourceCommandOutput>({
      name: "TagResource",
      honours: ["ResourceARN", "Tags"],
      authorize: ({ ResourceARN }) => onArn("TagResource", ResourceARN),
      handle: ({ ResourceARN, Tags = [] }) => {
        const alarm = store.tagged(ResourceARN);
        const keys = Tags.map(({ Key }) => Key);
        const tags = [...alarm.tags.filter(({ Key }) => !keys.includes(Key)), ...Tags];
        checkTags(tags.length);
        alarm.tags = tags;
        return {};
      },
    }),
    operation<UntagResourceCommandInput, UntagResourceCommandOutput>({
      name: "UntagResource",
      honours: ["ResourceARN", "TagKeys"],
      authorize: ({ ResourceARN }) => onArn("UntagResource", ResourceARN),
      handle: ({ ResourceARN, TagKeys = [] }) => {
        const alarm = store.tagged(ResourceARN);
        alarm.tags = alarm.tags.filter(({ Key }) => !TagKeys.includes(Key ?? ""));
        return {};
      },
    }),
    operation<ListTagsForResourceCommandInput, ListTagsForResourceCommandOutput>({
      name: "ListTagsForResource",
      honours: ["ResourceARN"],
      authorize: ({ ResourceARN }) => onArn("ListTagsForResource", ResourceARN),
      handle: ({ ResourceARN }) => ({ Tags: [...store.tagged(ResourceARN).tags] }),
    }),
  ];
}

function onAlarms(store: CloudWatchStore, action: string, names: readonly (string | undefined)[]): readonly Access[] {
  return names.map((name = "") => ({
    action: `cloudwatch:${action}`,
    resource: store.arnOf(name),
    context: tagContext(store.alarms.get(name)),
  }));
}

function tagContext(alarm: Alarm | undefined): Record<string, string> {
  return Object.fromEntries((alarm?.tags ?? []).map(({ Key, Value }) => [`aws:ResourceTag/${Key}`, Value ?? ""]));
}

/** What PutMetricAlarm takes, as documented there. */
function settingsOf(input: PutMetricAlarmCommandInput): AlarmSettings {
  const name = checkLength("alarmName", input.AlarmName ?? "", 1, 255);
  const { EvaluationPeriods: evaluationPeriods, Threshold: threshold, Dimensions: dimensions = [] } = input;
  const { Statistic: statistic, ComparisonOperator: comparison, DatapointsToAlarm: datapoints } = input;
  if (input.AlarmDescription !== undefined) checkLength("alarmDescription", input.AlarmDescription, 0, 1024);
  if (input.MetricName === undefined || input.Namespace === undefined)
    throw validationError("A metric alarm needs Namespace and MetricName");
  if (statistic === undefined || !(statistic in statistics)) throw validationError("Statistic must be one of the five");
  if (comparison === undefined || evaluationPeriods === undefined || threshold === undefined)
    throw validationError("ComparisonOperator, EvaluationPeriods and Threshold are required");
  if (!(comparison in comparisons)) throw notImplemented(`PutMetricAlarm.ComparisonOperator ${comparison}`);
  if (dimensions.length > 30) throw validationError("Dimensions must have at most 30 members");
  const period = checkPeriod(input.Period, evaluationPeriods);
  if (datapoints !== undefined && !(datapoints >= 1 && datapoints <= evaluationPeriods))
    throw validationError("DatapointsToAlarm must be at least 1 and at most EvaluationPeriods");
  const missing = input.TreatMissingData ?? "missing";
  if (!["missing", "ignore", "breaching", "notBreaching"].includes(missing))
    throw validationError(`TreatMissingData ${missing} is none of breaching, notBreaching, ignore and missing`);
  return {
    name,
    description: input.AlarmDescription,
    actionsEnabled: input.ActionsEnabled ?? true,
    namespace: checkLength("namespace", input.Namespace, 1, 255),
    metric: checkLength("metricName", input.MetricName, 1, 255),
    dimensions,
    statistic,
    period,
    unit: input.Unit,
    evaluationPeriods,
    datapointsToAlarm: datapoints ?? evaluationPeriods,
    threshold,
    comparison: comparison as Comparison,
    missing: missing as MissingData,
    givenDatapointsToAlarm: datapoints,
    givenMissing: input.TreatMissingData,
  };
}

/** "Valid values are 10, 20, 30, and any multiple of 60", and not more than a day, or seven with periods of an hour. */
function checkPeriod(period: number | undefined, evaluationPeriods: number): number {
  if (period === undefined || !([10, 20, 30].includes(period) || (period >= 60 && period % 60 === 0)))
    throw validationError("Period must be 10, 20, 30 or a multiple of 60");
  if (!(Number.isInteger(evaluationPeriods) && evaluationPeriods >= 1))
    throw validationError("EvaluationPeriods must be at least 1");
  const longest = period < 3600 ? day : 7 * day;
  if (period * evaluationPeriods > longest)
    throw validationError(
      `Metrics cannot be checked across more than ${longest / day === 1 ? "a day" : "7 days"} (EvaluationPeriods * Period must be <= ${longest}).`,
    );
  return period;
}

function checkTags(count = 0): void {
  if (count > mostTags) throw validationError(`An alarm has at most ${mostTags} tags`);
}

function checkJson(text: string): void {
  try {
    JSON.parse(text);
  } catch {
    throw new AwsError("InvalidFormatFault", "StateReasonData was not syntactically valid JSON", 400);
  }
}

function described({ arn, settings, configured, state }: Alarm): MetricAlarm {
  return {
    AlarmName: settings.name,
    AlarmArn: arn,
    AlarmDescription: settings.description,
    AlarmConfigurationUpdatedTimestamp: configured,
    ActionsEnabled: settings.actionsEnabled,
    OKActions: [],
    AlarmActions: [],
    InsufficientDataActions: [],
    StateValue: state.value,
    StateReason: state.reason,
    StateReasonData: state.reasonData,
    StateUpdatedTimestamp: state.updated,
    StateTransitionedTimestamp: state.changed,
    Namespace: settings.namespace,
    MetricName: settings.metric,
    Dimensions: [...settings.dimensions],
    Statistic: settings.statistic,
    Period: settings.period,
    Unit: settings.unit,
    EvaluationPeriods: settings.evaluationPeriods,
    DatapointsToAlarm: settings.givenDatapointsToAlarm,
    Threshold: settings.threshold,
    ComparisonOperator: settings.comparison,
    TreatMissingData: settings.givenMissing,
  };
}

function noSuchAlarm(name: string): AwsError {
  return invalid("ResourceNotFound", `Unknown alarm ${name}`, 404);
}
