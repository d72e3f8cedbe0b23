/** Makes sure that nobody writes to the live environment any more. */
import type { InstanceTarget } from "../../run/plan";
import { buildsOf, isOver } from "../executions";
import { reasonOf } from "../failure";
import { cancelCommands } from "../instance/commands";
import { forEach, instancesOf, together } from "../job";
import { duration } from "../log";
import { now, until } from "../time";
import { fenceDatabases, lateDatabases, restoreLate } from "./databases";
import { type Healing, pauseOf } from "./healing";
import { beginVolumes } from "./instances";

export async function fence(healing: Healing): Promise<void> {
  const { context, measures } = healing;
  const { job } = context;
  let { facts } = healing;
  // What must be restored first takes its time, in which what still works of the application may go on.
  if (lateDatabases(job).length > 0) {
    await endDeploy(healing);
    await restoreLate(healing);
    facts = await job.store.load(job.run);
  }
  const closing = async (): Promise<number> => {
    const ended = await fenceDatabases({ ...healing, facts });
    beginVolumes(healing);
    return ended;
  };
  const [sessions] = await together([closing(), endDeploy(healing)]);
  job.log(`fenced: ${sessions} database sessions ended; nobody writes any more (${duration(measures.fence)})`);
  await job.store.writeRun(job.run, "fenced", { at: now(), sessionsEnded: sessions });
}

/** Ends the deploy: its build, and what it has started on the instances. */
async function endDeploy(healing: Healing): Promise<void> {
  const { job } = healing.context;
  await together([stopBuild(healing), forEach(job, instancesOf(job.plan), (target) => endCommands(healing, target))]);
}

/** Stops the deploy's build, if it still runs, and waits until it is over. */
async function stopBuild(healing: Healing): Promise<void> {
  const { context, facts, deadline } = healing;
  const { clients, log } = context.job;
  const id = facts.admitted?.build;
  if (id === undefined) return;
  const over = async (): Promise<true | undefined> =>
    (await buildsOf(clients, [id])).every(isOver) ? true : undefined;
  if ((await over()) === true) return;
  const { StopBuildCommand } = await import("@aws-sdk/client-codebuild");
  log.command(`aws codebuild stop-build --id ${id}`);
  await (await clients.codebuild()).send(new StopBuildCommand({ id }));
  await until(`build ${id} to stop`, deadline, pauseOf(healing), over);
}

/** How long commands are waited for. They end for sure when the instance is restarted with its old volumes. */
const commandSeconds = 60;

async function endCommands(healing: Healing, { instanceId }: InstanceTarget): Promise<void> {
  const { context, facts, deadline } = healing;
  const { clients, log } = context.job;
  const since = new Date(facts.admitted?.at ?? 0);
  try {
    const ended = await cancelCommands(clients, instanceId, since, deadline.within(commandSeconds), pauseOf(healing));
    if (ended.length > 0) log(`ended ${ended.length} commands of the release on ${instanceId}`);
  } catch (error) {
    log(`commands on ${instanceId} may still run until it restarts: ${reasonOf(error)}`);
  }
}
