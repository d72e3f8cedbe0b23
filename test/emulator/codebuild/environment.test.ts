import * as assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { CreateSecretCommand, PutSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { parseBuildspec } from "../../../emulator/services/codebuild/buildspec";
import { layeredVariables, parseSecretReference } from "../../../emulator/services/codebuild/environment";
import { client } from "../support";
import { createProject, createRole, runBuild, runBuildspec } from "./support";

const image = {
  type: "LINUX_CONTAINER",
  image: "aws/codebuild/standard:7.0",
  computeType: "BUILD_GENERAL1_SMALL",
} as const;

const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf";

describe("A reference to a secret", () => {
  const forms: readonly (readonly [string, object])[] = [
    ["db", { secretId: "db" }],
    ["db:password", { secretId: "db", jsonKey: "password" }],
    ["db:password:AWSPREVIOUS", { secretId: "db", jsonKey: "password", versionStage: "AWSPREVIOUS" }],
    ["db:::0a1b", { secretId: "db", versionId: "0a1b" }],
    ["db::AWSPENDING", { secretId: "db", versionStage: "AWSPENDING" }],
    [arn, { secretId: arn }],
    [`${arn}:password`, { secretId: arn, jsonKey: "password" }],
    [`${arn}:password::0a1b`, { secretId: arn, jsonKey: "password", versionId: "0a1b" }],
  ];
  for (const [text, parsed] of forms) {
    it(`is read from ${text} [E1] [E3]`, () => {
      assert.deepEqual(parseSecretReference(text), parsed);
    });
  }

  it("is refused with more fields than there are", () => {
    assert.throws(() => parseSecretReference("db:a:b:c:d"), /Invalid secret reference/);
  });

  it("is refused with a version stage and a version id [E2]", () => {
    assert.throws(
      () => parseSecretReference("db:a:AWSCURRENT:0a1b"),
      /a version stage and a version id, give only one/,
    );
  });
});

describe("The variables of a build", () => {
  let emulator: Emulator;
  let secrets: SecretsManagerClient;
  before(async () => {
    emulator = await startEmulator();
    secrets = client(emulator, SecretsManagerClient);
  });
  after(async () => {
    await emulator.close();
  });

  it("come from StartBuild before the project, and from the project before the buildspec [A4.1]", () => {
    const spec = parseBuildspec(
      "version: 0.2\nenv:\n  variables: {A: spec, B: spec, C: spec}\n  secrets-manager: {D: db}\nphases: {}",
    );
    const plain = (name: string, value: string) => ({ name, value, type: "PLAINTEXT" as const });
    const project = [plain("B", "project"), plain("C", "project"), plain("D", "project")];
    const found = layeredVariables(spec, project, [plain("C", "start")]);
    const values = Object.fromEntries(found.map(({ name, value, type }) => [name, `${value} ${type}`]));
    assert.deepEqual(values, {
      A: "spec PLAINTEXT",
      B: "project PLAINTEXT",
      C: "start PLAINTEXT",
      D: "project PLAINTEXT",
    });
  });

  it("are literal, and come before what the buildspec says of them in a real build too [A4.1] [A4.2]", async () => {
    const projectName = await createProject(
      emulator,
      "version: 0.2\nenv: {variables: {A: $PATH:/x, B: spec, C: spec}}\n" +
        'phases: {build: {commands: ["printf \'%s\\n\' \\"$A\\" \\"$B\\" \\"$C\\""]}}',
      {
        environment: {
          ...image,
          environmentVariables: [
            { name: "B", value: "$(date)" },
            { name: "C", value: "project" },
          ],
        },
      },
    );
    const override = [{ name: "C", value: "start" }];
    const { output } = await runBuild(emulator, { projectName, environmentVariablesOverride: override });
    assert.deepEqual(output, ["$PATH:/x", "$(date)", "start"]);
  });

  it("take secrets and parameters in all forms, and none of their values is in the log [A4.7] [A4.8] [E1] [E4]", async () => {
    const previous = JSON.stringify({ user: "scott", password: "before-tiger" });
    const { ARN = "", VersionId = "" } = await secrets.send(
      new CreateSecretCommand({ Name: "team/db", SecretString: previous }),
    );
    const current = JSON.stringify({ user: "scott2", password: "tig\"er 'x'", port: 5432 });
    await secrets.send(new PutSecretValueCommand({ SecretId: "team/db", SecretString: current }));
    const ssm = client(emulator, SSMClient);
    await ssm.send(new PutParameterCommand({ Name: "/team/key", Value: "parameter-value", Type: "SecureString" }));
    await ssm.send(new PutParameterCommand({ Name: "/team/old", Value: "old-parameter", Type: "String" }));
    const buildspec = {
      version: "0.2",
      env: {
        "parameter-store": { KEY: "/team/key" },
        "secrets-manager": {
          WHOLE: "team/db",
          PASSWORD: `${ARN}:password`,
          PORT: "team/db:port",
          BEFORE: "team/db:password:AWSPREVIOUS",
          BY_ID: `${ARN}:user::${VersionId}`,
        },
      },
      phases: {
        build: {
          commands: [
            // Of each value only its sum may be seen.
            'for v in "$WHOLE" "$PASSWORD" "$PORT" "$BEFORE" "$BY_ID" "$KEY" "$OLD" "$FROM_START"; do printf %s "$v" | sha256sum | cut -c1-16; done',
            'echo "<$WHOLE><$PASSWORD><$BEFORE><$KEY><$OLD><$FROM_START>"',
            'echo "$PASSWORD" | tr a-z A-Z',
          ],
        },
      },
    };
    const environmentVariables = [{ name: "OLD", value: "/team/old", type: "PARAMETER_STORE" }] as const;
    const projectName = await createProject(emulator, JSON.stringify(buildspec), {
      environment: { ...image, environmentVariables: [...environmentVariables] },
    });
    const fromStart = { name: "FROM_START", value: "team/db:user:AWSPREVIOUS", type: "SECRETS_MANAGER" } as const;
    const { build, lines, output } = await runBuild(emulator, {
      projectName,
      environmentVariablesOverride: [fromStart],
    });
    const values = [
      current,
      "tig\"er 'x'",
      "5432",
      "before-tiger",
      "scott",
      "parameter-value",
      "old-parameter",
      "scott",
    ];
    const sums = values.map((value) => createHash("sha256").update(value).digest("hex").slice(0, 16));
    assert.deepEqual(output.slice(0, values.length), sums, JSON.stringify(build.phases));
    assert.deepEqual(output.slice(values.length), ["<***><***><***><***><***><***>", "TIG\"ER 'X'"]);
    const log = lines.join("\n");
    for (const value of values) assert.ok(!log.includes(value), value);
    // References stay references, for whoever may read builds.
    assert.deepEqual(build.environment?.environmentVariables, [...environmentVariables, fromStart]);
  });

  let roles = 0;
  const phaseContext = async (buildspec: string, statements: readonly object[]): Promise<string> => {
    const serviceRole = await createRole(emulator, `poor-${++roles}`, "codebuild.amazonaws.com", statements);
    const { build, output } = await runBuildspec(emulator, buildspec, { serviceRole });
    assert.deepEqual(output, []);
    assert.equal(build.buildStatus, "FAILED");
    const [context] = build.phases?.find(({ phaseType }) => phaseType === "DOWNLOAD_SOURCE")?.contexts ?? [];
    return `${context?.statusCode}: ${context?.message}`;
  };
  const logs = { Effect: "Allow", Action: "logs:*", Resource: "*" };
  const phases = "phases: {build: {commands: [echo never]}}";

  it("fail the build whose role may not read a secret or parameter, and when there is none [E8]", async () => {
    await secrets.send(new CreateSecretCommand({ Name: "closed", SecretString: "x" }));
    const secret = `version: 0.2\nenv: {secrets-manager: {A: closed}}\n${phases}`;
    assert.match(await phaseContext(secret, [logs]), /^Secrets Manager Error: .* secretsmanager:GetSecretValue/);
    const parameter = `version: 0.2\nenv: {parameter-store: {A: /closed}}\n${phases}`;
    assert.match(await phaseContext(parameter, [logs]), /^Decrypted Variables Error: .* ssm:GetParameters/);
    const all = [{ Effect: "Allow", Action: "*", Resource: "*" }];
    assert.equal(await phaseContext(parameter, all), "Decrypted Variables Error: parameter does not exist: /closed");
    const key = `version: 0.2\nenv: {secrets-manager: {A: "closed:none"}}\n${phases}`;
    assert.match(await phaseContext(key, all), /^Secrets Manager Error: secret closed has no key none/);
  });

  it("are exported with their last value, but neither AWS_ ones nor secrets of the project [A4.5] [A4.6]", async () => {
    await secrets.send(new CreateSecretCommand({ Name: "exported", SecretString: "secret-text" }));
    await client(emulator, SSMClient).send(new PutParameterCommand({ Name: "/exported", Value: "p", Type: "String" }));
    const projectName = await createProject(
      emulator,
      "version: 0.2\nenv:\n  exported-variables: [VERSION, TEXT, EMPTY, AWS_REGION, TOKEN, PARAMETER, MISSING]\n" +
        "phases:\n  build:\n    commands: [VERSION=7, EMPTY=]\n  post_build:\n    commands: [VERSION=8]\n" +
        "    finally: [\"TEXT=$(printf 'a\\nb')\"]",
      {
        environment: {
          ...image,
          environmentVariables: [{ name: "PARAMETER", value: "/exported", type: "PARAMETER_STORE" }],
        },
      },
    );
    const { build } = await runBuild(emulator, {
      projectName,
      environmentVariablesOverride: [{ name: "TOKEN", value: "exported", type: "SECRETS_MANAGER" }],
    });
    assert.deepEqual(build.exportedEnvironmentVariables, [
      { name: "VERSION", value: "8" },
      { name: "TEXT", value: "a\nb" },
      { name: "EMPTY", value: "" },
    ]);
  });

  it("tell a build of itself, and let it call back as its role [A4.3]", async () => {
    const command = "env | grep -E '^(CODEBUILD_|AWS_|HOME=)' | grep -v '^AWS_SDK_' | sort";
    const fetched = `node -e 'fetch(process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI, { headers: { authorization:
      process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN } }).then((r) => r.json()).then((c) => console.log(c.RoleArn, c.AccessKeyId))'`;
    const spec = { version: "0.2", phases: { build: { commands: [command, fetched] } } };
    const { build, output } = await runBuildspec(emulator, JSON.stringify(spec));
    const found = Object.fromEntries(
      output.slice(0, -1).map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
    const { CODEBUILD_SRC_DIR, CODEBUILD_BUILD_URL, AWS_CONTAINER_CREDENTIALS_FULL_URI, ...rest } = found;
    assert.match(CODEBUILD_SRC_DIR ?? "", /^\/codebuild\/output\/src\d+\/src$/);
    assert.ok(CODEBUILD_BUILD_URL?.includes(build.id ?? ""));
    assert.ok(AWS_CONTAINER_CREDENTIALS_FULL_URI?.startsWith(emulator.endpoint));
    const project = build.projectName ?? "";
    assert.deepEqual(rest, {
      AWS_CONTAINER_AUTHORIZATION_TOKEN: "***",
      AWS_DEFAULT_REGION: "us-east-1",
      AWS_ENDPOINT_URL: emulator.endpoint,
      AWS_EXECUTION_ENV: "AWS_ECS_EC2",
      AWS_REGION: "us-east-1",
      CODEBUILD_BUILD_ARN: build.arn,
      CODEBUILD_BUILD_ID: build.id,
      CODEBUILD_BUILD_IMAGE: image.image,
      CODEBUILD_BUILD_NUMBER: "1",
      CODEBUILD_BUILD_SUCCEEDING: "1",
      CODEBUILD_CI: "true",
      CODEBUILD_INITIATOR: "root",
      CODEBUILD_KMS_KEY_ID: build.encryptionKey,
      CODEBUILD_LOG_PATH: build.logs?.streamName,
      CODEBUILD_PROJECT_ARN: `arn:aws:codebuild:us-east-1:123456789012:project/${project}`,
      CODEBUILD_SOURCE_REPO_URL: "",
      CODEBUILD_SOURCE_VERSION: "",
      CODEBUILD_START_TIME: String(build.startTime?.getTime()),
      HOME: "/root",
    });
    assert.equal(output.at(-1), `${build.serviceRole} ***`);
  });
});
