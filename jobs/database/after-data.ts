/**
 * What is to be done with a table once its rows are there: keys, indexes, statistics, references to it and from it, and
 * reading it back. Tells what can be done next without waiting for a lock that another worker holds. Pure.
 */
import type { Entry } from "./toc";

/** A table whose data is committed. */
export interface Loaded {
  readonly entry: Entry;
  /** Of the transaction that wrote all of its rows. Undefined: it has none, or some may be in other tables. */
  readonly xid: string | undefined;
  /** How many bytes its rows have in the dump. */
  readonly bytes: number;
}

export interface LoadedAlone extends Loaded {
  readonly xid: string;
}

export type Task =
  | { readonly kind: "build"; readonly entries: readonly Entry[] }
  | { readonly kind: "analyze" | "read"; readonly tables: readonly LoadedAlone[] };

/** What a step locks its tables for; the most urgent first: without keys there are no references, and no reading. */
const locks = ["key", "index", "statistics", "reference", "read"] as const;
type Lock = (typeof locks)[number];

/** As PostgreSQL's manual has it for the statements that take these locks. */
const conflicts: Readonly<Record<Lock, readonly Lock[]>> = {
  key: locks,
  index: ["key", "statistics", "reference"],
  statistics: ["key", "index", "statistics", "reference"],
  reference: ["key", "index", "statistics", "reference"],
  read: ["key"],
};

const builds: Readonly<Record<string, Lock>> = {
  CONSTRAINT: "key",
  INDEX: "index",
  STATISTICS: "statistics",
  "FK CONSTRAINT": "reference",
};

/** What belongs to tables with less than this is done together: a program for each would take longer to start. */
const small = 4_000_000;
/** And so many of them at most, so that there is work for all. */
const together = 100;

interface Step {
  readonly kind: Task["kind"];
  readonly lock: Lock;
  /** Ids of the tables that are locked. */
  readonly tables: readonly number[];
  /** To build. */
  readonly entry?: Entry;
  /** To analyze, or to read. */
  readonly table?: LoadedAlone;
}

export class AfterData {
  private readonly byId: ReadonlyMap<number, Entry>;
  /** What is not there yet, by its id: everything that comes after data. */
  private readonly pending: Map<number, Entry>;
  /** Tables that are still without their data. */
  private readonly empty: Set<number>;
  private readonly loadedAlone = new Map<number, LoadedAlone>();
  /** Steps that wait for data, by each of their tables. */
  private readonly closed = new Map<number, Step[]>();
  /** Steps with all the data that they need. */
  private readonly open = new Set<Step>();
  private readonly begun = new Map<Task, readonly Step[]>();
  /** How many keys, and how many things at all, are still to be built for a table. */
  private readonly missing = { keys: new Count(), all: new Count() };
  private isComplete = false;

  constructor(entries: readonly Entry[]) {
    this.byId = new Map(entries.map((each) => [each.id, each]));
    this.pending = new Map(afterData(entries).map((each) => [each.id, each]));
    this.empty = new Set(entries.filter(({ kind }) => kind === "TABLE DATA").flatMap(({ needs }) => needs));
    for (const entry of this.rest) {
      const lock = builds[entry.kind];
      if (lock !== undefined) this.add({ kind: "build", lock, tables: this.tablesOf(entry), entry });
    }
  }

  /** @param readsBack - whether it may be read before the database is closed */
  loaded(table: Loaded, readsBack: boolean): void {
    const { needs: tables } = table.entry;
    for (const each of tables) this.empty.delete(each);
    if (isAlone(table)) {
      for (const each of tables) this.loadedAlone.set(each, table);
      this.add({ kind: "analyze", lock: "statistics", tables, table });
      if (readsBack) this.add({ kind: "read", lock: "read", tables, table });
    }
    for (const each of tables) {
      for (const step of this.closed.get(each) ?? []) if (this.hasData(step)) this.open.add(step);
      this.closed.delete(each);
    }
  }

  /** All data is loaded. */
  complete(): void {
    this.isComplete = true;
  }

  /** Takes what can be done now: the most urgent, and of that the biggest. Undefined: nothing, until something changes. */
  take(): Task | undefined {
    const possible = [...this.open].filter((step) => this.isPossible(step));
    let first = possible[0];
    for (const step of possible) if (first !== undefined && this.isBefore(step, first)) first = step;
    if (first === undefined) return undefined;
    const { kind } = first;
    const isAlike = (step: Step): boolean => step.kind === kind && this.bytes(step) < small;
    const steps = isAlike(first) ? possible.filter(isAlike).slice(0, together) : [first];
    const task: Task =
      kind === "build"
        ? { kind, entries: steps.flatMap(({ entry }) => entry ?? []) }
        : { kind, tables: steps.flatMap(({ table }) => table ?? []) };
    for (const step of steps) this.open.delete(step);
    this.begun.set(task, steps);
    return task;
  }

  done(task: Task): void {
    for (const { entry, lock, tables } of this.begun.get(task) ?? []) {
      if (entry === undefined) continue;
      this.pending.delete(entry.id);
      this.count(lock, tables, -1);
    }
    this.begun.delete(task);
  }

  /** Whether nothing is to come any more. */
  get isOver(): boolean {
    return this.isComplete && this.begun.size === 0;
  }

  /** What is not there yet. */
  get rest(): readonly Entry[] {
    return [...this.pending.values()];
  }

  private add(step: Step): void {
    if (step.entry !== undefined) this.count(step.lock, step.tables, 1);
    if (this.hasData(step)) this.open.add(step);
    else for (const table of step.tables) this.closed.set(table, [...(this.closed.get(table) ?? []), step]);
  }

  private count(lock: Lock, tables: readonly number[], by: 1 | -1): void {
    if (lock === "key") this.missing.keys.add(tables, by);
    if (lock !== "reference") this.missing.all.add(tables, by);
  }

  /** The tables that are locked for an entry: those that it needs, and those of a key that it needs. */
  private tablesOf({ needs }: Entry): number[] {
    const named = needs.flatMap((id) => {
      const need = this.byId.get(id);
      return need?.kind === "CONSTRAINT" || need?.kind === "INDEX" ? need.needs : [id];
    });
    return [...new Set(named.filter((id) => this.byId.get(id)?.kind === "TABLE"))];
  }

  private hasData({ tables }: Step): boolean {
    return tables.every((table) => !this.empty.has(table));
  }

  private isPossible(step: Step): boolean {
    return this.isReady(step) && !this.isLocked(step);
  }

  private isReady({ kind, lock, tables, entry }: Step): boolean {
    if (kind === "read") return tables.every((table) => this.missing.keys.isNone(table));
    if (kind === "analyze") return tables.every((table) => this.missing.all.isNone(table));
    // Of a table that was not loaded alone, rows may still come with those of another one.
    if (lock === "reference" && !tables.every((table) => this.loadedAlone.has(table))) return false;
    return entry?.needs.every((need) => !this.pending.has(need)) ?? false;
  }

  private isLocked({ lock, tables }: Step): boolean {
    const running = [...this.begun.values()].flat();
    return running.some(
      (other) => conflicts[lock].includes(other.lock) && tables.some((table) => other.tables.includes(table)),
    );
  }

  private isBefore(step: Step, other: Step): boolean {
    const [urgency, than] = [step, other].map(({ lock }) => locks.indexOf(lock)) as [number, number];
    return urgency < than || (urgency === than && this.bytes(step) > this.bytes(other));
  }

  private bytes({ tables }: Step): number {
    return tables.reduce((sum, table) => sum + (this.loadedAlone.get(table)?.bytes ?? 0), 0);
  }
}

/** Counts something for each table. */
class Count {
  private readonly counts = new Map<number, number>();

  add(tables: readonly number[], by: number): void {
    for (const table of tables) this.counts.set(table, (this.counts.get(table) ?? 0) + by);
  }

  isNone(table: number): boolean {
    return (this.counts.get(table) ?? 0) === 0;
  }
}

/** The entries that come after data: a comment is in no section; it comes after what it is about. */
export function afterData(entries: readonly Entry[]): Entry[] {
  const after = new Set(entries.filter(({ section }) => section === "post-data").map(({ id }) => id));
  return entries.filter(
    ({ id, section, needs }) => after.has(id) || (section === "none" && needs.some((need) => after.has(need))),
  );
}

function isAlone(table: Loaded): table is LoadedAlone {
  return table.xid !== undefined;
}
