import * as assert from "node:assert/strict";
import { preflight, protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
import type { ProtectedDatabase, StagedDatabase } from "../../../jobs/database/types";
import { soon, startServer, type TestServer } from "./cluster";
import { createEverything, MemoryVault } from "./fixture";

/** What is done to a copy of the staged database, and what the proof must then name. */
const changes: Record<string, { sql: string; names: RegExp }> = {
  "a value": { sql: "UPDATE kinds SET n = n + 1 WHERE id = 7", names: /public\.kinds: the number of rows is the same/ },
  "values that changed places": {
    sql: "UPDATE kinds a SET u = b.u FROM kinds b WHERE (a.id, b.id) IN ((3, 5), (5, 3))",
    names: /public\.kinds: the number of rows is the same/,
  },
  "the scale of a number": {
    sql: "UPDATE kinds SET n = n::numeric(40,25) WHERE id = 7",
    names: /public\.kinds: the number/,
  },
  "the case of a citext": { sql: "UPDATE kinds SET ci = 'citext' WHERE id = 7", names: /public\.kinds: the number/ },
  "a negative zero": { sql: "UPDATE kinds SET f = 0 WHERE f = 0", names: /public\.kinds: the number/ },
  "one of two equal rows": {
    sql: "DELETE FROM parent; DROP RULE quiet ON doubled; DELETE FROM doubled WHERE ctid = '(0,1)'",
    names: /public\.doubled: 30 rows became 29.*public\.parent: 1 rows became 0/,
  },
  "a row without columns": { sql: "INSERT INTO none DEFAULT VALUES", names: /public\."none": 4 rows became 5/ },
  "a row of a partition": { sql: "DELETE FROM events WHERE n = 5", names: /public\.events: 900 rows became 899/ },
  "a row behind row security": { sql: "DELETE FROM secretive WHERE id = 1", names: /public\.secretive: 10 rows/ },
  "an unlogged row": { sql: "DELETE FROM fleeting WHERE g = 1", names: /public\.fleeting: 10 rows became 9/ },
  "an oddly named table": {
    sql: `UPDATE "Odd ""schema"."Ta'ble" SET t = 'y' WHERE "select" = 1`,
    names: /"Odd ""schema"\."Ta'ble": the number/,
  },
  "a sequence's value": {
    sql: "SELECT nextval('countdown')",
    names: /sequence public\.countdown: 99,true became 98,true/,
  },
  "whether a sequence was used": { sql: "SELECT setval('untouched', 1)", names: /sequence public\.untouched: 1,false/ },
  "a large object": { sql: "SELECT lo_put(70001, 4999, 'x')", names: /large objects/ },
  "a large object's rights": { sql: "REVOKE SELECT ON LARGE OBJECT 70001 FROM reader", names: /large objects/ },
  "a materialized view": {
    sql: "REFRESH MATERIALIZED VIEW later",
    names: /public\.later/,
  },
  "a default": { sql: "ALTER TABLE parent ALTER id SET DEFAULT 1", names: /the schema's text differs/ },
  "an index": { sql: "DROP INDEX kinds_md_idx", names: /the schema's text differs/ },
  "a trigger's state": { sql: "ALTER TABLE kinds ENABLE TRIGGER asleep", names: /the schema's text differs/ },
  "a function's body": {
    sql: "CREATE OR REPLACE FUNCTION theirs.f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    names: /the schema's text differs/,
  },
  "an owner": { sql: "ALTER TABLE theirs.things OWNER TO master", names: /the schema's text differs/ },
  "a right": {
    sql: "SET ROLE granter; REVOKE SELECT ON theirs.things FROM reader",
    names: /the schema's text differs/,
  },
  "a comment": { sql: "COMMENT ON COLUMN kinds.t IS NULL", names: /the schema's text differs/ },
  "a policy": { sql: "DROP POLICY mine ON secretive", names: /the schema's text differs/ },
  "a statistics object": { sql: "DROP STATISTICS kinds_stats", names: /the schema's text differs/ },
  "a publication": { sql: "DROP PUBLICATION news", names: /the schema's text differs/ },
  "an extension's version": {
    sql: "ALTER EXTENSION hstore UPDATE",
    names: /properties differ.*staged has \["extension","hstore","1\.8"/,
  },
  "a schema": { sql: "CREATE SCHEMA one_more", names: /the schema's text differs.*staged has \["schema","one_more"\]/ },
};

/** What is done to the live database between the protection and the proof, in its shared properties. */
const properties: Record<string, { sql: string; back: string; names: RegExp }> = {
  "a setting": {
    sql: "ALTER DATABASE shop SET search_path = public",
    back: `ALTER DATABASE shop SET search_path = "$user", public, "Odd ""schema"`,
    names: /properties differ/,
  },
  "a role's setting": {
    sql: "ALTER ROLE reader IN DATABASE shop RESET work_mem",
    back: "ALTER ROLE reader IN DATABASE shop SET work_mem = '7MB'",
    names: /properties differ/,
  },
  "the connection limit": {
    sql: "ALTER DATABASE shop CONNECTION LIMIT 78",
    back: "ALTER DATABASE shop CONNECTION LIMIT 77",
    names: /properties differ/,
  },
  "a right that was handed on": {
    sql: "SET ROLE granter; REVOKE CONNECT ON DATABASE shop FROM reader",
    back: "SET ROLE granter; GRANT CONNECT ON DATABASE shop TO reader",
    names: /properties differ/,
  },
  "the comment": {
    sql: "COMMENT ON DATABASE shop IS 'x'",
    back: `COMMENT ON DATABASE shop IS 'the shop''s "database"'`,
    names: /properties differ/,
  },
};

describe("a restored database with every kind of thing in it", function () {
  this.timeout(300_000);
  let server: TestServer;
  let made: ProtectedDatabase;
  let staged: StagedDatabase;
  const vault = new MemoryVault();

  before(async () => {
    server = await startServer();
    await createEverything(server);
    made = await protectDatabase(server.access(), { deadline: soon(), vault: vault.put });
    staged = await stageDatabase(server.access(), { deadline: soon(), protected: made, dump: vault.get });
  });

  after(() => server.close());

  it("passes the preflight: all of it can be kept", async () => {
    const findings = await preflight(server.access());
    assert.deepEqual(
      findings.filter(({ severity }) => severity === "stop"),
      [],
    );
  });

  /** A copy of the staged database, for one test to alter. */
  async function withCopy(name: string, work: (copy: StagedDatabase) => Promise<void>): Promise<void> {
    await server.sql(`CREATE DATABASE ${name} TEMPLATE ${staged.database} STRATEGY file_copy`, "postgres");
    const [row] = await server.sql(`SELECT oid::int FROM pg_database WHERE datname = '${name}'`, "postgres");
    try {
      await work({ database: name, oid: Number(row?.oid) });
    } finally {
      await server.sql(`DROP DATABASE ${name} WITH (FORCE)`, "postgres");
    }
  }

  let number = 0;
  for (const [what, { sql, names }] of Object.entries(changes)) {
    it(`is not taken for equal when ${what} differs`, () =>
      withCopy(`copy_${number++}`, async (copy) => {
        await server.sql(sql, copy.database);
        const proof = proveDatabase(server.access(), { deadline: soon(), protected: made, staged: copy });
        await assert.rejects(proof, names);
      }));
  }

  for (const [what, { sql, back, names }] of Object.entries(properties)) {
    it(`is not taken for equal when ${what} of the database differs`, () =>
      withCopy(`copy_${number++}`, async (copy) => {
        await server.sql(sql);
        try {
          const proof = proveDatabase(server.access(), { deadline: soon(), protected: made, staged: copy });
          await assert.rejects(proof, names);
        } finally {
          await server.sql(back);
        }
      }));
  }

  it("is equal to the original, and then closed to everybody", async () => {
    const proven = await proveDatabase(server.access(), { deadline: soon(), protected: made, staged });
    assert.match(proven.compared, /^\d+ tables, 1,511 rows$/);
    await assert.rejects(server.client(staged.database), /not currently accepting connections/);
    const [row] = await server.sql(
      `SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE oid = ${staged.oid}`,
    );
    assert.equal(row?.comment, `the shop's "database"`);
  });

  it("can be proven again after an interrupted proof has closed it", async () => {
    await proveDatabase(server.access(), { deadline: soon(), protected: made, staged });
  });
});
