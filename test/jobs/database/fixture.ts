/** A protected, staged and proven database, for tests of what comes after. */
import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type { DatabaseAccess, SwapPair } from "../../../jobs/database";
import type { Client } from "pg";
import { protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
import { readSeal } from "../../../jobs/database/seal";
import type { ProtectedDatabase, ProvenDatabase, StagedDatabase } from "../../../jobs/database/types";
import { evidenceDatabase } from "../../../run/ids";
import { run, soon, type TestServer } from "./cluster";

/** A vault in memory. */
export class MemoryVault {
  readonly stored: Buffer[] = [];

  readonly put = async (dump: Readable): Promise<{ recoveryPoint: string }> => {
    for await (const chunk of dump) this.stored.push(chunk as Buffer);
    return { recoveryPoint: "rp-1" };
  };

  readonly get = async (): Promise<Readable> => Readable.from(this.stored, { objectMode: false });

  /** The stream with other bytes. */
  altered(change: (bytes: Buffer) => Buffer): () => Promise<Readable> {
    return async () => Readable.from([change(Buffer.concat(this.stored))], { objectMode: false });
  }
}

/** Fills the database `shop` with every kind of thing. */
export async function createEverything(server: TestServer): Promise<void> {
  // The owners last: of several roles that the master could grant as, the server takes the oldest.
  await server.sql("CREATE ROLE granter; CREATE ROLE reader; CREATE ROLE theirs_owner; CREATE ROLE shop_owner");
  await server.sql(fs.readFileSync(path.join(__dirname, "../../everything.sql"), "utf8"));
}

/** A small shop. */
export async function createShop(server: TestServer, database = "shop"): Promise<void> {
  await server.sql(
    `
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 1000) g;
    CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers, note text);
    INSERT INTO orders (customer, note) SELECT g % 1000 + 1, 'order ' || g FROM generate_series(1, 3000) g;
    CREATE TABLE audit (at timestamptz);
    ALTER DATABASE ${database} SET statement_timeout = '1min'`,
    database,
  );
}

export interface Prepared {
  readonly vault: MemoryVault;
  readonly protected: ProtectedDatabase;
  readonly staged: StagedDatabase;
  readonly proven: ProvenDatabase;
  readonly pair: SwapPair;
}

export async function prepare(server: TestServer, database = "shop"): Promise<Prepared> {
  const vault = new MemoryVault();
  const made = await protectDatabase(accessOf(server, database), { deadline: soon(), vault: vault.put });
  return restage(server, { vault, protected: made }, database);
}

/** Stages and proves again what was protected. The name of the staged database must be free. */
export async function restage(
  server: TestServer,
  made: Pick<Prepared, "vault" | "protected">,
  database = "shop",
): Promise<Prepared> {
  const access = accessOf(server, database);
  const staged = await stageDatabase(access, { deadline: soon(), protected: made.protected, dump: made.vault.get });
  const proven = await proveDatabase(access, { deadline: soon(), protected: made.protected, staged });
  const pair = {
    database,
    liveOid: made.protected.oid,
    staged,
    seal: proven.seal,
    evidence: evidenceDatabase(database, run),
  };
  return { ...made, staged, proven, pair };
}

function accessOf(server: TestServer, database: string): DatabaseAccess {
  const access = server.access();
  return { ...access, target: { ...access.target, database } };
}

/** Undoes a fence or an exchange: the live database is open, and the proven one staged and sealed again. */
export async function putBack(server: TestServer, pair: SwapPair): Promise<Pick<SwapPair, "seal">> {
  const client = await server.client("postgres");
  const names = async (): Promise<Map<number, string>> => {
    const { rows } = await client.query<{ oid: number; name: string }>(
      "SELECT oid::int AS oid, datname AS name FROM pg_database",
    );
    return new Map(rows.map(({ oid, name }) => [oid, name]));
  };
  try {
    const found = await names();
    if (found.get(pair.staged.oid) === pair.database) {
      await client.query(`ALTER DATABASE ${pair.database} ALLOW_CONNECTIONS false`);
      await emptied(client, pair.database);
      await client.query(`ALTER DATABASE ${pair.database} RENAME TO ${pair.staged.database}`);
      await client.query(`ALTER DATABASE ${pair.evidence} RENAME TO ${pair.database}`);
    }
    await client.query(`ALTER DATABASE ${pair.database} ALLOW_CONNECTIONS true CONNECTION LIMIT -1`);
    return { seal: await readSeal(client, pair.staged.oid) };
  } finally {
    await client.end();
  }
}

async function emptied(client: Client, database: string): Promise<void> {
  for (;;) {
    const { rows } = await client.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'",
      [database],
    );
    if (rows.length === 0) return;
  }
}

/** Clients of the database `shop` that write without a pause, and connect again when they have lost their session. */
export class LiveClients {
  /** Codes or messages of the errors that they have seen. */
  readonly errors = new Set<string>();
  private good = 0;
  private stopped = false;
  private readonly working: readonly Promise<void>[];

  constructor(
    private readonly server: TestServer,
    count: number,
  ) {
    this.working = Array.from({ length: count }, () => this.work());
  }

  /** Resolves when so many more writes have come through. */
  async more(writes: number): Promise<void> {
    const enough = this.good + writes;
    while (this.good < enough) await pause(5);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.working);
  }

  private async work(): Promise<void> {
    let client: Client | undefined;
    while (!this.stopped) {
      try {
        client ??= await this.server.client();
        await client.query("INSERT INTO orders (customer, note) VALUES (1, 'live')");
        this.good++;
      } catch (error) {
        this.errors.add((error as { code?: string }).code ?? (error as Error).message);
        await client?.end().catch(() => undefined);
        client = undefined;
      }
      await pause(1);
    }
    await client?.end();
  }
}
