/**
 * Takes a run from whatever state it is in to its verdict. One step per state, each writing the fact that leads to the
 * next; Guard and Rescue share it, so that it does not matter who does which step.
 */
import type { Decided, Verdict } from "../run/facts";
import { type RunFacts, type State, stateOf } from "../run/state";
import type { Context } from "./context";
import { Failure, reasonOf } from "./failure";
import { type Begun, type Healing, begin, byHand, claim, confirm, cutOver, fence } from "./heal";
import { discard } from "./leftovers";
import { leasedArns, release } from "./lease";
import { deadlineIn, now } from "./time";
import { thawAll } from "./writes";

/** Why a run ends as it does, as far as whoever finishes it knows. */
export interface Reasons {
  /** Nothing was deployed. */
  readonly notDeployed: string;
  /** Something was, and nobody watched it to its end. */
  readonly lost: string;
}

type Step = (context: Context, facts: RunFacts, reasons: Reasons) => Promise<void>;

/** States in which nothing is left to be done. */
const ends = ["resolved", "unhealed", "settled"] as const;
type End = (typeof ends)[number];

const steps: Readonly<Record<Exclude<State, End>, Step>> = {
  unopened: ({ job }) => Promise.reject(new Failure(`run ${job.run} was never opened`)),
  protecting: close,
  staging: close,
  proven: close,
  ticketed: close,
  closed: (context, _, { notDeployed }) => decide(context, "not-deployed", notDeployed),
  refused: async (context, facts) => {
    await thaw(context, facts);
    await discard(context, facts);
    await conclude(context, { verdict: "not-deployed", reason: reasonFrom(facts) });
  },
  deploying: (context, _, { lost }) => decide(context, "failed", lost),
  passed: async (context, facts) => {
    await thaw(context, facts);
    await discard(context, facts);
    await conclude(context, { verdict: "healthy", reason: reasonFrom(facts) });
  },
  failed: async (context, facts) => {
    if (context.job.plan.mode === "heal") return claim(context, facts);
    await thaw(context, facts);
    const reason = `${reasonFrom(facts)}; the pipeline only observes, so nothing was healed`;
    await conclude(context, { verdict: "would-heal", reason });
  },
  claimed: heal("fencing", fence),
  healing: heal("cutting over", cutOver),
  restored: heal("confirming", async (healing) => conclude(healing.context, await confirm(healing))),
};

/** More steps than any run takes. */
const mostSteps = 30;

/** @returns the verdict, this one's or an earlier one's */
export async function finish(context: Context, reasons: Reasons): Promise<Verdict> {
  const { store, run } = context.job;
  for (let step = 0; step < mostSteps; step++) {
    const facts = await store.load(run);
    const { state, meaning } = stateOf(facts);
    if (facts.verdict !== undefined) {
      await giveLeaseBack(context, facts.verdict);
      return facts.verdict;
    }
    if (isEnd(state)) throw new Failure(`run ${run} is left alone: ${meaning}`);
    await steps[state](context, facts, reasons);
  }
  throw new Failure(`run ${run} does not come to an end; look at its facts in the recovery store`);
}

function isEnd(state: State): state is End {
  return (ends as readonly State[]).includes(state);
}

/** Takes the deploy build's place, so that nothing can be deployed any more. */
export async function close({ job }: Context): Promise<void> {
  await job.store.writeRun(job.run, "admitted", { at: now(), build: job.build, closed: true });
}

export async function decide(
  { job }: Context,
  decision: Decided["decision"],
  reason: string,
  detectedAt: Date = new Date(),
): Promise<void> {
  job.log(`decided: ${decision}: ${reason}`);
  await job.store.writeRun(job.run, "decided", {
    at: now(),
    build: job.build,
    decision,
    reason,
    detectedAt: detectedAt.toISOString(),
  });
}

const thawSeconds = 300;

/** Before the verdict: after it nobody looks at the run any more. */
function thaw({ job }: Context, facts: RunFacts): Promise<void> {
  return thawAll(job, facts, deadlineIn(thawSeconds));
}

function reasonFrom(facts: RunFacts): string {
  return facts.decided?.reason ?? "no reason is known";
}

async function conclude(
  { job }: Context,
  verdict: Pick<Verdict, "verdict" | "reason"> & Partial<Verdict>,
): Promise<void> {
  await job.store.writeRun(job.run, "verdict", { at: now(), build: job.build, ...verdict });
}

/** One healer's whole work on one run. */
const healings = new WeakMap<Context, Begun>();

function healingOf(context: Context, facts: RunFacts): Healing {
  const begun = healings.get(context) ?? begin(context.job.plan.deadlines.healSeconds);
  healings.set(context, begun);
  return { context, facts, ...begun };
}

/** A step of a healing. When it fails, the run ends as heal-failed, and everything stays as it is. */
function heal(what: string, work: (healing: Healing) => Promise<void>): Step {
  return async (context, facts) => {
    await claim(context, facts);
    const healing = healingOf(context, facts);
    try {
      await work(healing);
    } catch (error) {
      // What is under way, a restored copy above all, is not left half-done.
      await Promise.allSettled(healing.volumes.values());
      const reason = `${reasonFrom(facts)}; the healing failed while ${what}: ${reasonOf(error)}`;
      for (const line of byHand({ context, facts: await context.job.store.load(context.job.run) }))
        context.job.log(line);
      await conclude(context, { verdict: "heal-failed", reason });
    }
  };
}

/** After a failed healing the lease stays: a backup of that environment would keep a broken state as the good one. */
async function giveLeaseBack({ job }: Context, { verdict }: Verdict): Promise<void> {
  if (verdict === "heal-failed") return;
  for (const arn of leasedArns(job)) {
    await release(job, arn).catch((error: unknown) =>
      job.log(`the lease of ${arn} is not given back; the next run takes it over by the verdict: ${reasonOf(error)}`),
    );
  }
}
