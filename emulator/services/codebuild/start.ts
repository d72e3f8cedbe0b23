/**
 * StartBuild: from a project, the caller's overrides and what CodePipeline hands over, to a running build.
 */
import { randomUUID } from "node:crypto";
import type {
  Build,
  EnvironmentVariable,
  LogsLocation,
  Project,
  StartBuildCommandInput,
} from "@aws-sdk/client-codebuild";
import { AwsError, type Call, type Cloud, type Principal } from "../../core/definitions";
import { BuildRun, type BuildOutputs, type BuildPlan } from "./build";
import type { Variable } from "./environment";
import type { LogTarget } from "./log";
import { parseLocation } from "./objects";
import { assumeServiceRole, checkBuildspec, checkRange, checkVariables } from "./project";
import type { HandOver, NamedObject } from "./store";

export function startBuild(input: StartBuildCommandInput, project: Project, { cloud, principal }: Call): BuildRun {
  const store = cloud.stores.codebuild;
  const earlier = store.withToken(input.idempotencyToken);
  if (earlier !== undefined) return earlier;
  const handOver = store.takeHandOver(input.idempotencyToken);
  checkOverrides(input);
  if (project.source?.type === "CODEPIPELINE" && handOver === undefined) {
    throw new AwsError("InvalidInputException", `Project ${project.name} takes its source from CodePipeline only`);
  }
  const chosen = withOverrides(project, input);
  checkQuotas(cloud, chosen);
  const uuid = randomUUID();
  const role = assumeServiceRole(cloud, chosen, uuid);
  const plan = makePlan(chosen, input, handOver, role, uuid);
  const initiator = handOver === undefined ? initiatorOf(principal) : `codepipeline/${handOver.pipeline}`;
  const run = new BuildRun(cloud, makeBuild(cloud, chosen, plan, input, initiator, uuid), plan);
  store.add(run, input.idempotencyToken);
  // The caller has the answer before anything happens.
  cloud.background(
    `build ${run.id}`,
    Promise.resolve().then(() => run.run()),
  );
  return run;
}

function checkOverrides(input: StartBuildCommandInput): void {
  checkRange("timeoutInMinutesOverride", input.timeoutInMinutesOverride, 5, 2_160);
  checkRange("queuedTimeoutInMinutesOverride", input.queuedTimeoutInMinutesOverride, 5, 480);
  checkVariables(input.environmentVariablesOverride ?? []);
  checkBuildspec(input.buildspecOverride);
}

function withOverrides(project: Project, input: StartBuildCommandInput): Project {
  const { environment } = project;
  const computeType = input.computeTypeOverride ?? environment?.computeType;
  return {
    ...project,
    ...(environment !== undefined && { environment: { ...environment, computeType } }),
    timeoutInMinutes: input.timeoutInMinutesOverride ?? project.timeoutInMinutes,
    queuedTimeoutInMinutes: input.queuedTimeoutInMinutesOverride ?? project.queuedTimeoutInMinutes,
  };
}

/** The message is the one that accounts with the default quota see. */
function checkQuotas(cloud: Cloud, { name, environment, concurrentBuildLimit }: Project): void {
  const store = cloud.stores.codebuild;
  const { type = "", computeType = "" } = environment ?? {};
  const quota = store.quota(type, computeType);
  const running = store.running().map(({ build }) => build);
  const same = running.filter((build) => kind(build) === `${type}/${computeType}`);
  if (same.length >= quota) throw limitExceeded(`Cannot have more than ${quota} builds in queue for the account`);
  const own = running.filter(({ projectName }) => projectName === name);
  if (concurrentBuildLimit !== undefined && own.length >= concurrentBuildLimit) {
    throw limitExceeded(`Cannot have more than ${concurrentBuildLimit} active builds for the project`);
  }
}

function kind({ environment }: Build): string {
  return `${environment?.type ?? ""}/${environment?.computeType ?? ""}`;
}

function limitExceeded(message: string): AwsError {
  return new AwsError("AccountLimitExceededException", message);
}

function makePlan(
  project: Project,
  input: StartBuildCommandInput,
  handOver: HandOver | undefined,
  role: Principal,
  uuid: string,
): BuildPlan {
  return {
    project,
    role,
    sources: handOver?.inputs ?? ownSources(project, input.sourceVersion),
    ...(handOver?.revision !== undefined && { revision: handOver.revision }),
    buildspec: input.buildspecOverride ?? project.source?.buildspec,
    projectVariables: variables(project.environment?.environmentVariables),
    overrideVariables: variables(input.environmentVariablesOverride),
    outputs: handOver === undefined ? ownOutputs(project, uuid) : { type: "pipeline", objects: handOver.outputs },
    log: logTarget(project, uuid),
  };
}

function ownSources({ source, sourceVersion }: Project, version = sourceVersion): NamedObject[] {
  if (source?.type !== "S3") return [];
  return [{ name: "", ...parseLocation(source.location ?? ""), ...(version && { versionId: version }) }];
}

function ownOutputs({ name, artifacts }: Project, uuid: string): BuildOutputs {
  if (artifacts?.type !== "S3") return { type: "none" };
  const { path, namespaceType, packaging } = artifacts;
  const parts = [path, namespaceType === "BUILD_ID" ? uuid : undefined, artifacts.name ?? name];
  const key = parts.map((part) => part?.replace(/^\/+|\/+$/g, "")).filter((part) => part !== undefined && part !== "");
  return { type: "s3", bucket: artifacts.location ?? "", key: key.join("/"), packaging: packaging ?? "NONE" };
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

function makeBuild(
  cloud: Cloud,
  project: Project,
  plan: BuildPlan,
  input: StartBuildCommandInput,
  initiator: string,
  uuid: string,
): Build {
  const name = project.name ?? "";
  const id = `${name}:${uuid}`;
  const environment = project.environment && {
    ...project.environment,
    environmentVariables: shownVariables(plan),
  };
  return {
    id,
    arn: `arn:${cloud.partition}:codebuild:${cloud.region}:${cloud.account}:build/${id}`,
    buildNumber: cloud.stores.codebuild.nextNumber(name),
    startTime: cloud.clock.now(),
    currentPhase: "QUEUED",
    buildStatus: "IN_PROGRESS",
    ...sourceVersionOf(plan, input, project),
    projectName: name,
    phases: [],
    source: { ...project.source, type: project.source?.type, buildspec: plan.buildspec },
    secondarySources: [],
    secondarySourceVersions: [],
    artifacts: { location: "" },
    cache: project.cache,
    environment,
    serviceRole: project.serviceRole,
    logs: logsLocation(cloud, plan.log),
    timeoutInMinutes: project.timeoutInMinutes,
    queuedTimeoutInMinutes: project.queuedTimeoutInMinutes,
    buildComplete: false,
    initiator,
    vpcConfig: project.vpcConfig,
    encryptionKey: project.encryptionKey,
    exportedEnvironmentVariables: [],
  };
}

/** The project's and the override's variables as given: references stay references. */
function shownVariables({ projectVariables, overrideVariables }: BuildPlan): EnvironmentVariable[] {
  const byName = new Map([...projectVariables, ...overrideVariables].map((variable) => [variable.name, variable]));
  return [...byName.values()];
}

/** With CodePipeline the version is the artifact's location. */
function sourceVersionOf(plan: BuildPlan, input: StartBuildCommandInput, project: Project): Partial<Build> {
  const [primary] = plan.sources;
  if (plan.outputs.type === "pipeline" && primary !== undefined) {
    return { sourceVersion: `arn:aws:s3:::${primary.bucket}/${primary.key}` };
  }
  const sourceVersion = input.sourceVersion ?? project.sourceVersion;
  return sourceVersion === undefined ? {} : { sourceVersion };
}

function logsLocation({ region, account, partition }: Cloud, log: LogTarget | undefined): LogsLocation {
  if (log === undefined) return { cloudWatchLogs: { status: "DISABLED" } };
  const { group: groupName, stream: streamName } = log;
  const console = `https://console.aws.amazon.com/cloudwatch/home?region=${region}`;
  return {
    groupName,
    streamName,
    deepLink: `${console}#logsV2:log-groups/log-group/${encodeURIComponent(groupName)}/log-events/${encodeURIComponent(streamName)}`,
    cloudWatchLogsArn: `arn:${partition}:logs:${region}:${account}:log-group:${groupName}:log-stream:${streamName}`,
    cloudWatchLogs: { status: "ENABLED" },
  };
}

/** The user's name, or `role/session`. */
function initiatorOf({ arn }: Principal): string {
  return (arn.split(":").at(-1) ?? arn).replace(/^(user|assumed-role)\//, "");
}
