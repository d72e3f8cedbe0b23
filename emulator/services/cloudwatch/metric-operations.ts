/** The operations on metrics. */
import type {
  GetMetricStatisticsCommandInput,
  GetMetricStatisticsCommandOutput,
  MetricDatum,
  PutMetricDataCommandInput,
  PutMetricDataCommandOutput,
} from "@aws-sdk/client-cloudwatch";
import { type Operation, operation } from "../../core/definitions";
import { statistics } from "./metrics";
import type { CloudWatchStore } from "./store";
import { checkLength, combination, invalid, validationError } from "./validation";

const hour = 3_600_000;
/** "The maximum number of data points returned from a single call is 1,440." */
const mostDatapoints = 1_440;
const mostData = 1_000;

export function metricOperations(store: CloudWatchStore): readonly Operation[] {
  return [
    operation<PutMetricDataCommandInput, PutMetricDataCommandOutput>({
      name: "PutMetricData",
      honours: ["Namespace", "MetricData"],
      authorize: ({ Namespace }) => [
        { action: "cloudwatch:PutMetricData", resource: "*", context: { "cloudwatch:namespace": Namespace ?? "" } },
      ],
      handle: ({ Namespace = "", MetricData = [] }, { cloud }) => {
        checkLength("namespace", Namespace, 1, 255);
        if (/^AWS\//.test(Namespace))
          throw invalid("InvalidParameterValueException", "The value AWS/ for parameter Namespace is invalid.");
        if (MetricData.length > mostData) throw validationError(`MetricData has at most ${mostData} members`);
        const now = cloud.clock.now().getTime();
        for (const datum of MetricData) checkDatum(datum, now);
        for (const datum of MetricData) {
          const { MetricName: name = "", Dimensions: dimensions = [] } = datum;
          store.metrics.add({ namespace: Namespace, name, dimensions }, datum, now);
        }
        return {};
      },
    }),
    operation<GetMetricStatisticsCommandInput, GetMetricStatisticsCommandOutput>({
      name: "GetMetricStatistics",
      honours: ["Namespace", "MetricName", "Dimensions", "StartTime", "EndTime", "Period", "Statistics", "Unit"],
      authorize: () => [{ action: "cloudwatch:GetMetricStatistics", resource: "*" }],
      handle: (input) => {
        const { Namespace = "", MetricName = "", Dimensions = [], Statistics: wanted = [] } = input;
        if (wanted.length === 0) throw combination("At least one statistic must be given.");
        const range = rangeOf(input.StartTime, input.EndTime, input.Period);
        if ((range.to - range.from) / range.period > mostDatapoints)
          throw combination(`You have requested more than ${mostDatapoints} datapoints, which exceeds the limit.`);
        const identity = { namespace: Namespace, name: MetricName, dimensions: Dimensions };
        const found = store.metrics.periods(identity, range.from, range.to, range.period, input.Unit);
        return {
          Label: MetricName,
          Datapoints: found.map((each) => ({
            Timestamp: new Date(each.start),
            Unit: each.unit,
            ...Object.fromEntries(wanted.map((name) => [name, statistics[name](each)])),
          })),
        };
      },
    }),
  ];
}

/** Milliseconds; the start is rounded down to where a period begins, the end is not part of the range. */
function rangeOf(start: Date | undefined, end: Date | undefined, seconds: number | undefined) {
  if (seconds === undefined || !([1, 5, 10, 20, 30].includes(seconds) || (seconds >= 60 && seconds % 60 === 0)))
    throw invalid("InvalidParameterValueException", "Period must be 1, 5, 10, 20, 30 or a multiple of 60.");
  if (start === undefined || end === undefined || start >= end)
    throw validationError("The parameter StartTime must be less than the parameter EndTime.");
  const period = seconds * 1000;
  return { from: Math.floor(start.getTime() / period) * period, to: end.getTime(), period };
}

function checkDatum({ MetricName, Dimensions = [], Value, Values, Counts, ...datum }: MetricDatum, now: number): void {
  const { StatisticValues, Timestamp, StorageResolution } = datum;
  checkLength("metricName", MetricName ?? "", 1, 255);
  if (Dimensions.length > 30) throw validationError("Dimensions must have at most 30 members");
  const given = [Value, Values, StatisticValues].filter((each) => each !== undefined).length;
  if (given === 0)
    throw combination("At least one of the parameters must be specified: Value, Values, StatisticValues.");
  if (given > 1) throw combination("The parameters Value, Values and StatisticValues are mutually exclusive.");
  if ((Values?.length ?? 0) > 150) throw validationError("Values must have at most 150 members");
  if (Counts !== undefined && Counts.length !== Values?.length)
    throw combination("Values and Counts must have the same length.");
  for (const value of [Value ?? 0, ...(Values ?? [])]) {
    if (!Number.isFinite(value) || Math.abs(value) > 2 ** 360)
      throw invalid("InvalidParameterValueException", `The value ${value} for a metric is invalid.`);
  }
  if (StorageResolution !== undefined && StorageResolution !== 1 && StorageResolution !== 60)
    throw invalid("InvalidParameterValueException", "StorageResolution must be 1 or 60.");
  const age = now - (Timestamp?.getTime() ?? now);
  if (age > 14 * 24 * hour || age < -2 * hour)
    throw invalid(
      "InvalidParameterValueException",
      "The parameter MetricData.member.Timestamp must be within two weeks in the past and two hours in the future.",
    );
}
