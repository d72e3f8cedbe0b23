/**
 * When Rescue is called: events that say that a run may have lost its Guard. Events come at least once, and may be
 * dropped after retries, so a schedule calls it too; Rescue itself looks what there is to do.
 *
 * A Guard that has healed ends as FAILED, its action and its execution with it: of the three, only the execution's end
 * calls Rescue, once. A Guard that fails by itself ends its execution too; one that does so after its execution was
 * given up is found by the schedule.
 */
import type { Plan } from "../run/plan";

export interface RescueEvent {
  readonly id: string;
  readonly description: string;
  readonly pattern: object;
  /** Input transformer: where in the event the values lie that the template names. */
  readonly paths: Readonly<Record<string, string>>;
  readonly template: string;
}

export function rescueEvents(pipeline: Plan["pipeline"], guardProject: string): RescueEvent[] {
  return [
    {
      id: "execution-ended",
      description: `An execution of ${pipeline.name} ended without success`,
      pattern: {
        source: ["aws.codepipeline"],
        "detail-type": ["CodePipeline Pipeline Execution State Change"],
        detail: { pipeline: [pipeline.name], state: ["FAILED", "STOPPED", "CANCELED", "SUPERSEDED"] },
      },
      ...startWith({ RUN_ID: "$.detail.execution-id", RESCUE_REASON: "$.detail.state" }),
    },
    {
      id: "guard-action-ended",
      description: `The Guard action of ${pipeline.name} was abandoned`,
      pattern: {
        source: ["aws.codepipeline"],
        "detail-type": ["CodePipeline Action Execution State Change"],
        detail: {
          pipeline: [pipeline.name],
          stage: [pipeline.deployStage],
          action: [pipeline.guardAction],
          state: ["ABANDONED", "CANCELED"],
        },
      },
      ...startWith({ RUN_ID: "$.detail.execution-id", RESCUE_REASON: "$.detail.state" }),
    },
    {
      // The only one that sees a Guard die after its execution was abandoned; it knows no execution.
      id: "guard-build-ended",
      description: `A build of ${guardProject} was ended from outside`,
      pattern: {
        source: ["aws.codebuild"],
        "detail-type": ["CodeBuild Build State Change"],
        detail: { "project-name": [guardProject], "build-status": ["STOPPED", "TIMED_OUT", "FAULT"] },
      },
      ...startWith({ GUARD_BUILD: "$.detail.build-id", RESCUE_REASON: "$.detail.build-status" }),
    },
  ];
}

/** EventBridge puts a string's quotes itself, so the template has none around a value. */
function startWith(variables: Readonly<Record<string, string>>): Pick<RescueEvent, "paths" | "template"> {
  const paths = Object.entries(variables).map(([name, path]): [string, string] => [placeholder(name), path]);
  const list = Object.keys(variables).map(
    (name) => `{"name":"${name}","type":"PLAINTEXT","value":<${placeholder(name)}>}`,
  );
  return {
    paths: Object.fromEntries(paths),
    template: `{"environmentVariablesOverride":[${list.join(",")}]}`,
  };
}

function placeholder(name: string): string {
  return name.toLowerCase().replaceAll("_", "-");
}
