import assert from "node:assert/strict";
import * as ec2 from "@aws-sdk/client-ec2";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import {
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

const mounted = `#!/bin/bash
set -eu
blkid /dev/sdf || mkfs -t xfs /dev/sdf
mkdir -p /srv/data
echo '/dev/sdf /srv/data xfs defaults,nofail 0 2' >> /etc/fstab
mount -a
echo first > /srv/data/file
`;

describe("Data volumes", () => {
  let emulator: Emulator;
  let environment: Environment;

  before(async () => {
    emulator = await startEmulator();
    environment = await createEnvironment(emulator);
  });

  after(() => emulator.close());

  async function run(id: string, ...commands: string[]): Promise<string> {
    const result = await runCommand(environment, id, commands);
    assert.equal(result.Status, "Success", result.StandardErrorContent);
    return text(result.StandardOutputContent);
  }

  async function volume(VolumeId: string): Promise<ec2.Volume> {
    const found = await environment.ec2.send(new ec2.DescribeVolumesCommand({ VolumeIds: [VolumeId] }));
    return found.Volumes?.[0] ?? {};
  }

  function volumeOf(instance: ec2.Instance, device: string): string {
    return text(instance.BlockDeviceMappings?.find(({ DeviceName }) => DeviceName === device)?.Ebs?.VolumeId);
  }

  async function create(request: Partial<ec2.CreateVolumeCommandInput>): Promise<string> {
    const command = new ec2.CreateVolumeCommand({ AvailabilityZone: "us-east-1a", ...request });
    const VolumeId = text((await environment.ec2.send(command)).VolumeId);
    await until(VolumeId, async () => (await volume(VolumeId)).State === "available" || undefined);
    return VolumeId;
  }

  async function attach(InstanceId: string, VolumeId: string, Device: string): Promise<void> {
    const command = new ec2.AttachVolumeCommand({ InstanceId, VolumeId, Device });
    assert.equal((await environment.ec2.send(command)).State, "attaching");
    await until(
      "the attachment",
      async () => (await volume(VolumeId)).Attachments?.[0]?.State === "attached" || undefined,
    );
  }

  async function detached(VolumeId: string): Promise<void> {
    await until("the detachment", async () => (await volume(VolumeId)).State === "available" || undefined);
  }

  async function stop(id: string): Promise<void> {
    await environment.ec2.send(new ec2.StopInstancesCommand({ InstanceIds: [id] }));
    await untilState(environment, id, "stopped");
  }

  async function start(id: string): Promise<void> {
    await environment.ec2.send(new ec2.StartInstancesCommand({ InstanceIds: [id] }));
    await untilState(environment, id, "running");
  }

  async function launchMounted(): Promise<ec2.Instance> {
    const instance = await launch(environment, {
      UserData: Buffer.from(mounted).toString("base64"),
      BlockDeviceMappings: [{ DeviceName: "/dev/sdf", Ebs: { VolumeSize: 20, VolumeType: "gp3", Iops: 4000 } }],
    });
    const id = text(instance.InstanceId);
    await until("user data", async () =>
      (await run(id, "cat /srv/data/file 2>/dev/null || true")) === "first\n" ? true : undefined,
    );
    return instance;
  }

  it("are made at launch, mounted by /etc/fstab, and keep their files over stop and start", async () => {
    const instance = await launchMounted();
    const id = text(instance.InstanceId);
    const mappings = instance.BlockDeviceMappings?.map(({ DeviceName, Ebs }) => [DeviceName, Ebs?.DeleteOnTermination]);
    assert.deepEqual(mappings, [
      ["/dev/xvda", true],
      ["/dev/sdf", false],
    ]);
    const { Size, VolumeType, Iops, Throughput, State } = await volume(volumeOf(instance, "/dev/sdf"));
    assert.deepEqual([Size, VolumeType, Iops, Throughput, State], [20, "gp3", 4000, 125, "in-use"]);
    await stop(id);
    await start(id);
    assert.equal(await run(id, "mountpoint -q /srv/data; cat /srv/data/file"), "first\n");
  });

  it("go back to a snapshot by stopping, exchanging the volume and starting", async () => {
    const instance = await launchMounted();
    const id = text(instance.InstanceId);
    const old = volumeOf(instance, "/dev/sdf");
    const taken = await environment.ec2.send(
      new ec2.CreateSnapshotsCommand({ InstanceSpecification: { InstanceId: id, ExcludeBootVolume: true } }),
    );
    assert.deepEqual(
      taken.Snapshots?.map(({ VolumeId }) => VolumeId),
      [old],
    );
    const SnapshotId = text(taken.Snapshots?.[0]?.SnapshotId);
    await until("the snapshot", async () => {
      const command = new ec2.DescribeSnapshotsCommand({ SnapshotIds: [SnapshotId] });
      return (await environment.ec2.send(command)).Snapshots?.[0]?.State === "completed" || undefined;
    });
    await run(id, "echo changed > /srv/data/file");
    const fresh = await create({ SnapshotId, VolumeType: "gp3" });
    await stop(id);
    await environment.ec2.send(new ec2.DetachVolumeCommand({ VolumeId: old }));
    await detached(old);
    await attach(id, fresh, "/dev/sdf");
    await start(id);
    assert.equal(await run(id, "cat /srv/data/file"), "first\n");
  });

  it("come to a running instance, and stay busy while they are mounted there", async () => {
    const id = text((await launch(environment)).InstanceId);
    const VolumeId = await create({ Size: 1 });
    await attach(id, VolumeId, "/dev/sdg");
    await run(id, "mkdir /mnt/g && mount /dev/sdg /mnt/g && echo kept > /mnt/g/file");
    const leaving = await environment.ec2.send(new ec2.DetachVolumeCommand({ VolumeId }));
    assert.equal(leaving.State, "detaching");
    await until(
      "the volume to be busy",
      async () => (await volume(VolumeId)).Attachments?.[0]?.State === "busy" || undefined,
    );
    assert.equal(await run(id, "cat /mnt/g/file; umount /dev/sdg"), "kept\n");
    await detached(VolumeId);
    assert.equal(await run(id, "ls /mnt/g; ls -d /dev/sdg 2>/dev/null || echo gone"), "gone\n");

    const other = text((await launch(environment)).InstanceId);
    await attach(other, VolumeId, "/dev/sdh");
    assert.equal(await run(other, "mkdir /mnt/h && mount /dev/sdh /mnt/h && cat /mnt/h/file"), "kept\n");
    await environment.ec2.send(new ec2.DetachVolumeCommand({ VolumeId, Force: true }));
    await detached(VolumeId);
  });

  it("leave an instance that cannot mount them out of reach, as a boot without them does", async () => {
    const id = text((await launch(environment)).InstanceId);
    await run(id, "mkdir /srv/must && echo '/dev/sdm /srv/must xfs defaults 0 2' >> /etc/fstab");
    await stop(id);
    await start(id);
    await assert.rejects(runCommand(environment, id, ["true"]), { name: "InvalidInstanceId" });
  });

  it("are refused where they do not fit", async () => {
    const id = text((await launch(environment)).InstanceId);
    const VolumeId = await create({ Size: 1 });
    const attaching = (request: Partial<ec2.AttachVolumeCommandInput>) =>
      environment.ec2.send(new ec2.AttachVolumeCommand({ InstanceId: id, VolumeId, Device: "/dev/sdf", ...request }));
    await rejected(attaching({ Device: "/dev/xvda" }), "InvalidParameterValue");
    await rejected(attaching({ Device: "sdf" }), "InvalidParameterValue");
    const elsewhere = await create({ Size: 1, AvailabilityZone: "us-east-1b" });
    await rejected(attaching({ VolumeId: elsewhere }), "InvalidVolume.ZoneMismatch");
    await attach(id, VolumeId, "/dev/sdf");
    await rejected(attaching({ Device: "/dev/sdg" }), "VolumeInUse");
    await rejected(environment.ec2.send(new ec2.DeleteVolumeCommand({ VolumeId })), "VolumeInUse");
    const elsewhereDetaching = new ec2.DetachVolumeCommand({ VolumeId, Device: "/dev/sdz" });
    await rejected(environment.ec2.send(elsewhereDetaching), "InvalidAttachment.NotFound");
  });

  it("are made only as their type allows", async () => {
    const making = (request: Partial<ec2.CreateVolumeCommandInput>) =>
      environment.ec2.send(new ec2.CreateVolumeCommand({ AvailabilityZone: "us-east-1a", Size: 10, ...request }));
    await rejected(making({ VolumeType: "io2" }), "MissingParameter");
    await rejected(making({ VolumeType: "gp2", Iops: 3000 }), "InvalidParameterCombination");
    await rejected(making({ VolumeType: "gp3", Iops: 100 }), "InvalidParameterValue");
    await rejected(making({ VolumeType: "st1" }), "InvalidParameterValue");
    await rejected(making({ KmsKeyId: "alias/mine" }), "InvalidParameterDependency");
    await rejected(making({ Size: undefined }), "MissingParameter");
    const encrypted = await making({ Encrypted: true, KmsKeyId: "alias/mine" });
    assert.match(text(encrypted.KmsKeyId), /^arn:aws:kms:us-east-1:\d+:alias\/mine$/);
  });

  it("outlive their instance, unless told otherwise", async () => {
    const instance = await launch(environment, {
      BlockDeviceMappings: [
        { DeviceName: "/dev/sdf", Ebs: { VolumeSize: 1 } },
        { DeviceName: "/dev/sdg", Ebs: { VolumeSize: 1 } },
      ],
    });
    const id = text(instance.InstanceId);
    const [staying, going] = [volumeOf(instance, "/dev/sdf"), volumeOf(instance, "/dev/sdg")];
    await environment.ec2.send(
      new ec2.ModifyInstanceAttributeCommand({
        InstanceId: id,
        BlockDeviceMappings: [{ DeviceName: "/dev/sdg", Ebs: { DeleteOnTermination: true } }],
      }),
    );
    const again = await describeInstance(environment, id);
    assert.deepEqual(
      again.BlockDeviceMappings?.map(({ Ebs }) => Ebs?.DeleteOnTermination),
      [true, false, true],
    );
    await environment.ec2.send(new ec2.TerminateInstancesCommand({ InstanceIds: [id] }));
    await untilState(environment, id, "terminated");
    assert.equal((await volume(staying)).State, "available");
    await rejected(volume(going), "InvalidVolume.NotFound");
  });
});
