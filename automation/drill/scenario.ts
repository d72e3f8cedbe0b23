/** Scenarios are data: a release, what is done to the system from outside, and what must be true afterwards. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { DrillArguments, Sabotage } from "./options";
import { breakingRelease, findRelease, heldRelease, readRelease, type Release, type ReleaseFile } from "./release";

/**
 * How the run has to end. `as-deployed` is for a user's own release: it has to end healthy when its deployment
 * succeeded, and healed when it failed.
 */
export type Expectation = "healed" | "healthy" | "as-deployed";

export interface Scenario {
  /** For the report: `bad`, `good`, `break`, `sabotage-heal`, or the folder's name. */
  readonly name: string;
  readonly release: Release;
  readonly expected: Expectation;
  /**
   * True when the release is known to add a table: then the evidence has to hold it. Of another release nobody knows
   * whether it changes the database at all.
   */
  readonly addsTable: boolean;
  readonly sabotage?: Sabotage | undefined;
  readonly held: boolean;
}

const root = path.resolve(__dirname, "../..");
export const releasesFolder = path.join(root, "demo", "releases");
const anyDatabaseFolder = path.join(root, "automation", "any-database");
const sabotageFolder = path.join(root, "automation", "sabotage");

/** What is known in advance of the demo's own releases. */
const known: Readonly<Record<string, { expected: Expectation; addsTable: boolean }>> = {
  [path.join(releasesFolder, "bad")]: { expected: "healed", addsTable: true },
  [path.join(releasesFolder, "good")]: { expected: "healthy", addsTable: false },
};

/** The scenario that the options ask for. Reads the release, and refuses one that cannot be deployed. */
export function scenarioOf(given: DrillArguments): Scenario {
  const scenario = unheldScenario(given);
  return given.hold === true ? { ...scenario, release: heldRelease(scenario.release), held: true } : scenario;
}

function unheldScenario(given: DrillArguments): Scenario {
  if (given.break !== undefined) {
    return { name: "break", release: breakingRelease(given.break), expected: "healed", addsTable: false, held: false };
  }
  if (given.sabotage !== undefined) return sabotageScenario(given.sabotage);
  if (given.release === undefined && given.data !== undefined) {
    return { name: "bad", release: badForAnyDatabase(), expected: "healed", addsTable: true, held: false };
  }
  const folder = findRelease(given.release ?? "bad", releasesFolder);
  const { expected, addsTable } = known[folder] ?? { expected: "as-deployed", addsTable: false };
  return { name: path.basename(folder), release: readRelease(folder), expected, addsTable, held: false };
}

/** The bad release with migrations that need no table of the shop: for a user's own data. */
function badForAnyDatabase(): Release {
  const others = readRelease(path.join(releasesFolder, "bad")).filter((file) => !file.path.startsWith("migrations/"));
  const migration = (order: "before" | "after"): ReleaseFile => ({
    path: `migrations/${order}/001_any.sql`,
    bytes: fs.readFileSync(path.join(anyDatabaseFolder, `${order}.sql`)),
    executable: false,
  });
  return [...others, migration("before"), migration("after")];
}

/** Every sabotaged run is judged like the bad release: it has to be healed, and must not be found so. */
function sabotageScenario(sabotage: Sabotage): Scenario {
  const folder = sabotage === "leak" ? path.join(sabotageFolder, "leak") : path.join(releasesFolder, "bad");
  return {
    name: `sabotage-${sabotage}`,
    release: readRelease(folder),
    expected: "healed",
    addsTable: sabotage !== "leak",
    sabotage,
    held: false,
  };
}
