/** Figures in words. */
import type { UndoneTable } from "../../run/facts";

/** Milliseconds as `820 ms` or `2.4 s`. */
export function duration(milliseconds: number | null): string {
  if (milliseconds === null) return "an unknown time";
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** What a healing took out of the live database, table by table. */
export function undoneWords(undone: readonly UndoneTable[]): string {
  if (undone.length === 0) return "nothing";
  return undone.map(tableWords).join(", ");
}

function tableWords({ table, change, rows, before, failed }: UndoneTable): string {
  if (change !== "changed") return `${table} ${change} (${count((change === "added" ? failed : before) ?? null)})`;
  if (rows === undefined) return `${table} changed (${count(before)}, then ${number(failed)})`;
  const parts = (["added", "removed", "changed"] as const).filter((kind) => rows[kind] > 0);
  const doubt = rows.uncertain === undefined ? "" : `, ${number(rows.uncertain)} more or less`;
  const what = parts.map((kind) => `${number(rows[kind])} ${kind}`).join(", ");
  return `${table} ${what === "" ? "columns alone" : what}${doubt}`;
}

function count(rows: number | null): string {
  return rows === 1 ? "1 row" : `${number(rows)} rows`;
}

function number(value: number | null): string {
  return value === null ? "?" : value.toLocaleString("en-US");
}
