/**
 * A healing from the protection to the exchange, judged from outside: by pg_dump's text and by queries of the server's
 * own views, with nothing of what the jobs compare by.
 */
import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as path from "node:path";
import { findPostgres } from "../../../emulator/services/rds/programs";
import { openAdmin, type AdminSession } from "../../../jobs/database";
import { objectHashes, schemaText, type SchemaObjects } from "../../../jobs/database/schema";
import { objectChanges } from "../../../jobs/database/undone";
import { master, soon, startServer, type TestServer } from "./cluster";
import { createEverything, prepare } from "./fixture";

/** Views that tell all of a database, without the numbers that a restore gives anew. */
const views: Record<string, string> = {
  "its row among the databases": `SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datistemplate,
      datallowconn, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),
      shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()`,
  "its settings": `SELECT pg_get_userbyid(setrole), setconfig FROM pg_db_role_setting
      WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  extensions: `SELECT extname, extversion, pg_get_userbyid(extowner), extnamespace::regnamespace,
      obj_description(oid, 'pg_extension') FROM pg_extension`,
  tables: "SELECT * FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'",
  columns: "SELECT * FROM information_schema.columns WHERE table_schema !~ '^(pg_|information_schema)'",
  "rights on tables":
    "SELECT * FROM information_schema.role_table_grants WHERE table_schema !~ '^(pg_|information_schema)'",
  "rights on columns":
    "SELECT * FROM information_schema.column_privileges WHERE table_schema !~ '^(pg_|information_schema)'",
  "rights on schemas":
    "SELECT nspname, pg_get_userbyid(nspowner), nspacl FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'",
  "default rights":
    "SELECT pg_get_userbyid(defaclrole), defaclnamespace::regnamespace, defaclobjtype, defaclacl FROM pg_default_acl",
  views: "SELECT * FROM pg_views WHERE schemaname !~ '^(pg_|information_schema)'",
  "materialized views": "SELECT * FROM pg_matviews",
  indexes: "SELECT * FROM pg_indexes WHERE schemaname !~ '^(pg_|information_schema)'",
  constraints: `SELECT conrelid::regclass, contypid::regtype, conname, condeferrable, condeferred, convalidated,
      pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE oid >= 16384`,
  triggers:
    "SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
  rules: "SELECT ev_class::regclass, rulename, ev_enabled, pg_get_ruledef(oid) FROM pg_rewrite WHERE oid >= 16384",
  policies: "SELECT * FROM pg_policies",
  functions: `SELECT oid::regprocedure, pg_get_userbyid(proowner), proacl, proconfig, procost, prosrc,
      CASE WHEN prokind <> 'a' THEN pg_get_functiondef(oid) END, obj_description(oid, 'pg_proc') FROM pg_proc WHERE oid >= 16384`,
  types: `SELECT t.oid::regtype, typtype, pg_get_userbyid(typowner), typacl, typdefault, format_type(typbasetype, typtypmod),
      (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
      obj_description(t.oid, 'pg_type') FROM pg_type t WHERE oid >= 16384 AND typnamespace <> 'pg_toast'::regnamespace`,
  sequences: "SELECT * FROM pg_sequences",
  "extended statistics": "SELECT stxname, stxstattarget, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
  publications: "SELECT pubname, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication",
  "publications' tables": "SELECT * FROM pg_publication_tables",
  "storage parameters":
    "SELECT oid::regclass, reloptions, relpersistence, relreplident FROM pg_class WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace",
  // The newest minor versions keep a number of the server's own among a column's options.
  "columns' parameters": `SELECT attrelid::regclass, attname, attstattarget, attstorage,
      ARRAY(SELECT o FROM unnest(attoptions) o WHERE o NOT LIKE 'pg_attver=%') FROM pg_attribute
      WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped AND attrelid::regclass::text !~ 'pg_toast'`,
  inheritance: "SELECT inhrelid::regclass, inhparent::regclass FROM pg_inherits WHERE inhrelid >= 16384",
  comments: `SELECT pg_describe_object(classoid, objoid, objsubid), description FROM pg_description WHERE objoid >= 16384`,
  "large objects": `SELECT m.oid, pg_get_userbyid(lomowner), lomacl, md5(lo_get(m.oid)) FROM pg_largeobject_metadata m`,
};

describe("a database after a healing", function () {
  let server: TestServer;
  let admin: AdminSession;
  let original: Record<string, string[]>;
  let healed: Record<string, string[]>;
  /** The schema's objects, as the protection's dump has them, and as the database had them before it was damaged. */
  let dumped: SchemaObjects;
  let untouched: SchemaObjects;
  let dumps: { original: string[]; healed: string[] };

  before(async () => {
    server = await startServer();
    await createEverything(server);
    original = await look();
    const text = dump();
    const prepared = await prepare(server);
    dumped = prepared.protected.objects ?? {};
    untouched = objectHashes(await schemaText(server.access(), "shop", findPostgres().folder, soon()));
    admin = await openAdmin([server.access({ job: "guard" })]);
    await server.sql(`DROP SCHEMA theirs CASCADE; DELETE FROM builtin; UPDATE kinds SET n = 0; DROP TABLE parent CASCADE;
      ALTER DATABASE shop RESET ALL; ALTER DATABASE shop CONNECTION LIMIT -1; COMMENT ON DATABASE shop IS NULL;
      ALTER EXTENSION hstore UPDATE; SELECT lo_unlink(70001); SELECT setval('countdown', 1)`);
    await server.sql("REVOKE ALL ON DATABASE shop FROM granter CASCADE", "postgres");
    await admin.swap([prepared.pair], soon());
    healed = await look();
    dumps = { original: text, healed: dump() };
  });

  after(async () => {
    await admin?.close();
    await server?.close();
  });

  async function look(): Promise<Record<string, string[]>> {
    const seen: Record<string, string[]> = {};
    const client = await server.client();
    try {
      await client.query("SET search_path = ''");
      for (const [what, sql] of Object.entries(views))
        seen[what] = await rows(`SELECT to_jsonb(v)::text AS row FROM (${sql}) v`);
      const tables = await client.query<{ name: string }>(
        `SELECT oid::regclass::text AS name FROM pg_class WHERE relkind IN ('r', 'm', 'p') AND relispopulated
            AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)' AND NOT relispartition ORDER BY 1`,
      );
      for (const { name } of tables.rows)
        seen[`rows of ${name}`] = await rows(`SELECT (v.*)::text AS row FROM ${name} v`);
    } finally {
      await client.end();
    }
    return seen;

    async function rows(sql: string): Promise<string[]> {
      const { rows: found } = await client.query<{ row: string }>(sql);
      return found.map(({ row }) => plain(row)).sort();
    }
  }

  /** All of pg_dump's text, in the order of its lines: rows of hash partitions may have changed places. */
  function dump(): string[] {
    const { folder } = findPostgres();
    const text = execFileSync(path.join(folder, "pg_dump"), ["--create", "shop"], {
      encoding: "utf8",
      maxBuffer: 1 << 28,
      env: {
        PATH: process.env.PATH,
        PGHOST: server.address,
        PGUSER: master.user,
        PGPASSWORD: master.password,
        PGSSLMODE: "verify-full",
        PGSSLROOTCERT: server.caFile,
      },
    });
    const lines = text.split("\n").filter((line) => !/^\\(un)?restrict /.test(line));
    return lines.map(plain).sort();
  }

  /** An expression that was parsed again is printed with its casts and parentheses elsewhere. */
  function plain(text: string): string {
    return text.replaceAll(/::(character varying|text)(\[\])?|[()]/g, "");
  }

  it("can be told from the failed one by the objects that somebody changed, and by no others", () => {
    assert.ok(Object.keys(dumped).length > 100);
    assert.deepEqual(objectChanges(dumped, untouched), []);
  });

  it("reads the same to pg_dump [finding 30] [finding 32]", () => {
    assert.ok(dumps.original.length > 2_000);
    assert.deepEqual(dumps.healed, dumps.original);
  });

  for (const what of Object.keys(views)) {
    it(`has the same ${what}`, () => {
      assert.ok((original[what]?.length ?? 0) > 0, `there is nothing of this kind: ${what}`);
      assert.deepEqual(healed[what], original[what]);
    });
  }

  it("has the same rows in every table [finding 25]", () => {
    const rows = Object.keys(original).filter((what) => what.startsWith("rows of "));
    assert.ok(rows.length > 20);
    for (const what of rows) assert.deepEqual(healed[what], original[what], what);
    assert.deepEqual(Object.keys(healed), Object.keys(original));
  });
});
