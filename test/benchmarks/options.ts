/** What `npm run bench` is asked for. */
import { Argument, Command, InvalidArgumentError } from "@commander-js/extra-typings";

/** What the parts measure. Each is one row of the table, or one for each size. */
export type Row =
  "cut-over" | "pooled" | "protect" | "second protect" | "memory of protect" | "stage" | "memory of wait" | "impact";

export const parts = {
  heal: ["cut-over", "pooled"],
  protect: ["protect", "second protect", "memory of protect", "impact"],
  stage: ["stage", "memory of wait", "impact"],
  impact: ["impact"],
  pooled: ["pooled"],
  memory: ["memory of protect", "memory of wait"],
} as const satisfies Record<string, readonly Row[]>;

export type Part = keyof typeof parts;

const everything = Object.keys(parts) as Part[];

export interface Options {
  readonly rows: ReadonlySet<Row>;
  /** In gigabytes on disk, smallest first. */
  readonly sizes: readonly number[];
  readonly repeat: number;
  /** Where the figures go. */
  readonly json?: string;
  /** A file of figures to show instead of measuring. */
  readonly table?: string;
}

/** Throws a CommanderError, and nothing is printed, when the arguments make no sense. */
export function parseOptions(args: readonly string[], exit = false): Options {
  const command = new Command("bench")
    .description(
      "Measures what protecting, staging and healing a database take. Each row compares with something of the same run.",
    )
    .addArgument(new Argument("[parts...]", "what to measure; everything when absent").choices(everything))
    .option("--sizes <gigabytes>", "sizes on disk", sizesOf, [0.1, 1])
    .option("--repeat <times>", "repetitions below 2 GB; the median counts", repeatOf, 3)
    .option("--json <file>", "write the figures to a file")
    .option("--table <file>", "measure nothing: print such a file as the documentation's table");
  if (!exit) command.exitOverride().configureOutput({ writeErr: () => undefined });
  command.parse(args, { from: "user" });
  const [asked] = command.processedArgs;
  const { sizes, repeat, json, table } = command.opts();
  return {
    rows: new Set((asked.length === 0 ? everything : asked).flatMap((part) => parts[part])),
    sizes,
    repeat,
    ...(json !== undefined && { json }),
    ...(table !== undefined && { table }),
  };
}

function sizesOf(text: string): number[] {
  const sizes = text.split(",").map(Number);
  if (sizes.every((size) => size > 0 && size <= 100)) return sizes.sort((a, b) => a - b);
  throw new InvalidArgumentError("give gigabytes, for example 0.1,1,4.");
}

function repeatOf(text: string): number {
  const times = Number(text);
  if (Number.isInteger(times) && times > 0) return times;
  throw new InvalidArgumentError("give a whole number from 1 on.");
}
