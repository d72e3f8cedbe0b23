/**
 * `aws:codebuild/project:Project` on CodeBuild's own operations.
 */
import {
  BatchGetProjectsCommand,
  CreateProjectCommand,
  DeleteProjectCommand,
  UpdateProjectCommand,
  type CreateProjectCommandInput,
  type Project,
  type Tag,
} from "@aws-sdk/client-codebuild";
import type { Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import { amount, block, compact, flag, map, required, text } from "../properties";

export const projectResource: ResourceDefinition = {
  type: "aws:codebuild/project:Project",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_codebuild_project: name, ForceNew",
      autoname: { maxLength: 255 },
    },
    description: {},
    artifacts: {},
    badgeEnabled: {},
    buildTimeout: { default: 60 },
    cache: {},
    concurrentBuildLimit: {},
    environment: {},
    logsConfig: {},
    queuedTimeout: { default: 480 },
    serviceRole: {},
    source: {},
    sourceVersion: {},
    tags: {},
    vpcConfig: {},
  },
  create: async (inputs, context) => {
    const { project } = await context.send(new CreateProjectCommand(settings(inputs)));
    return stateOf(project ?? {}, inputs, context);
  },
  read: async (id, state, context) => {
    const { projects = [] } = await context.send(new BatchGetProjectsCommand({ names: [id] }));
    const [project] = projects;
    return project === undefined ? undefined : stateOf(project, state, context);
  },
  update: async (_id, news, olds, context) => {
    const removed = {
      // What is absent stays as it is: to remove it, it is emptied.
      ...(olds.vpcConfig !== undefined && { vpcConfig: {} }),
      ...(olds.description !== undefined && { description: "" }),
      ...(olds.concurrentBuildLimit !== undefined && { concurrentBuildLimit: -1 }),
      ...(olds.logsConfig !== undefined && { logsConfig: { cloudWatchLogs: { status: "ENABLED" as const } } }),
    };
    const { project } = await context.send(new UpdateProjectCommand({ ...removed, ...settings(news) }));
    return stateOf(project ?? {}, news, context);
  },
  delete: async (id, _state, context) => {
    await context.send(new DeleteProjectCommand({ name: id }));
  },
};

/** The members have the API's own names, but for these. */
function settings(inputs: Properties): CreateProjectCommandInput {
  const given = compact({
    name: required(inputs, "name"),
    description: text(inputs, "description"),
    source: block(inputs, "source"),
    sourceVersion: text(inputs, "sourceVersion"),
    artifacts: block(inputs, "artifacts"),
    environment: block(inputs, "environment"),
    serviceRole: required(inputs, "serviceRole"),
    timeoutInMinutes: amount(inputs, "buildTimeout"),
    queuedTimeoutInMinutes: amount(inputs, "queuedTimeout"),
    tags: tagList(inputs),
    cache: block(inputs, "cache"),
    vpcConfig: block(inputs, "vpcConfig"),
    badgeEnabled: flag(inputs, "badgeEnabled"),
    logsConfig: logs(block(inputs, "logsConfig")),
    concurrentBuildLimit: amount(inputs, "concurrentBuildLimit"),
  });
  // The dispatcher checks every value against the API's model.
  return given as unknown as CreateProjectCommandInput;
}

function tagList(inputs: Properties): Tag[] {
  return Object.entries(map(inputs, "tags")).map(([key, value]) => ({ key, value }));
}

/** `cloudwatchLogs` is `cloudWatchLogs` in the API, whose status is required there and `ENABLED` by default here. */
function logs(config: Properties | undefined): Properties | undefined {
  if (config === undefined) return undefined;
  const { cloudwatchLogs, ...rest } = config;
  const given = block({ cloudwatchLogs }, "cloudwatchLogs");
  return { ...rest, ...(given && { cloudWatchLogs: { status: "ENABLED", ...given } }) };
}

function stateOf(project: Project, inputs: Properties, { cloud }: ResourceContext) {
  const { arn = "" } = project;
  const tags = Object.fromEntries((project.tags ?? []).map(({ key = "", value = "" }) => [key, value]));
  const outputs = compact({
    ...inputs,
    arn,
    badgeUrl: "",
    name: project.name,
    description: project.description === "" ? undefined : project.description,
    serviceRole: project.serviceRole,
    source: project.source,
    sourceVersion: project.sourceVersion,
    artifacts: project.artifacts,
    environment: project.environment,
    buildTimeout: project.timeoutInMinutes,
    queuedTimeout: project.queuedTimeoutInMinutes,
    encryptionKey: project.encryptionKey,
    concurrentBuildLimit: project.concurrentBuildLimit,
    vpcConfig: project.vpcConfig?.vpcId === undefined ? undefined : project.vpcConfig,
    logsConfig: logsOutput(project),
    ...(Object.keys(tags).length > 0 || inputs.tags !== undefined ? { tags } : {}),
    tagsAll: tags,
    projectVisibility: "PRIVATE",
    region: cloud.region,
  });
  return { id: arn, outputs };
}

function logsOutput({ logsConfig }: Project): Properties | undefined {
  if (logsConfig === undefined) return undefined;
  const { cloudWatchLogs, s3Logs } = logsConfig;
  return compact({ cloudwatchLogs: cloudWatchLogs, s3Logs });
}
