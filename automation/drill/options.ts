/** What the user asks of a drill, checked before anything is made. */
import * as fs from "node:fs";
import * as path from "node:path";
import { messageOf, Refusal } from "../refusal";

export const engines = ["elastio", "aws"] as const;
export const sabotages = ["heal", "verify", "leak"] as const;

export type Engine = (typeof engines)[number];
export type Sabotage = (typeof sabotages)[number];

/** The options as the command line gives them. */
export interface DrillArguments {
  readonly engine: Engine;
  readonly release?: string | undefined;
  readonly break?: string | undefined;
  readonly data?: string | undefined;
  readonly report?: string | undefined;
  readonly keep?: boolean | undefined;
  readonly hold?: boolean | undefined;
  readonly sabotage?: Sabotage | undefined;
}

/** Options that contradict each other, with the sentence that says so. */
const conflicts: readonly { when: (given: DrillArguments) => boolean; message: string }[] = [
  {
    when: (given) => given.release !== undefined && given.break !== undefined,
    message: "--release and --break are mutually exclusive: each is the release to deploy. Choose one.",
  },
  {
    when: (given) => given.sabotage !== undefined && (given.release !== undefined || given.break !== undefined),
    message: "--sabotage brings its own release: leave out --release and --break.",
  },
  {
    when: (given) => given.sabotage !== undefined && given.hold === true,
    message: "--hold and --sabotage are mutually exclusive: a sabotaged healing has no healed state to show.",
  },
  {
    when: (given) => given.break?.trim() === "",
    message: '--break needs SQL to run, for example --break "DROP TABLE orders CASCADE".',
  },
];

/** Throws a {@link Refusal} when the options contradict each other or name what cannot be used. */
export function checkArguments(given: DrillArguments): void {
  const conflict = conflicts.find(({ when }) => when(given));
  if (conflict !== undefined) throw new Refusal(conflict.message);
  if (given.report !== undefined) checkReportFolder(given.report);
}

/** The report's folder may be missing, then it will be made; a file, or a folder without write permission, is refused. */
function checkReportFolder(folder: string): void {
  let existing = path.resolve(folder);
  while (!fs.existsSync(existing)) existing = path.dirname(existing);
  if (!fs.statSync(existing).isDirectory()) {
    throw new Refusal(`--report "${folder}" cannot be a folder, because ${existing} is a file. Give another folder.`);
  }
  try {
    fs.accessSync(existing, fs.constants.W_OK);
  } catch (error) {
    throw new Refusal(`--report "${folder}" cannot be written: ${messageOf(error)}. Give another folder.`);
  }
}
