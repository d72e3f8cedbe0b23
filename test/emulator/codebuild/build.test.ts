import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { CodeBuildClient, StartBuildCommand, StopBuildCommand, type Build } from "@aws-sdk/client-codebuild";
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { client } from "../support";
import {
  createProject,
  createRole,
  describeBuild,
  endedBuilds,
  logLines,
  runBuild,
  runBuildspec,
  until,
  zipOf,
} from "./support";

const spec = (...commands: readonly string[]): string =>
  `version: 0.2\nphases:\n  build:\n    commands: ${JSON.stringify(commands)}\n`;

describe("A build", () => {
  let emulator: Emulator;
  beforeEach(async () => {
    emulator = await startEmulator();
  });
  afterEach(async () => {
    await emulator.close();
  });

  it("succeeds, with all its phases and the service's own log lines", async () => {
    const { build, lines, output } = await runBuildspec(emulator, spec("echo one", "echo two >&2"));
    assert.equal(build.buildStatus, "SUCCEEDED");
    assert.equal(build.buildComplete, true);
    assert.deepEqual(statuses(build), [
      "SUBMITTED SUCCEEDED",
      "QUEUED SUCCEEDED",
      "PROVISIONING SUCCEEDED",
      "DOWNLOAD_SOURCE SUCCEEDED",
      "INSTALL SUCCEEDED",
      "PRE_BUILD SUCCEEDED",
      "BUILD SUCCEEDED",
      "POST_BUILD SUCCEEDED",
      "UPLOAD_ARTIFACTS SUCCEEDED",
      "FINALIZING SUCCEEDED",
      "COMPLETED ",
    ]);
    assert.deepEqual(output, ["one", "two"]);
    const own = lines.filter((line) => line.startsWith("[Container] "));
    assert.match(own[0] ?? "", /^\[Container\] \d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d\.\d{6} /);
    for (const expected of [
      "Entering phase BUILD",
      "Running command echo one",
      "Phase complete: BUILD State: SUCCEEDED",
    ]) {
      assert.ok(
        own.some((line) => line.endsWith(` ${expected}`)),
        expected,
      );
    }
  });

  it("carries variables and the directory from one command to the next, and nothing else", async () => {
    const { output, build } = await runBuildspec(
      emulator,
      spec(
        "plain=1; export exported='two\n lines'; cd /tmp",
        'echo "$plain/$exported"; pwd',
        "greet() { echo hello; }; set -e",
        "type greet >/dev/null 2>&1 || echo no function; false; echo no errexit",
        "lost=1; exit 0",
        "echo lost=$lost last=$CODEBUILD_LAST_EXIT",
      ),
    );
    assert.equal(build.buildStatus, "SUCCEEDED");
    assert.deepEqual(output, ["1/two", " lines", "/tmp", "no function", "no errexit", "lost= last=0"]);
  });

  it("shows the user's command as line 4 of the script", async () => {
    const { output, build } = await runBuildspec(emulator, spec("no-such-program"));
    assert.equal(build.buildStatus, "FAILED");
    assert.equal(output[0], "/codebuild/output/tmp/script.sh: 4: no-such-program: not found");
  });

  it("runs POST_BUILD after a failed BUILD, and says so in the phase's context", async () => {
    const { build, output, lines } = await runBuildspec(
      emulator,
      "version: 0.2\nphases:\n  build:\n    commands: [echo a, exit 3, echo never]\n    finally: [echo finally]\n" +
        "  post_build:\n    commands: [echo succeeding=$CODEBUILD_BUILD_SUCCEEDING]",
    );
    assert.equal(build.buildStatus, "FAILED");
    assert.deepEqual(output, ["a", "finally", "succeeding=0"]);
    const phase = build.phases?.find(({ phaseType }) => phaseType === "BUILD");
    assert.equal(phase?.phaseStatus, "FAILED");
    assert.deepEqual(phase.contexts, [
      {
        statusCode: "COMMAND_EXECUTION_ERROR",
        message: "Error while executing command: exit 3. Reason: exit status 3",
      },
    ]);
    assert.ok(lines.some((line) => line.endsWith("Command did not exit successfully exit 3 exit status 3")));
  });

  it("runs nothing after a failed PRE_BUILD but that phase's finally", async () => {
    const { build, output } = await runBuildspec(
      emulator,
      "version: 0.2\nphases:\n  pre_build:\n    commands: ['false']\n    finally: [echo finally]\n" +
        "  build:\n    commands: [echo build]\n  post_build:\n    commands: [echo post]",
    );
    assert.equal(build.buildStatus, "FAILED");
    assert.deepEqual(output, ["finally"]);
    assert.ok(!statuses(build).some((status) => /^(BUILD|POST_BUILD|UPLOAD)/.test(status)));
  });

  for (const [onFailure, output] of [
    ["ABORT", []],
    ["CONTINUE", ["post"]],
  ] as const) {
    it(`with on-failure ${onFailure} in BUILD runs [${output.join()}] after it and fails`, async () => {
      const found = await runBuildspec(
        emulator,
        `version: 0.2\nphases:\n  build:\n    on-failure: ${onFailure}\n    commands: ['false']\n` +
          "  post_build:\n    commands: [echo post]",
      );
      assert.equal(found.build.buildStatus, "FAILED");
      assert.deepEqual(found.output, output);
    });
  }

  it("runs its commands in bash where the buildspec says so", async () => {
    const { output } = await runBuildspec(
      emulator,
      `version: 0.2\nenv: {shell: bash}\nphases:\n  build:\n    commands: ["[[ a == a ]] && echo bash"]`,
    );
    assert.deepEqual(output, ["bash"]);
  });

  it("fails in DOWNLOAD_SOURCE for a broken buildspec", async () => {
    const { build } = await runBuildspec(emulator, "version: 0.2\nphases:\n  build:\n    commands:\n      - echo: x");
    assert.equal(build.buildStatus, "FAILED");
    const phase = build.phases?.find(({ phaseType }) => phaseType === "DOWNLOAD_SOURCE");
    assert.equal(phase?.contexts?.[0]?.statusCode, "YAML_FILE_ERROR");
  });

  it("knows itself, and calls back as its role", async () => {
    const { output, build } = await runBuildspec(
      emulator,
      spec(
        "echo $CODEBUILD_BUILD_ID $CODEBUILD_INITIATOR $AWS_REGION $HOME",
        "test $PWD = $CODEBUILD_SRC_DIR && echo in the source folder",
        `node -e 'fetch(process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI, { headers: { authorization:
          process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN } }).then((r) => r.json()).then((c) => console.log(c.RoleArn, c.AccessKeyId))'`,
      ),
    );
    assert.equal(output[0], `${build.id} root us-east-1 /root`);
    assert.equal(output[1], "in the source folder");
    assert.equal(output[2], `${build.serviceRole} ***`);
  });

  it("masks the secrets that it was given, and fails when it may not read one", async () => {
    const secrets = client(emulator, SecretsManagerClient);
    const { ARN } = await secrets.send(
      new CreateSecretCommand({ Name: "db", SecretString: JSON.stringify({ user: "u", password: "pa$$ 'word" }) }),
    );
    const variable = { name: "PASSWORD", value: `${ARN}:password`, type: "SECRETS_MANAGER" } as const;
    const name = await createProject(emulator, spec('echo "<$PASSWORD>"; printf %s "$PASSWORD" | wc -c'));
    const allowed = await runBuild(emulator, { projectName: name, environmentVariablesOverride: [variable] });
    assert.deepEqual(allowed.output, ["<***>", "10"]);
    assert.deepEqual(allowed.build.environment?.environmentVariables, [variable]);

    const onlyLogs = [{ Effect: "Allow", Action: "logs:*", Resource: "*" }];
    const serviceRole = await createRole(emulator, "no-secrets", "codebuild.amazonaws.com", onlyLogs);
    await createProject(emulator, spec("echo never"), { name: "poor", serviceRole });
    const denied = await runBuild(emulator, { projectName: "poor", environmentVariablesOverride: [variable] });
    assert.equal(denied.build.buildStatus, "FAILED");
    assert.deepEqual(denied.output, []);
    const context = denied.build.phases?.find(({ phaseType }) => phaseType === "DOWNLOAD_SOURCE")?.contexts?.[0];
    assert.equal(context?.statusCode, "Secrets Manager Error");
    assert.match(context.message ?? "", /is not authorized to perform: secretsmanager:GetSecretValue/);
  });

  it("exports variables, but neither AWS_ ones nor secrets of the project", async () => {
    await client(emulator, SecretsManagerClient).send(new CreateSecretCommand({ Name: "db", SecretString: "x" }));
    const name = await createProject(
      emulator,
      "version: 0.2\nenv:\n  exported-variables: [VERSION, TEXT, AWS_REGION, TOKEN, MISSING]\n" +
        "phases:\n  build:\n    commands: [VERSION=7]\n  post_build:\n    commands: [\"TEXT=$(printf 'a\\nb')\"]",
    );
    const { build } = await runBuild(emulator, {
      projectName: name,
      environmentVariablesOverride: [{ name: "TOKEN", value: "db", type: "SECRETS_MANAGER" }],
    });
    assert.deepEqual(build.exportedEnvironmentVariables, [
      { name: "VERSION", value: "7" },
      { name: "TEXT", value: "a\nb" },
    ]);
  });

  it("takes its source from S3 and uploads what its artifacts name", async () => {
    const s3 = client(emulator, S3Client);
    await s3.send(new CreateBucketCommand({ Bucket: "builds" }));
    const buildspec =
      "version: 0.2\nphases:\n  build:\n    commands: [mkdir -p out/deep, cp given.txt out/deep/x.txt, touch out/y.log]\n" +
      "artifacts:\n  files: ['**/*']\n  base-directory: out\n  exclude-paths: ['**/*.log']\n  discard-paths: yes\n";
    const Body = await zipOf({ "buildspec.yml": buildspec, "given.txt": "given" });
    await s3.send(new PutObjectCommand({ Bucket: "builds", Key: "in/source.zip", Body }));
    const name = await createProject(emulator, "", {
      source: { type: "S3", location: "builds/in/source.zip" },
      artifacts: { type: "S3", location: "builds", path: "out", name: "result", packaging: "NONE" },
    });
    const { build } = await runBuild(emulator, { projectName: name });
    assert.equal(build.buildStatus, "SUCCEEDED", JSON.stringify(build.phases));
    const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket: "builds", Prefix: "out/" }));
    assert.deepEqual(
      Contents?.map(({ Key }) => Key),
      ["out/result/x.txt"],
    );
    const object = await s3.send(new GetObjectCommand({ Bucket: "builds", Key: "out/result/x.txt" }));
    assert.equal(await object.Body?.transformToString(), "given");
  });

  it("fails when no file matches its artifacts", async () => {
    await client(emulator, S3Client).send(new CreateBucketCommand({ Bucket: "builds" }));
    const { build } = await runBuildspec(emulator, `${spec("true")}artifacts:\n  files: [none.txt]\n`, {
      artifacts: { type: "S3", location: "builds" },
    });
    assert.equal(build.buildStatus, "FAILED");
    const phase = build.phases?.find(({ phaseType }) => phaseType === "UPLOAD_ARTIFACTS");
    assert.deepEqual(phase?.contexts, [{ statusCode: "CLIENT_ERROR", message: "no matching artifact paths found" }]);
  });

  it("is one at a time for each compute type, and says so as the service does", async () => {
    const codebuild = client(emulator, CodeBuildClient);
    const projectName = await createProject(emulator, spec("sleep 60"));
    const { build } = await codebuild.send(new StartBuildCommand({ projectName }));
    await assert.rejects(codebuild.send(new StartBuildCommand({ projectName })), {
      name: "AccountLimitExceededException",
      message: "Cannot have more than 1 builds in queue for the account",
    });
    const other = { projectName, computeTypeOverride: "BUILD_GENERAL1_MEDIUM" } as const;
    await codebuild.send(new StartBuildCommand(other));
    await codebuild.send(new StopBuildCommand({ id: build?.id }));
    await codebuild.send(new StartBuildCommand({ projectName }));
  });

  it("is killed by StopBuild with everything that it started, without its finally", async () => {
    const codebuild = client(emulator, CodeBuildClient);
    const projectName = await createProject(
      emulator,
      "version: 0.2\nphases:\n  build:\n    commands: ['sleep 61.25 & echo started; sleep 62.25']\n    finally: [echo finally]\n" +
        "  post_build:\n    commands: [echo post]",
    );
    const { build = {} } = await codebuild.send(new StartBuildCommand({ projectName }));
    await started(emulator, build);
    await codebuild.send(new StopBuildCommand({ id: build.id }));
    const stopped = await describeBuild(emulator, build.id ?? "");
    assert.equal(stopped.build.buildStatus, "STOPPED");
    assert.deepEqual(stopped.output, ["started"]);
    assert.ok(statuses(stopped.build).includes("BUILD STOPPED"));
    assert.deepEqual(processes("sleep 6[12].25"), []);
  });

  it("is ended by its time-out", async () => {
    const codebuild = client(emulator, CodeBuildClient);
    const projectName = await createProject(emulator, spec("echo started; sleep 60"), { timeoutInMinutes: 5 });
    const ended = endedBuilds(emulator);
    const { build = {} } = await codebuild.send(new StartBuildCommand({ projectName }));
    await started(emulator, build);
    emulator.cloud.clock.advance(5 * 60_000);
    await ended.wait(build.arn ?? "");
    const found = await describeBuild(emulator, build.id ?? "");
    assert.equal(found.build.buildStatus, "TIMED_OUT");
    const phase = found.build.phases?.find(({ phaseType }) => phaseType === "BUILD");
    assert.equal(phase?.contexts?.[0]?.statusCode, "BUILD_TIMED_OUT");
  });

  it("leaves nothing behind when the emulator closes while it runs", async () => {
    const projectName = await createProject(emulator, spec("echo started; sleep 63.25"));
    const { build = {} } = await client(emulator, CodeBuildClient).send(new StartBuildCommand({ projectName }));
    await started(emulator, build);
    assert.equal(processes("sleep 63.25").length, 1);
    await emulator.close();
    assert.deepEqual(processes("sleep 63.25"), []);
    assert.deepEqual(emulator.failures, []);
    assert.ok(!fs.existsSync(emulator.cloud.directory));
  });

  it("does not start when its role's trust policy does not name the project", async () => {
    const serviceRole = await createRole(emulator, "other", "ec2.amazonaws.com");
    await assert.rejects(createProject(emulator, spec("true"), { serviceRole }), {
      name: "InvalidInputException",
      message: `CodeBuild is not authorized to perform: sts:AssumeRole on ${serviceRole}`,
    });
  });
});

/** Waits until the build's command has said so. */
async function started(emulator: Emulator, build: Build): Promise<void> {
  const look = async (): Promise<true | undefined> => {
    // The log's stream is made while the build is provisioned.
    const lines = await logLines(emulator, build).catch((): string[] => []);
    return lines.includes("started") ? true : undefined;
  };
  await until("the command's start", look);
}

/** Of this machine, by their command line. */
function processes(pattern: string): string[] {
  const lines = fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim();
      } catch {
        return "";
      }
    });
  return lines.filter((line) => new RegExp(`^${pattern}$`).test(line));
}

function statuses(build: Build): string[] {
  return (build.phases ?? []).map(({ phaseType, phaseStatus = "" }) => `${phaseType} ${phaseStatus}`);
}
