/** The command `emulator`: the embedded AWS for a shell, empty or with this project's program deployed in it. */
import * as path from "node:path";
import { startEmulator, type Emulator } from "../emulator/emulator";
import { withCleanup } from "./drill/cleanup";
import { Interrupted, untilAborted } from "./drill/interruption";
import { Scratch } from "./drill/scratch";
import { enterEnvironment } from "./drill/target";
import type { PlainProject } from "./plain/project";
import { Refusal } from "./refusal";
import { readSetup, type Setup } from "./setup";
import { shellWord } from "./shell";

export interface EmulatorArguments {
  /** Of the endpoint on 127.0.0.1; 0 takes a free one. */
  readonly port: number;
  /** Whether to deploy this project's program. */
  readonly up: boolean;
}

const root = path.resolve(__dirname, "..");

/**
 * Starts it, prints lines to export on stdout and everything else on stderr, and stays until a signal. Nothing of it
 * is left then: no process, no mount, no folder.
 */
export async function runEmulator({ port, up }: EmulatorArguments): Promise<number> {
  const setup = readSetup();
  const ending = endingOf();
  const scratch = await Scratch.make("protected-emulator");
  process.env.TMPDIR = scratch.directory;
  process.env.PROTECTED_PIPELINE_POSTGRES_BIN = setup.postgresBin;
  await withCleanup(
    async () => {
      const emulator = await start(scratch, port);
      await withCleanup(
        () => (up ? serveStack(emulator, setup, scratch, ending) : serve(emulator, ending)),
        () => emulator.close(),
      );
    },
    () => scratch.remove(),
  );
  return 0;
}

async function start(scratch: Scratch, port: number): Promise<Emulator> {
  try {
    return await startEmulator({ port, directory: scratch.directory });
  } catch (error) {
    throw inUse(error)
      ? new Refusal(`port ${port} of 127.0.0.1 is in use: give another, or none for a free one.`)
      : error;
  }
}

async function serve(emulator: Emulator, ending: AbortSignal): Promise<void> {
  print({ ...emulator.environment, ...emulator.pulumiEnvironment });
  say("The embedded AWS is running. Press Ctrl-C to end it.");
  await untilAborted(ending);
}

/** Deploys the program as `pulumi up` does, and says how to look at it. */
async function serveStack(emulator: Emulator, setup: Setup, scratch: Scratch, ending: AbortSignal): Promise<void> {
  enterEnvironment(emulator.environment);
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- loaded when it is needed, and not before
  const plain = require("./plain/project") as typeof import("./plain/project");
  const project = await plain.PlainProject.create(
    {
      root,
      folder: scratch.directory,
      pulumiRoot: setup.pulumiRoot,
      environment: { ...emulator.environment, ...emulator.pulumiEnvironment },
      settings: settingsFor(emulator, setup),
    },
    ending,
  );
  await withCleanup(
    async () => {
      await project.pulumi(["up", "--yes", "--skip-preview", "--suppress-outputs"], { show: true, signal: ending });
      const outputs = await project.pulumi(["stack", "output", "--json"], { signal: ending });
      print(project.environment);
      say(guide(JSON.parse(outputs) as Readonly<Record<string, unknown>>, project));
      await untilAborted(ending);
    },
    async () => project.close(),
  );
}

/** What this machine adds to the development stack's settings, and a release that is worth watching. */
function settingsFor(emulator: Emulator, setup: Setup): Readonly<Record<string, unknown>> {
  const settings = {
    databaseVersion: String(setup.postgresMajor),
    caBundle: emulator.cloud.stores.rds.caCertificate,
    visitors: ["127.0.0.1/32"],
    releaseDirectory: path.join(root, "demo", "releases", "bad"),
    pollSeconds: 1,
    soakSeconds: 10,
    probeIntervalSeconds: 1,
  };
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [`protected-pipeline:${name}`, value]));
}

function guide(outputs: Readonly<Record<string, unknown>>, { program, folder }: PlainProject): string {
  const { applicationUrl, pipelineName, recoveryBucket } = outputs as Readonly<Record<string, string>>;
  return [
    "",
    "The embedded AWS is running, and this project's program is deployed in it.",
    "",
    `  application         ${applicationUrl}/`,
    "",
    "In another shell, after the lines above:",
    "",
    `  start the pipeline  aws codepipeline start-pipeline-execution --name ${pipelineName}`,
    "                      (the release that it deploys fails, and is healed)",
    `  follow it           aws codepipeline get-pipeline-state --name ${pipelineName}`,
    `  what it recorded    aws s3 ls --recursive s3://${recoveryBucket}/runs/`,
    "  the machine         aws ec2 describe-instances",
    // Version 1 of the CLI asks rds.amazonaws.com unless it is told so on the command line.
    '  the database        aws --endpoint-url "$AWS_ENDPOINT_URL" rds describe-db-instances',
    `  the stack           ${program} --cwd ${folder} preview`,
    "",
    "Press Ctrl-C to end it: nothing of it is left then.",
  ].join("\n");
}

/** Lines for a shell. They hold the keys of an account that ends with this process. */
function print(environment: Readonly<Record<string, string>>): void {
  const lines = Object.entries(environment).map(([name, value]) => `export ${name}=${shellWord(value)}\n`);
  process.stdout.write(lines.join(""));
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Aborts at the first signal. Further ones change nothing: the clean-up is quick, and has to be complete. */
function endingOf(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => controller.abort(new Interrupted(`interrupted by ${signal}`)));
  }
  return controller.signal;
}

function inUse(error: unknown): boolean {
  const causes = [error, error instanceof Error ? error.cause : undefined];
  return causes.some((cause) => cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE");
}
