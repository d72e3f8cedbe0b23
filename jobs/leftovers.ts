/**
 * What a run has made and nobody needs any more. What a healing would have needed goes with the verdict; evidence and
 * recovery points go when their retention has passed. Everything is removed by what identifies it, never by its name
 * alone: databases by OID, volumes only when they are free, and what this product has not made is never touched.
 */
import type { RunId } from "../run/ids";
import type { DatabaseTarget, Plan } from "../run/plan";
import type { RunFacts } from "../run/state";
import type { Context } from "./context";
import { type AdminSession, dropUnfinished, existingDatabases, openAdmin, temporaryDatabases } from "./database";
import { reasonOf } from "./failure";
import { deleteFreeVolume } from "./instance/volumes";
import { type Job, type Toolkit, accessTo, databasesOf, forEach, instancesOf } from "./job";
import { serversOf } from "./servers";
import type { EndedRun } from "./store/facts";
import { deadlineIn, now } from "./time";
import { thawAll } from "./writes";

const removalSeconds = 120;

/** Removes what was made for a healing that is not needed. What cannot be removed is told, and tried again later. */
export async function discard(context: Context, facts: RunFacts): Promise<void> {
  const { job } = context;
  await attempts(job, [...discardVolumes(context, facts), ...discardDatabases(job, facts)]);
}

/** The ended runs whose retention has passed, by the plan of now. */
export function expiredRuns({ retentionDays }: Plan, ended: readonly EndedRun[], at: Date): RunId[] {
  return ended.filter((each) => isExpired(each.at, retentionDays, at)).map(({ run }) => run);
}

function isExpired(ended: Date, retentionDays: number, at: Date): boolean {
  return at.getTime() >= ended.getTime() + retentionDays * 24 * 3600 * 1000;
}

/** The ended runs of which temporary databases are still on a server of the plan. */
export async function abandonedRuns(toolkit: Toolkit, ended: readonly EndedRun[]): Promise<RunId[]> {
  const [first] = ended;
  if (first === undefined) return [];
  const runs = new Map<string, RunId>();
  for (const { database } of databasesOf(toolkit.plan)) {
    for (const { run } of ended) for (const name of temporaryDatabases(database, run)) runs.set(name, run);
  }
  const found = await forEach(toolkit, serversOf(databasesOf(toolkit.plan)), async ([target]) => {
    if (target === undefined) return [];
    try {
      return await existingDatabases(accessTo({ ...toolkit, run: first.run }, target), [...runs.keys()]);
    } catch (error) {
      toolkit.log(`leftovers on ${target.host} were not looked for: ${reasonOf(error)}`);
      return [];
    }
  });
  return found.flat().flatMap((name) => runs.get(name) ?? []);
}

/** What becomes of the things that an ended run has made. */
type Keeping = "all" | "evidence" | "nothing";

function keepingOf({ opened, verdict, resolution }: RunFacts, at: Date): Keeping {
  const ended = resolution ?? verdict;
  // What a healing that failed has left may be all there is: somebody has to look first.
  if (opened === undefined || ended === undefined) return "all";
  if (verdict?.verdict === "heal-failed" && resolution === undefined) return "all";
  if (isExpired(new Date(ended.at), opened.plan.retentionDays, at)) return "nothing";
  return verdict?.verdict === "would-heal" ? "all" : "evidence";
}

/**
 * Removes what an ended run has left and nobody is to keep. When nothing is left it is said by the fact `cleared`; what
 * cannot be removed keeps the run uncleared, so that the next look tries again.
 */
export async function tidyRun(context: Context, facts: RunFacts): Promise<void> {
  const { job } = context;
  const keeping = keepingOf(facts, new Date());
  if (keeping === "all") return;
  await thawAll(job, facts, deadlineIn(removalSeconds));
  const temporary = [...discardVolumes(context, facts), ...discardDatabases(job, facts)];
  if (keeping === "evidence") {
    await attempts(job, temporary);
    return;
  }
  const { removed, failed } = await attempts(job, [...temporary, ...removeEvidence(context, facts)]);
  if (failed > 0) return;
  await job.store.writeRun(job.run, "cleared", { at: now(), by: job.build, removed });
  job.log(`nothing is left of run ${job.run}${removed.length === 0 ? "" : `; removed ${removed.join(", ")}`}`);
}

/** One thing to remove. */
interface Removal {
  readonly what: string;
  /** @returns what was removed, one line each */
  readonly work: () => Promise<string[]>;
}

async function attempts(job: Job, removals: readonly Removal[]): Promise<{ removed: string[]; failed: number }> {
  let failed = 0;
  const removed = await forEach(job, removals, async ({ what, work }) => {
    try {
      return await work();
    } catch (error) {
      failed++;
      job.log(`${what} is left behind: ${reasonOf(error)}`);
      return [];
    }
  });
  return { removed: removed.flat(), failed };
}

function discardVolumes({ job, engine }: Context, facts: RunFacts): Removal[] {
  return instancesOf(job.plan).flatMap(({ id }) => {
    const staged = facts.targets[id]?.staged;
    if (staged?.kind !== "instance" || staged.volumes.length === 0) return [];
    const names = staged.volumes.map(({ volumeId }) => volumeId).join(", ");
    const work = async (): Promise<string[]> => {
      await engine.discard(staged.volumes);
      return [];
    };
    return [{ what: `volume ${names}`, work }];
  });
}

function discardDatabases(job: Job, facts: RunFacts): Removal[] {
  return serversOf(databasesOf(job.plan)).map((targets) => ({
    what: `what was staged on ${targets[0]?.host ?? "?"}`,
    work: () => removeDatabases(job, facts, targets),
  }));
}

async function removeDatabases(job: Job, facts: RunFacts, targets: readonly DatabaseTarget[]): Promise<string[]> {
  await withAdmin(job, targets, async (session) => {
    for (const { id } of targets) {
      const { staged, restored, cutOver } = facts.targets[id] ?? {};
      if (cutOver !== undefined) continue;
      for (const standby of [staged, restored]) {
        if (standby !== undefined && "oid" in standby) await session.discardStaged(standby, atMost());
      }
    }
  });
  for (const target of targets) await dropUnfinished(accessTo(job, target));
  return [];
}

/** The failed databases and volumes, and the instances' recovery points. Dumps expire with the store's own rule. */
function removeEvidence({ job, engine }: Context, facts: RunFacts): Removal[] {
  const databases = serversOf(databasesOf(job.plan)).map((targets) => ({
    what: `the failed databases on ${targets[0]?.host ?? "?"}`,
    work: () => removeFailedDatabases(job, facts, targets),
  }));
  const instances = instancesOf(job.plan).flatMap(({ id }): Removal[] => {
    const { staged, cutOver } = facts.targets[id] ?? {};
    const volumes = cutOver?.kind === "instance" ? cutOver.volumes : [];
    const failed = volumes.map(({ evidence }) => ({
      what: `the failed volume ${evidence}`,
      work: async () => ((await deleteFreeVolume(job.clients, evidence)) ? [`volume ${evidence}`] : []),
    }));
    if (staged?.kind !== "instance") return failed;
    return [...failed, { what: staged.recoveryPoint, work: () => engine.expire(staged.recoveryPoint) }];
  });
  return [...databases, ...instances];
}

async function removeFailedDatabases(job: Job, facts: RunFacts, targets: readonly DatabaseTarget[]): Promise<string[]> {
  const failed = targets.flatMap(({ id }) => {
    const done = facts.targets[id]?.cutOver;
    return done?.kind === "database" ? [{ database: done.evidence, oid: done.failedOid }] : [];
  });
  if (failed.length === 0) return [];
  await withAdmin(job, targets, async (session) => {
    for (const each of failed) await session.discardStaged(each, atMost());
  });
  return failed.map(({ database }) => `database ${database}`);
}

async function withAdmin(
  job: Job,
  targets: readonly DatabaseTarget[],
  work: (session: AdminSession) => Promise<void>,
): Promise<void> {
  const session = await openAdmin(targets.map((target) => accessTo(job, target)));
  try {
    await work(session);
  } finally {
    await session.close();
  }
}

function atMost(): Date {
  return deadlineIn(removalSeconds).at;
}
