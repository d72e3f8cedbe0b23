/** `rescue`: finishes the runs that nobody finishes any more. Started by events, and by a schedule. */
import type { RunId } from "../run/ids";
import type { RunFacts } from "../run/state";
import { Context } from "./context";
import { actionsOf, isExecutionOver, runningBuilds } from "./executions";
import { exitCodes, reasonOf } from "./failure";
import { finish } from "./finish";
import { type Job, type Toolkit, executionOf, jobOf, runOf } from "./job";
import type { EndedRun } from "./store/facts";
import { abandonedRuns, expiredRuns, tidyRun } from "./leftovers";
import { colourOf } from "./verdicts";

export async function rescue(toolkit: Toolkit, environment: NodeJS.ProcessEnv): Promise<number> {
  const named = runOf(environment);
  const { open, ended } = named === undefined ? await toolkit.store.runs() : { open: [named], ended: [] };
  const runs = [...open];
  let code: number = exitCodes.done;
  for (const run of runs) {
    try {
      code = Math.max(code, await rescueRun(toolkit, run));
    } catch (error) {
      toolkit.log(`run ${run} is left as it is: ${reasonOf(error)}`);
      code = Math.max(code, exitCodes.failed);
    }
  }
  toolkit.log(`looked at ${runs.length} ${runs.length === 1 ? "run" : "runs"}`);
  await tidy(toolkit, ended);
  return code;
}

/** @returns 4 when its healing failed, else 0: a run that was healed is a success of this job */
async function rescueRun(toolkit: Toolkit, run: RunId): Promise<number> {
  const facts = await toolkit.store.load(run);
  if (facts.opened === undefined) {
    toolkit.log(`run ${run} was never opened: there is nothing to finish`);
    return exitCodes.done;
  }
  if (facts.verdict !== undefined) {
    colourOf(toolkit.log, facts.verdict);
    return exitCodes.done;
  }
  if (facts.resolution !== undefined) {
    toolkit.log(`run ${run} was settled by ${facts.resolution.by} as ${facts.resolution.as}`);
    return exitCodes.done;
  }
  const job = jobOf(toolkit, run, facts.opened);
  const holder = await liveHolder(job, facts);
  if (holder !== undefined) {
    toolkit.log(`run ${run} is in good hands: ${holder}`);
    return exitCodes.done;
  }
  return finishRun(job);
}

/** Removes what ended runs have left behind. What cannot be removed now is tried again by the next look. */
async function tidy(toolkit: Toolkit, ended: readonly EndedRun[]): Promise<void> {
  const abandoned = await abandonedRuns(toolkit, ended);
  for (const run of new Set([...abandoned, ...expiredRuns(toolkit.plan, ended, new Date())])) {
    try {
      const facts = await toolkit.store.load(run);
      if (facts.opened === undefined) continue;
      const context = new Context(jobOf(toolkit, run, facts.opened));
      try {
        await tidyRun(context, facts);
      } finally {
        await context.close();
      }
    } catch (error) {
      toolkit.log(`what run ${run} has left stays for now: ${reasonOf(error)}`);
    }
  }
}

async function finishRun(job: Job): Promise<number> {
  job.log(`nobody finishes run ${job.run} any more; this build does`);
  const context = new Context(job);
  try {
    const verdict = await finish(context, {
      notDeployed: "the execution ended before its deploy was admitted",
      lost: "the Guard was lost before it could say how the deploy went",
    });
    return colourOf(job.log, verdict) === exitCodes["heal-failed"] ? exitCodes["heal-failed"] : exitCodes.done;
  } finally {
    await context.close();
  }
}

/**
 * Who is still going to finish a run: its healer, the Guard that signed its ticket, or, before there is a ticket, the
 * execution itself. An execution in progress whose Guard is lost finishes nothing.
 */
async function liveHolder(job: Job, facts: RunFacts): Promise<string | undefined> {
  const { clients } = job;
  const watchers = [facts.ticket, ...facts.claims].flatMap((fact) => (fact === undefined ? [] : [fact.build]));
  const [watcher] = await runningBuilds(clients, watchers);
  if (watcher !== undefined) return `build ${watcher} is at work`;
  if (facts.ticket !== undefined) return undefined;
  const execution = executionOf(job);
  if (!(await isExecutionOver(clients, execution))) return "its execution is in progress";
  const builds = (await actionsOf(clients, execution)).flatMap(({ build }) => build ?? []);
  const [build] = await runningBuilds(clients, [
    ...builds,
    ...(facts.opened === undefined ? [] : [facts.opened.build]),
  ]);
  return build === undefined ? undefined : `build ${build} still runs`;
}
