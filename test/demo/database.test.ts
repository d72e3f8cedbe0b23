import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import * as path from "node:path";
import { findPostgres } from "../../emulator/services/rds/programs";
import { master, startServer, type TestServer } from "../jobs/database/cluster";

const demo = path.resolve(__dirname, "../../demo");
const seed = ["schema.sql", "data.sql"].map((file) => readFileSync(path.join(demo, "seed", file), "utf8")).join("\n");

const { folder } = findPostgres();

/** A psql or pg_dump as the master, who is no superuser. */
function client(server: TestServer, database: string) {
  const environment = {
    PATH: process.env.PATH,
    PGHOST: server.address,
    PGUSER: master.user,
    PGPASSWORD: master.password,
    PGDATABASE: database,
    PGSSLMODE: "verify-full",
    PGSSLROOTCERT: server.caFile,
  };
  return (program: string, args: readonly string[], input?: string) =>
    spawnSync(path.join(folder, program), args, {
      env: environment,
      input,
      encoding: "utf8",
      maxBuffer: 256 * 1024 * 1024,
    });
}

function load(server: TestServer, database: string): void {
  const { status, stderr } = client(server, database)(
    "psql",
    ["-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction"],
    seed,
  );
  assert.equal(status, 0, stderr);
}

/** sha256 of the dump without the lines that no two dumps have in common. */
function dumpOf(server: TestServer, database: string): string {
  const { status, stdout, stderr } = client(server, database)("pg_dump", []);
  assert.equal(status, 0, stderr);
  const lines = stdout.split("\n").filter((line) => !/^(\\(un)?restrict |-- Dumped )/.test(line));
  return createHash("sha256").update(lines.join("\n")).digest("hex");
}

describe("the shop's database", () => {
  let server: TestServer;

  before(async () => {
    server = await startServer();
    await server.sql("CREATE ROLE shop_app LOGIN PASSWORD 'shop'");
    load(server, "shop");
  });
  after(() => server.close());

  it("holds at least 200,000 rows", async () => {
    await server.sql("ANALYZE");
    const [sum] = await server.sql(
      "SELECT sum((xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM ONLY %s', oid::regclass), false, true, '')))[1]::text::bigint) AS rows FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    );
    assert.ok(Number(sum?.rows) >= 200_000, String(sum?.rows));
  });

  it("is the same on every run", async () => {
    await server.sql("CREATE DATABASE again", "postgres");
    load(server, "again");
    assert.equal(dumpOf(server, "again"), dumpOf(server, "shop"));
  });

  const parts: [string, string][] = [
    ["foreign keys", "SELECT FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"],
    ["a sequence of its own", "SELECT FROM pg_sequences WHERE sequencename = 'customer_number' AND increment_by = 7"],
    ["identity columns", "SELECT FROM pg_attribute WHERE attidentity <> ''"],
    ["a partial index", "SELECT FROM pg_index WHERE indpred IS NOT NULL"],
    ["an index on an expression", "SELECT FROM pg_index WHERE indexprs IS NOT NULL"],
    ["a view", "SELECT FROM pg_views WHERE schemaname = 'public'"],
    ["a materialized view with rows", "SELECT FROM monthly_revenue"],
    ["a trigger and its function", "SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgfoid = 'touch_order'::regproc"],
    ["jsonb", 'SELECT FROM products WHERE attributes @> \'{"color": "red"}\''],
    ["an enum", "SELECT FROM pg_enum WHERE enumtypid = 'order_status'::regtype"],
    ["a generated column", "SELECT FROM pg_attribute WHERE attgenerated = 's'"],
    ["a partitioned table with rows in several partitions", "SELECT FROM events GROUP BY tableoid OFFSET 3"],
    ["comments", "SELECT FROM pg_description WHERE objoid = 'orders'::regclass"],
    ["grants to the application's role", "SELECT FROM information_schema.role_table_grants WHERE grantee = 'shop_app'"],
    ["a large object", "SELECT FROM pg_largeobject_metadata"],
    ["settings of the database", "SELECT FROM pg_db_role_setting WHERE setrole = 0"],
  ];
  for (const [what, query] of parts) {
    it(`has ${what}`, async () => {
      assert.ok((await server.sql(query)).length > 0);
    });
  }

  describe("under a release", () => {
    const migrate = (release: string, when: string, database: string) =>
      client(server, database)("psql", [
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "--single-transaction",
        `--file=${path.join(demo, "releases", release, "migrations", when)}`,
      ]);

    beforeEach(() => server.sql("CREATE DATABASE released TEMPLATE shop", "postgres"));
    afterEach(() => server.sql("DROP DATABASE released", "postgres"));

    it("that is good, both migrations commit and nothing old is lost", async () => {
      for (const file of ["before/001_wishlists.sql", "after/002_open_gifts.sql"]) {
        const { status, stderr } = migrate("good", file, "released");
        assert.equal(status, 0, stderr);
      }
      const columns = await server.sql("SELECT note, gift FROM orders JOIN wishlists ON false", "released");
      assert.deepEqual(columns, []);
    });

    it("that is bad, the first migration rewrites rows, drops a column and adds a table, and the second fails", async () => {
      assert.equal(migrate("bad", "before/001_loyalty.sql", "released").status, 0);
      const second = migrate("bad", "after/002_tiers.sql", "released");
      assert.notEqual(second.status, 0);
      assert.match(second.stderr, /check constraint "loyalty_points_of_tier"/);
      const columnsOf = (table: string) =>
        server.sql(
          `SELECT attname FROM pg_attribute WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped`,
          "released",
        );
      assert.ok(!(await columnsOf("orders")).some(({ attname }) => attname === "note"));
      // The failed migration left nothing: the release's application asks for a column that is not there.
      assert.deepEqual(
        (await columnsOf("loyalty")).map(({ attname }) => attname),
        ["customer_id", "points"],
      );
      const [changed] = await server.sql("SELECT count(*) AS rows FROM products WHERE name = upper(name)", "released");
      assert.equal(changed?.rows, "2000");
    });
  });
});
