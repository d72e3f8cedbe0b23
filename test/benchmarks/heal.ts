/** How long a client is without its database while it is exchanged, against a restore into the live database. */
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import { openAdmin, type AdminSession, type SwapPair } from "../../jobs/database";
import { soon } from "../jobs/database/cluster";
import { putBack } from "../jobs/database/fixture";
import { type Figure, median } from "./figures";
import { database, type World } from "./world";

/** The exchange itself is over in milliseconds; one of them says little. */
const exchanges = 15;
const clients = 8;
/** Between two queries of a client, in milliseconds: busy, and the machine is not saturated before anything begins. */
const thinkTime = 5;
/** Before a client connects again. */
const reconnectPause = 100;

/**
 * Milliseconds from the fence to the first query that the restored database answers, while clients work and connect
 * again.
 */
export async function measureCutOver(world: World, pair: SwapPair): Promise<number> {
  const admin = await openAdmin([world.server.access({ job: "guard" })]);
  const crowd = new Crowd(world, clients);
  try {
    const outages: number[] = [];
    let prepared = pair;
    for (let turn = 0; turn < exchanges; turn++) {
      await crowd.settled();
      outages.push(await exchange(world, admin, prepared));
      prepared = { ...prepared, ...(await putBack(world.server, prepared)) };
    }
    const [least, most] = [Math.min(...outages), Math.max(...outages)];
    world.say(`exchanged ${exchanges} times, in ${least.toFixed(0)} to ${most.toFixed(0)} ms`);
    return median(outages);
  } finally {
    await crowd.close();
    await admin.close();
  }
}

async function exchange(world: World, admin: AdminSession, pair: SwapPair): Promise<number> {
  const started = performance.now();
  await admin.fence([pair], soon());
  await admin.swap([pair], soon());
  for (;;) {
    const oid = await databaseSeen(world).catch(() => undefined);
    if (oid === pair.staged.oid) return performance.now() - started;
  }
}

async function databaseSeen(world: World): Promise<number> {
  const client = await world.server.client();
  try {
    const sql = "SELECT oid::int FROM pg_database WHERE datname = current_database()";
    return (await client.query<{ oid: number }>(sql)).rows[0]?.oid ?? 0;
  } finally {
    await client.end();
  }
}

/** Clients that query all the time, and connect again when they are ended. */
class Crowd {
  private stopped = false;
  private queries = 0;
  private readonly clients: Promise<void>[];

  constructor(
    private readonly world: World,
    size: number,
  ) {
    this.clients = Array.from({ length: size }, () => this.work());
  }

  /** Waits until the clients are at work. */
  async settled(): Promise<void> {
    const before = this.queries;
    while (this.queries < before + 200) await pause(1);
  }

  async close(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.clients);
  }

  private async work(): Promise<void> {
    while (!this.stopped) {
      const client = new Client({ ...this.world.server.connection(), database });
      client.on("error", () => undefined);
      try {
        await client.connect();
        while (!this.stopped) {
          await client.query("SELECT * FROM orders WHERE id = 1");
          this.queries++;
          await pause(thinkTime);
        }
      } catch {
        // Ended, or refused while the databases are exchanged.
      }
      await client.end().catch(() => undefined);
      await pause(reconnectPause);
    }
  }
}

/**
 * What the proof of concept does after a failed release: `stream restore | psql` into the live database. The release
 * that is measured has dropped all tables, which suits it best: nothing is in the way of what it restores.
 */
export async function measureRestoreIntoLive(world: World): Promise<number> {
  const pgDump = [world.postgres("pg_dump")] as const;
  const { output } = await world.pipe([...pgDump], world.vaultProgram("store"));
  const { id } = JSON.parse(output) as { id: string };
  await world.server.sql("DROP TABLE lines, orders, customers, events");
  await world.checkpoint();
  const psql = [world.postgres("psql"), "--quiet", "--output=/dev/null"] as const;
  const { seconds } = await world.pipe(world.vaultProgram("read", id), [...psql]);
  world.say(`restored into the live database in ${seconds.toFixed(2)} s`);
  return seconds;
}

export function cutOverFigure(gigabytes: number, milliseconds: number, restore: number): Figure {
  return {
    what: `cut-over of ${gigabytes} GB, fence to first query`,
    measured: milliseconds / 1000,
    unit: "s",
    against: { what: "stream restore | psql into the live database", value: restore },
    aims: [
      { of: "times less", bound: 200 },
      { of: "value", bound: 0.1 },
    ],
  };
}
