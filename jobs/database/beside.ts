/** What is done beside the loading of a dump: a table that is loaded gets its indexes while the next one is loaded. */
import { escapeIdentifier as quoted, type Client } from "pg";
import { earlyTables, meaningOf, readEarly, type EarlyRows, type EarlyTable } from "./early";
import { tableKey, type Relation } from "./fingerprint";
import type { Entry } from "./toc";

/** Restores entries. */
type Build = (entries: readonly Entry[]) => Promise<void>;

/** What comes after the data: what is not there yet, and what of it is possible by now. */
export class AfterData {
  /** What is not there yet, by its id: data, and everything that comes after it. */
  private readonly pending: Map<number, Entry>;
  /** Tables that are still without their data. */
  private readonly empty: Set<number>;
  private readonly begun = new Set<number>();
  /** The indexes that a table is still without. */
  private readonly missing = new Map<number, Set<number>>();

  constructor(entries: readonly Entry[]) {
    const after = new Set(entries.filter(({ section }) => section === "post-data").map(({ id }) => id));
    // A comment is in no section; it comes after what it is about.
    const isAfter = ({ id, section, needs }: Entry): boolean =>
      after.has(id) || (section === "none" && needs.some((need) => after.has(need)));
    this.pending = new Map(entries.filter(isAfter).map((each) => [each.id, each]));
    this.empty = new Set(entries.filter(({ kind }) => kind === "TABLE DATA").flatMap(({ needs }) => needs));
    for (const { id, needs } of this.rest.filter(isIndex)) {
      for (const need of needs) this.missing.set(need, (this.missing.get(need) ?? new Set()).add(id));
    }
  }

  /** The data of this entry is in its table. */
  loaded(data: Entry): void {
    for (const table of data.needs) this.empty.delete(table);
  }

  /** What remains to be restored. */
  get rest(): readonly Entry[] {
    return [...this.pending.values()];
  }

  /** Whether nothing is to come any more that locks the table whole, or that its statistics are taken of. */
  isIndexed(data: Entry): boolean {
    return data.needs.every((table) => (this.missing.get(table)?.size ?? 0) === 0);
  }

  /** Builds what has become possible. What another one builds already is left to it. */
  async build(by: Build): Promise<void> {
    const isThere = (need: number): boolean => !this.pending.has(need) && !this.empty.has(need);
    const possible = this.rest.filter(
      (entry) => isIndex(entry) && !this.begun.has(entry.id) && entry.needs.every(isThere),
    );
    if (possible.length === 0) return;
    for (const { id } of possible) this.begun.add(id);
    await by(possible);
    for (const { id, needs } of possible) {
      this.pending.delete(id);
      for (const need of needs) this.missing.get(need)?.delete(id);
    }
  }
}

/** The constraints of this kind are keys; what refers to other tables waits until all are loaded. */
function isIndex({ kind }: Entry): boolean {
  return kind === "INDEX" || kind === "CONSTRAINT" || kind === "STATISTICS";
}

/** A table whose data is committed. */
export interface Loaded {
  readonly entry: Entry;
  /** Of the transaction that wrote all of its rows. Undefined: it has none, or some may be in other tables. */
  readonly xid: string | undefined;
}

interface LoadedAlone extends Loaded {
  readonly xid: string;
}

/**
 * A second connection, beside the one that loads: builds indexes, analyzes and reads back what is loaded. It does one
 * thing after the other, and most of it while the first one is busy.
 */
export class SecondWorker {
  private after = new AfterData([]);
  private build: Build = () => Promise.resolve();
  private work: Promise<void> = Promise.resolve();
  private building: Promise<void> = Promise.resolve();
  private mayBuild = true;
  /** Those that may be read early. */
  private tables: ReadonlyMap<string, Relation> = new Map();
  private meaning = "";
  private readonly unread: LoadedAlone[] = [];
  private readonly fresh: LoadedAlone[] = [];
  private readonly read = new Map<string, EarlyTable>();
  /** Tables that were analyzed with all their rows and indexes, by {@link tableKey}. */
  readonly analyzed = new Set<string>();

  /** @param client - reads as fingerprints must, in no transaction */
  constructor(
    private readonly client: Client,
    private readonly readsBack: boolean,
  ) {}

  /** What has been read by now. Undefined: nothing is. */
  get early(): EarlyRows | undefined {
    return this.readsBack ? { meaning: this.meaning, tables: this.read } : undefined;
  }

  get hasUnread(): boolean {
    return this.unread.length > 0;
  }

  /** To be called when all tables are there, and nothing is in them. */
  async prepare(after: AfterData, build: Build): Promise<void> {
    this.after = after;
    this.build = build;
    // It is this very restore that a lock is waited for.
    await this.client.query("SET lock_timeout = 0; SET synchronous_commit = off");
    if (!this.readsBack) return;
    this.tables = await earlyTables(this.client);
    this.meaning = await meaningOf(this.client);
  }

  /** A table is loaded: takes what has become possible until its turn. */
  loaded({ entry, xid }: Loaded): void {
    if (xid !== undefined) {
      if (this.readsBack) this.unread.push({ entry, xid });
      this.fresh.push({ entry, xid });
    }
    this.next(async () => {
      if (this.mayBuild) await (this.building = this.after.build(this.build));
      await this.readOne(this.client);
    });
  }

  /** From now on it leaves building to others. Waits for what it has begun. */
  async stopBuilding(): Promise<void> {
    this.mayBuild = false;
    await this.building;
  }

  /** Goes on until nothing is unread. */
  readOn(): void {
    this.next(() => this.help(this.client));
  }

  /** Waits until everything is done that was begun. */
  finish(): Promise<void> {
    return this.work;
  }

  /** Reads what is unread on another session. */
  async help(client: Client): Promise<void> {
    while (await this.readOne(client));
  }

  private next(work: () => Promise<void>): void {
    this.work = this.work.then(work);
    // It is awaited at the end, later than it may fail.
    this.work.catch(() => undefined);
  }

  /** @returns whether there was one */
  private async readOne(client: Client): Promise<boolean> {
    for (let next = this.take(this.fresh); next !== undefined; next = this.take(this.fresh)) {
      const { schema, tag } = next.entry;
      await client.query(`ANALYZE ${quoted(schema)}.${quoted(tag)}`);
      this.analyzed.add(tableKey(schema, tag));
    }
    const next = this.take(this.unread);
    if (next === undefined) return false;
    const key = tableKey(next.entry.schema, next.entry.tag);
    const table = this.tables.get(key);
    if (table !== undefined) this.read.set(key, await readEarly(client, table, next.xid));
    return true;
  }

  /** The first one of a list that needs no index any more. */
  private take(list: LoadedAlone[]): LoadedAlone | undefined {
    const at = list.findIndex(({ entry }) => this.after.isIndexed(entry));
    return at < 0 ? undefined : list.splice(at, 1)[0];
  }
}
