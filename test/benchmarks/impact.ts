/** What a live client feels of protect and stage: the latency of 200 transactions a second, with and without them. */
import * as fs from "node:fs";
import * as path from "node:path";
import { transaction } from "./data";
import { type Figure, percentile } from "./figures";
import { protectedOf } from "./stage";
import { gentle, type World } from "./world";

const rate = 200;
/** Seconds of a single run of pgbench, which writes what it has measured at its end. */
const slice = 5;
const baseline = 4;
const percent = 99;

export async function measureImpact(world: World): Promise<Figure[]> {
  const [row] = await world.server.sql("SELECT max(id) AS orders FROM orders");
  const load = new Load(world, Number(row?.orders));
  await load.run(1);
  const alone = await load.run(baseline);
  world.say(`a client alone: 99 of 100 transactions within ${percentile(alone, percent).toFixed(1)} ms`);
  const during = async <T>(what: string, work: Promise<T>): Promise<{ figure: Figure; result: T }> => {
    const [result, latencies] = await Promise.all([work, load.during(work)]);
    const measured = percentile(latencies, percent);
    world.say(`during ${what}: within ${measured.toFixed(1)} ms, of ${latencies.length} transactions`);
    const figure: Figure = {
      what: `p99 of a live client, ${rate} transactions a second, during ${what}`,
      measured,
      unit: "ms",
      against: { what: "alone", value: percentile(alone, percent) },
      aims: [{ of: "ratio", bound: 5 }],
    };
    return { figure, result };
  };
  const protect = await during("protect", world.job("protect", gentle));
  await world.checkpoint();
  const stage = await during("stage", world.job("stage", gentle, { protected: protectedOf(protect.result) }));
  const staged = stage.result.staged?.database;
  if (staged !== undefined) await world.server.sql(`DROP DATABASE ${staged}`, "postgres");
  return [protect.figure, stage.figure];
}

class Load {
  private readonly script: string;

  constructor(
    private readonly world: World,
    private readonly orders: number,
  ) {
    this.script = path.join(world.folder, "transaction.sql");
    fs.writeFileSync(this.script, transaction);
  }

  /** The latencies of all transactions, in milliseconds, over so many slices. */
  async run(slices: number): Promise<number[]> {
    const latencies: number[] = [];
    for (let each = 0; each < slices; each++) latencies.push(...(await this.slice()));
    return latencies;
  }

  async during(work: Promise<unknown>): Promise<number[]> {
    let over = false;
    const end = (): void => void (over = true);
    work.then(end, end);
    const latencies: number[] = [];
    while (!over) latencies.push(...(await this.slice()));
    return latencies;
  }

  private async slice(): Promise<number[]> {
    const prefix = path.join(this.world.folder, "latency");
    const options = ["--no-vacuum", "--client=4", `--rate=${rate}`, `--time=${slice}`, "--log"];
    const script = [`--define=orders=${this.orders}`, `--file=${this.script}`, `--log-prefix=${prefix}`];
    await this.world.program("pgbench", [...options, ...script], { stdio: "ignore" });
    const files = fs.readdirSync(this.world.folder).filter((name) => name.startsWith("latency."));
    return files.flatMap((name) => {
      const file = path.join(this.world.folder, name);
      const lines = fs.readFileSync(file, "utf8").trim().split("\n");
      fs.rmSync(file);
      // From the time at which the transaction was due: one that had to wait for its turn counts in full.
      return lines.map((line) => Number(line.split(" ")[2]) / 1000);
    });
  }
}
