/** The instances' part of a healing. */
import type { InstanceCutOver, InstanceProtected, InstanceStaged, PreparedVolume } from "../../run/facts";
import type { InstanceTarget } from "../../run/plan";
import { tagsOf } from "../engines";
import { token } from "../engines/aws";
import { runTag, targetTag } from "../engines/tags";
import { Failure, reasonOf } from "../failure";
import { checkAlike, exchangeVolumes } from "../instance/exchange";
import { fingerprintFiles } from "../instance/files";
import { keepAsEvidence } from "../instance/volumes";
import { machineOf } from "../instance/machine";
import { instancesOf } from "../job";
import { duration } from "../log";
import { now } from "../time";
import { type Healing, pauseOf, told } from "./healing";

/** An instance whose healing can begin: what goes into the place of its volumes is there. */
export interface ReadyInstance {
  readonly target: InstanceTarget;
  readonly made: InstanceProtected;
  /** Undefined: it is left alone, because nothing has changed. */
  readonly prepared: readonly PreparedVolume[] | undefined;
}

export function openInstances({ context, facts }: Healing): InstanceTarget[] {
  return instancesOf(context.job.plan).filter(({ id }) => facts.targets[id]?.cutOver === undefined);
}

/**
 * Begins to make what takes an instance longest, beside the rest of the fence. Not before the databases are closed: a
 * restored copy boots with the application in it. And not where the instance may turn out to be as it was.
 */
export function beginVolumes(healing: Healing): void {
  if (healing.context.job.plan.healing === "when-changed") return;
  for (const target of openInstances(healing)) {
    const making = makeVolumes(healing, target);
    // Whoever needs them hears of the failure.
    making.catch(() => undefined);
    healing.volumes.set(target.id, making);
  }
}

async function makeVolumes(healing: Healing, target: InstanceTarget): Promise<readonly PreparedVolume[]> {
  const { job, engine } = healing.context;
  const { made, staged } = protectionOf(healing, target);
  const machine = await machineOf(job.clients, target, made.volumes);
  return engine.volumes(machine, staged.recoveryPoint, staged.volumes, healing.deadline);
}

function protectionOf({ facts }: Healing, { id }: InstanceTarget): { made: InstanceProtected; staged: InstanceStaged } {
  const { protected: made, staged } = facts.targets[id] ?? {};
  if (made?.kind === "instance" && staged?.kind === "instance") return { made, staged };
  throw new Failure(`the protection of instance ${id} is not complete`);
}

/** Makes everything that the exchange needs. Nothing that cannot be taken back is done here. */
export async function readyInstance(healing: Healing, target: InstanceTarget): Promise<ReadyInstance> {
  const { job } = healing.context;
  const { made } = protectionOf(healing, target);
  if (job.plan.healing === "when-changed" && (await isUnchanged(healing, target, made))) {
    job.log.for(target.id)(`its files are as they were; ${target.instanceId} is left alone`);
    return { target, made, prepared: undefined };
  }
  const prepared = await (healing.volumes.get(target.id) ?? makeVolumes(healing, target));
  await checkAlike(job.clients, made.volumes, prepared);
  return { target, made, prepared };
}

/** How long an instance is asked for its files, in seconds. One that does not answer counts as changed. */
const filesSeconds = 120;

async function isUnchanged(healing: Healing, target: InstanceTarget, made: InstanceProtected): Promise<boolean> {
  const { context, deadline } = healing;
  const { clients, log } = context.job;
  // A fingerprint of nothing proves nothing.
  if (target.paths.length === 0) return false;
  try {
    const within = deadline.within(filesSeconds);
    const files = await fingerprintFiles(clients, target.instanceId, target.paths, within, pauseOf(healing));
    return files.hash === made.files;
  } catch (error) {
    log.for(target.id)(`its files cannot be compared, so it counts as changed: ${reasonOf(error)}`);
    return false;
  }
}

/** Puts the prepared volumes in place. */
export async function healInstance(healing: Healing, { target, made, prepared }: ReadyInstance): Promise<void> {
  const { context, deadline } = healing;
  const { job } = context;
  const log = job.log.for(target.id);
  const started = Date.now();
  const volumes =
    prepared === undefined
      ? []
      : await exchangeVolumes({
          clients: job.clients,
          instanceId: target.instanceId,
          protected: made.volumes,
          prepared,
          tags: { [runTag]: job.run, [targetTag]: target.id },
          token: token(job.run, target.id).slice(0, 48),
          deadline,
          pause: pauseOf(healing),
          log,
        });
  const milliseconds = Date.now() - started;
  for (const { device, volumeId } of volumes) log(`${device} is ${volumeId} now (${duration(milliseconds)})`);
  const fact: InstanceCutOver = {
    at: now(),
    kind: "instance",
    volumes: [...volumes],
    skipped: prepared === undefined,
    milliseconds,
  };
  await job.store.writeTarget(job.run, target.id, "cut-over", fact);
}

/** Fails unless the files are those that were protected. */
export async function confirmInstance(healing: Healing, target: InstanceTarget): Promise<void> {
  const { context, deadline } = healing;
  const { clients } = context.job;
  const { made } = protectionOf(healing, target);
  const { hash } = await fingerprintFiles(clients, target.instanceId, target.paths, deadline, pauseOf(healing));
  if (hash === made.files) return;
  throw new Failure(
    `the files in ${target.paths.join(", ")} on ${target.instanceId} are not those that were protected ` +
      `(${hash} instead of ${made.files})`,
  );
}

/** Marks the evidence and removes what only the healing needed. */
export async function putAway(healing: Healing, target: InstanceTarget): Promise<void> {
  const { context, facts } = healing;
  const { job, engine } = context;
  const keepUntil = new Date(Date.now() + job.plan.retentionDays * 24 * 3600 * 1000);
  const { cutOver: done, staged } = facts.targets[target.id] ?? {};
  for (const { evidence } of done?.kind === "instance" ? done.volumes : []) {
    await told(healing, `the mark on ${evidence}`, () =>
      keepAsEvidence(job.clients, evidence, tagsOf(job, target.id), keepUntil),
    );
  }
  if (staged?.kind !== "instance") return;
  await told(healing, `the removal of what is left of ${staged.recoveryPoint}`, () =>
    engine.removeLeftovers(staged.recoveryPoint),
  );
  // Prepared for an instance that was left alone after all.
  if (done?.kind === "instance" && done.skipped) {
    await told(healing, "the removal of the prepared volumes", () => engine.discard(staged.volumes));
  }
}
