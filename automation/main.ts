/**
 * The command line. Everything heavy is imported when a command needs it: `--help` must not take a second.
 *
 * Exit status: 0 all held; 1 a check failed; 2 it could not be run.
 */
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { checkArguments, engines, sabotages, type DrillArguments } from "./drill/options";
import { addOperatorCommands } from "./operator/commands";
import { messageOf, Refusal } from "./refusal";

const couldNotRun = 2;

function program(): Command {
  const root = new Command("protected-pipeline")
    .description("Drills for a deployment pipeline that can undo a failed deploy completely.")
    .exitOverride()
    .showHelpAfterError("(--help tells more)");
  root
    .command("drill")
    .description("Run one real drill in an ephemeral stack: deploy, fail, heal, judge from outside, destroy.")
    .addOption(new Option("--engine <engine>", "backup engine").choices(engines).default("elastio" as const))
    .option("--release <name-or-folder>", "release to deploy: bad, good, or a folder with a deploy.sh (default: bad)")
    .option("--break <sql>", "deploy a release that runs this SQL and then fails")
    .option("--data <file>", "seed the database from this dump of pg_dump, plain or custom")
    .option("--report <folder>", "write report.json and report.md there")
    .option("--keep", "leave all running at the end, until Ctrl-C")
    .option("--hold", "pause when the application is broken, and when it is healed")
    .addOption(new Option("--sabotage <kind>", "make the healing impossible: the drill has to fail").choices(sabotages))
    .addHelpText("after", "\nExit status: 0 all held, 1 a check failed, 2 the drill could not be run.")
    .allowExcessArguments(false)
    .action(async (given) => {
      process.exitCode = await drill(given);
    });
  root
    .command("emulator")
    .description("Start the embedded AWS, print what a shell needs to find it, and stay until Ctrl-C.")
    .addArgument(new Argument("[up]", "deploy this project's program in it, with the plain Pulumi CLI").choices(["up"]))
    .option("--port <number>", "port of the endpoint on 127.0.0.1 (default: a free one)", port)
    .allowExcessArguments(false)
    .action(async (up, { port: wanted }) => {
      // eslint-disable-next-line @typescript-eslint/no-require-imports -- loaded when it is needed, and not before
      const { runEmulator } = require("./emulator") as typeof import("./emulator");
      process.exitCode = await runEmulator({ port: wanted ?? 0, up: up !== undefined });
    });
  addOperatorCommands(root);
  return root;
}

function port(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number > 65535) throw new InvalidArgumentError("give a number from 0 to 65535.");
  return number;
}

async function drill(given: DrillArguments): Promise<number> {
  checkArguments(given);
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- loaded when it is needed, and not before
  const { commandDrill } = require("./drill/command") as typeof import("./drill/command");
  return commandDrill(given);
}

/** A reader that left (`| head`) must not end a drill half-way: its clean-up still has to run. */
function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
}

async function main(): Promise<void> {
  outliveReaders();
  try {
    await program().parseAsync();
  } catch (error) {
    process.exitCode = exitStatusOf(error);
  }
}

/** Commander has printed its own errors already; a refusal is one line; anything else shows where it comes from. */
function exitStatusOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : couldNotRun;
  process.stderr.write(`protected-pipeline: ${messageOf(error)}\n`);
  if (!(error instanceof Refusal) && process.env.DEBUG !== undefined) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? "") : ""}\n`);
  }
  return couldNotRun;
}

void main();
