/**
 * Whether an alarm goes off: a pure function of the metric's latest data points.
 * Source: "Configuring how CloudWatch alarms treat missing data", whose two tables are the test of it.
 */

export type AlarmState = "OK" | "ALARM" | "INSUFFICIENT_DATA";
export type MissingData = "missing" | "ignore" | "breaching" | "notBreaching";

export interface AlarmRule {
  readonly evaluationPeriods: number;
  readonly datapointsToAlarm: number;
  readonly comparison: Comparison;
  readonly threshold: number;
  readonly missing: MissingData;
}

export const comparisons = {
  GreaterThanOrEqualToThreshold: (value: number, threshold: number) => value >= threshold,
  GreaterThanThreshold: (value: number, threshold: number) => value > threshold,
  LessThanThreshold: (value: number, threshold: number) => value < threshold,
  LessThanOrEqualToThreshold: (value: number, threshold: number) => value <= threshold,
} as const;
export type Comparison = keyof typeof comparisons;

/**
 * How many periods are looked at: more than are evaluated, so that missing ones can be left out. How many more is not
 * documented; it is two in the documentation's examples.
 */
export function evaluationRange({ evaluationPeriods }: Pick<AlarmRule, "evaluationPeriods">): number {
  return evaluationPeriods + 2;
}

/**
 * The state that an alarm takes; undefined: it keeps its state.
 *
 * @param points - one value per period of the evaluation range, the oldest first; undefined where there is no data
 */
export function evaluate(rule: AlarmRule, points: readonly (number | undefined)[]): AlarmState | undefined {
  const breaches = (value: number): boolean => comparisons[rule.comparison](value, rule.threshold);
  const real = points.filter((point) => point !== undefined);
  // "CloudWatch uses missing data points only as few times as possible."
  const filled = Math.max(rule.evaluationPeriods - real.length, 0);
  const considered = filled > 0 ? real : real.slice(-rule.evaluationPeriods);
  const breaching = considered.filter(breaches).length;
  const crossed = (count: number): AlarmState => (count >= rule.datapointsToAlarm ? "ALARM" : "OK");
  if (filled === 0 || breaching >= rule.datapointsToAlarm) return crossed(breaching);
  switch (rule.missing) {
    case "breaching":
      return crossed(breaching + filled);
    case "notBreaching":
      return "OK";
    case "ignore":
      return breaching < considered.length ? "OK" : undefined;
    case "missing":
      if (considered.length === 0) return "INSUFFICIENT_DATA";
      return isPremature(rule, points, breaching === considered.length) ? "ALARM" : "OK";
  }
}

/**
 * "Alarms are designed to always go into ALARM state when the oldest available breaching datapoint during the
 * Evaluation Periods number of data points is at least as old as the value of Datapoints to Alarm, and all other more
 * recent data points are breaching or missing."
 */
function isPremature(rule: AlarmRule, points: readonly (number | undefined)[], allBreaching: boolean): boolean {
  const age = points.length - points.findIndex((point) => point !== undefined);
  return allBreaching && age >= rule.datapointsToAlarm;
}
