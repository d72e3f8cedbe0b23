/** Makes and proves the copies of databases, as each target's `stage` says. */
import type { DatabaseProtected, DatabaseStaged } from "../run/facts";
import type { DatabaseTarget } from "../run/plan";
import {
  type FreshlyStaged,
  type ProtectOptions,
  type ProtectedDatabase,
  checkDump,
  cloneDatabase,
  discardClone,
  findClone,
  protectClone,
  protectDatabase,
  proveClone,
  proveDatabase,
  stageDatabase,
} from "./database";
import type { BackupEngine } from "./engines/engine";
import { reasonOf } from "./failure";
import { type Job, accessTo } from "./job";
import { limitsOf } from "./limits";
import { duration } from "./log";
import { checkPace } from "./pace";
import { type Deadline, now } from "./time";

/** Puts a database into the vault, and with `clone` makes the copy that the dump is read from. */
export async function protectCopy(
  job: Job,
  target: DatabaseTarget,
  options: ProtectOptions,
  deadline: Deadline,
): Promise<ProtectedDatabase> {
  const access = accessTo(job, target);
  if (target.stage !== "clone") return protectDatabase(access, options);
  const clone = await cloneDatabase(access, { deadline: deadline.at });
  try {
    return await protectClone(access, clone, options);
  } catch (error) {
    await discardClone(access).catch((reason: unknown) => access.log(`the clone is left behind: ${reasonOf(reason)}`));
    throw error;
  }
}

/** Stages and proves a protected database, from the vault and never from a copy at hand. */
export async function proveCopy(
  job: Job,
  engine: BackupEngine,
  target: DatabaseTarget,
  made: DatabaseProtected,
  deadline: Deadline,
): Promise<void> {
  const log = job.log.for(target.id);
  await checkPace(job, target, made, deadline);
  const dump = () => engine.openStream(made.recoveryPoint);
  const given = { deadline: deadline.at, protected: made, dump, limits: limitsOf(job.plan) };
  if (target.stage === "on-failure") return proveDump(job, target, made, given);

  const access = accessTo(job, target);
  const staged = await staging(job, target, () =>
    target.stage === "clone" ? findClone(access) : stageDatabase(access, given),
  );
  const started = Date.now();
  const proof = await (target.stage === "clone"
    ? proveClone(access, { ...given, staged })
    : proveDatabase(access, { ...given, staged }));
  const milliseconds = Date.now() - started;
  log(`${staged.database} equals what was protected: ${proof.compared} (compared in ${duration(milliseconds)})`);
  await job.store.writeTarget(job.run, target.id, "proven", { at: now(), kind: "database", ...proof, milliseconds });
}

/** Does the work, unless an earlier attempt has done it. */
async function staging(job: Job, target: DatabaseTarget, work: () => Promise<FreshlyStaged>): Promise<FreshlyStaged> {
  const standing = await job.store.target(job.run, target.id, "staged");
  if (standing?.kind === "database") return standing;
  const started = Date.now();
  const fresh = await work();
  const { database, oid } = fresh;
  const milliseconds = Date.now() - started;
  job.log.for(target.id)(`staged as ${database} in ${duration(milliseconds)}`);
  const fact: DatabaseStaged = { at: now(), kind: "database", database, oid, milliseconds };
  await job.store.writeTarget(job.run, target.id, "staged", fact);
  return fresh;
}

/** Nothing is restored before the deploy, but it is known that all of the dump is there to be restored. */
async function proveDump(
  job: Job,
  target: DatabaseTarget,
  made: DatabaseProtected,
  given: Parameters<typeof checkDump>[1],
): Promise<void> {
  const { recoveryPoint, bytes } = made;
  const started = Date.now();
  await checkDump(accessTo(job, target), given);
  const milliseconds = Date.now() - started;
  const compared = `${bytes.toLocaleString("en")} bytes, sha256 equal`;
  job.log.for(target.id)(`recovery point ${recoveryPoint} is whole: ${compared} (${duration(milliseconds)})`);
  const staged = { at: now(), kind: "recovery-point" as const, recoveryPoint, milliseconds };
  await job.store.writeTarget(job.run, target.id, "staged", staged);
  await job.store.writeTarget(job.run, target.id, "proven", { at: now(), kind: "database", compared, milliseconds });
}
