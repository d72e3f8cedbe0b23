import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import * as ec2 from "@aws-sdk/client-ec2";
import * as rds from "@aws-sdk/client-rds";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { bootMachine } from "../../../emulator/machines/namespaces";
import { collectText } from "../../../emulator/machines/output";
import { client } from "../support";
import { connects, createEnvironment, type Environment, launch, runCommand, text, until } from "./support";

const execute = promisify(execFile);

describe("Security groups between machines", () => {
  let emulator: Emulator;
  let environment: Environment;
  let database: string;
  let databaseGroup: string;

  before(async function () {
    this.timeout(120_000);
    emulator = await startEmulator();
    environment = await createEnvironment(emulator);
    databaseGroup = await group("database");
    await allow(databaseGroup, { FromPort: 5432, ToPort: 5432, UserIdGroupPairs: [{ GroupId: environment.groupId }] });
    database = await createDatabase();
  });

  after(() => emulator.close());

  async function group(GroupName: string): Promise<string> {
    const VpcId = environment.vpcId;
    const command = new ec2.CreateSecurityGroupCommand({ GroupName, Description: GroupName, VpcId });
    return text((await environment.ec2.send(command)).GroupId);
  }

  async function allow(GroupId: string, permission: ec2.IpPermission): Promise<void> {
    const IpPermissions = [{ IpProtocol: "tcp", ...permission }];
    await environment.ec2.send(new ec2.AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions }));
  }

  async function createDatabase(): Promise<string> {
    const api = client(emulator, rds.RDSClient);
    const other = { VpcId: environment.vpcId, CidrBlock: "10.0.2.0/24", AvailabilityZone: "us-east-1b" };
    const { Subnet } = await environment.ec2.send(new ec2.CreateSubnetCommand(other));
    await api.send(
      new rds.CreateDBSubnetGroupCommand({
        DBSubnetGroupName: "database",
        DBSubnetGroupDescription: "database",
        SubnetIds: [environment.subnetId, text(Subnet?.SubnetId)],
      }),
    );
    const DBInstanceIdentifier = "database";
    await api.send(
      new rds.CreateDBInstanceCommand({
        DBInstanceIdentifier,
        DBInstanceClass: "db.t4g.micro",
        Engine: "postgres",
        AllocatedStorage: 20,
        MasterUsername: "master",
        MasterUserPassword: "a-password-of-a-test",
        DBSubnetGroupName: "database",
        VpcSecurityGroupIds: [databaseGroup],
      }),
    );
    return until("the database", async () => {
      const { DBInstances = [] } = await api.send(new rds.DescribeDBInstancesCommand({ DBInstanceIdentifier }));
      return DBInstances[0]?.DBInstanceStatus === "available" ? text(DBInstances[0].Endpoint?.Address) : undefined;
    });
  }

  async function reaches(id: string, host: string, port: number): Promise<boolean> {
    const command = `(exec 3<>/dev/tcp/${host}/${port}) 2>/dev/null && echo yes || echo no`;
    return (await runCommand(environment, id, [command])).StandardOutputContent === "yes\n";
  }

  /** Waits until the rules are followed. */
  async function untilReaches(id: string, host: string, port: number, expected: boolean): Promise<void> {
    const what = `${id} ${expected ? "to reach" : "not to reach"} ${host}`;
    await until(what, async () => (await reaches(id, host, port)) === expected || undefined);
  }

  /** User data of an instance with a program that notes all the time whether it reaches the database. */
  function probe(host: string): string {
    const script = [
      "#!/bin/bash",
      "cat > /opt/probe <<'PROBE'",
      `while sleep 0.05; do (exec 3<>/dev/tcp/${host}/5432) 2>/dev/null && echo yes || echo no; done >> /opt/$HOSTNAME`,
      "PROBE",
      "printf '[Service]\\nExecStart=/bin/bash /opt/probe\\n' > /etc/systemd/system/probe.service",
      "systemctl enable --now probe",
    ];
    return Buffer.from(script.join("\n")).toString("base64");
  }

  /** What the program of that very instance has noted: copies bring the notes of others. */
  function probed(instance: ec2.Instance): string[] {
    const root = text(instance.BlockDeviceMappings?.[0]?.Ebs?.VolumeId);
    const file = path.join(emulator.cloud.directory, "ec2", "disks", root, "opt", text(instance.PrivateDnsName));
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
  }

  async function untilProbed(instance: ec2.Instance, answer: string): Promise<void> {
    const what = `${text(instance.InstanceId)} to note ${answer}`;
    await until(what, () => Promise.resolve(probed(instance).at(-1) === answer || undefined));
  }

  async function elastio(...args: string[]): Promise<{ job_id: string; data: { rp_id: string } | null }> {
    const program = path.resolve("emulator/image/bin/elastio");
    const env = { PATH: process.env.PATH, ...emulator.environment };
    const { stdout } = await execute(process.execPath, [program, ...args, "--output-format", "json"], { env });
    return JSON.parse(stdout) as { job_id: string; data: { rp_id: string } | null };
  }

  it("let an instance reach the database as long as both sides allow it", async () => {
    const id = text((await launch(environment)).InstanceId);
    await untilReaches(id, database, 5432, true);
    const psql = `PGSSLMODE=require psql -h ${database} -U master -d postgres -Atc 'SELECT 1' 2>&1`;
    const answered = await runCommand(environment, id, [`PGPASSWORD=a-password-of-a-test ${psql}`]);
    assert.equal(answered.StandardOutputContent, "1\n");

    const IpPermissions = [
      { IpProtocol: "tcp", FromPort: 5432, ToPort: 5432, UserIdGroupPairs: [{ GroupId: environment.groupId }] },
    ];
    const rule = { GroupId: databaseGroup, IpPermissions };
    await environment.ec2.send(new ec2.RevokeSecurityGroupIngressCommand(rule));
    await untilReaches(id, database, 5432, false);
    await environment.ec2.send(new ec2.AuthorizeSecurityGroupIngressCommand(rule));
    await untilReaches(id, database, 5432, true);
  });

  it("fence an instance off from the database and let it call AWS, when the fence allows just that", async () => {
    const id = text((await launch(environment)).InstanceId);
    await untilReaches(id, database, 5432, true);
    const fence = await group("aws-only");
    const all = [{ IpProtocol: "-1", IpRanges: [{ CidrIp: "0.0.0.0/0" }] }];
    await environment.ec2.send(new ec2.RevokeSecurityGroupEgressCommand({ GroupId: fence, IpPermissions: all }));
    const https = [{ IpProtocol: "tcp", FromPort: 443, ToPort: 443, IpRanges: [{ CidrIp: "0.0.0.0/0" }] }];
    await environment.ec2.send(new ec2.AuthorizeSecurityGroupEgressCommand({ GroupId: fence, IpPermissions: https }));
    await environment.ec2.send(new ec2.ModifyInstanceAttributeCommand({ InstanceId: id, Groups: [fence] }));
    await untilReaches(id, database, 5432, false);
    const called = await runCommand(environment, id, ["aws sts get-caller-identity --query Account --output text"]);
    assert.equal(called.StandardOutputContent, "123456789012\n");
  });

  it("keep a restored copy from the database once it has the fence, and not the instance it is a copy of", async () => {
    const original = await launch(environment, { UserData: probe(database) });
    await untilProbed(original, "yes");
    const { job_id: job } = await elastio("ec2", "backup", "--instance-id", text(original.InstanceId));
    const point = await until("the backup", async () => (await elastio("job", "output", "--job-id", job)).data?.rp_id);
    await elastio("ec2", "restore", "--rp", point);
    const copy = await until("the copy", async () => {
      const Filters = [
        { Name: "tag:elastio:restored-from-rp", Values: [point] },
        { Name: "instance-state-name", Values: ["running"] },
      ];
      const { Reservations = [] } = await environment.ec2.send(new ec2.DescribeInstancesCommand({ Filters }));
      return Reservations[0]?.Instances?.[0];
    });
    // It has the same groups and starts the same programs, so it does reach the database until it is fenced.
    await untilProbed(copy, "yes");
    const fence = { InstanceId: text(copy.InstanceId), Groups: [environment.fenceId] };
    await environment.ec2.send(new ec2.ModifyInstanceAttributeCommand(fence));
    await untilProbed(copy, "no");
    const before = probed(copy).length;
    await until("more tries", () => Promise.resolve(probed(copy).length > before + 10 || undefined));
    assert.deepEqual([...new Set(probed(copy).slice(before))], ["no"]);
    assert.equal(await reaches(text(original.InstanceId), database, 5432), true);
  });

  it("decide which instance reaches which port of another", async () => {
    const [inner, outer] = [await group("inner"), await group("outer")];
    await allow(inner, { FromPort: 9000, ToPort: 9001, UserIdGroupPairs: [{ GroupId: outer }] });
    const serving = await launch(environment, { SecurityGroupIds: [inner] });
    const [visitor, stranger] = await Promise.all([
      launch(environment, { SecurityGroupIds: [outer] }),
      launch(environment, { SecurityGroupIds: [environment.groupId] }),
    ]);
    const [id, name] = [text(serving.InstanceId), text(serving.PrivateDnsName)];
    const program = `const answer = (socket) => socket.end("hello"); for (const port of [9000, 9002]) require("net").createServer(answer).listen(port)`;
    await runCommand(environment, id, [`setsid node -e '${program}' < /dev/null > /dev/null 2>&1 &`]);
    await untilReaches(text(visitor.InstanceId), name, 9000, true);
    assert.equal(await reaches(text(visitor.InstanceId), name, 9002), false);
    assert.equal(await reaches(text(stranger.InstanceId), name, 9000), false);
    assert.equal(await connects(emulator.cloud.network.hosts()[name] ?? "", 9002), false);
    const answered = await runCommand(environment, text(visitor.InstanceId), [
      `exec 3<>/dev/tcp/${name}/9000; cat <&3`,
    ]);
    assert.equal(answered.StandardOutputContent, "hello");
  });

  it("give a build a gate only where they keep a database from it", async () => {
    const { firewall } = emulator.cloud.stores.ec2.runtime?.fleet ?? assert.fail();
    assert.equal(firewall.forBuild([environment.groupId], [environment.subnetId]), undefined);
    const stranger = await group("stranger");
    const network = firewall.forBuild([stranger], [environment.subnetId]) ?? assert.fail();
    const directory = fs.mkdtempSync(path.join(emulator.cloud.directory, "build-"));
    const hosts = emulator.cloud.network.hosts();
    const machine = await bootMachine({ hostname: "build", directory, hosts, network, environment: {} });
    const tries = [`${database}/5432`, new URL(emulator.endpoint).host.replace(":", "/")];
    const script = tries.map((place) => `(exec 3<>/dev/tcp/${place}) 2>/dev/null; echo $?`).join("\n");
    const [, output] = await collectText(machine.run({ command: ["/bin/bash", "-c", script] }), 1_000, 1_000);
    await machine.stop();
    assert.equal(output, "1\n0\n");
  });

  it("keep one instance's loopback from another's", async () => {
    const [one, other] = await Promise.all([launch(environment), launch(environment)]);
    const program = `require("net").createServer((socket) => socket.end()).listen(7777, "127.0.0.1")`;
    await runCommand(environment, text(one.InstanceId), [`setsid node -e '${program}' < /dev/null > /dev/null 2>&1 &`]);
    await untilReaches(text(one.InstanceId), "127.0.0.1", 7777, true);
    assert.equal(await reaches(text(other.InstanceId), "127.0.0.1", 7777), false);
    assert.equal(await connects("127.0.0.1", 7777), false);
  });
});
