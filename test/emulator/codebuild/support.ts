import { CloudWatchLogsClient, GetLogEventsCommand } from "@aws-sdk/client-cloudwatch-logs";
import {
  BatchGetBuildsCommand,
  CodeBuildClient,
  CreateProjectCommand,
  StartBuildCommand,
  type Build,
  type CreateProjectCommandInput,
  type StartBuildCommandInput,
} from "@aws-sdk/client-codebuild";
import { CreateRoleCommand, IAMClient, PutRolePolicyCommand } from "@aws-sdk/client-iam";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { CloudEvent } from "../../../emulator/core/definitions";
import type { Emulator } from "../../../emulator/emulator";
import { unzip, zip } from "../../../emulator/services/codebuild/zip";
import { client } from "../support";

const DEADLINE_MS = 30_000;

/** A role that a service may assume, with one policy. */
export async function createRole(
  emulator: Emulator,
  name: string,
  service: string,
  statements: readonly object[] = [{ Effect: "Allow", Action: "*", Resource: "*" }],
  /** Of the trust policy's statement. */
  condition?: object,
): Promise<string> {
  const iam = client(emulator, IAMClient);
  const trust = {
    Effect: "Allow",
    Principal: { Service: service },
    Action: "sts:AssumeRole",
    ...(condition && { Condition: condition }),
  };
  const document = (Statement: unknown): string => JSON.stringify({ Version: "2012-10-17", Statement });
  const { Role } = await iam.send(
    new CreateRoleCommand({ RoleName: name, AssumeRolePolicyDocument: document([trust]) }),
  );
  await iam.send(new PutRolePolicyCommand({ RoleName: name, PolicyName: "all", PolicyDocument: document(statements) }));
  return Role?.Arn ?? "";
}

let projects = 0;

/** A project that takes its buildspec inline and runs with a role that may do everything. */
export async function createProject(
  emulator: Emulator,
  buildspec: string,
  overrides: Partial<CreateProjectCommandInput> = {},
): Promise<string> {
  const name = overrides.name ?? `test-${++projects}`;
  const serviceRole = overrides.serviceRole ?? (await createRole(emulator, `${name}-role`, "codebuild.amazonaws.com"));
  await client(emulator, CodeBuildClient).send(
    new CreateProjectCommand({
      name,
      source: { type: "NO_SOURCE", buildspec },
      artifacts: { type: "NO_ARTIFACTS" },
      environment: {
        type: "LINUX_CONTAINER",
        image: "aws/codebuild/standard:7.0",
        computeType: "BUILD_GENERAL1_SMALL",
      },
      ...overrides,
      serviceRole,
    }),
  );
  return name;
}

export interface FinishedBuild {
  readonly build: Build;
  /** Without the service's own lines. */
  readonly output: readonly string[];
  readonly lines: readonly string[];
}

/** Runs a build to its end. */
export async function runBuild(
  emulator: Emulator,
  input: Partial<StartBuildCommandInput> & { readonly projectName: string },
): Promise<FinishedBuild> {
  const codebuild = client(emulator, CodeBuildClient);
  const ended = endedBuilds(emulator);
  const { build } = await codebuild.send(new StartBuildCommand(input));
  await ended.wait(build?.arn ?? "");
  return await describeBuild(emulator, build?.id ?? "");
}

/** Runs an inline buildspec to its end. */
export async function runBuildspec(
  emulator: Emulator,
  buildspec: string,
  overrides: Partial<CreateProjectCommandInput> = {},
): Promise<FinishedBuild> {
  return await runBuild(emulator, { projectName: await createProject(emulator, buildspec, overrides) });
}

export async function describeBuild(emulator: Emulator, id: string): Promise<FinishedBuild> {
  const { builds } = await client(emulator, CodeBuildClient).send(new BatchGetBuildsCommand({ ids: [id] }));
  const [build] = builds ?? [];
  if (build === undefined) throw new Error(`There is no build ${id}.`);
  const lines = await logLines(emulator, build);
  return { build, lines, output: lines.filter((line) => !line.startsWith("[Container] ")) };
}

export async function logLines(emulator: Emulator, { logs }: Build): Promise<string[]> {
  if (logs?.groupName === undefined) return [];
  const { groupName: logGroupName, streamName: logStreamName } = logs;
  const command = new GetLogEventsCommand({ logGroupName, logStreamName, startFromHead: true });
  const { events = [] } = await client(emulator, CloudWatchLogsClient).send(command);
  return events.map(({ message = "" }) => message.replace(/\n$/, ""));
}

/** Hears builds end, from now on. */
export function endedBuilds(emulator: Emulator): { wait(arn: string): Promise<void> } {
  const isOver = (event: CloudEvent, arn: string): boolean => {
    const detail = event.detail as Record<string, unknown>;
    const state = event.detailType === "CodeBuild Build State Change";
    return state && detail["build-id"] === arn && detail["build-status"] !== "IN_PROGRESS";
  };
  const heard: CloudEvent[] = [];
  emulator.cloud.listen((event) => heard.push(event));
  return {
    wait: (arn) =>
      heard.some((event) => isOver(event, arn))
        ? Promise.resolve()
        : nextEvent(emulator, `the end of ${arn}`, (event) => isOver(event, arn)).then(() => undefined),
  };
}

/** The next event that fits, or an error after a deadline. */
export function nextEvent(emulator: Emulator, what: string, fits: (event: CloudEvent) => boolean): Promise<CloudEvent> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => finish(() => reject(new Error(`${what} did not come in time.`))), DEADLINE_MS);
    const end = emulator.cloud.listen((event) => {
      if (fits(event)) finish(() => resolve(event));
    });
    const finish = (settle: () => void): void => {
      clearTimeout(late);
      end();
      settle();
    };
  });
}

/** Looks again and again until a value is there. */
export async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + DEADLINE_MS;
  while (Date.now() < deadline) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${what} did not come in time.`);
}

/** The texts of a folder's files, by name. */
export function filesBelow(folder: string): Record<string, string> {
  const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  return Object.fromEntries(files.map((file) => [path.relative(folder, file), fs.readFileSync(file, "utf8")]));
}

/** A zip of these files, by name. */
export async function zipOf(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "zip-"));
  try {
    const entries = Object.entries(files).map(([name, text]) => {
      const file = path.join(folder, "files", name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, text);
      return { file, name };
    });
    await zip(entries, path.join(folder, "out.zip"));
    return fs.readFileSync(path.join(folder, "out.zip"));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

/** The files of a zip, by name. */
export async function unzipped(archive: Uint8Array): Promise<Record<string, string>> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "unzip-"));
  try {
    fs.writeFileSync(path.join(folder, "in.zip"), archive);
    fs.mkdirSync(path.join(folder, "files"));
    await unzip(path.join(folder, "in.zip"), path.join(folder, "files"));
    const names = fs.readdirSync(path.join(folder, "files"), { recursive: true, encoding: "utf8" });
    const files = names.filter((name) => fs.statSync(path.join(folder, "files", name)).isFile());
    return Object.fromEntries(files.map((name) => [name, fs.readFileSync(path.join(folder, "files", name), "utf8")]));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}
