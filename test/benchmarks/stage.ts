/** What it takes to restore beside the live database, analyze and prove, against pg_restore of the same dump alone. */
import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { evidenceDatabase, runId } from "../../run/ids";
import type { SwapPair } from "../../jobs/database";
import { type Figure, median } from "./figures";
import type { Answer } from "./job";
import { database, unbounded, type World } from "./world";

/** A staged database is left; a cut-over can put it in place. */
export async function measureStage(
  world: World,
  gigabytes: number,
  repeats: number,
  made: Answer,
): Promise<{ figure: Figure; pair: SwapPair; answer: Answer }> {
  const dump = path.join(world.folder, "bare.dump");
  await world.program("pg_dump", ["--format=custom", "--compress=0", `--file=${dump}`]);
  const bare: number[] = [];
  const jobs: Answer[] = [];
  let run = runId(randomUUID());
  for (let turn = 0; turn < repeats; turn++) {
    bare.push(await restoreAlone(world, dump));
    const last = jobs.at(-1)?.staged;
    if (last !== undefined) await world.server.sql(`DROP DATABASE ${last.database}`, "postgres");
    run = runId(randomUUID());
    await world.checkpoint();
    jobs.push(await world.job("stage", unbounded, { protected: protectedOf(made), run }));
    const { seconds = 0, staging = 0 } = jobs.at(-1) ?? {};
    world.say(
      `restored alone in ${bare.at(-1)?.toFixed(2)} s, ` +
        `staged in ${staging.toFixed(2)} s and proven in ${(seconds - staging).toFixed(2)} s`,
    );
  }
  fs.rmSync(dump);
  const figure: Figure = {
    what: `stage ${gigabytes} GB: restore, analyze and compare`,
    measured: median(jobs.map(({ seconds }) => seconds)),
    unit: "s",
    against: { what: "pg_restore -j2", value: median(bare) },
    aims: [{ of: "ratio", bound: 1.1 }],
  };
  const answer = jobs.at(-1);
  if (answer === undefined) throw new Error("nothing was measured");
  return { figure, pair: pairOf(run, made, answer), answer };
}

async function restoreAlone(world: World, dump: string): Promise<number> {
  await world.server.sql("CREATE DATABASE bare TEMPLATE template0", "postgres");
  await world.checkpoint();
  const seconds = await world.program("pg_restore", ["--exit-on-error", "--jobs=2", "--dbname=bare", dump]);
  await world.server.sql("DROP DATABASE bare", "postgres");
  return seconds;
}

export function protectedOf(answer: Answer): NonNullable<Answer["protected"]> {
  if (answer.protected === undefined) throw new Error("nothing was protected");
  return answer.protected;
}

export function pairOf(run: string, made: Answer, { staged, proven }: Answer): SwapPair {
  if (staged === undefined || proven === undefined) throw new Error("nothing was staged");
  const evidence = evidenceDatabase(database, runId(run));
  return { database, liveOid: protectedOf(made).oid, staged, seal: proven.seal, evidence };
}
