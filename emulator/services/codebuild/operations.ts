/**
 * The operations of CodeBuild.
 */
import type * as sdk from "@aws-sdk/client-codebuild";
import { AwsError, operation, type Access, type Cloud, type Operation } from "../../core/definitions";
import { startBuild } from "./start";
import type { CodeBuildStore } from "./store";
import { assumeServiceRole, checkProject, newProject, projectArn, updatedProject } from "./project";

const source = ["type", "location", "buildspec"];
const artifacts = ["type", "location", "path", "namespaceType", "name", "packaging", "encryptionDisabled"];
const settings = [
  "description",
  ...source.map((member) => `source.${member}`),
  "sourceVersion",
  ...artifacts.map((member) => `artifacts.${member}`),
  "environment.type",
  "environment.image",
  "environment.computeType",
  "environment.environmentVariables",
  "environment.privilegedMode",
  "environment.imagePullCredentialsType",
  "serviceRole",
  "timeoutInMinutes",
  "queuedTimeoutInMinutes",
  "tags",
  "vpcConfig",
  "logsConfig.cloudWatchLogs",
  "logsConfig.s3Logs.status",
  "concurrentBuildLimit",
  "cache.type",
  "badgeEnabled",
];

export const operations: Operation[] = [
  operation<sdk.CreateProjectCommandInput, sdk.CreateProjectCommandOutput>({
    name: "CreateProject",
    honours: ["name", ...settings],
    authorize: (input, { cloud }) => withRole(onProject("CreateProject", input.name, cloud), input.serviceRole),
    handle: (input, { cloud }) => {
      const { projects } = cloud.stores.codebuild;
      const project = newProject(cloud, input);
      checkProject(project);
      if (projects.has(input.name ?? "")) {
        throw new AwsError("ResourceAlreadyExistsException", `Project already exists: ${project.arn}`);
      }
      assumeServiceRole(cloud, project, "project");
      projects.set(input.name ?? "", project);
      return { project: project };
    },
  }),
  operation<sdk.UpdateProjectCommandInput, sdk.UpdateProjectCommandOutput>({
    name: "UpdateProject",
    honours: ["name", ...settings],
    authorize: (input, { cloud }) => withRole(onProject("UpdateProject", input.name, cloud), input.serviceRole),
    handle: (input, { cloud }) => {
      const project = updatedProject(cloud, existing(cloud, input.name), input);
      checkProject(project);
      assumeServiceRole(cloud, project, "project");
      cloud.stores.codebuild.projects.set(input.name ?? "", project);
      return { project: project };
    },
  }),
  operation<sdk.DeleteProjectCommandInput, sdk.DeleteProjectCommandOutput>({
    name: "DeleteProject",
    honours: ["name"],
    authorize: (input, { cloud }) => onProject("DeleteProject", input.name, cloud),
    handle: (input, { cloud }) => {
      // A project that is not there is no error, and its builds stay.
      cloud.stores.codebuild.projects.delete(nameOf(input.name));
      return {};
    },
  }),
  operation<sdk.BatchGetProjectsCommandInput, sdk.BatchGetProjectsCommandOutput>({
    name: "BatchGetProjects",
    honours: ["names"],
    authorize: (input, { cloud }) => (input.names ?? []).flatMap((name) => onProject("BatchGetProjects", name, cloud)),
    handle: (input, { cloud }) => {
      const names = (input.names ?? []).map(nameOf);
      const { projects } = cloud.stores.codebuild;
      const found = names.map((name) => projects.get(name)).filter((project) => project !== undefined);
      return { projects: found, projectsNotFound: names.filter((name) => !projects.has(name)) };
    },
  }),
  operation<sdk.StartBuildCommandInput, sdk.StartBuildCommandOutput>({
    name: "StartBuild",
    honours: [
      "projectName",
      "sourceVersion",
      "environmentVariablesOverride",
      "buildspecOverride",
      "computeTypeOverride",
      "timeoutInMinutesOverride",
      "queuedTimeoutInMinutesOverride",
      "idempotencyToken",
    ],
    authorize: (input, { cloud }) => onProject("StartBuild", input.projectName, cloud),
    handle: (input, call) => {
      const project = existing(call.cloud, input.projectName);
      return { build: startBuild(input, project, call).build };
    },
  }),
  operation<sdk.StopBuildCommandInput, sdk.StopBuildCommandOutput>({
    name: "StopBuild",
    honours: ["id"],
    authorize: (input, { cloud }) => onBuild("StopBuild", input.id, cloud),
    handle: async (input, { cloud }) => {
      const run = cloud.stores.codebuild.builds.get(buildId(input.id));
      if (run === undefined) throw new AwsError("ResourceNotFoundException", `Build ${input.id} does not exist`);
      await run.end("STOPPED");
      return { build: run.build };
    },
  }),
  operation<sdk.BatchGetBuildsCommandInput, sdk.BatchGetBuildsCommandOutput>({
    name: "BatchGetBuilds",
    honours: ["ids"],
    authorize: (input, { cloud }) => (input.ids ?? []).flatMap((id) => onBuild("BatchGetBuilds", id, cloud)),
    handle: (input, { cloud }) => {
      const ids = [...new Set(input.ids ?? [])];
      if (ids.length === 0 || ids.length > 100) throw invalid("Between 1 and 100 build ids are expected");
      const { builds } = cloud.stores.codebuild;
      const found = ids.map((id) => builds.get(buildId(id))).filter((run) => run !== undefined);
      return { builds: found.map(({ build }) => build), buildsNotFound: ids.filter((id) => !builds.has(buildId(id))) };
    },
  }),
  operation<sdk.ListBuildsForProjectCommandInput, sdk.ListBuildsForProjectCommandOutput>({
    name: "ListBuildsForProject",
    honours: ["projectName", "sortOrder", "nextToken"],
    authorize: (input, { cloud }) => onProject("ListBuildsForProject", input.projectName, cloud),
    handle: (input, { cloud }) => {
      const name = existing(cloud, input.projectName).name ?? "";
      return page(cloud.stores.codebuild, name, input.sortOrder ?? "DESCENDING", input.nextToken);
    },
  }),
];

const PAGE = 100;

function page(
  store: CodeBuildStore,
  name: string,
  order: sdk.SortOrderType,
  token = "0",
): Omit<sdk.ListBuildsForProjectCommandOutput, "$metadata"> {
  const start = /^\d+$/.test(token) ? Number(token) : undefined;
  if (start === undefined) throw invalid("Invalid next token");
  const ids = store.buildsOf(name).map(({ id }) => id);
  if (order === "DESCENDING") ids.reverse();
  const more = start + PAGE < ids.length;
  return { ids: ids.slice(start, start + PAGE), ...(more && { nextToken: String(start + PAGE) }) };
}

function existing(cloud: Cloud, nameOrArn: string | undefined): sdk.Project {
  const project = cloud.stores.codebuild.projects.get(nameOf(nameOrArn));
  if (project !== undefined) return project;
  throw new AwsError("ResourceNotFoundException", `Project cannot be found: ${projectArn(cloud, nameOf(nameOrArn))}`);
}

/** Projects and builds are also named by their ARNs. */
function nameOf(nameOrArn = ""): string {
  return nameOrArn.replace(/^arn:[^/]*:project\//, "");
}

function buildId(idOrArn = ""): string {
  return idOrArn.replace(/^arn:[^/]*:build\//, "");
}

function onProject(action: string, name: string | undefined, cloud: Cloud): Access[] {
  return [{ action: `codebuild:${action}`, resource: projectArn(cloud, nameOf(name)) }];
}

function onBuild(action: string, id: string | undefined, cloud: Cloud): Access[] {
  return onProject(action, buildId(id).split(":")[0], cloud);
}

function withRole(access: Access[], role: string | undefined): Access[] {
  if (role === undefined) return access;
  const context = { "iam:PassedToService": "codebuild.amazonaws.com" };
  return [...access, { action: "iam:PassRole", resource: role, context }];
}

function invalid(message: string): AwsError {
  return new AwsError("InvalidInputException", message);
}
