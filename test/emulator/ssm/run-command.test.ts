import assert from "node:assert/strict";
import * as ec2 from "@aws-sdk/client-ec2";
import * as ssm from "@aws-sdk/client-ssm";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import {
  createEnvironment,
  type Environment,
  launch,
  runCommand,
  text,
  until,
  untilOver,
  untilState,
} from "../ec2/support";

describe("SSM Run Command", () => {
  let emulator: Emulator;
  let environment: Environment;
  let id: string;

  before(async () => {
    emulator = await startEmulator();
    environment = await createEnvironment(emulator);
    id = text((await launch(environment)).InstanceId);
  });

  after(() => emulator.close());

  async function send(commands: string[], parameters: Record<string, string[]> = {}): Promise<string> {
    const Parameters = { commands, ...parameters };
    const command = new ssm.SendCommandCommand({ DocumentName: "AWS-RunShellScript", InstanceIds: [id], Parameters });
    return text((await environment.ssm.send(command)).Command?.CommandId);
  }

  it("runs all lines as one script, as root, in the given folder [D4.1]", async () => {
    const result = await runCommand(environment, id, ["a=1", "echo $a; id -u; pwd"], { workingDirectory: ["/opt"] });
    assert.deepEqual([result.Status, result.ResponseCode], ["Success", 0]);
    assert.equal(result.StandardOutputContent, "1\n0\n/opt\n");
  });

  it("keeps the first 8,000 characters of the errors", async () => {
    const result = await runCommand(environment, id, ["head -c 20000 /dev/zero | tr '\\0' x >&2"]);
    assert.equal(text(result.StandardErrorContent).length, 8_000);
  });

  it("runs on several instances, and has failed when it failed on one", async () => {
    const other = text((await launch(environment)).InstanceId);
    await runCommand(environment, other, ["touch /opt/bad"]);
    const sent = await environment.ssm.send(
      new ssm.SendCommandCommand({
        DocumentName: "AWS-RunShellScript",
        InstanceIds: [id, other],
        Parameters: { commands: ["[ ! -e /opt/bad ] || exit 4"] },
      }),
    );
    const CommandId = text(sent.Command?.CommandId);
    const results = await Promise.all([id, other].map((instance) => untilOver(environment, instance, CommandId)));
    assert.deepEqual(
      results.map(({ Status, ResponseCode }) => [Status, ResponseCode]),
      [
        ["Success", 0],
        ["Failed", 4],
      ],
    );
    const { Commands = [] } = await environment.ssm.send(new ssm.ListCommandsCommand({ CommandId }));
    const [{ Status, TargetCount, CompletedCount, ErrorCount } = {}] = Commands;
    assert.deepEqual([Status, TargetCount, CompletedCount, ErrorCount], ["Failed", 2, 2, 1]);
  });

  it("waits for an instance that reboots, also when nobody has asked for it before", async () => {
    const instance = text((await launch(environment)).InstanceId);
    const { fleet } = emulator.cloud.stores.ec2.runtime ?? assert.fail();
    await Promise.all([
      environment.ec2.send(new ec2.RebootInstancesCommand({ InstanceIds: [instance] })),
      until("the reboot", () => Promise.resolve(fleet.machine(instance) === undefined || undefined)),
    ]);
    assert.equal((await runCommand(environment, instance, ["echo back"])).StandardOutputContent, "back\n");
  });

  it("gives up an instance that does not come back in time", async () => {
    const instance = text((await launch(environment)).InstanceId);
    const { fleet } = emulator.cloud.stores.ec2.runtime ?? assert.fail();
    await fleet.halt(instance);
    const sent = await environment.ssm.send(
      new ssm.SendCommandCommand({
        DocumentName: "AWS-RunShellScript",
        InstanceIds: [instance],
        TimeoutSeconds: 30,
        Parameters: { commands: ["true"] },
      }),
    );
    const commandId = text(sent.Command?.CommandId);
    emulator.cloud.clock.advance(31_000);
    const result = await untilOver(environment, instance, commandId);
    assert.deepEqual([result.Status, result.StatusDetails], ["TimedOut", "DeliveryTimedOut"]);
    const { Commands = [] } = await environment.ssm.send(new ssm.ListCommandsCommand({ CommandId: commandId }));
    assert.equal(Commands[0]?.DeliveryTimedOutCount, 1);
  });

  it("fails with the exit code of the script", async () => {
    const result = await runCommand(environment, id, ["echo out; echo err >&2; exit 3"]);
    assert.deepEqual([result.Status, result.StatusDetails, result.ResponseCode], ["Failed", "Failed", 3]);
    assert.equal(result.StandardErrorContent, "err\nfailed to run commands: exit status 3");
  });

  it("keeps the first 24,000 characters of the output", async () => {
    const result = await runCommand(environment, id, ["head -c 100000 /dev/zero | tr '\\0' x"]);
    assert.equal(text(result.StandardOutputContent).length, 24_000);
    assert.match(text(result.StandardOutputContent), /^x+--output truncated--$/);
  });

  it("ends a command that is cancelled, with everything it started", async () => {
    const mark = `6${process.pid}`;
    const commandId = await send([`sleep ${mark} & sleep ${mark}`]);
    await until("the start", async () => {
      const { StandardOutputContent } = await runCommand(environment, id, [`pgrep -c -f 'sleep ${mark}' || true`]);
      return Number(StandardOutputContent) > 1 || undefined;
    });
    await environment.ssm.send(new ssm.CancelCommandCommand({ CommandId: commandId }));
    assert.equal((await untilOver(environment, id, commandId)).Status, "Cancelled");
    const left = await runCommand(environment, id, ["ps ax -o args | grep -c '^sleep 6' || true"]);
    assert.equal(left.StandardOutputContent, "0\n");
  });

  it("ends a command that takes longer than it may", async () => {
    const commandId = await send(["sleep 1000"], { executionTimeout: ["5"] });
    await until("the start", async () => {
      const command = new ssm.GetCommandInvocationCommand({ CommandId: commandId, InstanceId: id });
      return (await environment.ssm.send(command)).Status === "InProgress" || undefined;
    });
    emulator.cloud.clock.advance(6_000);
    const result = await untilOver(environment, id, commandId);
    assert.deepEqual([result.Status, result.StatusDetails], ["TimedOut", "ExecutionTimedOut"]);
  });

  it("refuses instances that are not managed", async () => {
    const stranger = await launch(environment, { IamInstanceProfile: undefined });
    const call = runCommand(environment, text(stranger.InstanceId), ["true"]);
    await assert.rejects(call, { name: "InvalidInstanceId", message: /not in a valid state for account 123456789012/ });
  });

  it("refuses an instance that is stopped, and takes it again when it has been started", async () => {
    const instance = text((await launch(environment)).InstanceId);
    await environment.ec2.send(new ec2.StopInstancesCommand({ InstanceIds: [instance] }));
    await untilState(environment, instance, "stopped");
    await assert.rejects(runCommand(environment, instance, ["true"]), { name: "InvalidInstanceId" });
    await environment.ec2.send(new ec2.StartInstancesCommand({ InstanceIds: [instance] }));
    await untilState(environment, instance, "running");
    assert.equal((await runCommand(environment, instance, ["true"])).Status, "Success");
  });

  it("lists the commands of an instance, the newest first", async () => {
    const commandId = await send(["echo listed"]);
    await untilOver(environment, id, commandId);
    const listed = await environment.ssm.send(new ssm.ListCommandsCommand({ InstanceId: id }));
    assert.equal(listed.Commands?.[0]?.CommandId, commandId);
    await assert.rejects(environment.ssm.send(new ssm.ListCommandsCommand({ CommandId: "x".repeat(36) })));
  });

  it("lists in pages, and checks what it is asked", async () => {
    for (let index = 0; index < 2; index++) await untilOver(environment, id, await send(["true"]));
    const page = (request: ssm.ListCommandsCommandInput) => environment.ssm.send(new ssm.ListCommandsCommand(request));
    const first = await page({ MaxResults: 1 });
    const second = await page({ MaxResults: 1, NextToken: first.NextToken });
    assert.equal(first.Commands?.length, 1);
    assert.notEqual(first.Commands?.[0]?.CommandId, second.Commands?.[0]?.CommandId);
    await assert.rejects(page({ MaxResults: 51 }), { name: "ValidationException" });
    const sending = (request: Partial<ssm.SendCommandCommandInput>) =>
      environment.ssm.send(
        new ssm.SendCommandCommand({
          DocumentName: "AWS-RunShellScript",
          InstanceIds: [id],
          Parameters: { commands: ["true"] },
          ...request,
        }),
      );
    await assert.rejects(sending({ TimeoutSeconds: 29 }), { name: "ValidationException" });
    await assert.rejects(sending({ InstanceIds: [id, id] }), { name: "DuplicateInstanceId" });
    await assert.rejects(sending({ InstanceIds: [] }), { name: "InvalidInstanceId" });
  });

  it("refuses documents and parameters that it does not know", async () => {
    await assert.rejects(send(["true"], { shell: ["zsh"] }), { name: "InvalidParameters" });
    const other = { DocumentName: "AWS-RunPowerShellScript", InstanceIds: [id] };
    await assert.rejects(environment.ssm.send(new ssm.SendCommandCommand(other)), { name: "InvalidDocument" });
  });
});
