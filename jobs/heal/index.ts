/**
 * The steps of a healing. Each leaves a fact behind when it is done, and can be begun again by another healer when it
 * was interrupted: what is done already is found, not repeated.
 */
import type { Verdict } from "../../run/facts";
import type { RunFacts } from "../../run/state";
import type { Context } from "../context";
import { runningBuilds } from "../executions";
import { Failure } from "../failure";
import { forEach, instancesOf, together } from "../job";
import { now } from "../time";
import { checkReady, confirmServer, notUndoneOf, openServers, swapDatabases, undoneOf } from "./databases";
import { figures } from "./figures";
import { type Healing, pauseOf, told } from "./healing";
import { confirmInstance, healInstance, openInstances, putAway, readyInstance } from "./instances";

export { byHand } from "./by-hand";
export { fence } from "./fence";
export { begin } from "./healing";
export type { Begun, Healing } from "./healing";

/** Becomes the healer of the run: the only one, until this build is over. */
export async function claim(context: Context, facts: RunFacts): Promise<void> {
  const { job } = context;
  const last = facts.claims.at(-1);
  if (last?.build === job.build) return;
  if (last !== undefined && (await runningBuilds(job.clients, [last.build])).length > 0) {
    throw new Failure(`build ${last.build} is healing run ${job.run}; this one leaves it alone`);
  }
  const number = facts.claims.length + 1;
  const { mine, fact } = await job.store.writeClaim(job.run, number, { at: now(), build: job.build });
  if (!mine) throw new Failure(`build ${fact.build} was first to heal run ${job.run}; this one leaves it alone`);
  job.log(`healing ${job.plan.environment}${number === 1 ? "" : `, in the place of ${last?.build ?? "?"}`}`);
}

/**
 * First everything is made ready that can fail without having changed anything, for all targets; then it is exchanged.
 *
 * Instances first, databases last: the exchange opens the restored database, and by then the failed application, which
 * would write to it, must be gone. Each server exchanges its databases in one transaction, and none commits before all
 * are ready to. Should a server be lost between the first commit and the last, the healing fails and names it, and the
 * facts say which target is where; another healer of the same run would do the rest.
 */
export async function cutOver(healing: Healing): Promise<void> {
  const { job } = healing.context;
  const servers = await openServers(healing);
  const [instances] = await together([
    forEach(job, openInstances(healing), (target) => readyInstance(healing, target)),
    forEach(job, servers, (server) => checkReady(healing, server)),
  ]);
  await forEach(job, instances, (instance) => healInstance(healing, instance));
  await swapDatabases(healing, servers);
}

/** Sees that all is as before, and says what the healing did. */
export async function confirm(healing: Healing): Promise<Verdict> {
  const { context, facts, deadline } = healing;
  const { job, watch } = context;
  const servers = await context.servers();
  const lastCutOver = Math.max(0, ...Object.values(facts.targets).map((each) => Date.parse(each.cutOver?.at ?? "")));
  const green = await watch.green(Math.min(lastCutOver, Date.now()), deadline, pauseOf(healing));
  job.log("the probes are well again");
  await together([
    forEach(job, servers, (server) => confirmServer(healing, server)),
    forEach(job, instancesOf(job.plan), (target) => confirmInstance(healing, target)),
  ]);
  const [undone, notUndone] = await together([
    told(healing, "what was undone", () => undoneOf(healing)),
    told(healing, "what was not undone", () => notUndoneOf(healing)),
    forEach(job, instancesOf(job.plan), (target) => putAway(healing, target)),
  ]);
  return {
    at: now(),
    build: job.build,
    verdict: "healed",
    reason: `${facts.decided?.reason ?? "the deploy failed"}; ${job.plan.environment} is as it was before`,
    ...figures(healing, green),
    ...(undone === undefined ? {} : { undone: undone.tables }),
    ...(undone === undefined || undone.objects.length === 0 ? {} : { undoneObjects: undone.objects }),
    ...(notUndone === undefined || notUndone.length === 0 ? {} : { notUndone }),
  };
}
