/**
 * What an operator does by hand: look at runs, settle one, look at evidence, and let it go. Runs in the operator's own
 * process with the operator's own AWS credentials; the implementation is loaded when a command needs it.
 */
import { type Command, InvalidArgumentError, Option, type OptionValues } from "@commander-js/extra-typings";
import type { Actions } from "./actions";

/** Adds `runs`, `show`, `resolve`, `evidence` and `diff`. */
export function addOperatorCommands(root: Command): void {
  store(root.command("runs"))
    .description("List the runs of an environment, with their state and verdict.")
    .option("--limit <number>", "how many, the newest first", count, 20)
    .action((options) => run((actions) => actions.runs(options)));
  store(root.command("show"))
    .description("Tell one run: its facts in order, its state, and what to do next.")
    .argument("<run>", runArgument)
    .action((id, options) => run((actions) => actions.show(id, options)));
  store(root.command("resolve"))
    .description("Settle a run that has no verdict, or whose healing failed, so that the next run may protect.")
    .argument("<run>", runArgument)
    .addOption(
      new Option(
        "--as <how>",
        "how the environment is now: healthy (it works as deployed), healed (brought back by hand), abandoned (neither; protect it as it is)",
      )
        .choices(["healthy", "healed", "abandoned"] as const)
        .makeOptionMandatory(),
    )
    .requiredOption("--reason <text>", "why, for whoever reads it later", sentence)
    .action((id, options) => run((actions) => actions.resolve(id, options)));
  const evidence = root.command("evidence").description("List, open, close and remove what healings have kept.");
  server(store(evidence.command("list")))
    .description("List failed databases and old volumes, with size, age and the end of their retention.")
    .action((options) => run((actions) => actions.list(options)));
  server(store(evidence.command("open")))
    .description("Let the owner of a failed database read it, and print the psql line.")
    .argument("<run>", runArgument)
    .option("--target <id>", "which database, where a run has several")
    .action((id, options) => run((actions) => actions.open(id, options)));
  server(store(evidence.command("close")))
    .description("Close a failed database again.")
    .argument("<run>", runArgument)
    .option("--target <id>", "which database, where a run has several")
    .action((id, options) => run((actions) => actions.close(id, options)));
  server(store(evidence.command("drop")))
    .description("Remove everything that a run has kept.")
    .argument("<run>", runArgument)
    .option("--yes", "do not ask")
    .action((id, options) => run((actions) => actions.drop(id, options)));
  server(store(evidence.command("sweep")))
    .description("Remove what is older than its retention.")
    .option("--yes", "do not ask")
    .action((options) => run((actions) => actions.sweep(options)));
  server(store(root.command("diff")))
    .description("Print the rows in which a run's failed database and the live one differ.")
    .argument("<run>", runArgument)
    .option("--target <id>", "which database, where a run has several")
    .option("--table <name>", "only this table, for example public.orders")
    .option("--limit <number>", "how many rows of each table to print", count, 20)
    .addHelpText("after", "\nExit status: 0 no difference, 1 differences, 2 it could not be found out.")
    .action((id, options) => run((actions) => actions.diff(id, options)));
}

const runArgument = "id of the run (the pipeline execution), or its first digits";

function store<A extends unknown[], O extends OptionValues>(command: Command<A, O>) {
  return command
    .option("--bucket <name>", "the recovery store")
    .option("--environment <name>", "the environment, by which the recovery store is found")
    .option("--stack <name>", "the Pulumi stack whose output recoveryBucket names it (default: the selected one)")
    .allowExcessArguments(false);
}

function server<A extends unknown[], O extends OptionValues>(command: Command<A, O>) {
  return command
    .option(
      "--host <host>",
      "connect there instead: the near end of a tunnel. The certificate is verified all the same",
    )
    .option("--port <number>", "the port of the tunnel", count)
    .option("--ca <file>", "certificate authorities of the server (default: RDS's)");
}

function count(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 2 ** 31) throw new InvalidArgumentError("give a number from 1 on.");
  return number;
}

function sentence(text: string): string {
  if (text.trim() === "") throw new InvalidArgumentError("say why.");
  return text.trim();
}

async function run(work: (actions: Actions) => Promise<number>): Promise<void> {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- loaded when it is needed, and not before
  const { Actions: Implementation } = require("./actions") as typeof import("./actions");
  const actions = new Implementation((line) => void process.stdout.write(`${line}\n`));
  try {
    process.exitCode = await work(actions);
  } finally {
    actions.end();
  }
}
