/** The state of CloudWatch: metrics, and alarms that evaluate themselves on the emulator's clock. */
import type { Dimension, MetricDatum, StandardUnit, Statistic, Tag } from "@aws-sdk/client-cloudwatch";
import { AwsError, type Cloud } from "../../core/definitions";
import { type AlarmRule, type AlarmState, evaluate, evaluationRange } from "./evaluation";
import { MetricStore, statistics } from "./metrics";

declare module "../../core/definitions" {
  interface Stores {
    cloudwatch: CloudWatchStore;
  }
}

/** What an alarm was told to watch. */
export interface AlarmSettings extends AlarmRule {
  readonly name: string;
  readonly description: string | undefined;
  readonly actionsEnabled: boolean;
  readonly namespace: string;
  readonly metric: string;
  readonly dimensions: readonly Dimension[];
  readonly statistic: Statistic;
  /** Seconds. */
  readonly period: number;
  readonly unit: StandardUnit | undefined;
  /** As it was given: `datapointsToAlarm` is the number of evaluation periods without it. */
  readonly givenDatapointsToAlarm: number | undefined;
  readonly givenMissing: string | undefined;
}

export interface AlarmStateRecord {
  readonly value: AlarmState;
  readonly reason: string;
  /** JSON. */
  readonly reasonData: string | undefined;
  /** When it was last set, and when it last changed. */
  readonly updated: Date;
  readonly changed: Date;
}

export interface Alarm {
  readonly arn: string;
  settings: AlarmSettings;
  configured: Date;
  state: AlarmStateRecord;
  tags: readonly Tag[];
  /** Aborted when the alarm is changed or deleted: its clock starts anew, or ends. */
  ended: AbortController;
}

/** Alarms are evaluated once a minute; those with a shorter period every ten seconds. */
const evaluationPause = { standard: 60_000, highResolution: 10_000 };

export class CloudWatchStore {
  readonly metrics = new MetricStore();
  readonly alarms = new Map<string, Alarm>();

  constructor(private readonly cloud: Cloud) {}

  arnOf(name: string): string {
    return `arn:aws:cloudwatch:${this.cloud.region}:${this.cloud.account}:alarm:${name}`;
  }

  /** @throws ResourceNotFoundException */
  tagged(arn: string | undefined): Alarm {
    const alarm = [...this.alarms.values()].find((each) => each.arn === arn);
    if (alarm) return alarm;
    throw new AwsError("ResourceNotFoundException", `The resource ${arn ?? ""} does not exist`, 404);
  }

  /** What a service of AWS publishes by itself. */
  publish(namespace: string, dimensions: readonly Dimension[], datum: MetricDatum): void {
    this.metrics.add({ namespace, name: datum.MetricName ?? "", dimensions }, datum, this.now().getTime());
  }

  /** Creates or changes an alarm. "When you update an existing alarm, its state is left unchanged." */
  setAlarm(settings: AlarmSettings, tags: readonly Tag[]): void {
    const existing = this.alarms.get(settings.name);
    existing?.ended.abort();
    const now = this.now();
    const initial = {
      value: "INSUFFICIENT_DATA",
      reason: "Unchecked: Initial alarm creation",
      reasonData: undefined,
      updated: now,
      changed: now,
    } as const;
    const alarm: Alarm = {
      arn: this.arnOf(settings.name),
      settings,
      configured: now,
      state: existing?.state ?? initial,
      tags: existing?.tags ?? tags,
      ended: new AbortController(),
    };
    this.alarms.set(settings.name, alarm);
    this.cloud.background(`the alarm ${settings.name}`, this.watch(alarm));
  }

  removeAlarm(name: string): void {
    this.alarms.get(name)?.ended.abort();
    this.alarms.delete(name);
  }

  /** Sets an alarm's state, and tells when it is another one. */
  setState(alarm: Alarm, value: AlarmState, reason: string, reasonData?: string): void {
    const before = alarm.state;
    const now = this.now();
    const changed = before.value === value ? before.changed : now;
    alarm.state = { value, reason, reasonData, updated: now, changed };
    if (before.value !== value) this.announce(alarm, before);
  }

  private now(): Date {
    return this.cloud.clock.now();
  }

  /** Evaluates at once, and then at every turn of the clock. Whoever moves the clock gets one evaluation, at the new time. */
  private async watch(alarm: Alarm): Promise<void> {
    const { signal } = alarm.ended;
    const pause = alarm.settings.period < 60 ? evaluationPause.highResolution : evaluationPause.standard;
    while (!signal.aborted) {
      this.check(alarm);
      const now = this.now().getTime();
      try {
        await this.cloud.clock.sleep(pause - (now % pause), signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
    }
  }

  private check(alarm: Alarm): void {
    const { settings } = alarm;
    const period = settings.period * 1000;
    // The period that is still going on is not complete.
    const to = Math.floor(this.now().getTime() / period) * period;
    const from = to - evaluationRange(settings) * period;
    const identity = { namespace: settings.namespace, name: settings.metric, dimensions: settings.dimensions };
    const found = this.metrics.periods(identity, from, to, period, settings.unit);
    const values = new Map(found.map((each) => [each.start, statistics[settings.statistic](each)]));
    const points = Array.from({ length: evaluationRange(settings) }, (_, index) => values.get(from + index * period));
    const state = evaluate(settings, points);
    if (state === undefined || state === alarm.state.value) return;
    this.setState(alarm, state, reasonFor(settings, state, points), reasonData(settings, points, this.now()));
  }

  /** "Alarm events and EventBridge". */
  private announce({ arn, settings, state }: Alarm, before: AlarmStateRecord): void {
    const described = ({ value, reason, reasonData, updated }: AlarmStateRecord): object => ({
      value,
      reason,
      reasonData,
      timestamp: eventTime(updated),
    });
    const metric = {
      namespace: settings.namespace,
      name: settings.metric,
      dimensions: Object.fromEntries(settings.dimensions.map(({ Name = "", Value = "" }) => [Name, Value])),
    };
    this.cloud.emit({
      source: "aws.cloudwatch",
      detailType: "CloudWatch Alarm State Change",
      resources: [arn],
      detail: {
        alarmName: settings.name,
        state: described(state),
        previousState: described(before),
        configuration: {
          description: settings.description,
          metrics: [
            {
              id: "m1",
              metricStat: { metric, period: settings.period, stat: settings.statistic, unit: settings.unit },
              returnData: true,
            },
          ],
        },
      },
    });
  }
}

function reasonFor(settings: AlarmSettings, state: AlarmState, points: readonly (number | undefined)[]): string {
  const recent = points.filter((point) => point !== undefined).slice(-settings.evaluationPeriods);
  if (recent.length === 0) {
    const none = `no datapoints were received for ${settings.evaluationPeriods} periods`;
    if (state === "INSUFFICIENT_DATA") return `Insufficient Data: ${none}.`;
    const treated = settings.missing === "breaching" ? "Breaching" : "NonBreaching";
    return `Threshold Crossed: ${none} and ${settings.evaluationPeriods} missing datapoints were treated as [${treated}].`;
  }
  const listed = recent.map(String).reverse().join(", ");
  const not = state === "ALARM" ? "" : "not ";
  const comparison = settings.comparison.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return (
    `Threshold Crossed: ${recent.length} out of the last ${settings.evaluationPeriods} datapoints [${listed}] ` +
    `${not}${comparison.replace(" threshold", ` the threshold (${settings.threshold})`)}.`
  );
}

function reasonData(settings: AlarmSettings, points: readonly (number | undefined)[], now: Date): string {
  return JSON.stringify({
    version: "1.0",
    queryDate: eventTime(now),
    statistic: settings.statistic,
    period: settings.period,
    recentDatapoints: points.filter((point) => point !== undefined).slice(-settings.evaluationPeriods),
    threshold: settings.threshold,
  });
}

/** CloudWatch writes `+0000` where others write `Z`. */
function eventTime(date: Date): string {
  return date.toISOString().replace("Z", "+0000");
}
