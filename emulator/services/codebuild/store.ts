/**
 * Projects, builds, and the account's quota.
 */
import type { Project } from "@aws-sdk/client-codebuild";
import type { BuildRun } from "./build";
import type { ObjectLocation } from "./objects";

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
 * Builds of one environment and compute type that may run at a time, by `<environment type>/<compute type>`.
 * A new account has 1 ("Quotas for AWS CodeBuild"), and none of the largest type.
 */
const DEFAULT_QUOTA = 1;
const initialQuotas: readonly (readonly [string, number])[] = [["LINUX_CONTAINER/BUILD_GENERAL1_2XLARGE", 0]];

export class CodeBuildStore {
  readonly projects = new Map<string, Project>();
  /** By id, `project:uuid`. */
  readonly builds = new Map<string, BuildRun>();
  private readonly quotas = new Map<string, number>(initialQuotas);
  private readonly numbers = new Map<string, number>();
  private readonly handOvers = new Map<string, HandOver>();
  private readonly tokens = new Map<string, BuildRun>();

  quota(environmentType: string, computeType: string): number {
    return this.quotas.get(`${environmentType}/${computeType}`) ?? DEFAULT_QUOTA;
  }

  setQuota(environmentType: string, computeType: string, builds: number): void {
    this.quotas.set(`${environmentType}/${computeType}`, builds);
  }

  running(): BuildRun[] {
    return [...this.builds.values()].filter(({ build }) => !build.buildComplete);
  }

  buildsOf(project: string): BuildRun[] {
    return [...this.builds.values()].filter(({ build }) => build.projectName === project);
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

  /** The build that an earlier StartBuild with this token has started. */
  withToken(token: string | undefined): BuildRun | undefined {
    return token === undefined ? undefined : this.tokens.get(token);
  }

  add(run: BuildRun, token: string | undefined): void {
    this.builds.set(run.id, run);
    if (token !== undefined) this.tokens.set(token, run);
  }
}
