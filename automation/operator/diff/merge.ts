/** The difference of two ordered streams of rows, one row of each in memory. Pure. */

export interface Row {
  /** What identifies the row; the row itself in a table without a key. */
  readonly key: string;
  readonly row: string;
}

export type Difference =
  | { readonly kind: "failed-only" | "live-only"; readonly row: string }
  | { readonly kind: "changed"; readonly key: string; readonly live: string; readonly failed: string };

/**
 * Walks both streams. Rows are ordered by the bytes of their keys (`COLLATE "C"`); a key that occurs more than once, in
 * a table without a primary key, is paired as often as both sides have it.
 */
export async function* differences(live: AsyncIterable<Row>, failed: AsyncIterable<Row>): AsyncGenerator<Difference> {
  const [left, right] = [live[Symbol.asyncIterator](), failed[Symbol.asyncIterator]()];
  let [mine, theirs] = [await left.next(), await right.next()];
  while (!mine.done || !theirs.done) {
    const order = mine.done ? 1 : theirs.done ? -1 : compare(mine.value.key, theirs.value.key);
    if (order < 0 && !mine.done) {
      yield { kind: "live-only", row: mine.value.row };
      mine = await left.next();
    } else if (order > 0 && !theirs.done) {
      yield { kind: "failed-only", row: theirs.value.row };
      theirs = await right.next();
    } else if (!mine.done && !theirs.done) {
      const { key, row } = mine.value;
      if (row !== theirs.value.row) yield { kind: "changed", key, live: row, failed: theirs.value.row };
      [mine, theirs] = [await left.next(), await right.next()];
    }
  }
}

function compare(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The members of two JSON rows that differ, as `name: old → new`. */
export function changedMembers(live: string, failed: string): string {
  const [before, after] = [live, failed].map((text) => JSON.parse(text) as Record<string, unknown>);
  const names = Object.keys(before ?? {}).filter((name) => written(before?.[name]) !== written(after?.[name]));
  // A number that only differs in its last digits, beyond what JavaScript keeps, shows in the text alone.
  if (names.length === 0) return `${live} → ${failed}`;
  return names.map((name) => `${name}: ${written(before?.[name])} → ${written(after?.[name])}`).join(", ");
}

function written(value: unknown): string {
  return JSON.stringify(value) ?? "absent";
}
