import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
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
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
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

  it("rotates the master's password on the server and in the secret", async () => {
    const before = await masterSecret();
    await rds.send(new ModifyDBInstanceCommand({ DBInstanceIdentifier: "drill-db", RotateMasterUserPassword: true }));
    assert.notEqual((await masterSecret()).password, before.password);
    await connect();
    await assert.rejects(connect({ password: before.password }), /password authentication failed/);
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
