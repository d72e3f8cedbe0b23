import {
  CodePipelineClient,
  CreatePipelineCommand,
  ListActionExecutionsCommand,
  ListPipelineExecutionsCommand,
  type ActionDeclaration,
  type ActionExecutionDetail,
  type PipelineDeclaration,
  type StageDeclaration,
} from "@aws-sdk/client-codepipeline";
import { CreateBucketCommand, PutBucketVersioningCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import type { CloudEvent } from "../../../emulator/core/definitions";
import type { Emulator } from "../../../emulator/emulator";
import { createProject, createRole, nextEvent, zipOf } from "../codebuild/support";
import { client } from "../support";

export const SOURCES = "sources";
export const ARTIFACTS = "artifacts";

export function sourceAction(name = "App"): ActionDeclaration {
  return {
    name,
    actionTypeId: { category: "Source", owner: "AWS", provider: "S3", version: "1" },
    configuration: { S3Bucket: SOURCES, S3ObjectKey: `${name}.zip`, PollForSourceChanges: "false" },
    outputArtifacts: [{ name }],
  };
}

export function buildAction(name: string, rest: Partial<ActionDeclaration> = {}): ActionDeclaration {
  const { configuration, ...other } = rest;
  return {
    name,
    actionTypeId: { category: "Build", owner: "AWS", provider: "CodeBuild", version: "1" },
    configuration: { ProjectName: name, ...configuration },
    inputArtifacts: [{ name: "App" }],
    ...other,
  };
}

export function approvalAction(name: string, rest: Partial<ActionDeclaration> = {}): ActionDeclaration {
  return { name, actionTypeId: { category: "Approval", owner: "AWS", provider: "Manual", version: "1" }, ...rest };
}

export function declarationOf(
  roleArn: string,
  stages: StageDeclaration[],
  rest: Partial<PipelineDeclaration> = {},
): PipelineDeclaration {
  return {
    name: "delivery",
    roleArn,
    pipelineType: "V2",
    executionMode: "QUEUED",
    artifactStore: { type: "S3", location: ARTIFACTS },
    stages: [{ name: "Source", actions: [sourceAction()] }, ...stages],
    ...rest,
  };
}

/** Buckets with one source object, and the pipeline's role. */
export async function prepare(
  emulator: Emulator,
  files: Readonly<Record<string, string>> = { a: "b" },
): Promise<string> {
  const s3 = client(emulator, S3Client);
  await s3.send(new CreateBucketCommand({ Bucket: ARTIFACTS }));
  await s3.send(new CreateBucketCommand({ Bucket: SOURCES }));
  const VersioningConfiguration = { Status: "Enabled" } as const;
  await s3.send(new PutBucketVersioningCommand({ Bucket: SOURCES, VersioningConfiguration }));
  await putSource(emulator, "App", files);
  return await createRole(emulator, "pipeline", "codepipeline.amazonaws.com");
}

export async function putSource(
  emulator: Emulator,
  name: string,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const command = new PutObjectCommand({ Bucket: SOURCES, Key: `${name}.zip`, Body: await zipOf(files) });
  const { VersionId = "" } = await client(emulator, S3Client).send(command);
  return VersionId;
}

export type Commands = readonly string[] | string;

/** A project for CodePipeline's builds; a compute type of its own lets builds run side by side. */
export async function pipelineProject(
  emulator: Emulator,
  name: string,
  commands: Commands,
  computeType: "BUILD_GENERAL1_SMALL" | "BUILD_GENERAL1_MEDIUM" = "BUILD_GENERAL1_SMALL",
): Promise<void> {
  const buildspec =
    typeof commands === "string"
      ? commands
      : `version: 0.2\nphases:\n  build:\n    commands: ${JSON.stringify(commands)}\n`;
  await createProject(emulator, buildspec, {
    name,
    source: { type: "CODEPIPELINE", buildspec },
    artifacts: { type: "CODEPIPELINE" },
    environment: { type: "LINUX_CONTAINER", image: "aws/codebuild/standard:7.0", computeType },
  });
}

/** Creates the pipeline and waits for the execution that the creation starts. */
export async function createPipeline(emulator: Emulator, pipeline: PipelineDeclaration): Promise<string> {
  const ended = pipelineEnded(emulator, ({ pipeline: name }) => name === pipeline.name);
  await client(emulator, CodePipelineClient).send(new CreatePipelineCommand({ pipeline }));
  await ended;
  const list = new ListPipelineExecutionsCommand({ pipelineName: pipeline.name });
  const { pipelineExecutionSummaries = [] } = await client(emulator, CodePipelineClient).send(list);
  return pipelineExecutionSummaries[0]?.pipelineExecutionId ?? "";
}

const FINAL = new Set(["SUCCEEDED", "FAILED", "STOPPED", "CANCELED", "SUPERSEDED"]);

/** The end of that execution, or of the next one that ends. */
export function executionEnded(emulator: Emulator, id?: string): Promise<CloudEvent> {
  return pipelineEnded(emulator, (detail) => id === undefined || detail["execution-id"] === id);
}

function pipelineEnded(
  emulator: Emulator,
  fits: (detail: Readonly<Record<string, string>>) => boolean,
): Promise<CloudEvent> {
  return nextEvent(emulator, "the execution's end", (event) => {
    const detail = event.detail as Record<string, string>;
    const ofPipeline = event.detailType === "CodePipeline Pipeline Execution State Change";
    return ofPipeline && FINAL.has(detail.state ?? "") && fits(detail);
  });
}

export function actionEvent(emulator: Emulator, action: string, state: string): Promise<CloudEvent> {
  return nextEvent(emulator, `${action} ${state}`, ({ detailType, detail }) => {
    const found = detail as Record<string, string>;
    const ofAction = detailType === "CodePipeline Action Execution State Change";
    return ofAction && found.action === action && found.state === state;
  });
}

/** Oldest first. */
export async function actionRuns(emulator: Emulator, id: string, name = "delivery"): Promise<ActionExecutionDetail[]> {
  const command = new ListActionExecutionsCommand({ pipelineName: name, filter: { pipelineExecutionId: id } });
  const { actionExecutionDetails = [] } = await client(emulator, CodePipelineClient).send(command);
  return actionExecutionDetails.reverse();
}
