/** What every command has in hand. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Opened } from "../run/facts";
import { type RunId, runId } from "../run/ids";
import { type DatabaseTarget, type InstanceTarget, type Plan, parsePlan } from "../run/plan";
import { type Clients, createClients } from "./clients";
import type { Credentials, DatabaseAccess, PoolerAccess } from "./database";
import type { Execution } from "./executions";
import { Failure, exitCodes, reasonOf } from "./failure";
import { type Log, standardLog } from "./log";
import { FactStore } from "./store/facts";
import { S3Objects } from "./store/objects";

/** The toolkit beside the program, and this build. */
export interface Toolkit {
  readonly command: string;
  readonly plan: Plan;
  /** PEM file with the authorities that the database servers' certificates are verified against. */
  readonly caFile: string;
  /** This build's own id. */
  readonly build: string;
  readonly clients: Clients;
  readonly store: FactStore;
  readonly log: Log;
}

/** A toolkit that works on one run, by the run's own plan. */
export interface Job extends Toolkit {
  readonly run: RunId;
}

/** @param directory - where `plan.json` and `ca.pem` lie */
export async function openToolkit(
  command: string,
  directory: string,
  environment: NodeJS.ProcessEnv,
  log: Log = standardLog,
): Promise<Toolkit> {
  const plan = parsePlan(readToolkitFile(directory, "plan.json"));
  const clients = createClients(plan.region);
  const store = new FactStore(new S3Objects(await clients.s3(), plan.store.bucket));
  return {
    command,
    plan,
    caFile: join(directory, "ca.pem"),
    build: required(environment, "CODEBUILD_BUILD_ID"),
    clients,
    store,
    log,
  };
}

function readToolkitFile(directory: string, name: string): string {
  try {
    return readFileSync(join(directory, name), "utf8");
  } catch (error) {
    const message = `cannot read ${name} beside the program: ${reasonOf(error)}. It belongs to the toolkit`;
    throw new Failure(message, exitCodes.usage, { cause: error });
  }
}

function required(environment: NodeJS.ProcessEnv, name: string): string {
  const value = environment[name];
  if (value === undefined || value === "") {
    throw new Failure(
      `${name} is not set; this program runs inside a CodeBuild build of the pipeline`,
      exitCodes.usage,
    );
  }
  return value;
}

/** The run that the environment names; undefined when it names none. */
export function runOf(environment: NodeJS.ProcessEnv): RunId | undefined {
  const text = environment["RUN_ID"] ?? "";
  if (text === "") return undefined;
  try {
    return runId(text);
  } catch (error) {
    throw new Failure(`RUN_ID: ${reasonOf(error)}`, exitCodes.usage, { cause: error });
  }
}

export function requireRun(environment: NodeJS.ProcessEnv): RunId {
  const run = runOf(environment);
  if (run === undefined) {
    throw new Failure("RUN_ID is not set; the pipeline gives it its execution's id", exitCodes.usage);
  }
  return run;
}

/** Goes on by the run's own plan: the toolkit's may be newer by now. */
export function jobOf(toolkit: Toolkit, run: RunId, opened: Opened): Job {
  return { ...toolkit, run, plan: opened.plan };
}

export function executionOf({ plan, run }: Pick<Job, "plan" | "run">): Execution {
  return { pipeline: plan.pipeline.name, id: run };
}

export function databasesOf(plan: Plan): DatabaseTarget[] {
  return plan.targets.filter((target) => target.kind === "database");
}

export function instancesOf(plan: Plan): InstanceTarget[] {
  return plan.targets.filter((target) => target.kind === "instance");
}

export function accessTo(job: Job, target: DatabaseTarget): DatabaseAccess {
  const { run, caFile, command } = job;
  return {
    target,
    writes: job.plan.writes,
    run,
    caFile,
    job: command,
    log: job.log.for(target.id),
    credentials: () => readCredentials(job, target.secretArn),
  };
}

/** How to get at the pooler in front of a database, where there is one. */
export function poolerOf(job: Job, { pooler }: DatabaseTarget): PoolerAccess | undefined {
  if (pooler === undefined) return undefined;
  const { secretArn, ...place } = pooler;
  return { ...place, credentials: () => readCredentials(job, secretArn) };
}

/** Reads a secret, anew each time: a rotation changes it under a running job. */
async function readCredentials(job: Job, arn: string): Promise<Credentials> {
  const { GetSecretValueCommand } = await import("@aws-sdk/client-secrets-manager");
  const client = await job.clients.secrets();
  const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: arn }));
  return parseSecret(arn, SecretString);
}

/** Errors never quote the secret. */
export function parseSecret(arn: string, text: string | undefined): Credentials {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    value = undefined;
  }
  const { username, password } = (value ?? {}) as { username?: unknown; password?: unknown };
  if (typeof username !== "string" || typeof password !== "string") {
    throw new Failure(`the secret ${arn} is not a JSON object with "username" and "password"`);
  }
  return { user: username, password };
}

/** Waits for all work that was begun, and reports every failure, not only the first. */
export async function together<T extends readonly unknown[]>(
  work: readonly [...{ [K in keyof T]: Promise<T[K]> }],
): Promise<T> {
  const results = await Promise.allSettled<unknown>(work as readonly Promise<unknown>[]);
  raise(results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : [])));
  return results.map((result) => (result.status === "fulfilled" ? result.value : undefined)) as unknown as T;
}

/** Does work for targets, or groups of them, as many at a time as the plan allows; reports every failure. */
export async function forEach<T, R>(
  { plan }: Pick<Job, "plan">,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  const waiting = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of waiting) {
      try {
        results[index] = await work(item);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(plan.limits.parallelTargets, items.length) }, worker));
  raise(failures);
  return results;
}

function raise(failures: readonly unknown[]): void {
  if (failures.length === 1) throw failures[0];
  if (failures.length === 0) return;
  throw new Failure([...new Set(failures.map(reasonOf))].join("; "), undefined, { cause: failures });
}
