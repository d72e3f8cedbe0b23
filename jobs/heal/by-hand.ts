/** What remains to be done by hand after a healing that could not be finished. */
import type { DatabaseTarget, InstanceTarget, Plan } from "../../run/plan";
import type { RunFacts, TargetFacts } from "../../run/state";
import type { Healing } from "./healing";

export function byHand({ context, facts }: Pick<Healing, "context" | "facts">): string[] {
  const { plan, run } = context.job;
  return [
    "nothing was deleted. What there is, and what remains to be done by hand:",
    ...plan.targets.flatMap((target) => lineOf(target, facts)),
    ...thawLines(plan, facts),
    `  when the environment is well: \`protected-pipeline resolve ${run}\` gives the lease back`,
  ];
}

function lineOf(target: Plan["targets"][number], { targets, fenced }: RunFacts): string[] {
  const facts = targets[target.id] ?? {};
  const line =
    target.kind === "database" ? databaseLine(target, facts, fenced !== undefined) : instanceLine(target, facts);
  return line === undefined ? [] : [`  ${target.id}: ${line}`];
}

function databaseLine(
  target: DatabaseTarget,
  { protected: made, staged, restored, cutOver }: TargetFacts,
  fenced: boolean,
): string | undefined {
  if (cutOver?.kind === "database") return `is cut over; the failed one is kept as ${cutOver.evidence}`;
  const closed =
    `"${target.database}" ${fenced ? "is" : "may be"} closed to connections ` +
    `(ALTER DATABASE ... ALLOW_CONNECTIONS true opens it); its state before the deploy is `;
  const standby = staged?.kind === "database" ? staged : restored;
  if (standby !== undefined) return `${closed}proven and sealed as "${standby.database}" (OID ${standby.oid})`;
  return made?.kind === "database" ? `${closed}recovery point ${made.recoveryPoint}, not restored yet` : undefined;
}

function instanceLine(target: InstanceTarget, { protected: made, staged, cutOver }: TargetFacts) {
  if (cutOver?.kind === "instance") {
    const kept = cutOver.volumes.map(({ evidence }) => evidence).join(", ");
    return cutOver.skipped
      ? "was left alone, its files are as they were"
      : `is cut over; the failed one is kept as ${kept}`;
  }
  if (made?.kind !== "instance" || staged?.kind !== "instance") return undefined;
  const had = made.volumes.map(({ device, volumeId }) => `${volumeId} as ${device}`).join(", ");
  const ready = staged.volumes.map(({ device, volumeId }) => `${volumeId} for ${device}`).join(", ");
  const state = ready === "" ? `recovery point ${staged.recoveryPoint}` : `volume ${ready}`;
  return `${target.instanceId} had ${had}; its state before the deploy is ${state}`;
}

function thawLines({ writes }: Plan, { targets }: RunFacts): string[] {
  if (writes !== "freeze" || Object.values(targets).every(({ frozen }) => frozen === undefined)) return [];
  return ["  the databases may still refuse their users' writes; Rescue allows them again when the run is settled"];
}
