import * as assert from "node:assert/strict";
import pg, { type Client } from "pg";
import { protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
import { withConnection } from "../../../jobs/database/connection";
import { databaseOid } from "../../../jobs/database/properties";
import type { FreshlyStaged, ProtectedDatabase } from "../../../jobs/database/types";
import { soon, startServer, type TestServer } from "./cluster";
import { createShop, MemoryVault } from "./fixture";

describe("rows that are read back while others are restored", function () {
  let server: TestServer;
  let made: ProtectedDatabase;
  let staged: FreshlyStaged;
  const vault = new MemoryVault();
  const limits = { workers: 2 };

  before(async () => {
    server = await startServer();
    await createShop(server);
    await server.sql(`
      CREATE TYPE state AS ENUM ('open', 'closed');
      CREATE TABLE tickets (id int PRIMARY KEY, state state NOT NULL, states state[]);
      INSERT INTO tickets SELECT g, 'open', ARRAY['open', 'closed']::state[] FROM generate_series(1, 500) g;
      CREATE TABLE notes (id int NOT NULL, note text);
      INSERT INTO notes SELECT g, 'note ' || g FROM generate_series(1, 500) g;
      CREATE INDEX ON notes (md5(note));
      CREATE TABLE memos (id int NOT NULL, note text);
      INSERT INTO memos SELECT g, 'memo ' || g FROM generate_series(1, 500) g;
      CREATE TABLE classes (class regclass); INSERT INTO classes VALUES ('notes');
      CREATE DOMAIN word AS text; CREATE TABLE words (word word); INSERT INTO words VALUES ('a');
      CREATE TYPE pair AS (a int, b regclass); CREATE TABLE pairs (pair pair); INSERT INTO pairs VALUES ((1, 'notes'));
      CREATE TABLE visits (at date NOT NULL) PARTITION BY RANGE (at);
      CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
      INSERT INTO visits SELECT date '2026-01-01' + g % 300 FROM generate_series(1, 500) g`);
    made = await protectDatabase(server.access(), { deadline: soon(), vault: vault.put });
  });

  after(() => server?.close());

  let copies = 0;

  /** A copy of the staged database, row versions and files included, with something done to it. */
  async function altered(sql: string): Promise<FreshlyStaged> {
    const database = `altered_${copies++}`;
    await server.sql(`CREATE DATABASE ${database} TEMPLATE ${staged.database}`, "postgres");
    for (const statement of sql.split(";")) await server.sql(statement, database);
    const oid = await withConnection(server.access(), "postgres", (client) => databaseOid(client, database));
    assert.ok(oid !== undefined);
    return { ...staged, database, oid };
  }

  const prove = (fresh: FreshlyStaged) =>
    proveDatabase(server.access(), { deadline: soon(), protected: made, staged: fresh, limits });

  /** Calls `seen` before each statement that a client of this process sends. */
  async function watching<T>(seen: (sql: string) => Promise<void> | void, work: () => Promise<T>): Promise<T> {
    const { query } = pg.Client.prototype as unknown as { query: (...args: unknown[]) => Promise<unknown> };
    pg.Client.prototype.query = async function (this: Client, ...args: unknown[]) {
      await seen(String(args[0]));
      return query.apply(this, args);
    } as typeof pg.Client.prototype.query;
    try {
      return await work();
    } finally {
      pg.Client.prototype.query = query as typeof pg.Client.prototype.query;
    }
  }

  /** Proves, and tells which tables were read as text for it. */
  async function tablesRead(fresh: FreshlyStaged): Promise<string[]> {
    const read: string[] = [];
    await watching(
      (sql) => void read.push(...(/^COPY public\.(\w+) .*TO STDOUT/.exec(sql)?.slice(1) ?? [])),
      () => prove(fresh),
    );
    return read.sort();
  }

  /** Empty, or with values whose text depends on names of other objects. */
  const late = ["audit", "classes", "pairs", "words"];
  const early = ["customers", "memos", "notes", "orders", "tickets"];

  // First, because the second one takes the place of the first.
  it("are none where only one connection may work at a time, or a rate bounds it", async () => {
    const given = { deadline: soon(), protected: made, dump: vault.get };
    for (const bounds of [{ workers: 1 }, { workers: 2, maxRate: 20_000_000 }]) {
      assert.equal((await stageDatabase(server.access(), { ...given, limits: bounds })).early, undefined);
    }
    staged = await stageDatabase(server.access(), { ...given, limits });
    assert.notEqual(staged.early, undefined);
  });

  it("are not read again for the proof, but where their text could change by itself", async () => {
    assert.deepEqual(await tablesRead(await altered("SELECT 1")), late);
  });

  it("are all read for the proof when another process has staged them", async () => {
    const { database, oid } = await altered("SELECT 1");
    assert.deepEqual(await tablesRead({ database, oid }), [...early, ...late].sort());
  });

  it("are read again when they were written anew, in the same order", async () => {
    const copy = await altered(
      "CREATE TABLE kept AS TABLE notes;TRUNCATE notes;INSERT INTO notes TABLE kept;DROP TABLE kept",
    );
    assert.deepEqual(await tablesRead(copy), [...late, "notes"].sort());
  });

  const changes: Record<string, readonly [sql: string, sees: RegExp]> = {
    "one was changed": [
      "UPDATE notes SET note = 'other' WHERE id = 7",
      /public\.notes: the number of rows is the same/,
    ],
    "one was changed and frozen": [
      "UPDATE notes SET note = 'other' WHERE id = 7;VACUUM (FREEZE) notes",
      /public\.notes: the number of rows is the same/,
    ],
    "one was removed": ["DELETE FROM orders WHERE id = 3000", /public\.orders: 3000 rows became 2999/],
    "one was added": ["INSERT INTO customers VALUES (0, 'x')", /public\.customers: 1000 rows became 1001/],
    "one took the place of another": [
      "DELETE FROM notes WHERE id = 500;INSERT INTO notes VALUES (500, 'other')",
      /public\.notes: the number of rows is the same/,
    ],
    "they were put into another order": [
      "CREATE INDEX sorting ON notes (md5(note));CLUSTER notes USING sorting;DROP INDEX sorting",
      /public\.notes: the number of rows is the same/,
    ],
    "a column was dropped, and added with a value for all of them": [
      "ALTER TABLE memos DROP COLUMN note;ALTER TABLE memos ADD note text DEFAULT 'x';ALTER TABLE memos ALTER note DROP DEFAULT",
      /public\.memos: the number of rows is the same/,
    ],
    "labels of their type changed names": [
      "ALTER TYPE state RENAME VALUE 'open' TO 'x';ALTER TYPE state RENAME VALUE 'closed' TO 'open';ALTER TYPE state RENAME VALUE 'x' TO 'closed'",
      /public\.tickets: the number of rows is the same/,
    ],
    "two tables changed names": [
      "ALTER TABLE memos RENAME TO other;ALTER TABLE notes RENAME TO memos;ALTER TABLE other RENAME TO notes",
      /public\.memos: the number of rows is the same.*public\.notes: the number of rows is the same/,
    ],
  };
  for (const [what, [sql, sees]] of Object.entries(changes)) {
    it(`are refused when ${what} before the proof [finding 6]`, async () => {
      await assert.rejects(prove(await altered(sql)), sees);
    });
  }

  it("are refused when a session commits between the closing of the database and its own end [finding 6]", async () => {
    const copy = await altered("SELECT 1");
    const intruder = await server.client(copy.database);
    intruder.on("error", () => undefined);
    await intruder.query("BEGIN");
    await intruder.query("UPDATE classes SET class = 'memos'");
    let committed = false;
    const proving = watching(
      async (sql) => {
        if (committed || !/FROM pg_catalog\.pg_stat_activity\s+WHERE datid = /.test(sql)) return;
        committed = true;
        await intruder.query("COMMIT");
      },
      () => prove(copy),
    );
    await assert.rejects(proving, /public\.classes: the number of rows is the same/);
    assert.ok(committed);
    await intruder.end().catch(() => undefined);
  });
});
