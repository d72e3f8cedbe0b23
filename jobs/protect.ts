/** `protect`: takes the lease, makes sure that everything can be brought back exactly, and makes recovery points. */
import type { Readable } from "node:stream";
import type { InstanceProtected } from "../run/facts";
import type { DatabaseTarget, InstanceTarget } from "../run/plan";
import { stateOf } from "../run/state";
import { protectCopy } from "./copies";
import { preflight } from "./database";
import { engineOf, tagsOf } from "./engines";
import type { BackupEngine, StartedBackup } from "./engines/engine";
import { triggerOf } from "./executions";
import { Failure, exitCodes } from "./failure";
import { fingerprintFiles } from "./instance/files";
import { whileFrozen } from "./instance/frozen";
import { describeInstance, obstacles } from "./instance/instances";
import { machineOf } from "./instance/machine";
import {
  type Job,
  type Toolkit,
  accessTo,
  databasesOf,
  executionOf,
  forEach,
  instancesOf,
  jobOf,
  requireRun,
  together,
} from "./job";
import { acquire, leasedArns } from "./lease";
import { limitsOf } from "./limits";
import { type Deadline, deadlineIn, now } from "./time";
import { isSpaceCode, spaceProblems } from "./space";
import { colourOf } from "./verdicts";
import { freeze } from "./writes";

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
      forEach(job, databasesOf(job.plan), (target) => checkDatabase(job, target)),
      forEach(job, instancesOf(job.plan), (target) => checkInstance(job, target)),
      spaceProblems(job, engineOf(job)),
    ])
  ).flat(2);
  if (stops.length === 0) return;
  for (const stop of stops) job.log(`stop: ${stop}`);
  throw new Failure(
    `${stops.length === 1 ? "one thing stands" : `${stops.length} things stand`} in the way of bringing ` +
      `${job.plan.environment} back exactly, so nothing is deployed: ${stops.join("; ")}`,
  );
}

async function checkDatabase(job: Job, target: DatabaseTarget): Promise<string[]> {
  const { accept, ...rest } = target;
  const findings = await preflight(accessTo(job, { ...rest, accept: accept.filter((code) => !isSpaceCode(code)) }));
  for (const { severity, object, message } of findings) {
    if (severity === "warn") job.log.for(target.id)(`note: ${object}: ${message}`);
  }
  return findings
    .filter(({ severity }) => severity === "stop")
    .map(({ object, message }) => `${target.id}: ${object}: ${message}`);
}

async function checkInstance(job: Job, target: InstanceTarget): Promise<string[]> {
  const instance = await describeInstance(job.clients, target.instanceId);
  if (target.volumes === "root" && instance.dataVolumes.length > 0) {
    const others = instance.dataVolumes.map(({ volumeId }) => volumeId).join(", ");
    job.log.for(target.id)(
      `note: ${others} of ${instance.instanceId} is not protected: its root alone is (volumes: "root")`,
    );
  }
  return obstacles(instance, target.volumes).map((text) => `${target.id}: ${text}`);
}

async function protectAll(job: Job, deadline: Deadline): Promise<void> {
  const engine = engineOf(job);
  const started: StartedBackup[] = [];
  try {
    // Instances first: their backups go on in the background while the databases are dumped.
    await forEach(job, [...instancesOf(job.plan), ...databasesOf(job.plan)], async (target) => {
      if (target.kind === "database") return protectOneDatabase(job, engine, target, deadline);
      const backup = await protectOneInstance(job, engine, target, deadline);
      if (backup !== undefined) started.push(backup);
    });
  } catch (error) {
    await Promise.allSettled(started.map((backup) => backup.abort()));
    throw error;
  }
}

async function protectOneInstance(
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
  const machine = await machineOf(clients, target);
  const pause = { seconds: plan.pollSeconds };
  const files = await fingerprintFiles(clients, target.instanceId, target.paths, deadline, pause);
  log(`fingerprint of ${files.count} files in ${target.paths.join(", ")}: ${files.hash}`);
  const { at, result: backup } = await whileFrozen(job, target, deadline, () =>
    engine.backupInstance(machine, tagsOf(job, target.id)),
  );
  const fact: InstanceProtected = {
    at: now(),
    kind: "instance",
    job: backup.job,
    volumes: [...machine.volumes],
    snapshotAt: at,
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
  await freeze(job, target, deadline);
  const started = Date.now();
  const options = {
    deadline: deadline.at,
    vault: (dump: Readable) => engine.storeStream(name, dump, tags),
    vaultCommand: engine.streamCommand(name, tags),
    limits: limitsOf(job.plan),
  };
  const fact = await protectCopy(job, target, options, deadline);
  if (fact.bytes === 0) throw new Failure(`the dump of ${target.database} is empty; nothing of it is a recovery point`);
  log(`${fact.bytes.toLocaleString("en")} bytes are in the vault as recovery point ${fact.recoveryPoint}`);
  await store.writeTarget(run, target.id, "protected", { ...fact, at: now(), milliseconds: Date.now() - started });
}

/** The same for every run, so that an engine that stores only what changed finds the one before. */
function streamName(job: Job, target: DatabaseTarget): string {
  return `${job.plan.environment}-${target.id}`.replaceAll(/[^\w-]+/g, "-");
}
