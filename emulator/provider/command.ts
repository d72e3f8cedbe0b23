import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import type { Properties, ResourceDefinition, ResourceState } from "../core/definitions";
import { isPlainObject } from "../core/shapes";

/** How much of a command's output is kept. More is an error: state is no place for it. */
const largestOutput = 16 * 1024 * 1024;
/** How many of the last lines of stderr an error carries. */
const errorLines = 20;
/** How long a cancelled command may take to end by itself, in milliseconds. */
const gracePeriod = 5_000;

interface CommandOutput {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs commands for `command:local:Command`, and ends them with the emulator. */
export class CommandRunner {
  private readonly running = new Set<ChildProcess>();

  /** @param environment What every command sees beside the process's own environment. */
  constructor(private readonly environment: () => Readonly<Record<string, string>>) {}

  /** Ends what runs: at once by SIGTERM, and by SIGKILL what does not listen. */
  async close(): Promise<void> {
    const children = [...this.running];
    for (const child of children) signalGroup(child, "SIGTERM");
    await Promise.all(
      children.map(
        (child) =>
          new Promise<void>((resolve) => {
            if (!this.running.has(child)) return resolve();
            const timer = setTimeout(() => signalGroup(child, "SIGKILL"), gracePeriod);
            child.once("close", () => {
              clearTimeout(timer);
              resolve();
            });
          }),
      ),
    );
  }

  /** Asks what runs to end, as an interrupt on a terminal does. */
  cancel(): void {
    for (const child of this.running) signalGroup(child, "SIGTERM");
  }

  run(command: string, inputs: Properties, previous: Readonly<Record<string, string>>): Promise<CommandOutput> {
    const [program, ...flags] = interpreterOf(inputs);
    if (program === undefined) throw new Error("The interpreter is empty");
    const child = spawn(program, [...flags, command], {
      cwd: typeof inputs.dir === "string" ? inputs.dir : process.cwd(),
      env: { ...process.env, ...this.environment(), ...previous, ...environmentOf(inputs) },
      // A group of its own, so that what the command starts ends with it.
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.running.add(child);
    child.once("close", () => this.running.delete(child));
    return settled(child, command, typeof inputs.stdin === "string" ? inputs.stdin : "");
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It is over already.
  }
}

function interpreterOf(inputs: Properties): readonly string[] {
  return Array.isArray(inputs.interpreter) ? inputs.interpreter.map(String) : ["/bin/sh", "-c"];
}

function environmentOf(inputs: Properties): Record<string, string> {
  if (!isPlainObject(inputs.environment)) return {};
  return Object.fromEntries(Object.entries(inputs.environment).map(([name, value]) => [name, String(value)]));
}

function settled(child: ChildProcess, command: string, stdin: string): Promise<CommandOutput> {
  return new Promise((resolve, reject) => {
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name]?.setEncoding("utf8").on("data", (text: string) => {
        if (output[name].length + text.length > largestOutput) signalGroup(child, "SIGKILL");
        else output[name] += text;
      });
    }
    child.once("error", (error) => reject(new Error(`The command cannot be run: ${error.message}`)));
    child.once("close", (code, signal) => {
      if (code === 0) resolve({ stdout: trimmed(output.stdout), stderr: trimmed(output.stderr) });
      else reject(new Error(failureText(command, code, signal, output.stderr)));
    });
    // A command that does not read its input closes it early: that is its right.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(stdin);
  });
}

function trimmed(text: string): string {
  return text.endsWith("\n") ? text.slice(0, -1) : text;
}

function failureText(command: string, code: number | null, signal: NodeJS.Signals | null, stderr: string): string {
  const how = code === null ? `signal: ${String(signal)}` : `exit status ${code}`;
  const last = trimmed(stderr).split("\n").slice(-errorLines).join("\n");
  return `${how}: running ${JSON.stringify(command)}:\n${last}`;
}

/** `command:local:Command`, as documented at https://www.pulumi.com/registry/packages/command/api-docs/local/command/ */
export function commandResource(runner: CommandRunner): ResourceDefinition {
  const runAs = async (
    id: string,
    command: string | undefined,
    inputs: Properties,
    olds?: Properties,
  ): Promise<ResourceState> => {
    const none: CommandOutput = { stdout: "", stderr: "" };
    const output = command === undefined ? none : await runner.run(command, inputs, previousOutput(inputs, olds));
    return { id, outputs: { ...inputs, ...output } };
  };
  return {
    type: "command:local:Command",
    inputs: {
      create: {},
      update: {},
      delete: {},
      environment: {},
      stdin: {},
      dir: {},
      interpreter: {},
      addPreviousOutputInEnv: {},
      triggers: {
        replaceOn: "command.local.Command, triggers: 'The resource will be replaced if any of these change.'",
      },
    },
    secretWithInputs: ["stdout", "stderr"],
    create: (inputs) => runAs(`local-${randomBytes(8).toString("hex")}`, textOf(inputs.create), inputs),
    // Nothing outside says what a command has done.
    read: (id, state) => Promise.resolve({ id, outputs: state }),
    // "If empty, create will be executed again."
    update: (id, news, olds) => runAs(id, textOf(news.update) ?? textOf(news.create), news, olds),
    delete: async (id, state) => {
      await runAs(id, textOf(state.delete), state, state);
    },
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** What the previous command printed, unless the program does not want it. */
function previousOutput(inputs: Properties, olds: Properties | undefined): Record<string, string> {
  if (!olds || inputs.addPreviousOutputInEnv === false) return {};
  return {
    PULUMI_COMMAND_STDOUT: textOf(olds.stdout) ?? "",
    PULUMI_COMMAND_STDERR: textOf(olds.stderr) ?? "",
  };
}
