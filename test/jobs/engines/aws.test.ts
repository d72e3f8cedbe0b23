import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { CreateSnapshotsCommand, DescribeVolumesCommand, EC2Client } from "@aws-sdk/client-ec2";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { AwsEngine } from "../../../jobs/engines/aws";
import { checkAlike } from "../../../jobs/instance/exchange";
import { describeInstance } from "../../../jobs/instance/instances";
import { setDeleteOnTermination } from "../../../jobs/instance/states";
import { deadlineIn } from "../../../jobs/time";
import { runId } from "../../../run/ids";
import { text } from "../../emulator/ec2/support";
import { client } from "../../emulator/support";
import { type EngineWorld, engineContract } from "./contract";
import { EmulatedWorld, bucket } from "./emulated";

const tags = { "protected-pipeline:run": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed" };
const soon = () => deadlineIn(60);

let world: EmulatedWorld;
let engine: AwsEngine;

async function open(): Promise<EngineWorld> {
  world = await EmulatedWorld.open();
  engine = new AwsEngine(world.job);
  return Object.assign(world, {
    engine,
    storeDamaged: async (bytes: Buffer) => {
      const { recoveryPoint } = await engine.storeStream("shop", Readable.from([bytes]), tags);
      const Body = bytes.subarray(0, bytes.length / 2);
      await client(world.emulator, S3Client).send(new PutObjectCommand({ Bucket: bucket, Key: recoveryPoint, Body }));
      return recoveryPoint;
    },
    failNextBackup: () => {
      world.emulator.faults.inject({ at: "ec2.snapshot", effect: { kind: "fail", message: "no room" } });
    },
  });
}

engineContract("aws", open, () => {
  it("sends a part of an upload again that was lost on its way", async () => {
    const fault = world.emulator.faults.inject({
      at: "call",
      when: { service: "s3", operation: "UploadPart" },
      effect: { kind: "error", code: "InternalError", status: 500 },
      times: 2,
    });
    const bytes = randomBytes(40_000_000);
    const { recoveryPoint } = await engine.storeStream("shop", Readable.from([bytes]), tags);
    assert.equal(fault.struck, 2);
    assert.ok((await buffer(await engine.openStream(recoveryPoint))).equals(bytes));
  });

  it("takes only the snapshots that this very run has made of these very volumes", async () => {
    const machine = await world.machine();
    const recoveryPoint = await engine.finishInstanceBackup(
      (await engine.backupInstance(machine, tags)).job,
      machine,
      soon(),
    );
    const foreign = {
      ...machine,
      volumes: machine.volumes.map((each) => ({ ...each, volumeId: "vol-0123456789abcdef0" })),
    };
    await assert.rejects(
      engine.prepareVolumes(foreign, recoveryPoint, tags, soon()),
      /is of volume vol-0123456789abcdef0/,
    );

    const later = new AwsEngine({ ...world.job, run: runId("2b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed") });
    await assert.rejects(later.prepareVolumes(machine, recoveryPoint, tags, soon()), /was made by .*, not by this run/);

    const made = await client(world.emulator, EC2Client).send(
      new CreateSnapshotsCommand({ InstanceSpecification: { InstanceId: machine.instanceId } }),
    );
    await assert.rejects(
      engine.finishInstanceBackup(text(made.Snapshots?.[0]?.SnapshotId), machine, soon()),
      /none of the snapshots|somebody else/,
    );
  });

  it("makes volumes of the same kind, size, figures and tags, and DeleteOnTermination stays as it was", async () => {
    const { clients, instanceId } = world;
    await setDeleteOnTermination(clients, instanceId, { "/dev/sdf": true });
    const machine = await world.machine();
    assert.deepEqual(
      machine.volumes.map(({ deleteOnTermination }) => deleteOnTermination),
      [machine.volumes[0]?.deleteOnTermination, true],
    );
    const { job } = await engine.backupInstance(machine, tags);
    const recoveryPoint = await engine.finishInstanceBackup(job, machine, soon());
    const prepared = await engine.prepareVolumes(machine, recoveryPoint, tags, soon());
    await checkAlike(clients, machine.volumes, prepared);
    await world.exchange(machine, prepared);

    const after = await world.machine();
    const without = ({ volumes }: typeof machine) =>
      volumes.map(({ volumeId: _id, tags: { "protected-pipeline:run": _run, ...rest }, ...each }) => ({
        ...each,
        rest,
      }));
    assert.deepEqual(without(after), without(machine));
    assert.equal(after.volumes[1]?.iops, 4000);
    assert.ok(after.volumes.every(({ volumeId }, index) => volumeId !== machine.volumes[index]?.volumeId));
  });

  it("replaces a root alone by a reboot, and leaves the other volumes and the instance's address as they are", async () => {
    const before = await describeInstance(world.clients, world.instanceId);
    await world.write("good");
    const machine = await world.machine("root");
    assert.deepEqual([machine.volumes.length, machine.others.length], [1, 1]);
    const { job } = await engine.backupInstance(machine, tags);
    const recoveryPoint = await engine.finishInstanceBackup(job, machine, soon());
    const prepared = await engine.prepareVolumes(machine, recoveryPoint, tags, soon());
    await world.write("bad");
    await world.exchange(machine, prepared);
    assert.deepEqual(await world.read(), ["good", "bad"]);
    const after = await describeInstance(world.clients, world.instanceId);
    assert.deepEqual(after.dataVolumes, before.dataVolumes);
    assert.equal(after.root?.volumeId, prepared[0]?.volumeId);
    const kept = new DescribeVolumesCommand({ VolumeIds: [text(before.root?.volumeId)] });
    assert.equal((await client(world.emulator, EC2Client).send(kept)).Volumes?.[0]?.State, "available");
  });
});
