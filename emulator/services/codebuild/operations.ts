/**
 * The operations of CodeBuild.
 */
import type * as sdk from "@aws-sdk/client-codebuild";
import { AwsError, operation, type Access, type Cloud, type Operation } from "../../core/definitions";
import { startBuild } from "./start";
import type { CodeBuildStore } from "./store";
import { assumeServiceRole, checkConcurrency, checkProject, newProject, projectArn, updatedProject } from "./project";

const within = (parent: string, members: readonly string[]): string[] => members.map((member) => `${parent}.${member}`);

const source = ["type", "location", "buildspec"];
const secondarySource = ["type", "location", "sourceIdentifier"];
const artifacts = [
  "type",
  "location",
  "path",
  "namespaceType",
  "name",
  "packaging",
  "overrideArtifactName",
  "encryptionDisabled",
];
const secondaryArtifacts = [...artifacts, "artifactIdentifier"];
const logs = ["cloudWatchLogs", "s3Logs.status"];
const settings = [
  "description",
  ...within("source", source),
  ...within("secondarySources", secondarySource),
  "sourceVersion",
  "secondarySourceVersions",
  ...within("artifacts", artifacts),
  ...within("secondaryArtifacts", secondaryArtifacts),
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
  ...within("logsConfig", logs),
  "concurrentBuildLimit",
  "cache.type",
  "badgeEnabled",
];
const overrides = [
  "sourceVersion",
  "secondarySourcesVersionOverride",
  "environmentVariablesOverride",
  "sourceTypeOverride",
  "sourceLocationOverride",
  ...within("secondarySourcesOverride", secondarySource),
  ...within("artifactsOverride", artifacts),
  ...within("secondaryArtifactsOverride", secondaryArtifacts),
  "buildspecOverride",
  "environmentTypeOverride",
  "imageOverride",
  "computeTypeOverride",
  "serviceRoleOverride",
  "timeoutInMinutesOverride",
  "queuedTimeoutInMinutesOverride",
  ...within("logsConfigOverride", logs),
];

/** Of BatchGetBuilds, BatchGetProjects and each page of ListBuildsForProject. */
const AT_ONCE = 100;

export const operations: Operation[] = [
  operation<sdk.CreateProjectCommandInput, sdk.CreateProjectCommandOutput>({
    name: "CreateProject",
    honours: ["name", ...settings],
    authorize: (input, { cloud }) => withRole(onProject("CreateProject", input.name, cloud), input.serviceRole),
    handle: (input, { cloud }) => {
      const { projects } = cloud.stores.codebuild;
      const project = newProject(cloud, input);
      checkProject(project);
      checkConcurrency(cloud, project);
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
      checkConcurrency(cloud, project);
      assumeServiceRole(cloud, project, "project");
      cloud.stores.codebuild.projects.set(nameOf(input.name), project);
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
      const names = atOnce("project names", input.names).map(nameOf);
      const { projects } = cloud.stores.codebuild;
      const found = names.map((name) => projects.get(name)).filter((project) => project !== undefined);
      return { projects: found, projectsNotFound: names.filter((name) => !projects.has(name)) };
    },
  }),
  operation<sdk.StartBuildCommandInput, sdk.StartBuildCommandOutput>({
    name: "StartBuild",
    honours: ["projectName", ...overrides, "idempotencyToken"],
    authorize: (input, { cloud }) =>
      withRole(onProject("StartBuild", input.projectName, cloud), input.serviceRoleOverride),
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
      const run = cloud.stores.codebuild.build(buildId(input.id));
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
      const asked = atOnce("build ids", input.ids).map((id) => ({
        id,
        run: cloud.stores.codebuild.build(buildId(id)),
      }));
      return {
        builds: asked.flatMap(({ run }) => (run === undefined ? [] : [run.build])),
        buildsNotFound: asked.filter(({ run }) => run === undefined).map(({ id }) => id),
      };
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

/** Without repetitions. Throws when there are too many, or none. */
function atOnce(what: string, given: readonly string[] = []): string[] {
  if (given.length === 0 || given.length > AT_ONCE) throw invalid(`Between 1 and ${AT_ONCE} ${what} are expected`);
  return [...new Set(given)];
}

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
  const more = start + AT_ONCE < ids.length;
  return { ids: ids.slice(start, start + AT_ONCE), ...(more && { nextToken: String(start + AT_ONCE) }) };
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
