/**
 * Projects, builds, and the account's quotas.
 */
import type { Project } from "@aws-sdk/client-codebuild";
import type { BuildRun } from "./build";
import type { ObjectLocation } from "./objects";
import { BuildQueue, type Quota } from "./queue";

declare module "../../core/definitions" {
  interface Stores {
    codebuild: CodeBuildStore;
  }
}

/** One artifact on its way between CodePipeline and a build. */
export interface NamedObject extends ObjectLocation {
  readonly name: string;
}

/**
 * What CodePipeline tells CodeBuild about a build beside StartBuild's input. On AWS, too, this goes by a way that
 * others do not have. The primary source is the first input.
 */
export interface HandOver {
  readonly pipeline: string;
  readonly inputs: readonly NamedObject[];
  readonly outputs: readonly NamedObject[];
  /** Revision of the primary source, when CodePipeline knows it. */
  readonly revision?: string;
}

/**
 * What an account has at first, of each environment and compute type: one running build, and none of the largest type
 * ("Quotas for AWS CodeBuild").
 *
 * The documentation says that builds beyond that wait in a queue of five times the quota ("Builds in AWS CodeBuild").
 * Accounts with a small quota are reported to be refused at once instead: "Cannot have more than 1 builds in queue for
 * the account", and CodePipeline does not try again. What relies on a queue that is not there fails, so none is here
 * unless a test sets one.
 */
const INITIAL_QUOTA: Quota = { running: 1, queued: 0 };
const initialQuotas: Readonly<Record<string, Quota>> = {
  "LINUX_CONTAINER/BUILD_GENERAL1_2XLARGE": { running: 0, queued: 0 },
};

/** Finished builds that are remembered, the newest ones. AWS remembers a year's. */
export const BUILDS_KEPT = 1_000;
/** "The token is valid for 5 minutes" (StartBuild). */
const TOKEN_MS = 5 * 60_000;

interface Token {
  readonly run: BuildRun;
  /** What was asked for, as JSON. */
  readonly request: string;
  readonly until: number;
}

export class CodeBuildStore {
  readonly projects = new Map<string, Project>();
  private readonly runs = new Map<string, BuildRun>();
  /** By `<environment type>/<compute type>`. */
  private readonly queues = new Map<string, BuildQueue>();
  private readonly numbers = new Map<string, number>();
  private readonly handOvers = new Map<string, HandOver>();
  private readonly tokens = new Map<string, Token>();

  /** Of builds of that environment and compute type. */
  queue(environmentType: string, computeType: string): BuildQueue {
    const kind = `${environmentType}/${computeType}`;
    const queue = this.queues.get(kind) ?? new BuildQueue(initialQuotas[kind] ?? INITIAL_QUOTA);
    this.queues.set(kind, queue);
    return queue;
  }

  /** As when AWS has granted another quota. */
  setQuota(environmentType: string, computeType: string, quota: Quota): void {
    this.queue(environmentType, computeType).quota = quota;
  }

  /** By id, `project:uuid`. */
  build(id: string): BuildRun | undefined {
    return this.runs.get(id);
  }

  running(): BuildRun[] {
    return [...this.runs.values()].filter(({ build }) => build.buildComplete !== true);
  }

  /** Oldest first. */
  buildsOf(project: string): BuildRun[] {
    return [...this.runs.values()].filter(({ build }) => build.projectName === project);
  }

  nextNumber(project: string): number {
    const number = (this.numbers.get(project) ?? 0) + 1;
    this.numbers.set(project, number);
    return number;
  }

  /** Leaves what belongs to the StartBuild that will come with this idempotency token. */
  handOver(token: string, what: HandOver): void {
    this.handOvers.set(token, what);
  }

  takeHandOver(token: string | undefined): HandOver | undefined {
    if (token === undefined) return undefined;
    const found = this.handOvers.get(token);
    this.handOvers.delete(token);
    return found;
  }

  /** What an earlier StartBuild with this token has asked for and started, while the token is valid. */
  withToken(token: string | undefined, now: Date): { readonly run: BuildRun; readonly request: string } | undefined {
    for (const [name, { until }] of this.tokens) if (until <= now.getTime()) this.tokens.delete(name);
    return token === undefined ? undefined : this.tokens.get(token);
  }

  remember(token: string, run: BuildRun, request: string, now: Date): void {
    this.tokens.set(token, { run, request, until: now.getTime() + TOKEN_MS });
  }

  /** Forgets the oldest finished builds when there are too many. */
  add(run: BuildRun): void {
    this.runs.set(run.id, run);
    let excess = this.runs.size - BUILDS_KEPT;
    for (const [id, { build }] of this.runs) {
      if (excess <= 0) return;
      if (build.buildComplete !== true) continue;
      this.runs.delete(id);
      excess -= 1;
    }
  }
}
