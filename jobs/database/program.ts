/** PostgreSQL's own programs as child processes: an exit code of 0 *and* nothing on standard error is a success. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Readable, Writable } from "node:stream";
import { remaining } from "./connection";

export interface Program {
  readonly command: "pg_dump" | "pg_restore";
  /** The folder of {@link clientFolder}. */
  readonly folder: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly deadline: Date;
}

export interface RunningProgram {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves when the program succeeded; rejects with what it said otherwise. */
  readonly done: Promise<void>;
  /** Ends it, when its other end of the pipe has failed. */
  kill(): void;
  /** True when it failed of its own, not because it was ended. */
  readonly failedFirst: boolean;
}

/**
 * What pg_restore says to 14 of a publication on a server that writes no log for subscribers. The original stood on such
 * a server too; from 15 on it says nothing of it.
 */
const harmless = /^pg_restore: WARNING: {2}wal_level is insufficient to publish logical changes\nHINT: {2}.*\n/gm;
/** More of a program's complaints than this is not needed to understand them. */
const keptErrors = 8_192;
/** A program that does not end by SIGTERM (pg_dump cancels its query first) is ended by SIGKILL. */
const killPause = 5_000;

export function start(program: Program): RunningProgram {
  const { command, args, environment } = program;
  const patience = remaining(program.deadline, command);
  const child = spawn(path.join(program.folder, command), args, { env: environment, stdio: ["pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    if (errors.length < keptErrors) errors += text;
  });
  // A program that ended early closes its standard input: its exit code says why, not the broken pipe.
  child.stdin.on("error", () => undefined);
  let overdue = false;
  let killed = false;
  let failedFirst = false;
  const kill = (): void => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    killed = true;
    child.kill("SIGTERM");
    setTimeout(() => child.kill("SIGKILL"), killPause).unref();
  };
  const timer = setTimeout(() => {
    overdue = true;
    kill();
  }, patience);
  const done = new Promise<void>((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`${command} could not be started: ${error.message}`)));
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      if (overdue) return reject(new Error(`${command} was ended at its deadline, ${program.deadline.toISOString()}`));
      const complaint = errors.replace(harmless, "").trim();
      if (code === 0 && complaint === "") return resolve();
      failedFirst = !killed;
      const how = signal === null ? `exit code ${code}` : signal;
      reject(new Error(`${command} failed (${how}): ${complaint || "it said nothing"}`));
    });
  });
  // Whoever awaits it sees the failure; until then it must not end the process.
  done.catch(() => undefined);
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    done,
    kill,
    get failedFirst() {
      return failedFirst;
    },
  };
}

/** What pg_dump and pg_restore write at the beginning of their SQL. */
const encodingLine = /^SET client_encoding = '(.+)';$/m;

/**
 * A program's text, without loss: two that differ in a byte differ as text. SQL in another encoding than UTF-8, which is
 * that of its database, is read byte by byte; its letters beyond ASCII are not to be shown to anybody, or to be run.
 */
function decoded(bytes: Buffer): string {
  const encoding = encodingLine.exec(bytes.toString("latin1", 0, 4096))?.[1] ?? "UTF8";
  return bytes.toString(encoding === "UTF8" ? "utf8" : "latin1");
}

/** Runs a program to its end and gives its standard output. For outputs as large as a schema, not as the data. */
export async function output(program: Program): Promise<string> {
  const running = start(program);
  running.stdin.end();
  const chunks: Buffer[] = [];
  for await (const chunk of running.stdout) chunks.push(chunk as Buffer);
  await running.done;
  return decoded(Buffer.concat(chunks));
}

/**
 * Runs a program that reads a stream. The stream is read to its end even if the program has heard enough before, so
 * that what checks the stream at its end always does; and the program hears the end only after that check.
 */
export async function feed(program: Program, input: Readable): Promise<void> {
  const running = start(program);
  const { stdin } = running;
  running.stdout.resume();
  try {
    for await (const chunk of input) {
      if (stdin.writable && !stdin.write(chunk)) {
        await new Promise<void>((resolve) => {
          const go = (): void => {
            stdin.off("drain", go).off("close", go);
            resolve();
          };
          stdin.once("drain", go).once("close", go);
        });
      }
    }
  } catch (error) {
    running.kill();
    await running.done.catch(() => undefined);
    throw error;
  }
  stdin.end();
  await running.done;
}

/**
 * The folder of the client programs of the server's own major version: an older pg_dump refuses the server, and a newer
 * one writes what the older pg_restore of the next job may not read. Looked for in the folder that
 * PROTECTED_PIPELINE_POSTGRES_BIN names, then where Debian's and the PostgreSQL project's packages put several versions
 * side by side, then on PATH (an empty folder).
 */
export async function clientFolder(serverVersion: number, deadline: Date): Promise<string> {
  const major = Math.floor(serverVersion / 10_000);
  const named = process.env.PROTECTED_PIPELINE_POSTGRES_BIN;
  const candidates = [...(named ? [named] : []), `/usr/lib/postgresql/${major}/bin`, `/usr/pgsql-${major}/bin`];
  const folders = [...candidates.filter((each) => fs.existsSync(path.join(each, "pg_dump"))), ""];
  const environment = { PATH: process.env.PATH ?? "" };
  const answers: string[] = [];
  for (const folder of folders) {
    const asking = output({ command: "pg_dump", folder, args: ["--version"], environment, deadline });
    const answer = await asking.catch((error: unknown) => (error as Error).message);
    if (Number(/\(PostgreSQL\) (\d+)/.exec(answer)?.[1]) === major) return folder;
    answers.push(`${folder === "" ? "on PATH" : `in ${folder}`}: ${answer.trim()}`);
  }
  throw new Error(
    `the server is PostgreSQL ${major}, but of pg_dump there is only (${answers.join("; ")}); install the client ` +
      `programs of PostgreSQL ${major} where the jobs run (the build image, or the project's install commands)`,
  );
}
