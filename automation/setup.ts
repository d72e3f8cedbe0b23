/** What the set-up (`scripts/setup.js`) found, as it wrote it down. */
import * as fs from "node:fs";
import * as path from "node:path";
import * as z from "zod/mini";
import { Refusal } from "./refusal";

const setupState = z.object({
  /** Folder that holds `bin/pulumi`. */
  pulumiRoot: z.string(),
  pulumiVersion: z.string(),
  /** Folder of PostgreSQL's server and client programs. */
  postgresBin: z.string(),
  postgresMajor: z.number(),
});

export type Setup = z.infer<typeof setupState>;

const root = path.resolve(__dirname, "..");
const stateFile = path.join(root, "node_modules", ".cache", "protected-pipeline", "setup.json");

/** Reads it. Refuses when the set-up has not run, or what it found is gone. */
export function readSetup(file = stateFile): Setup {
  const again = "Run `npm run setup`.";
  let value: unknown;
  try {
    value = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    throw new Refusal(`this clone is not set up. ${again}`);
  }
  const result = z.safeParse(setupState, value);
  if (!result.success) throw new Refusal(`the set-up of this clone is not complete. ${again}`);
  for (const program of [
    path.join(result.data.pulumiRoot, "bin", "pulumi"),
    path.join(result.data.postgresBin, "pg_dump"),
    path.join(root, "dist", "jobs.js"),
  ]) {
    if (!fs.existsSync(program)) throw new Refusal(`${program} is gone since the set-up. ${again}`);
  }
  return result.data;
}
