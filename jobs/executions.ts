/** What CodePipeline and CodeBuild know of a run: its execution and its builds. */
import type { Build } from "@aws-sdk/client-codebuild";
import { type Clients, codeOf } from "./clients";
import { Failure } from "./failure";

/** One run as these services know it. */
export interface Execution {
  readonly pipeline: string;
  readonly id: string;
}

/** What started an execution, for example `CreatePipeline`; undefined when CodePipeline does not say. */
export async function triggerOf(clients: Clients, execution: Execution): Promise<string | undefined> {
  return (await getExecution(clients, execution))?.trigger?.triggerType;
}

const running: ReadonlySet<string> = new Set(["InProgress", "Stopping"]);

/** Whether CodePipeline has ended with an execution. One that it does not know any more has ended. */
export async function isExecutionOver(clients: Clients, execution: Execution): Promise<boolean> {
  const answer = await getExecution(clients, execution);
  if (answer === undefined) return true;
  if (answer.status === undefined) throw new Failure(`CodePipeline does not say how execution ${execution.id} is`);
  return !running.has(answer.status);
}

async function getExecution(clients: Clients, { pipeline, id }: Execution) {
  const { GetPipelineExecutionCommand } = await import("@aws-sdk/client-codepipeline");
  try {
    const command = new GetPipelineExecutionCommand({ pipelineName: pipeline, pipelineExecutionId: id });
    return (await (await clients.codepipeline()).send(command)).pipelineExecution;
  } catch (error) {
    if (["PipelineNotFoundException", "PipelineExecutionNotFoundException"].includes(codeOf(error))) return undefined;
    throw error;
  }
}

export interface Action {
  readonly name: string;
  readonly stage: string;
  /** `InProgress`, `Succeeded`, `Failed`, `Abandoned`. */
  readonly status: string;
  /** The build's id, once CodePipeline knows it. */
  readonly build: string | undefined;
  readonly summary: string;
}

/** The actions of an execution, newest first, retried ones included. */
export async function actionsOf(clients: Clients, { pipeline, id }: Execution): Promise<Action[]> {
  const { ListActionExecutionsCommand } = await import("@aws-sdk/client-codepipeline");
  const client = await clients.codepipeline();
  const actions: Action[] = [];
  let nextToken: string | undefined;
  try {
    do {
      const page = await client.send(
        new ListActionExecutionsCommand({
          pipelineName: pipeline,
          filter: { pipelineExecutionId: id },
          ...(nextToken === undefined ? {} : { nextToken }),
        }),
      );
      for (const each of page.actionExecutionDetails ?? []) {
        const result = each.output?.executionResult;
        actions.push({
          name: each.actionName ?? "",
          stage: each.stageName ?? "",
          status: each.status ?? "",
          build: result?.externalExecutionId,
          summary: result?.errorDetails?.message ?? result?.externalExecutionSummary ?? "",
        });
      }
      nextToken = page.nextToken;
    } while (nextToken !== undefined);
  } catch (error) {
    if (["PipelineNotFoundException", "PipelineExecutionNotFoundException"].includes(codeOf(error))) return [];
    throw error;
  }
  return actions;
}

/** The builds of these ids; one that CodeBuild does not know any more is left out. */
export async function buildsOf(clients: Clients, ids: readonly string[]): Promise<Build[]> {
  if (ids.length === 0) return [];
  const { BatchGetBuildsCommand } = await import("@aws-sdk/client-codebuild");
  const client = await clients.codebuild();
  const builds: Build[] = [];
  for (let start = 0; start < ids.length; start += 100) {
    const answer = await client.send(new BatchGetBuildsCommand({ ids: ids.slice(start, start + 100) }));
    builds.push(...(answer.builds ?? []));
  }
  return builds;
}

/** Which of these builds still run. */
export async function runningBuilds(clients: Clients, ids: readonly string[]): Promise<string[]> {
  const builds = await buildsOf(clients, [...new Set(ids)]);
  return builds.flatMap((build) => (isOver(build) ? [] : [build.id ?? "a build without an id"]));
}

/** A build that says nothing of its status is not known to be over. */
export function isOver(build: Build): boolean {
  return build.buildStatus !== undefined && build.buildStatus !== "IN_PROGRESS";
}
