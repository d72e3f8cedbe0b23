import * as assert from "node:assert/strict";
import { preflight, protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
import { withConnection } from "../../../jobs/database/connection";
import { originHash, originOf } from "../../../jobs/database/origin";
import { clientFolder } from "../../../jobs/database/program";
import {
  applySharedProperties,
  existingDatabase,
  localProperties,
  sharedProperties,
} from "../../../jobs/database/properties";
import { schemaText, sha256 } from "../../../jobs/database/schema";
import type { ProtectedDatabase, StagedDatabase } from "../../../jobs/database/types";
import { localChanges, schemaChanges, sharedChanges } from "./changes";
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
  "a value of each built-in type": {
    sql: "UPDATE builtin SET c_cid = '8', c_jsonpath = '$.b', c_tid = '(7,8)', c_xml = '<x/>'",
    names: /public\.builtin: the number/,
  },
  "an array's bounds": { sql: "UPDATE arrays SET a = '{{1,2},{3,NULL}}'", names: /public\.arrays: the number/ },
  "a value in a composite's array": {
    sql: "UPDATE composed SET ps = ARRAY[ROW(NULL, NULL)::pair]",
    names: /public\.composed: the number/,
  },
  "a row of an inheriting table": { sql: "UPDATE child SET what = 'x'", names: /public\.child: the number/ },
  "a new, empty table": { sql: "CREATE TABLE nothing_yet ()", names: /public\.nothing_yet was not there before/ },
  "the identity's next value": {
    sql: "SELECT nextval('by_default_id_seq')",
    names: /sequence public\.by_default_id_seq: 7,true became 14,true/,
  },
  "a large object's owner": { sql: "ALTER LARGE OBJECT 70002 OWNER TO reader", names: /large objects/ },
  "a large object's comment": { sql: "COMMENT ON LARGE OBJECT 70001 IS 'larger'", names: /large objects/ },
  "a large object that is gone": { sql: "SELECT lo_unlink(70002)", names: /large objects/ },
  "an object of the schema": { sql: "DROP FUNCTION theirs.f", names: /the schema's text differs/ },
  "an extension's version": {
    sql: "ALTER EXTENSION hstore UPDATE",
    names: /properties differ.*live had \["extension","hstore","1\.4".*staged has \["extension","hstore","1\.8"/,
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

  it("has the text of its schema that it is known by", async () => {
    assert.equal(await schemaHash(staged.database), made.fingerprint.schema);
  });

  for (const [what, sql] of Object.entries(schemaChanges)) {
    it(`has another text of its schema when ${what} differs`, () =>
      withCopy(`copy_${number++}`, async (copy) => {
        await server.sql(sql.replace(":database", copy.database), copy.database);
        assert.notEqual(await schemaHash(copy.database), made.fingerprint.schema);
      }));
  }

  async function schemaHash(database: string): Promise<string> {
    const folder = await clientFolder(made.serverVersion, soon());
    return sha256(await schemaText(server.access(), database, folder, soon()));
  }

  for (const [what, sql] of Object.entries(localChanges)) {
    it(`has other properties when ${what} differs`, () =>
      withCopy(`copy_${number++}`, async (copy) => {
        const broken = /could not create unique index/;
        const { shared } = originOf(made);
        const properties = () =>
          withConnection(server.access(), copy.database, async (client) =>
            originHash({ shared, local: await localProperties(client) }),
          );
        assert.equal(await properties(), made.fingerprint.properties);
        // Not all of it is the master's to change.
        await server.cluster
          .administer(sql, copy.database)
          .catch((error: Error) => assert.match(error.message, broken));
        assert.notEqual(await properties(), made.fingerprint.properties);
      }));
  }

  for (const [what, sql] of Object.entries(sharedChanges)) {
    it(`has other properties when ${what} of the database differs`, () =>
      withCopy(`copy_${number++}`, async (copy) => {
        const { shared, local } = originOf(made);
        await withConnection(server.access(), "postgres", async (client) => {
          const properties = async () => originHash({ shared: await sharedProperties(client, copy.oid), local });
          await applySharedProperties(client, shared, copy.oid);
          assert.equal(await properties(), made.fingerprint.properties);
          await server.sql(sql.replace(":database", copy.database), "postgres");
          assert.notEqual(await properties(), made.fingerprint.properties);
        });
        await server.sql(`ALTER DATABASE ${copy.database} IS_TEMPLATE false`, "postgres");
      }));
  }

  it("keeps encoding, locale and tablespace, which no database can change", async () => {
    const { state } = originOf(made).shared;
    const copied = await withConnection(server.access(), "postgres", (client) => existingDatabase(client, staged.oid));
    const fixed = ({ row, encoding, tablespace }: typeof state) => [row.datcollate, row.datctype, encoding, tablespace];
    assert.deepEqual(fixed(copied), fixed(state));
  });

  it("holds a value of every type that a column can have", async () => {
    const rows = await server.sql(
      `SELECT typname FROM pg_type t
        WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A'
          AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
                           WHERE c.relnamespace = 'public'::regnamespace AND a.atttypid = t.oid)`,
    );
    // The server's own, which take no input.
    const internal = /^(gtsvector|pg_(brin_.*|dependencies|mcv_list|ndistinct|node_tree))$/;
    assert.deepEqual(
      rows.map(({ typname }) => String(typname)).filter((name) => !internal.test(name)),
      [],
    );
  });

  it("has the properties of the snapshot, whatever became of the live database's", async () => {
    await server.sql("ALTER DATABASE shop SET work_mem = '3MB'; COMMENT ON DATABASE shop IS 'altered'", "postgres");
    try {
      await withCopy(`copy_${number++}`, async (copy) => {
        await proveDatabase(server.access(), { deadline: soon(), protected: made, staged: copy });
      });
    } finally {
      await server.sql("ALTER DATABASE shop RESET work_mem", "postgres");
      await server.sql(`COMMENT ON DATABASE shop IS 'the shop''s "database"'`, "postgres");
    }
  });

  it("is equal to the original, and then closed to everybody", async () => {
    const proven = await proveDatabase(server.access(), { deadline: soon(), protected: made, staged });
    assert.match(proven.compared, /^\d+ tables, 1,521 rows$/);
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
