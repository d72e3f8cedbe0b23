/** The figures of one run of the benchmarks, with what is to be known of the machine. */
import { execFileSync } from "node:child_process";
import * as os from "node:os";
import * as z from "zod/mini";
import { type Figure, isReached, markdown, ratio } from "./figures";

const figure = z.object({
  what: z.string(),
  measured: z.number(),
  unit: z.enum(["s", "MB", "ms"]),
  against: z.object({ what: z.string(), value: z.number() }),
  aims: z.array(z.object({ of: z.enum(["ratio", "times less", "value"]), bound: z.number() })),
  note: z.exactOptional(z.string()),
  failed: z.exactOptional(z.boolean()),
});

const schema = z.object({ at: z.string(), machine: z.string(), load: z.number(), figures: z.array(figure) });

export type Report = z.infer<typeof schema>;

/** Processors that are busy while nothing is measured yet. */
export function loadNow(): number {
  return os.loadavg()[0] ?? 0;
}

export function reportOf(figures: readonly Figure[], load: number, postgres: string): object {
  return {
    at: new Date().toISOString(),
    machine: machine(postgres),
    load,
    // The ratio and the judgement are for who reads the file; both follow from the rest.
    figures: figures.map((each) => ({ ...each, ratio: ratio(each), reached: isReached(each) })),
  };
}

function machine(postgres: string): string {
  const processors = os.cpus();
  const version = execFileSync(postgres, ["--version"], { encoding: "utf8" }).trim();
  return (
    `${processors.length} x ${processors[0]?.model.trim() ?? "?"}, ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB, ` +
    `${version}, Node.js ${process.version}`
  );
}

/** The table of the documentation. Throws when the text is no report. */
export function tableOf(text: string): string {
  const { at, machine: on, load, figures } = schema.parse(JSON.parse(text));
  return `${markdown(figures)}\n\nMeasured ${at.slice(0, 10)} on ${on}; load before the run ${load.toFixed(1)}.\n`;
}
