import assert from "node:assert/strict";
import * as eb from "@aws-sdk/client-eventbridge";
import { AwsError } from "../../../emulator/core/definitions";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install } from "../../../emulator/services/events";
import { install as iam } from "../../../emulator/services/iam";
import { createRole, trustOf } from "../iam/role";
import { clientSettings } from "../support";
import { fakeCodeBuild, until } from "./builds";

const project = "arn:aws:codebuild:us-east-1:123456789012:project/rescue";

describe("EventBridge", () => {
  const builds = fakeCodeBuild();
  let emulator: Emulator;
  let client: eb.EventBridgeClient;
  let count = 0;
  let Rule = "";

  before(async () => {
    emulator = await startEmulator({ services: [iam, install, builds.install] });
    client = new eb.EventBridgeClient(clientSettings(emulator));
  });
  after(async () => {
    client.destroy();
    await emulator.close();
  });
  beforeEach(() => {
    Rule = `rule-${++count}`;
    builds.started.length = 0;
    builds.failures.length = 0;
    emulator.failures.length = 0;
  });

  const putRule = (pattern: object, more: Partial<eb.PutRuleCommandInput> = {}) =>
    client.send(new eb.PutRuleCommand({ Name: Rule, EventPattern: JSON.stringify(pattern), ...more }));
  const roleFor = (trust = trustOf("events.amazonaws.com"), resource = project) =>
    createRole(emulator, `role-${count}`, [{ Action: "codebuild:StartBuild", Resource: resource }], trust);
  const putTarget = (RoleArn: string | undefined, more: Partial<eb.Target> = {}) =>
    client.send(new eb.PutTargetsCommand({ Rule, Targets: [{ Id: "t", Arn: project, RoleArn, ...more }] }));
  const emit = (state: string, pipeline = `pipeline-${count}`) =>
    emulator.cloud.emit({
      source: "aws.codepipeline",
      detailType: "CodePipeline Pipeline Execution State Change",
      detail: { pipeline, state, "execution-id": "e-1" },
    });
  const failed = () => ({
    source: ["aws.codepipeline"],
    detail: { pipeline: [`pipeline-${count}`], state: ["FAILED"] },
  });

  it("starts a build, as the target's role, with what the transformer makes of the event [B8.2]", async () => {
    await putRule(failed());
    await putTarget(await roleFor(), {
      InputTransformer: {
        InputPathsMap: { x: "$.detail.execution-id" },
        InputTemplate: '{"environmentVariablesOverride": [{"name": "RUN", "type": "PLAINTEXT", "value": <x>}]}',
      },
    });
    emit("SUCCEEDED");
    emit("FAILED", "another");
    emit("FAILED");
    await until(() => builds.started.length > 0);
    assert.equal(builds.started.length, 1);
    const [started] = builds.started;
    assert.equal(started?.input.projectName, "rescue");
    assert.deepEqual(started?.input.environmentVariablesOverride, [{ name: "RUN", type: "PLAINTEXT", value: "e-1" }]);
    assert.match(started?.by ?? "", new RegExp(`assumed-role/role-${count}/`));
  });

  it("starts a plain build when the target has no input", async () => {
    await putRule(failed());
    await putTarget(await roleFor());
    emit("FAILED");
    await until(() => builds.started.length > 0);
    assert.deepEqual(builds.started[0]?.input, { projectName: "rescue" });
  });

  it("does nothing for a rule that is disabled or has lost its target", async () => {
    await putRule(failed(), { State: "DISABLED" });
    await putTarget(await roleFor());
    emit("FAILED");
    await putRule(failed());
    emit("FAILED");
    await until(() => builds.started.length > 0);
    await client.send(new eb.RemoveTargetsCommand({ Rule, Ids: ["t"] }));
    emit("FAILED");
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(builds.started.length, 1);
  });

  it("drops the event when the role may not start the build, or may not be assumed", async () => {
    await putRule(failed());
    await putTarget(await roleFor(trustOf("events.amazonaws.com"), `${project}-other`));
    emit("FAILED");
    await until(() => emulator.failures.length > 0);
    assert.match(emulator.failures[0]?.error.message ?? "", /not authorized to perform: codebuild:StartBuild/);
    count++;
    Rule = `rule-${count}`;
    await putRule(failed());
    await putTarget(
      await roleFor(trustOf("events.amazonaws.com", { ArnEquals: { "aws:SourceArn": "arn:aws:x:y:z:1:2" } })),
    );
    emit("FAILED");
    await until(() => emulator.failures.length > 1);
    assert.match(emulator.failures[1]?.error.message ?? "", /not authorized to perform: sts:AssumeRole/);
    assert.equal(builds.started.length, 0);
  });

  it("tries again after throttling, and not after a refusal", async () => {
    await putRule(failed());
    await putTarget(await roleFor());
    builds.failures.push(new AwsError("ThrottlingException", "Rate exceeded", 400));
    emit("FAILED");
    await until(() => builds.failures.length === 0);
    await until(() => {
      emulator.cloud.clock.advance(1000);
      return builds.started.length > 0;
    });
    builds.failures.push(new AwsError("AccountLimitExceededException", "Cannot have more than 1 builds", 400));
    emit("FAILED");
    await until(() => emulator.failures.length > 0);
    assert.equal(emulator.failures[0]?.error.code, "AccountLimitExceededException");
    assert.equal(builds.started.length, 1);
  });

  it("starts the build twice, or later, when a fault delivers the event so [B8.3]", async () => {
    await putRule(failed());
    await putTarget(await roleFor(), { InputTransformer: { InputTemplate: '{"environmentVariablesOverride": []}' } });
    emulator.faults.inject({ at: "events.delivery", when: { rule: Rule }, effect: { kind: "twice" } });
    emit("FAILED");
    await until(() => builds.started.length === 2);
    assert.deepEqual(builds.started[0]?.input, builds.started[1]?.input);
    const late = { kind: "late", milliseconds: 600_000 } as const;
    emulator.faults.inject({ at: "events.delivery", when: { rule: Rule }, effect: late });
    emit("FAILED");
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(builds.started.length, 2);
    emulator.cloud.clock.advance(600_000);
    await until(() => builds.started.length === 3);
  });

  it("keeps rules and targets, and refuses to delete a rule that has any", async () => {
    const { RuleArn } = await putRule(failed(), { Tags: [{ Key: "a", Value: "1" }], Description: "d" });
    assert.equal(RuleArn, `arn:aws:events:us-east-1:123456789012:rule/${Rule}`);
    const RoleArn = await roleFor();
    await putTarget(RoleArn);
    const { Targets } = await client.send(new eb.ListTargetsByRuleCommand({ Rule }));
    assert.deepEqual(Targets, [{ Id: "t", Arn: project, RoleArn }]);
    const { Tags } = await client.send(new eb.ListTagsForResourceCommand({ ResourceARN: RuleArn }));
    assert.deepEqual(Tags, [{ Key: "a", Value: "1" }]);
    const remove = () => client.send(new eb.DeleteRuleCommand({ Name: Rule }));
    await assert.rejects(remove(), { name: "ValidationException" });
    await client.send(new eb.RemoveTargetsCommand({ Rule, Ids: ["t"] }));
    await remove();
    await assert.rejects(client.send(new eb.DescribeRuleCommand({ Name: Rule })), {
      name: "ResourceNotFoundException",
    });
  });

  it("takes five targets of a rule, and as many rules of a bus as AWS does", async () => {
    await putRule(failed());
    const RoleArn = await roleFor();
    const Targets = Array.from({ length: 6 }, (_, index) => ({ Id: `t${index}`, Arn: project, RoleArn }));
    await assert.rejects(client.send(new eb.PutTargetsCommand({ Rule, Targets })), { name: "LimitExceededException" });
    await client.send(new eb.PutTargetsCommand({ Rule, Targets: Targets.slice(1) }));
    const { rules } = emulator.cloud.stores.events;
    const [rule] = rules.values();
    assert.ok(rule);
    const filler = Array.from({ length: 300 - rules.size }, (_, index) => `filler-${index}`);
    for (const name of filler) rules.set(name, { ...rule, name, state: "DISABLED" });
    await assert.rejects(putRule(failed(), { Name: "one-too-many" }), { name: "LimitExceededException" });
    await putRule(failed());
    for (const name of filler) rules.delete(name);
  });

  it("refuses patterns, targets and buses that it could not serve", async () => {
    await assert.rejects(putRule({ a: "b" }), { name: "InvalidEventPatternException" });
    await assert.rejects(putRule(failed(), { EventBusName: "own" }), { name: "ResourceNotFoundException" });
    await putRule(failed());
    await assert.rejects(putTarget(undefined), { name: "ValidationException", message: /RoleArn is required/ });
    const RetryPolicy = { MaximumRetryAttempts: 186 };
    await assert.rejects(putTarget(await roleFor(), { RetryPolicy }), { name: "ValidationException", message: /185/ });
    const queue = { Id: "q", Arn: "arn:aws:sqs:us-east-1:123456789012:q" };
    await assert.rejects(client.send(new eb.PutTargetsCommand({ Rule, Targets: [queue] })), {
      message: /NotImplemented: PutTargets\.Targets\.Arn arn:aws:sqs/,
    });
  });
});
