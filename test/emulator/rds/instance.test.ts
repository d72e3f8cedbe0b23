import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { CloudWatchClient, GetMetricStatisticsCommand } from "@aws-sdk/client-cloudwatch";
import { CreateSubnetCommand, CreateVpcCommand, EC2Client } from "@aws-sdk/client-ec2";
import {
  CreateDBInstanceCommand,
  CreateDBSubnetGroupCommand,
  type DBInstance,
  DeleteDBInstanceCommand,
  DeleteDBSubnetGroupCommand,
  DescribeDBInstancesCommand,
  ModifyDBInstanceCommand,
  RDSClient,
} from "@aws-sdk/client-rds";
import {
  DescribeSecretCommand,
  GetSecretValueCommand,
  RotateSecretCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import { Client } from "pg";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { client } from "../support";

describe("a DB instance of the emulator", () => {
  let emulator: Emulator;
  let rds: RDSClient;
  let secrets: SecretsManagerClient;
  let instance: DBInstance;
  let connections: Client[] = [];

  before(async () => {
    emulator = await startEmulator();
    rds = client(emulator, RDSClient);
    secrets = client(emulator, SecretsManagerClient);
    const ec2 = client(emulator, EC2Client);
    const { Vpc } = await ec2.send(new CreateVpcCommand({ CidrBlock: "10.0.0.0/16" }));
    const subnets = await Promise.all(
      ["a", "b"].map((zone, index) =>
        ec2.send(
          new CreateSubnetCommand({
            VpcId: Vpc?.VpcId,
            CidrBlock: `10.0.${index}.0/24`,
            AvailabilityZone: `us-east-1${zone}`,
          }),
        ),
      ),
    );
    await rds.send(
      new CreateDBSubnetGroupCommand({
        DBSubnetGroupName: "Private",
        DBSubnetGroupDescription: "private subnets",
        SubnetIds: subnets.map(({ Subnet }) => Subnet?.SubnetId ?? ""),
      }),
    );
    await create("drill-db");
    instance = await untilAvailable("drill-db");
  });

  afterEach(async () => {
    await Promise.all(connections.map((each) => each.end().catch(() => undefined)));
    connections = [];
  });

  after(() => emulator.close());

  const create = (identifier: string, more: object = {}) =>
    rds.send(
      new CreateDBInstanceCommand({
        DBInstanceIdentifier: identifier,
        Engine: "postgres",
        DBInstanceClass: "db.t4g.micro",
        AllocatedStorage: 20,
        DBName: "shop",
        MasterUsername: "master",
        ManageMasterUserPassword: true,
        DBSubnetGroupName: "private",
        ...more,
      }),
    );

  async function untilAvailable(identifier: string): Promise<DBInstance> {
    for (const deadline = Date.now() + 30_000; ;) {
      const { DBInstances = [] } = await rds.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: identifier }));
      const [found] = DBInstances;
      if (found?.DBInstanceStatus === "available") return found;
      assert.equal(found?.DBInstanceStatus, "creating");
      assert.ok(Date.now() < deadline, "the instance does not become available");
      await pause(20);
    }
  }

  async function masterSecret(): Promise<{ username: string; password: string }> {
    const SecretId = instance.MasterUserSecret?.SecretArn;
    const { SecretString = "" } = await secrets.send(new GetSecretValueCommand({ SecretId }));
    return JSON.parse(SecretString) as { username: string; password: string };
  }

  async function connect(options: object = {}): Promise<Client> {
    const { username, password } = await masterSecret();
    const host = instance.Endpoint?.Address ?? "";
    const connection = new Client({
      // Machines see the name in their /etc/hosts; this process does not.
      host: emulator.cloud.network.hosts()[host],
      port: instance.Endpoint?.Port,
      user: username,
      password,
      database: "shop",
      ssl: { ca: emulator.cloud.stores.rds.caCertificate },
      ...options,
    });
    connection.on("error", () => undefined);
    await connection.connect();
    connections.push(connection);
    return connection;
  }

  const one = async (connection: Client, sql: string) =>
    (await connection.query<Record<string, unknown>>(sql)).rows[0] ?? {};

  it("becomes available with an endpoint of its own name", () => {
    assert.match(instance.Endpoint?.Address ?? "", /^drill-db\.[a-z0-9]+\.us-east-1\.rds\.amazonaws\.com$/);
    assert.equal(instance.Endpoint?.Port, 5432);
    assert.match(instance.EngineVersion ?? "", /^1[3-8]\.\d+$/);
    assert.equal(instance.DBSubnetGroup?.DBSubnetGroupName, "private");
  });

  it("lets the master in by the managed secret, over TLS, and the certificate bears the endpoint's name", async () => {
    const names: string[] = [];
    const connection = await connect({
      ssl: {
        ca: emulator.cloud.stores.rds.caCertificate,
        checkServerIdentity: (_host: string, certificate: { subjectaltname?: string }) => {
          names.push(certificate.subjectaltname ?? "");
          return undefined;
        },
      },
    });
    assert.equal((await one(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).ssl, true);
    assert.match(names.join(), new RegExp(`DNS:${instance.Endpoint?.Address}`));
  });

  it("has a master that is no superuser and owns the database", async () => {
    const row = await one(
      await connect(),
      `SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, pg_has_role('rds_superuser', 'USAGE') AS member,
              pg_has_role('pg_signal_backend', 'USAGE') AS signals,
              (SELECT datdba::regrole::text FROM pg_database WHERE datname = 'shop') AS owner
         FROM pg_roles WHERE rolname = current_user`,
    );
    assert.deepEqual(row, {
      rolsuper: false,
      rolcreatedb: true,
      rolcreaterole: true,
      rolbypassrls: false,
      member: true,
      signals: true,
      owner: "master",
    });
  });

  it("refuses a connection without TLS", async () => {
    await assert.rejects(connect({ ssl: false }), /no pg_hba\.conf entry for host .* no encryption/);
  });

  it("refuses a certificate authority that is not its own", async () => {
    await assert.rejects(connect({ ssl: {} }), /unable to verify|self-signed certificate/);
  });

  it("lets nobody in as RDS's superuser", async () => {
    await assert.rejects(connect({ user: "rdsadmin" }), /pg_hba\.conf rejects connection/);
  });

  const modify = (identifier: string, more: object) =>
    rds.send(new ModifyDBInstanceCommand({ DBInstanceIdentifier: identifier, ...more }));

  async function describe(identifier: string): Promise<DBInstance> {
    const request = new DescribeDBInstancesCommand({ DBInstanceIdentifier: identifier });
    return (await rds.send(request)).DBInstances?.[0] ?? {};
  }

  async function until(holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 30_000;
    while (!(await holds())) {
      assert.ok(Date.now() < deadline, "it did not come to hold within 30 s");
      await pause(20);
    }
  }

  const refused = (password: string) =>
    connect({ password }).then(
      () => false,
      (error: unknown) => (error as { code?: string }).code === "28P01",
    );

  it("rotates the managed secret: a pending version, the server's password, the current version", async () => {
    const before = await masterSecret();
    const SecretId = instance.MasterUserSecret?.SecretArn;
    const { VersionId = "" } = await secrets.send(new RotateSecretCommand({ SecretId }));
    await assert.rejects(secrets.send(new RotateSecretCommand({ SecretId })), /previous rotation isn't complete/);
    // The server knows the new password before the secret says so: who is refused has to read it again.
    await until(() => refused(before.password));
    assert.equal((await masterSecret()).password, before.password);
    assert.equal((await describe("drill-db")).MasterUserSecret?.SecretStatus, "rotating");
    await until(async () => (await masterSecret()).password !== before.password);
    await connect();
    const { VersionIdsToStages = {}, LastRotatedDate } = await secrets.send(new DescribeSecretCommand({ SecretId }));
    assert.deepEqual(VersionIdsToStages[VersionId]?.sort(), ["AWSCURRENT", "AWSPENDING"]);
    const previous = await secrets.send(new GetSecretValueCommand({ SecretId, VersionStage: "AWSPREVIOUS" }));
    assert.equal((JSON.parse(previous.SecretString ?? "{}") as { password?: string }).password, before.password);
    await until(async () => (await describe("drill-db")).MasterUserSecret?.SecretStatus === "active");
    assert.ok(LastRotatedDate ?? (await secrets.send(new DescribeSecretCommand({ SecretId }))).LastRotatedDate);
  });

  it("rotates the managed secret when asked by RDS's own operation, and only at once", async () => {
    const before = await masterSecret();
    await assert.rejects(modify("drill-db", { RotateMasterUserPassword: true }), /apply the change immediately/);
    await modify("drill-db", { RotateMasterUserPassword: true, ApplyImmediately: true });
    await until(async () => (await masterSecret()).password !== before.password);
    await connect();
  });

  it("rotates the managed secret by itself after seven days", async () => {
    const before = await masterSecret();
    emulator.cloud.clock.advance(7 * 86_400_000);
    await until(async () => (await masterSecret()).password !== before.password);
    await connect();
  });

  it("publishes what is free of its storage, by the real size of its databases", async () => {
    const free = async (): Promise<number> => {
      const now = emulator.cloud.clock.now().getTime();
      const { Datapoints = [] } = await client(emulator, CloudWatchClient).send(
        new GetMetricStatisticsCommand({
          Namespace: "AWS/RDS",
          MetricName: "FreeStorageSpace",
          Dimensions: [{ Name: "DBInstanceIdentifier", Value: "drill-db" }],
          StartTime: new Date(now - 60_000),
          EndTime: new Date(now + 60_000),
          Period: 60,
          Statistics: ["Minimum"],
        }),
      );
      return Math.min(...Datapoints.map(({ Minimum = Infinity }) => Minimum));
    };
    emulator.cloud.clock.advance(5 * 60_000);
    await until(async () => Number.isFinite(await free()));
    const before = await free();
    assert.ok(before < 20 * 2 ** 30 && before > 19 * 2 ** 30, `${before} bytes of 20 GiB are free`);
    const connection = await connect();
    await connection.query("CREATE TABLE bulk AS SELECT repeat(md5(g::text), 30) FROM generate_series(1, 20000) g");
    emulator.cloud.clock.advance(5 * 60_000);
    await until(async () => (await free()) < before - 15_000_000);
  });

  it("keeps a change of its class for the maintenance, restarts for it, and does it at once when told to", async () => {
    const connection = await connect();
    await modify("drill-db", { DBInstanceClass: "db.t4g.small", CopyTagsToSnapshot: true });
    const pending = await describe("drill-db");
    assert.deepEqual(
      [pending.DBInstanceClass, pending.PendingModifiedValues?.DBInstanceClass, pending.CopyTagsToSnapshot],
      ["db.t4g.micro", "db.t4g.small", true],
    );
    assert.deepEqual(await one(connection, "SELECT 1 AS one"), { one: 1 });
    const ended = new Promise<void>((resolve) => connection.once("end", () => resolve()));
    await modify("drill-db", { MultiAZ: true, ApplyImmediately: true });
    await ended;
    await until(async () => (await describe("drill-db")).DBInstanceStatus === "available");
    const done = await describe("drill-db");
    assert.deepEqual([done.DBInstanceClass, done.MultiAZ, done.PendingModifiedValues], ["db.t4g.small", true, {}]);
  });

  it("grows by a tenth at least and never shrinks", async () => {
    await assert.rejects(modify("drill-db", { AllocatedStorage: 10 }), /Invalid storage size/);
    await assert.rejects(modify("drill-db", { AllocatedStorage: 21 }), /at least 10 percent/);
    await assert.rejects(modify("drill-db", { MaxAllocatedStorage: 21 }), /at least 10 percent greater/);
    await modify("drill-db", { AllocatedStorage: 22, ApplyImmediately: true });
    await until(async () => (await describe("drill-db")).AllocatedStorage === 22);
    await assert.rejects(modify("drill-db", { AllocatedStorage: 20 }), /cannot be less than the current/);
  });

  it("refuses to be deleted while it is protected, and without a final snapshot that nobody waived", async () => {
    await modify("drill-db", { DeletionProtection: true });
    const deleted = (more: object) =>
      rds.send(new DeleteDBInstanceCommand({ DBInstanceIdentifier: "drill-db", ...more }));
    await assert.rejects(deleted({ SkipFinalSnapshot: true }), /Cannot delete protected DB Instance/);
    await modify("drill-db", { DeletionProtection: false });
    await assert.rejects(deleted({}), /FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot/);
    await assert.rejects(deleted({ FinalDBSnapshotIdentifier: "last" }), { name: "NotImplemented" });
  });

  it("answers nobody while its network is broken, and goes on with the same sessions when it is mended", async () => {
    const connection = await connect();
    const broken = await emulator.faults.break("rds.network", { instance: "drill-db" }, 60);
    let answered = false;
    const query = one(connection, "SELECT 7 AS seven").then((row) => {
      answered = true;
      return row;
    });
    await assert.rejects(connect({ connectionTimeoutMillis: 500 }), /timeout/i);
    assert.equal(answered, false);
    await broken.mend();
    assert.deepEqual(await query, { seven: 7 });
  });

  it("refuses a version that this machine's server is not", async () => {
    await assert.rejects(create("other", { EngineVersion: "9" }), /Cannot find version 9 for postgres/);
  });

  it("refuses an identifier that is taken, and a subnet group that is in use stays", async () => {
    await assert.rejects(create("drill-db"), { name: /DBInstanceAlreadyExists/ });
    await assert.rejects(rds.send(new DeleteDBSubnetGroupCommand({ DBSubnetGroupName: "private" })), /still using it/);
  });

  it("is gone after its deletion, with its server, folder and secret", async () => {
    await create("short-lived");
    const lived = await untilAvailable("short-lived");
    const { cluster } = emulator.cloud.stores.rds.instance("short-lived");
    assert.ok(cluster && fs.existsSync(cluster.directory));
    await rds.send(new DeleteDBInstanceCommand({ DBInstanceIdentifier: "short-lived", SkipFinalSnapshot: true }));
    const describe = new DescribeDBInstancesCommand({ DBInstanceIdentifier: "short-lived" });
    const deadline = Date.now() + 30_000;
    while (
      await rds.send(describe).then(
        () => true,
        () => false,
      )
    ) {
      assert.ok(Date.now() < deadline);
      await pause(20);
    }
    await assert.rejects(rds.send(describe), { name: /DBInstanceNotFound/ });
    assert.equal(fs.existsSync(cluster.directory), false);
    const SecretId = lived.MasterUserSecret?.SecretArn;
    await assert.rejects(secrets.send(new GetSecretValueCommand({ SecretId })));
  });
});
