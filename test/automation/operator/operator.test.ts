/** The operator's commands against the emulator: real facts in S3, a real server behind a tunnel's near end. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { CreateVolumeCommand, DescribeVolumesCommand, EC2Client } from "@aws-sdk/client-ec2";
import { CreateDBInstanceCommand, type DBInstance, DescribeDBInstancesCommand, RDSClient } from "@aws-sdk/client-rds";
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { execa } from "execa";
import { Client } from "pg";
import { Actions } from "../../../automation/operator/actions";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { type RunId, runId } from "../../../run/ids";
import type { Plan } from "../../../run/plan";
import type { RunFacts } from "../../../run/state";
import { client } from "../../emulator/support";
import { healedRun, objectsOf, planOf, run } from "./runs";

const root = path.resolve(__dirname, "../../..");
const bucket = "recovery";
const unhealed = runId("2c8d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
const shared = { bucket };
const evidence = "shop_failed_1b9d6bcd";

describe("the operator's commands", function () {
  this.timeout(120_000);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "operator-"));
  const ca = path.join(folder, "ca.pem");
  const before_ = { ...process.env };
  const printed: string[] = [];
  let emulator: Emulator;
  let actions: Actions;
  let plan: Plan;
  let address = "";
  let password = "";

  before(async () => {
    emulator = await startEmulator();
    Object.assign(process.env, emulator.environment);
    actions = new Actions((line) => printed.push(line));
    const rds = client(emulator, RDSClient);
    await rds.send(
      new CreateDBInstanceCommand({
        DBInstanceIdentifier: "shop",
        Engine: "postgres",
        DBInstanceClass: "db.t4g.micro",
        AllocatedStorage: 20,
        DBName: "shop",
        MasterUsername: "master",
        ManageMasterUserPassword: true,
      }),
    );
    const instance = await available(rds);
    const host = instance.Endpoint?.Address ?? "";
    const secretArn = instance.MasterUserSecret?.SecretArn ?? "";
    address = emulator.cloud.network.hosts()[host] ?? "";
    const { SecretString = "{}" } = await client(emulator, SecretsManagerClient).send(
      new GetSecretValueCommand({ SecretId: secretArn }),
    );
    password = (JSON.parse(SecretString) as { password: string }).password;
    fs.writeFileSync(ca, emulator.cloud.stores.rds.caCertificate);
    plan = planOf({ host, secretArn });
    await client(emulator, S3Client).send(new CreateBucketCommand({ Bucket: bucket }));
    await seed();
    await put(run, healedRun({ plan, ...(await oids()), volumeId: await keptVolume() }));
    await put(unhealed, healedRun({ plan, verdict: "heal-failed", failedOid: 1, liveOid: 2 }));
  });

  beforeEach(() => {
    printed.length = 0;
  });

  after(async () => {
    actions.end();
    process.env = before_;
    await emulator.close();
    fs.rmSync(folder, { recursive: true });
  });

  async function available(rds: RDSClient): Promise<DBInstance> {
    for (const deadline = Date.now() + 60_000; ;) {
      const { DBInstances: [found] = [] } = await rds.send(
        new DescribeDBInstancesCommand({ DBInstanceIdentifier: "shop" }),
      );
      if (found?.DBInstanceStatus === "available") return found;
      assert.ok(Date.now() < deadline, "the instance does not become available");
      await pause(20);
    }
  }

  async function session(database: string, user = "master", secret = password): Promise<Client> {
    const authority = emulator.cloud.stores.rds.caCertificate;
    const connection = new Client({
      host: address,
      port: 5432,
      user,
      password: secret,
      database,
      ssl: { ca: authority },
    });
    connection.on("error", () => undefined);
    await connection.connect();
    return connection;
  }

  async function sql(database: string, text: string): Promise<Record<string, unknown>[]> {
    const connection = await session(database);
    try {
      const result: unknown = await connection.query(text);
      return ((Array.isArray(result) ? result.at(-1) : result) as { rows: Record<string, unknown>[] }).rows;
    } finally {
      await connection.end();
    }
  }

  /** The restored database, and beside it what the failed deploy had made of it. */
  async function seed(): Promise<void> {
    const schema = `
      CREATE TABLE customers (id int PRIMARY KEY, name text, "Ärger" numeric);
      INSERT INTO customers SELECT g, 'customer ' || g, 1.50 FROM generate_series(1, 2000) g;
      CREATE TABLE log (line text);
      INSERT INTO log VALUES ('a'), ('a'), ('b');
      CREATE TABLE untouched (id int PRIMARY KEY)`;
    await sql("shop", schema);
    await sql("postgres", "CREATE ROLE app LOGIN PASSWORD 'app-password'");
    await sql("postgres", `CREATE DATABASE ${evidence}`);
    await sql(evidence, schema);
    await sql(
      evidence,
      `UPDATE customers SET name = 'nobody' WHERE id = 7; DELETE FROM customers WHERE id IN (8, 9);
       INSERT INTO customers VALUES (5000, 'new', 1); ALTER TABLE customers ADD points int DEFAULT 3;
       DELETE FROM log WHERE line = 'b'; INSERT INTO log VALUES ('a'); CREATE TABLE loyalty (id int)`,
    );
    await sql("postgres", `ALTER DATABASE ${evidence} ALLOW_CONNECTIONS false CONNECTION LIMIT 0`);
  }

  async function oids(): Promise<{ failedOid: number; liveOid: number }> {
    const rows = await sql("postgres", "SELECT datname AS name, oid::int AS oid FROM pg_database");
    const oidOf = (name: string) => Number(rows.find((row) => row.name === name)?.oid);
    return { failedOid: oidOf(evidence), liveOid: oidOf("shop") };
  }

  async function keptVolume(): Promise<string> {
    const Tags = [{ Key: "protected-pipeline:run", Value: run }];
    const { VolumeId = "" } = await client(emulator, EC2Client).send(
      new CreateVolumeCommand({
        AvailabilityZone: "us-east-1a",
        Size: 8,
        TagSpecifications: [{ ResourceType: "volume", Tags }],
      }),
    );
    return VolumeId;
  }

  async function put(id: RunId, facts: RunFacts): Promise<void> {
    const s3 = client(emulator, S3Client);
    for (const [Key, Body] of objectsOf(id, facts)) await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
  }

  async function fact(key: string): Promise<Record<string, unknown>> {
    const { Body } = await client(emulator, S3Client).send(new GetObjectCommand({ Bucket: bucket, Key: key }));
    return JSON.parse((await Body?.transformToString()) ?? "{}") as Record<string, unknown>;
  }

  /** A tunnel's near end: another address than the one in the plan. */
  const tunnel = () => ({ ...shared, host: address, port: 5432, ca });
  const text = () => printed.join("\n");

  it("list the runs of an environment, whose recovery store is found by its leases", async () => {
    const value = {
      at: new Date().toISOString(),
      run,
      pipeline: "shop",
      environment: "shop-production",
      store: bucket,
    };
    await client(emulator, SSMClient).send(
      new PutParameterCommand({ Name: "/protected-pipeline/lease/x/1", Value: JSON.stringify(value), Type: "String" }),
    );
    assert.equal(await actions.runs({ environment: "shop-production", limit: 20 }), 0);
    assert.match(text(), new RegExp(`${run}.*shop-production +healed +the deploy failed`));
    assert.match(text(), new RegExp(`${unhealed}.* heal-failed \\(!\\)`));
    await assert.rejects(actions.runs({ environment: "other", limit: 20 }), /no run of the environment "other"/);
    printed.length = 0;
    await actions.runs({ bucket, limit: 1 });
    assert.match(text(), /1 older runs are not shown/);
  });

  it("tell one run, found by the beginning of its id", async () => {
    await actions.show("2c8d", shared);
    assert.match(text(), /state: heal-failed/);
    await assert.rejects(actions.show("ffff", shared), /no run begins with "ffff"/);
  });

  it("settle a run once: who, how and why; a second opinion does not replace the first", async () => {
    await assert.rejects(
      actions.resolve(run, { ...shared, as: "healthy", reason: "x" }),
      /needs no settling: it is healed/,
    );
    assert.equal(await actions.resolve(unhealed, { ...shared, as: "healed", reason: "restored by hand" }), 0);
    assert.match(text(), /settled as healed by arn:aws:iam::123456789012:root: the next run may protect/);
    const written = await fact(`runs/${unhealed}/resolution.json`);
    assert.deepEqual(
      [written.as, written.by, written.reason],
      ["healed", "arn:aws:iam::123456789012:root", "restored by hand"],
    );
    assert.equal(await actions.resolve(unhealed, { ...shared, as: "abandoned", reason: "no" }), 1);
    assert.equal(await actions.resolve(unhealed, { ...shared, as: "healed", reason: "again" }), 0);
    assert.equal((await fact(`runs/${unhealed}/resolution.json`)).reason, "restored by hand");
  });

  it("list what is kept, with size, age and retention", async () => {
    await actions.list(tunnel());
    const lines = printed.map((line) => line.replaceAll(/ {2,}/g, "|"));
    assert.match(
      lines.find((line) => line.includes(evidence)) ?? "",
      /\|failed\|orders\|.*\|\d+\.\d MB\|.* UTC\|closed$/,
    );
    assert.match(lines.find((line) => line.includes("vol-")) ?? "", /\|volume\|web\|vol-.*\|8 GiB\|.*\|available$/);
    assert.match(lines.find((line) => line.includes("shop_staged_1b9d6bcd")) ?? "", /\|staged\|orders\|.*\|gone$/);
  });

  it("print the rows that differ, by key or by the whole row, and leave the evidence closed", async () => {
    assert.equal(await actions.diff(run, { ...tunnel(), limit: 20 }), 1);
    assert.match(printed[1] ?? "", /has moved on since/);
    assert.deepEqual(printed.slice(3), [
      "public.customers, by id; columns that differ are not compared: points",
      '  + {"id":5000,"name":"new","Ärger":1}',
      '  ~ [7] name: "customer 7" → "nobody"',
      '  - {"id":8,"name":"customer 8","Ärger":1.50}',
      '  - {"id":9,"name":"customer 9","Ärger":1.50}',
      "  1 only in the failed database, 2 only in the live one, 1 changed",
      "public.log, whole rows, as it has no primary key",
      '  + {"line":"a"}',
      '  - {"line":"b"}',
      "  1 only in the failed database, 1 only in the live one, 0 changed",
      "public.loyalty: only the failed database has this table, with 0 rows",
    ]);
    const [row] = await sql(
      "postgres",
      `SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = '${evidence}'`,
    );
    assert.deepEqual(row, { datallowconn: false, datconnlimit: 0 });
  });

  it("count all rows that differ and print as many as asked for, of the table that was asked for", async () => {
    await actions.diff(run, { ...tunnel(), limit: 1, table: "customers" });
    assert.equal(printed.filter((line) => /^ {2}[-+~] /.test(line)).length, 1);
    assert.match(printed.at(-1) ?? "", /1 only in .*, 2 only in .*, 1 changed \(1 shown; --limit shows more\)/);
    await assert.rejects(
      actions.diff(run, { ...tunnel(), limit: 1, table: "nothing" }),
      /neither database has a table/,
    );
    printed.length = 0;
    assert.equal(await actions.diff(run, { ...tunnel(), limit: 1, table: "untouched" }), 0);
    assert.equal(printed.at(-1), "no difference");
  });

  it("verify the certificate against the plan's host, also through a tunnel", async () => {
    const other = runId("3d8d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
    const [database, ...rest] = plan.targets;
    assert.ok(database?.kind === "database");
    const elsewhere = { ...plan, targets: [{ ...database, host: "elsewhere.example" }, ...rest] } as Plan;
    await put(other, healedRun({ plan: elsewhere, ...(await oids()) }));
    await assert.rejects(actions.diff(other, { ...tunnel(), limit: 1 }), /does not match certificate's altnames/);
    await put(other, { ...healedRun({ plan }), cleared: { at: new Date().toISOString(), by: "x", removed: [] } });
  });

  it("open the failed database for its owner alone, and close it again", async () => {
    const mayConnect = (user: string, secret: string) =>
      session(evidence, user, secret).then(
        (connection) => connection.end().then(() => true),
        () => false,
      );
    assert.equal(await mayConnect("master", password), false);
    await actions.open(run, tunnel());
    assert.match(
      text(),
      new RegExp(
        `psql "host=shop\\..* hostaddr=${address} port=5432 dbname=${evidence} user=master sslmode=verify-full`,
      ),
    );
    assert.equal(await mayConnect("master", password), true);
    assert.equal(await mayConnect("app", "app-password"), false);
    await actions.close(run, tunnel());
    assert.equal(await mayConnect("master", password), false);
    assert.ok(!text().includes(password));
  });

  it("refuse, as one line and with exit status 2, to remove anything unasked", async () => {
    const args = ["evidence", "drop", run, "--bucket", bucket, "--host", address, "--port", "5432", "--ca", ca];
    const { exitCode, stderr, stdout } = await execa(
      process.execPath,
      [path.join(root, "scripts/run.js"), "automation/main.ts", ...args],
      { reject: false, env: emulator.environment, stdin: "ignore" },
    );
    assert.equal(stderr, "protected-pipeline: nobody is there to be asked: give --yes to remove this");
    assert.equal(exitCode, 2);
    assert.match(stdout, new RegExp(`failed ${evidence} of run ${run}`));
  });

  it("never take another database for the evidence: names change hands, OIDs do not", async () => {
    await sql("postgres", `ALTER DATABASE ${evidence} RENAME TO renamed`);
    assert.equal(await actions.drop(run, { ...tunnel(), yes: true }), 1);
    assert.match(text(), /is "renamed", not "shop_failed_1b9d6bcd": it is left alone/);
    await sql("postgres", `ALTER DATABASE renamed RENAME TO ${evidence}`);
    assert.equal((await sql("postgres", `SELECT FROM pg_database WHERE datname = '${evidence}'`)).length, 1);
  });

  it("sweep nothing before its time, and then all that a run has kept, and write down who did", async () => {
    assert.equal(await actions.sweep({ ...tunnel(), yes: true }), 0);
    assert.match(text(), /there is nothing to remove/);
    const old = healedRun({ plan, ...(await oids()), volumeId: await keptVolume(), began: new Date("2026-01-01") });
    await put(run, old);
    printed.length = 0;
    assert.equal(await actions.sweep({ ...tunnel(), yes: true }), 0);
    assert.match(text(), new RegExp(`removed: database ${evidence} at `));
    assert.equal((await sql("postgres", `SELECT FROM pg_database WHERE datname = '${evidence}'`)).length, 0);
    const [volume = ""] =
      old.targets.web?.cutOver?.kind === "instance" ? old.targets.web.cutOver.volumes.map((each) => each.evidence) : [];
    const gone = client(emulator, EC2Client).send(new DescribeVolumesCommand({ VolumeIds: [volume] }));
    await assert.rejects(gone, { name: "InvalidVolume.NotFound" });
    const cleared = await fact(`runs/${run}/cleared.json`);
    assert.equal(cleared.by, "arn:aws:iam::123456789012:root");
    assert.equal((cleared.removed as string[]).length, 2);
    printed.length = 0;
    await actions.list(tunnel());
    assert.ok(!text().includes(evidence));
  });
});
