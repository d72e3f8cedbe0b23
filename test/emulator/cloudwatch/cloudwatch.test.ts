import assert from "node:assert/strict";
import * as cloudwatch from "@aws-sdk/client-cloudwatch";
import type { CloudEvent } from "../../../emulator/core/definitions";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { install } from "../../../emulator/services/cloudwatch";
import { install as iam } from "../../../emulator/services/iam";
import { until } from "../events/builds";
import { clientSettings } from "../support";

const minute = 60_000;

describe("CloudWatch", () => {
  let emulator: Emulator;
  let client: cloudwatch.CloudWatchClient;
  let count = 0;
  let name = "";

  before(async () => {
    emulator = await startEmulator({ services: [iam, install] });
    client = new cloudwatch.CloudWatchClient(clientSettings(emulator));
  });
  beforeEach(() => {
    name = `errors-${++count}`;
  });
  after(() => emulator.close());

  const alarm = (more: Partial<cloudwatch.PutMetricAlarmCommandInput> = {}) =>
    client.send(
      new cloudwatch.PutMetricAlarmCommand({
        AlarmName: name,
        Namespace: "Shop",
        MetricName: name,
        Statistic: "Sum",
        Period: 60,
        EvaluationPeriods: 1,
        Threshold: 1,
        ComparisonOperator: "GreaterThanOrEqualToThreshold",
        ...more,
      }),
    );
  const put = (MetricData: cloudwatch.MetricDatum[]) =>
    client.send(new cloudwatch.PutMetricDataCommand({ Namespace: "Shop", MetricData }));
  async function described(): Promise<cloudwatch.MetricAlarm> {
    const { MetricAlarms = [] } = await client.send(new cloudwatch.DescribeAlarmsCommand({ AlarmNames: [name] }));
    return MetricAlarms[0] ?? {};
  }
  const stateNow = () => emulator.cloud.stores.cloudwatch.alarms.get(name)?.state.value;
  const now = () => emulator.cloud.clock.now();

  it("creates an alarm in INSUFFICIENT_DATA and describes it as it was configured", async () => {
    await alarm({
      AlarmDescription: "orders fail",
      TreatMissingData: "ignore",
      Dimensions: [{ Name: "a", Value: "b" }],
    });
    const found = await described();
    assert.equal(found.StateValue, "INSUFFICIENT_DATA");
    assert.equal(found.AlarmArn, `arn:aws:cloudwatch:us-east-1:123456789012:alarm:${name}`);
    assert.equal(found.AlarmDescription, "orders fail");
    assert.equal(found.DatapointsToAlarm, undefined);
    assert.deepEqual(found.Dimensions, [{ Name: "a", Value: "b" }]);
    assert.deepEqual(found.AlarmActions, []);
  });

  it("goes to ALARM when the period is over in which the metric breached, and back to OK, and tells both", async () => {
    const events: CloudEvent[] = [];
    const stop = emulator.cloud.listen((event) => void events.push(event));
    await alarm({ TreatMissingData: "notBreaching" });
    await put([{ MetricName: name, Value: 1 }]);
    emulator.cloud.clock.advance(minute);
    await until(() => stateNow() === "ALARM");
    assert.match((await described()).StateReason ?? "", /^Threshold Crossed: 1 out of the last 1 datapoints \[1\]/);
    emulator.cloud.clock.advance(5 * minute);
    await until(() => stateNow() === "OK");
    stop();
    const told = events.filter(({ resources }) => resources?.[0]?.endsWith(name));
    const states = told.map(({ detail }) => {
      const { state, previousState } = detail as Record<string, { value: string }>;
      return [previousState?.value, state?.value];
    });
    assert.deepEqual(states.slice(-2), [
      ["OK", "ALARM"],
      ["ALARM", "OK"],
    ]);
    assert.equal(told[0]?.source, "aws.cloudwatch");
    assert.equal(told[0].detailType, "CloudWatch Alarm State Change");
  });

  it("keeps a state that was set by hand until an evaluation finds another one", async () => {
    await alarm();
    const request = { AlarmName: name, StateValue: "ALARM", StateReason: "a drill" } as const;
    await client.send(new cloudwatch.SetAlarmStateCommand(request));
    assert.equal((await described()).StateReason, "a drill");
    emulator.cloud.clock.advance(minute);
    await until(() => stateNow() === "INSUFFICIENT_DATA");
  });

  it("keeps the state of an alarm that is changed, and evaluates by the new settings", async () => {
    await alarm({ TreatMissingData: "ignore" });
    await client.send(new cloudwatch.SetAlarmStateCommand({ AlarmName: name, StateValue: "ALARM", StateReason: "x" }));
    await alarm({ TreatMissingData: "ignore", Threshold: 7 });
    const found = await described();
    assert.deepEqual([found.StateValue, found.Threshold], ["ALARM", 7]);
  });

  it("deletes all of the named alarms or none", async () => {
    await alarm();
    const both = new cloudwatch.DeleteAlarmsCommand({ AlarmNames: [name, "nobody"] });
    await assert.rejects(client.send(both), { name: "ResourceNotFound" });
    assert.equal((await described()).AlarmName, name);
    await client.send(new cloudwatch.DeleteAlarmsCommand({ AlarmNames: [name] }));
    assert.deepEqual(await described(), {});
  });

  it("gives alarms in pages, by prefix and by state", async () => {
    for (const letter of ["c", "a", "b"]) await alarm({ AlarmName: `${name}-${letter}` });
    const page = await client.send(new cloudwatch.DescribeAlarmsCommand({ AlarmNamePrefix: name, MaxRecords: 2 }));
    const names = (answer: cloudwatch.DescribeAlarmsCommandOutput) =>
      answer.MetricAlarms?.map((each) => each.AlarmName);
    assert.deepEqual(names(page), [`${name}-a`, `${name}-b`]);
    const { NextToken } = page;
    const rest = await client.send(new cloudwatch.DescribeAlarmsCommand({ AlarmNamePrefix: name, NextToken }));
    assert.deepEqual(names(rest), [`${name}-c`]);
    const ok = await client.send(new cloudwatch.DescribeAlarmsCommand({ AlarmNamePrefix: name, StateValue: "OK" }));
    assert.deepEqual(names(ok), []);
  });

  it("tags alarms, and ignores the tags of a change", async () => {
    await alarm({ Tags: [{ Key: "a", Value: "1" }] });
    await alarm({ Tags: [{ Key: "b", Value: "2" }] });
    const ResourceARN = (await described()).AlarmArn;
    const tags = async () => (await client.send(new cloudwatch.ListTagsForResourceCommand({ ResourceARN }))).Tags;
    assert.deepEqual(await tags(), [{ Key: "a", Value: "1" }]);
    await client.send(new cloudwatch.TagResourceCommand({ ResourceARN, Tags: [{ Key: "c", Value: "3" }] }));
    await client.send(new cloudwatch.UntagResourceCommand({ ResourceARN, TagKeys: ["a"] }));
    assert.deepEqual(await tags(), [{ Key: "c", Value: "3" }]);
  });

  const refusals: readonly [string, Partial<cloudwatch.PutMetricAlarmCommandInput>, RegExp][] = [
    ["a period that is none", { Period: 45 }, /multiple of 60/],
    ["more than a day of periods", { Period: 60, EvaluationPeriods: 1441 }, /more than a day/],
    ["more data points to alarm than periods", { DatapointsToAlarm: 2 }, /DatapointsToAlarm/],
    ["an unknown treatment of missing data", { TreatMissingData: "alarm" }, /TreatMissingData/],
    ["a name of more than 255 characters", { AlarmName: "x".repeat(256) }, /length from 1 to 255/],
    [
      "actions, which it has not",
      { AlarmActions: ["arn:aws:sns:us-east-1:123456789012:t"] },
      /PutMetricAlarm.AlarmActions/,
    ],
  ];
  for (const [what, input, message] of refusals)
    it(`refuses an alarm with ${what}`, () => assert.rejects(alarm(input), { message }));

  it("adds up what falls into the same minute, and gives every statistic of it", async () => {
    const Timestamp = new Date(Math.floor(now().getTime() / minute) * minute);
    await put([
      { MetricName: name, Value: 4, Timestamp, Unit: "Seconds" },
      { MetricName: name, Values: [1, 10], Counts: [2, 1], Timestamp, Unit: "Seconds" },
      {
        MetricName: name,
        StatisticValues: { SampleCount: 2, Sum: 4, Minimum: 2, Maximum: 2 },
        Timestamp,
        Unit: "Seconds",
      },
    ]);
    const range = { StartTime: new Date(Timestamp.getTime() + 1), EndTime: new Date(Timestamp.getTime() + minute) };
    const all = ["SampleCount", "Sum", "Average", "Minimum", "Maximum"] as const;
    const { Datapoints } = await client.send(
      new cloudwatch.GetMetricStatisticsCommand({
        Namespace: "Shop",
        MetricName: name,
        Period: 60,
        Statistics: [...all],
        ...range,
      }),
    );
    const expected = { SampleCount: 6, Sum: 20, Average: 20 / 6, Minimum: 1, Maximum: 10 };
    assert.deepEqual(Datapoints, [{ Timestamp, Unit: "Seconds", ...expected }]);
  });

  it("reads a body that the client has compressed", async () => {
    const many = Array.from({ length: 400 }, (_, index) => ({ MetricName: `${name}-${index}`, Value: index }));
    await put(many);
    const identity = { namespace: "Shop", name: `${name}-399`, dimensions: [] };
    const found = emulator.cloud.stores.cloudwatch.metrics.periods(identity, 0, now().getTime() + minute, minute);
    assert.equal(found[0]?.sum, 399);
  });

  const bad: readonly [string, Partial<cloudwatch.MetricDatum>, RegExp][] = [
    ["no value", {}, /At least one/],
    ["two kinds of values", { Value: 1, Values: [1] }, /mutually exclusive/],
    ["a time of three weeks ago", { Value: 1, Timestamp: new Date(Date.now() - 21 * 86_400_000) }, /two weeks/],
  ];
  for (const [what, datum, message] of bad)
    it(`refuses data with ${what}`, () => assert.rejects(put([{ MetricName: "x", ...datum }]), { message }));

  it("refuses to let anybody publish into AWS's own namespaces", async () => {
    const request = { Namespace: "AWS/RDS", MetricData: [{ MetricName: "FreeStorageSpace", Value: 1 }] };
    await assert.rejects(client.send(new cloudwatch.PutMetricDataCommand(request)), /AWS\//);
  });
});
