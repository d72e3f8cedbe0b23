/** Scenarios are data: a release, what is done to the system from outside, and what must be true afterwards. */
import * as path from "node:path";
import type { DrillArguments, Sabotage } from "./options";
import { breakingRelease, findRelease, heldRelease, readRelease, type Release } from "./release";

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
  /** True when the evidence has to hold a table that the database did not have before. */
  readonly addsTable: boolean;
  readonly sabotage?: Sabotage | undefined;
  readonly held: boolean;
}

const root = path.resolve(__dirname, "../..");
export const releasesFolder = path.join(root, "demo", "releases");
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
  const folder = findRelease(given.release ?? "bad", releasesFolder);
  const { expected, addsTable } = known[folder] ?? { expected: "as-deployed", addsTable: false };
  return { name: path.basename(folder), release: readRelease(folder), expected, addsTable, held: false };
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
