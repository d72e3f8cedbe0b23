/** Metrics: numbers over time, kept as sums of what fell into the same minute (or second, at high resolution). */
import type { Dimension, MetricDatum, StandardUnit, Statistic } from "@aws-sdk/client-cloudwatch";

/** What identifies a metric. */
export interface MetricIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: readonly Dimension[];
}

/** What is kept of the values of one minute: all statistics but percentiles. */
export interface Aggregate {
  readonly count: number;
  readonly sum: number;
  readonly minimum: number;
  readonly maximum: number;
}

/** The values of one period. */
export interface PeriodAggregate extends Aggregate {
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly unit: StandardUnit;
}

/** Data of one-minute resolution is kept for 15 days ("Metrics retention"). */
const retention = 15 * 86_400_000;
/** More than a metric of one-minute resolution has in that time. */
const mostKept = 25_000;

/** The values of one metric in one unit, by the time at which their minute or second began. */
type Series = Map<number, Aggregate>;

export class MetricStore {
  private readonly metrics = new Map<string, Map<StandardUnit, Series>>();

  /** Adds values to a metric. */
  add(metric: MetricIdentity, datum: MetricDatum, now: number): void {
    const key = keyOf(metric);
    const units = this.metrics.get(key) ?? new Map<StandardUnit, Series>();
    this.metrics.set(key, units);
    const unit = datum.Unit ?? "None";
    const series = units.get(unit) ?? new Map<number, Aggregate>();
    units.set(unit, series);
    const resolution = (datum.StorageResolution ?? 60) * 1000;
    const start = Math.floor((datum.Timestamp?.getTime() ?? now) / resolution) * resolution;
    const before = series.get(start);
    const added = aggregateOf(datum);
    series.set(start, before === undefined ? added : together(before, added));
    if (series.size > mostKept) forget(series, now - retention);
  }

  /**
   * The periods of a range that have data, the oldest first.
   *
   * @param from - milliseconds since 1970, where a period begins
   * @param to - exclusive
   * @param period - milliseconds
   * @param unit - only values in this unit; undefined: values in any unit, each unit by itself
   */
  periods(metric: MetricIdentity, from: number, to: number, period: number, unit?: StandardUnit): PeriodAggregate[] {
    const units = this.metrics.get(keyOf(metric)) ?? new Map<StandardUnit, Series>();
    return [...units]
      .filter(([each]) => unit === undefined || each === unit)
      .flatMap(([each, series]) => inPeriods(series, from, to, period).map((found) => ({ ...found, unit: each })))
      .sort((a, b) => a.start - b.start);
  }
}

function keyOf({ namespace, name, dimensions }: MetricIdentity): string {
  const sorted = dimensions.map(({ Name = "", Value = "" }) => [Name, Value]).sort();
  return JSON.stringify([namespace, name, sorted]);
}

function inPeriods(series: Series, from: number, to: number, period: number): (Aggregate & { start: number })[] {
  const found = new Map<number, Aggregate>();
  for (const [at, aggregate] of series) {
    if (at < from || at >= to) continue;
    const start = from + Math.floor((at - from) / period) * period;
    const before = found.get(start);
    found.set(start, before === undefined ? aggregate : together(before, aggregate));
  }
  return [...found].map(([start, aggregate]) => ({ start, ...aggregate }));
}

function together(a: Aggregate, b: Aggregate): Aggregate {
  return {
    count: a.count + b.count,
    sum: a.sum + b.sum,
    minimum: Math.min(a.minimum, b.minimum),
    maximum: Math.max(a.maximum, b.maximum),
  };
}

function aggregateOf({ Value, Values, Counts, StatisticValues }: MetricDatum): Aggregate {
  if (StatisticValues) {
    const { SampleCount = 0, Sum = 0, Minimum = 0, Maximum = 0 } = StatisticValues;
    return { count: SampleCount, sum: Sum, minimum: Minimum, maximum: Maximum };
  }
  const values = Values ?? [Value ?? 0];
  const counts = values.map((_, index) => Counts?.[index] ?? 1);
  return {
    count: counts.reduce((sum, count) => sum + count, 0),
    sum: values.reduce((sum, value, index) => sum + value * (counts[index] ?? 1), 0),
    minimum: Math.min(...values),
    maximum: Math.max(...values),
  };
}

function forget(series: Series, before: number): void {
  const starts = [...series.keys()].sort((a, b) => a - b);
  const tooMany = Math.max(series.size - mostKept, 0);
  for (const [index, start] of starts.entries()) if (index < tooMany || start < before) series.delete(start);
}

export const statistics: Readonly<Record<Statistic, (aggregate: Aggregate) => number>> = {
  SampleCount: ({ count }) => count,
  Sum: ({ sum }) => sum,
  Average: ({ sum, count }) => sum / count,
  Minimum: ({ minimum }) => minimum,
  Maximum: ({ maximum }) => maximum,
};
