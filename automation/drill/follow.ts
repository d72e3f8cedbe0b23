/** Follows one execution of a pipeline, with official calls only, until it is over. */
import {
  GetPipelineExecutionCommand,
  GetPipelineStateCommand,
  ListActionExecutionsCommand,
  ListPipelineExecutionsCommand,
  StartPipelineExecutionCommand,
  type ActionExecutionDetail,
  type ActionState,
} from "@aws-sdk/client-codepipeline";
import type { Build } from "@aws-sdk/client-codebuild";
import { BuildLog, getBuild, isRunnerLine } from "../builds";
import type { Clients } from "../clients";
import type { ActionRecord, ExecutionRecord, StageRecord } from "../judge/run";
import { waitFor, type WaitOptions } from "../wait";

const over = new Set(["Succeeded", "Failed", "Stopped", "Cancelled", "Superseded"]);

/** A moment of an execution. */
export interface Moment {
  readonly execution: ExecutionRecord;
  /** What the commands of each action said so far, by the action's name. */
  readonly logs: ReadonlyMap<string, readonly string[]>;
}

type Poll = Omit<WaitOptions, "what">;

/** Waits until the execution that the creation of the pipeline has started is over. */
export async function awaitFirstExecution(clients: Clients, pipeline: string, poll: Poll): Promise<void> {
  await waitFor(
    async () => {
      const answer = await clients.codePipeline.send(new ListPipelineExecutionsCommand({ pipelineName: pipeline }));
      const executions = answer.pipelineExecutionSummaries ?? [];
      const all = executions.length > 0 && executions.every((each) => over.has(each.status ?? ""));
      return all || undefined;
    },
    { ...poll, what: `the execution that the creation of ${pipeline} has started to end` },
  );
}

/** Starts an execution; returns its id. */
export async function startExecution(clients: Clients, pipeline: string): Promise<string> {
  const started = await clients.codePipeline.send(new StartPipelineExecutionCommand({ name: pipeline }));
  if (started.pipelineExecutionId === undefined) throw new Error(`an execution of ${pipeline} started without an id`);
  return started.pipelineExecutionId;
}

/** Follows an execution to its end. `heard` is called after each look. */
export async function followExecution(
  clients: Clients,
  pipeline: string,
  execution: string,
  poll: Poll,
  heard: (moment: Moment) => void,
): Promise<Moment> {
  const logs = new Map<string, ActionLog>();
  const begun = new Map<string, Date>();
  const look = async (found: ExecutionRecord): Promise<Moment> => {
    for (const action of found.stages.flatMap((stage) => stage.actions)) {
      if (action.buildId === undefined) continue;
      const log = logs.get(action.buildId) ?? new ActionLog(action.name, action.buildId);
      logs.set(action.buildId, log);
      await log.read(clients, action.status !== "InProgress");
    }
    const moment = { execution: found, logs: new Map([...logs.values()].map((log) => [log.action, log.lines])) };
    heard(moment);
    return moment;
  };
  return waitFor(
    async () => {
      const glance = withBeginnings(await glanceAt(clients, pipeline, execution), begun);
      await look(glance);
      if (!seemsOver(glance)) return undefined;
      const whole = await readExecution(clients, pipeline, execution);
      return over.has(whole.status) ? await look(whole) : undefined;
    },
    { ...poll, what: `the execution ${execution} to end` },
  );
}

/** A glance tells when an action's status changed last: its beginning is what was told while it ran. */
function withBeginnings(execution: ExecutionRecord, begun: Map<string, Date>): ExecutionRecord {
  const stages = execution.stages.map((stage) => ({
    ...stage,
    actions: stage.actions.map((action) => {
      const key = `${stage.name}/${action.name}`;
      if (action.startedAt !== undefined && !begun.has(key)) begun.set(key, action.startedAt);
      return { ...action, startedAt: begun.get(key) };
    }),
  }));
  return { ...execution, stages };
}

/** Whether no stage runs, after one that ended otherwise than well, or after the last. */
function seemsOver({ stages }: ExecutionRecord): boolean {
  if (stages.some((stage) => stage.status === "InProgress" || stage.status === "Stopping")) return false;
  return (
    stages.at(-1)?.status === "Succeeded" ||
    stages.some((stage) => over.has(stage.status) && stage.status !== "Succeeded")
  );
}

/** The log of the build of one action. Read once more when the action is over, and then no longer. */
class ActionLog {
  lines: readonly string[] = [];
  private readonly log = new BuildLog();
  private build: Build | undefined;
  private done = false;

  constructor(
    readonly action: string,
    private readonly id: string,
  ) {}

  async read(clients: Clients, last: boolean): Promise<void> {
    if (this.done) return;
    // Where the log lies does not change.
    this.build ??= await this.located(clients);
    if (this.build === undefined) return;
    if (await this.log.read(clients, this.build)) this.lines = this.log.lines.filter((line) => !isRunnerLine(line));
    this.done = last;
  }

  private async located(clients: Clients): Promise<Build | undefined> {
    const build = await getBuild(clients, this.id);
    return build?.logs?.streamName === undefined ? undefined : build;
  }
}

/** One call that tells what changes: enough while an execution runs. */
async function glanceAt(clients: Clients, pipeline: string, id: string): Promise<ExecutionRecord> {
  const state = await clients.codePipeline.send(new GetPipelineStateCommand({ name: pipeline }));
  const stages = (state.stageStates ?? []).map((stage): StageRecord => {
    const mine = stage.latestExecution?.pipelineExecutionId === id;
    return {
      name: stage.stageName ?? "",
      status: mine ? (stage.latestExecution?.status ?? "") : "NotStarted",
      actions: (stage.actionStates ?? []).map((action) => glancedAction(action, mine)),
    };
  });
  return { id, status: "InProgress", stages };
}

function glancedAction({ actionName: name = "", latestExecution: latest }: ActionState, mine: boolean): ActionRecord {
  if (!mine || latest?.status === undefined) return { name, status: "NotStarted", summary: "" };
  const running = latest.status === "InProgress";
  return {
    name,
    status: latest.status,
    ...(running ? { startedAt: latest.lastStatusChange } : { endedAt: latest.lastStatusChange }),
    ...(latest.externalExecutionId?.includes(":") === true ? { buildId: latest.externalExecutionId } : {}),
    summary: latest.errorDetails?.message ?? latest.summary ?? "",
  };
}

/** Everything, with the times: for the report. */
async function readExecution(clients: Clients, pipeline: string, id: string): Promise<ExecutionRecord> {
  const [execution, glance, details] = await Promise.all([
    clients.codePipeline.send(new GetPipelineExecutionCommand({ pipelineName: pipeline, pipelineExecutionId: id })),
    glanceAt(clients, pipeline, id),
    listActions(clients, pipeline, id),
  ]);
  const stages = glance.stages.map((stage) => ({
    ...stage,
    actions: stage.actions.map((action) => actionRecord(action.name, details)),
  }));
  return { id, status: execution.pipelineExecution?.status ?? "Unknown", stages };
}

async function listActions(clients: Clients, pipeline: string, id: string): Promise<ActionExecutionDetail[]> {
  const details: ActionExecutionDetail[] = [];
  let nextToken: string | undefined;
  do {
    const page = await clients.codePipeline.send(
      new ListActionExecutionsCommand({
        pipelineName: pipeline,
        filter: { pipelineExecutionId: id },
        ...(nextToken === undefined ? {} : { nextToken }),
      }),
    );
    details.push(...(page.actionExecutionDetails ?? []));
    nextToken = page.nextToken;
  } while (nextToken !== undefined);
  return details;
}

function actionRecord(name: string, details: readonly ActionExecutionDetail[]): ActionRecord {
  // The newest comes first.
  const detail = details.find((each) => each.actionName === name);
  if (detail === undefined) return { name, status: "NotStarted", summary: "" };
  const result = detail.output?.executionResult;
  const isBuild = detail.input?.actionTypeId?.provider === "CodeBuild";
  return {
    name,
    status: detail.status ?? "Unknown",
    startedAt: detail.startTime,
    endedAt: detail.status === "InProgress" ? undefined : detail.lastUpdateTime,
    ...(isBuild && result?.externalExecutionId !== undefined ? { buildId: result.externalExecutionId } : {}),
    summary: result?.errorDetails?.message ?? result?.externalExecutionSummary ?? "",
  };
}
