/**
 * The steps of a healing. Each leaves a fact behind when it is done, and can be begun again by another healer when it
 * was interrupted: what is done already is found, not repeated.
 */
import type { CutOver, InstanceCutOver, Verdict } from "../run/facts";
import type { InstanceTarget } from "../run/plan";
import type { RunFacts } from "../run/state";
import type { Context } from "./context";
import { tagsOf } from "./engines";
import { token } from "./engines/aws";
import { buildsOf, isOver, runningBuilds } from "./executions";
import { Failure, reasonOf } from "./failure";
import { cancelCommands } from "./instance/commands";
import { fingerprintFiles } from "./instance/files";
import { describeInstance } from "./instance/instances";
import { keepAsEvidence, replaceRoot } from "./instance/replacement";
import { instancesOf, together } from "./job";
import { duration } from "./log";
import { outage } from "./probes";
import type { Server } from "./servers";
import { type Deadline, type Pause, now, until } from "./time";

/** What one healer measures while it works, in milliseconds. A later healer begins it anew. */
export interface Measures {
  fence: number;
}

export interface Healing {
  readonly context: Context;
  readonly facts: RunFacts;
  readonly deadline: Deadline;
  readonly measures: Measures;
}

export function pauseOf({ context }: Pick<Healing, "context">): Pause {
  return { seconds: context.job.plan.pollSeconds };
}

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

/** Makes sure that nobody writes to the live environment any more. */
export async function fence(healing: Healing): Promise<void> {
  const { context, facts, deadline, measures } = healing;
  const { job } = context;
  const servers = await context.servers(facts);
  const [sessions] = await Promise.all([
    fenceDatabases(servers, deadline, measures),
    together([stopDeploy(healing), ...instancesOf(job.plan).map((target) => endCommands(healing, target))]),
  ]);
  job.log(`fenced: ${sessions} database sessions ended; nobody writes any more (${duration(measures.fence)})`);
  await job.store.writeRun(job.run, "fenced", { at: now(), sessionsEnded: sessions });
}

async function fenceDatabases(servers: readonly Server[], deadline: Deadline, measures: Measures): Promise<number> {
  const started = Date.now();
  const fenced = await together(
    servers.map(({ session, exchanges }) =>
      session.fence(
        exchanges.map(({ pair }) => pair),
        deadline.at,
      ),
    ),
  );
  measures.fence = Date.now() - started;
  return fenced.reduce((sum, { sessionsEnded }) => sum + sessionsEnded, 0);
}

/** Stops the deploy's build, if it still runs, and waits until it is over. */
async function stopDeploy(healing: Healing): Promise<void> {
  const { context, facts, deadline } = healing;
  const { clients, log } = context.job;
  const id = facts.admitted?.build;
  if (id === undefined) return;
  const over = async (): Promise<true | undefined> =>
    (await buildsOf(clients, [id])).every(isOver) ? true : undefined;
  if ((await over()) === true) return;
  const { StopBuildCommand } = await import("@aws-sdk/client-codebuild");
  log.command(`aws codebuild stop-build --id ${id}`);
  await (await clients.codebuild()).send(new StopBuildCommand({ id }));
  await until(`build ${id} to stop`, deadline, pauseOf(healing), over);
}

/** How long commands are waited for. They end for sure when the instance is restarted with its old root. */
const commandSeconds = 60;

async function endCommands(healing: Healing, { instanceId }: InstanceTarget): Promise<void> {
  const { context, facts, deadline } = healing;
  const { clients, log } = context.job;
  const since = new Date(facts.admitted?.at ?? 0);
  try {
    const ended = await cancelCommands(clients, instanceId, since, deadline.within(commandSeconds), pauseOf(healing));
    if (ended.length > 0) log(`ended ${ended.length} commands of the release on ${instanceId}`);
  } catch (error) {
    log(`commands on ${instanceId} may still run until it restarts: ${reasonOf(error)}`);
  }
}

/**
 * Instances first, databases last: the exchange opens the restored database, and by then the failed application, which
 * would write to it, must be gone.
 */
export async function cutOver(healing: Healing): Promise<void> {
  const { context, facts } = healing;
  const missing = (id: string): boolean => facts.targets[id]?.cutOver === undefined;
  const instances = instancesOf(context.job.plan).filter(({ id }) => missing(id));
  await together(instances.map((target) => cutOverInstance(healing, target)));
  const servers = await context.servers(facts);
  const open = servers.filter(({ exchanges }) => exchanges.some(({ target }) => missing(target.id)));
  await together(open.map((server) => cutOverServer(healing, server)));
}

async function cutOverInstance(healing: Healing, target: InstanceTarget): Promise<void> {
  const { context, facts, deadline } = healing;
  const { job, engine } = context;
  const { protected: made, staged } = facts.targets[target.id] ?? {};
  if (made?.kind !== "instance" || staged?.kind !== "instance") {
    throw new Failure(`the protection of instance ${target.id} is not complete`);
  }
  const started = Date.now();
  const instance = await describeInstance(job.clients, target.instanceId);
  await replaceRoot({
    clients: job.clients,
    instance,
    tags: { "protected-pipeline:run": job.run, "protected-pipeline:target": target.id },
    token: token(job.run, target.id).slice(0, 48),
    volume: () => engine.rootVolume(instance, staged.recoveryPoint, staged.volumeId, deadline),
    deadline,
    pause: pauseOf(healing),
    log: job.log.for(target.id),
  });
  const { root } = await describeInstance(job.clients, target.instanceId);
  const milliseconds = Date.now() - started;
  job.log.for(target.id)(`root volume replaced by ${root?.volumeId ?? "?"} in ${duration(milliseconds)}`);
  const fact: InstanceCutOver = {
    at: now(),
    kind: "instance",
    evidence: made.rootVolumeId,
    ...(root === undefined ? {} : { volumeId: root.volumeId }),
    skipped: false,
    milliseconds,
  };
  await job.store.writeTarget(job.run, target.id, "cut-over", fact);
}

async function cutOverServer(healing: Healing, { session, exchanges }: Server): Promise<void> {
  const { context, deadline, measures } = healing;
  const { job } = context;
  const swapped = await session.swap(
    exchanges.map(({ pair }) => pair),
    deadline.at,
  );
  // The wait for the instances in between is not the databases'.
  const milliseconds = measures.fence + swapped.milliseconds;
  for (const { target, pair } of exchanges) {
    job.log.for(target.id)(
      `${pair.staged.database} is now ${pair.database}; the failed one is kept as ${pair.evidence}`,
    );
    const fact: CutOver = {
      at: now(),
      kind: "database",
      evidence: pair.evidence,
      failedOid: pair.liveOid,
      liveOid: pair.staged.oid,
      milliseconds,
    };
    await job.store.writeTarget(job.run, target.id, "cut-over", fact);
  }
  job.log(`databases exchanged in ${duration(swapped.milliseconds)} (with the fence: ${duration(milliseconds)})`);
}

/** Sees that all is as before, and says what the healing did. */
export async function confirm(healing: Healing): Promise<Verdict> {
  const { context, facts, deadline } = healing;
  const { job, watch } = context;
  const servers = await context.servers(facts);
  const lastCutOver = Math.max(0, ...Object.values(facts.targets).map((each) => Date.parse(each.cutOver?.at ?? "")));
  const green = await watch.green(Math.min(lastCutOver, Date.now()), deadline, pauseOf(healing));
  job.log("the probes are well again");
  await together([
    ...servers.map((server) => confirmServer(server, deadline)),
    ...instancesOf(job.plan).map((target) => confirmInstance(healing, target)),
  ]);
  const undone = await told(healing, "what was undone", () => undoneOf(servers, deadline));
  const notUndone = await told(healing, "what was not undone", () => notUndoneOf(servers, deadline));
  await putAway(healing);
  return {
    at: now(),
    build: job.build,
    verdict: "healed",
    reason: `${facts.decided?.reason ?? "the deploy failed"}; ${job.plan.environment} is as it was before`,
    ...figures(healing, green),
    ...(undone === undefined ? {} : { undone }),
    ...(notUndone === undefined || notUndone.length === 0 ? {} : { notUndone }),
  };
}

async function confirmServer({ session, exchanges }: Server, deadline: Deadline): Promise<void> {
  if (
    await session.isSwapped(
      exchanges.map(({ pair }) => pair),
      deadline.at,
    )
  )
    return;
  const names = exchanges.map(({ pair }) => pair.database).join(", ");
  throw new Failure(`the database that is now live (${names}) is not the one that was proven`);
}

async function confirmInstance(healing: Healing, target: InstanceTarget): Promise<void> {
  const { context, facts, deadline } = healing;
  const { clients } = context.job;
  const made = facts.targets[target.id]?.protected;
  if (made?.kind !== "instance") throw new Failure(`the protection of instance ${target.id} is not complete`);
  const { hash } = await fingerprintFiles(clients, target.instanceId, target.paths, deadline, pauseOf(healing));
  if (hash === made.files) return;
  throw new Failure(
    `the files in ${target.paths.join(", ")} on ${target.instanceId} are not those that were protected ` +
      `(${hash} instead of ${made.files})`,
  );
}

async function undoneOf(servers: readonly Server[], deadline: Deadline) {
  const tables = await together(
    servers.flatMap(({ session, exchanges }) =>
      exchanges.map(({ pair, made }) => session.undone(pair, made.fingerprint, deadline.at)),
    ),
  );
  return tables.flat();
}

async function notUndoneOf(servers: readonly Server[], deadline: Deadline): Promise<string[]> {
  const lines = await together(
    servers.map(async ({ session, exchanges }) => {
      const roles = exchanges.find(({ made }) => made.roles !== undefined)?.made.roles;
      return roles === undefined ? [] : session.notUndone(roles, deadline.at);
    }),
  );
  return lines.flat();
}

/** For what informs but does not decide: a failure of it is told, and no more. */
async function told<T>({ context }: Healing, what: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    context.job.log(`${what} could not be found out: ${reasonOf(error)}`);
    return undefined;
  }
}

/** Marks the evidence and removes what only the healing needed. */
async function putAway(healing: Healing): Promise<void> {
  const { context, facts } = healing;
  const { job, engine } = context;
  const keepUntil = new Date(Date.now() + job.plan.retentionDays * 24 * 3600 * 1000);
  for (const target of instancesOf(job.plan)) {
    const { cutOver: done, staged } = facts.targets[target.id] ?? {};
    const evidence = done?.evidence;
    if (evidence !== undefined) {
      await told(healing, `the mark on ${evidence}`, () =>
        keepAsEvidence(job.clients, evidence, tagsOf(job, target.id), keepUntil),
      );
    }
    if (staged?.kind === "instance") {
      await told(healing, `what is left of ${staged.recoveryPoint}`, () =>
        engine.removeLeftovers(staged.recoveryPoint),
      );
    }
  }
}

/** The figures of a healing, in milliseconds. */
export function figures(
  { context, facts }: Pick<Healing, "context" | "facts">,
  green: number,
): Pick<Verdict, "rto" | "rpo" | "outage"> {
  const detected = Date.parse(facts.decided?.detectedAt ?? "");
  const began = Date.parse(facts.claims[0]?.at ?? "");
  const targets = Object.values(facts.targets);
  const spent = (kind: CutOver["kind"]): number =>
    Math.max(0, ...targets.map(({ cutOver: each }) => (each?.kind === kind ? each.milliseconds : 0)));
  const snapshots = targets.map((each) => Date.parse(each.protected?.snapshotAt ?? ""));
  return {
    rto: {
      total: Math.max(0, green - detected),
      decision: Math.max(0, began - detected),
      database: spent("database"),
      instance: spent("instance"),
    },
    rpo: Math.max(0, detected - Math.min(...snapshots)),
    outage: outage([...context.watch.all().values()], green),
  };
}

/** What remains to be done by hand after a healing that could not be finished. */
export function byHand({ context, facts }: Pick<Healing, "context" | "facts">): string[] {
  const lines = ["nothing was deleted. What there is, and what remains to be done by hand:"];
  for (const target of context.job.plan.targets) {
    const { protected: made, staged, cutOver: done } = facts.targets[target.id] ?? {};
    if (done !== undefined)
      lines.push(`  ${target.id}: is cut over; the failed one is kept as ${done.evidence ?? "?"}`);
    else if (target.kind === "database" && staged?.kind === "database") {
      lines.push(
        `  ${target.id}: "${target.database}" is closed to connections (ALTER DATABASE ... ALLOW_CONNECTIONS true opens ` +
          `it); its state before the deploy is proven and sealed as "${staged.database}" (OID ${staged.oid})`,
      );
    } else if (target.kind === "instance" && staged?.kind === "instance" && made?.kind === "instance") {
      lines.push(
        `  ${target.id}: ${target.instanceId} had root volume ${made.rootVolumeId}; its state before the deploy is ` +
          `${staged.volumeId === undefined ? `recovery point ${staged.recoveryPoint}` : `volume ${staged.volumeId}`}`,
      );
    }
  }
  lines.push(`  when the environment is well: \`protected-pipeline resolve ${context.job.run}\` gives the lease back`);
  return lines;
}
