/**
 * The lease: one run at a time per target, across all pipelines and stacks of the account.
 *
 * A lease is a parameter that is only ever created, `/protected-pipeline/lease/<hash of the target's ARN>/<n>`. The
 * highest number holds. Taking it over means creating n + 1; two that try it at once cannot both succeed. Giving it
 * back means creating `<n>/released`. Nothing is overwritten, so no reader can mistake an old holder for a new one.
 *
 * A run whose healing failed, or that nobody could finish, keeps its leases. An operator who settles it writes the
 * run's fact `resolution` and then creates `<n>/released` for each target, with the value of `<n>` itself; either of
 * the two is enough for the next run.
 */
import { createHash } from "node:crypto";
import * as z from "zod/mini";
import type { Verdict } from "../run/facts";
import { type RunId, runId } from "../run/ids";
import { isUnresolved, stateOf } from "../run/state";
import { type Clients, codeOf, createClients } from "./clients";
import { actionsOf, isExecutionOver, runningBuilds } from "./executions";
import { Failure, reasonOf } from "./failure";
import type { Job } from "./job";
import { FactStore } from "./store/facts";
import { S3Objects } from "./store/objects";
import { type Deadline, now, until } from "./time";

const holder = z.strictObject({
  at: z.iso.datetime(),
  run: z.string(),
  pipeline: z.string(),
  environment: z.string(),
  /** Where the holder's facts lie. */
  store: z.string(),
});
export type Holder = z.infer<typeof holder>;

/** The lease of one target as the parameters say it. */
export interface Lease {
  /** 0 when there never was one. */
  readonly number: number;
  readonly holder: Holder | undefined;
  readonly released: boolean;
}

export function leasePath(arn: string): string {
  return `/protected-pipeline/lease/${createHash("sha256").update(arn).digest("hex").slice(0, 32)}`;
}

/** Reads the parameters below a lease's path: their names, and the value of the newest. */
export function parseLease(path: string, parameters: readonly { Name?: string; Value?: string }[]): Lease {
  let number = 0;
  let value = "";
  const released = new Set<number>();
  for (const { Name = "", Value = "" } of parameters) {
    const match = /^\/(\d+)(\/released)?$/.exec(Name.slice(path.length));
    if (match === null) throw new Failure(`the parameter ${Name} does not belong below a lease; remove it by hand`);
    if (match[2] !== undefined) released.add(Number(match[1]));
    else if (Number(match[1]) > number) {
      number = Number(match[1]);
      value = Value;
    }
  }
  if (number === 0) return { number, holder: undefined, released: false };
  return { number, holder: parseHolder(`${path}/${number}`, value), released: released.has(number) };
}

function parseHolder(name: string, text: string): Holder {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const result = z.safeParse(holder, value);
  if (!result.success) throw new Failure(`the lease ${name} cannot be read; it was not written by these jobs`);
  return result.data;
}

/** What is known of a lease's holder. */
export interface HolderState {
  readonly released: boolean;
  /** Its execution and all its builds have ended. */
  readonly over: boolean;
  readonly verdict: Verdict["verdict"] | undefined;
  /** An operator has settled it by hand. */
  readonly settled: boolean;
  /** Something may have been deployed whose outcome nobody has settled. */
  readonly unresolved: boolean;
}

/** `wait`: the holder is at work. `blocked`: nobody is at work, and somebody must look. */
export type LeaseAnswer = "free" | "wait" | "blocked";

export function judge(state: HolderState): LeaseAnswer {
  if (state.released) return "free";
  if (!state.over) return "wait";
  if (state.settled) return "free";
  // Healing failed: the environment is neither as before nor as wanted, and its backup would be of that.
  if (state.verdict === "heal-failed") return "blocked";
  if (state.verdict !== undefined) return "free";
  // Nothing was deployed, so there is nothing to settle.
  return state.unresolved ? "blocked" : "free";
}

/** Takes the lease of a target, waiting for its holder if need be. A run that holds it already keeps it. */
export async function acquire(job: Job, arn: string, deadline: Deadline): Promise<void> {
  const path = leasePath(arn);
  const pause = { seconds: job.plan.pollSeconds, factor: 1.5, cap: 30 };
  let told = "";
  const tell = (line: string): void => {
    if (line !== told) job.log(line);
    told = line;
  };
  await until(`the lease of ${arn}${told === "" ? "" : ` (${told})`}`, deadline, pause, async () => {
    const lease = await readLease(job.clients, path);
    if (lease.holder?.run === job.run) return checkMine(job, lease, arn);
    const answer = lease.holder === undefined ? "free" : judge(await stateOfHolder(job, lease, lease.holder));
    if (answer === "blocked") throw blocked(arn, lease);
    if (answer === "wait") {
      tell(
        `${arn} is held by run ${lease.holder?.run ?? "?"} of ${lease.holder?.pipeline ?? "?"}; waiting for its end`,
      );
      return undefined;
    }
    if (!(await create(job.clients, `${path}/${lease.number + 1}`, holderOf(job)))) return undefined;
    job.log(`took lease ${lease.number + 1} of ${arn}`);
    await prune(job, path, lease.number);
    // Its stage may have been retried meanwhile. Its Guard looks at the lease after the execution has begun again, and
    // this looks at the execution after the lease was taken: at least one of the two sees the other.
    if (lease.holder !== undefined && !lease.released) await untilOver(job, lease, lease.holder, deadline);
    return true;
  });
}

function checkMine(job: Job, lease: Lease, arn: string): true {
  if (!lease.released) return true;
  throw new Failure(`run ${job.run} has given the lease of ${arn} back; start a new execution instead of a retry`);
}

async function untilOver(job: Job, lease: Lease, old: Holder, deadline: Deadline): Promise<void> {
  const pause = { seconds: job.plan.pollSeconds, factor: 1.5, cap: 30 };
  await until(`run ${old.run} of ${old.pipeline}, which was started again, to be over`, deadline, pause, async () =>
    (await stateOfHolder(job, lease, old)).over ? true : undefined,
  );
}

function blocked(arn: string, lease: Lease): Failure {
  const run = lease.holder?.run ?? "?";
  return new Failure(
    `${arn} is blocked by run ${run} of ${lease.holder?.pipeline ?? "?"}: it deployed something, and how that ended is ` +
      `not settled. Protecting now would keep a broken state as the good one. Look at it with ` +
      `\`protected-pipeline show ${run}\` and settle it with \`protected-pipeline resolve ${run}\``,
  );
}

/** Fails unless this run still holds the lease. */
export async function checkHeld(job: Job, arn: string): Promise<void> {
  const lease = await readLease(job.clients, leasePath(arn));
  if (lease.holder?.run === job.run && !lease.released) return;
  throw new Failure(
    `run ${job.run} does not hold the lease of ${arn} any more` +
      (lease.holder === undefined ? "" : `; run ${lease.holder.run} of ${lease.holder.pipeline} has it`),
  );
}

/** The runs that held the lease of a target before this one, newest first, as far as their facts lie in this store. */
export async function earlierRuns(job: Job, arn: string): Promise<RunId[]> {
  const path = leasePath(arn);
  const holders = (await readParameters(job.clients, path)).flatMap(({ Name = "", Value = "" }) => {
    const number = Number(/^\/(\d+)$/.exec(Name.slice(path.length))?.[1]);
    return Number.isNaN(number) ? [] : [{ number, holder: parseHolder(Name, Value) }];
  });
  return holders
    .filter(({ holder: { run, store } }) => run !== job.run && store === job.plan.store.bucket)
    .sort((a, b) => b.number - a.number)
    .map(({ holder: { run } }) => runId(run));
}

/** Gives the lease back, if this run holds it. Can be repeated. */
export async function release(job: Job, arn: string): Promise<void> {
  const path = leasePath(arn);
  const lease = await readLease(job.clients, path);
  if (lease.holder?.run !== job.run || lease.released) return;
  await create(job.clients, `${path}/${lease.number}/released`, holderOf(job));
}

function holderOf(job: Job): Holder {
  const { plan, run } = job;
  return { at: now(), run, pipeline: plan.pipeline.name, environment: plan.environment, store: plan.store.bucket };
}

async function stateOfHolder(job: Job, lease: Lease, old: Holder): Promise<HolderState> {
  if (lease.released) return { released: true, over: true, verdict: undefined, settled: false, unresolved: false };
  const execution = { pipeline: old.pipeline, id: old.run };
  if (!(await isExecutionOver(job.clients, execution))) {
    return { released: false, over: false, verdict: undefined, settled: false, unresolved: true };
  }
  const facts = await factsOfHolder(job, old);
  const builds = (await actionsOf(job.clients, execution)).flatMap(({ build }) => build ?? []);
  for (const fact of [facts.opened, facts.ticket, facts.admitted, ...facts.claims]) if (fact) builds.push(fact.build);
  const over = (await runningBuilds(job.clients, builds)).length === 0;
  return {
    released: false,
    over,
    verdict: facts.verdict?.verdict,
    settled: facts.resolution !== undefined,
    unresolved: isUnresolved(stateOf(facts).state),
  };
}

async function factsOfHolder(job: Job, old: Holder) {
  try {
    const s3 = await createClients(job.plan.region).s3();
    const store = old.store === job.plan.store.bucket ? job.store : new FactStore(new S3Objects(s3, old.store));
    return await store.load(runId(old.run));
  } catch (error) {
    const message =
      `run ${old.run} of ${old.pipeline} (${old.environment}) has not given the lease back, and its facts in ` +
      `${old.store} cannot be read: ${reasonOf(error)}. Settle it there with \`protected-pipeline resolve ${old.run}\``;
    throw new Failure(message, undefined, { cause: error });
  }
}

async function readLease(clients: Clients, path: string): Promise<Lease> {
  return parseLease(path, await readParameters(clients, path));
}

async function readParameters(clients: Clients, path: string): Promise<{ Name?: string; Value?: string }[]> {
  const { GetParametersByPathCommand } = await import("@aws-sdk/client-ssm");
  const client = await clients.ssm();
  const parameters: { Name?: string; Value?: string }[] = [];
  let token: string | undefined;
  do {
    const page = await client.send(
      new GetParametersByPathCommand({
        Path: path,
        Recursive: true,
        ...(token === undefined ? {} : { NextToken: token }),
      }),
    );
    parameters.push(...(page.Parameters ?? []).map(({ Name = "", Value = "" }) => ({ Name, Value })));
    token = page.NextToken;
  } while (token !== undefined && token !== "");
  return parameters;
}

/** @returns false when somebody else was first */
async function create(clients: Clients, name: string, value: Holder): Promise<boolean> {
  const { PutParameterCommand } = await import("@aws-sdk/client-ssm");
  try {
    const input = { Name: name, Value: JSON.stringify(value), Type: "String" as const, Overwrite: false };
    await (await clients.ssm()).send(new PutParameterCommand(input));
    return true;
  } catch (error) {
    if (codeOf(error) === "ParameterAlreadyExists") return false;
    throw error;
  }
}

/** How many old numbers stay: a reader with an old list must find its n + 1 taken. */
const keptNumbers = 10;

/** Parameters are counted (10,000 in an account): old numbers go. What cannot be removed stays for the next run. */
async function prune(job: Job, path: string, newest: number): Promise<void> {
  const number = newest - keptNumbers;
  if (number < 1) return;
  const { DeleteParameterCommand } = await import("@aws-sdk/client-ssm");
  const client = await job.clients.ssm();
  for (const name of [`${path}/${number}/released`, `${path}/${number}`]) {
    await client.send(new DeleteParameterCommand({ Name: name })).catch((error: unknown) => {
      if (codeOf(error) !== "ParameterNotFound") job.log(`could not remove the old lease ${name}: ${reasonOf(error)}`);
    });
  }
}

/** The ARNs of all targets in one order, so that two runs never wait for each other crosswise. */
export function leasedArns(job: Pick<Job, "plan">): string[] {
  return [...new Set(job.plan.targets.map(({ arn }) => arn))].sort();
}
