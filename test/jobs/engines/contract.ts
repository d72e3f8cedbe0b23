/**
 * What every backup engine must do, whatever stands behind it. An engine's own test calls {@link engineContract} with
 * the engine and a world in which it can be tried.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { BackupEngine, Machine } from "../../../jobs/engines/engine";
import { deadlineIn } from "../../../jobs/time";
import type { PreparedVolume } from "../../../run/facts";

/** An engine, and a world in which it is tried. */
export interface EngineWorld {
  readonly engine: BackupEngine;
  /** An instance with a root volume and a data volume, as it is now. */
  machine(): Promise<Machine>;
  /** Writes the same text to each volume of the instance. */
  write(text: string): Promise<void>;
  /** What {@link write} left on each volume, the root first. */
  read(): Promise<string[]>;
  /** Puts these volumes in the place of the instance's own. */
  exchange(machine: Machine, volumes: readonly PreparedVolume[]): Promise<void>;
  /** Stores a stream of which the vault then loses a part. */
  storeDamaged(bytes: Buffer): Promise<string>;
  /** Makes the next background backup fail. */
  failNextBackup(): void;
  close(): Promise<void>;
}

const tags = { "protected-pipeline:run": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "protected-pipeline:target": "web" };
const soon = () => deadlineIn(60);

/** @param more - tests of this engine alone, in the same world */
export function engineContract(
  name: string,
  open: () => Promise<EngineWorld>,
  more: () => void = () => undefined,
): void {
  describe(`the engine ${name}`, () => {
    let world: EngineWorld;
    let engine: BackupEngine;

    before(async () => {
      world = await open();
      engine = world.engine;
    });
    after(() => world.close());

    const store = async (...chunks: Buffer[]): Promise<string> =>
      (await engine.storeStream("shop-database", Readable.from(chunks), tags)).recoveryPoint;

    async function backUp(): Promise<string> {
      const machine = await world.machine();
      const { job } = await engine.backupInstance(machine, tags);
      return engine.finishInstanceBackup(job, machine, soon());
    }

    it("gives a stream back byte for byte, however it was cut", async () => {
      const chunks = [1, 70_000, 6_000_000, 3].map((size) => randomBytes(size));
      const back = await buffer(await engine.openStream(await store(...chunks)));
      assert.ok(back.equals(Buffer.concat(chunks)));
    });

    it("gives a stream to two readers at a time, one of whom stands still", async () => {
      const bytes = randomBytes(6_000_000);
      const recoveryPoint = await store(bytes);
      const slow = await engine.openStream(recoveryPoint);
      const quick = await buffer(await engine.openStream(recoveryPoint));
      assert.ok(quick.equals(bytes));
      assert.ok((await buffer(slow)).equals(bytes));
    });

    it("keeps streams of one name apart: a later one takes no earlier one's place", async () => {
      const [first, second] = [await store(Buffer.from("first")), await store(Buffer.from("second"))];
      assert.notEqual(first, second);
      assert.equal((await buffer(await engine.openStream(first))).toString(), "first");
      assert.equal((await buffer(await engine.openStream(second))).toString(), "second");
    });

    it("makes no recovery point of a stream that broke off", async () => {
      const broken = Readable.from(
        (async function* () {
          yield Promise.resolve(randomBytes(200_000));
          throw new Error("pg_dump ended with exit code 1");
        })(),
      );
      await assert.rejects(engine.storeStream("shop-database", broken, tags), /pg_dump ended/);
    });

    it("never gives what it does not have for an empty stream", async () => {
      const stored = await store(Buffer.from("there"));
      const unknown = stored.slice(0, -4) + (stored.endsWith("0000") ? "1111" : "0000");
      await assert.rejects(async () => buffer(await engine.openStream(unknown)));
    });

    it("lets nobody take a damaged stream for a whole one: it is an error, or other bytes", async () => {
      const bytes = randomBytes(300_000);
      const recoveryPoint = await world.storeDamaged(bytes);
      const back = await Promise.resolve(engine.openStream(recoveryPoint)).then(buffer, () => undefined);
      assert.ok(back === undefined || !back.equals(bytes));
    });

    it("says in the log what it runs", () => {
      assert.match(engine.streamCommand("shop-database", tags), /shop-database/);
    });

    it("brings the volumes of an instance back as they were at the backup, all of them, and can be asked again", async () => {
      await world.write("before");
      const machine = await world.machine();
      assert.equal(machine.volumes.length, 2);
      const recoveryPoint = await backUp();
      const prepared = await engine.prepareVolumes(machine, recoveryPoint, tags, soon());
      const again = await engine.prepareVolumes(machine, recoveryPoint, tags, soon());
      assert.deepEqual(again, prepared);
      await world.write("after");

      const volumes = await engine.volumes(machine, recoveryPoint, prepared, soon());
      const devices = volumes.map(({ device }) => device).sort();
      assert.deepEqual(devices, machine.volumes.map(({ device }) => device).sort());
      const live = new Set(machine.volumes.map(({ volumeId }) => volumeId));
      assert.ok(volumes.every(({ volumeId }) => !live.has(volumeId)));
      const ids = (list: readonly PreparedVolume[]): string[] => list.map(({ volumeId }) => volumeId).sort();
      assert.deepEqual(ids(await engine.volumes(machine, recoveryPoint, prepared, soon())), ids(volumes));

      await world.exchange(machine, volumes);
      assert.deepEqual(await world.read(), ["before", "before"]);
      // An interrupted healer comes back, and then the run ends.
      assert.deepEqual(ids(await engine.volumes(machine, recoveryPoint, prepared, soon())), ids(volumes));
      await engine.removeLeftovers(recoveryPoint);
      await engine.removeLeftovers(recoveryPoint);
      await engine.discard(volumes);
      assert.deepEqual(await world.read(), ["before", "before"]);
      await engine.expire(recoveryPoint);
      assert.deepEqual(await engine.expire(recoveryPoint), []);
    });

    it("removes prepared volumes that are not needed, and can be asked again", async () => {
      const machine = await world.machine();
      const prepared = await engine.prepareVolumes(machine, await backUp(), tags, soon());
      await engine.discard(prepared);
      await engine.discard(prepared);
      assert.deepEqual(await world.read(), ["before", "before"]);
    });

    it("changes nothing by a rehearsal", async () => {
      const machine = await world.machine();
      const recoveryPoint = await backUp();
      await engine.rehearse(machine, recoveryPoint);
      assert.deepEqual(await world.machine(), machine);
    });

    it("takes a backup that failed for no recovery point", async () => {
      const machine = await world.machine();
      world.failNextBackup();
      const { job } = await engine.backupInstance(machine, tags);
      await assert.rejects(engine.finishInstanceBackup(job, machine, soon()));
    });

    it("takes a job that it does not know for no recovery point", async () => {
      const machine = await world.machine();
      const { job, abort } = await engine.backupInstance(machine, tags);
      const unknown = job.slice(0, -4) + (job.endsWith("0000") ? "1111" : "0000");
      await assert.rejects(engine.finishInstanceBackup(unknown, machine, soon()));
      await engine.finishInstanceBackup(job, machine, soon());
      await abort();
    });

    more();
  });
}
