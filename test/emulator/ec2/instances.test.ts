import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import * as ec2 from "@aws-sdk/client-ec2";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import {
  connects,
  createEnvironment,
  describe as describeInstance,
  type Environment,
  launch,
  rejected,
  runCommand,
  text,
  until,
  untilState,
} from "./support";

const application = `#!/bin/bash
set -eu
echo one > /opt/version
cat > /opt/app.js <<'PROGRAM'
const { readFileSync } = require("node:fs");
const answer = (request, response) => response.end(readFileSync("/opt/version"));
require("node:http").createServer(answer).listen(8080, require("node:os").hostname());
PROGRAM
cat > /etc/systemd/system/app.service <<'UNIT'
[Service]
ExecStart=/usr/bin/env node /opt/app.js
Restart=always
RestartSec=100ms
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now app
echo ran >> /root/user-data-runs
`;

describe("EC2 instances", () => {
  let emulator: Emulator;
  let environment: Environment;

  before(async () => {
    emulator = await startEmulator();
    environment = await createEnvironment(emulator);
  });

  after(async () => {
    const { directory } = emulator.cloud;
    await emulator.close();
    assert.equal(fs.existsSync(directory), false);
  });

  function launchApplication(): Promise<ec2.Instance> {
    const { subnetId: SubnetId, groupId } = environment;
    return launch(environment, {
      SubnetId: undefined,
      SecurityGroupIds: undefined,
      NetworkInterfaces: [{ DeviceIndex: 0, SubnetId, Groups: [groupId], AssociatePublicIpAddress: true }],
      UserData: Buffer.from(application).toString("base64"),
      BlockDeviceMappings: [{ DeviceName: "/dev/xvda", Ebs: { Encrypted: true, VolumeType: "gp3" } }],
    });
  }

  function answer(instance: ec2.Instance): Promise<string> {
    return until("the application", () =>
      fetch(`http://${text(instance.PublicIpAddress)}:8080/`).then(
        (response) => response.text(),
        () => undefined,
      ),
    );
  }

  function root(instance: ec2.Instance): string {
    return text(instance.BlockDeviceMappings?.[0]?.Ebs?.VolumeId);
  }

  async function snapshot(instanceId: string): Promise<string> {
    const command = new ec2.CreateSnapshotsCommand({ InstanceSpecification: { InstanceId: instanceId } });
    const { Snapshots = [] } = await environment.ec2.send(command);
    assert.equal(Snapshots[0]?.State, "pending");
    const SnapshotIds = [text(Snapshots[0]?.SnapshotId)];
    await until("the snapshot", async () => {
      const found = await environment.ec2.send(new ec2.DescribeSnapshotsCommand({ SnapshotIds }));
      return found.Snapshots?.[0]?.State === "completed" || undefined;
    });
    return text(SnapshotIds[0]);
  }

  async function replaceRoot(request: ec2.CreateReplaceRootVolumeTaskCommandInput): Promise<ec2.ReplaceRootVolumeTask> {
    const { ReplaceRootVolumeTask: task } = await environment.ec2.send(
      new ec2.CreateReplaceRootVolumeTaskCommand(request),
    );
    assert.equal(task?.TaskState, "pending");
    const ReplaceRootVolumeTaskIds = [text(task?.ReplaceRootVolumeTaskId)];
    return until("the replacement", async () => {
      const command = new ec2.DescribeReplaceRootVolumeTasksCommand({ ReplaceRootVolumeTaskIds });
      const [found] = (await environment.ec2.send(command)).ReplaceRootVolumeTasks ?? [];
      return found?.TaskState === "succeeded" || found?.TaskState === "failed" ? found : undefined;
    });
  }

  it("go back to a snapshot by root volume replacement, and stay themselves [D1.1] [D1.6] [D1.7]", async () => {
    const before = await launchApplication();
    const id = text(before.InstanceId);
    assert.equal(await answer(before), "one\n");
    const SnapshotId = await snapshot(id);
    await runCommand(environment, id, ["echo two > /opt/version", "touch /opt/left-behind"]);
    assert.equal(await answer(before), "two\n");

    const task = await replaceRoot({ InstanceId: id, SnapshotId });

    assert.equal(task.TaskState, "succeeded");
    assert.equal(await answer(before), "one\n");
    const after = await describeInstance(environment, id);
    const kept = ["InstanceId", "PrivateIpAddress", "PublicIpAddress", "PrivateDnsName", "IamInstanceProfile"] as const;
    for (const name of kept) assert.deepEqual(after[name], before[name], name);
    assert.equal(after.NetworkInterfaces?.[0]?.NetworkInterfaceId, before.NetworkInterfaces?.[0]?.NetworkInterfaceId);
    assert.notEqual(root(after), root(before));
    const files = await runCommand(environment, id, ["ls /opt", "wc -l < /root/user-data-runs"]);
    assert.equal(files.StandardOutputContent, "app.js\nversion\n1\n");
    const { Volumes = [] } = await environment.ec2.send(
      new ec2.DescribeVolumesCommand({ VolumeIds: [root(before), root(after)] }),
    );
    assert.deepEqual(
      Volumes.map(({ State, Encrypted }) => [State, Encrypted]),
      [
        ["available", true],
        ["in-use", true],
      ],
    );
  });

  it("keep what they are, and lose what ran, over stop and start", async () => {
    const instance = await launchApplication();
    const InstanceIds = [text(instance.InstanceId)];
    await answer(instance);
    await environment.ec2.send(new ec2.StopInstancesCommand({ InstanceIds }));
    await untilState(environment, text(InstanceIds[0]), "stopped");
    await assert.rejects(fetch(`http://${text(instance.PublicIpAddress)}:8080/`));
    await environment.ec2.send(new ec2.StartInstancesCommand({ InstanceIds }));
    await untilState(environment, text(InstanceIds[0]), "running");
    assert.equal(await answer(instance), "one\n");
  });

  it("boot on a volume made of a snapshot, which must be as encrypted as the old one [D1.4]", async () => {
    const instance = await launchApplication();
    const id = text(instance.InstanceId);
    await answer(instance);
    const SnapshotId = await snapshot(id);
    const AvailabilityZone = text(instance.Placement?.AvailabilityZone);
    const create = async (request: Partial<ec2.CreateVolumeCommandInput>): Promise<string> => {
      const made = await environment.ec2.send(new ec2.CreateVolumeCommand({ AvailabilityZone, ...request }));
      assert.equal(made.State, "creating");
      const VolumeId = text(made.VolumeId);
      await until(VolumeId, async () => {
        const found = await environment.ec2.send(new ec2.DescribeVolumesCommand({ VolumeIds: [VolumeId] }));
        return found.Volumes?.[0]?.State === "available" || undefined;
      });
      return VolumeId;
    };
    const replace = (VolumeId: string) =>
      environment.ec2.send(new ec2.CreateReplaceRootVolumeTaskCommand({ InstanceId: id, VolumeId }));
    await rejected(replace(await create({ Size: 8 })), "InvalidParameterValue");
    await rejected(replace(await create({ SnapshotId, AvailabilityZone: "us-east-1b" })), "InvalidVolume.ZoneMismatch");

    const VolumeId = await create({ SnapshotId });
    const task = await replaceRoot({ InstanceId: id, VolumeId, DeleteReplacedRootVolume: true });

    assert.equal(task.TaskState, "succeeded");
    assert.equal(root(await describeInstance(environment, id)), VolumeId);
    assert.equal(await answer(instance), "one\n");
    const old = environment.ec2.send(new ec2.DescribeVolumesCommand({ VolumeIds: [root(instance)] }));
    await rejected(old, "InvalidVolume.NotFound");
  });

  it("refuse a snapshot that is not of their own root volume [D1.3]", async () => {
    const [one, other] = await Promise.all([launch(environment), launch(environment)]);
    const SnapshotId = await snapshot(text(other.InstanceId));
    const command = new ec2.CreateReplaceRootVolumeTaskCommand({ InstanceId: text(one.InstanceId), SnapshotId });
    await rejected(environment.ec2.send(command), "InvalidParameterValue");
  });

  it("refuse a replacement while they are stopped [D1.2]", async () => {
    const instance = await launch(environment);
    const id = text(instance.InstanceId);
    const SnapshotId = await snapshot(id);
    await environment.ec2.send(new ec2.StopInstancesCommand({ InstanceIds: [id] }));
    await untilState(environment, id, "stopped");
    const command = new ec2.CreateReplaceRootVolumeTaskCommand({ InstanceId: id, SnapshotId });
    await rejected(environment.ec2.send(command), "IncorrectInstanceState");
  });

  it("are not reached, and reach nothing, behind a security group without rules", async () => {
    const instance = await launchApplication();
    const InstanceId = text(instance.InstanceId);
    await answer(instance);
    const fence = new ec2.ModifyInstanceAttributeCommand({ InstanceId, Groups: [environment.fenceId] });
    await environment.ec2.send(fence);
    await until("the fence", async () => !(await connects(text(instance.PublicIpAddress), 8080)) || undefined);
    await assert.rejects(runCommand(environment, InstanceId, ["true"]), { name: "InvalidInstanceId" });
  });

  it("tell by a dry run whether a call would be allowed, and do nothing [D1.10]", async () => {
    const instance = await launch(environment);
    const id = text(instance.InstanceId);
    const call = environment.ec2.send(new ec2.TerminateInstancesCommand({ InstanceIds: [id], DryRun: true }));
    const error = await rejected(call, "DryRunOperation");
    assert.equal((error as ec2.EC2ServiceException).$metadata.httpStatusCode, 412);
    assert.equal((await describeInstance(environment, id)).State?.Name, "running");
  });

  it("are started once for the same client token", async () => {
    const ClientToken = "token-of-one-launch";
    const [first, second] = [await launch(environment, { ClientToken }), await launch(environment, { ClientToken })];
    assert.equal(first.InstanceId, second.InstanceId);
    await rejected(launch(environment, { ClientToken, InstanceType: "t3.small" }), "IdempotentParameterMismatch");
  });

  it("take their volume along when they are terminated, unless told otherwise", async () => {
    const [going, staying] = await Promise.all([launch(environment), launch(environment)]);
    const Ebs = { DeleteOnTermination: false };
    const keep = { InstanceId: text(staying.InstanceId), BlockDeviceMappings: [{ DeviceName: "/dev/xvda", Ebs }] };
    await environment.ec2.send(new ec2.ModifyInstanceAttributeCommand(keep));
    const InstanceIds = [text(going.InstanceId), text(staying.InstanceId)];
    await environment.ec2.send(new ec2.TerminateInstancesCommand({ InstanceIds }));
    for (const id of InstanceIds) await untilState(environment, id, "terminated");
    const volumes = new ec2.DescribeVolumesCommand({
      Filters: [{ Name: "volume-id", Values: [root(going), root(staying)] }],
    });
    const { Volumes = [] } = await environment.ec2.send(volumes);
    assert.deepEqual(
      Volumes.map(({ VolumeId }) => VolumeId),
      [root(staying)],
    );
    assert.equal(fs.existsSync(path.join(emulator.cloud.directory, "ec2", "disks", root(going))), false);
  });

  it("are found by state and tag", async () => {
    const TagSpecifications: ec2.TagSpecification[] = [
      { ResourceType: "instance", Tags: [{ Key: "Name", Value: "wanted" }] },
    ];
    const instance = await launch(environment, { TagSpecifications });
    const find = async (Filters: ec2.Filter[]): Promise<(string | undefined)[]> => {
      const { Reservations = [] } = await environment.ec2.send(new ec2.DescribeInstancesCommand({ Filters }));
      return Reservations.flatMap(({ Instances = [] }) => Instances.map(({ InstanceId }) => InstanceId));
    };
    const named = { Name: "tag:Name", Values: ["wan*"] };
    assert.deepEqual(await find([named, { Name: "instance-state-name", Values: ["running"] }]), [instance.InstanceId]);
    assert.deepEqual(await find([named, { Name: "instance-state-name", Values: ["stopped"] }]), []);
    await rejected(find([{ Name: "no-such-filter", Values: ["x"] }]), "InvalidParameterValue");
  });

  it("get their role's credentials from the metadata service, with a token only", async () => {
    const instance = await launch(environment);
    const script = [
      "base=http://169.254.169.254/latest",
      'status() { curl -s -o /dev/null -w "%{http_code}\\n" "$@"; }',
      'ttl="X-aws-ec2-metadata-token-ttl-seconds"',
      'status "$base/meta-data/instance-id"',
      'status -X PUT "$base/api/token"',
      'status -X PUT -H "$ttl: 21601" "$base/api/token"',
      'status -X PUT -H "$ttl: 60" -H "X-Forwarded-For: 10.0.0.1" "$base/api/token"',
      'token=$(curl -s -X PUT -H "$ttl: 60" "$base/api/token")',
      'get() { curl -s -H "X-aws-ec2-metadata-token: $token" "$base/$1"; echo; }',
      "get meta-data/instance-id",
      "get meta-data/iam/security-credentials/",
      "get dynamic/instance-identity/document",
      'status -H "X-aws-ec2-metadata-token: $token" "$base/meta-data/none"',
      "aws sts get-caller-identity --query Arn --output text",
    ];
    const { StandardOutputContent = "" } = await runCommand(environment, text(instance.InstanceId), script);
    const lines = StandardOutputContent.trim().split("\n");
    const [document = "{}"] = lines.splice(6, 1);
    const arn = `arn:aws:sts::123456789012:assumed-role/instance/${text(instance.InstanceId)}`;
    assert.deepEqual(lines, ["401", "400", "400", "403", instance.InstanceId, "instance", "404", arn]);
    const { instanceId, availabilityZone, region } = JSON.parse(document) as Record<string, string>;
    const zone = instance.Placement?.AvailabilityZone;
    assert.deepEqual([instanceId, availabilityZone, region], [instance.InstanceId, zone, "us-east-1"]);
  });

  it("take a token of the metadata service until it expires, need none where that says so, and none helps where it is off", async () => {
    const [instance, mute, lax] = await Promise.all([
      launch(environment),
      launch(environment, { MetadataOptions: { HttpEndpoint: "disabled" } }),
      launch(environment, { MetadataOptions: { HttpTokens: "optional", HttpPutResponseHopLimit: 1 } }),
    ]);
    const [id, muteId] = [text(instance.InstanceId), text(mute.InstanceId)];
    const asking =
      'curl -s -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" http://169.254.169.254/latest/api/token';
    const token = text((await runCommand(environment, id, [asking])).StandardOutputContent);
    const using = `curl -s -o /dev/null -w '%{http_code}' -H 'X-aws-ec2-metadata-token: ${token}' http://169.254.169.254/latest/meta-data/instance-id`;
    assert.equal((await runCommand(environment, id, [using])).StandardOutputContent, "200");
    emulator.cloud.clock.advance(61_000);
    assert.equal((await runCommand(environment, id, [using])).StandardOutputContent, "401");
    assert.equal(mute.MetadataOptions?.HttpEndpoint, "disabled");
    assert.equal((await runCommand(environment, muteId, [`${asking} -w '%{http_code}'`])).StandardOutputContent, "403");
    const without = "curl -s http://169.254.169.254/latest/meta-data/instance-id";
    const laxId = text(lax.InstanceId);
    assert.equal((await runCommand(environment, laxId, [without])).StandardOutputContent, laxId);
    assert.equal(lax.MetadataOptions?.HttpPutResponseHopLimit, 1);
    const MetadataOptions = { HttpPutResponseHopLimit: 65 };
    await rejected(launch(environment, { MetadataOptions }), "InvalidParameterValue");
  });

  it("come back after a reboot with what is enabled, without what ran besides, and without their user data run again", async () => {
    const instance = await launchApplication();
    await answer(instance);
    const id = text(instance.InstanceId);
    await runCommand(environment, id, ["touch /opt/kept /run/lost /tmp/lost", "setsid sleep 4321 > /dev/null 2>&1 &"]);
    await environment.ec2.send(new ec2.RebootInstancesCommand({ InstanceIds: [id] }));
    const script = "ls /opt/kept; ls /run/lost /tmp/lost; pgrep -x sleep; wc -l < /root/user-data-runs";
    await until("the reboot", async () => {
      const { StandardOutputContent } = await runCommand(environment, id, [script]);
      return StandardOutputContent === "/opt/kept\n1\n" || undefined;
    });
    assert.equal(await answer(instance), "one\n");
  });

  it("refuse a unit with a directive that their systemctl does not have, by its name", async () => {
    const id = text((await launch(environment)).InstanceId);
    const unit = "[Service]\nExecStart=/bin/true\nProtectSystem=strict\n";
    const script = [`printf '${unit}' > /etc/systemd/system/a.service`, "systemctl daemon-reload", "systemctl start a"];
    const { Status, StandardErrorContent } = await runCommand(environment, id, script);
    assert.equal(Status, "Failed");
    assert.match(
      text(StandardErrorContent),
      /a\.service: the directive ProtectSystem of \[Service\] is not known here/,
    );
    const other = await runCommand(environment, id, ["systemctl mask a"]);
    assert.match(text(other.StandardErrorContent), /Unknown command verb mask. Known here: daemon-reload/);
  });

  it("restart what is to be restarted always", async () => {
    const instance = await launchApplication();
    await answer(instance);
    const id = text(instance.InstanceId);
    const first = await runCommand(environment, id, [
      "cat /run/units/app.service/pid",
      "kill $(cat /run/units/app.service/pid)",
    ]);
    const pid = text(first.StandardOutputContent).trim();
    await until("the restart", async () => {
      const now = await runCommand(environment, id, ["cat /run/units/app.service/pid; systemctl is-active app"]);
      const [found, state] = text(now.StandardOutputContent).split("\n");
      return (found !== "" && found !== pid && state === "active") || undefined;
    });
    assert.equal(await answer(instance), "one\n");
    const stopped = await runCommand(environment, id, ["systemctl stop app; systemctl is-active app; echo $?"]);
    assert.equal(stopped.StandardOutputContent, "inactive\n3\n");
  });
});
