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
  const [old, now] = [await readTables(before.data), await readTables(after.data)];
  const [oldRoots, newRoots] = [await rootsOf(before), await rootsOf(after)];
  // Only the dump that has a partition knows to which table it belongs.
  const suspects = new Set(
    differingTables(old, now).flatMap(({ table, before: was, after: is }) => [
      ...(was === undefined ? [] : [oldRoots(table)]),
      ...(is === undefined ? [] : [newRoots(table)]),
    ]),
  );
  const [left, right] = [whole(old, oldRoots, suspects), whole(now, newRoots, suspects)];
  const changes = new Map<string, TableChange>();
  const comparable = new Set<string>();
  for (const table of suspects) {
    const [had, has] = [left.get(table), right.get(table)];
    changes.set(table, { before: had?.rows, after: has?.rows });
    if (had === undefined || has?.columns !== had.columns) continue;
    if (had.rows + has.rows <= countableRows) comparable.add(table);
  }
  if (comparable.size === 0) return changes;
  const [hadRows, hasRows] = [
    await occurrences(before.data, oldRoots, comparable),
    await occurrences(after.data, newRoots, comparable),
  ];
  for (const table of comparable) {
    const had = hadRows.get(table) ?? none;
    const has = hasRows.get(table) ?? none;
    const [gone, come] = [missing(had, has), missing(has, had)];
    // The same rows in another order are no change.
    if (gone + come === 0) changes.delete(table);
    else changes.set(table, { before: left.get(table)?.rows, after: right.get(table)?.rows, gone, come });
  }
  return changes;
}

/** The table that a partition belongs to; any other table itself. */
type RootOf = (table: string) => string;

async function rootsOf({ typed }: Dumps): Promise<RootOf> {
  const roots = partitionRoots(await fs.readFile(typed, "utf8"));
  return (table) => roots.get(table) ?? table;
}

/** Tables with all their partitions. */
function whole(tables: DumpTables, rootOf: RootOf, wanted: ReadonlySet<string>) {
  const found = new Map<string, { readonly columns: string; readonly rows: number }>();
  for (const [table, { columns, rows }] of tables) {
    const root = rootOf(table);
    if (wanted.has(root)) found.set(root, { columns, rows: rows + (found.get(root)?.rows ?? 0) });
  }
  return found;
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

async function occurrences(
  data: string,
  rootOf: RootOf,
  wanted: ReadonlySet<string>,
): Promise<Map<string, Occurrences>> {
  const tables = new Map<string, Occurrences>();
  await readCopies(data, ({ table }) => {
    const name = rootOf(table);
    if (!wanted.has(name)) return () => undefined;
    const found = tables.get(name) ?? new Map<number, number>();
    tables.set(name, found);
    return (rows) => {
      for (const hash of rowHashes(rows)) found.set(hash, (found.get(hash) ?? 0) + 1);
    };
  });
  return tables;
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
