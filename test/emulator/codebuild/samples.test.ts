import * as assert from "node:assert/strict";
import * as path from "node:path";
import type { Build, CreateProjectCommandInput } from "@aws-sdk/client-codebuild";
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { CreateSecretCommand, PutSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { client } from "../support";
import { createProject, filesBelow, runBuild, unzipped, zipOf, type FinishedBuild } from "./support";

const BUCKET = "samples";

/** Buildspecs as people write them, after the samples of the service's documentation, with the sources they build. */
describe("The sample", () => {
  let emulator: Emulator;
  let s3: S3Client;
  before(async () => {
    emulator = await startEmulator();
    s3 = client(emulator, S3Client);
    await s3.send(new CreateBucketCommand({ Bucket: BUCKET }));
  });
  after(async () => {
    await emulator.close();
    assert.deepEqual(emulator.failures, []);
  });

  /** Builds a folder of `samples/`, from a zip of it. */
  const buildSample = async (
    name: string,
    settings: Partial<CreateProjectCommandInput> = {},
  ): Promise<FinishedBuild> => {
    await s3.send(
      new PutObjectCommand({
        Bucket: BUCKET,
        Key: `${name}.zip`,
        Body: await zipOf(filesBelow(path.join(__dirname, "samples", name))),
      }),
    );
    const source = { type: "S3", location: `${BUCKET}/${name}.zip` } as const;
    return await runBuild(emulator, { projectName: await createProject(emulator, "", { name, source, ...settings }) });
  };
  /** What is stored below a folder of the bucket. */
  const stored = async (Prefix: string): Promise<Record<string, Uint8Array>> => {
    const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix }));
    const objects = Contents.map(async ({ Key = "" }) => {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
      return [Key, (await Body?.transformToByteArray()) ?? new Uint8Array()] as const;
    });
    return Object.fromEntries(await Promise.all(objects));
  };
  const texts = async (prefix: string): Promise<Record<string, string>> => {
    const objects = Object.entries(await stored(prefix));
    return Object.fromEntries(objects.map(([key, bytes]) => [key, Buffer.from(bytes).toString()]));
  };

  it("website tests and builds with Node.js, and its zip has the name that its shell makes", async () => {
    const { build, output } = await buildSample("website", {
      artifacts: { type: "S3", location: BUCKET, path: "websites", packaging: "ZIP", overrideArtifactName: true },
    });
    assert.equal(build.buildStatus, "SUCCEEDED", JSON.stringify(build.phases));
    assert.equal(output[0], process.version);
    assert.match(output[1] ?? "", /^Tests began on .*\d{4}/);
    assert.deepEqual(output.slice(2), ["1 test passed", "assets", "index.html"]);
    const [[key, zip] = []] = Object.entries(await stored("websites/"));
    assert.match(key ?? "", /^websites\/website-\d{4}-us-east-1\.zip$/);
    assert.deepEqual(await unzipped(zip ?? new Uint8Array()), {
      "index.html": "<p>Hello, world!</p>\n",
      "assets/site.css": "p { margin: 0 }\n",
    });
  });

  it("libraries stores several artifacts, with and without their folders [A1.10] [A1.12]", async () => {
    const to = (folder: string) => ({ type: "S3", location: BUCKET, path: folder, name: "/" }) as const;
    const { build, output } = await buildSample("libraries", {
      artifacts: to("main"),
      secondaryArtifacts: [
        { ...to("others"), artifactIdentifier: "numbers" },
        { ...to("others"), artifactIdentifier: "dates" },
      ],
    });
    assert.equal(build.buildStatus, "SUCCEEDED", JSON.stringify(build.phases));
    assert.deepEqual(output, [
      "Entered the install phase",
      "Done with the install phase, whatever came of it",
      "Entered the build phase",
      "Done with the build phase, whatever came of it",
    ]);
    assert.deepEqual(await texts("main/"), { "main/messages.lib": "MESSAGES\n" });
    assert.deepEqual(await texts("others/"), {
      "others/numbers.lib": "NUMBERS\n",
      "others/deep/dates.lib": "DATES\n",
    });
  });

  it("scripts keeps its functions in a file, and carries variables and the folder [A1.7] [A3.1] [A3.2]", async () => {
    const { build, output } = await buildSample("scripts");
    assert.equal(build.buildStatus, "SUCCEEDED", JSON.stringify(build.phases));
    assert.deepEqual(output, [
      "the functions are gone",
      "client-2.7.1.txt",
      "server-2.7.1.txt",
      "out of 2.7.1, major 2, last exit 0",
    ]);
  });

  it("configuration reads parameters and secrets, hides them, and exports its variables [A4.5] [A4.8] [E1]", async () => {
    const secrets = client(emulator, SecretsManagerClient);
    const secret = (password: string): string => JSON.stringify({ username: "website-user", password });
    await secrets.send(new CreateSecretCommand({ Name: "website/database", SecretString: secret("old-and-secret") }));
    const renewed = { SecretId: "website/database", SecretString: secret("new-and-secret") };
    await secrets.send(new PutSecretValueCommand(renewed));
    const endpoint = { Name: "/website/endpoint", Value: "https://example.com/", Type: "String" } as const;
    await client(emulator, SSMClient).send(new PutParameterCommand(endpoint));
    const { build, output, lines } = await buildSample("configuration", {
      environment: {
        type: "LINUX_CONTAINER",
        image: "aws/codebuild/standard:7.0",
        computeType: "BUILD_GENERAL1_SMALL",
        environmentVariables: [{ name: "LEVEL", value: "debug" }],
      },
    });
    assert.equal(build.buildStatus, "SUCCEEDED", JSON.stringify(build.phases));
    assert.deepEqual(output, ["test debug", "*** at *** with ***, before with ***"]);
    assert.doesNotMatch(lines.join("\n"), /and-secret|example\.com/);
    assert.deepEqual(build.exportedEnvironmentVariables, [
      { name: "RELEASE", value: "website-1-test" },
      { name: "ENDPOINT", value: "https://example.com/" },
    ]);
  });

  it("cleanup gives back what it took, and its report is kept, although it fails [A1.4] [A1.6] [A2.1] [A2.3]", async () => {
    const { build, output } = await buildSample("cleanup", {
      artifacts: { type: "S3", location: BUCKET, path: "reports", name: "/" },
    });
    assert.equal(build.buildStatus, "FAILED");
    assert.deepEqual(failures(build), [
      "PRE_BUILD: Error while executing command: lint-that-does-not-exist. Reason: exit status 127",
      "BUILD: Error while executing command: exit 7. Reason: exit status 7",
      'POST_BUILD: Error while executing command: [ "$CODEBUILD_BUILD_SUCCEEDING" = 1 ] || exit 1. Reason: exit status 1',
    ]);
    assert.deepEqual(
      output.filter((line) => !line.includes("script.sh")),
      ["installed", "no such linter is a reason to go on", "lock given back", "succeeding 0", "the end"],
    );
    assert.deepEqual(await texts("reports/"), { "reports/report.txt": "one failure\n" });
  });
});

function failures({ phases = [] }: Build): string[] {
  const failed = phases.filter(({ phaseStatus }) => phaseStatus === "FAILED");
  return failed.map(({ phaseType, contexts }) => `${phaseType}: ${contexts?.[0]?.message}`);
}
