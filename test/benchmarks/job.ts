/** One job of the pipeline, as a process of its own: its memory and its share of the processors can be measured. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import type { Readable } from "node:stream";
import { protectDatabase, proveDatabase, stageDatabase } from "../../jobs/database";
import type {
  DatabaseAccess,
  Limits,
  ProtectedDatabase,
  ProvenDatabase,
  StagedDatabase,
} from "../../jobs/database/types";
import { runId } from "../../run/ids";

export interface Request {
  readonly job: "protect" | "stage";
  readonly run: string;
  readonly target: DatabaseAccess["target"];
  readonly user: string;
  readonly password: string;
  readonly caFile: string;
  readonly limits: Limits;
  /** The vault's program and its folder. */
  readonly vault: readonly [string, string];
  /** For `stage`. */
  readonly protected?: ProtectedDatabase;
}

export interface Answer {
  readonly seconds: number;
  /** The most memory that the job has had resident, in bytes. */
  readonly memory: number;
  readonly protected?: ProtectedDatabase;
  /** How many of the dump's bytes the vault did not have yet. */
  readonly newBytes?: number;
  readonly staged?: StagedDatabase;
  readonly proven?: ProvenDatabase;
  /** The part of `stage` that is not its proof. */
  readonly staging?: number;
}

async function main(): Promise<void> {
  const request = JSON.parse(await text(process.stdin)) as Request;
  const started = process.hrtime.bigint();
  const seconds = (): number => Number(process.hrtime.bigint() - started) / 1e9;
  const work = request.job === "protect" ? protect(request) : stage(request, seconds);
  const result = await work;
  const answer: Answer = { ...result, seconds: seconds(), memory: memory() };
  process.stdout.write(JSON.stringify(answer));
}

function accessOf({ run, target, user, password, caFile, job }: Request): DatabaseAccess {
  const log = (): void => undefined;
  return { target, credentials: async () => ({ user, password }), caFile, run: runId(run), job, log };
}

async function protect(request: Request): Promise<Partial<Answer>> {
  let newBytes = 0;
  const made = await protectDatabase(accessOf(request), {
    deadline: deadline(),
    limits: request.limits,
    vault: async (dump) => {
      const stored = await store(request, dump);
      newBytes = stored.newBytes;
      return { recoveryPoint: stored.id };
    },
  });
  return { protected: made, newBytes };
}

async function store({ vault }: Request, dump: Readable): Promise<{ id: string; newBytes: number }> {
  const child = spawn(process.execPath, [...vault, "store"], { stdio: ["pipe", "pipe", "inherit"] });
  const [answer] = await Promise.all([text(child.stdout), pipeline(dump, child.stdin)]);
  return JSON.parse(answer) as { id: string; newBytes: number };
}

async function stage(request: Request, seconds: () => number): Promise<Partial<Answer>> {
  const made = request.protected;
  if (made === undefined) throw new Error("nothing was protected");
  const access = accessOf(request);
  const staged = await stageDatabase(access, {
    deadline: deadline(),
    protected: made,
    limits: request.limits,
    dump: async () => {
      const args = [...request.vault, "read", made.recoveryPoint];
      return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] }).stdout;
    },
  });
  const staging = seconds();
  const proven = await proveDatabase(access, {
    deadline: deadline(),
    protected: made,
    staged,
    limits: request.limits,
  });
  const { database, oid } = staged;
  return { staged: { database, oid }, proven, staging };
}

function deadline(): Date {
  return new Date(Date.now() + 3600_000);
}

/** The high-water mark, which getrusage does not give: it counts what the parent had at the fork, too. */
function memory(): number {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync("/proc/self/status", "utf8")) ?? [];
  if (kilobytes === undefined) throw new Error("/proc/self/status has no VmHWM");
  return Number(kilobytes) * 1024;
}

void main();
