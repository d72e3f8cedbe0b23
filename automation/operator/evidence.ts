/** What a run has left behind, by its facts. Pure: what is really there is looked up elsewhere. */
import type { RunId } from "../../run/ids";
import type { DatabaseTarget, InstanceTarget } from "../../run/plan";
import { needsSettling, type Run } from "./story";

interface Kept {
  readonly run: RunId;
  readonly since: Date;
  readonly until: Date;
  /** Why it must not be removed yet; undefined: it may. */
  readonly held: string | undefined;
}

/** A database that is no longer live: the failed one, or a staged one that was never needed. */
export interface KeptDatabase extends Kept {
  readonly kind: "failed" | "staged";
  readonly target: DatabaseTarget;
  readonly name: string;
  readonly oid: number;
}

/** A volume that the healing detached. */
export interface KeptVolume extends Kept {
  readonly kind: "volume";
  readonly target: InstanceTarget;
  readonly volumeId: string;
}

export type Evidence = KeptDatabase | KeptVolume;

/** Everything that the run's facts name as kept. Nothing for a run that was cleared. */
export function evidenceOf({ run, facts }: Run): Evidence[] {
  const { opened, cleared, verdict, resolution } = facts;
  if (opened === undefined || cleared !== undefined) return [];
  const ended = resolution?.at ?? verdict?.at;
  return opened.plan.targets.flatMap((target): Evidence[] => {
    const { staged, restored, cutOver } = facts.targets[target.id] ?? {};
    const since = new Date(cutOver?.at ?? ended ?? opened.at);
    const until = new Date((ended === undefined ? since : new Date(ended)).getTime() + opened.plan.retentionDays * day);
    const kept: Kept = { run, since, until, held: heldBecause(run, ended !== undefined && !needsSettling(facts)) };
    if (target.kind === "instance") {
      const volumes = cutOver?.kind === "instance" ? cutOver.volumes : [];
      return volumes.map(({ evidence }) => ({ ...kept, kind: "volume", target, volumeId: evidence }));
    }
    if (cutOver?.kind === "database") {
      return [{ ...kept, kind: "failed", target, name: cutOver.evidence, oid: cutOver.failedOid }];
    }
    const copy = restored ?? (staged?.kind === "database" ? staged : undefined);
    return copy === undefined ? [] : [{ ...kept, kind: "staged", target, name: copy.database, oid: copy.oid }];
  });
}

const day = 86_400_000;

function heldBecause(run: RunId, ended: boolean): string | undefined {
  return ended
    ? undefined
    : `run ${run} is not over: settle it first with \`protected-pipeline resolve ${run.slice(0, 8)}\``;
}

/** A thing's name for people. */
export function nameOf(evidence: Evidence): string {
  return evidence.kind === "volume" ? evidence.volumeId : evidence.name;
}

export function isExpired({ until }: Pick<Evidence, "until">, now: Date): boolean {
  return until <= now;
}
