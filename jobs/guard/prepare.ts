/** What must be true before the Guard signs the ticket. Whatever is not ends the run before anything is deployed. */
import type { RunFacts } from "../../run/state";
import type { Context } from "../context";
import { Failure } from "../failure";
import { describeInstance } from "../instance/instances";
import { rehearseReplacement } from "../instance/replacement";
import { type Job, instancesOf, together } from "../job";
import { checkHeld, leasedArns } from "../lease";
import { duration } from "../log";
import { type Deadline, now } from "../time";
import { unwellAlarms } from "./alarms";

export async function prepare(context: Context, facts: RunFacts, deadline: Deadline): Promise<void> {
  const { job } = context;
  checkFresh(job, facts);
  await checkLeases(job);
  await together([
    checkDatabases(context, facts, deadline),
    ...instancesOf(job.plan).map(({ id }) => rehearseInstance(context, facts, id)),
    checkAlarms(job),
    checkProbes(context, deadline),
  ]);
  checkFresh(job, facts);
  // Again, and after the execution has visibly begun: see lease.ts.
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
  await together(leasedArns(job).map((arn) => checkHeld(job, arn)));
}

async function checkDatabases(context: Context, facts: RunFacts, deadline: Deadline): Promise<void> {
  await together(
    (await context.servers(facts)).map(async ({ session, exchanges }) => {
      await session.ready(deadline.at);
      await session.checkSeal(
        exchanges.map(({ pair }) => pair),
        deadline.at,
      );
      for (const { pair } of exchanges) context.job.log(`${pair.staged.database} is sealed as it was proven`);
    }),
  );
}

async function rehearseInstance(context: Context, facts: RunFacts, id: string): Promise<void> {
  const { job, engine } = context;
  const target = instancesOf(job.plan).find((each) => each.id === id);
  const staged = facts.targets[id]?.staged;
  if (target === undefined || staged?.kind !== "instance") throw new Failure(`the protection of ${id} is not complete`);
  const instance = await describeInstance(job.clients, target.instanceId);
  if (instance.state !== "running") throw new Failure(`instance ${target.instanceId} is ${instance.state}`);
  await rehearseReplacement(job.clients, instance, staged.volumeId);
  await engine.rehearse(instance, staged.recoveryPoint, staged.volumeId);
  job.log(`the calls that a healing of ${target.instanceId} would make are allowed`);
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
