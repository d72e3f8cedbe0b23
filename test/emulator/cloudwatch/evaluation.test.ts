import assert from "node:assert/strict";
import {
  type AlarmRule,
  type AlarmState,
  evaluate,
  evaluationRange,
  type MissingData,
} from "../../../emulator/services/cloudwatch/evaluation";

/** Two rows of the documentation's tables: `0` is well, `X` breaches, `-` is missing; the newest is last. */
const treatments: readonly MissingData[] = ["missing", "ignore", "breaching", "notBreaching"];
const keeps = undefined;
type Row = readonly [string, readonly (AlarmState | undefined)[]];

const threeOfThree: readonly Row[] = [
  ["0 - X - X", ["OK", "OK", "OK", "OK"]],
  ["- - - - 0", ["OK", "OK", "OK", "OK"]],
  ["- - - - -", ["INSUFFICIENT_DATA", keeps, "ALARM", "OK"]],
  ["0 X X - X", ["ALARM", "ALARM", "ALARM", "ALARM"]],
  ["- - X - -", ["ALARM", keeps, "ALARM", "OK"]],
];
const twoOfThree: readonly Row[] = [
  ["0 - X - X", ["ALARM", "ALARM", "ALARM", "ALARM"]],
  ["0 0 X 0 X", ["ALARM", "ALARM", "ALARM", "ALARM"]],
  ["0 - X - -", ["OK", "OK", "ALARM", "OK"]],
  ["- - - - 0", ["OK", "OK", "ALARM", "OK"]],
  ["- - - X -", ["ALARM", keeps, "ALARM", "OK"]],
];

describe("An alarm's evaluation", () => {
  const rule = (datapointsToAlarm: number, missing: MissingData): AlarmRule => ({
    evaluationPeriods: 3,
    datapointsToAlarm,
    comparison: "GreaterThanThreshold",
    threshold: 1,
    missing,
  });
  const values = { "0": 0, X: 2, "-": undefined } as const;
  const points = (text: string) => text.split(" ").map((each) => values[each as keyof typeof values]);

  for (const [datapoints, rows] of [
    [3, threeOfThree],
    [2, twoOfThree],
  ] as const)
    for (const [text, expected] of rows)
      it(`of ${text}, ${datapoints} of 3, is what AWS documents for each treatment of missing data`, () => {
        assert.equal(points(text).length, evaluationRange(rule(datapoints, "missing")));
        const found = treatments.map((missing) => evaluate(rule(datapoints, missing), points(text)));
        assert.deepEqual(found, expected);
      });

  it("does not go off at the first of three breaches", () => {
    assert.equal(evaluate(rule(3, "missing"), points("- - - - X")), "OK");
  });

  for (const [comparison, expected] of [
    ["GreaterThanThreshold", ["OK", "OK", "ALARM"]],
    ["GreaterThanOrEqualToThreshold", ["OK", "ALARM", "ALARM"]],
    ["LessThanThreshold", ["ALARM", "OK", "OK"]],
    ["LessThanOrEqualToThreshold", ["ALARM", "ALARM", "OK"]],
  ] as const)
    it(`compares with ${comparison}`, () => {
      const one = { evaluationPeriods: 1, datapointsToAlarm: 1, comparison, threshold: 1, missing: "missing" } as const;
      assert.deepEqual(
        [0, 1, 2].map((value) => evaluate(one, [value])),
        expected,
      );
    });
});
