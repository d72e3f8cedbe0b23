/** The databases' part of a healing. */
import type { CutOver, Restored, UndoneTable } from "../../run/facts";
import type { DatabaseTarget, Plan } from "../../run/plan";
import { closedStaged, proveDatabase, stageDatabase, swapAll } from "../database";
import { Failure } from "../failure";
import { accessTo, databasesOf, forEach } from "../job";
import { duration } from "../log";
import { type Exchange, type Server, exchangesOf } from "../servers";
import { type Deadline, now } from "../time";
import { limitsOf } from "../limits";
import type { Healing } from "./healing";

/** The databases that are restored only now. */
export function lateDatabases(job: { readonly plan: Plan }): DatabaseTarget[] {
  return databasesOf(job.plan).filter(({ stage }) => stage === "on-failure");
}

/** Restores them beside the live ones, compares and seals them. */
export async function restoreLate(healing: Healing): Promise<void> {
  const { job } = healing.context;
  await forEach(job, lateDatabases(job), (target) => restoreOne(healing, target));
}

async function restoreOne({ context, facts, deadline }: Healing, target: DatabaseTarget): Promise<void> {
  const { job, engine } = context;
  const { protected: made, restored } = facts.targets[target.id] ?? {};
  if (restored !== undefined) return;
  if (made?.kind !== "database") throw new Failure(`the protection of database ${target.id} is not complete`);
  const access = accessTo(job, target);
  const started = Date.now();
  const limits = limitsOf(job.plan);
  const dump = () => engine.openStream(made.recoveryPoint);
  const staged =
    (await closedStaged(access)) ??
    (await stageDatabase(access, { deadline: deadline.at, protected: made, dump, limits }));
  const proof = await proveDatabase(access, { deadline: deadline.at, protected: made, staged, limits });
  const milliseconds = Date.now() - started;
  job.log.for(target.id)(`restored as ${staged.database} in ${duration(milliseconds)}: ${proof.compared}`);
  const { database, oid } = staged;
  const fact: Restored = { at: now(), database, oid, ...proof, milliseconds };
  await job.store.writeTarget(job.run, target.id, "restored", fact);
}

/** @returns how many sessions were ended */
export async function fenceDatabases({ context, facts, deadline, measures }: Healing): Promise<number> {
  const { job } = context;
  const servers = await context.servers();
  const started = Date.now();
  const fenced = await forEach(job, servers, (server) =>
    server.session.fence(pairsOf(exchangesOf(job, facts, server)), deadline.at),
  );
  measures.fence = Date.now() - started;
  return fenced.reduce((sum, { sessionsEnded }) => sum + sessionsEnded, 0);
}

/** The servers of which a database is not exchanged yet. */
export async function openServers({ context, facts }: Healing): Promise<Server[]> {
  const open = ({ id }: DatabaseTarget): boolean => facts.targets[id]?.cutOver === undefined;
  return (await context.servers()).filter(({ targets }) => targets.some(open));
}

/** Fails while nothing has been done yet, if a server could not exchange its databases. */
export async function checkReady({ context, facts, deadline }: Healing, server: Server): Promise<void> {
  const pairs = pairsOf(exchangesOf(context.job, facts, server));
  // An interrupted healer may have come further than its facts.
  if (await server.session.isSwapped(pairs, deadline.at)) return;
  await server.session.checkSeal(pairs, deadline.at);
}

/** Exchanges the databases of all servers that are open, or of none; see {@link swapAll} for what can come between. */
export async function swapDatabases(healing: Healing, servers: readonly Server[]): Promise<void> {
  const { context, facts, deadline, measures } = healing;
  const { job } = context;
  if (servers.length === 0) return;
  const all = servers.map(({ session, ...server }) => ({ session, exchanges: exchangesOf(job, facts, server) }));
  const swaps = all.map(({ session, exchanges }) => ({ session, pairs: pairsOf(exchanges) }));
  const swapped = await swapAll(swaps, deadline.at);
  // The wait for the instances in between is not the databases'.
  const own = Math.max(...swapped.map(({ milliseconds }) => milliseconds));
  const milliseconds = measures.fence + own;
  for (const { target, pair } of all.flatMap(({ exchanges }) => exchanges)) {
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
  job.log(`databases exchanged in ${duration(own)} (with the fence: ${duration(milliseconds)})`);
}

/** Fails unless the databases that are live now are the very ones that were proven. */
export async function confirmServer({ context, facts, deadline }: Healing, server: Server): Promise<void> {
  const pairs = pairsOf(exchangesOf(context.job, facts, server));
  if (await server.session.isSwapped(pairs, deadline.at)) return;
  const names = pairs.map(({ database }) => database).join(", ");
  throw new Failure(`the database that is now live (${names}) is not the one that was proven`);
}

/** How long is spent on finding out what a healing undid, in seconds; the verdict waits for it. */
const undoneSeconds = 120;

/** What a healing took out of the live databases. */
export interface UndoneOfAll {
  readonly tables: UndoneTable[];
  readonly objects: string[];
}

export async function undoneOf({ context, facts, deadline }: Healing): Promise<UndoneOfAll> {
  const { job } = context;
  const until = deadline.within(undoneSeconds);
  const all = await forEach(job, await context.servers(), async (server) => {
    const found = [];
    for (const exchange of exchangesOf(job, facts, server)) found.push(await undoneIn(server, exchange, until));
    return found;
  });
  return {
    tables: all.flat().flatMap(({ tables }) => tables),
    objects: all.flat().flatMap(({ objects }) => objects),
  };
}

async function undoneIn(
  { session }: Server,
  { target, made, pair }: Exchange,
  deadline: Deadline,
): Promise<UndoneOfAll> {
  const { tables, objects } = await session.undone(pair, made, deadline.at);
  return {
    tables: tables.map((table) => ({ ...table, target: target.id })),
    objects: objects.map((line) => `${target.id}: ${line}`),
  };
}

/** What differs from before and no healing of a database brings back. */
export async function notUndoneOf({ context, facts, deadline }: Healing): Promise<string[]> {
  const { job } = context;
  const lines = await forEach(job, await context.servers(), async (server) => {
    const roles = exchangesOf(job, facts, server).find(({ made }) => made.roles !== undefined)?.made.roles;
    return roles === undefined ? [] : server.session.notUndone(roles, deadline.at);
  });
  return lines.flat();
}

function pairsOf(exchanges: readonly Exchange[]): Exchange["pair"][] {
  return exchanges.map(({ pair }) => pair);
}
