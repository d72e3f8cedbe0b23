/**
 * StartBuild: from a project, the caller's overrides and what CodePipeline hands over, to a build in its queue.
 */
import { randomUUID } from "node:crypto";
import type { Build, EnvironmentVariable, Project, StartBuildCommandInput } from "@aws-sdk/client-codebuild";
import { AwsError, type Call, type Cloud, type Principal } from "../../core/definitions";
import { BuildRun, type BuildPlan } from "./build";
import { describeBuild } from "./describe";
import type { Variable } from "./environment";
import type { LogTarget } from "./log";
import { parseLocation } from "./objects";
import { checkStartedAlone, overridden } from "./overrides";
import { assumeServiceRole } from "./project";
import type { Place } from "./queue";
import type { HandOver, NamedObject } from "./store";
import { ownOutputs, pipelineOutputs } from "./upload";

export function startBuild(input: StartBuildCommandInput, project: Project, { cloud, principal }: Call): BuildRun {
  const store = cloud.stores.codebuild;
  const now = cloud.clock.now();
  const { idempotencyToken: token, ...asked } = input;
  const request = JSON.stringify(asked);
  const earlier = store.withToken(token, now);
  if (earlier !== undefined) return sameRequest(earlier, request);
  const handOver = store.takeHandOver(token);
  const chosen = overridden(project, input);
  if (handOver === undefined) checkStartedAlone(chosen);
  const uuid = randomUUID();
  const role = assumeServiceRole(cloud, chosen, uuid);
  const plan: BuildPlan = {
    ...filesOf(chosen, handOver, uuid),
    project: chosen,
    role,
    projectVariables: variables(project.environment?.environmentVariables),
    overrideVariables: variables(input.environmentVariablesOverride),
    log: logTarget(chosen, uuid),
  };
  const place = takePlace(cloud, chosen);
  const initiator = handOver === undefined ? initiatorOf(principal) : `codepipeline/${handOver.pipeline}`;
  const build: Build = describeBuild(cloud, plan, initiator, uuid);
  const run = new BuildRun(cloud, build, plan, place);
  store.add(run);
  if (token !== undefined) store.remember(token, run, request, now);
  // The caller has the answer before anything happens.
  cloud.background(
    `build ${run.id}`,
    Promise.resolve().then(() => run.run()),
  );
  return run;
}

/** "If you repeat the StartBuild request with the same token, but change a parameter": the words are not documented. */
function sameRequest(earlier: { readonly run: BuildRun; readonly request: string }, request: string): BuildRun {
  if (earlier.request === request) return earlier.run;
  throw new AwsError(
    "InvalidInputException",
    "Parameter mismatch: the idempotency token was used with other parameters",
  );
}

/**
 * "If the build project has a concurrent build limit set, builds return an error if the number of running builds
 * reaches the concurrent build limit for the project", else the account's queue decides ("Builds in AWS CodeBuild").
 */
function takePlace(cloud: Cloud, { name = "", environment, concurrentBuildLimit }: Project): Place {
  const store = cloud.stores.codebuild;
  if (concurrentBuildLimit !== undefined) {
    const own = store.running().filter(({ build }) => build.projectName === name);
    // The error's words are not documented.
    if (own.length >= concurrentBuildLimit) {
      throw limitExceeded(`Cannot have more than ${concurrentBuildLimit} active builds for the project`);
    }
  }
  const queue = store.queue(environment?.type ?? "", environment?.computeType ?? "");
  const place = queue.join();
  if (place !== undefined) return place;
  const { running, queued } = queue.quota;
  throw limitExceeded(`Cannot have more than ${running + queued} builds in queue for the account`);
}

function limitExceeded(message: string): AwsError {
  return new AwsError("AccountLimitExceededException", message);
}

/** CodePipeline's artifacts come instead of the project's own. */
function filesOf(
  project: Project,
  handOver: HandOver | undefined,
  uuid: string,
): Pick<BuildPlan, "fromPipeline" | "sources" | "revision" | "outputs"> {
  if (handOver === undefined) {
    return { fromPipeline: false, sources: ownSources(project), outputs: ownOutputs(project, uuid) };
  }
  const { inputs, outputs, revision } = handOver;
  return {
    fromPipeline: true,
    sources: inputs,
    ...(revision !== undefined && { revision }),
    outputs: pipelineOutputs(outputs),
  };
}

/** The primary source has no name. */
function ownSources(project: Project): NamedObject[] {
  const { source, sourceVersion, secondarySources = [], secondarySourceVersions = [] } = project;
  const primary = source?.type === "S3" ? [s3Source("", source.location, sourceVersion)] : [];
  const secondary = secondarySources.map(({ sourceIdentifier = "", location }) => {
    const given = secondarySourceVersions.find((version) => version.sourceIdentifier === sourceIdentifier);
    return s3Source(sourceIdentifier, location, given?.sourceVersion);
  });
  return [...primary, ...secondary];
}

function s3Source(name: string, location = "", version: string | undefined): NamedObject {
  return { name, ...parseLocation(location), ...(version && { versionId: version }) };
}

function variables(given: readonly EnvironmentVariable[] = []): Variable[] {
  return given.map(({ name = "", value = "", type = "PLAINTEXT" }) => ({ name, value, type }));
}

/** `/aws/codebuild/<project>` and the build's uuid, or as the project says. */
function logTarget({ name, logsConfig }: Project, uuid: string): LogTarget | undefined {
  const given = logsConfig?.cloudWatchLogs;
  if (given?.status === "DISABLED") return undefined;
  const prefix = given?.streamName === undefined ? "" : `${given.streamName}/`;
  return { group: given?.groupName ?? `/aws/codebuild/${name}`, stream: `${prefix}${uuid}` };
}

/** The user's name, or `role/session`. */
function initiatorOf({ arn }: Principal): string {
  return (arn.split(":").at(-1) ?? arn).replace(/^(user|assumed-role)\//, "");
}
