/** `wait`: waits for what runs in the background, and proves that what was stored can be brought back. */
import type { InstanceProtected } from "../run/facts";
import type { InstanceTarget, Target } from "../run/plan";
import { stateOf } from "../run/state";
import { proveCopy } from "./copies";
import { engineOf, tagsOf } from "./engines";
import type { BackupEngine } from "./engines/engine";
import { Failure, exitCodes } from "./failure";
import { checkAlike } from "./instance/exchange";
import { machineOf } from "./instance/machine";
import { type Job, type Toolkit, forEach, jobOf, requireRun } from "./job";
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
    await forEach(job, job.plan.targets, (target) => prove(job, engine, target, deadline));
  }
  job.log(`the protection of ${job.plan.environment} is proven`);
  return exitCodes.done;
}

async function prove(job: Job, engine: BackupEngine, target: Target, deadline: Deadline): Promise<void> {
  const { protected: made, proven } = (await job.store.load(job.run)).targets[target.id] ?? {};
  if (proven !== undefined) return;
  if (made?.kind === "database" && target.kind === "database") return proveCopy(job, engine, target, made, deadline);
  if (made?.kind === "instance" && target.kind === "instance")
    return proveInstance(job, engine, target, made, deadline);
  throw new Failure(`the protection of ${target.id} is missing or of another kind than its target`);
}

async function proveInstance(
  job: Job,
  engine: BackupEngine,
  target: InstanceTarget,
  made: InstanceProtected,
  deadline: Deadline,
): Promise<void> {
  const { run, store } = job;
  const machine = await machineOf(job.clients, target, made.volumes);
  const recoveryPoint = await engine.finishInstanceBackup(made.job, machine, deadline);
  const volumes = await engine.prepareVolumes(machine, recoveryPoint, tagsOf(job, target.id), deadline);
  const names = volumes.map(({ device, volumeId }) => `volume ${volumeId} for ${device}`);
  if (volumes.length > 0) {
    await checkAlike(job.clients, made.volumes, volumes);
    job.log.for(target.id)(`${names.join(", ")} is ready, should it be needed`);
  }
  await store.writeTarget(run, target.id, "staged", { at: now(), kind: "instance", recoveryPoint, volumes });
  const compared = [`recovery point ${recoveryPoint}`, ...names].join(", ");
  await store.writeTarget(run, target.id, "proven", { at: now(), kind: "instance", compared });
}
