/** `wait`: waits for what runs in the background, and proves that what was stored can be brought back. */
import type { DatabaseProtected, DatabaseStaged, InstanceProtected } from "../run/facts";
import type { DatabaseTarget, InstanceTarget, Target } from "../run/plan";
import { stateOf } from "../run/state";
import { proveDatabase, stageDatabase } from "./database";
import { engineOf, tagsOf } from "./engines";
import type { BackupEngine } from "./engines/engine";
import { Failure, exitCodes } from "./failure";
import { describeInstance } from "./instance/instances";
import { type Job, type Toolkit, accessTo, jobOf, requireRun, together } from "./job";
import { duration } from "./log";
import { type Deadline, deadlineIn, now } from "./time";
import { colourOf } from "./verdicts";

export async function wait(toolkit: Toolkit, environment: NodeJS.ProcessEnv): Promise<number> {
  const run = requireRun(environment);
  const facts = await toolkit.store.load(run);
  if (facts.opened === undefined) throw new Failure(`run ${run} was never opened; its Protect job comes first`);
  if (facts.verdict !== undefined) return colourOf(toolkit.log, facts.verdict);
  const { state, meaning } = stateOf(facts);
  if (state === "protecting") throw new Failure(`run ${run} is not protected yet (${meaning}); Protect comes first`);
  const job = jobOf(toolkit, run, facts.opened);
  if (state === "staging") {
    const deadline = deadlineIn(job.plan.deadlines.waitSeconds);
    const engine = engineOf(job);
    await together(job.plan.targets.map((target) => prove(job, engine, target, deadline)));
  }
  job.log(`the protection of ${job.plan.environment} is proven`);
  return exitCodes.done;
}

async function prove(job: Job, engine: BackupEngine, target: Target, deadline: Deadline): Promise<void> {
  const { protected: made, proven } = (await job.store.load(job.run)).targets[target.id] ?? {};
  if (proven !== undefined) return;
  if (made?.kind === "database" && target.kind === "database")
    return proveOneDatabase(job, engine, target, made, deadline);
  if (made?.kind === "instance" && target.kind === "instance")
    return proveInstance(job, engine, target, made, deadline);
  throw new Failure(`the protection of ${target.id} is missing or of another kind than its target`);
}

async function proveOneDatabase(
  job: Job,
  engine: BackupEngine,
  target: DatabaseTarget,
  made: DatabaseProtected,
  deadline: Deadline,
): Promise<void> {
  const access = accessTo(job, target);
  const log = job.log.for(target.id);
  const staged = await stage(job, engine, target, made, deadline);
  const started = Date.now();
  const proof = await proveDatabase(access, { deadline: deadline.at, protected: made, staged });
  log(
    `${staged.database} equals what was protected: ${proof.compared} (compared in ${duration(Date.now() - started)})`,
  );
  await job.store.writeTarget(job.run, target.id, "proven", { at: now(), kind: "database", ...proof });
}

/** Restores from the vault, not from a copy at hand: only what comes out of the vault is known to be in it. */
async function stage(
  job: Job,
  engine: BackupEngine,
  target: DatabaseTarget,
  made: DatabaseProtected,
  deadline: Deadline,
): Promise<DatabaseStaged> {
  const standing = await job.store.target(job.run, target.id, "staged");
  if (standing?.kind === "database") return standing;
  const started = Date.now();
  const staged = await stageDatabase(accessTo(job, target), {
    deadline: deadline.at,
    protected: made,
    dump: () => engine.openStream(made.recoveryPoint),
  });
  job.log.for(target.id)(`staged as ${staged.database} in ${duration(Date.now() - started)}`);
  const fact: DatabaseStaged = { at: now(), kind: "database", ...staged };
  await job.store.writeTarget(job.run, target.id, "staged", fact);
  return fact;
}

async function proveInstance(
  job: Job,
  engine: BackupEngine,
  target: InstanceTarget,
  made: InstanceProtected,
  deadline: Deadline,
): Promise<void> {
  const { run, store } = job;
  const recoveryPoint = made.recoveryPoint ?? (await finishBackup(engine, target, made, deadline));
  const instance = await describeInstance(job.clients, target.instanceId);
  const volumeId = await engine.prepareRootVolume(instance, recoveryPoint, tagsOf(job, target.id), deadline);
  if (volumeId !== undefined) job.log.for(target.id)(`root volume ${volumeId} is ready, should it be needed`);
  await store.writeTarget(run, target.id, "staged", {
    at: now(),
    kind: "instance",
    recoveryPoint,
    ...(volumeId === undefined ? {} : { volumeId }),
  });
  const compared = `recovery point ${recoveryPoint}${volumeId === undefined ? "" : `, volume ${volumeId}`}`;
  await store.writeTarget(run, target.id, "proven", { at: now(), kind: "instance", compared });
}

async function finishBackup(
  engine: BackupEngine,
  target: InstanceTarget,
  made: InstanceProtected,
  deadline: Deadline,
): Promise<string> {
  if (made.job === undefined)
    throw new Failure(`the protection of ${target.id} names neither a job nor a recovery point`);
  return engine.finishInstanceBackup(made.job, deadline);
}
