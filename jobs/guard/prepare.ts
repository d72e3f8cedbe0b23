/** What must be true before the Guard signs the ticket. Whatever is not ends the run before anything is deployed. */
import type { RunFacts } from "../../run/state";
import type { Context } from "../context";
import { Failure } from "../failure";
import type { InstanceTarget } from "../../run/plan";
import { rehearseExchange } from "../instance/exchange";
import { describeInstance } from "../instance/instances";
import { machineOf } from "../instance/machine";
import { type Job, forEach, instancesOf, together } from "../job";
import { checkHeld, leasedArns } from "../lease";
import { duration } from "../log";
import { exchangesOf } from "../servers";
import { type Deadline, now } from "../time";
import { unwellAlarms } from "./alarms";

export async function prepare(context: Context, facts: RunFacts, deadline: Deadline): Promise<void> {
  const { job } = context;
  checkFresh(job, facts);
  await together([
    checkDatabases(context, facts, deadline),
    forEach(job, instancesOf(job.plan), (target) => rehearseInstance(context, facts, target)),
    checkAlarms(job),
    checkProbes(context, deadline),
  ]);
  checkFresh(job, facts);
  // After the execution has visibly begun: see lease.ts.
  await checkLeases(job);
}

/** Signs that a healing is ready to begin at any moment. */
export async function signTicket({ job }: Context): Promise<void> {
  const deadline = new Date(Date.now() + job.plan.deadlines.admitSeconds * 1000).toISOString();
  const { mine, fact } = await job.store.writeRun(job.run, "ticket", { at: now(), build: job.build, deadline });
  if (!mine) throw new Failure(`the ticket of run ${job.run} was signed by ${fact.build}`);
  job.log(`on watch: signed the ticket; the deploy may start until ${deadline}`);
}

function checkFresh({ plan }: Job, facts: RunFacts): void {
  const age = ageOf(facts, Date.now());
  if (age <= plan.deadlines.freshSeconds * 1000) return;
  throw new Failure(
    `the protection is ${duration(age)} old, and ${duration(plan.deadlines.freshSeconds * 1000)} is the most that may ` +
      "be lost. Start a new execution",
  );
}

/** The age of the oldest snapshot, in milliseconds. */
export function ageOf(facts: RunFacts, at: number): number {
  const snapshots = Object.values(facts.targets).map((each) => Date.parse(each.protected?.snapshotAt ?? ""));
  const age = at - Math.min(...snapshots);
  if (Number.isNaN(age)) throw new Failure("the age of the protection is not known");
  return age;
}

async function checkLeases(job: Job): Promise<void> {
  await forEach(job, leasedArns(job), (arn) => checkHeld(job, arn));
}

async function checkDatabases(context: Context, facts: RunFacts, deadline: Deadline): Promise<void> {
  const { job } = context;
  await forEach(job, await context.servers(), async ({ session, targets }) => {
    await session.ready(deadline.at);
    // What is restored on failure only has no seal to check yet.
    const staged = targets.filter(({ stage }) => stage !== "on-failure");
    const pairs = exchangesOf(job, facts, { targets: staged }).map(({ pair }) => pair);
    await session.checkSeal(pairs, deadline.at);
    for (const pair of pairs) job.log(`${pair.staged.database} is sealed as it was proven`);
  });
}

async function rehearseInstance(context: Context, facts: RunFacts, target: InstanceTarget): Promise<void> {
  const { job, engine } = context;
  const { protected: made, staged } = facts.targets[target.id] ?? {};
  if (made?.kind !== "instance" || staged?.kind !== "instance") {
    throw new Failure(`the protection of ${target.id} is not complete`);
  }
  const { instanceId } = target;
  const { state } = await describeInstance(job.clients, instanceId);
  if (state !== "running") throw new Failure(`instance ${instanceId} is ${state}`);
  await rehearseExchange(job.clients, instanceId, made.volumes, staged.volumes);
  await engine.rehearse(await machineOf(job.clients, target, made.volumes), staged.recoveryPoint);
  job.log(`the calls that a healing of ${instanceId} would make are allowed`);
}

async function checkAlarms(job: Job): Promise<void> {
  const unwell = await unwellAlarms(job.clients, job.plan.alarms);
  if (unwell.length > 0) throw new Failure(`alarm ${unwell.join(", ")} is not OK before the deploy`);
}

/** An application that is not well before the deploy cannot show that it is not well after it. */
async function checkProbes(context: Context, deadline: Deadline): Promise<void> {
  const started = Date.now();
  try {
    await context.watch.green(started, deadline, { seconds: context.job.plan.pollSeconds });
  } catch (error) {
    throw new Failure(`the application is not well before the deploy: ${(error as Error).message}`);
  }
}
