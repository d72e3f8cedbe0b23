/** The jobs' program: `node jobs.js protect | wait | admit | guard | rescue`. */
import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import { Failure, exitCodes, reasonOf } from "./failure";
import { type Toolkit, openToolkit } from "./job";
import { standardLog } from "./log";

type Command = (toolkit: Toolkit, environment: NodeJS.ProcessEnv) => Promise<number>;

/* eslint-disable @typescript-eslint/no-require-imports -- loads one command and nothing of the others, in the bundle too */
const commands: Readonly<Record<string, () => Command>> = {
  protect: () => (require("./protect") as typeof import("./protect")).protect,
  wait: () => (require("./wait") as typeof import("./wait")).wait,
  admit: () => (require("./admit") as typeof import("./admit")).admit,
  guard: () => (require("./guard/guard") as typeof import("./guard/guard")).guard,
  rescue: () => (require("./rescue") as typeof import("./rescue")).rescue,
};
/* eslint-enable @typescript-eslint/no-require-imports */

/** @returns the exit code */
export async function main(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  directory: string,
): Promise<number> {
  const [name = "", ...rest] = args;
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  try {
    if (load === undefined || rest.length > 0) {
      throw new Failure(`usage: node jobs.js ${Object.keys(commands).join(" | ")}`, exitCodes.usage);
    }
    return await load()(await openToolkit(name, directory, environment), environment);
  } catch (error) {
    if (!(error instanceof Failure)) standardLog((error as Error | undefined)?.stack ?? "");
    standardLog(`failed: ${reasonOf(error)}`);
    return error instanceof Failure ? error.exitCode : exitCodes.failed;
  }
}

if (require.main === module) {
  const script = realpathSync(process.argv[1] ?? __filename);
  void main(process.argv.slice(2), process.env, dirname(script)).then((code) => {
    // Work that was given up may still hold connections; nothing may keep a finished build from ending.
    process.stdout.write("", () => process.exit(code));
  });
}
