/**
 * A build as BatchGetBuilds shows it when it has just been started.
 */
import type { Build, EnvironmentVariable, LogsLocation } from "@aws-sdk/client-codebuild";
import type { Cloud } from "../../core/definitions";
import type { BuildPlan } from "./build";
import type { LogTarget } from "./log";
import type { NamedObject } from "./store";

export function describeBuild(cloud: Cloud, plan: BuildPlan, initiator: string, uuid: string): Build {
  const { project, log } = plan;
  const name = project.name ?? "";
  const id = `${name}:${uuid}`;
  return {
    id,
    arn: `arn:${cloud.partition}:codebuild:${cloud.region}:${cloud.account}:build/${id}`,
    buildNumber: cloud.stores.codebuild.nextNumber(name),
    startTime: cloud.clock.now(),
    currentPhase: "QUEUED",
    buildStatus: "IN_PROGRESS",
    projectName: name,
    phases: [],
    ...sourcesOf(plan),
    artifacts: { location: "" },
    cache: project.cache,
    ...(project.environment && {
      environment: { ...project.environment, environmentVariables: shownVariables(plan) },
    }),
    serviceRole: project.serviceRole,
    logs: logsLocation(cloud, log),
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

/** Of artifacts of a pipeline the location is the version. */
function sourcesOf({ project, sources, fromPipeline }: BuildPlan): Partial<Build> {
  const { source, sourceVersion, secondarySources = [], secondarySourceVersions = [] } = project;
  if (!fromPipeline) {
    return {
      source,
      secondarySources,
      secondarySourceVersions,
      ...(sourceVersion !== undefined && { sourceVersion }),
    };
  }
  const [primary, ...secondary] = sources;
  const version = ({ bucket, key }: NamedObject): string => `arn:aws:s3:::${bucket}/${key}`;
  return {
    source: { type: "CODEPIPELINE", ...(source?.buildspec !== undefined && { buildspec: source.buildspec }) },
    secondarySources: secondary.map(({ name }) => ({ type: "CODEPIPELINE", sourceIdentifier: name })),
    secondarySourceVersions: secondary.map((other) => ({
      sourceIdentifier: other.name,
      sourceVersion: version(other),
    })),
    ...(primary !== undefined && { sourceVersion: version(primary) }),
  };
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
