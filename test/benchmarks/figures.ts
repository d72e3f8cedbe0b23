/** What a benchmark has measured, and how it is shown. Pure. */

export type Unit = "s" | "MB" | "ms";

/** One row of the table: something measured, and what it is compared with in the same run. */
export interface Figure {
  readonly what: string;
  readonly measured: number;
  readonly unit: Unit;
  readonly against: { readonly what: string; readonly value: number };
  /** What is to be reached; every part of it. */
  readonly aims: readonly Aim[];
  readonly note?: string;
  /** True when something else than the aims was not as it must be; the note says what. */
  readonly failed?: boolean;
}

/** A bound on the ratio to what is compared, on how many times less it is, or on the value itself. */
export interface Aim {
  readonly of: "ratio" | "times less" | "value";
  readonly bound: number;
}

export function ratio({ measured, against }: Figure): number {
  return measured / against.value;
}

export function isReached(figure: Figure): boolean {
  if (figure.failed === true) return false;
  return figure.aims.every(({ of, bound }) => {
    if (of === "value") return figure.measured <= bound;
    return of === "ratio" ? ratio(figure) <= bound : 1 / ratio(figure) >= bound;
  });
}

/** The table of the documentation, ready to be pasted. */
export function markdown(figures: readonly Figure[]): string {
  const lines = figures.map((figure) => {
    const texts = cells(figure).map((cell) => cell.replaceAll("|", "\\|"));
    return `| ${texts.join(" | ")} |`;
  });
  return ["| what | measured | compared with | ratio | aim | reached |", "|---|---|---|---|---|---|", ...lines].join(
    "\n",
  );
}

/** The table for a terminal. */
export function table(figures: readonly Figure[]): string {
  const rows = [["what", "measured", "compared with", "ratio", "aim", "reached"], ...figures.map(cells)];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function cells(figure: Figure): string[] {
  const { what, measured, unit, against, note } = figure;
  const times = ratio(figure);
  return [
    note === undefined ? what : `${what} (${note})`,
    amount(measured, unit),
    `${against.what}: ${amount(against.value, unit)}`,
    times < 0.01 ? `1/${Math.round(1 / times)}` : times.toFixed(2),
    figure.aims.map((aim) => aimText(aim, unit)).join(", "),
    isReached(figure) ? "yes" : "no",
  ];
}

function aimText({ of, bound }: Aim, unit: Unit): string {
  if (of === "value") return `<= ${bound} ${unit}`;
  return of === "ratio" ? `<= ${bound}` : `${bound} times less`;
}

function amount(value: number, unit: Unit): string {
  return `${value < 10 ? value.toPrecision(3) : value.toFixed(1)} ${unit}`;
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The value that so many percent of all values do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  if (value === undefined) throw new Error("nothing was measured");
  return value;
}
