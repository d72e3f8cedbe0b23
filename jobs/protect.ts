/** `protect`: takes the lease, makes sure that everything can be brought back exactly, and makes recovery points. */
import type { InstanceProtected } from "../run/facts";
import type { DatabaseTarget, InstanceTarget } from "../run/plan";
import { stateOf } from "../run/state";
import { preflight, protectDatabase } from "./database";
import { engineOf, tagsOf } from "./engines";
import type { BackupEngine, StartedBackup } from "./engines/engine";
import { triggerOf } from "./executions";
import { Failure, exitCodes } from "./failure";
import { fingerprintFiles } from "./instance/files";
import { type Instance, describeInstance, obstacles, rootOf } from "./instance/instances";
import {
  type Job,
  type Toolkit,
  accessTo,
  databasesOf,
  executionOf,
  instancesOf,
  jobOf,
  requireRun,
  together,
} from "./job";
import { acquire, leasedArns } from "./lease";
import { type Deadline, deadlineIn, now } from "./time";
import { colourOf } from "./verdicts";

export async function protect(toolkit: Toolkit, environment: NodeJS.ProcessEnv): Promise<number> {
  const run = requireRun(environment);
  const facts = await toolkit.store.load(run);
  if (facts.verdict !== undefined) return colourOf(toolkit.log, facts.verdict);
  const job: Job = facts.opened === undefined ? { ...toolkit, run } : jobOf(toolkit, run, facts.opened);
  stateOf(facts);
  await refuseFirstContact(job);

  const leaseDeadline = deadlineIn(job.plan.deadlines.leaseSeconds);
  for (const arn of leasedArns(job)) await acquire(job, arn, leaseDeadline);
  await job.store.writeRun(run, "opened", { at: now(), run, build: job.build, plan: job.plan });

  await checkAll(job);
  await protectAll(job, deadlineIn(job.plan.deadlines.protectSeconds));
  job.log(`everything of ${job.plan.environment} is protected, or being protected in the background`);
  return exitCodes.done;
}

/** Creating a pipeline starts an execution that nobody asked for. */
async function refuseFirstContact(job: Job): Promise<void> {
  if (job.plan.deployOnCreate) return;
  if ((await triggerOf(job.clients, executionOf(job))) !== "CreatePipeline") return;
  throw new Failure(
    "this execution was started by the creation of the pipeline, not by somebody who wants to deploy; it ends here, " +
      "and nothing was touched. Start one with `aws codepipeline start-pipeline-execution`, or set deployOnCreate",
    exitCodes["not-deployed"],
  );
}

/** Refuses, before anything is done, what could not be brought back exactly. */
async function checkAll(job: Job): Promise<void> {
  const stops = (
    await together([
      ...databasesOf(job.plan).map((target) => checkDatabase(job, target)),
      ...instancesOf(job.plan).map((target) => checkInstance(job, target)),
    ])
  ).flat();
  if (stops.length === 0) return;
  for (const stop of stops) job.log(`stop: ${stop}`);
  throw new Failure(
    `${stops.length === 1 ? "one thing stands" : `${stops.length} things stand`} in the way of bringing ` +
      `${job.plan.environment} back exactly, so nothing is deployed: ${stops.join("; ")}`,
  );
}

async function checkDatabase(job: Job, target: DatabaseTarget): Promise<string[]> {
  const findings = await preflight(accessTo(job, target));
  for (const { severity, object, message } of findings) {
    if (severity === "warn") job.log.for(target.id)(`note: ${object}: ${message}`);
  }
  return findings
    .filter(({ severity }) => severity === "stop")
    .map(({ object, message }) => `${target.id}: ${object}: ${message}`);
}

async function checkInstance(job: Job, target: InstanceTarget): Promise<string[]> {
  return obstacles(await describeInstance(job.clients, target.instanceId)).map((text) => `${target.id}: ${text}`);
}

async function protectAll(job: Job, deadline: Deadline): Promise<void> {
  const engine = engineOf(job);
  // Instances first: their backups go on in the background while the databases are dumped.
  const started = await together(instancesOf(job.plan).map((target) => startInstance(job, engine, target, deadline)));
  try {
    await together(databasesOf(job.plan).map((target) => protectOneDatabase(job, engine, target, deadline)));
  } catch (error) {
    await Promise.allSettled(started.flatMap((backup) => (backup === undefined ? [] : [backup.abort()])));
    throw error;
  }
}

async function startInstance(
  job: Job,
  engine: BackupEngine,
  target: InstanceTarget,
  deadline: Deadline,
): Promise<StartedBackup | undefined> {
  const { clients, plan, run, store } = job;
  const log = job.log.for(target.id);
  if ((await store.target(run, target.id, "protected")) !== undefined) {
    log("is protected already by an earlier attempt of this run");
    return undefined;
  }
  const instance: Instance = await describeInstance(clients, target.instanceId);
  const pause = { seconds: plan.pollSeconds };
  const files = await fingerprintFiles(clients, target.instanceId, target.paths, deadline, pause);
  log(`fingerprint of ${files.count} files in ${target.paths.join(", ")}: ${files.hash}`);
  const snapshotAt = now();
  const backup = await engine.backupInstance(instance, tagsOf(job, target.id));
  const fact: InstanceProtected = {
    at: now(),
    kind: "instance",
    job: backup.job,
    rootVolumeId: rootOf(instance).volumeId,
    snapshotAt,
    files: files.hash,
  };
  await store.writeTarget(run, target.id, "protected", fact);
  return backup;
}

async function protectOneDatabase(
  job: Job,
  engine: BackupEngine,
  target: DatabaseTarget,
  deadline: Deadline,
): Promise<void> {
  const { run, store } = job;
  const log = job.log.for(target.id);
  if ((await store.target(run, target.id, "protected")) !== undefined) {
    log("is protected already by an earlier attempt of this run");
    return;
  }
  const name = streamName(job, target);
  const tags = tagsOf(job, target.id);
  const fact = await protectDatabase(accessTo(job, target), {
    deadline: deadline.at,
    vault: (dump) => engine.storeStream(name, dump, tags),
    vaultCommand: engine.streamCommand(name, tags),
  });
  log(`${fact.bytes.toLocaleString("en")} bytes are in the vault as recovery point ${fact.recoveryPoint}`);
  await store.writeTarget(run, target.id, "protected", { ...fact, at: now() });
}

/** The same for every run, so that an engine that stores only what changed finds the one before. */
function streamName(job: Job, target: DatabaseTarget): string {
  return `${job.plan.environment}-${target.id}`.replaceAll(/[^\w-]+/g, "-");
}
