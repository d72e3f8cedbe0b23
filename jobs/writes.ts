/**
 * `writes: "freeze"`: the users of a database cannot write from its snapshot to the run's end, so that nothing of theirs
 * is lost by a healing. Only who ends the run allows writes again: a job that fails before may be tried again, and what
 * was written in between would be missing from its snapshot.
 */
import type { DatabaseTarget } from "../run/plan";
import type { RunFacts } from "../run/state";
import { freezeWrites, thawWrites } from "./database";
import { type Job, accessTo, databasesOf, forEach } from "./job";
import { type Deadline, now } from "./time";

export async function freeze(job: Job, target: DatabaseTarget, deadline: Deadline): Promise<void> {
  if (job.plan.writes !== "freeze") return;
  await job.store.writeTarget(job.run, target.id, "frozen", { at: now() });
  await freezeWrites(accessTo(job, target), { deadline: deadline.at });
}

/** Allows writes again wherever the run may have refused them. A database that was healed never refused any. */
export async function thawAll(job: Job, facts: RunFacts, deadline: Deadline): Promise<void> {
  const frozen = databasesOf(job.plan).filter(({ id }) => facts.targets[id]?.frozen !== undefined);
  await forEach(job, frozen, async (target) => {
    const made = facts.targets[target.id]?.protected;
    const oid = made?.kind === "database" ? made.oid : undefined;
    await thawWrites(accessTo(job, target), { oid, deadline: deadline.at });
  });
}
