import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { CodePipelineClient, CreatePipelineCommand } from "@aws-sdk/client-codepipeline";
import { startEmulator, type Emulator } from "../../emulator/emulator";
import { declarationOf, executionEnded, pipelineProject, prepare, buildAction } from "../emulator/codepipeline/support";
import { client } from "../emulator/support";
import { awsCli, awsCliRefusal, unlessPresent } from "./support";

describe("The aws CLI", () => {
  let emulator: Emulator;
  let folder: string;

  before(async function () {
    unlessPresent(this, "aws");
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "aws-cli-"));
    emulator = await startEmulator();
  });
  after(async () => {
    if (folder !== undefined) fs.rmSync(folder, { recursive: true });
    await emulator?.close();
  });

  const aws = <T>(...args: string[]): Promise<T> => awsCli(emulator, ...args) as Promise<T>;

  it("says who is calling", async () => {
    const identity = await aws("sts", "get-caller-identity");
    assert.deepEqual(identity, {
      UserId: "123456789012",
      Account: "123456789012",
      Arn: "arn:aws:iam::123456789012:root",
    });
  });

  it("makes a bucket, copies a large file there in parts and back, lists, and removes it all", async () => {
    const file = path.join(folder, "large");
    const bytes = randomBytes(9 * 1024 * 1024);
    fs.writeFileSync(file, bytes);
    await aws("s3", "mb", "s3://cli");
    await aws("s3", "cp", "--quiet", file, "s3://cli/folder/large");
    const head = await aws<{ ETag: string; ContentLength: number }>(
      ...["s3api", "head-object", "--bucket", "cli", "--key", "folder/large"],
    );
    assert.equal(head.ContentLength, bytes.length);
    assert.match(head.ETag, /-2"$/);
    assert.match(await aws<string>("s3", "ls", "s3://cli/folder/"), /9437184 large/);
    await aws("s3", "cp", "--quiet", "s3://cli/folder/large", `${file}.back`);
    assert.ok(fs.readFileSync(`${file}.back`).equals(bytes));
    await aws("s3", "rb", "--force", "s3://cli");
    const listing = ["s3api", "list-objects-v2", "--bucket", "cli"];
    assert.match(await awsCliRefusal(emulator, ...listing), /\(NoSuchBucket\).*ListObjectsV2/);
  });

  it("starts a pipeline, follows it to its end, and reads its build's log", async function () {
    this.timeout(180_000);
    const roleArn = await prepare(emulator);
    await pipelineProject(emulator, "Build", ["echo said by the build"]);
    const stages = [{ name: "Build", actions: [buildAction("Build")] }];
    const created = executionEnded(emulator);
    const pipeline = declarationOf(roleArn, stages);
    await client(emulator, CodePipelineClient).send(new CreatePipelineCommand({ pipeline }));
    await created;
    const ended = executionEnded(emulator);
    const start = ["codepipeline", "start-pipeline-execution", "--name", "delivery"];
    const { pipelineExecutionId } = await aws<{ pipelineExecutionId: string }>(...start);
    await ended;
    const execution = ["--pipeline-name", "delivery", "--pipeline-execution-id", pipelineExecutionId];
    const got = await aws<{ pipelineExecution: { status: string } }>(
      "codepipeline",
      "get-pipeline-execution",
      ...execution,
    );
    assert.equal(got.pipelineExecution.status, "Succeeded");
    const state = await aws<{ stageStates: { stageName: string; latestExecution: { status: string } }[] }>(
      ...["codepipeline", "get-pipeline-state", "--name", "delivery"],
    );
    assert.deepEqual(
      state.stageStates.map(({ stageName, latestExecution }) => [stageName, latestExecution.status]),
      [
        ["Source", "Succeeded"],
        ["Build", "Succeeded"],
      ],
    );
    // What `aws logs tail` of version 2 does: FilterLogEvents, page by page.
    const log = ["--log-group-name", "/aws/codebuild/Build", "--query", "events[].message", "--page-size", "3"];
    const messages = await aws<string[]>("logs", "filter-log-events", ...log);
    assert.equal(messages.filter((message) => message.trim() === "said by the build").length, 2);
  });

  it("describes networks and databases, with filters and queries", async () => {
    // Version 1 asks rds.amazonaws.com unless it is told so on the command line.
    const rds = ["--endpoint-url", emulator.endpoint, "rds"];
    const vpc = ["ec2", "create-vpc", "--cidr-block", "10.2.0.0/16", "--query", "Vpc.VpcId", "--output", "text"];
    const id = (await aws<string>(...vpc)).trim();
    const found = ["--filters", `Name=vpc-id,Values=${id}`, "--query", "Vpcs[].CidrBlock"];
    assert.deepEqual(await aws("ec2", "describe-vpcs", ...found), ["10.2.0.0/16"]);
    const missing = [...rds, "describe-db-instances", "--db-instance-identifier", "no"];
    assert.match(await awsCliRefusal(emulator, ...missing), /\(DBInstanceNotFound\).*DescribeDBInstances/);
  });

  it("names what the emulator does not have", async () => {
    assert.match(await awsCliRefusal(emulator, "ec2", "describe-key-pairs"), /NotImplemented.*DescribeKeyPairs/);
  });
});
