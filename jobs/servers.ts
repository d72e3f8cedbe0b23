/** The database servers of a plan: each with its admin session and the databases that a healing would exchange. */
import type { DatabaseProtected, DatabaseStaged, Proven } from "../run/facts";
import { evidenceDatabase } from "../run/ids";
import type { DatabaseTarget } from "../run/plan";
import type { RunFacts } from "../run/state";
import { type AdminSession, type SwapPair, openAdmin } from "./database";
import { Failure } from "./failure";
import { type Job, accessTo, databasesOf, together } from "./job";

/** One database that is protected and staged. */
export interface Exchange {
  readonly target: DatabaseTarget;
  readonly made: DatabaseProtected;
  readonly pair: SwapPair;
}

export interface Server {
  readonly session: AdminSession;
  readonly exchanges: readonly Exchange[];
}

export async function openServers(job: Job, facts: RunFacts): Promise<Server[]> {
  return together(
    serversOf(databasesOf(job.plan)).map(async (targets) => ({
      session: await openAdmin(targets.map((target) => accessTo(job, target))),
      exchanges: targets.map((target) => exchangeOf(job, facts, target)),
    })),
  );
}

/** Databases that live on one server, together: they are exchanged in one transaction. */
export function serversOf(targets: readonly DatabaseTarget[]): DatabaseTarget[][] {
  const servers = new Map<string, DatabaseTarget[]>();
  for (const target of targets) {
    const key = `${target.host}:${target.port}`;
    servers.set(key, [...(servers.get(key) ?? []), target]);
  }
  return [...servers.values()];
}

function exchangeOf(job: Job, facts: RunFacts, target: DatabaseTarget): Exchange {
  const { protected: made, staged, proven } = facts.targets[target.id] ?? {};
  if (made?.kind !== "database" || staged?.kind !== "database" || proven?.kind !== "database") {
    throw new Failure(`the protection of database ${target.id} is not complete`);
  }
  return { target, made, pair: pairOf(job, target, made, staged, proven) };
}

function pairOf(
  job: Job,
  target: DatabaseTarget,
  made: DatabaseProtected,
  staged: DatabaseStaged,
  proven: Proven,
): SwapPair {
  if (proven.seal === undefined) throw new Failure(`the proof of database ${target.id} has no seal`);
  return {
    database: target.database,
    liveOid: made.oid,
    staged: { database: staged.database, oid: staged.oid },
    seal: proven.seal,
    evidence: evidenceDatabase(target.database, job.run),
  };
}
