import { randomUUID } from "node:crypto";
import { FlexibleTimeWindow, Target } from "@aws-sdk/client-scheduler";
import { AwsError, Cloud } from "../../core/definitions";
import { buildInput, projectOf, startBuild, withRetries } from "../events/invocation";
import { Recurrence } from "./schedule-expression";

declare module "../../core/definitions" {
  interface Stores {
    scheduler: ScheduleStore;
  }
}

export interface Schedule {
  readonly name: string;
  readonly arn: string;
  /** The client token of its creation. */
  readonly token: string | undefined;
  readonly created: Date;
  readonly modified: Date;
  readonly expression: string;
  readonly recurrence: Recurrence;
  readonly state: "ENABLED" | "DISABLED";
  readonly description: string | undefined;
  readonly startDate: Date | undefined;
  readonly endDate: Date | undefined;
  readonly window: FlexibleTimeWindow;
  readonly target: Target;
  readonly actionAfterCompletion: "NONE" | "DELETE";
  /** Aborted when the schedule is changed or deleted. */
  readonly ended: AbortController;
}

/**
 * "All schedule types invoke their targets with 60 second precision": due at 1:00:00, invoked until 1:00:59. Here it is
 * always the last of these seconds, so that nothing comes to rely on an earlier one.
 */
const precision = 59_000;
const universalTarget = "arn:aws:scheduler:::aws-sdk:codebuild:startBuild";

/** The schedules of the default group, and their work. */
export class ScheduleStore {
  readonly schedules = new Map<string, Schedule>();

  constructor(private readonly cloud: Cloud) {}

  /** @throws ResourceNotFoundException */
  schedule(name: string | undefined): Schedule {
    const schedule = this.schedules.get(name ?? "");
    if (!schedule) throw new AwsError("ResourceNotFoundException", `Schedule ${name ?? ""} does not exist.`, 404);
    return schedule;
  }

  arnOf(name: string): string {
    return `arn:aws:scheduler:${this.cloud.region}:${this.cloud.account}:schedule/default/${name}`;
  }

  /** Sets or replaces a schedule, and starts its clock. */
  set(schedule: Schedule): void {
    this.schedules.get(schedule.name)?.ended.abort();
    this.schedules.set(schedule.name, schedule);
    if (schedule.state === "ENABLED") this.cloud.background(`schedule ${schedule.name}`, this.run(schedule));
  }

  remove(schedule: Schedule): void {
    schedule.ended.abort();
    this.schedules.delete(schedule.name);
  }

  /** The session of the schedule's role. The source that trust policies see is the schedule's *group*. */
  session(roleArn: string | undefined) {
    const { region, account } = this.cloud;
    return this.cloud.assumeRole(roleArn ?? "", randomUUID().replaceAll("-", ""), "scheduler.amazonaws.com", {
      "aws:SourceArn": `arn:aws:scheduler:${region}:${account}:schedule-group/default`,
      "aws:SourceAccount": account,
    });
  }

  private async run(schedule: Schedule): Promise<void> {
    const { recurrence, ended } = schedule;
    const start = schedule.startDate ?? schedule.modified;
    // One millisecond earlier: an occurrence at the very start counts.
    let after = new Date(Math.max(start.getTime(), schedule.modified.getTime()) - 1);
    for (;;) {
      const due = recurrence.next(after, start);
      if (!due || (schedule.endDate && due > schedule.endDate && !recurrence.once)) break;
      const now = this.cloud.clock.now().getTime();
      try {
        await this.cloud.clock.sleep(Math.max(due.getTime() + precision - now, 0), ended.signal);
      } catch (error) {
        if (ended.signal.aborted) return;
        throw error;
      }
      this.cloud.background(`schedule ${schedule.name} at ${due.toISOString()}`, this.invoke(schedule));
      // When the clock was moved, what was due long ago is skipped: AWS's clock does not jump.
      after = new Date(Math.max(due.getTime(), this.cloud.clock.now().getTime() - precision - 1));
    }
    if (schedule.actionAfterCompletion === "DELETE") this.remove(schedule);
  }

  private async invoke({ target }: Schedule): Promise<void> {
    const { project, input } = buildOf(target);
    await withRetries(this.cloud, target.RetryPolicy ?? {}, () =>
      startBuild(this.cloud, this.session(target.RoleArn), project, input),
    );
  }
}

/** @throws ValidationException when the target is no build that could be started. */
export function checkTarget(target: Target): void {
  try {
    buildOf(target);
  } catch (error) {
    if (!(error instanceof AwsError) || error.status === 501) throw error;
    throw new AwsError("ValidationException", `Invalid target: ${error.message}`, 400);
  }
}

/** The build that a target means: of a project's own ARN, or of the universal target with the project in the input. */
function buildOf(target: Target): { readonly project: string; readonly input: Readonly<Record<string, unknown>> } {
  const given = target.Input === undefined ? {} : buildInput(target.Input);
  const templated = projectOf(target.Arn);
  if (templated !== undefined) return { project: templated, input: given };
  if (target.Arn !== universalTarget)
    throw new AwsError("NotImplemented", `NotImplemented: a schedule's target ${target.Arn ?? ""}`, 501);
  const input = camelCase(given) as Readonly<Record<string, unknown>>;
  const { projectName, ...rest } = input;
  if (typeof projectName !== "string")
    throw new AwsError("InvalidInputException", "the input of startBuild has no ProjectName", 400);
  return { project: projectName, input: rest };
}

/** Whether universal targets want `ProjectName` or the API's own `projectName` is undocumented: both are taken. */
function camelCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCase);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key.charAt(0).toLowerCase() + key.slice(1), camelCase(member)]),
  );
}
