/** `npm run bench`: measures the protection against plain PostgreSQL tools on the same machine, in the same run. */
import * as fs from "node:fs";
import type { SwapPair } from "../../jobs/database";
import { type Figure, isReached, table } from "./figures";
import { cutOverFigure, measureCutOver, measureRestoreIntoLive } from "./heal";
import { measureImpact } from "./impact";
import type { Answer } from "./job";
import { type Options, parseOptions, type Row } from "./options";
import { measureThroughPooler } from "./pooled";
import { measureProtect, measureSecondProtect } from "./protect";
import { loadNow, reportOf, tableOf } from "./report";
import { measureStage } from "./stage";
import { World } from "./world";

/** Above this, in gigabytes, nothing is repeated: it takes minutes, and chance means less. */
const repeatedUpTo = 2;
/** Long comparisons are made once: at the biggest size up to this one. */
const comparedUpTo = 1;
/** Rows that there is one of, at the size of the long comparisons. */
const once: readonly Row[] = ["pooled", "second protect", "impact"];

/** What the sizes have in common to be compared. */
interface Measured {
  readonly gigabytes: number;
  readonly protect: Answer;
  readonly stage?: Answer;
  readonly cutOver?: number;
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), true);
  if (options.table !== undefined) {
    process.stdout.write(tableOf(fs.readFileSync(options.table, "utf8")));
    return;
  }
  const load = loadNow();
  if (load > 0.5) say(`the machine is not idle (its load is ${load.toFixed(1)}): the figures will not hold`);
  const opening = World.open(say);
  // An interrupted benchmark leaves nothing behind either.
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      interrupted = true;
      say("interrupted: removing everything");
      void opening.then((world) => world.close()).finally(() => process.exit(130));
    });
  }
  const world = await opening;
  try {
    const figures = await measure(world, options);
    if (options.json !== undefined) {
      const report = reportOf(figures, load, world.postgres("postgres"));
      fs.writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`);
    }
    process.stdout.write(`\n${table(figures)}\n`);
    process.exitCode = figures.every(isReached) ? 0 : 1;
  } finally {
    await world.close();
  }
}

async function measure(world: World, { rows, sizes, repeat }: Options): Promise<Figure[]> {
  const figures: Figure[] = [];
  const all: Measured[] = [];
  const compared = Math.max(...sizes.filter((size) => size <= comparedUpTo), Math.min(...sizes));
  const onlyOnce = [...rows].every((row) => once.includes(row));
  for (const gigabytes of onlyOnce ? [compared] : sizes) {
    await world.fill(gigabytes);
    const times = (row: Row): number => (rows.has(row) && gigabytes <= repeatedUpTo ? repeat : 1);
    const protection = await measureProtect(world, gigabytes, times("protect"));
    const protect = protection.answer;
    if (rows.has("protect")) figures.push(protection.figure);
    let staged: { stage: Answer; pair: SwapPair } | undefined;
    if (["stage", "memory of wait", "cut-over", "pooled"].some((row) => rows.has(row as Row))) {
      const staging = await measureStage(world, gigabytes, times("stage"), protect);
      if (rows.has("stage")) figures.push(staging.figure);
      staged = { stage: staging.answer, pair: staging.pair };
    }
    const cutOver = staged !== undefined && rows.has("cut-over") ? await measureCutOver(world, staged.pair) : undefined;
    all.push({ gigabytes, protect, ...(staged && { stage: staged.stage }), ...(cutOver !== undefined && { cutOver }) });
    if (gigabytes !== compared) continue;
    if (rows.has("pooled") && staged !== undefined) figures.push(...(await measureThroughPooler(world, staged.pair)));
    if (rows.has("second protect")) {
      figures.push(await measureSecondProtect(world, gigabytes, protection.firstBytes));
    }
    if (rows.has("impact")) figures.push(...(await measureImpact(world)));
    // The last one: it ruins the live database.
    if (cutOver !== undefined) figures.push(cutOverFigure(gigabytes, cutOver, await measureRestoreIntoLive(world)));
  }
  return [...figures, ...growth(all, rows)];
}

/** What must not grow with the size. */
function growth(all: readonly Measured[], rows: ReadonlySet<Row>): Figure[] {
  const [least, most] = [all[0], all.at(-1)];
  if (least === undefined || most === undefined || least === most) return [];
  const sizes = `${most.gigabytes} GB`;
  const against = `${least.gigabytes} GB`;
  const memory = (what: string, of: Answer | undefined, than: Answer | undefined): Figure[] =>
    of === undefined || than === undefined || !rows.has(`memory of ${what}` as Row)
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

const started = Date.now();
let interrupted = false;

function say(line: string): void {
  process.stderr.write(`${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${line}\n`);
}

main().catch((error: unknown) => {
  if (interrupted) return;
  process.stderr.write(`${(error as Error).stack}\n`);
  process.exitCode = 2;
});
