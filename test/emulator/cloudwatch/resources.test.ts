import assert from "node:assert/strict";
import type { Properties, ResourceContext } from "../../../emulator/core/definitions";
import type { Emulator } from "../../../emulator/emulator";
import { install } from "../../../emulator/services/cloudwatch";
import { resources } from "../../../emulator/services/cloudwatch/resources";
import { install as iam } from "../../../emulator/services/iam";
import { withEmulator } from "../support";

const [metricAlarm] = resources;
assert.ok(metricAlarm);

function resourceContext({ cloud }: Emulator): ResourceContext {
  const principal = { kind: "root", arn: `arn:aws:iam::${cloud.account}:root` } as const;
  return { cloud, principal, send: (command) => cloud.send(principal, command), made: () => undefined };
}

const inputs: Properties = {
  name: "errors",
  alarmDescription: "orders fail",
  namespace: "Shop",
  metricName: "Errors",
  dimensions: { Service: "orders" },
  statistic: "Sum",
  period: 60,
  evaluationPeriods: 3,
  datapointsToAlarm: 2,
  threshold: 5,
  comparisonOperator: "GreaterThanThreshold",
  treatMissingData: "notBreaching",
  tags: { team: "shop" },
};
const services = [iam, install];

describe("The resource aws:cloudwatch/metricAlarm:MetricAlarm", () => {
  it("reads back what it was created with, and nothing that the program left out", async () => {
    await withEmulator(
      async (emulator) => {
        const context = resourceContext(emulator);
        const created = await metricAlarm.create(inputs, context);
        assert.equal(created.id, "errors");
        assert.equal(created.outputs.arn, "arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors");
        assert.deepEqual(await metricAlarm.read("errors", created.outputs, context), created);
        const { threshold: _t, treatMissingData: _m, dimensions: _d, tags: _g, ...rest } = inputs;
        const bare = await metricAlarm.create({ ...rest, name: "bare" }, context);
        assert.deepEqual(await metricAlarm.read("bare", bare.outputs, context), bare);
      },
      { services },
    );
  });

  it("changes every input but its name in place", async () => {
    await withEmulator(
      async (emulator) => {
        const context = resourceContext(emulator);
        const { outputs } = await metricAlarm.create(inputs, context);
        const news = {
          ...inputs,
          alarmDescription: "more",
          dimensions: { Service: "other" },
          statistic: "Maximum",
          period: 120,
          unit: "Count",
          evaluationPeriods: 2,
          datapointsToAlarm: 1,
          threshold: 7,
          comparisonOperator: "LessThanThreshold",
          treatMissingData: "breaching",
          actionsEnabled: false,
          tags: { team: "other", cost: "1" },
        };
        await metricAlarm.update?.("errors", news, outputs, context);
        const read = await metricAlarm.read("errors", {}, context);
        for (const [name, value] of Object.entries(news)) assert.deepEqual(read?.outputs[name], value, name);
      },
      { services },
    );
  });

  it("is gone when it was deleted, and deleting it again does no harm", async () => {
    await withEmulator(
      async (emulator) => {
        const context = resourceContext(emulator);
        const { outputs } = await metricAlarm.create(inputs, context);
        await metricAlarm.delete("errors", outputs, context);
        await metricAlarm.delete("errors", outputs, context);
        assert.equal(await metricAlarm.read("errors", outputs, context), undefined);
      },
      { services },
    );
  });
});
