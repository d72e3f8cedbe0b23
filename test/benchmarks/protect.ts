/** What it costs to protect a database: the dump, its fingerprint and the vault, against the dump alone. */
import { type Figure, median } from "./figures";
import type { Answer } from "./job";
import { unbounded, type World } from "./world";

export interface Protection {
  readonly figure: Figure;
  /** Bytes that the vault took of the first one, when it was empty. */
  readonly firstBytes: number;
  /** The last one; its recovery point is in the vault. */
  readonly answer: Answer;
}

export async function measureProtect(world: World, gigabytes: number, repeats: number): Promise<Protection> {
  const dump = (): Promise<number> => world.program("pg_dump", ["--format=custom", "--compress=0"]);
  const bare: number[] = [];
  const jobs: Answer[] = [];
  // The first one reads the disk.
  await dump();
  for (let turn = 0; turn < repeats; turn++) {
    bare.push(await dump());
    jobs.push(await world.job("protect", unbounded));
    world.say(`dumped in ${bare.at(-1)?.toFixed(2)} s, protected in ${jobs.at(-1)?.seconds.toFixed(2)} s`);
  }
  const [first] = jobs;
  const answer = jobs.at(-1);
  if (first === undefined || answer === undefined) throw new Error("nothing was measured");
  return {
    answer,
    firstBytes: first.newBytes ?? 0,
    figure: {
      what: `protect ${gigabytes} GB: dump, fingerprint and vault`,
      measured: median(jobs.map(({ seconds }) => seconds)),
      unit: "s",
      against: { what: "pg_dump -Fc -Z0 > /dev/null", value: median(bare) },
      aims: [{ of: "ratio", bound: 1.25 }],
    },
  };
}

/** How much a vault that keeps every chunk once stores of a database that changed a little. */
export async function measureSecondProtect(world: World, gigabytes: number, first: number): Promise<Figure> {
  await world.changeLittle();
  const { newBytes = 0 } = await world.job("protect", unbounded);
  return {
    what: `bytes stored by a second protect of ${gigabytes} GB, 1 % of the orders changed`,
    measured: newBytes / 1e6,
    unit: "MB",
    against: { what: "the first", value: first / 1e6 },
    aims: [{ of: "ratio", bound: 0.1 }],
  };
}
