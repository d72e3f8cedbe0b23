/** The jobs' own calls on instances, under the very policies that the components give their roles. */
import assert from "node:assert/strict";
import { CreateRoleCommand, IAMClient, PutRolePolicyCommand } from "@aws-sdk/client-iam";
import {
  type JobScope,
  type Statement,
  guardStatements,
  policy,
  protectStatements,
  rescueStatements,
  trustPolicy,
  waitStatements,
} from "../../components/policies";
import { type Clients, createClients } from "../../jobs/clients";
import { AwsEngine } from "../../jobs/engines/aws";
import { ElastioEngine } from "../../jobs/engines/elastio";
import type { BackupEngine, Machine } from "../../jobs/engines/engine";
import { cancelCommands } from "../../jobs/instance/commands";
import { checkAlike, exchangeVolumes, rehearseExchange } from "../../jobs/instance/exchange";
import { fingerprintFiles } from "../../jobs/instance/files";
import { machineOf } from "../../jobs/instance/machine";
import { deleteFreeVolume, keepAsEvidence } from "../../jobs/instance/volumes";
import { deadlineIn } from "../../jobs/time";
import type { Plan } from "../../run/plan";
import { client } from "../emulator/support";
import { EmulatedWorld, bucket } from "../jobs/engines/emulated";
import { instanceArn, planOf, site } from "./fixtures";

const roles = {
  protect: protectStatements,
  wait: waitStatements,
  guard: guardStatements,
  rescue: rescueStatements,
} as const;
type Role = keyof typeof roles;

const paths = ["/opt", "/srv/data"];
const pause = { seconds: 0.05 };
const soon = () => deadlineIn(60);

describe("the roles of the jobs", () => {
  let world: EmulatedWorld;
  let administrator: Record<string, string | undefined>;

  before(async () => {
    world = await EmulatedWorld.open();
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;
    administrator = { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN };
  });
  after(() => world.close());

  function scopeOf(engine: Plan["engine"], volumes: "all" | "root"): JobScope {
    const targets = planOf(engine).targets.map((target) =>
      target.kind === "instance"
        ? { ...target, volumes, arn: instanceArn.replace(/i-\w+$/, world.instanceId), instanceId: world.instanceId }
        : target,
    );
    const elastio = { abortOnFailure: true, isolationGroupId: world.environment.fenceId };
    const plan: Plan = { ...planOf(engine), targets, ...(engine === "elastio" && { elastio }) };
    return { site, plan, storeArn: `arn:aws:s3:::${bucket}`, volumeKeyArns: [] };
  }

  function become(credentials: Record<string, string | undefined>): void {
    for (const [name, value] of Object.entries(credentials)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }

  /** Does work as a job does it: its clients, and the programs that it starts, have the role's credentials. */
  async function as<T>(
    role: Role,
    scope: JobScope,
    work: (clients: Clients, engine: BackupEngine) => Promise<T>,
  ): Promise<T> {
    const statements: readonly Statement[] = roles[role](scope);
    const RoleName = `${role}-${scope.plan.engine}-${Math.random().toString(36).slice(2)}`;
    const iam = client(world.emulator, IAMClient);
    const service = "codebuild.amazonaws.com";
    const AssumeRolePolicyDocument = JSON.stringify(trustPolicy(service));
    const { Role: made } = await iam.send(new CreateRoleCommand({ RoleName, AssumeRolePolicyDocument }));
    const PolicyDocument = JSON.stringify(policy(...statements));
    await iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: "job", PolicyDocument }));
    const { cloud } = world.emulator;
    const given = cloud.issueCredentials(cloud.assumeRole(made?.Arn ?? "", "job", service), 3600);
    become({
      AWS_ACCESS_KEY_ID: given.accessKeyId,
      AWS_SECRET_ACCESS_KEY: given.secretAccessKey,
      AWS_SESSION_TOKEN: given.sessionToken,
    });
    try {
      const clients = createClients(site.region);
      const job = { ...world.job, clients };
      return await work(clients, scope.plan.engine === "aws" ? new AwsEngine(job) : new ElastioEngine(job));
    } finally {
      become(administrator);
    }
  }

  const tags = { "protected-pipeline:run": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "protected-pipeline:target": "web" };

  for (const [engine, volumes] of [
    ["aws", "all"],
    ["aws", "root"],
    ["elastio", "all"],
  ] as const) {
    const what = volumes === "all" ? "all volumes" : "the root alone";
    it(`let each job do its part, and no more, with the engine ${engine} and ${what}`, async () => {
      const scope = scopeOf(engine, volumes);
      const { instanceId } = world;
      const backup = await as("protect", scope, async (clients, vault) => {
        const machine = await machineOf(clients, { instanceId, volumes });
        await fingerprintFiles(clients, instanceId, paths, soon(), pause);
        return { machine, started: await vault.backupInstance(machine, tags) };
      });
      const { machine, started } = backup;
      const ready = await as("wait", scope, async (clients, vault) => {
        const recoveryPoint = await vault.finishInstanceBackup(started.job, machine, soon());
        const prepared = await vault.prepareVolumes(machine, recoveryPoint, tags, soon());
        await checkAlike(clients, prepared.length === 0 ? [] : machine.volumes, prepared);
        return { recoveryPoint, prepared };
      });
      await as("wait", scope, (clients) => refusesExchange(clients, machine));
      await as("guard", scope, async (clients, vault) => {
        await rehearseExchange(clients, instanceId, machine.volumes, ready.prepared);
        await vault.rehearse(machine, ready.recoveryPoint);
        await cancelCommands(clients, instanceId, new Date(), soon(), pause);
        const prepared = await vault.volumes(machine, ready.recoveryPoint, ready.prepared, soon());
        await checkAlike(clients, machine.volumes, prepared);
        const given = {
          clients,
          instanceId,
          protected: machine.volumes,
          prepared,
          tags,
          token: `${engine}-${volumes}`,
        };
        await exchangeVolumes({ ...given, deadline: soon(), pause, log: world.job.log });
        for (const { volumeId } of machine.volumes) await keepAsEvidence(clients, volumeId, tags, new Date());
        await vault.removeLeftovers(ready.recoveryPoint);
        await fingerprintFiles(clients, instanceId, paths, soon(), pause);
      });
      await as("rescue", scope, async (clients, vault) => {
        for (const { volumeId } of machine.volumes) assert.equal(await deleteFreeVolume(clients, volumeId), true);
        await vault.expire(ready.recoveryPoint);
      });
    });
  }

  async function refusesExchange(clients: Clients, { instanceId, volumes }: Machine): Promise<void> {
    await assert.rejects(rehearseExchange(clients, instanceId, volumes, []), /would not be possible/);
  }
});
