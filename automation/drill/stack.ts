/** The ephemeral stack of a drill, by the Automation API: everything of it lies in the drill's own folder. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { randomBytes } from "node:crypto";
import { LocalWorkspace, PulumiCommand, type EngineEvent, type Stack } from "@pulumi/pulumi/automation";
import { messageOf } from "../refusal";
import type { Scratch } from "./scratch";

const project = "protected-pipeline";

export interface StackOptions {
  readonly name: string;
  readonly scratch: Scratch;
  /** Folder that holds `bin/pulumi`, and what that answers to `version`. */
  readonly pulumiRoot: string;
  readonly pulumiVersion: string;
  /** Environment for the engine, such as where the providers are. */
  readonly environment: Readonly<Record<string, string>>;
  readonly program: () => Promise<Record<string, unknown>>;
  /** Work for this process while the CLI makes the stack, which takes it half a second. */
  readonly meanwhile: () => Promise<unknown>;
}

export type Outputs = Readonly<Record<string, unknown>>;

export class EphemeralStack {
  /** The end of the update, some time after all of its resources stand. */
  private updating: Promise<void> | undefined;

  private constructor(
    private readonly stack: Stack,
    private readonly backend: string,
  ) {}

  static async create(options: StackOptions): Promise<EphemeralStack> {
    const { scratch, name } = options;
    const backend = await scratch.folder("state");
    const home = await scratch.folder("pulumi-home");
    const workDir = await scratch.folder("work");
    const url = `file://${backend}`;
    const envVars = {
      ...options.environment,
      PULUMI_BACKEND_URL: url,
      PULUMI_HOME: home,
      PULUMI_CONFIG_PASSPHRASE: randomBytes(24).toString("base64"),
      PULUMI_SKIP_UPDATE_CHECK: "true",
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
      // Nothing that the Automation API would ask for may stop for an answer.
      PULUMI_SKIP_CONFIRMATIONS: "true",
    };
    const pulumiCommand = await PulumiCommand.get({
      root: await commandInItsOwnSession(options),
      skipVersionCheck: true,
    });
    const created = LocalWorkspace.createStack(
      { stackName: name, projectName: project, program: options.program },
      {
        workDir,
        pulumiHome: home,
        pulumiCommand,
        envVars,
        projectSettings: { name: project, runtime: "nodejs", backend: { url } },
        secretsProvider: "passphrase",
      },
    );
    const [stack] = await Promise.all([created, options.meanwhile()]);
    return new EphemeralStack(stack, backend);
  }

  /** Creates everything. Resolves when the engine says that all of it stands; the CLI has its state to write then. */
  async up(signal: AbortSignal, onEvent: (event: EngineEvent) => void): Promise<Outputs> {
    // The Automation API ignores a signal that is aborted already.
    signal.throwIfAborted();
    const outcome = new UpdateOutcome();
    return new Promise((resolve, reject) => {
      const update = withoutStackTraces(() =>
        this.stack.up({
          showSecrets: false,
          signal,
          onEvent: (event) => {
            onEvent(event);
            const outputs = outcome.hear(event);
            if (outputs !== undefined) resolve(outputs);
          },
          onError: () => undefined,
        }),
      );
      this.updating = update.then(() => undefined);
      update.then(() => reject(new Error("the engine ended the update without its outputs")), reject);
    });
  }

  /** Destroys everything, and then the stack itself. */
  async destroy(signal: AbortSignal, onEvent: (event: EngineEvent) => void): Promise<void> {
    signal.throwIfAborted();
    // The CLI writes its state at the end of an update. A failure that up() did not throw fails the search of the state.
    await this.updating?.catch(() => undefined);
    await this.stack.destroy({ showSecrets: false, signal, onEvent });
  }

  /** Every file of the backend: state, history, backups. */
  async stateFiles(): Promise<string[]> {
    await this.updating;
    const entries = await fs.readdir(this.backend, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  }
}

/**
 * Pulumi takes a stack trace for every promise of every resource, which costs more than the program itself. `DEBUG`
 * keeps them.
 */
async function withoutStackTraces<T>(work: () => Promise<T>): Promise<T> {
  const limit = Error.stackTraceLimit;
  if (process.env.DEBUG === undefined) Error.stackTraceLimit = 0;
  try {
    return await work();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/**
 * A folder whose `bin/pulumi` runs the real one in a session of its own: a terminal sends Ctrl-C to a whole group, and
 * the CLI's second SIGINT orphans resources. When the driver dies, its death is the CLI's.
 *
 * It spares the real one what is known already, which is two seconds of processor time: the set-up knows the version;
 * after each update the Automation API asks for outputs and history, which the update's events have told; and a stack
 * that was destroyed is removed in the same run.
 */
async function commandInItsOwnSession({ pulumiRoot, pulumiVersion, scratch }: StackOptions): Promise<string> {
  const folder = await scratch.folder("cli/bin");
  const real = path.join(pulumiRoot, "bin", "pulumi");
  const script = `#!/bin/sh
case "$1 $2" in
  "version ") echo 'v${pulumiVersion}'; exit ;;
  "stack output") echo '{}'; exit ;;
  "stack history") echo '[]'; exit ;;
  "destroy "*) set -- "$@" --remove ;;
esac
exec setsid setpriv --pdeathsig TERM '${real}' "$@"
`;
  await fs.writeFile(path.join(folder, "pulumi"), script, { mode: 0o755 });
  return path.dirname(folder);
}

/** Whether all of an update's resources stand, from the engine's events. */
export class UpdateOutcome {
  private outputs: Outputs | undefined;
  private failed = false;

  /** Returns the stack's outputs when the event is the end of an update without an error. */
  hear({ resOutputsEvent, diagnosticEvent, summaryEvent }: EngineEvent): Outputs | undefined {
    const step = resOutputsEvent?.metadata;
    if (step?.type === "pulumi:pulumi:Stack") this.outputs = step.new?.outputs;
    if (diagnosticEvent?.severity === "error") this.failed = true;
    return summaryEvent !== undefined && !this.failed ? this.outputs : undefined;
  }
}

/** How far an update is, from the engine's events. */
export class Progress {
  done = 0;
  current = "";

  hear(event: EngineEvent): boolean {
    const { resourcePreEvent, resOutputsEvent } = event;
    if (resOutputsEvent !== undefined && !isNothing(resOutputsEvent.metadata.op)) {
      this.done += 1;
      return true;
    }
    if (resourcePreEvent !== undefined && !isNothing(resourcePreEvent.metadata.op)) {
      this.current = resourcePreEvent.metadata.urn.split("::").at(-1) ?? "";
      return true;
    }
    return false;
  }
}

function isNothing(op: string): boolean {
  return op === "same" || op === "read";
}

/** The first diagnostics of an update that failed: the Automation API's own message is the whole output. */
export function failureOf(error: unknown, events: readonly EngineEvent[]): Error {
  const lines = events
    .map((event) => event.diagnosticEvent)
    .filter((event) => event?.severity === "error")
    .map((event) =>
      messageOf(event?.message)
        .replaceAll(/<\{%[^%]*%\}>/g, "")
        .trim(),
    )
    .filter((line) => line !== "" && line !== "update failed");
  if (lines.length === 0) return error instanceof Error ? error : new Error(messageOf(error));
  return new Error(lines.slice(0, 3).join(" | "), { cause: error });
}
