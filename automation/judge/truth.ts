/**
 * The truth about an environment, taken from outside: the whole database by a job of its own, the files that the
 * instance serves from by SSM, the instance by EC2, the application by HTTP. Nothing of it comes from the product.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { DescribeInstancesCommand, DescribeVolumesCommand } from "@aws-sdk/client-ec2";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import { GetCommandInvocationCommand, SendCommandCommand } from "@aws-sdk/client-ssm";
import { execa } from "execa";
import { runBuild } from "../builds";
import type { Clients } from "../clients";
import { outcomeOf, type Outcome } from "../outcome";
import { shellWord } from "../shell";
import { waitFor } from "../wait";
import { truthFiles } from "./truth-script";

/** Where to look. */
export interface Subject {
  readonly instanceId: string;
  readonly applicationUrl: string;
  readonly databaseName: string;
  /** The outside judge's own. */
  readonly truthProject: string;
  readonly truthBucket: string;
  /** Absolute paths on the instance that the application is served from. */
  readonly applicationPaths: readonly string[];
  /** Paths of the application that are asked, below its address. */
  readonly answerPaths: readonly string[];
}

/** The database's dumps, as files of this machine. */
export interface DatabaseTruth {
  readonly data: string;
  readonly views: string;
  readonly schema: string;
  readonly typed: string;
  readonly databases: readonly string[];
  readonly evidenceData: string;
  readonly evidenceTyped: string;
}

export interface FilesTruth {
  /** sha256 over the listing: type, mode, owner and path of everything, contents of every file. */
  readonly sha256: string;
  readonly files: number;
  /** The listing's lines; the last ones are cut when there are very many. */
  readonly lines: readonly string[];
}

export interface InstanceTruth {
  readonly id: string;
  readonly state: string;
  readonly privateAddress: string;
  readonly publicAddress: string;
  readonly interfaces: readonly string[];
  readonly rootVolume: string;
  /** Instances of the account that are not terminated, and volumes that nothing uses. */
  readonly instances: readonly string[];
  readonly looseVolumes: readonly string[];
}

export interface Answer {
  readonly path: string;
  readonly status: number;
  readonly body: string;
}

export interface Truth {
  readonly at: string;
  readonly database: Outcome<DatabaseTruth>;
  readonly files: Outcome<FilesTruth>;
  readonly instance: Outcome<InstanceTruth>;
  readonly answers: Outcome<readonly Answer[]>;
}

export interface TakeOptions {
  readonly clients: Clients;
  readonly subject: Subject;
  /** `before` or `after`; names the objects and the folder. */
  readonly name: string;
  /** Folder for the dumps. */
  readonly directory: string;
  /** Name of the evidence database; absent when there should be none. */
  readonly evidence?: string | undefined;
  readonly pollMilliseconds: number;
  readonly signal?: AbortSignal | undefined;
}

const databaseDeadlineSeconds = 1800;
const filesDeadlineSeconds = 180;
const answerTimeoutMilliseconds = 10_000;

/** Takes it all. Never rejects but when aborted: what could not be taken is an outcome without a value. */
export async function takeTruth(options: TakeOptions): Promise<Truth> {
  const at = new Date().toISOString();
  const [database, files, instance, answers] = await Promise.all([
    outcomeOf(() => takeDatabase(options)),
    outcomeOf(() => takeFiles(options)),
    outcomeOf(() => takeInstance(options)),
    outcomeOf(() => takeAnswers(options)),
  ]);
  options.signal?.throwIfAborted();
  return { at, database, files, instance, answers };
}

async function takeDatabase(options: TakeOptions): Promise<DatabaseTruth> {
  const { clients, subject, name } = options;
  const key = `truth/${name}.tar`;
  await runBuild(clients, {
    project: subject.truthProject,
    environment: { TRUTH_KEY: key, EVIDENCE: options.evidence ?? "" },
    deadlineSeconds: databaseDeadlineSeconds,
    pollMilliseconds: options.pollMilliseconds,
    signal: options.signal,
  });
  const folder = path.join(options.directory, name);
  await fs.mkdir(folder, { recursive: true });
  const archive = await clients.s3.send(new GetObjectCommand({ Bucket: subject.truthBucket, Key: key }));
  if (archive.Body === undefined) throw new Error(`s3://${subject.truthBucket}/${key} is empty`);
  await execa("tar", ["-xf", "-"], { cwd: folder, input: await archive.Body.transformToByteArray() });
  await checkSums(folder);
  const file = (each: keyof typeof truthFiles) => path.join(folder, truthFiles[each]);
  return {
    data: file("data"),
    views: file("views"),
    schema: file("schema"),
    typed: file("typed"),
    databases: (await fs.readFile(file("databases"), "utf8")).split("\n").filter((line) => line !== ""),
    evidenceData: file("evidenceData"),
    evidenceTyped: file("evidenceTyped"),
  };
}

/** The job hashed what it uploaded; what arrived must be that, whole. */
async function checkSums(folder: string): Promise<void> {
  const sums = await fs.readFile(path.join(folder, "SHA256SUMS"), "utf8");
  const lines = sums.split("\n").filter((line) => line !== "");
  if (lines.length === 0) throw new Error("the truth job uploaded no checksums");
  for (const line of lines) {
    const [sum, name = ""] = line.split(/\s+/);
    const bytes = await fs.readFile(path.join(folder, name));
    const found = createHash("sha256").update(bytes).digest("hex");
    if (found !== sum) throw new Error(`${name} is not what the truth job uploaded: ${found} instead of ${sum}`);
  }
}

/** A listing with everything but times, and its hash first: SSM cuts the output of a command at 24,000 characters. */
function listingCommand(paths: readonly string[]): string {
  const quoted = paths.map(shellWord).join(" ");
  return [
    "set -eu",
    "export LC_ALL=C",
    "list=$(mktemp)",
    "trap 'rm -f \"$list\"' EXIT",
    `find ${quoted} -printf '%y %m %U:%G %p -> %l\\n' | sort > "$list"`,
    `find ${quoted} -type f -print0 | sort -z | xargs -0 -r sha256sum >> "$list"`,
    'sha256sum < "$list" | cut -d " " -f 1',
    'cat "$list"',
  ].join("\n");
}

async function takeFiles(options: TakeOptions): Promise<FilesTruth> {
  const { clients, subject } = options;
  // After a reboot the agent registers again; until then the instance is not known to SSM.
  const commandId = await waitFor(
    async () => {
      try {
        const sent = await clients.ssm.send(
          new SendCommandCommand({
            InstanceIds: [subject.instanceId],
            DocumentName: "AWS-RunShellScript",
            Comment: "outside judge: hashes of the files that are served",
            Parameters: { commands: [listingCommand(subject.applicationPaths)] },
          }),
        );
        return sent.Command?.CommandId;
      } catch (error) {
        if (error instanceof Error && error.name === "InvalidInstanceId") return undefined;
        throw error;
      }
    },
    waitOptions(options, `the agent of ${subject.instanceId} to take commands`),
  );
  const output = await waitFor(
    () => commandOutput(options, commandId),
    waitOptions(options, "the listing of the instance's files"),
  );
  const [sha256 = "", ...lines] = output.trimEnd().split("\n");
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Error(`the listing of the instance's files begins with "${sha256}"`);
  return { sha256, files: lines.filter((line) => line.startsWith("f ")).length, lines };
}

function waitOptions(options: TakeOptions, what: string) {
  const { pollMilliseconds, signal } = options;
  return { what, deadlineSeconds: filesDeadlineSeconds, pollMilliseconds, signal };
}

async function commandOutput(options: TakeOptions, commandId: string): Promise<string | undefined> {
  const { clients, subject } = options;
  try {
    const invocation = await clients.ssm.send(
      new GetCommandInvocationCommand({ CommandId: commandId, InstanceId: subject.instanceId }),
    );
    if (["Pending", "InProgress", "Delayed"].includes(invocation.Status ?? "")) return undefined;
    if (invocation.Status === "Success") return invocation.StandardOutputContent ?? "";
    throw new Error(
      `listing the instance's files ended ${invocation.Status}: ${(invocation.StandardErrorContent ?? "").trim()}`,
    );
  } catch (error) {
    // The invocation appears a moment after the command.
    if (error instanceof Error && error.name === "InvocationDoesNotExist") return undefined;
    throw error;
  }
}

async function takeInstance({ clients, subject }: TakeOptions): Promise<InstanceTruth> {
  const described = await clients.ec2.send(new DescribeInstancesCommand({}));
  const instances = (described.Reservations ?? []).flatMap((each) => each.Instances ?? []);
  const instance = instances.find((each) => each.InstanceId === subject.instanceId);
  if (instance === undefined) throw new Error(`the instance ${subject.instanceId} is gone`);
  const volumes = await clients.ec2.send(new DescribeVolumesCommand({}));
  const root = instance.BlockDeviceMappings?.find((each) => each.DeviceName === instance.RootDeviceName);
  const known = (value: string | undefined, what: string): string => {
    if (value === undefined || value === "") throw new Error(`${subject.instanceId} has no ${what}`);
    return value;
  };
  return {
    id: subject.instanceId,
    state: known(instance.State?.Name, "state"),
    privateAddress: known(instance.PrivateIpAddress, "private address"),
    publicAddress: known(instance.PublicIpAddress, "public address"),
    interfaces: (instance.NetworkInterfaces ?? []).map((each) => each.NetworkInterfaceId ?? "").sort(),
    rootVolume: known(root?.Ebs?.VolumeId, "root volume"),
    instances: instances
      .filter((each) => each.State?.Name !== "terminated")
      .map((each) => each.InstanceId ?? "")
      .sort(),
    looseVolumes: (volumes.Volumes ?? [])
      .filter((each) => each.State === "available" || each.State === "creating")
      .map((each) => each.VolumeId ?? "")
      .sort(),
  };
}

async function takeAnswers({ subject }: TakeOptions): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (const each of subject.answerPaths) {
    const response = await fetch(new URL(each, subject.applicationUrl), {
      signal: AbortSignal.timeout(answerTimeoutMilliseconds),
    });
    answers.push({ path: each, status: response.status, body: await response.text() });
  }
  return answers;
}
