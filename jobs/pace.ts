/** Whether a deadline will hold, from the figures of the last run that came that far. */
import type { DatabaseProtected } from "../run/facts";
import type { DatabaseTarget } from "../run/plan";
import { deadlineProblem } from "./database";
import { Failure } from "./failure";
import type { Job } from "./job";
import { earlierRuns } from "./lease";
import type { Deadline } from "./time";

/**
 * Fails when restoring would take longer than there is time: before the deploy for what is staged then, in a healing
 * for what is restored on failure. Without an earlier run nothing is known, and the deadline itself is the answer.
 */
export async function checkPace(
  job: Job,
  target: DatabaseTarget,
  made: Pick<DatabaseProtected, "bytes">,
  deadline: Deadline,
): Promise<void> {
  const late = target.stage === "on-failure";
  const seconds = late ? job.plan.deadlines.healSeconds : Math.floor(deadline.left() / 1000);
  const what = `restoring ${target.database} and comparing it`;
  const problem = deadlineProblem(what, seconds, await lastTime(job, target), made.bytes);
  if (problem !== undefined) throw new Failure(`${target.id}: ${problem}; nothing is deployed`);
}

/** What restoring and comparing took the last time, and of how many bytes. */
async function lastTime(job: Job, target: DatabaseTarget) {
  for (const run of await earlierRuns(job, target.arn)) {
    const [made, staged, proven, restored] = await Promise.all([
      job.store.target(run, target.id, "protected"),
      job.store.target(run, target.id, "staged"),
      job.store.target(run, target.id, "proven"),
      job.store.target(run, target.id, "restored"),
    ]);
    if (made?.kind !== "database") continue;
    if (restored !== undefined) return { milliseconds: restored.milliseconds, bytes: made.bytes };
    if (staged?.kind !== "database" || proven?.milliseconds === undefined) continue;
    return { milliseconds: staged.milliseconds + proven.milliseconds, bytes: made.bytes };
  }
  return undefined;
}
