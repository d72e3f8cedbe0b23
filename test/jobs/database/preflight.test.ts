import * as assert from "node:assert/strict";
import { preflight, protectDatabase, stageDatabase } from "../../../jobs/database";
import { mark } from "../../../jobs/database/owned";
import { acceptable, checkPrograms, codes } from "../../../jobs/database/preflight";
import type { DatabaseAccess, Finding } from "../../../jobs/database/types";
import { evidenceDatabase, stagedDatabase } from "../../../run/ids";
import { run, soon, startServer, type TestServer } from "./cluster";
import { MemoryVault } from "./fixture";

/** What brings a finding about, as the master; `as`: as RDS's own superuser. */
interface Case {
  readonly code: string;
  readonly make?: string;
  readonly as?: string | readonly string[];
  /** Takes it back, in the same roles. */
  readonly back?: string;
  readonly asBack?: string | readonly string[];
  readonly object: RegExp;
  readonly severity?: Finding["severity"];
  readonly access?: Partial<DatabaseAccess>;
  readonly database?: string;
}

/** Without the findings that it proves. */
function codeOf({ code }: Case): string {
  return code.replace(/ .*/, "");
}

const weak = { credentials: async () => ({ user: "weak", password: "weak" }) };
const frozen = { writes: "freeze" } as const;

const cases: Case[] = [
  {
    code: "name-taken",
    make: `CREATE DATABASE ${evidenceDatabase("shop", run)}`,
    back: `DROP DATABASE ${evidenceDatabase("shop", run)}`,
    database: "postgres",
    object: /^shop_failed_1b9d6bcd$/,
  },
  {
    code: "template",
    make: "ALTER DATABASE shop IS_TEMPLATE true",
    back: "ALTER DATABASE shop IS_TEMPLATE false",
    object: /^shop$/,
  },
  { code: "no-create-database", access: weak, object: /^weak$/ },
  { code: "no-signal", access: weak, object: /^weak$/ },
  { code: "database-owner", access: weak, object: /^master$/ },
  {
    code: "database-grant [finding 32]",
    as: `GRANT CONNECT ON DATABASE shop TO stranger WITH GRANT OPTION; SET ROLE stranger;
         GRANT CONNECT ON DATABASE shop TO reader`,
    asBack: "REVOKE CONNECT ON DATABASE shop FROM stranger CASCADE",
    object: /^stranger$/,
  },
  {
    code: "database-setting [finding 37]",
    as: "ALTER DATABASE shop SET track_io_timing = on; ALTER DATABASE shop SET myapp.key = 'x'",
    asBack: "ALTER DATABASE shop RESET track_io_timing; ALTER DATABASE shop RESET myapp.key",
    object: /^(track_io_timing|myapp\.key) \(permission denied to set parameter/,
  },
  {
    code: "owner-not-member [finding 31]",
    as: `CREATE TABLE public.theirs (id int); ALTER TABLE public.theirs OWNER TO stranger;
         CREATE FUNCTION public.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION public.fired()`,
    asBack: "DROP EVENT TRIGGER watching; DROP FUNCTION public.fired; DROP TABLE public.theirs",
    object:
      /^(table public\.theirs of role stranger|event trigger watching of role rdsadmin|function public\.fired\(\) of .*)$/,
  },
  {
    code: "extension-owner",
    as: "CREATE EXTENSION citext",
    asBack: "DROP EXTENSION citext",
    object: /^citext$/,
  },
  {
    code: "extension-version [finding 22]",
    as: "UPDATE pg_extension SET extversion = '0.1' WHERE extname = 'hstore'",
    asBack: `UPDATE pg_extension SET extversion = default_version FROM pg_available_extensions
              WHERE extname = 'hstore' AND name = 'hstore'`,
    object: /^hstore 0\.1$/,
  },
  {
    code: "tablespace",
    as: [
      "ALTER SYSTEM SET allow_in_place_tablespaces = on",
      "SELECT pg_reload_conf()",
      "CREATE TABLESPACE fast LOCATION ''",
      "CREATE TABLE public.placed (id int) TABLESPACE fast; ALTER TABLE public.placed OWNER TO master",
    ],
    asBack: ["DROP TABLE public.placed", "DROP TABLESPACE fast"],
    object: /^fast$/,
  },
  {
    code: "invalid-index [finding 20]",
    make: "CREATE UNIQUE INDEX CONCURRENTLY broken ON doubled (a)",
    back: "DROP INDEX broken",
    object: /^public\.broken$/,
  },
  {
    code: "subscription",
    as: `CREATE SUBSCRIPTION heard CONNECTION 'host=127.0.0.1 port=1' PUBLICATION news WITH (connect = false);
         UPDATE pg_subscription SET subenabled = true`,
    asBack: `UPDATE pg_subscription SET subenabled = false; ALTER SUBSCRIPTION heard SET (slot_name = NONE);
             DROP SUBSCRIPTION heard`,
    object: /^heard$/,
  },
  {
    code: "disabled-subscription [finding 20]",
    as: "CREATE SUBSCRIPTION heard CONNECTION 'host=127.0.0.1 port=1' PUBLICATION news WITH (connect = false)",
    asBack: "ALTER SUBSCRIPTION heard SET (slot_name = NONE); DROP SUBSCRIPTION heard",
    object: /^heard$/,
  },
  {
    code: "replication-slot [finding 13]",
    as: "SELECT pg_create_logical_replication_slot('reading', 'test_decoding')",
    asBack: "SELECT pg_drop_replication_slot('reading')",
    object: /^reading$/,
  },
  {
    code: "prepared-transaction [finding 12]",
    make: "BEGIN; INSERT INTO doubled VALUES (1); PREPARE TRANSACTION 'left'",
    back: "ROLLBACK PREPARED 'left'",
    object: /^left$/,
  },
  { code: "prepared-transactions-allowed [finding 12]", severity: "warn", object: /^max_prepared_transactions$/ },
  {
    code: "forced-row-security [finding 33]",
    make: "ALTER TABLE doubled ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    back: "ALTER TABLE doubled DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY",
    object: /^public\.doubled$/,
  },
  {
    code: "row-security [finding 33]",
    as: `CREATE TABLE public.theirs (id int); ALTER TABLE public.theirs OWNER TO stranger;
         ALTER TABLE public.theirs ENABLE ROW LEVEL SECURITY`,
    asBack: "DROP TABLE public.theirs",
    object: /^public\.theirs$/,
  },
  {
    code: "large-object-owner [finding 34]",
    as: "SELECT lo_create(4711)",
    asBack: "SELECT lo_unlink(4711)",
    object: /^large object 4711$/,
  },
  {
    code: "user-mapping [finding 20]",
    as: `CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
         CREATE USER MAPPING FOR stranger SERVER far OPTIONS (password 'secret')`,
    asBack: "DROP EXTENSION postgres_fdw CASCADE",
    object: /^far for stranger$/,
  },
  {
    code: "collation-version [finding 29]",
    make: "CREATE COLLATION german (provider = icu, locale = 'de')",
    as: "UPDATE pg_collation SET collversion = '1' WHERE collname = 'german'",
    asBack: "DROP COLLATION german",
    object: /^collation public\.german$/,
  },
  {
    code: "read-only-default",
    make: "ALTER DATABASE shop SET default_transaction_read_only = on",
    back: "ALTER DATABASE shop RESET default_transaction_read_only",
    database: "postgres",
    access: frozen,
    object: /^default_transaction_read_only$/,
  },
  { code: "frozen-master", access: frozen, object: /^master \(test\)$/ },
  {
    code: "still-frozen",
    make: "ALTER ROLE master IN DATABASE shop SET default_transaction_read_only = off",
    back: "ALTER ROLE master IN DATABASE shop RESET default_transaction_read_only",
    object: /^shop$/,
  },
  {
    code: "foreign-table",
    severity: "warn",
    as: `CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
         CREATE FOREIGN TABLE public.distant (id int) SERVER far`,
    asBack: "DROP EXTENSION postgres_fdw CASCADE",
    object: /^public\.distant$/,
  },
  {
    code: "address-column [finding 26]",
    severity: "warn",
    make: "CREATE TABLE pointers (what regclass, version xid8, fine int)",
    back: "DROP TABLE pointers",
    object: /^public\.pointers\.(what|version)$/,
  },
];

describe("the preflight of a database", function () {
  let server: TestServer;

  before(async () => {
    server = await startServer({ max_prepared_transactions: "2", wal_level: "logical" });
    await server.sql(`CREATE TABLE doubled (a int); INSERT INTO doubled VALUES (1), (1); CREATE EXTENSION hstore`);
    await server.cluster.administer(
      "CREATE ROLE stranger; CREATE ROLE reader; CREATE ROLE weak LOGIN PASSWORD 'weak'; GRANT pg_monitor TO weak",
    );
  });

  after(() => server?.close());

  const findingsOf = (access: Partial<DatabaseAccess> = {}, accept: readonly string[] = []) =>
    preflight(server.access(access), { accept });

  async function provoke(each: Case): Promise<void> {
    if (each.make !== undefined) await attempt(each.make, each.database);
    for (const sql of [each.as ?? []].flat()) await server.cluster.administer(sql, "shop");
  }

  /** An index that fails to be built is the point of one case. */
  async function attempt(sql: string, database?: string): Promise<void> {
    await server
      .sql(sql, database)
      .catch((error: Error) => assert.match(error.message, /could not create unique index/));
  }

  async function takeBack(each: Case): Promise<void> {
    for (const sql of [each.asBack ?? []].flat()) await server.cluster.administer(sql, "shop");
    if (each.back !== undefined) await server.sql(each.back, each.database);
  }

  it("finds nothing in the way of an ordinary database", async () => {
    const stops = (await findingsOf()).filter(({ severity }) => severity === "stop");
    assert.deepEqual(stops, []);
  });

  for (const each of cases) {
    const { severity = "stop" } = each;
    const code = codeOf(each);
    it(`finds ${each.code}${acceptable.includes(code) ? ", and lets its owner accept it" : ""}`, async () => {
      const session = code === "frozen-master" ? await server.client() : undefined;
      await provoke(each);
      try {
        const found = (await findingsOf(each.access)).filter((finding) => finding.code === code);
        assert.ok(found.length > 0, `nothing was found with the code ${code}`);
        for (const { object, severity: is, message } of found) {
          assert.match(object, each.object);
          assert.equal(is, severity);
          assert.match(message, /^[a-z].{20,}/);
        }
        if (!acceptable.includes(code)) return;
        const accepted = (await findingsOf(each.access, [code])).filter((finding) => finding.code === code);
        assert.deepEqual(
          accepted.map(({ severity: is }) => is),
          found.map(() => "warn"),
        );
        assert.match(accepted[0]?.message ?? "", /^accepted: /);
      } finally {
        await takeBack(each);
        await session?.end();
      }
      const left = (await findingsOf(each.access)).filter((finding) => finding.code === code);
      const lasting = each.make === undefined && each.as === undefined;
      assert.equal(left.length > 0, lasting && code !== "frozen-master");
    });
  }

  it("finds that the database of the admin connection cannot be protected", async () => {
    const [finding] = await findingsOf({ target: { ...server.access().target, adminDatabase: "shop" } });
    assert.equal(finding?.code, "admin-database");
  });

  it("finds a server that is too old, and one whose client programs are not here", async () => {
    assert.deepEqual(
      (await checkPrograms(120_000)).map(({ code }) => code),
      ["server-version"],
    );
    assert.deepEqual(
      (await checkPrograms(990_000)).map(({ code }) => code),
      ["client-programs"],
    );
  });

  it("finds names that cannot be restored where the encoding is not UTF8 [finding 37]", async () => {
    await server.sql(
      "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
      "postgres",
    );
    const access = { target: { ...server.access().target, database: "latin" } };
    const found = async (): Promise<string[]> =>
      (await findingsOf(access))
        .filter(({ code }) => code === "encoded-name")
        // To 13 the server does not name the schema of a function that is found without it.
        .map(({ object }) => object.replace(/^function public\./, "function "));
    try {
      await server.sql("CREATE TABLE words (word text DEFAULT 'ä'); GRANT SELECT ON words TO reader", "latin");
      assert.deepEqual(await found(), []);
      await server.sql(
        `CREATE TABLE "Wörter" (id serial); ALTER TABLE words ADD "länge" int; CREATE SCHEMA "örtlich";
         CREATE TABLE "örtlich".a (); CREATE FUNCTION "zähle"() RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE TYPE "größe" AS ENUM ('klein'); CREATE ROLE "grüße"; GRANT SELECT ON words TO "grüße"`,
        "latin",
      );
      assert.deepEqual(await found(), [
        '"örtlich".a',
        'function "zähle"()',
        'public."Wörter"',
        'public."Wörter_id_seq"',
        'public.words."länge"',
        "the role grüße",
        'type public."größe"',
      ]);
    } finally {
      await server.sql('DROP OWNED BY "grüße"; DROP ROLE "grüße"', "latin").catch(() => undefined);
      await server.sql("DROP DATABASE latin", "postgres");
    }
  });

  it("takes what the same run has left behind for its own", async () => {
    const name = stagedDatabase("shop", run);
    await server.sql(`CREATE DATABASE ${name}`, "postgres");
    await server.sql(`COMMENT ON DATABASE ${name} IS '${mark(run)}'`, "postgres");
    try {
      assert.deepEqual(
        (await findingsOf()).filter(({ code }) => code === "name-taken"),
        [],
      );
    } finally {
      await server.sql(`DROP DATABASE ${name}`, "postgres");
    }
  });

  it("refuses to accept what it does not know, and what nothing can be protected with", async () => {
    await assert.rejects(
      findingsOf({}, ["replication-slots"]),
      /"replication-slots" cannot be accepted: there is no such/,
    );
    await assert.rejects(findingsOf({}, ["row-security"]), /"row-security" cannot be accepted: there is no protection/);
  });

  it("has a test for each of its codes", () => {
    const elsewhere = ["admin-database", "encoded-name", "server-version", "client-programs"];
    assert.deepEqual([...new Set([...cases.map(codeOf), ...elsewhere])].sort(), codes);
  });

  /** What the catalogs cannot tell: whether this server lets its master make it. Protect tries, and names it. */
  const refused: Record<string, { as: string; back: string; names: RegExp }> = {
    "an event trigger": {
      as: `CREATE FUNCTION public.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
           ALTER FUNCTION public.fired() OWNER TO master;
           CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION public.fired()`,
      back: "DROP EVENT TRIGGER watching; DROP FUNCTION public.fired",
      names: /permission denied to create event trigger "watching"/,
    },
    "an untrusted extension": {
      as: "CREATE EXTENSION pg_stat_statements",
      back: "DROP EXTENSION pg_stat_statements",
      names: /permission denied to create extension "pg_stat_statements"/,
    },
    "a publication of all tables": {
      as: "CREATE PUBLICATION everything FOR ALL TABLES",
      back: "DROP PUBLICATION everything",
      names: /must be superuser to create FOR ALL TABLES publication/,
    },
    "a leakproof function": {
      as: "CREATE FUNCTION public.tight() RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1'; ALTER FUNCTION public.tight() OWNER TO master",
      back: "DROP FUNCTION public.tight",
      names: /only superuser can define a leakproof function/,
    },
    "a function with a superuser's setting": {
      as: `CREATE FUNCTION public.tight() RETURNS int LANGUAGE sql SET track_io_timing = on AS 'SELECT 1';
           ALTER FUNCTION public.tight() OWNER TO master`,
      back: "DROP FUNCTION public.tight",
      names: /permission denied to set parameter "track_io_timing"/,
    },
    "a function that depends on search_path [finding 36]": {
      as: `CREATE FUNCTION public.inner_one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
           CREATE FUNCTION public.outer_one(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN inner_one($1); END';
           CREATE TABLE public.indexed (a int CHECK (outer_one(a) > 0)); INSERT INTO public.indexed VALUES (1);
           ALTER FUNCTION public.inner_one(int) OWNER TO master; ALTER FUNCTION public.outer_one(int) OWNER TO master;
           ALTER TABLE public.indexed OWNER TO master`,
      back: "DROP TABLE public.indexed CASCADE; DROP FUNCTION public.outer_one, public.inner_one",
      names: /function inner_one\(integer\) does not exist/,
    },
  };
  for (const [what, { as, back, names }] of Object.entries(refused)) {
    it(`leaves it to Protect to find, by name and before any deploy, that the master cannot restore ${what} [finding 35]`, async () => {
      await server.cluster.administer(as, "shop");
      try {
        const vault = new MemoryVault();
        await assert.rejects(protectAndStage(vault), names);
      } finally {
        await server.cluster.administer(back, "shop");
      }
    });
  }

  async function protectAndStage(vault: MemoryVault): Promise<void> {
    const access = server.access();
    const made = await protectDatabase(access, { deadline: soon(), vault: vault.put });
    await stageDatabase(access, { deadline: soon(), protected: made, dump: vault.get });
  }
});
