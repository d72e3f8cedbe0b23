import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { execa } from "execa";
import { truthFiles, truthScript } from "../../automation/judge/truth-script";
import { CertificateAuthority } from "../../emulator/services/rds/certificates";
import { Cluster } from "../../emulator/services/rds/cluster";
import { findPostgres } from "../../emulator/services/rds/programs";

const address = "127.83.17.5";
const host = "truth.test";
const port = 5432;
const programs = findPostgres();

/** Stands in for `aws s3 cp --quiet FROM TO`: a bucket is a folder. */
const aws = `#!/bin/sh
from=\${4#s3://bucket/} to=\${5#s3://bucket/}
case "$4" in -) mkdir -p "$(dirname "$BUCKET/$to")" && cat > "$BUCKET/$to" ;; *) cp "$BUCKET/$from" "$to" ;; esac
`;

describe("the truth about a database", () => {
  let folder: string;
  let cluster: Cluster;
  let taken = 0;

  before(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "truth-"));
    const authority = new CertificateAuthority("truth test");
    cluster = await Cluster.create({
      programs,
      address,
      port,
      certificate: authority.issue([host]),
      master: { user: "master", password: "master's password" },
      database: "shop",
    });
    fs.mkdirSync(path.join(folder, "bin"));
    fs.mkdirSync(path.join(folder, "tmp"));
    fs.writeFileSync(path.join(folder, "bin", "aws"), aws, { mode: 0o755 });
    fs.writeFileSync(path.join(folder, "ca.pem"), authority.certificate);
  });

  after(async () => {
    await cluster.remove();
    fs.rmSync(folder, { recursive: true });
  });

  const environment = () => ({
    PATH: `${path.join(folder, "bin")}:${programs.folder}:${process.env.PATH}`,
    TMPDIR: path.join(folder, "tmp"),
    PGHOST: host,
    PGHOSTADDR: address,
    PGPORT: String(port),
    PGUSER: "master",
    PGPASSWORD: "master's password",
    PGSSLMODE: "require",
  });

  /** SQL of the master's, in a database. */
  async function sql(text: string, database = "shop"): Promise<string> {
    const args = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database];
    return (await execa(path.join(programs.folder, "psql"), args, { input: text, env: environment() })).stdout;
  }

  async function take(evidence = ""): Promise<Record<keyof typeof truthFiles, string | undefined>> {
    taken += 1;
    const key = `truth/${taken}.tar`;
    await execa("bash", ["-c", truthScript], {
      env: {
        ...environment(),
        BUCKET: folder,
        ...{ DATABASE: "shop", ADMIN_DATABASE: "postgres", TRUTH_BUCKET: "bucket", TRUTH_KEY: key, CA_KEY: "ca.pem" },
        ...{ EVIDENCE: evidence, CODEBUILD_BUILD_ID: `truth:${taken}` },
      },
      extendEnv: false,
    });
    const target = path.join(folder, `taken-${taken}`);
    fs.mkdirSync(target);
    await execa("tar", ["-xf", path.join(folder, key)], { cwd: target });
    const read = (name: string) => {
      const file = path.join(target, name);
      return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : undefined;
    };
    return Object.fromEntries(Object.entries(truthFiles).map(([key, name]) => [key, read(name)])) as never;
  }

  const seed = `
    CREATE TABLE item (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state varchar CHECK (state IN ('a', 'b')), note text);
    INSERT INTO item (state, note) SELECT 'a', E'\\\\restrict ' || i FROM generate_series(1, 500) i;
    CREATE INDEX ON item (note) WHERE state IN ('a', 'b');
    CREATE MATERIALIZED VIEW states AS SELECT state, count(*) FROM item GROUP BY state;
    COMMENT ON TABLE item IS 'goods';
    ALTER DATABASE shop SET work_mem = '5MB';
    SELECT lo_from_bytea(4242, 'large');`;

  it("is the same twice, leaves nothing in the server, and holds no random line", async () => {
    await sql(seed);
    const first = await take();
    const second = await take();
    assert.deepEqual(first, second);
    assert.equal(first.databases, "postgres\nshop\n");
    assert.match(first.data ?? "", /^1\ta\t\\\\restrict 1$/m);
    assert.doesNotMatch(`${first.data}${first.schema}${first.typed}`, /^\\(un)?restrict|^-- Dumped/m);
    assert.match(first.schema ?? "", /^setting\|.*work_mem=5MB$/m);
    assert.equal(first.views, "states|(a,500)\n");
    assert.deepEqual(fs.readdirSync(path.join(folder, "tmp")), []);
  });

  it("is the same after a restore, which prints what was typed in another way", async () => {
    const before = await take();
    await sql(
      "ALTER DATABASE shop RENAME TO shop_old; CREATE DATABASE shop; ALTER DATABASE shop SET work_mem = '5MB'",
      "postgres",
    );
    const dump = path.join(folder, "restore.dump");
    const client = (program: string, ...args: string[]) =>
      execa(path.join(programs.folder, program), args, { env: environment() });
    await client("pg_dump", "-Fc", "-f", dump, "shop_old");
    await client("pg_restore", "-d", "shop", dump);
    await sql("ALTER DATABASE shop_old WITH ALLOW_CONNECTIONS false CONNECTION LIMIT 0", "postgres");
    const after = await take();
    assert.notEqual(after.typed, before.typed);
    assert.deepEqual(
      { data: after.data, schema: after.schema, views: after.views },
      { data: before.data, schema: before.schema, views: before.views },
    );
  });

  it("sees one changed row, a changed setting and a changed comment", async () => {
    const before = await take();
    await sql("UPDATE item SET note = 'x' WHERE id = 7; COMMENT ON COLUMN item.note IS 'words'");
    await sql("ALTER DATABASE shop SET work_mem = '6MB'", "postgres");
    const after = await take();
    assert.notEqual(after.data, before.data);
    assert.match(after.schema ?? "", /COMMENT ON COLUMN public.item.note/);
    assert.match(after.schema ?? "", /work_mem=6MB/);
  });

  it("holds the evidence, which is closed to connections before and after", async () => {
    const evidence = await take("shop_old");
    assert.match(evidence.evidenceTyped ?? "", /CREATE TABLE public.item/);
    assert.match(evidence.evidenceData ?? "", /^COPY public.item/m);
    const closed = await sql(
      "SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = 'shop_old'",
      "postgres",
    );
    assert.equal(closed, "f|0");
  });

  it("fails when the evidence is not there, and leaves nothing", async () => {
    await assert.rejects(take("shop_failed_x"), /the evidence was not kept/);
    assert.equal(await sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'truth%'", "postgres"), "0");
  });
});
