/** Work at a moment at which an instance's owner has brought its data to rest. */
import type { InstanceTarget } from "../../run/plan";
import { Failure, reasonOf } from "../failure";
import type { Job } from "../job";
import { type Deadline, now } from "../time";
import { runOnInstance } from "./commands";
import { freezeCommand, thawCommand } from "./freeze";

/**
 * Freezes the instance, does the work and thaws it, whatever becomes of the work.
 *
 * @returns the work's result, and the time right before it
 * @throws Failure also when the instance had thawed by itself before the work was done: what was made is of no use then
 */
export async function whileFrozen<T>(
  job: Job,
  { freeze, instanceId, id }: InstanceTarget,
  deadline: Deadline,
  work: () => Promise<T>,
): Promise<{ at: string; result: T }> {
  if (freeze === undefined) return { at: now(), result: await work() };
  const log = job.log.for(id);
  const run = (command: string): Promise<string> =>
    runOnInstance(job.clients, instanceId, command, deadline, { seconds: Math.min(job.plan.pollSeconds, 1) });
  await run(freezeCommand(freeze, job.run));
  log(`${instanceId} is frozen`);
  const at = now();
  const [result, thaw] = await settle(work, () => run(thawCommand(freeze, job.run)));
  if (thaw.status === "rejected") {
    throw new Failure(
      `${instanceId} could not be thawed in time (${reasonOf(thaw.reason)}); it thaws by itself ` +
        `${freeze.thawSeconds} s after its freeze, and a backup of it may not be of the frozen state`,
    );
  }
  log(`${instanceId} is thawed`);
  if (result.status === "rejected") throw result.reason;
  return { at, result: result.value };
}

async function settle<A, B>(first: () => Promise<A>, then: () => Promise<B>) {
  const [a] = await Promise.allSettled([first()]);
  const [b] = await Promise.allSettled([then()]);
  return [a, b] as const;
}
