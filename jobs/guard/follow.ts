/** Follows the deploy from its admission to the decision. */
import type { Admitted } from "../../run/facts";
import type { Context } from "../context";
import { actionsOf, buildsOf, isOver } from "../executions";
import { reasonOf } from "../failure";
import { executionOf } from "../job";
import { type Deadline, jitter, sleep } from "../time";
import { unwellAlarms } from "./alarms";
import { type Decision, type Observation, decide } from "./decide";

/** CodePipeline is asked for a deploy that ended without asking for admission at most that often, in milliseconds. */
const actionInterval = 5000;

/** The deploy was not admitted and never will be. */
export interface Unadmitted {
  readonly reason: string;
}

/** Waits for the deploy build to be admitted, as long as the ticket is good, or until it can never come. */
export async function waitForAdmission(context: Context, deadline: Deadline): Promise<Admitted | Unadmitted> {
  const { job } = context;
  let asked = Date.now();
  for (;;) {
    const late = deadline.passed();
    const admitted = await job.store.run(job.run, "admitted");
    if (admitted !== undefined) return admitted;
    if (late) return { reason: `no deploy build asked for admission within ${job.plan.deadlines.admitSeconds} s` };
    if (Date.now() - asked >= actionInterval) {
      asked = Date.now();
      const ended = await endedDeploy(context);
      if (ended !== undefined) return { reason: ended };
    }
    await sleep(Math.min(jitter(job.plan.pollSeconds * 1000), deadline.left()));
  }
}

/** Says how the deploy's action ended, if it has. What CodePipeline does not say now it may say later. */
async function endedDeploy({ job }: Context): Promise<string | undefined> {
  const { deployAction, deployStage } = job.plan.pipeline;
  try {
    const actions = await actionsOf(job.clients, executionOf(job));
    const deploy = actions.find(({ name, stage }) => name === deployAction && stage === deployStage);
    if (deploy === undefined || deploy.status === "InProgress") return undefined;
    const detail = deploy.summary === "" ? "" : `: ${deploy.summary}`;
    return `the action ${deployAction} ended as ${deploy.status} without having been admitted${detail}`;
  } catch (error) {
    job.log(`CodePipeline does not say how ${deployAction} is: ${reasonOf(error)}`);
    return undefined;
  }
}

/** How long an answer may stay unknown, in seconds, at least; a plan that polls slowly gets three looks. */
const patienceSeconds = 60;

export async function followDeploy(
  context: Context,
  admitted: Admitted,
  ticketAt: Date,
): Promise<Exclude<Decision, { decision: "watch" }>> {
  const { job, watch } = context;
  const { plan } = job;
  const rules = {
    deployDeadline: ticketAt.getTime() + plan.deadlines.deploySeconds * 1000,
    patience: Math.max(patienceSeconds, 3 * plan.pollSeconds) * 1000,
    soakMilliseconds: plan.soak.seconds * 1000,
    tolerance: plan.soak.tolerance,
  };
  const seen = new Seen(context, admitted.build);
  for (;;) {
    const observation = await seen.look();
    const since = observation.status === "SUCCEEDED" ? observation.endedAt : undefined;
    const samples = since === undefined ? [] : watch.since(since);
    const decision = decide({ ...observation, samples }, rules);
    if (decision.decision !== "watch") return decision;
    await sleep(jitter(plan.pollSeconds * 1000));
  }
}

/** What is known of a deploy build, from look to look. */
class Seen {
  private unknownSince: number | undefined;
  private alarmsUnknownSince: number | undefined;
  private succeededAt: number | undefined;
  private told = "";

  constructor(
    private readonly context: Context,
    private readonly build: string,
  ) {}

  async look(): Promise<Omit<Observation, "samples">> {
    const [build, alarms] = await Promise.all([this.lookAtBuild(), this.lookAtAlarms()]);
    const now = Date.now();
    if (build?.status === "SUCCEEDED" && this.succeededAt === undefined) {
      this.succeededAt = now;
      this.context.job.log("the deploy build succeeded; watching the application");
    }
    return {
      now,
      status: build?.status,
      unknownSince: this.unknownSince,
      // The soak is measured by this clock alone.
      endedAt: this.succeededAt ?? build?.endedAt,
      alarms,
      alarmsUnknownSince: this.alarmsUnknownSince,
    };
  }

  private async lookAtBuild(): Promise<{ status: string; endedAt: number | undefined } | undefined> {
    try {
      const [build] = await buildsOf(this.context.job.clients, [this.build]);
      if (build?.buildStatus === undefined) throw new Error(`CodeBuild knows no build ${this.build}`);
      this.unknownSince = undefined;
      return { status: build.buildStatus, endedAt: isOver(build) ? build.endTime?.getTime() : undefined };
    } catch (error) {
      this.unknownSince ??= Date.now();
      this.tell(reasonOf(error));
      return undefined;
    }
  }

  private async lookAtAlarms(): Promise<readonly string[]> {
    try {
      const alarms = await unwellAlarms(this.context.job.clients, this.context.job.plan.alarms);
      this.alarmsUnknownSince = undefined;
      return alarms;
    } catch (error) {
      this.alarmsUnknownSince ??= Date.now();
      this.tell(reasonOf(error));
      return [];
    }
  }

  private tell(line: string): void {
    if (line !== this.told) this.context.job.log(line);
    this.told = line;
  }
}
