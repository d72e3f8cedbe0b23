/**
 * The one transition table of a run. The state of a run is the set of its facts; this file says which sets can exist,
 * what each means, and which fact may come next. Everything that reads or writes facts asks here. Pure.
 *
 * Every way to a verdict starts with `admitted`, written once: by the deploy build (then something was deployed, and
 * the run ends healthy, healed, heal-failed or would-heal), or, with `closed`, by the Guard or Rescue in the deploy
 * build's place (then nothing can be deployed any more, and the run ends not-deployed). That is why a run that was
 * given up can never be deployed by a later retry.
 *
 * One fact comes from outside: `resolution`, by which an operator settles what no job can. The facts `frozen`,
 * `restored` and `cleared` decide nothing here: they say what is to be taken back, found again, or looked for no more.
 */
import { type Admitted, type Claim, type Decided, type Fenced, type Opened, verdictKinds } from "./facts";
import type { Cleared, CutOver, Frozen, Protected, Proven, Resolution, Restored } from "./facts";
import type { Staged, Ticket, Verdict } from "./facts";

export interface TargetFacts {
  readonly frozen?: Frozen | undefined;
  readonly protected?: Protected | undefined;
  readonly staged?: Staged | undefined;
  readonly proven?: Proven | undefined;
  readonly restored?: Restored | undefined;
  readonly cutOver?: CutOver | undefined;
}

/** All facts of one run, parsed. */
export interface RunFacts {
  readonly opened?: Opened | undefined;
  readonly ticket?: Ticket | undefined;
  readonly admitted?: Admitted | undefined;
  readonly decided?: Decided | undefined;
  /** In the order of their numbers. The last one is the healer. */
  readonly claims: readonly Claim[];
  readonly fenced?: Fenced | undefined;
  readonly verdict?: Verdict | undefined;
  readonly resolution?: Resolution | undefined;
  readonly cleared?: Cleared | undefined;
  /** By target id; has every target of the run's own plan. */
  readonly targets: Readonly<Record<string, TargetFacts>>;
}

export type Part = "none" | "some" | "all";
export type VerdictKind = (typeof verdictKinds)[number];

/** What of the facts decides: which there are, and the few members that matter. */
export interface Shape {
  readonly opened: boolean;
  readonly protected: Part;
  readonly staged: Part;
  readonly proven: Part;
  readonly ticket: boolean;
  readonly admitted: "none" | "deploy" | "closed";
  readonly decided: "none" | Decided["decision"];
  readonly claimed: boolean;
  readonly fenced: boolean;
  readonly cutOver: Part;
  readonly verdict: "none" | VerdictKind;
  readonly resolution: boolean;
}

/** Every value that each member of a shape can take. */
export const shapeValues: { readonly [K in keyof Shape]: readonly Shape[K][] } = {
  opened: [false, true],
  protected: ["none", "some", "all"],
  staged: ["none", "some", "all"],
  proven: ["none", "some", "all"],
  ticket: [false, true],
  admitted: ["none", "deploy", "closed"],
  decided: ["none", "healthy", "failed", "not-deployed"],
  claimed: [false, true],
  fenced: [false, true],
  cutOver: ["none", "some", "all"],
  verdict: ["none", ...verdictKinds],
  resolution: [false, true],
};

export const states = [
  "unopened",
  "protecting",
  "staging",
  "proven",
  "ticketed",
  "closed",
  "refused",
  "deploying",
  "passed",
  "failed",
  "claimed",
  "healing",
  "restored",
  "resolved",
  "unhealed",
  "settled",
] as const;
export type State = (typeof states)[number];

/** A fact that may be written next; where its content matters, with it. */
export type Step =
  | "opened"
  | "protected"
  | "staged"
  | "proven"
  | "ticket"
  | "admitted:deploy"
  | "admitted:closed"
  | `decided:${Decided["decision"]}`
  | "claim"
  | "fenced"
  | "cut-over"
  | `verdict:${VerdictKind}`
  | "resolution";

type Pattern = { readonly [K in keyof Shape]?: readonly Shape[K][] };

interface Row {
  readonly state: State;
  /** What an operator reads. */
  readonly meaning: string;
  /** Any of them; a member that a pattern does not name has its first value ({@link shapeValues}): absent. */
  readonly when: readonly Pattern[];
  readonly next: readonly Step[];
}

/** How far a protection can have come: nothing is staged before all is protected, nothing proven before it is staged. */
const protecting: readonly Pattern[] = [{ protected: ["none", "some"] }];
const staging: readonly Pattern[] = [
  { protected: ["all"], staged: ["none"] },
  { protected: ["all"], staged: ["some", "all"], proven: ["none", "some"] },
];
const complete: Pattern = { protected: ["all"], staged: ["all"], proven: ["all"] };
const opened = (patterns: readonly Pattern[], rest: Pattern): Pattern[] =>
  patterns.map((pattern) => ({ opened: [true], ...pattern, ...rest }));

/** The run was given up. A job that was still at work may still have written its facts of the protection. */
const givenUp = (rest: Pattern): Pattern[] => [
  ...opened([...protecting, ...staging], { admitted: ["closed"], ...rest }),
  ...opened([complete], { admitted: ["closed"], ticket: [false, true], ...rest }),
];
const deployed = (rest: Pattern): Pattern[] => opened([complete], { ticket: [true], admitted: ["deploy"], ...rest });
/** How far a healing can have come that was begun. */
const healing: readonly Pattern[] = [
  { claimed: [true] },
  { claimed: [true], fenced: [true], cutOver: ["none", "some", "all"] },
];
const healFailed = healing.flatMap((pattern) =>
  deployed({ decided: ["failed"], ...pattern, verdict: ["heal-failed"] }),
);
const lateFacts: readonly Step[] = ["protected", "staged", "proven", "ticket"];

export const table: readonly Row[] = [
  { state: "unopened", meaning: "no such run", when: [{}], next: ["opened"] },
  {
    state: "protecting",
    meaning: "recovery points are being made",
    when: opened(protecting, {}),
    next: ["protected", "admitted:closed"],
  },
  {
    state: "staging",
    meaning: "the recovery points are being restored beside the live environment and compared",
    when: opened(staging, {}),
    next: ["staged", "proven", "admitted:closed"],
  },
  {
    state: "proven",
    meaning: "the protection is proven; the Guard is not on watch yet",
    when: opened([complete], {}),
    next: ["ticket", "admitted:closed"],
  },
  {
    state: "ticketed",
    meaning: "the Guard is on watch; the deploy may start",
    when: opened([complete], { ticket: [true] }),
    next: ["admitted:deploy", "admitted:closed"],
  },
  {
    state: "closed",
    meaning: "nothing was deployed, and nothing can be any more",
    when: givenUp({}),
    next: ["decided:not-deployed", ...lateFacts],
  },
  {
    state: "refused",
    meaning: "nothing was deployed, and the reason is known",
    when: givenUp({ decided: ["not-deployed"] }),
    next: ["verdict:not-deployed", ...lateFacts],
  },
  {
    state: "deploying",
    meaning: "the deploy was admitted; nobody knows yet how it ended",
    when: deployed({}),
    next: ["decided:healthy", "decided:failed", "resolution"],
  },
  {
    state: "passed",
    meaning: "the deploy is healthy; it remains to clean up",
    when: deployed({ decided: ["healthy"] }),
    next: ["verdict:healthy", "resolution"],
  },
  {
    state: "failed",
    meaning: "the deploy failed; the healing has not begun",
    when: deployed({ decided: ["failed"] }),
    next: ["claim", "verdict:would-heal", "resolution"],
  },
  {
    state: "claimed",
    meaning: "a healer is at work; the environment is not fenced yet",
    when: deployed({ decided: ["failed"], claimed: [true] }),
    next: ["claim", "fenced", "verdict:heal-failed", "resolution"],
  },
  {
    state: "healing",
    meaning: "the environment is fenced; targets are being cut over",
    when: deployed({ decided: ["failed"], claimed: [true], fenced: [true], cutOver: ["none", "some"] }),
    next: ["claim", "cut-over", "verdict:heal-failed", "resolution"],
  },
  {
    state: "restored",
    meaning: "every target is cut over; it remains to see that all is well",
    when: deployed({ decided: ["failed"], claimed: [true], fenced: [true], cutOver: ["all"] }),
    next: ["claim", "verdict:healed", "verdict:heal-failed", "resolution"],
  },
  {
    state: "resolved",
    meaning: "the run has its verdict",
    when: [
      ...givenUp({ decided: ["not-deployed"], verdict: ["not-deployed"] }),
      ...deployed({ decided: ["healthy"], verdict: ["healthy"] }),
      ...deployed({ decided: ["failed"], verdict: ["would-heal"] }),
      ...deployed({ decided: ["failed"], claimed: [true], fenced: [true], cutOver: ["all"], verdict: ["healed"] }),
    ],
    next: [],
  },
  {
    state: "unhealed",
    meaning: "the healing failed; somebody has to look at the environment and settle the run",
    when: healFailed,
    next: ["resolution"],
  },
  {
    state: "settled",
    meaning: "an operator has settled the run by hand",
    when: [
      ...deployed({}),
      ...deployed({ decided: ["healthy", "failed"] }),
      ...healing.flatMap((pattern) => deployed({ decided: ["failed"], ...pattern })),
      ...healFailed,
    ].map((pattern) => ({ ...pattern, resolution: [true] })),
    next: [],
  },
];

const members = Object.keys(shapeValues) as (keyof Shape)[];

function matches(pattern: Pattern, shape: Shape): boolean {
  return members.every((member) => {
    const allowed = (pattern[member] ?? shapeValues[member].slice(0, 1)) as readonly unknown[];
    return allowed.includes(shape[member]);
  });
}

/** Every row that a shape fits. The tests show that it is at most one. */
export function rowsOf(shape: Shape): readonly Row[] {
  return table.filter((row) => row.when.some((pattern) => matches(pattern, shape)));
}

/** A set of facts that no order of steps leads to: somebody wrote past the rules. Nothing may be built on it. */
export class InconsistentRun extends Error {
  constructor(shape: Shape) {
    const facts = members.filter((member) => shape[member] !== shapeValues[member][0]);
    const names = facts.map((member) => (shape[member] === true ? member : `${member}: ${String(shape[member])}`));
    super(
      `the facts of this run contradict each other (${names.join(", ")}); ` +
        `nothing is done with it. Look at the run's objects in the recovery store`,
    );
    this.name = "InconsistentRun";
  }
}

function part(targets: readonly TargetFacts[], fact: keyof TargetFacts): Part {
  const present = targets.filter((target) => target[fact] !== undefined).length;
  if (present === 0) return "none";
  return present === targets.length ? "all" : "some";
}

export function shapeOf(facts: RunFacts): Shape {
  const targets = Object.values(facts.targets);
  return {
    opened: facts.opened !== undefined,
    protected: part(targets, "protected"),
    staged: part(targets, "staged"),
    proven: part(targets, "proven"),
    ticket: facts.ticket !== undefined,
    admitted: facts.admitted === undefined ? "none" : facts.admitted.closed === true ? "closed" : "deploy",
    decided: facts.decided?.decision ?? "none",
    claimed: facts.claims.length > 0,
    fenced: facts.fenced !== undefined,
    cutOver: part(targets, "cutOver"),
    verdict: facts.verdict?.verdict ?? "none",
    resolution: facts.resolution !== undefined,
  };
}

/** The state of a run, what it means and what may come next. Throws {@link InconsistentRun}. */
export function stateOf(facts: RunFacts): Row {
  return stateOfShape(shapeOf(facts));
}

export function stateOfShape(shape: Shape): Row {
  const [row] = rowsOf(shape);
  if (row === undefined) throw new InconsistentRun(shape);
  return row;
}

/** Whether something may have been deployed whose outcome nobody has settled: such a run blocks its targets. */
export function isUnresolved(state: State): boolean {
  return unresolved.has(state);
}

const unresolved: ReadonlySet<State> = new Set([
  "deploying",
  "passed",
  "failed",
  "claimed",
  "healing",
  "restored",
] satisfies State[]);
