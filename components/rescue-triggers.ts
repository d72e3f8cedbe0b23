import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import type { Plan } from "../run/plan";
import { knownInputs } from "./inputs";
import type { CommandProject } from "./command-project";
import { policy, startBuildStatements, trustPolicy } from "./policies";
import { rescueEvents, type RescueEvent } from "./rescue-events";
import { currentSite } from "./site";

export interface RescueTriggersArgs {
  readonly pipeline: Plan["pipeline"];
  readonly guardProject: string;
  readonly rescueProject: string;
  /** An expression of EventBridge's Scheduler, such as `rate(15 minutes)`. */
  readonly schedule: string;
}

/** What starts Rescue: events that say that a Guard may be gone, and a schedule that misses none. */
export class RescueTriggers extends pulumi.ComponentResource {
  constructor(
    name: string,
    args: RescueTriggersArgs,
    private readonly rescue: CommandProject,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("protected-pipeline:index:RescueTriggers", name, knownInputs(args), opts);
    const events = this.createCaller(`${name}-events`, "events.amazonaws.com", args);
    for (const event of rescueEvents(args.pipeline, args.guardProject))
      this.createRule(`${name}-${event.id}`, event, events);
    this.createSchedule(name, args);
    this.registerOutputs({});
  }

  private createRule(name: string, event: RescueEvent, roleArn: pulumi.Output<string>): void {
    const rule = new aws.cloudwatch.EventRule(
      name,
      { name, description: event.description, eventPattern: JSON.stringify(event.pattern) },
      { parent: this },
    );
    new aws.cloudwatch.EventTarget(
      name,
      {
        rule: rule.name,
        arn: this.rescue.projectArn,
        roleArn,
        inputTransformer: { inputPaths: event.paths, inputTemplate: event.template },
      },
      { parent: this },
    );
  }

  private createSchedule(name: string, args: RescueTriggersArgs): void {
    new aws.scheduler.Schedule(
      `${name}-schedule`,
      {
        name: `${name}-schedule`,
        description: `Resumes runs of ${args.pipeline.name} that have no verdict`,
        scheduleExpression: args.schedule,
        flexibleTimeWindow: { mode: "OFF" },
        target: {
          arn: this.rescue.projectArn,
          roleArn: this.createCaller(`${name}-schedule`, "scheduler.amazonaws.com", args),
        },
      },
      { parent: this },
    );
  }

  /** A role with which one service starts the Rescue project. */
  private createCaller(name: string, service: string, args: RescueTriggersArgs): pulumi.Output<string> {
    const site = currentSite(this);
    const role = new aws.iam.Role(
      `${name}-role`,
      {
        description: `Starts ${args.rescueProject}`,
        assumeRolePolicy: site.apply((at) => JSON.stringify(trustPolicy(service, at))),
      },
      { parent: this },
    );
    const attached = new aws.iam.RolePolicy(
      `${name}-policy`,
      {
        role: role.name,
        policy: site.apply((at) => JSON.stringify(policy(...startBuildStatements(at, args.rescueProject)))),
      },
      { parent: this },
    );
    return pulumi.all([role.arn, attached.id]).apply(([arn]) => arn);
  }
}
