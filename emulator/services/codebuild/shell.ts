/**
 * How a build runs its commands: every command is a script of its own, run by a shell of its own. Environment and
 * directory are carried from one to the next in files. So assignments, exports and `cd` persist; functions, aliases,
 * `set -e`, traps, and whatever a command that calls `exit` has changed do not. As in the service, the user's command
 * begins on line 4 of `/codebuild/output/tmp/script.sh`.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Machine, MachineProcess } from "../../machines/machine";
import type { BuildLog } from "./log";

const INSIDE = "/codebuild/output/tmp";
/** How long the output of a command that has ended is read on: what it left in the background may hold the pipe. */
const DRAIN_MS = 100;

export interface ShellOptions {
  readonly machine: Machine;
  readonly log: BuildLog;
  /** Folder of the host that the machine shows as /codebuild/output/tmp. */
  readonly directory: string;
  readonly shell: "sh" | "bash";
  /** Hears each line of output that was logged. */
  readonly onLine: (line: string) => void;
  /** Where the first command starts. */
  readonly startDirectory: string;
  /** What every command's process is given; what earlier commands have set wins over it. */
  readonly environment: Readonly<Record<string, string>>;
}

export class CommandShell {
  private current: MachineProcess | undefined;

  constructor(private readonly options: ShellOptions) {
    fs.mkdirSync(options.directory, { recursive: true });
    this.write("env.sh", "");
    this.write("dir.txt", `${options.startDirectory}\n`);
  }

  /** Runs one command; its output goes to the log. Returns the exit status. */
  async run(command: string): Promise<number> {
    this.write("script.sh", script(command));
    const { log, onLine } = this.options;
    return await this.execute([this.program(), `${INSIDE}/script.sh`], () => log.stream(onLine));
  }

  /** Sets a variable for the commands that follow. */
  carry(name: string, value: string): void {
    fs.appendFileSync(path.join(this.options.directory, "env.sh"), `\nexport ${name}=${quoted(value)}\n`);
  }

  /** The values that these variables have now; a variable that does not exist is left out. */
  async read(names: readonly string[]): Promise<Record<string, string>> {
    const wanted = names.filter((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
    if (wanted.length === 0) return {};
    const prints = wanted.map((name) => `[ -z "\${${name}+x}" ] || printf '${name}=%s\\0' "$${name}"`);
    const present = (await this.outputOf(prints.join("\n"))).split("\0").filter((entry) => entry !== "");
    return Object.fromEntries(present.map((entry) => [entry.slice(0, entry.indexOf("=")), afterEquals(entry)]));
  }

  /** The text with the values of its `$NAME` and `${NAME}`; a variable that does not exist is empty. */
  async withVariables(text: string): Promise<string> {
    const reference = /\$(?:\{(\w+)\}|(\w+))/g;
    const names = [...text.matchAll(reference)].map(([, braced, plain]) => braced ?? plain ?? "");
    const values = await this.read(names);
    return text.replace(reference, (_, braced?: string, plain?: string) => values[braced ?? plain ?? ""] ?? "");
  }

  /** The text with its variables and `$(...)` expanded. */
  async expand(text: string): Promise<string> {
    return (await this.outputOf(`cat <<EXPANDED_TEXT\n${text}\nEXPANDED_TEXT`)).replace(/\n$/, "");
  }

  /** Of a script that sees what the commands have left, and leaves nothing itself. */
  private async outputOf(text: string): Promise<string> {
    this.write("script.sh", `cd "$(cat ${INSIDE}/dir.txt)"\n. ${INSIDE}/env.sh\n${text}\n`);
    let output = "";
    const sink = { write: (part: string) => (output += part), end: () => undefined };
    await this.execute([this.program(), `${INSIDE}/script.sh`], () => sink);
    return output;
  }

  /** Ends the running command with all that it has started. */
  kill(): void {
    this.current?.kill("SIGKILL");
  }

  private program(): string {
    return this.options.shell === "bash" ? "/bin/bash" : "/bin/sh";
  }

  private async execute(command: readonly [string, ...string[]], sink: () => Sink): Promise<number> {
    const { machine, environment } = this.options;
    const child = machine.run({ command, environment, directory: "/" });
    this.current = child;
    child.stdin.end();
    const streams = [child.stdout, child.stderr].map((stream) => {
      const output = sink();
      stream.setEncoding("utf8");
      stream.on("data", (text: string) => output.write(text));
      return new Promise<void>((resolve) => {
        const end = (): void => {
          output.end();
          resolve();
        };
        stream.once("end", end).once("error", end).once("close", end);
      });
    });
    const status = await child.exit;
    this.current = undefined;
    await withinDrain(Promise.all(streams));
    return status;
  }

  private write(name: string, text: string): void {
    fs.writeFileSync(path.join(this.options.directory, name), text);
  }
}

interface Sink {
  readonly write: (text: string) => void;
  readonly end: () => void;
}

/** Three lines before the command: directory, environment, and nothing. */
export function script(command: string): string {
  return [
    `cd "$(cat ${INSIDE}/dir.txt)"`,
    `set -a; . ${INSIDE}/env.sh`,
    "",
    command,
    "CODEBUILD_LAST_EXIT=$?",
    `export -p > ${INSIDE}/env.sh`,
    `pwd > ${INSIDE}/dir.txt`,
    "exit $CODEBUILD_LAST_EXIT",
    "",
  ].join("\n");
}

function quoted(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

function afterEquals(entry: string): string {
  return entry.slice(entry.indexOf("=") + 1);
}

async function withinDrain(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, DRAIN_MS)));
  await Promise.race([work, late]);
  clearTimeout(timer);
}
