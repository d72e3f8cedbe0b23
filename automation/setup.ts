/** What the set-up (`scripts/setup.js`) found, as it wrote it down. */
import * as fs from "node:fs";
import * as path from "node:path";
import { Refusal } from "./refusal";

export interface Setup {
  /** Folder that holds `bin/pulumi`. */
  readonly pulumiRoot: string;
  /** Folder of PostgreSQL's server and client programs. */
  readonly postgresBin: string;
  readonly postgresMajor: number;
  readonly pulumiVersion: string;
}

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
  if (!isSetup(value)) throw new Refusal(`the set-up of this clone is not complete. ${again}`);
  for (const program of [
    path.join(value.pulumiRoot, "bin", "pulumi"),
    path.join(value.postgresBin, "pg_dump"),
    path.join(root, "dist", "jobs.js"),
  ]) {
    if (!fs.existsSync(program)) throw new Refusal(`${program} is gone since the set-up. ${again}`);
  }
  return value;
}

/** By hand: loading a schema's library takes a tenth of the second that the emulator has for its start. */
function isSetup(value: unknown): value is Setup {
  const { pulumiRoot, postgresBin, postgresMajor, pulumiVersion } = (value ?? {}) as Partial<
    Record<keyof Setup, unknown>
  >;
  return [pulumiRoot, postgresBin, pulumiVersion].every(isText) && typeof postgresMajor === "number";
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}
