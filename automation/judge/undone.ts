/**
 * What became of the rows of each table from one dump to another: an outside count, for what a verdict says that a
 * healing undid.
 */
import * as fs from "node:fs/promises";
import type { UndoneTable } from "../../run/facts";
import { differingTables, partitionRoots, readCopies, readTables, type DumpTables } from "./dump";

/** How often each row of a table occurs, by the hash of its text. */
type Occurrences = Map<number, number>;

/** A table whose rows differ. `gone` and `come` are absent where its columns differ as well, or it is too large. */
export interface TableChange {
  readonly before: number | undefined;
  readonly after: number | undefined;
  readonly gone?: number;
  readonly come?: number;
}

/** A dump of the rows, and one of the schema, both by pg_dump. */
export interface Dumps {
  readonly data: string;
  readonly typed: string;
}

/** A judge's memory is bounded: the rows of a larger table are only counted. */
const countableRows = 4_000_000;

/** The tables whose rows differ, in whatever order the rows are. Partitions count as their table. */
export async function changedTables(before: Dumps, after: Dumps): Promise<Map<string, TableChange>> {
  const [old, now] = [await Side.read(before), await Side.read(after)];
  // Only the dump that has a partition knows to which table it belongs.
  const suspects = new Set(
    differingTables(old.tables, now.tables).flatMap((table) => [
      ...(table.before === undefined ? [] : [old.rootOf(table.table)]),
      ...(table.after === undefined ? [] : [now.rootOf(table.table)]),
    ]),
  );
  const [left, right] = [old.whole(suspects), now.whole(suspects)];
  const comparable = new Set(
    [...suspects].filter((table) => {
      const [had, has] = [left.get(table), right.get(table)];
      return had !== undefined && has?.columns === had.columns && had.rows + has.rows <= countableRows;
    }),
  );
  const [hadRows, hasRows] = [await old.occurrences(comparable), await now.occurrences(comparable)];
  const changes = new Map<string, TableChange>();
  for (const table of suspects) {
    const counts = { before: left.get(table)?.rows, after: right.get(table)?.rows };
    if (!comparable.has(table)) {
      changes.set(table, counts);
      continue;
    }
    const [had, has] = [hadRows.get(table) ?? none, hasRows.get(table) ?? none];
    const [gone, come] = [missing(had, has), missing(has, had)];
    // The same rows in another order are no change.
    if (gone + come > 0) changes.set(table, { ...counts, gone, come });
  }
  return changes;
}

/** One of the two dumps. */
class Side {
  private constructor(
    private readonly data: string,
    readonly tables: DumpTables,
    private readonly roots: ReadonlyMap<string, string>,
  ) {}

  static async read({ data, typed }: Dumps): Promise<Side> {
    return new Side(data, await readTables(data), partitionRoots(await fs.readFile(typed, "utf8")));
  }

  /** The table that a partition belongs to; any other table itself. */
  rootOf(table: string): string {
    return this.roots.get(table) ?? table;
  }

  /** Tables with all their partitions. */
  whole(wanted: ReadonlySet<string>): Map<string, { readonly columns: string; readonly rows: number }> {
    const found = new Map<string, { readonly columns: string; readonly rows: number }>();
    for (const [table, { columns, rows }] of this.tables) {
      const root = this.rootOf(table);
      if (wanted.has(root)) found.set(root, { columns, rows: rows + (found.get(root)?.rows ?? 0) });
    }
    return found;
  }

  async occurrences(wanted: ReadonlySet<string>): Promise<Map<string, Occurrences>> {
    const tables = new Map<string, Occurrences>();
    if (wanted.size === 0) return tables;
    await readCopies(this.data, ({ table }) => {
      const name = this.rootOf(table);
      if (!wanted.has(name)) return () => undefined;
      const found = tables.get(name) ?? new Map<number, number>();
      tables.set(name, found);
      return (rows) => {
        for (const hash of rowHashes(rows)) found.set(hash, (found.get(hash) ?? 0) + 1);
      };
    });
    return tables;
  }
}

const none: Occurrences = new Map<number, number>();

/** What a verdict says, held against what was counted: a sentence for each thing that is not so. */
export function untruths(told: readonly UndoneTable[], counted: ReadonlyMap<string, TableChange>): string[] {
  const named = new Set(told.map(({ table }) => table));
  const silent = [...counted.keys()].filter((table) => !named.has(table)).map((table) => `${table} is not told`);
  return [...silent, ...told.flatMap((table) => untruth(table, counted.get(table.table)))];
}

function untruth({ table, change, before, failed, rows }: UndoneTable, counted: TableChange | undefined): string[] {
  // A materialized view is not in a dump of rows, nor is a table whose columns alone have changed.
  if (counted === undefined) return [];
  const was = counted.before === undefined ? "added" : counted.after === undefined ? "removed" : "changed";
  if (change !== was) return [`${table} is told as ${change}, and was ${was}`];
  const [sawBefore, sawAfter] = [counted.before ?? null, counted.after ?? null];
  if (before !== sawBefore || failed !== sawAfter) {
    return [`${table} had ${sawBefore} rows, then ${sawAfter}, and is told to have had ${before}, then ${failed}`];
  }
  if (rows === undefined || counted.gone === undefined || counted.come === undefined) return [];
  const doubt = rows.uncertain ?? 0;
  const off = Math.max(
    Math.abs(rows.removed + rows.changed - counted.gone),
    Math.abs(rows.added + rows.changed - counted.come),
  );
  if (off <= doubt) return [];
  const { added, removed, changed } = rows;
  return [
    `${table} lost ${counted.gone} rows and got ${counted.come}, and is told with ${added} added, ${removed} removed ` +
      `and ${changed} changed`,
  ];
}

/** How many rows of one table are not in another, each as often as it occurs. */
function missing(of: Occurrences, among: Occurrences): number {
  let count = 0;
  for (const [hash, times] of of) count += Math.max(0, times - (among.get(hash) ?? 0));
  return count;
}

/**
 * A hash of each line: 52 bits of FNV-1a in two lanes. A number is a cheap key, and no adversary chooses rows for a
 * drill's count.
 */
function* rowHashes(rows: Buffer): Generator<number> {
  let low = 0x811c9dc5;
  let high = 0x01000193;
  // An index is several times as fast as an iterator here.
  for (let index = 0; index < rows.length; index++) {
    const byte = rows[index] ?? 0;
    if (byte === 10) {
      yield (low >>> 0) + (high >>> 12) * 0x1_0000_0000;
      low = 0x811c9dc5;
      high = 0x01000193;
    } else {
      low = Math.imul(low ^ byte, 0x01000193);
      high = Math.imul(high ^ byte, 0x85ebca6b);
    }
  }
}
