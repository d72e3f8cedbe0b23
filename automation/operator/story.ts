/** What the facts of a run tell an operator. Pure. */
import type { Claim } from "../../run/facts";
import type { RunId } from "../../run/ids";
import { InconsistentRun, isUnresolved, type RunFacts, stateOf, type TargetFacts } from "../../run/state";
import { age, columns, minute } from "./text";

export interface Run {
  readonly run: RunId;
  readonly facts: RunFacts;
}

/** The state, in a word and in a sentence. */
export function standing(facts: RunFacts): {
  readonly state: string;
  readonly meaning: string;
  readonly open: boolean;
} {
  try {
    const { state, meaning } = stateOf(facts);
    const word =
      state === "resolved" ? (facts.verdict?.verdict ?? state) : state === "unhealed" ? "heal-failed" : state;
    return { state: word, meaning, open: needsSettling(facts) };
  } catch (error) {
    if (!(error instanceof InconsistentRun)) throw error;
    return { state: "inconsistent", meaning: error.message, open: true };
  }
}

/** Whether the run blocks its targets until it gets a verdict, or an operator settles it. */
export function needsSettling(facts: RunFacts): boolean {
  const { state } = stateOf(facts);
  return isUnresolved(state) || state === "unhealed";
}

/** The list of runs, the newest first. */
export function listing(runs: readonly Run[], now: Date): string[] {
  const opened = runs
    .filter(({ facts }) => facts.opened !== undefined)
    .sort((a, b) => (b.facts.opened?.at ?? "").localeCompare(a.facts.opened?.at ?? ""));
  if (opened.length === 0) return ["no runs"];
  const rows = opened.map(({ run, facts }) => {
    const at = new Date(facts.opened?.at ?? 0);
    const { state, open } = standing(facts);
    const reason = facts.resolution?.reason ?? facts.verdict?.reason ?? facts.decided?.reason ?? "";
    const settled = facts.resolution === undefined ? state : `settled: ${facts.resolution.as}`;
    return [
      run,
      minute(at),
      age(at, now),
      facts.opened?.plan.environment ?? "",
      settled + (open ? " (!)" : ""),
      reason,
    ];
  });
  const notes = opened.some(({ facts }) => standing(facts).open)
    ? ["", "(!) blocks its targets until it has a verdict or is settled: `protected-pipeline show <run>` tells more"]
    : [];
  return [...columns([["RUN", "BEGAN", "AGE", "ENVIRONMENT", "STATE", "REASON"], ...rows]), ...notes];
}

/** One run: its facts in order, its state, and what to do next. */
export function story({ run, facts }: Run, now: Date): string[] {
  const { opened } = facts;
  if (opened === undefined) return [`run ${run} was never opened: its Protect stage has not begun its work`];
  const { state, meaning } = standing(facts);
  return [
    `run ${run} of ${opened.plan.pipeline.name}, which protects ${opened.plan.environment}`,
    `state: ${state}: ${meaning}`,
    "",
    ...columns(chronicle(facts).map(({ at, what }) => [minute(new Date(at)), age(new Date(at), now) + " ago", what])),
    "",
    ...nextSteps(run, facts),
  ];
}

interface Entry {
  readonly at: string;
  readonly what: string;
}

function chronicle(facts: RunFacts): Entry[] {
  const { opened, ticket, admitted, decided, claims, fenced, verdict, resolution, cleared, targets } = facts;
  const entry = <F extends { readonly at: string }>(fact: F | undefined, what: (fact: F) => string): Entry[] =>
    fact === undefined ? [] : [{ at: fact.at, what: what(fact) }];
  const entries = [
    ...entry(opened, ({ build }) => `opened by ${build}`),
    ...Object.entries(targets).flatMap(([id, each]) => targetEntries(id, each, entry)),
    ...entry(ticket, ({ build }) => `ticket: the protection is complete; ${build} is on watch`),
    ...entry(admitted, (fact) =>
      fact.closed ? "closed: nothing can be deployed any more" : `deploy admitted: ${fact.build}`,
    ),
    ...entry(decided, ({ decision, reason }) => `decided: ${decision}: ${reason}`),
    ...claims.flatMap((claim: Claim) => entry(claim, ({ build }) => `healer: ${build}`)),
    ...entry(fenced, ({ sessionsEnded }) => `fenced: ${sessionsEnded} database sessions ended`),
    ...entry(verdict, (fact) => `verdict: ${fact.verdict}: ${fact.reason}`),
    ...entry(resolution, ({ by, as, reason }) => `settled as ${as} by ${by}: ${reason}`),
    ...entry(cleared, ({ by, removed }) => `cleared by ${by}: ${removed.join(", ") || "nothing was left"}`),
  ];
  return entries.sort((a, b) => a.at.localeCompare(b.at));
}

function targetEntries(
  id: string,
  { frozen, protected: made, staged, proven, restored, cutOver }: TargetFacts,
  entry: <F extends { readonly at: string }>(fact: F | undefined, what: (fact: F) => string) => Entry[],
): Entry[] {
  return [
    ...entry(frozen, () => `${id}: its users' writes are being refused`),
    ...entry(
      made,
      (fact) =>
        `${id}: protected: ${fact.kind === "database" ? fact.recoveryPoint : fact.volumes.map(({ volumeId }) => volumeId).join(", ")}`,
    ),
    ...entry(staged, (fact) => `${id}: staged: ${fact.kind === "database" ? fact.database : fact.recoveryPoint}`),
    ...entry(proven, ({ compared }) => `${id}: proven: ${compared}`),
    ...entry(restored, ({ database, compared }) => `${id}: restored as ${database}: ${compared}`),
    ...entry(cutOver, (fact) => `${id}: ${cutOverWords(fact)}`),
  ];
}

function cutOverWords(fact: NonNullable<TargetFacts["cutOver"]>): string {
  if (fact.kind === "database") return `healed; the failed database is kept as ${fact.evidence}`;
  if (fact.skipped) return "nothing had changed; left as it was";
  return `healed; kept: ${fact.volumes.map(({ evidence }) => evidence).join(", ")}`;
}

/** What the operator can do about it. */
export function nextSteps(run: RunId, facts: RunFacts): string[] {
  const short = run.slice(0, 8);
  const { state } = standing(facts);
  const settle = `protected-pipeline resolve ${short} --as healthy|healed|abandoned --reason "..."`;
  switch (state) {
    case "heal-failed":
      return [
        "next: bring the environment into a good state by hand, then settle the run:",
        ...leftByHand(facts).map((line) => `  ${line}`),
        `  ${settle}`,
      ];
    case "inconsistent":
      return ["next: look at the run's objects in the recovery store; nothing is done with this run by itself"];
    case "settled":
      return ["next: nothing; the next run may protect"];
    case "healed":
      if (facts.cleared !== undefined) return ["next: nothing; what it had kept is gone"];
      return [
        `next: protected-pipeline diff ${short} shows the rows that the healing took out of the live database;`,
        `      protected-pipeline evidence list shows what is kept, and until when`,
      ];
    default:
      if (!needsSettling(facts)) return ["next: nothing"];
      return [
        "next: the Guard or Rescue brings this run to its verdict within minutes. If neither does, look at the",
        "      environment, and settle the run by hand:",
        `  ${settle}`,
      ];
  }
}

function leftByHand(facts: RunFacts): string[] {
  return (facts.opened?.plan.targets ?? []).flatMap((target) => {
    const { protected: made, staged, restored, cutOver } = facts.targets[target.id] ?? {};
    if (cutOver !== undefined) return [`${target.id}: ${cutOverWords(cutOver)}`];
    if (target.kind === "database") {
      const copy = restored ?? (staged?.kind === "database" ? staged : undefined);
      const good =
        copy === undefined
          ? `recovery point ${made?.kind === "database" ? made.recoveryPoint : "?"}`
          : `database "${copy.database}" (OID ${copy.oid}), proven and sealed`;
      return [
        `${target.id}: "${target.database}" may be closed to connections; its state before the deploy is ${good}`,
      ];
    }
    const prepared = staged?.kind === "instance" ? staged.volumes.map(({ volumeId }) => volumeId) : [];
    const good = prepared.length > 0 ? `volumes ${prepared.join(", ")}` : "its recovery point";
    return [`${target.id}: ${target.instanceId}; its state before the deploy is ${good}`];
  });
}
