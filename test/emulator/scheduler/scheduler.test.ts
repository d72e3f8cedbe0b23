import assert from "node:assert/strict";
import * as scheduler from "@aws-sdk/client-scheduler";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install as iam } from "../../../emulator/services/iam";
import { install } from "../../../emulator/services/scheduler";
import { scheduleExpression } from "../../../emulator/services/scheduler/schedule-expression";
import { fakeCodeBuild, until } from "../events/builds";
import { createRole, trustOf } from "../iam/role";
import { clientSettings } from "../support";

const project = "arn:aws:codebuild:us-east-1:123456789012:project/rescue";
const universal = "arn:aws:scheduler:::aws-sdk:codebuild:startBuild";

describe("A schedule expression", () => {
  const times = (expression: string, after: string, many = 3) => {
    const recurrence = scheduleExpression(expression);
    const found: (string | undefined)[] = [];
    let last: Date | undefined = new Date(after);
    for (let turn = 0; turn < many && last; turn++) {
      last = recurrence.next(last, new Date("2026-01-01T00:00:00Z"));
      found.push(last?.toISOString().slice(0, 16));
    }
    return found;
  };
  const cases: readonly [string, string, readonly (string | undefined)[]][] = [
    ["rate(10 minutes)", "2026-01-01T00:05:00Z", ["2026-01-01T00:10", "2026-01-01T00:20", "2026-01-01T00:30"]],
    ["rate(1 hour)", "2025-12-31T23:00:00Z", ["2026-01-01T00:00", "2026-01-01T01:00", "2026-01-01T02:00"]],
    ["cron(0 2 * * ? *)", "2026-02-27T02:00:00Z", ["2026-02-28T02:00", "2026-03-01T02:00", "2026-03-02T02:00"]],
    [
      "cron(30 6,18 ? * MON-FRI *)",
      "2026-01-02T07:00:00Z",
      ["2026-01-02T18:30", "2026-01-05T06:30", "2026-01-05T18:30"],
    ],
    [
      "cron(0/20 12 1 JAN,JUL ? 2026)",
      "2026-01-01T12:20:00Z",
      ["2026-01-01T12:40", "2026-07-01T12:00", "2026-07-01T12:20"],
    ],
    ["cron(0 0 30 2 ? *)", "2026-01-01T00:00:00Z", [undefined]],
    ["at(2026-05-01T10:00:00)", "2026-01-01T00:00:00Z", ["2026-05-01T10:00", undefined]],
  ];
  for (const [expression, after, expected] of cases)
    it(`means with ${expression} what AWS documents`, () => assert.deepEqual(times(expression, after), expected));

  it("that is malformed is refused", () => {
    for (const text of [
      "rate(0 minutes)",
      "rate(5)",
      "cron(* * * * * *)",
      "cron(0 0 * * ?)",
      "cron(60 0 * * ? *)",
      "at(soon)",
      "x",
    ])
      assert.throws(() => scheduleExpression(text), { code: "ValidationException" }, text);
  });
});

describe("EventBridge Scheduler", () => {
  const builds = fakeCodeBuild();
  let emulator: Emulator;
  let client: scheduler.SchedulerClient;
  let count = 0;
  let Name = "";
  let RoleArn = "";

  before(async () => {
    emulator = await startEmulator({ services: [iam, install, builds.install] });
    client = new scheduler.SchedulerClient(clientSettings(emulator));
  });
  after(async () => {
    client.destroy();
    await emulator.close();
  });
  beforeEach(async () => {
    Name = `schedule-${++count}`;
    const statements = [{ Action: "codebuild:StartBuild", Resource: project }];
    const group = { ArnEquals: { "aws:SourceArn": "arn:aws:scheduler:us-east-1:123456789012:schedule-group/default" } };
    RoleArn = await createRole(emulator, `role-${count}`, statements, trustOf("scheduler.amazonaws.com", group));
    builds.started.length = 0;
    emulator.failures.length = 0;
  });
  afterEach(async () => {
    await client.send(new scheduler.DeleteScheduleCommand({ Name })).catch(() => undefined);
  });

  const input = (more: Partial<scheduler.CreateScheduleCommandInput> = {}) => ({
    Name,
    ScheduleExpression: "rate(10 minutes)",
    FlexibleTimeWindow: { Mode: "OFF" as const },
    Target: { Arn: universal, RoleArn, Input: JSON.stringify({ ProjectName: "rescue" }) },
    ...more,
  });
  const create = (more: Partial<scheduler.CreateScheduleCommandInput> = {}) =>
    client.send(new scheduler.CreateScheduleCommand(input(more)));
  const settle = async () => {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  };

  it("starts a build within the minute of its creation, and then at the rate", async () => {
    await create();
    await settle();
    emulator.cloud.clock.advance(60_000);
    await until(() => builds.started.length === 1);
    emulator.cloud.clock.advance(500_000);
    await settle();
    assert.equal(builds.started.length, 1);
    emulator.cloud.clock.advance(100_000);
    await until(() => builds.started.length === 2);
    assert.deepEqual(builds.started[0]?.input, { projectName: "rescue" });
    assert.match(builds.started[0]?.by ?? "", new RegExp(`assumed-role/role-${count}/`));
  });

  it("takes a project as a templated target, and the API's own names in a universal one", async () => {
    await create({ Target: { Arn: project, RoleArn } });
    await settle();
    emulator.cloud.clock.advance(60_000);
    await until(() => builds.started.length === 1);
    const Input = JSON.stringify({
      projectName: "rescue",
      environmentVariablesOverride: [{ name: "A", value: "1", type: "PLAINTEXT" }],
    });
    await client.send(new scheduler.UpdateScheduleCommand(input({ Target: { Arn: universal, RoleArn, Input } })));
    await settle();
    emulator.cloud.clock.advance(60_000);
    await until(() => builds.started.length === 2);
    assert.equal(builds.started[1]?.input.environmentVariablesOverride?.[0]?.name, "A");
  });

  it("stops when it is disabled, deleted, or its end has come", async () => {
    await create({ EndDate: new Date(emulator.cloud.clock.now().getTime() + 700_000) });
    await settle();
    emulator.cloud.clock.advance(60_000);
    await until(() => builds.started.length === 1);
    emulator.cloud.clock.advance(600_000);
    await until(() => builds.started.length === 2);
    emulator.cloud.clock.advance(600_000);
    await settle();
    await client.send(new scheduler.UpdateScheduleCommand(input({ State: "DISABLED" })));
    emulator.cloud.clock.advance(600_000);
    await settle();
    await client.send(new scheduler.DeleteScheduleCommand({ Name }));
    await assert.rejects(client.send(new scheduler.GetScheduleCommand({ Name })), {
      name: "ResourceNotFoundException",
    });
    assert.equal(builds.started.length, 2);
  });

  it("invokes a one-time schedule once, and deletes it when told to", async () => {
    const time = new Date(emulator.cloud.clock.now().getTime() + 3_600_000).toISOString().slice(0, 19);
    await create({ ScheduleExpression: `at(${time})`, ActionAfterCompletion: "DELETE" });
    await settle();
    emulator.cloud.clock.advance(3_600_000 + 60_000);
    await until(() => builds.started.length === 1);
    await until(() => !emulator.cloud.stores.scheduler.schedules.has(Name));
  });

  it("refuses a role that it cannot assume, and what it could not run", async () => {
    const other = await createRole(emulator, `other-${count}`, [], trustOf("events.amazonaws.com"));
    await assert.rejects(create({ Target: { Arn: project, RoleArn: other } }), {
      name: "ValidationException",
      message: /must allow AWS EventBridge Scheduler to assume the role/,
    });
    await assert.rejects(create({ ScheduleExpression: "rate(x)" }), { name: "ValidationException" });
    await assert.rejects(create({ Target: { Arn: universal, RoleArn, Input: "{}" } }), { name: "ValidationException" });
    await assert.rejects(create({ Target: { Arn: "arn:aws:sqs:us-east-1:1:q", RoleArn } }), {
      message: /NotImplemented/,
    });
    await assert.rejects(create({ GroupName: "own" }), { name: "ResourceNotFoundException" });
    const RetryPolicy = { MaximumEventAgeInSeconds: 59 };
    await assert.rejects(create({ Target: { Arn: project, RoleArn, RetryPolicy } }), /between 60 and 86400/);
    await assert.rejects(create({ FlexibleTimeWindow: { Mode: "FLEXIBLE", MaximumWindowInMinutes: 1441 } }), /1440/);
    await create();
    await assert.rejects(create(), { name: "ConflictException" });
  });

  it("takes a repeated request for what it is: the schedule was created once", async () => {
    const ClientToken = "the-same-token";
    const { ScheduleArn } = await create({ ClientToken });
    assert.equal((await create({ ClientToken })).ScheduleArn, ScheduleArn);
    await assert.rejects(create({ ClientToken: "another" }), { name: "ConflictException" });
  });

  it("gives back what it was told", async () => {
    const { ScheduleArn } = await create({ Description: "d" });
    assert.equal(ScheduleArn, `arn:aws:scheduler:us-east-1:123456789012:schedule/default/${Name}`);
    const found = await client.send(new scheduler.GetScheduleCommand({ Name }));
    assert.equal(found.ScheduleExpression, "rate(10 minutes)");
    assert.equal(found.Description, "d");
    assert.deepEqual(found.Target, input().Target);
    assert.equal(found.State, "ENABLED");
    assert.ok(found.CreationDate instanceof Date);
  });
});
