/**
 * Pipelines and their executions, as data; `runner.ts` moves them.
 */
import { randomInt } from "node:crypto";
import type {
  ActionDeclaration,
  ActionExecutionStatus,
  ActionExecutionResult,
  ArtifactRevision,
  ExecutionTrigger,
  PipelineDeclaration,
  PipelineExecutionStatus,
  ResolvedPipelineVariable,
  SourceRevisionOverride,
  StageDeclaration,
  StageExecutionStatus,
  Tag,
} from "@aws-sdk/client-codepipeline";
import { AwsError } from "../../core/definitions";
import type { NamedObject } from "../codebuild/store";
import type { Approval } from "./approval";
import { StageLock } from "./lock";
import type { SourcePolling } from "./polling";
import type { PipelineRunner } from "./runner";

declare module "../../core/definitions" {
  interface Stores {
    codepipeline: CodePipelineStore;
  }
}

/** Finished executions that a pipeline remembers, the newest ones. AWS remembers those of 12 months. */
export const EXECUTIONS_KEPT = 500;

export class CodePipelineStore {
  readonly pipelines = new Map<string, Pipeline>();

  constructor(
    readonly runner: PipelineRunner,
    readonly polling: SourcePolling,
  ) {}

  pipeline(name: string | undefined): Pipeline {
    const found = this.pipelines.get(name ?? "");
    if (found !== undefined) return found;
    throw new AwsError("PipelineNotFoundException", `Account does not have a pipeline with name '${name ?? ""}'`);
  }
}

export interface Pipeline {
  readonly name: string;
  readonly arn: string;
  readonly created: Date;
  updated: Date;
  declaration: PipelineDeclaration;
  tags: Tag[];
  /** Oldest first. */
  readonly executions: Map<string, Execution>;
  /** By stage name. */
  locks: ReadonlyMap<string, StageLock>;
  /** Who was in a stage last, by stage name. */
  readonly latest: Map<string, Execution>;
  /** Executions by the token of the request that started them. */
  readonly tokens: Map<string, Execution>;
}

export interface StageRun {
  status: StageExecutionStatus;
  retries: number;
}

/** One attempt at one action. */
export interface ActionRun {
  readonly id: string;
  readonly stage: string;
  readonly action: ActionDeclaration;
  readonly startTime: Date;
  readonly roleArn: string;
  status: ActionExecutionStatus;
  lastUpdateTime: Date;
  resolvedConfiguration: Record<string, string>;
  inputs: readonly NamedObject[];
  outputs: readonly NamedObject[];
  outputVariables: Record<string, string>;
  result: ActionExecutionResult;
  /** Of a manual approval that waits, or has waited. */
  approval?: Approval;
  /** Who approved or rejected. */
  lastUpdatedBy?: string;
}

/** An artifact of one execution, with the source revision that it is. */
export interface Artifact extends NamedObject {
  readonly revision?: string;
}

export class Execution {
  status: PipelineExecutionStatus = "InProgress";
  stopReason: string | undefined;
  lastUpdateTime: Date;
  attempt = 1;
  readonly stages = new Map<string, StageRun>();
  /** Oldest first. */
  readonly actionRuns: ActionRun[] = [];
  readonly artifacts = new Map<string, Artifact>();
  readonly revisions: (ArtifactRevision & { readonly actionName: string })[] = [];
  readonly namespaces = new Map<string, Record<string, string>>();

  constructor(
    readonly id: string,
    readonly pipeline: Pipeline,
    /** As it was when the execution started. */
    readonly declaration: PipelineDeclaration,
    readonly trigger: ExecutionTrigger,
    readonly variables: readonly ResolvedPipelineVariable[],
    readonly sourceRevisions: readonly SourceRevisionOverride[],
    readonly startTime: Date,
  ) {
    this.lastUpdateTime = startTime;
  }

  get running(): boolean {
    return this.status === "InProgress" || this.status === "Stopping";
  }

  latestRun(stage: string, action: string | undefined): ActionRun | undefined {
    return this.actionRuns.findLast((run) => run.stage === stage && run.action.name === action);
  }
}

/** Forgets the oldest finished executions when there are too many. */
export function remember(pipeline: Pipeline, execution: Execution): void {
  const { executions, tokens } = pipeline;
  executions.set(execution.id, execution);
  let excess = executions.size - EXECUTIONS_KEPT;
  for (const [id, old] of executions) {
    if (excess <= 0) return;
    if (old.running) continue;
    executions.delete(id);
    for (const [token, started] of tokens) if (started === old) tokens.delete(token);
    excess -= 1;
  }
}

export function stageIndex({ stages = [] }: PipelineDeclaration, name: string | undefined): number {
  return stages.findIndex((stage) => stage.name === name);
}

export function newLocks(stages: readonly StageDeclaration[]): Map<string, StageLock> {
  return new Map(stages.map(({ name = "" }) => [name, new StageLock()]));
}

const KEY_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** `pipeline/artifact/Ab3dE5g`: the names are cut to 20 and 10 characters, as in the service's buckets. */
export function artifactKey(pipeline: string, artifact: string): string {
  const characters = Array.from({ length: 7 }, () => KEY_CHARACTERS[randomInt(KEY_CHARACTERS.length)]);
  return `${pipeline.slice(0, 20)}/${artifact.slice(0, 10)}/${characters.join("")}`;
}
