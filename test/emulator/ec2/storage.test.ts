import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import * as ec2 from "@aws-sdk/client-ec2";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { credentialsFor } from "../iam/role";
import { client } from "../support";
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

describe("EBS", () => {
  let emulator: Emulator;
  let environment: Environment;

  before(async () => {
    emulator = await startEmulator();
    environment = await createEnvironment(emulator);
  });

  after(() => emulator.close());

  function disk(id: string | undefined): string {
    return path.join(emulator.cloud.directory, "ec2", "disks", text(id));
  }

  function rootOf(instance: ec2.Instance): string {
    return text(instance.BlockDeviceMappings?.[0]?.Ebs?.VolumeId);
  }

  async function snapshot(id: string | undefined): Promise<ec2.Snapshot> {
    const command = new ec2.DescribeSnapshotsCommand({ SnapshotIds: [text(id)] });
    return (await environment.ec2.send(command)).Snapshots?.[0] ?? {};
  }

  function untilSnapshot(id: string | undefined, state: ec2.SnapshotState): Promise<ec2.Snapshot> {
    return until(`${id} to be ${state}`, async () => {
      const found = await snapshot(id);
      return found.State === state ? found : undefined;
    });
  }

  async function snapshotsOf(
    InstanceId: string,
    request: Partial<ec2.CreateSnapshotsCommandInput> = {},
  ): Promise<ec2.SnapshotInfo[]> {
    const command = new ec2.CreateSnapshotsCommand({ InstanceSpecification: { InstanceId }, ...request });
    return (await environment.ec2.send(command)).Snapshots ?? [];
  }

  async function volume(request: Partial<ec2.CreateVolumeCommandInput>): Promise<string> {
    const command = new ec2.CreateVolumeCommand({ AvailabilityZone: "us-east-1a", ...request });
    const VolumeId = text((await environment.ec2.send(command)).VolumeId);
    await until(VolumeId, async () => (await describeVolume(VolumeId)).State === "available" || undefined);
    return VolumeId;
  }

  async function attach(InstanceId: string, VolumeId: string, Device: string): Promise<void> {
    await environment.ec2.send(new ec2.AttachVolumeCommand({ InstanceId, VolumeId, Device }));
    const attached = async () => (await describeVolume(VolumeId)).Attachments?.[0]?.State === "attached";
    await until(`${VolumeId} to be attached`, async () => (await attached()) || undefined);
  }

  async function describeVolume(VolumeId: string): Promise<ec2.Volume> {
    const found = await environment.ec2.send(new ec2.DescribeVolumesCommand({ VolumeIds: [VolumeId] }));
    return found.Volumes?.[0] ?? {};
  }

  async function replace(
    InstanceId: string,
    request: Partial<ec2.CreateReplaceRootVolumeTaskCommandInput>,
  ): Promise<ec2.ReplaceRootVolumeTask> {
    const command = new ec2.CreateReplaceRootVolumeTaskCommand({ InstanceId, ...request });
    const { ReplaceRootVolumeTask: task } = await environment.ec2.send(command);
    const ReplaceRootVolumeTaskIds = [text(task?.ReplaceRootVolumeTaskId)];
    return until("the replacement", async () => {
      const tasks = new ec2.DescribeReplaceRootVolumeTasksCommand({ ReplaceRootVolumeTaskIds });
      const [found] = (await environment.ec2.send(tasks)).ReplaceRootVolumeTasks ?? [];
      return found?.TaskState === "succeeded" || found?.TaskState === "failed" ? found : undefined;
    });
  }

  describe("snapshots", () => {
    it("are taken of all volumes of an instance at once, with the volumes' tags when asked [D2.1]", async () => {
      const TagSpecifications: ec2.TagSpecification[] = [
        { ResourceType: "volume", Tags: [{ Key: "of", Value: "volume" }] },
      ];
      const instance = await launch(environment, {
        TagSpecifications,
        BlockDeviceMappings: [
          { DeviceName: "/dev/sdf", Ebs: { VolumeSize: 1 } },
          { DeviceName: "/dev/sdg", Ebs: { VolumeSize: 1 } },
        ],
      });
      const [root, one, other] = (instance.BlockDeviceMappings ?? []).map(({ Ebs }) => text(Ebs?.VolumeId));
      const taken = await snapshotsOf(text(instance.InstanceId), {
        CopyTagsFromSource: "volume",
        TagSpecifications: [{ ResourceType: "snapshot", Tags: [{ Key: "run", Value: "1" }] }],
      });
      assert.deepEqual(
        taken.map(({ VolumeId }) => VolumeId),
        [root, one, other],
      );
      assert.deepEqual(taken[1]?.Tags, [
        { Key: "of", Value: "volume" },
        { Key: "run", Value: "1" },
      ]);
      const InstanceId = text(instance.InstanceId);
      const specification = { InstanceId, ExcludeBootVolume: true, ExcludeDataVolumeIds: [text(one)] };
      const some = await snapshotsOf(InstanceId, { InstanceSpecification: specification });
      assert.deepEqual(
        some.map(({ VolumeId }) => VolumeId),
        [other],
      );
      const wrong = { InstanceId, ExcludeDataVolumeIds: [text(root)] };
      await rejected(snapshotsOf(InstanceId, { InstanceSpecification: wrong }), "InvalidParameterValue");
    });

    it("hold what was there at the request, and make volumes only when they are complete [D2.3] [D2.4]", async () => {
      const instance = await launch(environment);
      const id = text(instance.InstanceId);
      await runCommand(environment, id, ["echo then > /opt/file"]);
      const hanging = emulator.faults.inject({ at: "ec2.snapshot", effect: { kind: "hang" } });
      const [taken] = await snapshotsOf(id);
      await runCommand(environment, id, ["echo now > /opt/file"]);
      assert.equal((await snapshot(taken?.SnapshotId)).State, "pending");
      const SnapshotId = text(taken?.SnapshotId);
      await rejected(volume({ SnapshotId }), "IncorrectState");
      hanging.release();
      await untilSnapshot(SnapshotId, "completed");
      const VolumeId = await volume({ SnapshotId });
      await attach(id, VolumeId, "/dev/sdf");
      assert.equal((await runCommand(environment, id, ["cat /dev/sdf/opt/file"])).StandardOutputContent, "then\n");
    });

    it("make cold volumes, which load their contents at the first use, also after the snapshot is gone [D2.6]", async () => {
      const id = text((await launch(environment)).InstanceId);
      await runCommand(environment, id, ["echo kept > /opt/file"]);
      const [taken] = await snapshotsOf(id);
      const { SnapshotId = "" } = await untilSnapshot(taken?.SnapshotId, "completed");
      const [used, orphan] = [await volume({ SnapshotId }), await volume({ SnapshotId })];
      assert.deepEqual([fs.readdirSync(disk(used)), fs.readdirSync(disk(orphan))], [[], []]);
      await attach(id, used, "/dev/sdf");
      await environment.ec2.send(new ec2.DeleteSnapshotCommand({ SnapshotId }));
      await attach(id, orphan, "/dev/sdg");
      const files = await runCommand(environment, id, ["cat /dev/sdf/opt/file /dev/sdg/opt/file"]);
      assert.equal(files.StandardOutputContent, "kept\nkept\n");
    });

    it("are all in error when one of a set fails [D2.2]", async () => {
      const instance = await launch(environment, {
        BlockDeviceMappings: [{ DeviceName: "/dev/sdf", Ebs: { VolumeSize: 1 } }],
      });
      const effect = { kind: "fail", message: "out of luck" } as const;
      emulator.faults.inject({ at: "ec2.snapshot", when: { volume: rootOf(instance) }, effect });
      const taken = await snapshotsOf(text(instance.InstanceId));
      assert.equal(taken.length, 2);
      for (const { SnapshotId } of taken) {
        assert.equal((await untilSnapshot(SnapshotId, "error")).StateMessage, "out of luck");
      }
    });

    it("can be complete and empty, when they are told to lie", async () => {
      const instance = await launch(environment);
      emulator.faults.inject({ at: "ec2.snapshot", effect: { kind: "lie" } });
      const [taken] = await snapshotsOf(text(instance.InstanceId));
      await untilSnapshot(taken?.SnapshotId, "completed");
      assert.deepEqual(fs.readdirSync(disk(taken?.SnapshotId)), []);
    });

    it("need the permission on instance, volumes and snapshots, and to tag in that call [D5.1]", async () => {
      const instance = await launch(environment);
      const arn = (what: string): string => `arn:aws:ec2:us-east-1:123456789012:${what}`;
      const all = [
        arn(`instance/${text(instance.InstanceId)}`),
        arn(`volume/${rootOf(instance)}`),
        "arn:aws:ec2:us-east-1::snapshot/*",
      ];
      const tagging = {
        Action: "ec2:CreateTags",
        Resource: "arn:aws:ec2:us-east-1::snapshot/*",
        Condition: { StringEquals: { "ec2:CreateAction": "CreateSnapshots" } },
      };
      const taking = async (name: string, resources: readonly string[], tag: boolean): Promise<unknown> => {
        const statements = [{ Action: "ec2:CreateSnapshots", Resource: resources }, ...(tag ? [tagging] : [])];
        const api = client(emulator, ec2.EC2Client, await credentialsFor(emulator, name, statements));
        return api.send(
          new ec2.CreateSnapshotsCommand({
            InstanceSpecification: { InstanceId: instance.InstanceId },
            TagSpecifications: [{ ResourceType: "snapshot", Tags: [{ Key: "run", Value: "1" }] }],
          }),
        );
      };
      await rejected(taking("without-volumes", all.slice(0, 1).concat(all.slice(2)), true), "UnauthorizedOperation");
      await rejected(taking("without-tags", all, false), "UnauthorizedOperation");
      await taking("with-all", all, true);
    });
  });

  describe("root volumes", () => {
    it("go back to the state at launch, or to the image's, and then user data runs again [D1.5]", async () => {
      const UserData = Buffer.from("#!/bin/sh\necho ran >> /srv/runs\n").toString("base64");
      const instance = await launch(environment, { UserData });
      const id = text(instance.InstanceId);
      const runs = (): Promise<string> =>
        until("user data", async () => {
          const { StandardOutputContent } = await runCommand(environment, id, ["cat /srv/runs 2>/dev/null; ls /opt"]);
          return StandardOutputContent === "" ? undefined : StandardOutputContent;
        });
      assert.equal(await runs(), "ran\n");
      for (const source of [{}, { ImageId: text(instance.ImageId) }]) {
        await runCommand(environment, id, ["touch /opt/left-behind"]);
        assert.equal((await replace(id, source)).TaskState, "succeeded");
        assert.equal(await runs(), "ran\n");
      }
      const size = (await describeVolume(rootOf(await describeInstance(environment, id)))).Size;
      assert.equal(size, (await describeVolume(rootOf(instance))).Size);
      await rejected(replace(id, { ImageId: "ami-00000000000000000" }), "InvalidAMIID.NotFound");
      const both = { ImageId: text(instance.ImageId), VolumeId: rootOf(instance) };
      await rejected(replace(id, both), "InvalidParameterCombination");
    });

    it("are not replaced by a snapshot that is pending, nor by a volume that is in use [D1.9] [D1.4]", async () => {
      const [instance, other] = await Promise.all([launch(environment), launch(environment)]);
      const id = text(instance.InstanceId);
      const hanging = emulator.faults.inject({ at: "ec2.snapshot", effect: { kind: "hang" } });
      const [taken] = await snapshotsOf(id);
      await rejected(replace(id, { SnapshotId: taken?.SnapshotId }), "IncorrectState");
      hanging.release();
      await rejected(replace(id, { VolumeId: rootOf(other) }), "IncorrectState");
      await rejected(replace(id, { VolumeId: await volume({ Size: 1 }) }), "InvalidParameterValue");
    });

    it("stay what they were when the replacement cannot be booted [D1.8]", async () => {
      const instance = await launch(environment);
      const id = text(instance.InstanceId);
      await runCommand(environment, id, ["echo kept > /opt/file"]);
      const VolumeId = await volume({ Size: 8 });
      fs.rmSync(disk(VolumeId), { recursive: true });
      fs.writeFileSync(disk(VolumeId), "no file system");
      const task = await replace(id, { VolumeId });
      assert.equal(task.TaskState, "failed");
      const after = await describeInstance(environment, id);
      assert.deepEqual([after.State?.Name, rootOf(after)], ["running", rootOf(instance)]);
      assert.equal((await runCommand(environment, id, ["cat /opt/file"])).StandardOutputContent, "kept\n");
      assert.equal((await describeVolume(VolumeId)).State, "available");
    });

    it("are replaced once for the same client token", async () => {
      const id = text((await launch(environment)).InstanceId);
      const ClientToken = "one-replacement";
      const [first, second] = [await replace(id, { ClientToken }), await replace(id, { ClientToken })];
      assert.equal(first.ReplaceRootVolumeTaskId, second.ReplaceRootVolumeTaskId);
      const other = replace(id, { ClientToken, DeleteReplacedRootVolume: true });
      await rejected(other, "IdempotentParameterMismatch");
      await rejected(replace(id, { ClientToken: "x".repeat(65) }), "InvalidParameterValue");
      // A token of one operation says nothing of another.
      await volume({ ClientToken, Size: 1 });
    });

    it("can be exchanged by hand while the instance is stopped", async () => {
      const instance = await launch(environment);
      const id = text(instance.InstanceId);
      const [taken] = await snapshotsOf(id);
      await untilSnapshot(taken?.SnapshotId, "completed");
      await runCommand(environment, id, ["touch /opt/later"]);
      const VolumeId = await volume({ SnapshotId: taken?.SnapshotId });
      const old = { VolumeId: rootOf(instance) };
      await rejected(environment.ec2.send(new ec2.DetachVolumeCommand(old)), "OperationNotPermitted");
      await environment.ec2.send(new ec2.StopInstancesCommand({ InstanceIds: [id] }));
      await untilState(environment, id, "stopped");
      await environment.ec2.send(new ec2.DetachVolumeCommand(old));
      await until("the old root", async () => (await describeVolume(old.VolumeId)).State === "available" || undefined);
      const start = new ec2.StartInstancesCommand({ InstanceIds: [id] });
      await rejected(environment.ec2.send(start), "IncorrectInstanceState");
      await attach(id, VolumeId, "/dev/xvda");
      await environment.ec2.send(start);
      await untilState(environment, id, "running");
      assert.equal((await runCommand(environment, id, ["ls /opt"])).StandardOutputContent, "");
    });

    it("need the permission on instance, source and task, which a dry run tells [D5.2] [D1.10]", async () => {
      const instance = await launch(environment);
      const VolumeId = await volume({ Size: 8 });
      const arn = (what: string): string => `arn:aws:ec2:us-east-1:123456789012:${what}`;
      const all = [
        arn(`instance/${text(instance.InstanceId)}`),
        arn(`volume/${VolumeId}`),
        arn("replace-root-volume-task/*"),
      ];
      for (const missing of [...all.keys(), undefined]) {
        const Resource = all.filter((_, index) => index !== missing);
        const name = `replacing-${missing ?? "all"}`;
        const statements = [{ Action: "ec2:CreateReplaceRootVolumeTask", Resource }];
        const api = client(emulator, ec2.EC2Client, await credentialsFor(emulator, name, statements));
        const { InstanceId } = instance;
        const command = new ec2.CreateReplaceRootVolumeTaskCommand({ InstanceId, VolumeId, DryRun: true });
        await rejected(api.send(command), missing === undefined ? "DryRunOperation" : "UnauthorizedOperation");
      }
      const tasks = new ec2.DescribeReplaceRootVolumeTasksCommand({
        Filters: [{ Name: "instance-id", Values: [text(instance.InstanceId)] }],
      });
      assert.deepEqual((await environment.ec2.send(tasks)).ReplaceRootVolumeTasks, []);
    });
  });

  it("changes a volume's figures in place, one change at a time", async () => {
    const VolumeId = await volume({ Size: 10, VolumeType: "gp2" });
    const modify = (request: Partial<ec2.ModifyVolumeCommandInput>) =>
      environment.ec2.send(new ec2.ModifyVolumeCommand({ VolumeId, ...request }));
    const { VolumeModification } = await modify({ VolumeType: "gp3", Iops: 4000, Size: 12 });
    assert.equal(VolumeModification?.ModificationState, "modifying");
    await rejected(modify({ Size: 20 }), "IncorrectModificationState");
    const changed = await until("the change", async () => {
      const found = await describeVolume(VolumeId);
      return found.VolumeType === "gp3" ? found : undefined;
    });
    assert.deepEqual([changed.Size, changed.Iops, changed.Throughput], [12, 4000, 125]);
    await rejected(modify({ Size: 11 }), "InvalidParameterValue");
  });

  it("does not have images of instances, copies of snapshots or volumes, nor fast restore [D2.5]", async () => {
    const instance = await launch(environment);
    const InstanceId = text(instance.InstanceId);
    const refused = [
      environment.ec2.send(new ec2.CreateImageCommand({ InstanceId, Name: "image" })),
      environment.ec2.send(new ec2.CopySnapshotCommand({ SourceRegion: "us-east-1", SourceSnapshotId: "snap-1" })),
      environment.ec2.send(new ec2.CopyVolumesCommand({ SourceVolumeId: rootOf(instance) })),
      environment.ec2.send(
        new ec2.EnableFastSnapshotRestoresCommand({ AvailabilityZones: ["us-east-1a"], SourceSnapshotIds: ["snap-1"] }),
      ),
      volume({ Size: 1, VolumeInitializationRate: 100 }),
    ].map((call) => rejected(call, "NotImplemented"));
    for (const { message } of await Promise.all(refused)) assert.match(message, /NotImplemented/);
  });
});

describe("EC2's tags, filters and pages", () => {
  let emulator: Emulator;
  let environment: Environment;
  let ids: string[];

  before(async () => {
    emulator = await startEmulator();
    environment = await createEnvironment(emulator);
    const AvailabilityZone = "us-east-1a";
    const made = await Promise.all(
      Array.from({ length: 7 }, () => environment.ec2.send(new ec2.CreateVolumeCommand({ AvailabilityZone, Size: 1 }))),
    );
    ids = made.map(({ VolumeId }) => text(VolumeId));
  });

  after(() => emulator.close());

  function tag(Tags: ec2.Tag[]): Promise<unknown> {
    return environment.ec2.send(new ec2.CreateTagsCommand({ Resources: [text(ids[0])], Tags }));
  }

  it("limit tags, and keep AWS's own out of reach", async () => {
    await rejected(tag([{ Key: "aws:mine", Value: "x" }]), "InvalidParameterValue");
    await rejected(tag([{ Key: "k".repeat(128), Value: "x" }]), "InvalidParameterValue");
    await rejected(tag([{ Key: "k", Value: "v".repeat(256) }]), "InvalidParameterValue");
    const same = [
      { Key: "k", Value: "1" },
      { Key: "k", Value: "2" },
    ];
    await rejected(tag(same), "InvalidParameterValue");
    await tag(Array.from({ length: 50 }, (_, index) => ({ Key: `key-${index}`, Value: "" })));
    await tag([{ Key: "key-1", Value: "changed" }]);
    await rejected(tag([{ Key: "one-more", Value: "" }]), "TagLimitExceeded");
  });

  it("show by a tag of AWS's that an instance is in an Auto Scaling group", async () => {
    const InstanceId = text((await launch(environment)).InstanceId);
    emulator.cloud.stores.ec2.joinAutoScalingGroup(InstanceId, "web");
    const Key = "aws:autoscaling:groupName";
    const Filters = [{ Name: `tag:${Key}`, Values: ["web"] }];
    const { Reservations = [] } = await environment.ec2.send(new ec2.DescribeInstancesCommand({ Filters }));
    assert.equal(Reservations[0]?.Instances?.[0]?.InstanceId, InstanceId);
    const untag = new ec2.DeleteTagsCommand({ Resources: [InstanceId], Tags: [{ Key }] });
    await rejected(environment.ec2.send(untag), "InvalidParameterValue");
    await environment.ec2.send(new ec2.DeleteTagsCommand({ Resources: [InstanceId] }));
    assert.equal((await describeInstance(environment, InstanceId)).Tags?.[0]?.Key, Key);
  });

  it("give pages of 5 to 1,000, until there is no token", async () => {
    const page = (request: ec2.DescribeVolumesCommandInput) =>
      environment.ec2.send(new ec2.DescribeVolumesCommand(request));
    const Filters = [{ Name: "volume-id", Values: ids }];
    const first = await page({ MaxResults: 5, Filters });
    const second = await page({ MaxResults: 5, Filters, NextToken: first.NextToken });
    const all = [...(first.Volumes ?? []), ...(second.Volumes ?? [])].map(({ VolumeId }) => VolumeId);
    assert.deepEqual([...all].sort(), [...ids].sort());
    assert.equal(second.NextToken, undefined);
    await rejected(page({ MaxResults: 4 }), "InvalidParameterValue");
    await rejected(page({ MaxResults: 5, VolumeIds: ids }), "InvalidParameterCombination");
    await rejected(page({ NextToken: "nonsense" }), "InvalidNextToken");
    await rejected(
      page({ Filters: [{ Name: "status", Values: Array<string>(201).fill("x") }] }),
      "FilterLimitExceeded",
    );
  });
});
