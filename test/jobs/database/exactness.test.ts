import * as assert from "node:assert/strict";
import { Client } from "pg";
import { preflight, protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
import type { DatabaseAccess } from "../../../jobs/database";
import { connect, end, withConnection } from "../../../jobs/database/connection";
import { differences, readContents, readingSettings } from "../../../jobs/database/fingerprint";
import { originHash, originOf } from "../../../jobs/database/origin";
import { clientFolder } from "../../../jobs/database/program";
import {
  applySharedProperties,
  databaseOid,
  existingDatabase,
  localProperties,
  sharedProperties,
  type DatabaseState,
} from "../../../jobs/database/properties";
import { schemaText, sha256 } from "../../../jobs/database/schema";
import type { FreshlyStaged, ProtectedDatabase, StagedDatabase } from "../../../jobs/database/types";
import {
  localChanges,
  privileged,
  privilegedChanges,
  rowChanges,
  schemaChanges,
  sharedChanges,
  type Change,
} from "./changes";
import { soon, startServer, type TestServer } from "./cluster";
import { createEverything, MemoryVault } from "./fixture";

describe("a restored database with every kind of thing in it", function () {
  let server: TestServer;
  let made: ProtectedDatabase;
  let staged: FreshlyStaged;
  const vault = new MemoryVault();

  before(async () => {
    server = await startServer();
    await createEverything(server);
    made = await protectDatabase(server.access(), { deadline: soon(), vault: vault.put });
    const limits = { workers: 2 };
    staged = await stageDatabase(server.access(), { deadline: soon(), protected: made, dump: vault.get, limits });
    await copyStaged("altered");
  });

  after(() => server?.close());

  it("passes the preflight: all of it can be kept", async () => {
    const findings = await preflight(server.access());
    assert.deepEqual(
      findings.filter(({ severity }) => severity === "stop"),
      [],
    );
  });

  /** A copy of the staged database, to be altered. */
  async function copyStaged(name: string): Promise<StagedDatabase> {
    await server.sql(`CREATE DATABASE ${name} TEMPLATE ${staged.database} OWNER shop_owner`, "postgres");
    const oid = await withConnection(server.access(), "postgres", (client) => databaseOid(client, name));
    assert.ok(oid !== undefined);
    return { database: name, oid };
  }

  async function textOf(access: DatabaseAccess, database: string): Promise<string> {
    const folder = await clientFolder(made.serverVersion, soon());
    return schemaText(access, database, folder, soon());
  }

  describe("has another fingerprint of its rows when", () => {
    let client: Client;

    before(async () => {
      client = await connect(server.access(), "altered");
      await client.query(readingSettings);
    });

    after(() => end(client));

    async function found(sql: string): Promise<string[]> {
      await client.query("BEGIN");
      try {
        await client.query(`SET LOCAL search_path = public; ${sql}; SET LOCAL search_path = ''`);
        return differences(made.fingerprint, { ...made.fingerprint, ...(await readContents([client])) });
      } finally {
        await client.query("ROLLBACK");
      }
    }

    // First, because what a sequence has given out is not rolled back.
    it("something is changed, and not otherwise", async () => {
      assert.deepEqual(await found(""), []);
    });

    for (const [what, { sql, sees }] of Object.entries(rowChanges)) {
      it(`${what} differs`, async () => {
        assert.match((await found(sql)).join("; "), sees);
      });
    }
  });

  describe("has another fingerprint of its schema when", () => {
    let lines: string[];
    let hashes: string[];

    before(async () => {
      const text = await textOf(server.access(), "altered");
      hashes = [text, await textOf(server.access(), "altered")].map(sha256);
      for (const { sql } of Object.values(schemaChanges))
        await server.sql(sql.replace(":database", "altered"), "altered");
      lines = differingLines(text, await textOf(server.access(), "altered"));
    });

    it("something is changed, and not when it is dumped again, nor after a restore [finding 1] [finding 2]", async () => {
      assert.deepEqual(hashes, [made.fingerprint.schema, made.fingerprint.schema]);
    });

    claim(schemaChanges, () => lines);
  });

  describe("has another fingerprint of its properties when", () => {
    let superuser: Client;
    let copy: StagedDatabase;

    before(async () => {
      copy = await copyStaged("other");
      // Not all of it is the master's to change.
      superuser = new Client({ host: server.cluster.directory, port: 5432, user: "rdsadmin", database: "other" });
      await superuser.connect();
      await applySharedProperties(superuser, originOf(made).shared, copy.oid);
    });

    after(() => end(superuser));

    /** The properties as long as something is changed. */
    async function properties(sql: string): Promise<string> {
      await superuser.query("BEGIN");
      try {
        await superuser.query(sql.replace(":database", "other"));
        await superuser.query("SET LOCAL search_path = ''");
        const local = await localProperties(superuser);
        return originHash({ shared: await sharedProperties(superuser, copy.oid), local });
      } finally {
        await superuser.query("ROLLBACK");
      }
    }

    it("something is changed, and not otherwise", async () => {
      assert.equal(await properties("SELECT 1"), made.fingerprint.properties);
    });

    for (const [what, sql] of Object.entries({ ...localChanges, ...sharedChanges })) {
      it(`${what} differs`, async () => {
        assert.notEqual(await properties(sql), made.fingerprint.properties);
      });
    }

    it("an index has become invalid", async () => {
      const broken = /could not create unique index/;
      await assert.rejects(superuser.query("CREATE UNIQUE INDEX CONCURRENTLY broken ON doubled (a)"), broken);
      assert.notEqual(await properties("SELECT 1"), made.fingerprint.properties);
      await superuser.query("DROP INDEX broken");
    });

    const fixed: Record<string, (state: DatabaseState) => DatabaseState> = {
      encoding: (state) => ({ ...state, encoding: "LATIN1" }),
      tablespace: (state) => ({ ...state, tablespace: "fast" }),
      "order of characters": (state) => ({ ...state, row: { ...state.row, datcollate: "other" } }),
      "kinds of characters": (state) => ({ ...state, row: { ...state.row, datctype: "other" } }),
      "locale's provider": (state) => ({ ...state, row: { ...state.row, datlocprovider: "i" } }),
      "locale's rules": (state) => ({ ...state, row: { ...state.row, daticurules: "&a < b" } }),
    };
    for (const [what, change] of Object.entries(fixed)) {
      it(`its ${what} differs, which no database can change later`, () => {
        const { shared, local } = originOf(made);
        assert.equal(originHash({ shared, local }), made.fingerprint.properties);
        const other = originHash({ shared: { ...shared, state: change(shared.state) }, local });
        assert.notEqual(other, made.fingerprint.properties);
      });
    }
  });

  it("is not proven when it differs: rows, schema and properties are named", async () => {
    const copy = await copyStaged("different");
    await server.sql("DELETE FROM child; DROP FUNCTION theirs.f; ALTER EXTENSION hstore UPDATE", copy.database);
    await assert.rejects(
      proveDatabase(server.access(), { deadline: soon(), protected: made, staged: copy }),
      /is not equal .*: public\.child: 1 rows became 0; the schema's text differs; the database's properties differ; live had \["extension","hstore","1\.4".*; staged has \["extension","hstore","1\.[78]"/,
    );
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
    const copy = await copyStaged("later");
    await proveDatabase(server.access(), { deadline: soon(), protected: made, staged: copy });
  });

  it("is equal to the original, and then closed to everybody [finding 6]", async () => {
    const proven = await proveDatabase(server.access(), { deadline: soon(), protected: made, staged });
    assert.match(proven.compared, /^\d+ tables, 1,52\d rows$/);
    await assert.rejects(server.client(staged.database), /not currently accepting connections/);
    const [row] = await server.sql(
      `SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE oid = ${staged.oid}`,
    );
    assert.equal(row?.comment, `the shop's "database"`);
  });

  it("can be proven again after an interrupted proof has closed it", async () => {
    await proveDatabase(server.access(), { deadline: soon(), protected: made, staged });
  });

  describe("by a master that may make event triggers, as RDS's may,", () => {
    let access: DatabaseAccess;
    let special: ProtectedDatabase;
    let copy: StagedDatabase;
    let lines: string[];

    before(async () => {
      await server.cluster.administer("CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'boss'");
      await server.cluster.administer("CREATE DATABASE special OWNER boss");
      await server.cluster.administer(`SET ROLE boss; ${privileged}`, "special");
      const boss = { user: "boss", password: "boss" };
      const target = { ...server.access().target, database: "special" };
      access = server.access({ target, credentials: async () => boss });
      const own = new MemoryVault();
      special = await protectDatabase(access, { deadline: soon(), vault: own.put });
      copy = await stageDatabase(access, { deadline: soon(), protected: special, dump: own.get });
      const text = await textOf(access, copy.database);
      const changes = Object.values(privilegedChanges).map(({ sql }) => sql);
      await server.cluster.administer(`CREATE DATABASE special_altered TEMPLATE ${copy.database}`);
      await server.cluster.administer(changes.join("; "), "special_altered");
      lines = differingLines(text, await textOf(access, "special_altered"));
    });

    it("is equal to the original", async () => {
      await proveDatabase(access, { deadline: soon(), protected: special, staged: copy });
    });

    claim(privilegedChanges, () => lines);
  });

  describe("with an encoding, a locale and an owner of its own", () => {
    it("is equal to the original all the same [finding 37]", async () => {
      await server.sql(
        `CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER theirs_owner ` +
          (made.serverVersion >= 150_000 ? "LOCALE_PROVIDER icu ICU_LOCALE 'de'" : ""),
        "postgres",
      );
      await server.sql(
        "CREATE TABLE words (word text PRIMARY KEY DEFAULT 'ä'); COMMENT ON TABLE words IS 'Wörter';" +
          "INSERT INTO words VALUES ('Äpfel'), ('ähnlich'), ('Zaun'); GRANT SELECT ON words TO reader",
        "latin",
      );
      const access = server.access({ target: { ...server.access().target, database: "latin" } });
      const own = new MemoryVault();
      const latin = await protectDatabase(access, { deadline: soon(), vault: own.put });
      const copy = await stageDatabase(access, { deadline: soon(), protected: latin, dump: own.get });
      await proveDatabase(access, { deadline: soon(), protected: latin, staged: copy });
      const { row, owner, encoding } = await withConnection(access, "postgres", (client) =>
        existingDatabase(client, copy.oid),
      );
      assert.deepEqual([encoding, row.datcollate, owner], ["LATIN1", "C", "theirs_owner"]);
      if (made.serverVersion >= 150_000) assert.equal(row.datlocprovider, "i");
    });

    for (const [what, change] of Object.entries({
      "a letter of a comment": "COMMENT ON TABLE words IS 'Wàrter'",
      "a letter of a default": "ALTER TABLE words ALTER word SET DEFAULT 'à'",
    })) {
      it(`is refused when ${what} beyond ASCII differs [finding 37]`, async () => {
        const access = server.access({ target: { ...server.access().target, database: "latin" } });
        const own = new MemoryVault();
        const latin = await protectDatabase(access, { deadline: soon(), vault: own.put });
        await server.sql("DROP DATABASE IF EXISTS latin_staged_1b9d6bcd", "postgres");
        const copy = await stageDatabase(access, { deadline: soon(), protected: latin, dump: own.get });
        await server.sql(change, copy.database);
        await assert.rejects(
          proveDatabase(access, { deadline: soon(), protected: latin, staged: copy }),
          /the schema's text differs/,
        );
      });
    }
  });
});

function claim(changes: Readonly<Record<string, Change>>, lines: () => readonly string[]): void {
  for (const [what, { sees }] of Object.entries(changes)) {
    it(`${what} differs`, () => {
      assert.ok(
        lines().some((line) => sees.test(line)),
        `no differing line is ${String(sees)}`,
      );
    });
  }
}

/** Lines that only one of two texts has, or has more often: `- ` the first, `+ ` the second. */
function differingLines(before: string, after: string): string[] {
  const counts = new Map<string, number>();
  for (const line of before.split("\n")) counts.set(line, (counts.get(line) ?? 0) + 1);
  for (const line of after.split("\n")) counts.set(line, (counts.get(line) ?? 0) - 1);
  return [...counts].flatMap(([line, count]) => (count === 0 ? [] : [`${count > 0 ? "-" : "+"} ${line}`]));
}
