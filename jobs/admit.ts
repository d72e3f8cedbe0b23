/**
 * `admit`: the first command of every deploy. It lets one build of one run deploy, once, and only while a Guard is on
 * watch. It runs under the deploy's own role, which may read the ticket and create `admitted`, and nothing else.
 */
import type { Admitted, Ticket } from "../run/facts";
import type { RunId } from "../run/ids";
import { Failure, exitCodes } from "./failure";
import { type Toolkit, requireRun } from "./job";
import { deadlineIn, now, until } from "./time";

export async function admit(toolkit: Toolkit, environment: NodeJS.ProcessEnv): Promise<number> {
  const run = requireRun(environment);
  const { build, log, store } = toolkit;
  log(`waiting for the Guard's ticket of run ${run}`);
  const ticket = await waitForTicket(toolkit, run);
  if (Date.now() >= Date.parse(ticket.deadline)) {
    throw refused(`the Guard's ticket was good until ${ticket.deadline}, which has passed`);
  }
  const { fact } = await store.writeRun(run, "admitted", { at: now(), build });
  // The same build may ask twice: its first answer may have been lost.
  if (fact.build !== build || fact.closed === true) throw alreadyTaken(fact);
  log(`admitted: the protection is proven, and the Guard ${ticket.build} is on watch`);
  return exitCodes.done;
}

async function waitForTicket(toolkit: Toolkit, run: RunId): Promise<Ticket> {
  const { plan, store } = toolkit;
  const pause = { seconds: plan.pollSeconds, factor: 1.2, cap: Math.max(plan.pollSeconds, 5) };
  return until(`the Guard's ticket of run ${run}`, deadlineIn(plan.deadlines.admitSeconds), pause, async () => {
    const admitted = await store.run(run, "admitted");
    if (admitted !== undefined && admitted.build !== toolkit.build) throw alreadyTaken(admitted);
    return store.run(run, "ticket");
  });
}

function alreadyTaken(admitted: Admitted): Failure {
  if (admitted.closed === true) return refused("the Guard refused this deploy; its log says why");
  return refused(
    `build ${admitted.build} was admitted at ${admitted.at}, and a protection is good for one deploy. ` +
      "Start a new execution instead of a retry",
  );
}

function refused(reason: string): Failure {
  return new Failure(`not admitted: ${reason}`, exitCodes["not-deployed"]);
}
