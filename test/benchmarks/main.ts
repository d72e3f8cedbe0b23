/** `npm run bench`: measures the protection against plain PostgreSQL tools on the same machine, in the same run. */
import * as fs from "node:fs";
import { Command } from "@commander-js/extra-typings";
import { type Figure, isReached, markdown, table } from "./figures";
import { measureCutOver, cutOverFigure, measureRestoreIntoLive } from "./heal";
import type { Answer } from "./job";
import { measureImpact } from "./impact";
import { measureThroughPooler } from "./pooled";
import { measureProtect, measureSecondProtect } from "./protect";
import { measureStage } from "./stage";
import { World } from "./world";

const parts = ["heal", "protect", "stage"] as const;
type Part = (typeof parts)[number];

/** What the sizes have in common to be compared. */
interface Measured {
  readonly gigabytes: number;
  readonly protect: Answer;
  readonly stage?: Answer;
  readonly cutOver?: number;
}

async function main(): Promise<void> {
  const program = new Command("bench")
    .description("Measures what protecting, staging and healing a database take. Each row compares within this run.")
    .argument("[parts...]", `what to measure: ${parts.join(", ")}`, [...parts])
    .option("--sizes <gigabytes>", "sizes on disk, smallest first", "0.1,1,4")
    .option("--repeat <times>", "repetitions of what is below 2 GB; the median counts", "3")
    .option("--json <file>", "write the figures to a file")
    .option("--markdown", "print the table as docs/performance.md has it")
    .parse();
  const asked = program.args.length === 0 ? parts : program.args.map(partOf);
  const { sizes, repeat, json, markdown: asMarkdown } = program.opts();
  const world = await World.open(say);
  // An interrupted benchmark leaves nothing behind either.
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void world.close().finally(() => process.exit(130)));
  }
  try {
    const figures = await measure(world, new Set(asked), sizes.split(",").map(Number), Number(repeat));
    if (json !== undefined) fs.writeFileSync(json, `${JSON.stringify({ at: new Date(), figures }, undefined, 2)}\n`);
    process.stdout.write(`\n${asMarkdown ? markdown(figures) : table(figures)}\n`);
    process.exitCode = figures.every(isReached) ? 0 : 1;
  } finally {
    await world.close();
  }
}

async function measure(world: World, asked: Set<Part>, sizes: number[], repeats: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  const all: Measured[] = [];
  // Where a long comparison is made once: at the biggest size that does not take minutes.
  const main = Math.max(...sizes.filter((size) => size <= 1), Math.min(...sizes));
  for (const gigabytes of sizes) {
    await world.fill(gigabytes);
    const times = gigabytes < 2 ? repeats : 1;
    const protection = await measureProtect(world, gigabytes, asked.has("protect") ? times : 1);
    if (asked.has("protect")) figures.push(...protection.figures);
    const protect = protection.answer;
    let stage: Answer | undefined;
    let cutOver: number | undefined;
    if (asked.has("stage") || asked.has("heal")) {
      const staging = await measureStage(world, gigabytes, asked.has("stage") ? times : 1, protect);
      if (asked.has("stage")) figures.push(...staging.figures);
      stage = staging.answer;
      if (asked.has("heal")) cutOver = await measureCutOver(world, staging.pair);
      if (asked.has("heal") && gigabytes === main) figures.push(...(await measureThroughPooler(world, staging.pair)));
    }
    all.push({ gigabytes, protect, ...(stage && { stage }), ...(cutOver !== undefined && { cutOver }) });
    if (gigabytes !== main) continue;
    if (asked.has("protect")) figures.push(await measureSecondProtect(world, gigabytes, protection.firstBytes));
    if (asked.has("protect") && asked.has("stage")) figures.push(...(await measureImpact(world)));
    if (cutOver !== undefined) figures.push(cutOverFigure(gigabytes, cutOver, await measureRestoreIntoLive(world)));
  }
  return [...figures, ...growth(all)];
}

/** What must not grow with the size. */
function growth(all: readonly Measured[]): Figure[] {
  const [least, most] = [all[0], all.at(-1)];
  if (least === undefined || most === undefined || least === most) return [];
  const sizes = `${most.gigabytes} GB`;
  const against = `${least.gigabytes} GB`;
  const memory = (what: string, of: Answer | undefined, than: Answer | undefined): Figure[] =>
    of === undefined || than === undefined
      ? []
      : [
          {
            what: `most memory of ${what}, ${sizes}`,
            measured: of.memory / 1e6,
            unit: "MB",
            against: { what: against, value: than.memory / 1e6 },
            aims: [
              { of: "ratio", bound: 1.2 },
              { of: "value", bound: 200 },
            ],
          },
        ];
  return [
    ...(least.cutOver === undefined || most.cutOver === undefined
      ? []
      : [
          {
            what: `cut-over of ${sizes}`,
            measured: most.cutOver / 1000,
            unit: "s",
            against: { what: against, value: least.cutOver / 1000 },
            aims: [{ of: "ratio", bound: 1.3 }],
          } satisfies Figure,
        ]),
    ...memory("protect", most.protect, least.protect),
    ...memory("wait", most.stage, least.stage),
  ];
}

function partOf(text: string): Part {
  const part = parts.find((each) => each === text);
  if (part === undefined) throw new Error(`there is no part "${text}"; there are ${parts.join(", ")}`);
  return part;
}

const started = Date.now();

function say(line: string): void {
  process.stderr.write(`${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${line}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${(error as Error).stack}\n`);
  process.exitCode = 2;
});
