/** What the operator's commands do. Each returns its exit status: 0 done, 1 not all of it. */
import { createInterface } from "node:readline/promises";
import type { RunId } from "../../run/ids";
import { Refusal } from "../refusal";
import { OperatorClients } from "./clients";
import { diff } from "./diff/diff";
import { nameOf } from "./evidence";
import * as keeping from "./keeping";
import { settle, type Settlement } from "./resolve";
import { RunStore } from "./run-store";
import { connector, type ServerOptions } from "./server";
import { listing, type Run, story } from "./story";
import { findBucket, type Whereabouts } from "./whereabouts";

export class Actions {
  private readonly clients = new OperatorClients();

  constructor(private readonly print: (line: string) => void) {}

  end(): void {
    this.clients.close();
  }

  async runs(options: Whereabouts & { readonly limit: number }): Promise<number> {
    const store = await this.store(options);
    const all = (await store.runs()).map(({ run }) => run);
    this.printAll(listing(await this.load(store, all.slice(0, options.limit), options), new Date()));
    if (all.length > options.limit) this.print(`${all.length - options.limit} older runs are not shown: --limit`);
    return 0;
  }

  async show(id: string, options: Whereabouts): Promise<number> {
    this.printAll(story(await this.run(await this.store(options), id), new Date()));
    return 0;
  }

  async resolve(id: string, options: Whereabouts & Settlement): Promise<number> {
    const store = await this.store(options);
    const { lines, mine } = await settle(store, this.clients, await this.run(store, id), options);
    this.printAll(lines);
    return mine ? 0 : 1;
  }

  async list(options: Whereabouts & ServerOptions): Promise<number> {
    const store = await this.store(options);
    const runs = await this.uncleared(store, options);
    this.printAll(await keeping.list(this.place(store, runs, options), runs, new Date()));
    return 0;
  }

  async open(id: string, options: DatabaseOptions): Promise<number> {
    const { place, run } = await this.database(id, options);
    this.printAll(await keeping.open(place, keeping.chosenDatabase(run, options.target), options));
    return 0;
  }

  async close(id: string, options: DatabaseOptions): Promise<number> {
    const { place, run } = await this.database(id, options);
    this.printAll(await keeping.close(place, keeping.chosenDatabase(run, options.target)));
    return 0;
  }

  async drop(id: string, options: Whereabouts & ServerOptions & Consent): Promise<number> {
    const { place, run } = await this.database(id, options);
    return this.remove(place, [run], options, run.run.slice(0, 8));
  }

  async sweep(options: Whereabouts & ServerOptions & Consent): Promise<number> {
    const store = await this.store(options);
    const runs = keeping.overdue(await this.uncleared(store, options), new Date());
    return this.remove(this.place(store, runs, options), runs, options, "sweep");
  }

  async diff(id: string, options: DatabaseOptions & { readonly table?: string | undefined; readonly limit: number }) {
    const { place, run } = await this.database(id, options);
    const kept = keeping.chosenDatabase(run, options.target);
    const { table, limit } = options;
    return (await diff(place.connect, kept, { table, limit, print: this.print, now: new Date() })) ? 1 : 0;
  }

  private async remove(place: keeping.Place, runs: readonly Run[], consent: Consent, word: string): Promise<number> {
    const batches = keeping.removable(runs);
    const things = batches.flatMap((each) => each.things);
    if (things.length === 0) {
      this.print("there is nothing to remove");
      return 0;
    }
    for (const each of things) this.print(`${each.kind} ${nameOf(each)} of run ${each.run} (${each.target.id})`);
    await confirm(consent, `Remove ${things.length === 1 ? "this" : `these ${things.length}`} for good?`, word);
    let complete = true;
    for (const each of batches) {
      const { removed, failed } = await keeping.remove(place, each);
      this.printAll([...removed.map((line) => `removed: ${line}`), ...failed]);
      complete &&= failed.length === 0;
    }
    return complete ? 0 : 1;
  }

  private async store(where: Whereabouts): Promise<RunStore> {
    return new RunStore(this.clients.s3, await findBucket(where, this.clients.ssm));
  }

  private async database(id: string, options: Whereabouts & ServerOptions) {
    const store = await this.store(options);
    const run = await this.run(store, id);
    return { run, place: this.place(store, [run], options) };
  }

  private place(store: RunStore, runs: readonly Run[], options: ServerOptions): keeping.Place {
    // A recovery store belongs to one pipeline, and that to one Region.
    const region = runs.find(({ facts }) => facts.opened !== undefined)?.facts.opened?.plan.region ?? "";
    return { store, clients: this.clients, connect: connector(this.clients.secrets, region, options) };
  }

  private async run(store: RunStore, id: string): Promise<Run> {
    const run = await store.find(id);
    return { run, facts: await store.load(run) };
  }

  /** The runs that may have left something. */
  private async uncleared(store: RunStore, where: Whereabouts): Promise<Run[]> {
    const runs = (await store.runs()).filter(({ cleared }) => !cleared).map(({ run }) => run);
    return this.load(store, runs, where);
  }

  /** The facts of runs; of one environment, where it was given. */
  private async load(store: RunStore, ids: readonly RunId[], { environment }: Whereabouts): Promise<Run[]> {
    const runs: Run[] = [];
    for (const run of ids) runs.push({ run, facts: await store.load(run) });
    return runs.filter(({ facts }) => environment === undefined || facts.opened?.plan.environment === environment);
  }

  private printAll(lines: readonly string[]): void {
    for (const line of lines) this.print(line);
  }
}

type DatabaseOptions = Whereabouts & ServerOptions & { readonly target?: string | undefined };

interface Consent {
  readonly yes?: true | undefined;
}

/** Asks for a word, so that Enter alone removes nothing. */
async function confirm({ yes }: Consent, question: string, word: string): Promise<void> {
  if (yes === true) return;
  if (!process.stdin.isTTY) throw new Refusal("nobody is there to be asked: give --yes to remove this");
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await terminal.question(`${question} Type ${word}: `);
    if (answer.trim() !== word) throw new Refusal("nothing was removed");
  } finally {
    terminal.close();
  }
}
