/** The workers of a restore: those that load the dump, and those that do meanwhile what comes after data; at last all do. */
import { escapeIdentifier as quoted, type Client } from "pg";
import { AfterData, type Loaded, type LoadedAlone, type Task } from "./after-data";
import { earlyTables, meaningOf, readEarly, type EarlyRows, type EarlyTable } from "./early";
import { all, tableKey, type Relation } from "./fingerprint";
import type { Entry } from "./toc";

/** Restores entries. */
type Build = (entries: readonly Entry[]) => Promise<void>;

/** Loads data on a session, and calls `free` as soon as it needs the session no more. */
type Loading = (client: Client, free: () => void) => Promise<void>;

export interface CrewOptions {
  /** How many work at the same time, the one that loads included. */
  readonly workers: number;
  /** Opens a session that reads and writes as fingerprints must, in no transaction. Others end it. */
  readonly session: () => Promise<Client>;
  /** Whether tables are read back, too. */
  readonly readsBack: boolean;
}

export class Crew {
  private after = new AfterData([]);
  private build: Build = () => Promise.resolve();
  /** Those that may be read early. */
  private tables: ReadonlyMap<string, Relation> = new Map();
  private meaning = "";
  private readonly idle: Client[] = [];
  private readonly read = new Map<string, EarlyTable>();
  private waiting: (() => void)[] = [];
  private failure: { readonly error: unknown } | undefined;
  /** Tables that were analyzed with all their rows and indexes, by {@link tableKey}. */
  readonly analyzed = new Set<string>();

  constructor(private readonly options: CrewOptions) {}

  /** What has been read by now. Undefined: nothing is. */
  get early(): EarlyRows | undefined {
    return this.options.readsBack ? { meaning: this.meaning, tables: this.read } : undefined;
  }

  /** What it has not restored. */
  get rest(): readonly Entry[] {
    return this.after.rest;
  }

  /** To be called when all tables are there, and nothing is in them. */
  async prepare(entries: readonly Entry[], build: Build): Promise<void> {
    this.after = new AfterData(entries);
    this.build = build;
    if (!this.options.readsBack) return;
    await this.withSession(async (client) => {
      this.tables = await earlyTables(client);
      this.meaning = await meaningOf(client);
    });
  }

  /** A table is loaded. Throws when a worker has failed: there is no use in loading more. */
  loaded(table: Loaded): void {
    if (this.failure !== undefined) throw this.failure.error;
    this.after.loaded(table, this.tables.has(keyOf(table)));
    this.wake();
  }

  /** Loads, and works until everything is done that can be done. One worker alone only loads: pg_restore does the rest. */
  async work(loadings: readonly Loading[]): Promise<void> {
    const { workers } = this.options;
    const loaders = loadings.map((load) => {
      let free = (): void => undefined;
      const freed = new Promise<void>((resolve) => (free = resolve));
      const ended = this.orStop(this.load(load, free));
      return { ended, free: Promise.race([freed, ended]) };
    });
    const loaded = Promise.all(loaders.map(({ free }) => free)).then(() => this.after.complete());
    const others = Array.from({ length: workers - loaders.length }, () => Promise.resolve());
    const hands = workers === 1 ? [] : [...loaders.map(({ free }) => free), ...others];
    await all([
      this.orStop(loaded),
      ...loaders.map(({ ended }) => ended),
      ...hands.map((free) => free.then(() => this.takeAll())),
    ]);
  }

  private async takeAll(): Promise<void> {
    while (this.failure === undefined) {
      const task = this.after.take();
      if (task !== undefined) await this.orStop(this.do(task));
      else if (this.after.isOver) return;
      else await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  /** Lets the others look again when something is done; when it has failed, they stop. */
  private async orStop(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.failure ??= { error };
      throw error;
    } finally {
      this.wake();
    }
  }

  private wake(): void {
    for (const go of this.waiting.splice(0)) go();
  }

  private async do(task: Task): Promise<void> {
    if (task.kind === "build") await this.build(task.entries);
    else {
      await this.withSession(async (client) => {
        for (const table of task.tables)
          await (task.kind === "read" ? this.readBack(client, table) : this.analyze(client, table));
      });
    }
    this.after.done(task);
  }

  private async analyze(client: Client, { entry }: LoadedAlone): Promise<void> {
    await client.query(`ANALYZE ${quoted(entry.schema)}.${quoted(entry.tag)}`);
    this.analyzed.add(tableKey(entry.schema, entry.tag));
  }

  private async readBack(client: Client, loaded: LoadedAlone): Promise<void> {
    const table = this.tables.get(keyOf(loaded));
    if (table !== undefined) this.read.set(keyOf(loaded), await readEarly(client, table, loaded.xid));
  }

  private async load(load: Loading, free: () => void): Promise<void> {
    const client = await this.takeSession();
    let isFree = false;
    await load(client, () => {
      if (!isFree) this.idle.push(client);
      isFree = true;
      free();
    });
  }

  private async withSession(work: (client: Client) => Promise<void>): Promise<void> {
    const client = await this.takeSession();
    await work(client);
    this.idle.push(client);
  }

  private async takeSession(): Promise<Client> {
    return this.idle.pop() ?? (await this.openSession());
  }

  private async openSession(): Promise<Client> {
    const client = await this.options.session();
    // It is this very restore that a lock is waited for.
    await client.query("SET lock_timeout = 0; SET synchronous_commit = off");
    return client;
  }
}

function keyOf({ entry }: Loaded): string {
  return tableKey(entry.schema, entry.tag);
}
