/** `guard`: stands beside the deploy, tells whether it is healthy, and brings everything back when it is not. */
import type { Ticket } from "../../run/facts";
import { type RunFacts, stateOf } from "../../run/state";
import { Context } from "../context";
import { Failure, reasonOf } from "../failure";
import { type Reasons, close, decide, finish } from "../finish";
import { type Toolkit, jobOf, requireRun } from "../job";
import { deadlineAt, deadlineIn } from "../time";
import { colourOf } from "../verdicts";
import { followDeploy, waitForAdmission } from "./follow";
import { prepare, signTicket } from "./prepare";

export async function guard(toolkit: Toolkit, environment: NodeJS.ProcessEnv): Promise<number> {
  const run = requireRun(environment);
  const facts = await toolkit.store.load(run);
  if (facts.verdict !== undefined) return colourOf(toolkit.log, facts.verdict);
  if (facts.opened === undefined) throw new Failure(`run ${run} was never opened; its Protect job comes first`);
  const context = new Context(jobOf(toolkit, run, facts.opened));
  try {
    return colourOf(toolkit.log, await finish(context, await watchOver(context, facts)));
  } finally {
    await context.close();
  }
}

/** @returns why the run ends as it does, should nobody have decided yet */
async function watchOver(context: Context, facts: RunFacts): Promise<Reasons> {
  const { state, meaning } = stateOf(facts);
  const signer = facts.ticket?.build;
  const reasons = {
    notDeployed: `the protection was not ready for a deploy: ${meaning}`,
    lost: `the Guard ${signer ?? "that watched"} was lost before it could say how the deploy went`,
  };
  // A Guard that comes second, by a retry, has not seen the deploy, and so cannot say that it is healthy.
  if (state !== "proven") return reasons;
  const refusal = await signed(context, facts);
  if (refusal !== undefined) return { ...reasons, notDeployed: refusal };
  const ticket = await context.job.store.run(context.job.run, "ticket");
  if (ticket === undefined) throw new Failure("the ticket that was just signed is gone");
  return { ...reasons, ...(await watchDeploy(context, ticket)) };
}

/** @returns why there is no ticket; undefined when there is one */
async function signed(context: Context, facts: RunFacts): Promise<string | undefined> {
  try {
    await prepare(context, facts, deadlineIn(context.job.plan.deadlines.admitSeconds));
    await signTicket(context);
    return undefined;
  } catch (error) {
    return `refused before the deploy: ${reasonOf(error)}`;
  }
}

async function watchDeploy(context: Context, ticket: Ticket): Promise<Partial<Reasons>> {
  const { job } = context;
  const admitted = await waitForAdmission(context, deadlineAt(new Date(ticket.deadline)));
  if ("reason" in admitted) {
    // Somebody may be admitted at this very moment: then closing fails, and the deploy counts as unwatched.
    await close(context);
    return { notDeployed: admitted.reason, lost: `${admitted.reason}; then one was admitted after all` };
  }
  if (admitted.closed === true) return { notDeployed: `the admission was closed by ${admitted.build}` };
  job.log(`build ${admitted.build} deploys; watching it`);
  const { decision, reason, detectedAt } = await followDeploy(context, admitted, new Date(ticket.at));
  await decide(context, decision, reason, new Date(detectedAt));
  return {};
}
