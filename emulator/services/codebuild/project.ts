/**
 * What a project may be, and what it is when the caller says nothing.
 */
import type {
  CreateProjectCommandInput,
  EnvironmentVariable,
  Project,
  ProjectSource,
  UpdateProjectCommandInput,
} from "@aws-sdk/client-codebuild";
import { AwsError, notImplemented, type Cloud, type Principal } from "../../core/definitions";

/** From the API's model: `ProjectName`. */
const PROJECT_NAME = /^[A-Za-z0-9][A-Za-z0-9\-_]{1,254}$/;
/** Observed limit of the service for a buildspec that is given inline. */
const BUILDSPEC_LENGTH = 25_600;
const VARIABLE_LENGTH = 4_096;
/** "Quotas for AWS CodeBuild": secondary sources and artifacts, and tags. */
const SECONDARY = 12;
const TAGS = 50;
/** Becomes part of `CODEBUILD_SRC_DIR_<identifier>`. */
const IDENTIFIER = /^[A-Za-z0-9_]{1,127}$/;
/** What UpdateProject takes to remove the limit. */
const NO_LIMIT = -1;

const sourceTypes: readonly unknown[] = ["CODEPIPELINE", "NO_SOURCE", "S3"];
const artifactTypes: readonly unknown[] = ["CODEPIPELINE", "NO_ARTIFACTS", "S3"];
const environmentTypes: readonly unknown[] = ["LINUX_CONTAINER", "ARM_CONTAINER"];

export function projectArn(cloud: Cloud, name: string): string {
  return `arn:${cloud.partition}:codebuild:${cloud.region}:${cloud.account}:project/${name}`;
}

export function newProject(cloud: Cloud, input: CreateProjectCommandInput): Project {
  const now = cloud.clock.now();
  const { badgeEnabled, name, ...given } = input;
  if (badgeEnabled === true) throw notImplemented("CreateProject.badgeEnabled true");
  return {
    timeoutInMinutes: 60,
    queuedTimeoutInMinutes: 480,
    cache: { type: "NO_CACHE" },
    encryptionKey: `arn:${cloud.partition}:kms:${cloud.region}:${cloud.account}:alias/aws/s3`,
    ...defined(given),
    ...(name !== undefined && { name, arn: projectArn(cloud, name) }),
    badge: { badgeEnabled: false },
    created: now,
    lastModified: now,
  };
}

/** What is given replaces; what is not given stays. */
export function updatedProject(cloud: Cloud, project: Project, input: UpdateProjectCommandInput): Project {
  const { badgeEnabled, ...given } = input;
  if (badgeEnabled === true) throw notImplemented("UpdateProject.badgeEnabled true");
  const { concurrentBuildLimit, ...updated } = { ...project, ...defined(given), lastModified: cloud.clock.now() };
  const limited = concurrentBuildLimit !== undefined && concurrentBuildLimit !== NO_LIMIT;
  return { ...updated, ...(limited && { concurrentBuildLimit }) };
}

/** Throws the service's error for what it would refuse, NotImplemented for what this emulator lacks. */
export function checkProject(project: Project): void {
  if (!PROJECT_NAME.test(project.name ?? "")) throw invalid(`Project name ${project.name ?? ""} is invalid`);
  checkRange("timeoutInMinutes", project.timeoutInMinutes, 5, 2_160);
  checkRange("queuedTimeoutInMinutes", project.queuedTimeoutInMinutes, 5, 480);
  checkSource(project);
  checkArtifacts(project);
  checkSecondary(project);
  checkEnvironment(project);
  checkVpc(project);
  if ((project.tags ?? []).length > TAGS) throw invalid(`A project has at most ${TAGS} tags`);
  if (project.cache?.type !== undefined && project.cache.type !== "NO_CACHE") {
    throw notImplemented(`Project.cache.type ${project.cache.type}`);
  }
  if (project.logsConfig?.s3Logs?.status === "ENABLED") throw notImplemented("Project.logsConfig.s3Logs ENABLED");
  if (project.serviceRole === undefined) throw invalid("Service role is required");
}

/** The message is the one that accounts with a small quota see. */
export function checkConcurrency(cloud: Cloud, { concurrentBuildLimit, environment }: Project): void {
  if (concurrentBuildLimit === undefined) return;
  if (concurrentBuildLimit < 1) throw invalid("Project-level concurrent build limit must be at least 1");
  const { type = "", computeType = "" } = environment ?? {};
  const { running } = cloud.stores.codebuild.queue(type, computeType).quota;
  if (concurrentBuildLimit > running) {
    throw invalid(
      `Project-level concurrent build limit cannot exceed the account-level concurrent build limit of ${running}.`,
    );
  }
}

function checkSource({ source, artifacts }: Project): void {
  const type = source?.type;
  if (!sourceTypes.includes(type)) throw notImplemented(`Project.source.type ${type}`);
  if (source !== undefined) checkLocation(source);
  if (type === "NO_SOURCE" && !source?.buildspec) {
    throw invalid("Project source type NO_SOURCE requires a buildspec in the project");
  }
  checkBuildspec(source?.buildspec);
  if ((type === "CODEPIPELINE") !== (artifacts?.type === "CODEPIPELINE")) {
    throw invalid("Invalid artifacts: artifact type and source type must both be CODEPIPELINE, or neither");
  }
}

function checkLocation({ type, location = "" }: ProjectSource): void {
  if (type !== "S3") return;
  if (!/^[^/]+\/.+/.test(location)) throw invalid("Invalid project source: location must be a valid S3 source");
  if (location.endsWith("/")) throw notImplemented("Project.source.location of a folder");
}

/** "Multiple input sources and output artifacts sample": each has an identifier of its own. */
function checkSecondary({
  secondarySources = [],
  secondaryArtifacts = [],
  secondarySourceVersions = [],
}: Project): void {
  checkIdentifiers(
    "source",
    secondarySources.map(({ sourceIdentifier }) => sourceIdentifier),
  );
  checkIdentifiers(
    "artifact",
    secondaryArtifacts.map(({ artifactIdentifier }) => artifactIdentifier),
  );
  for (const source of secondarySources) {
    if (source.type !== "S3") throw notImplemented(`Project.secondarySources.type ${source.type}`);
    checkLocation(source);
  }
  for (const artifacts of secondaryArtifacts) {
    if (artifacts.type !== "S3") throw notImplemented(`Project.secondaryArtifacts.type ${artifacts.type}`);
    if (!artifacts.location) throw invalid("Invalid artifacts: location is required for S3");
  }
  const sources = secondarySources.map(({ sourceIdentifier }) => sourceIdentifier);
  const unknown = secondarySourceVersions.find(({ sourceIdentifier }) => !sources.includes(sourceIdentifier));
  if (unknown !== undefined) throw invalid(`There is no secondary source ${unknown.sourceIdentifier}`);
}

function checkIdentifiers(what: "source" | "artifact", identifiers: readonly (string | undefined)[]): void {
  if (identifiers.length > SECONDARY) throw invalid(`A project has at most ${SECONDARY} secondary ${what}s`);
  for (const identifier of identifiers) {
    if (!IDENTIFIER.test(identifier ?? "")) throw invalid(`Invalid identifier of a secondary ${what}: ${identifier}`);
  }
  if (new Set(identifiers).size < identifiers.length) throw invalid(`Secondary ${what} identifiers must be unique`);
}

export function checkBuildspec(buildspec: string | undefined): void {
  if (buildspec === undefined) return;
  if (buildspec.startsWith("arn:")) throw notImplemented("source.buildspec as an ARN");
  if (buildspec.length > BUILDSPEC_LENGTH) {
    throw invalid(`Invalid buildspec: it has ${buildspec.length} characters, at most ${BUILDSPEC_LENGTH} are allowed`);
  }
}

function checkArtifacts({ artifacts }: Project): void {
  if (!artifactTypes.includes(artifacts?.type)) throw notImplemented(`Project.artifacts.type ${artifacts?.type}`);
  if (artifacts?.type === "S3" && !artifacts.location) throw invalid("Invalid artifacts: location is required for S3");
}

function checkEnvironment({ environment }: Project): void {
  if (!environmentTypes.includes(environment?.type)) throw notImplemented(`environment.type ${environment?.type}`);
  if (environment?.privilegedMode === true) throw notImplemented("environment.privilegedMode true");
  if (!environment?.image) throw invalid("Environment image is required");
  if (!environment.computeType) throw invalid("Compute type is required");
  checkVariables(environment.environmentVariables ?? []);
}

export function checkVariables(variables: readonly EnvironmentVariable[]): void {
  for (const { name, value } of variables) {
    if (!name) throw invalid("Environment variable name is required");
    if ((value ?? "").length > VARIABLE_LENGTH) {
      throw invalid(`EnvironmentVariable should be at most ${VARIABLE_LENGTH} characters: ${name}`);
    }
  }
  const names = variables.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw invalid(`Duplicate environment variable names are not allowed: ${twice}`);
}

function checkVpc({ vpcConfig }: Project): void {
  if (vpcConfig?.vpcId === undefined) return;
  if (!vpcConfig.subnets?.length || !vpcConfig.securityGroupIds?.length) {
    throw invalid(
      "Invalid vpc config: the maximum number of subnets is 16 and of security groups 5, at least one each",
    );
  }
  if (vpcConfig.subnets.length > 16 || vpcConfig.securityGroupIds.length > 5) {
    throw invalid("Invalid vpc config: the maximum number of subnets is 16 and of security groups 5");
  }
}

export function checkRange(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (value >= least && value <= most)) return;
  throw invalid(`Invalid ${name}: ${value} is not between ${least} and ${most}`);
}

/**
 * The project's role, with the context that its trust policy may ask for.
 * Source: "Cross-service confused deputy prevention", AWS CodeBuild User Guide.
 */
export function assumeServiceRole(cloud: Cloud, project: Project, session: string): Principal {
  const role = project.serviceRole ?? "";
  const context = { "aws:SourceArn": project.arn ?? "", "aws:SourceAccount": cloud.account };
  try {
    return cloud.assumeRole(role, `AWSCodeBuild-${session}`, "codebuild.amazonaws.com", context);
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    throw invalid(`CodeBuild is not authorized to perform: sts:AssumeRole on ${role}`);
  }
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;
}

function invalid(message: string): AwsError {
  return new AwsError("InvalidInputException", message);
}
