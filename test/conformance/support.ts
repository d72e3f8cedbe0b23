/** Other clients than the official SDK for JavaScript: boto3 and the aws CLI, where they are installed. */
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { execa } from "execa";
import type { Emulator } from "../../emulator/emulator";

/** Nothing of the machine's own settings may reach a client. */
function environmentFor(emulator: Emulator): NodeJS.ProcessEnv {
  const foreign = Object.entries(process.env).filter(([name]) => !name.startsWith("AWS_"));
  return {
    ...Object.fromEntries(foreign),
    ...emulator.environment,
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_PAGER: "",
  };
}

function runs(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}

/** Skips the tests of a suite, with a message, on a machine without the program. */
export function unlessPresent(context: Mocha.Context, program: "boto3" | "aws"): void {
  if (program === "boto3" ? runs("python3", "-c", "import boto3") : runs("aws", "--version")) return;
  process.stdout.write(`    ${program} is not installed: its tests are skipped\n`);
  context.skip();
}

export interface Refusal {
  readonly code: string;
  readonly status: number | undefined;
}

export type Answer<T = unknown> = { readonly output: T } | { readonly refusal: Refusal };

interface BridgeAnswer {
  readonly output?: unknown;
  readonly error?: Refusal;
  readonly failure?: string;
}

/** boto3, in one process for all calls. */
export class Boto3 {
  private readonly process: ChildProcessWithoutNullStreams;
  private readonly lines: Interface;
  private readonly answers: AsyncIterator<string>;
  private errors = "";

  constructor(emulator: Emulator) {
    const script = join(__dirname, "boto3_bridge.py");
    this.process = spawn("python3", [script], { env: environmentFor(emulator) });
    this.process.stderr.setEncoding("utf8").on("data", (text: string) => (this.errors += text));
    this.lines = createInterface({ input: this.process.stdout });
    this.answers = this.lines[Symbol.asyncIterator]();
  }

  close(): void {
    this.process.stdin.end();
    this.lines.close();
  }

  async try(service: string, operation: string, input: object): Promise<Answer> {
    return this.ask({ do: "call", service, operation, input });
  }

  async call<T = Record<string, unknown>>(service: string, operation: string, input: object): Promise<T> {
    return expected(await this.try(service, operation, input), operation) as T;
  }

  async pages<T = Record<string, unknown>>(
    service: string,
    operation: string,
    input: object,
    size: number,
  ): Promise<readonly T[]> {
    return expected(await this.ask({ do: "pages", service, operation, input, size }), operation) as readonly T[];
  }

  async wait(service: string, waiter: string, input: object): Promise<void> {
    expected(await this.ask({ do: "wait", service, waiter, input }), waiter);
  }

  async upload(bucket: string, key: string, size: number, part: number): Promise<void> {
    expected(await this.ask({ do: "upload", bucket, key, size, part }), "upload");
  }

  async download(bucket: string, key: string, part: number): Promise<{ readonly size: number; readonly md5: string }> {
    const answer = await this.ask({ do: "download", bucket, key, part });
    return expected(answer, "download") as { size: number; md5: string };
  }

  private async ask(request: object): Promise<Answer> {
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    const answer = await this.answers.next();
    if (answer.done === true) throw new Error(`boto3 ended: ${this.errors}`);
    const { output, error, failure } = JSON.parse(answer.value) as BridgeAnswer;
    if (failure !== undefined) throw new Error(`boto3: ${failure}`);
    return error === undefined ? { output } : { refusal: { code: error.code, status: error.status } };
  }
}

export function expected(answer: Answer, what: string): unknown {
  if ("output" in answer) return answer.output;
  throw new Error(`${what} was refused: ${answer.refusal.code} (HTTP ${answer.refusal.status ?? "?"})`);
}

/** The aws CLI. What it prints as JSON is parsed. */
export async function awsCli(emulator: Emulator, ...args: string[]): Promise<unknown> {
  const { stdout } = await execa("aws", args, { env: environmentFor(emulator), extendEnv: false });
  return /^\s*[[{]/.test(stdout) ? (JSON.parse(stdout) as unknown) : stdout;
}

/** What the aws CLI says on stderr when it fails. */
export async function awsCliRefusal(emulator: Emulator, ...args: string[]): Promise<string> {
  const settings = { env: environmentFor(emulator), extendEnv: false, reject: false } as const;
  const { failed, stderr } = await execa("aws", args, settings);
  if (!failed) throw new Error(`aws ${args.join(" ")} succeeded`);
  return stderr.trim();
}
