/** Figures in words. */
import type { UndoneTable } from "../../run/facts";

/** Milliseconds as `820 ms` or `2.4 s`. */
export function duration(milliseconds: number | null): string {
  if (milliseconds === null) return "an unknown time";
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

export function undoneWords(undone: readonly UndoneTable[]): string {
  if (undone.length === 0) return "nothing";
  return undone.map(tableWords).join(", ");
}

function tableWords({ table, change, before, failed }: UndoneTable): string {
  switch (change) {
    case "added":
      return `${table} added`;
    case "removed":
      return `${table} removed`;
    case "changed":
      return before === failed ? `${table} changed` : `${table} changed (${before ?? "?"} rows, then ${failed ?? "?"})`;
  }
}
