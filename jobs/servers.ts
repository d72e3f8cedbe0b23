/** The database servers of a plan: each with its admin session and the databases that a healing would exchange. */
import type { DatabaseProtected, Restored } from "../run/facts";
import { evidenceDatabase } from "../run/ids";
import type { DatabaseTarget } from "../run/plan";
import type { RunFacts, TargetFacts } from "../run/state";
import { type AdminSession, type SwapPair, openAdmin } from "./database";
import { Failure } from "./failure";
import { type Job, accessTo, databasesOf, forEach, poolerOf } from "./job";

/** One database that is protected and staged. */
export interface Exchange {
  readonly target: DatabaseTarget;
  readonly made: DatabaseProtected;
  readonly pair: SwapPair;
}

export interface Server {
  readonly session: AdminSession;
  readonly targets: readonly DatabaseTarget[];
}

export function openServers(job: Job): Promise<Server[]> {
  return forEach(job, serversOf(databasesOf(job.plan)), async (targets) => ({
    session: await openAdmin(targets.map((target) => accessTo(job, target))),
    targets,
  }));
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

/** What a healing exchanges on a server. Throws unless all of it is there. */
export function exchangesOf(job: Job, facts: RunFacts, { targets }: Pick<Server, "targets">): Exchange[] {
  return targets.map((target) => exchangeOf(job, facts, target));
}

function exchangeOf(job: Job, facts: RunFacts, target: DatabaseTarget): Exchange {
  const made = facts.targets[target.id]?.protected;
  const standby = standbyOf(facts.targets[target.id]);
  if (made?.kind !== "database" || standby === undefined) {
    throw new Failure(`the protection of database ${target.id} is not complete`);
  }
  const pair: SwapPair = {
    database: target.database,
    liveOid: made.oid,
    staged: { database: standby.database, oid: standby.oid },
    seal: standby.seal,
    evidence: evidenceDatabase(target.database, job.run),
    sequences: target.sequences,
    pooler: poolerOf(job, target),
  };
  return { target, made, pair };
}

/** The database that a healing puts in place: staged before the deploy, or restored by the healer. */
function standbyOf(facts: TargetFacts = {}): Pick<Restored, "database" | "oid" | "seal"> | undefined {
  const { staged, proven, restored } = facts;
  if (staged?.kind === "recovery-point") return restored;
  if (staged?.kind !== "database" || proven?.seal === undefined) return undefined;
  return { database: staged.database, oid: staged.oid, seal: proven.seal };
}
