import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CloudWatchClient, PutMetricAlarmCommand, SetAlarmStateCommand } from "@aws-sdk/client-cloudwatch";
import { DescribeVolumesCommand } from "@aws-sdk/client-ec2";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { type Emulator, startEmulator } from "../../emulator/emulator";
import { guard } from "../../jobs/guard/guard";
import { protect } from "../../jobs/protect";
import { rescue } from "../../jobs/rescue";
import { spaceProblems } from "../../jobs/space";
import { wait } from "../../jobs/wait";
import { evidenceDatabase, stagedDatabase } from "../../run/ids";
import type { DatabaseTarget, InstanceTarget, Plan } from "../../run/plan";
import {
  createEnvironment,
  describe as describeInstance,
  type Environment,
  launch,
  runCommand,
  text,
} from "../emulator/ec2/support";
import { client } from "../emulator/support";
import { master, startServer, type TestServer } from "./database/cluster";
import { FakeClient } from "./memory-objects";
import { World, instanceId, run } from "./world";

const environment = { RUN_ID: run };
const second = "i-0fedcba9876543210";
const day = 24 * 3600 * 1000;

/** An instance with a data volume of its own kind, which is mounted at every boot. */
function launchWithData(there: Environment, name: string) {
  const script = [
    "#!/bin/bash",
    "mkdir -p /srv/data && mkfs -t xfs /dev/sdf",
    "echo '/dev/sdf /srv/data xfs defaults,nofail 0 2' >> /etc/fstab && mount -a",
  ];
  const disk = { VolumeSize: 4, VolumeType: "gp3", Iops: 4000, Throughput: 200, Encrypted: true } as const;
  return launch(there, {
    BlockDeviceMappings: [{ DeviceName: "/dev/sdf", Ebs: { ...disk, DeleteOnTermination: true } }],
    TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "Name", Value: name }] }],
    UserData: Buffer.from(`${script.join("\n")}\n`).toString("base64"),
  });
}

/** What a healing must not change of an instance, and what it does change: the ids of its volumes. */
async function asItIs(there: Environment, id: string) {
  const found = await describeInstance(there, id);
  const mappings = found.BlockDeviceMappings ?? [];
  const volumeIds = mappings.map(({ Ebs }) => text(Ebs?.VolumeId));
  const { Volumes = [] } = await there.ec2.send(new DescribeVolumesCommand({ VolumeIds: volumeIds }));
  const volumes = mappings.map(({ DeviceName, Ebs }) => {
    const volume = Volumes.find(({ VolumeId }) => VolumeId === Ebs?.VolumeId);
    const { Encrypted, KmsKeyId, Size, VolumeType, Iops, Throughput } = volume ?? {};
    return {
      DeviceName,
      DeleteOnTermination: Ebs?.DeleteOnTermination,
      Encrypted,
      KmsKeyId,
      Size,
      VolumeType,
      Iops,
      Throughput,
    };
  });
  const about = {
    id: found.InstanceId,
    state: found.State?.Name,
    addresses: [found.PrivateIpAddress, found.PublicIpAddress],
    interfaces: found.NetworkInterfaces?.map(({ NetworkInterfaceId }) => NetworkInterfaceId),
    groups: found.SecurityGroups,
    profile: found.IamInstanceProfile?.Arn,
    tags: found.Tags,
    volumes,
  };
  return { about, volumeIds };
}

describe("a run over several targets", () => {
  let emulator: Emulator;
  let servers: [TestServer, TestServer];
  let folder: string;
  let world: World;

  before(async () => {
    servers = [await startServer(), await startServer()];
    emulator = await startEmulator();
    await client(emulator, S3Client).send(new CreateBucketCommand({ Bucket: "store" }));
    folder = mkdtempSync(join(tmpdir(), "targets-"));
    writeFileSync(join(folder, "ca.pem"), servers.map(({ caFile }) => readFileSync(caFile, "utf8")).join("\n"));
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await emulator.close();
    for (const server of servers) await server.close();
  });

  beforeEach(async () => {
    world = await World.open();
    world.caFile = join(folder, "ca.pem");
    const give = <C>(made: C) => ({ value: () => Promise.resolve(made) }).value;
    world.others = {
      s3: give(client(emulator, S3Client)),
      cloudwatch: give(client(emulator, CloudWatchClient)),
      secrets: give(
        new FakeClient({
          GetSecretValue: () => ({
            SecretString: JSON.stringify({ username: master.user, password: master.password }),
          }),
        }) as never,
      ),
    };
    world.instances[second] = { state: "running", root: "vol-0second" };
    world.status["vol-0of-snap-vol-0live"] = 200;
    for (const [index, server] of servers.entries()) {
      const [, ...leftovers] = (
        await server.sql(
          "SELECT datname FROM pg_database WHERE datname LIKE '%shop%' ORDER BY datname = 'shop' DESC",
          "postgres",
        )
      ).map(({ datname }) => String(datname));
      for (const name of leftovers) await server.sql(`DROP DATABASE "${name}" WITH (FORCE)`, "postgres");
      await server.sql(
        "DROP TABLE IF EXISTS item, made_by_release; CREATE TABLE item AS SELECT 1 AS id, 'good' AS state",
        "shop",
      );
      free(`server-${index}`, 500e9);
    }
    await servers[0].sql("CREATE DATABASE workshop", "postgres");
    await servers[0].sql("CREATE TABLE item AS SELECT 1 AS id, 'good' AS state", "workshop");
  });
  afterEach(() => world.close());

  const rds = (name: string): string => `arn:aws:rds:us-east-1:123456789012:db:${name}`;

  /** What RDS says of the free storage of an instance. Each name once: CloudWatch keeps a minute's least. */
  function free(name: string, bytes: number): void {
    emulator.cloud.stores.cloudwatch.publish("AWS/RDS", [{ Name: "DBInstanceIdentifier", Value: name }], {
      MetricName: "FreeStorageSpace",
      Value: bytes,
      Unit: "Bytes",
    });
  }

  const database = (id: string, server: number, name: string, more: Partial<DatabaseTarget> = {}): DatabaseTarget => ({
    kind: "database",
    id,
    arn: rds(`server-${server}`),
    host: servers[server]?.address ?? "",
    port: 5432,
    database: name,
    adminDatabase: "postgres",
    secretArn: "arn:aws:secretsmanager:us-east-1:123456789012:secret:master",
    accept: [],
    sequences: "exact",
    stage: "before",
    ...more,
  });
  const instance = (id: string, ec2: string): InstanceTarget => ({
    kind: "instance",
    id,
    arn: `arn:aws:ec2:us-east-1:123456789012:instance/${ec2}`,
    instanceId: ec2,
    paths: ["/opt/shop"],
    volumes: "all",
  });
  const databases = (): DatabaseTarget[] => [
    database("first", 0, "shop"),
    database("second", 0, "workshop"),
    database("third", 1, "shop"),
  ];

  function plan(targets: Plan["targets"], more: Partial<Plan> = {}): void {
    world.plan = {
      ...world.plan,
      engine: "aws",
      targets,
      limits: { parallelTargets: 2, stageWorkers: 1 },
      deadlines: {
        ...world.plan.deadlines,
        protectSeconds: 120,
        waitSeconds: 120,
        healSeconds: 120,
        deploySeconds: 120,
      },
      ...more,
    };
  }

  const stateOf = async (target: DatabaseTarget): Promise<unknown> => {
    const server = servers.find(({ address }) => address === target.host);
    return (await server?.sql("SELECT state FROM item", target.database))?.[0]?.["state"];
  };
  const names = async (server: TestServer): Promise<string[]> =>
    (await server.sql("SELECT datname FROM pg_database WHERE datname LIKE '%shop%' ORDER BY 1", "postgres")).map(
      ({ datname }) => String(datname),
    );

  /** The release: breaks every database and the instances of the plan, and its build fails. */
  function breaksAll(targets: readonly DatabaseTarget[]): () => void {
    const instances = world.plan.targets.flatMap((target) => (target.kind === "instance" ? [target.instanceId] : []));
    const breaking = async (): Promise<void> => {
      for (const target of targets) {
        const server = servers.find(({ address }) => address === target.host);
        await server?.sql("UPDATE item SET state = 'bad'; CREATE TABLE made_by_release (id int)", target.database);
      }
      for (const id of instances) world.status[world.instances[id]?.root ?? ""] = 500;
      world.builds["deploy:1"] = "FAILED";
    };
    return () => void breaking();
  }

  async function upToTicket(): Promise<void> {
    assert.equal(await protect(world.build("protect:1", "protect"), environment), 0);
    world.end("protect:1");
    assert.equal(await wait(world.build("wait:1", "wait"), environment), 0);
    world.end("wait:1");
  }

  it("is healed whole: three databases of two servers and two instances", async () => {
    const all = databases();
    plan([...all, instance("web", instanceId), instance("worker", second)]);
    await upToTicket();
    world.deploys(breaksAll(all));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3, world.lines.join("\n"));
    assert.deepEqual(await Promise.all(all.map(stateOf)), ["good", "good", "good"]);
    assert.deepEqual(
      [world.instances[instanceId]?.root, world.instances[second]?.root],
      ["vol-0of-snap-vol-0live", "vol-0of-snap-vol-0second"],
    );
    const { verdict, targets } = await world.facts();
    assert.ok(Object.values(targets).every(({ cutOver }) => cutOver !== undefined));
    assert.deepEqual(new Set(verdict?.undone?.map(({ target, table }) => `${target ?? ""} ${table}`)).size, 6);
    assert.equal([...world.parameters.keys()].filter((name) => name.endsWith("/released")).length, 4);
    const failed = evidenceDatabase("shop", run);
    assert.ok((await names(servers[0])).includes(failed) && (await names(servers[1])).includes(failed));

    // The evidence stays until its retention has passed, and goes by the schedule then.
    assert.equal(await rescue(world.build("rescue:1", "rescue"), {}), 0);
    assert.ok((await names(servers[0])).includes(failed));
    const key = `runs/${run}/verdict.json`;
    const old = new Date(Date.now() - 8 * day);
    world.objects.dates.set(key, old);
    world.objects.objects.set(key, JSON.stringify({ ...verdict, at: old.toISOString() }));
    assert.equal(await rescue(world.build("rescue:2", "rescue"), {}), 0);
    assert.deepEqual([await names(servers[0]), await names(servers[1])], [["shop", "workshop"], ["shop"]]);
    assert.deepEqual(await Promise.all(all.map(stateOf)), ["good", "good", "good"]);
    assert.deepEqual(world.deleted.sort(), ["snap-vol-0live", "snap-vol-0second", "vol-0live", "vol-0second"]);
    assert.equal((await world.facts()).cleared?.removed.length, 7);
  });

  it("is healed whole with real instances: the volumes are others, everything else is as it was", async () => {
    const there = await createEnvironment(emulator);
    world.others = {
      ...world.others,
      ec2: () => Promise.resolve(there.ec2),
      ssm: () => Promise.resolve(there.ssm),
    };
    const launched = await Promise.all(["web", "worker"].map((name) => launchWithData(there, name)));
    const machines = launched.map(({ InstanceId }, index) => instance(`machine-${index}`, text(InstanceId)));
    const all = databases().slice(0, 2);
    plan([...all, ...machines.map((each) => ({ ...each, paths: ["/opt/app", "/srv/data"] }))]);
    const onAll = (commands: string[]) =>
      Promise.all(machines.map(({ instanceId: id }) => runCommand(there, id, commands)));
    const write = (what: string) =>
      onAll([`mkdir -p /opt/app && echo ${what} > /opt/app/file && echo ${what} > /srv/data/file`]);
    const described = () => Promise.all(machines.map(({ instanceId: id }) => asItIs(there, id)));
    await onAll(["until mountpoint -q /srv/data; do sleep 0.1; done"]);
    await write("good");
    const before = await described();

    await upToTicket();
    const breakDatabases = breaksAll(all);
    world.deploys(() => void write("bad").then(breakDatabases));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3, world.lines.join("\n"));

    assert.deepEqual(await Promise.all(all.map(stateOf)), ["good", "good"]);
    const contents = await onAll(["cat /opt/app/file /srv/data/file"]);
    assert.deepEqual(
      contents.map(({ StandardOutputContent }) => StandardOutputContent),
      ["good\ngood\n", "good\ngood\n"],
    );
    const after = await described();
    assert.deepEqual(
      after.map(({ about }) => about),
      before.map(({ about }) => about),
    );
    const [old, current] = [before, after].map((list) => list.flatMap(({ volumeIds }) => volumeIds));
    assert.ok(old?.length === 4 && current?.length === 4 && old.every((id) => !current.includes(id)));
    const command = new DescribeVolumesCommand({ VolumeIds: old });
    const { Volumes = [] } = await there.ec2.send(command);
    assert.ok(Volumes.every(({ State }) => State === "available"));
    const marks = Volumes.map(({ Tags = [] }) => Tags.find(({ Key }) => Key === "protected-pipeline:evidence")?.Value);
    assert.deepEqual(new Set(marks), new Set(["failed-volume"]));
  });

  it("heals nothing of any database when one server cannot exchange its own", async () => {
    const all = databases();
    plan(all, {
      deadlines: { ...world.plan.deadlines, protectSeconds: 120, waitSeconds: 120, healSeconds: 8, deploySeconds: 120 },
    });
    await upToTicket();
    world.deploys(() => {
      // Somebody opens the staged database of the second server: its seal is broken, and nothing can go in place.
      const staged = stagedDatabase("shop", run);
      const opening = async (): Promise<void> => {
        await servers[1].sql(`ALTER DATABASE "${staged}" ALLOW_CONNECTIONS true`, "postgres");
        breaksAll(all)();
      };
      void opening();
    });
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 4);
    const { targets, verdict } = await world.facts();
    assert.deepEqual(
      Object.values(targets).map(({ cutOver }) => cutOver),
      [undefined, undefined, undefined],
    );
    assert.match(
      verdict?.reason ?? "",
      /healing failed while cutting over: .*seal of the staged database shop_staged_1b9d6bcd/,
    );
    for (const server of servers) assert.ok((await names(server)).includes(stagedDatabase("shop", run)));
    for (const { id } of all)
      assert.ok(
        world.lines.some((line) => line.startsWith(`  ${id}: `)),
        id,
      );
    for (const server of servers) await server.sql("ALTER DATABASE shop ALLOW_CONNECTIONS true", "postgres");
    await servers[0].sql("ALTER DATABASE workshop ALLOW_CONNECTIONS true", "postgres");
  });

  it("with instances alone needs no database, and one without a change is left alone where its owner says so", async () => {
    plan([instance("web", instanceId), instance("worker", second)], { healing: "when-changed" });
    await upToTicket();
    world.deploys(() => {
      world.status["vol-0live"] = 500;
      world.builds["deploy:1"] = "FAILED";
    });
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3);
    assert.equal(world.instances[instanceId]?.root, "vol-0of-snap-vol-0live");
    assert.equal(world.instances[second]?.root, "vol-0second");
    const { targets } = await world.facts();
    const skipped = ["web", "worker"].map((id) => {
      const fact = targets[id]?.cutOver;
      return fact?.kind === "instance" && fact.skipped;
    });
    assert.deepEqual(skipped, [false, true]);
    assert.deepEqual(world.deleted, ["vol-0of-snap-vol-0second"]);
  });

  it("with a database that is restored on failure stages nothing before, and is healed all the same", async () => {
    const late = database("first", 0, "shop", { stage: "on-failure" });
    plan([late]);
    await upToTicket();
    assert.deepEqual(await names(servers[0]), ["shop", "workshop"]);
    world.deploys(breaksAll([late]));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3, world.lines.join("\n"));
    assert.equal(await stateOf(late), "good");
    assert.ok(((await world.facts()).targets["first"]?.restored?.milliseconds ?? 0) > 0);
  });

  it("with a clone is healed by the very copy", async () => {
    const clone = database("first", 0, "shop", { stage: "clone" });
    plan([clone]);
    await upToTicket();
    world.deploys(breaksAll([clone]));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3, world.lines.join("\n"));
    assert.equal(await stateOf(clone), "good");
  });

  /** One of each kind, two of them on one server. */
  const mixed = (): [DatabaseTarget, DatabaseTarget, DatabaseTarget] => [
    database("first", 0, "shop", { stage: "clone" }),
    database("second", 0, "workshop", { stage: "on-failure" }),
    database("third", 1, "shop"),
  ];
  const bothOnOneServer = (stage: DatabaseTarget["stage"]): [DatabaseTarget, DatabaseTarget] => [
    database("first", 0, "shop", { stage }),
    database("second", 0, "workshop", { stage }),
  ];
  /** The transactions that have written the rows of databases that are live. */
  const exchangesOn = (server: TestServer, databases: readonly string[]) =>
    server.sql(`SELECT DISTINCT xmin FROM pg_database WHERE datname IN ('${databases.join("', '")}')`, "postgres");

  const several = {
    "one of which is staged before, one cloned, one restored on failure,": mixed,
    "both clones, on one server": () => bothOnOneServer("clone"),
    "both restored on failure, on one server": () => bothOnOneServer("on-failure"),
  };
  for (const [what, targets] of Object.entries(several)) {
    it(`with databases ${what} is healed whole, those of one server in one transaction`, async () => {
      const all = targets();
      plan(all);
      await upToTicket();
      const staged = all.filter(({ stage }) => stage !== "on-failure").map(({ database: name }) => name);
      const there = [...(await names(servers[0])), ...(await names(servers[1]))].filter((name) =>
        /_staged_/.test(name),
      );
      assert.deepEqual(there, staged.map((name) => stagedDatabase(name, run)).sort());
      world.deploys(breaksAll(all));
      assert.equal(await guard(world.build("guard:1", "guard"), environment), 3, world.lines.join("\n"));
      assert.deepEqual(new Set(await Promise.all(all.map(stateOf))), new Set(["good"]));
      const { targets: facts, verdict } = await world.facts();
      assert.ok(all.every(({ id }) => facts[id]?.cutOver !== undefined));
      assert.equal((await exchangesOn(servers[0], ["shop", "workshop"])).length, 1);
      assert.deepEqual(new Set(verdict?.undone?.map(({ target }) => target)), new Set(all.map(({ id }) => id)));
      const failed = all.map(({ database: name }) => evidenceDatabase(name, run));
      const kept = [...(await names(servers[0])), ...(await names(servers[1]))].filter((name) => /_failed_/.test(name));
      assert.deepEqual(kept.sort(), failed.sort());
    });
  }

  /** What a healing has done to the live databases: nothing. */
  async function nothingIsExchanged(all: readonly DatabaseTarget[]): Promise<void> {
    const { targets } = await world.facts();
    assert.deepEqual(
      all.map(({ id }) => targets[id]?.cutOver),
      all.map(() => undefined),
    );
    for (const server of servers) {
      assert.ok((await names(server)).every((name) => !/_failed_/.test(name)));
    }
    for (const { id } of all)
      assert.ok(
        world.lines.some((line) => line.startsWith(`  ${id}: `)),
        id,
      );
  }

  it("exchanges nothing, and closes nothing, when one of the databases cannot be restored any more", async () => {
    const all = [...bothOnOneServer("on-failure"), database("third", 1, "shop")];
    plan(all);
    await upToTicket();
    const made = (await world.facts()).targets["second"]?.protected;
    const Key = made?.kind === "database" ? made.recoveryPoint : "";
    // The vault loses it after it was proven.
    await client(emulator, S3Client).send(new PutObjectCommand({ Bucket: "store", Key, Body: "lost" }));
    world.deploys(breaksAll(all));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 4);
    const { verdict } = await world.facts();
    assert.match(verdict?.reason ?? "", /the healing failed while fencing: .*workshop/);
    assert.ok(world.lines.some((line) => line.startsWith(`  second: "workshop" may be closed to connections`)));
    await nothingIsExchanged(all);
    // The live databases are as the deploy has left them, and open.
    assert.deepEqual(await Promise.all(all.map(stateOf)), ["bad", "bad", "bad"]);
    assert.ok(!(await names(servers[0])).includes(stagedDatabase("workshop", run)));
  });

  it("exchanges nothing of any server when one clone is not as it was proven", async () => {
    const all = mixed();
    plan(all, { deadlines: { ...world.plan.deadlines, protectSeconds: 120, waitSeconds: 120, healSeconds: 20 } });
    await upToTicket();
    world.deploys(() => {
      const staged = stagedDatabase("shop", run);
      void servers[0].sql(`ALTER DATABASE "${staged}" ALLOW_CONNECTIONS true`, "postgres").then(breaksAll(all));
    });
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 4);
    assert.match((await world.facts()).verdict?.reason ?? "", /seal of the staged database shop_staged_1b9d6bcd/);
    await nothingIsExchanged(all);
    for (const { database: name, host } of all) {
      const server = servers.find(({ address }) => address === host);
      await server?.sql(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS true`, "postgres");
    }
  });

  it("is finished by another healer when the one before was lost between two restores, and none is done twice", async () => {
    const all = bothOnOneServer("on-failure");
    plan(all, { limits: { parallelTargets: 1, stageWorkers: 1 } });
    await upToTicket();
    world.deploys(breaksAll(all));
    const create = world.objects.create.bind(world.objects);
    world.objects.create = (key, body) =>
      /(second\/restored|verdict)\.json$/.test(key) ? Promise.reject(new Error("lost")) : create(key, body);
    await assert.rejects(guard(world.build("guard:1", "guard"), environment), /lost/);
    world.objects.create = create;
    world.end("guard:1", "FAULT");
    const before = (await world.facts()).targets;
    assert.deepEqual([before["first"]?.restored !== undefined, before["second"]?.restored], [true, undefined]);
    assert.equal(await rescue(world.build("rescue:1", "rescue"), environment), 0, world.lines.join("\n"));
    const { targets, verdict } = await world.facts();
    assert.equal(verdict?.verdict, "healed");
    assert.deepEqual(targets["first"]?.restored, before["first"]?.restored);
    assert.deepEqual(await Promise.all(all.map(stateOf)), ["good", "good"]);
  });

  it("whose second clone cannot be made leaves the live databases open, and Rescue removes the first", async () => {
    const all = bothOnOneServer("clone");
    plan(all);
    // A session of the service's own, which its master may not end.
    const busy = servers[0].cluster.administer("SELECT pg_sleep(60)", "workshop").catch(() => undefined);
    await assert.rejects(
      protect(world.build("protect:1", "protect"), environment),
      /cannot clone the database workshop .*in use by/,
    );
    await servers[0].cluster.administer(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'",
    );
    await busy;
    for (const target of all) {
      const query = "UPDATE item SET state = 'written'";
      await servers[0].sql(query, target.database);
    }
    world.end("protect:1", "FAILED");
    world.execution = "Failed";
    assert.equal(await rescue(world.build("rescue:1", "rescue"), environment), 0);
    assert.equal((await world.facts()).verdict?.verdict, "not-deployed");
    assert.deepEqual(await names(servers[0]), ["shop", "workshop"]);
  });

  it("that freezes writes allows them again when the deploy is healthy, and when a run ends before its deploy", async () => {
    const target = database("first", 0, "shop");
    plan([target], { writes: "freeze" });
    const readOnly = async (): Promise<boolean> => {
      const found = await servers[0].sql(
        "SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = 'shop' AND s.setrole = 0 AND 'default_transaction_read_only=on' = ANY (setconfig)",
        "postgres",
      );
      return found.length > 0;
    };
    await upToTicket();
    assert.equal(await readOnly(), true);
    world.deploys(() => world.end("deploy:1"));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 0, world.lines.join("\n"));
    assert.equal(await readOnly(), false);
  });

  it("that died before its deploy is thawed by Rescue, and what Wait had begun and not finished is removed", async () => {
    const target = database("first", 0, "shop");
    plan([target], { writes: "freeze" });
    assert.equal(await protect(world.build("protect:1", "protect"), environment), 0);
    world.end("protect:1");
    // Wait dies in the middle of its restore.
    const staged = stagedDatabase("shop", run);
    await servers[0].sql(`CREATE DATABASE "${staged}"`, "postgres");
    await servers[0].sql(
      `COMMENT ON DATABASE "${staged}" IS 'protected-pipeline: unfinished database of run ${run}'`,
      "postgres",
    );
    world.execution = "Failed";
    assert.equal(await rescue(world.build("rescue:1", "rescue"), environment), 0);
    assert.equal((await world.facts()).verdict?.verdict, "not-deployed");
    assert.deepEqual(await names(servers[0]), ["shop", "workshop"]);
    await servers[0].sql("UPDATE item SET state = 'written'", "shop");
  });

  it("is stopped before anything is done where the staged databases would not fit, unless its owner accepts it [finding 43]", async () => {
    const target = database("first", 1, "shop", { arn: rds("full") });
    plan([target]);
    free("full", 1e6);
    await assert.rejects(
      protect(world.build("protect:1", "protect"), environment),
      /needs .* GB of free storage .*accept "no-space"/,
    );
    assert.equal((await world.facts()).targets["first"]?.protected, undefined);

    const unknown = { ...target, arn: rds("silent") };
    world.objects.objects.clear();
    plan([unknown]);
    await assert.rejects(
      protect(world.build("protect:2", "protect"), environment),
      /is not known.*accept "space-unknown"/,
    );
    world.objects.objects.clear();
    plan([{ ...unknown, accept: ["space-unknown"] }]);
    assert.equal(await protect(world.build("protect:3", "protect"), environment), 0);
  });

  it("is stopped before anything is done where a database may be longer than the engine's streams, unless its owner accepts it", async () => {
    const target = database("first", 1, "shop", { stage: "on-failure" });
    plan([target]);
    const problems = (longestStream?: number, plans = world.plan) =>
      spaceProblems({ ...world.build("protect:1", "protect"), run, plan: plans }, { longestStream });
    const [problem, ...more] = await problems(1e6);
    assert.match(problem ?? "", /^first: the database has 0\.0 GB, .* dumps of up to 0\.0 GB.*accept "dump-too-large"/);
    assert.deepEqual([more, await problems(1e12), await problems()], [[], [], []]);
    const accepting = { ...world.plan, targets: [{ ...target, accept: ["dump-too-large"] }] };
    assert.deepEqual(await problems(1e6, accepting), []);
    assert.match(world.lines.join("\n"), /note: accepted \(dump-too-large\): first: /);
  });

  it("is stopped before its deploy when the last run shows that a deadline will not hold", async () => {
    const target = database("first", 1, "shop");
    plan([target]);
    await upToTicket();
    // The last run took an hour for this.
    const key = `runs/${run}/first/staged.json`;
    const fact = JSON.parse(world.objects.objects.get(key) ?? "{}") as object;
    world.objects.objects.set(key, JSON.stringify({ ...fact, milliseconds: 3_600_000 }));
    world.execution = "Failed";
    assert.equal(await rescue(world.build("rescue:1", "rescue"), environment), 0);

    const next = { RUN_ID: "2b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed" };
    world.execution = "InProgress";
    assert.equal(await protect(world.build("protect:2", "protect"), next), 0);
    await assert.rejects(
      wait(world.build("wait:2", "wait"), next),
      /took 36\d\d s the last time .*nothing is deployed/,
    );
  });

  it("fails, and is healed, when a named alarm goes off during the deploy", async () => {
    const cloudwatch = client(emulator, CloudWatchClient);
    await cloudwatch.send(
      new PutMetricAlarmCommand({
        AlarmName: "shop-errors",
        Namespace: "Shop",
        MetricName: "Errors",
        Statistic: "Sum",
        Period: 60,
        EvaluationPeriods: 1,
        Threshold: 1,
        ComparisonOperator: "GreaterThanThreshold",
        TreatMissingData: "ignore",
      }),
    );
    const target = database("first", 0, "shop");
    plan([target], { alarms: ["shop-errors"] });
    await upToTicket();
    world.deploys(() => {
      const alarm = { AlarmName: "shop-errors", StateValue: "ALARM" as const, StateReason: "a test" };
      void cloudwatch.send(new SetAlarmStateCommand(alarm));
    });
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3, world.lines.join("\n"));
    assert.match(world.lines.at(-1) ?? "", /^healed: alarm shop-errors went off/);
    assert.equal(world.builds["deploy:1"], "STOPPED");
  });
});
