/** How long a client is without its database behind PgBouncer, whose hooks are used, and without it. */
import { setTimeout as pause } from "node:timers/promises";
import { openAdmin, type SwapPair } from "../../jobs/database";
import { soon } from "../jobs/database/cluster";
import { putBack } from "../jobs/database/fixture";
import { findPgBouncer, startPgBouncer } from "../jobs/database/pgbouncer";
import { type Figure, median } from "./figures";
import type { World } from "./world";

const exchanges = 5;

/** What a client needs of a connection, directly or through the pooler. */
interface Connection {
  query(sql: string): Promise<unknown>;
  end(): Promise<void>;
}

/** The longest time between two answers to a client that asks all the time, and the errors that it saw. */
interface Felt {
  readonly gap: number;
  readonly errors: number;
}

export async function measureThroughPooler(world: World, pair: SwapPair): Promise<Figure[]> {
  const program = findPgBouncer();
  if (program === undefined) {
    world.say("PgBouncer is not installed: its row is left out");
    return [];
  }
  const pooler = world.keep(await startPgBouncer(program, world.server));
  try {
    const direct = await repeat(world, pair, () => world.server.client());
    const pooled = await repeat(world, { ...pair, pooler: pooler.access }, () => pooler.client());
    const errors = pooled.reduce((sum, felt) => sum + felt.errors, 0);
    world.say(`through PgBouncer: ${errors} errors; directly: ${direct.reduce((sum, felt) => sum + felt.errors, 0)}`);
    return [
      {
        what: "outage of a client through PgBouncer, with hooks",
        measured: median(pooled.map(({ gap }) => gap)) / 1000,
        unit: "s",
        against: { what: "a direct client, with errors", value: median(direct.map(({ gap }) => gap)) / 1000 },
        aims: [{ of: "value", bound: 0.5 }],
        note: `${errors} errors`,
        failed: errors > 0,
      },
    ];
  } finally {
    await pooler.close();
  }
}

async function repeat(world: World, pair: SwapPair, connect: () => Promise<Connection>): Promise<Felt[]> {
  const felt: Felt[] = [];
  let prepared = { ...pair, ...(await putBack(world.server, pair)) };
  for (let turn = 0; turn < exchanges; turn++) {
    const admin = await openAdmin([world.server.access({ job: "guard" })]);
    const client = watch(connect);
    await client.settled();
    await admin.fence([prepared], soon());
    await admin.swap([prepared], soon());
    await client.settled();
    felt.push(await client.stop());
    await admin.close();
    prepared = { ...prepared, ...(await putBack(world.server, prepared)) };
  }
  return felt;
}

/** A client that asks every millisecond, and connects again when its connection has ended. */
function watch(connect: () => Promise<Connection>) {
  let stopped = false;
  let answers = 0;
  let errors = 0;
  let gap = 0;
  const work = async (): Promise<void> => {
    let connection: Connection | undefined;
    let last: number | undefined;
    while (!stopped) {
      try {
        connection ??= await connect();
        await connection.query("SELECT * FROM orders WHERE id = 1");
        const now = performance.now();
        if (last !== undefined) gap = Math.max(gap, now - last);
        last = now;
        answers++;
      } catch {
        errors++;
        await connection?.end().catch(() => undefined);
        connection = undefined;
      }
      await pause(1);
    }
    await connection?.end();
  };
  const working = work();
  return {
    settled: async (): Promise<void> => {
      const before = answers;
      while (answers < before + 20) await Promise.race([pause(2), working]);
    },
    stop: async (): Promise<Felt> => {
      stopped = true;
      await working;
      return { gap, errors };
    },
  };
}
