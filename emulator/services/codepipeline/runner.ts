/**
 * Moves executions through their stages.
 *
 * A stage's actions run in groups by `runOrder`. When one of a group fails the others go on; the stage ends when all
 * have ended, and only then does the execution leave it. A retry may start failed actions again while others of the
 * group are still running.
 */
import { randomUUID } from "node:crypto";
import type {
  ActionDeclaration,
  StageDeclaration,
  StageExecutionStatus,
  StageRetryMode,
} from "@aws-sdk/client-codepipeline";
import { AwsError, type Cloud, type Principal } from "../../core/definitions";
import { ActionError, perform, type ActionOutcome } from "./actions";
import { emitAction, emitExecution, emitStage, type ActionEvent, type StageEvent } from "./events";
import { artifactKey, type ActionRun, type Artifact, type Execution } from "./store";
import { runOrderGroups } from "./run-order";
import { resolveConfiguration, UnresolvedVariableError, type Scope } from "./variables";

/** "Quotas in AWS CodePipeline": how long an action may take, in minutes. Only an approval may say it itself. */
const ACTION_MINUTES: Readonly<Record<string, number>> = {
  "Build/CodeBuild": 36 * 60,
  "Test/CodeBuild": 8 * 60,
  "Source/S3": 60,
  "Approval/Manual": 7 * 24 * 60,
};
/** Of all output variables of one action. */
const OUTPUT_BYTES = 122_880;

/** How an execution ends that does not go to its end. */
export type Cut = "Stopped" | "Cancelled" | "Superseded";

/** What is told of an execution that is cut off. A superseded one is between stages, and has no action in progress. */
const cuts: Readonly<Record<Cut, { readonly action: ActionEvent; readonly stage: "Stopped" | "Cancelled" }>> = {
  Stopped: { action: "ABANDONED", stage: "Stopped" },
  Cancelled: { action: "CANCELED", stage: "Cancelled" },
  Superseded: { action: "CANCELED", stage: "Cancelled" },
};

/** One passage of an execution from a stage on; a retry is a new one. */
class Drive {
  private readonly abort = new AbortController();
  /** The actions of the present group, while there is one. */
  readonly running = new Set<Promise<void>>();
  inStage: StageDeclaration | undefined;
  stopRequested = false;

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  get cut(): boolean {
    return this.abort.signal.aborted;
  }

  end(): void {
    this.abort.abort(new Error("The execution does not wait for this any more."));
  }
}

export class PipelineRunner {
  private readonly drives = new Map<Execution, Drive>();

  constructor(private readonly cloud: Cloud) {}

  start(execution: Execution): void {
    emitExecution(this.cloud, execution, "STARTED");
    this.launch(execution, 0, "ALL_ACTIONS");
  }

  /** Goes on from a stage that failed or was stopped; in a stage in progress, runs its failed actions again. */
  retry(execution: Execution, stage: number, mode: StageRetryMode): void {
    const declared = execution.declaration.stages?.[stage];
    const drive = this.drives.get(execution);
    const stageRun = execution.stages.get(declared?.name ?? "");
    if (stageRun !== undefined) stageRun.retries += 1;
    if (drive !== undefined && declared !== undefined && drive.inStage === declared) {
      const again = (declared.actions ?? []).filter((action) => hasFailed(execution, declared, action));
      for (const action of again) this.startAction(execution, drive, declared, action);
      return;
    }
    execution.attempt += 1;
    execution.status = "InProgress";
    execution.stopReason = undefined;
    this.touch(execution);
    emitExecution(this.cloud, execution, "RESUMED");
    this.launch(execution, stage, mode);
  }

  /** Waits for the actions in progress; an execution that only waits before a stage stops at once. */
  stopAndWait(execution: Execution): void {
    const drive = this.drives.get(execution);
    execution.status = "Stopping";
    this.touch(execution);
    emitExecution(this.cloud, execution, "STOPPING");
    if (drive?.inStage === undefined) return this.cut(execution, "Stopped");
    drive.stopRequested = true;
    this.setStage(execution, drive.inStage.name ?? "", "Stopping", "STOPPING");
  }

  /** Ends the execution now. What its actions have started goes on: builds are not stopped. */
  cut(execution: Execution, how: Cut): void {
    const drive = this.drives.get(execution);
    this.drives.delete(execution);
    drive?.end();
    const { action, stage } = cuts[how];
    for (const run of execution.actionRuns.filter(({ status }) => status === "InProgress")) {
      this.finishAction(execution, run, "Abandoned", action);
    }
    const within = drive?.inStage?.name;
    if (within !== undefined) this.setStage(execution, within, stage, endEvents[stage]);
    for (const lock of execution.pipeline.locks.values()) lock.leave(execution);
    this.finish(execution, how);
  }

  /** The emulator closes: nothing is waited for any more. */
  close(): void {
    for (const drive of this.drives.values()) drive.end();
    for (const [{ pipeline }] of this.drives) {
      for (const lock of pipeline.locks.values()) for (const waiting of lock.waiting) lock.leave(waiting);
    }
  }

  private launch(execution: Execution, stage: number, mode: StageRetryMode): void {
    const drive = new Drive();
    this.drives.set(execution, drive);
    this.cloud.background(
      `execution ${execution.id}`,
      Promise.resolve().then(() => this.drive(execution, drive, stage, mode)),
    );
  }

  private async drive(execution: Execution, drive: Drive, from: number, first: StageRetryMode): Promise<void> {
    const stages = execution.declaration.stages ?? [];
    for (const [offset, stage] of stages.slice(from).entries()) {
      const lock = execution.pipeline.locks.get(stage.name ?? "");
      if (execution.declaration.executionMode !== "QUEUED") this.supersede(lock?.waiting ?? []);
      if ((await lock?.enter(execution)) !== true || drive.cut) return;
      drive.inStage = stage;
      const resumed = offset === 0 && execution.stages.has(stage.name ?? "");
      const status = await this.runStage(execution, drive, stage, resumed ? first : "ALL_ACTIONS", resumed);
      if (drive.cut) return;
      drive.inStage = undefined;
      lock?.leave(execution);
      if (status !== "Succeeded") return this.end(execution, status);
    }
    this.end(execution, "Succeeded");
  }

  private supersede(waiting: readonly Execution[]): void {
    for (const older of waiting) this.cut(older, "Superseded");
  }

  private end(execution: Execution, status: FinalStatus): void {
    this.drives.delete(execution);
    this.finish(execution, status);
  }

  private async runStage(
    execution: Execution,
    drive: Drive,
    stage: StageDeclaration,
    mode: StageRetryMode,
    resumed: boolean,
  ): Promise<"Succeeded" | "Failed" | "Stopped"> {
    const name = stage.name ?? "";
    execution.pipeline.latest.set(name, execution);
    if (!resumed) execution.stages.set(name, { status: "InProgress", retries: 0 });
    this.setStage(execution, name, "InProgress", resumed ? "RESUMED" : "STARTED");
    const status = await this.runGroups(execution, drive, stage, mode);
    if (!drive.cut) this.setStage(execution, name, status, endEvents[status]);
    return status;
  }

  private async runGroups(
    execution: Execution,
    drive: Drive,
    stage: StageDeclaration,
    mode: StageRetryMode,
  ): Promise<"Succeeded" | "Failed" | "Stopped"> {
    for (const group of runOrderGroups(stage.actions ?? [])) {
      if (drive.stopRequested) return "Stopped";
      const wanted = mode === "ALL_ACTIONS" ? group : group.filter((action) => !hasSucceeded(execution, stage, action));
      for (const action of wanted) this.startAction(execution, drive, stage, action);
      while (drive.running.size > 0) await Promise.race(drive.running);
      if (drive.cut) return "Stopped";
      if (drive.stopRequested) return "Stopped";
      if (!group.every((action) => hasSucceeded(execution, stage, action))) return "Failed";
    }
    return "Succeeded";
  }

  private startAction(execution: Execution, drive: Drive, stage: StageDeclaration, action: ActionDeclaration): void {
    const run = this.newRun(execution, stage.name ?? "", action);
    execution.actionRuns.push(run);
    const work = this.runAction(execution, drive, run).finally(() => drive.running.delete(work));
    drive.running.add(work);
  }

  private newRun(execution: Execution, stage: string, action: ActionDeclaration): ActionRun {
    const now = this.cloud.clock.now();
    const bucket = execution.declaration.artifactStore?.location ?? "";
    const inputs = (action.inputArtifacts ?? []).map(({ name = "" }) => execution.artifacts.get(name));
    return {
      id: randomUUID(),
      stage,
      action,
      startTime: now,
      roleArn: execution.declaration.roleArn ?? "",
      status: "InProgress",
      lastUpdateTime: now,
      resolvedConfiguration: {},
      inputs: inputs.filter((artifact): artifact is Artifact => artifact !== undefined),
      outputs: (action.outputArtifacts ?? []).map(({ name = "" }) => ({
        name,
        bucket,
        key: artifactKey(execution.pipeline.name, name) + (action.actionTypeId?.category === "Source" ? ".zip" : ""),
      })),
      outputVariables: {},
      result: {},
    };
  }

  /** Never rejects: whatever goes wrong fails the action. */
  private async runAction(execution: Execution, drive: Drive, run: ActionRun): Promise<void> {
    this.touch(execution);
    emitAction(this.cloud, execution, run, "STARTED");
    try {
      run.resolvedConfiguration = resolveConfiguration(run.action, run.stage, scopeOf(execution));
      const role = this.assumeRole(execution);
      const { cloud } = this;
      const context = { cloud, role, execution, run, signal: drive.signal };
      const outcome = await this.withinItsTime(run.action, perform(context));
      checkOutput(outcome);
      if (run.status === "InProgress") this.succeed(execution, run, outcome);
    } catch (error) {
      if (run.status !== "InProgress" || drive.cut) return;
      delete run.approval;
      run.result = { ...run.result, errorDetails: errorDetails(error) };
      this.finishAction(execution, run, "Failed", "FAILED");
    }
  }

  private assumeRole(execution: Execution): Principal {
    const { roleArn = "" } = execution.declaration;
    try {
      return this.cloud.assumeRole(roleArn, execution.id, "codepipeline.amazonaws.com");
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      throw new ActionError(
        "PermissionError",
        `CodePipeline is not authorized to perform AssumeRole on role ${roleArn}`,
      );
    }
  }

  private async withinItsTime(action: ActionDeclaration, work: Promise<ActionOutcome>): Promise<ActionOutcome> {
    const { category, provider } = action.actionTypeId ?? {};
    const minutes = action.timeoutInMinutes ?? ACTION_MINUTES[`${category}/${provider}`] ?? 60;
    const done = new AbortController();
    const late = this.cloud.clock.sleep(minutes * 60_000, done.signal).then((): never => {
      throw new ActionError("JobFailed", `The action did not end within its ${minutes} minutes`);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([work, late]);
    } finally {
      done.abort();
    }
  }

  private succeed(execution: Execution, run: ActionRun, outcome: ActionOutcome): void {
    run.outputVariables = outcome.outputVariables;
    run.result = outcome.result;
    if (run.action.namespace !== undefined) execution.namespaces.set(run.action.namespace, outcome.outputVariables);
    for (const artifact of outcome.artifacts) execution.artifacts.set(artifact.name, artifact);
    if (outcome.revision !== undefined) {
      const actionName = run.action.name ?? "";
      const index = execution.revisions.findIndex((revision) => revision.actionName === actionName);
      execution.revisions.splice(index < 0 ? execution.revisions.length : index, 1, {
        ...outcome.revision,
        actionName,
      });
    }
    this.finishAction(execution, run, "Succeeded", "SUCCEEDED");
  }

  private finishAction(execution: Execution, run: ActionRun, status: ActionRun["status"], event: ActionEvent): void {
    run.status = status;
    run.lastUpdateTime = this.cloud.clock.now();
    this.touch(execution);
    emitAction(this.cloud, execution, run, event);
  }

  private setStage(execution: Execution, stage: string, status: StageExecutionStatus, event: StageEvent): void {
    const run = execution.stages.get(stage);
    if (run !== undefined) run.status = status;
    this.touch(execution);
    emitStage(this.cloud, execution, stage, event);
  }

  private finish(execution: Execution, status: FinalStatus): void {
    execution.status = status;
    this.touch(execution);
    emitExecution(this.cloud, execution, status === "Superseded" ? "SUPERSEDED" : endEvents[status]);
  }

  private touch(execution: Execution): void {
    execution.lastUpdateTime = this.cloud.clock.now();
  }
}

const endEvents = { Succeeded: "SUCCEEDED", Failed: "FAILED", Stopped: "STOPPED", Cancelled: "CANCELED" } as const;
type FinalStatus = keyof typeof endEvents | "Superseded";

function checkOutput({ outputVariables }: ActionOutcome): void {
  const bytes = Buffer.byteLength(Object.entries(outputVariables).flat().join(""));
  if (bytes <= OUTPUT_BYTES) return;
  const most = `${OUTPUT_BYTES} bytes are allowed`;
  throw new ActionError("JobFailed", `The action's output variables have ${bytes} bytes: ${most}`);
}

function hasSucceeded(execution: Execution, stage: StageDeclaration, action: ActionDeclaration): boolean {
  return execution.latestRun(stage.name ?? "", action.name)?.status === "Succeeded";
}

function hasFailed(execution: Execution, stage: StageDeclaration, action: ActionDeclaration): boolean {
  return execution.latestRun(stage.name ?? "", action.name)?.status === "Failed";
}

function scopeOf(execution: Execution): Scope {
  const variables = execution.variables.map(({ name = "", resolvedValue = "" }) => [name, resolvedValue] as const);
  return {
    ...Object.fromEntries(execution.namespaces),
    codepipeline: { PipelineExecutionId: execution.id },
    variables: Object.fromEntries(variables),
  };
}

function errorDetails(error: unknown): { code: string; message: string } {
  if (error instanceof ActionError) return { code: error.code, message: error.message };
  if (error instanceof UnresolvedVariableError) return { code: "ConfigurationError", message: error.message };
  return { code: "SystemUnavailable", message: error instanceof Error ? error.message : String(error) };
}
