/** A protected, staged and proven database, for tests of what comes after. */
import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import type { SwapPair } from "../../../jobs/database";
import { protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
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
  await server.sql("CREATE ROLE theirs_owner; CREATE ROLE reader; CREATE ROLE granter");
  await server.sql(fs.readFileSync(path.join(__dirname, "everything.sql"), "utf8"));
}

/** A small shop. */
export async function createShop(server: TestServer): Promise<void> {
  await server.sql(`
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 1000) g;
    CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers, note text);
    INSERT INTO orders (customer, note) SELECT g % 1000 + 1, 'order ' || g FROM generate_series(1, 3000) g;
    CREATE TABLE audit (at timestamptz);
    ALTER DATABASE shop SET statement_timeout = '1min'`);
}

export interface Prepared {
  readonly vault: MemoryVault;
  readonly protected: ProtectedDatabase;
  readonly staged: StagedDatabase;
  readonly proven: ProvenDatabase;
  readonly pair: SwapPair;
}

export async function prepare(server: TestServer): Promise<Prepared> {
  const access = server.access();
  const vault = new MemoryVault();
  const made = await protectDatabase(access, { deadline: soon(), vault: vault.put });
  const staged = await stageDatabase(access, { deadline: soon(), protected: made, dump: vault.get });
  const proven = await proveDatabase(access, { deadline: soon(), protected: made, staged });
  const pair = {
    database: "shop",
    liveOid: made.oid,
    staged,
    seal: proven.seal,
    evidence: evidenceDatabase("shop", run),
  };
  return { vault, protected: made, staged, proven, pair };
}
