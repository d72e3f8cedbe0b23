import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { CreateSnapshotsCommand, DescribeVolumesCommand, EC2Client } from "@aws-sdk/client-ec2";
import { HeadObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { AwsEngine } from "../../../jobs/engines/aws";
import { upload } from "../../../jobs/engines/upload";
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

  it("sends parts of one size from two buffers, whatever the cuts of the stream, and ends them with the stream", async () => {
    const s3 = client(world.emulator, S3Client);
    const size = 5 * 1024 * 1024;
    const to = (Key: string) => ({ Bucket: bucket, Key, Metadata: { a: "b" } });
    const back = (key: string) => engine.openStream(key).then(buffer);
    for (const [length, parts] of [
      [0, undefined],
      [size - 1, undefined],
      [size, 1],
      [3 * size + 1, 4],
    ] as const) {
      const key = `vault/cut/${length}`;
      const bytes = randomBytes(length);
      const cuts = [0, 1, 7_000_000, 7_000_001, length].map((at) => Math.min(at, length));
      const chunks = cuts.slice(1).map((end, index) => bytes.subarray(cuts[index], end));
      await upload(s3, to(key), Readable.from(chunks, { objectMode: false }), size);
      assert.ok((await back(key)).equals(bytes), key);
      const { ETag, Metadata } = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
      assert.deepEqual([/-(\d+)"$/.exec(ETag ?? "")?.[1], Metadata], [parts?.toString(), { a: "b" }]);
    }
  });

  it("never holds more of a stream than two parts, however slow S3 is", async () => {
    const size = 1000;
    let read = 0;
    const endless = new Readable({ read: (): void => void ((read += 100), endless.push(Buffer.alloc(100))) });
    let stands = true;
    const released: (() => void)[] = [];
    const slow = {
      send: async ({ constructor: { name } }: object) => {
        if (stands && name === "UploadPartCommand") await new Promise<void>((resolve) => released.push(resolve));
        return { UploadId: "u" };
      },
    };
    const done = upload(slow as never, { Bucket: bucket, Key: "k", Metadata: {} }, endless, size);
    done.catch(() => undefined);
    // Enough turns for all that could be read: only what the stream itself holds comes on top of two parts.
    for (let turn = 0; turn < 5000; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
    assert.equal(released.length, 1);
    assert.ok(read >= 2 * size && read <= 2 * size + endless.readableHighWaterMark + 200, String(read));
    stands = false;
    endless.destroy(new Error("enough"));
    released.forEach((release) => release());
    await assert.rejects(done, /enough/);
  });

  it("refuses by name what is longer than S3's most parts, and keeps nothing of it", async () => {
    const calls: string[] = [];
    const s3 = { send: ({ constructor: { name } }: object) => (calls.push(name), Promise.resolve({ UploadId: "u" })) };
    const to = { Bucket: bucket, Key: "k", Metadata: {} };
    await assert.rejects(
      upload(s3 as never, to, Readable.from([Buffer.alloc(10_001)], { objectMode: false }), 1),
      /longer than the .* nothing of it is a recovery point; choose another engine/,
    );
    assert.equal(calls.filter((name) => name === "UploadPartCommand").length, 10_000);
    assert.deepEqual(
      [calls.at(-1), calls.includes("CompleteMultipartUploadCommand")],
      ["AbortMultipartUploadCommand", false],
    );
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
