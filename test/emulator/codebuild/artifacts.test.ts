import * as assert from "node:assert/strict";
import type { ProjectArtifacts } from "@aws-sdk/client-codebuild";
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { client } from "../support";
import { createProject, createRole, runBuild, runBuildspec, unzipped, zipOf, type FinishedBuild } from "./support";

const BUCKET = "builds";

/** The `secondary-artifacts` of one buildspec, and the files that each takes of the tree that the build makes. */
const cases: Readonly<Record<string, { readonly spec: object; readonly takes: readonly string[] }>> = {
  one: { spec: { files: ["top.txt"] }, takes: ["top.txt"] },
  folder: { spec: { files: ["out/*"] }, takes: ["out/a.txt", "out/b.log"] },
  deep: {
    spec: { files: ["out/**/*"] },
    takes: ["out/.hidden/d.txt", "out/a.txt", "out/b.log", "out/deep/c.txt"],
  },
  all: {
    spec: { files: ["**/*"] },
    takes: [
      "my-build1/x.txt",
      "my-build2/y.txt",
      "out/.hidden/d.txt",
      "out/a.txt",
      "out/b.log",
      "out/deep/c.txt",
      "top.txt",
    ],
  },
  based: { spec: { files: ["**/*.txt"], "base-directory": "out" }, takes: [".hidden/d.txt", "a.txt", "deep/c.txt"] },
  dotted: { spec: { files: ["./a.txt"], "base-directory": "./out/" }, takes: ["a.txt"] },
  globbed: { spec: { files: ["**/*"], "base-directory": "my-build*" }, takes: ["x.txt", "y.txt"] },
  flat: { spec: { files: ["out/**/*.txt"], "discard-paths": "yes" }, takes: ["a.txt", "c.txt", "d.txt"] },
  kept: { spec: { files: ["out/deep/*"], "discard-paths": "no" }, takes: ["out/deep/c.txt"] },
  without: {
    spec: { files: ["**/*"], "base-directory": "out", "exclude-paths": ["**/*.log", ".hidden/**"] },
    takes: ["a.txt", "deep/c.txt"],
  },
  absolute: { spec: { files: ["*"], "base-directory": "/codebuild/output/elsewhere" }, takes: ["e.txt"] },
};

const tree = [
  "mkdir -p out/deep out/.hidden my-build1 my-build2 /codebuild/output/elsewhere",
  "touch top.txt out/a.txt out/b.log out/deep/c.txt out/.hidden/d.txt my-build1/x.txt my-build2/y.txt",
  "touch /codebuild/output/elsewhere/e.txt; ln -s /etc/passwd out/outside.txt",
];

describe("The files of a build", () => {
  let emulator: Emulator;
  let s3: S3Client;
  before(async () => {
    emulator = await startEmulator();
    s3 = client(emulator, S3Client);
    await s3.send(new CreateBucketCommand({ Bucket: BUCKET }));
    const VersioningConfiguration = { Status: "Enabled" } as const;
    await s3.send(new PutBucketVersioningCommand({ Bucket: BUCKET, VersioningConfiguration }));
  });
  after(async () => {
    await emulator.close();
  });

  const keys = async (prefix: string): Promise<string[]> => {
    const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: prefix }));
    return Contents.map(({ Key = "" }) => Key.slice(prefix.length));
  };
  const content = async (key: string): Promise<Uint8Array> => {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }));
    return (await Body?.transformToByteArray()) ?? new Uint8Array();
  };

  describe("as secondary artifacts", () => {
    let found: FinishedBuild;
    before(async () => {
      const secondary = Object.entries(cases).map(([name, { spec }]) => [name, spec]);
      const buildspec = {
        version: "0.2",
        phases: { build: { commands: tree } },
        artifacts: { files: ["top.txt"], "secondary-artifacts": Object.fromEntries(secondary) as object },
      };
      const artifact: ProjectArtifacts = { type: "S3", location: BUCKET, path: "secondary", packaging: "NONE" };
      found = await runBuildspec(emulator, JSON.stringify(buildspec), {
        artifacts: { ...artifact, path: "primary", name: "main" },
        secondaryArtifacts: Object.keys(cases).map((name) => ({ ...artifact, artifactIdentifier: name })),
      });
    });

    for (const [name, { spec, takes }] of Object.entries(cases)) {
      it(`are those that ${JSON.stringify(spec)} matches [A1.10]`, async () => {
        assert.equal(found.build.buildStatus, "SUCCEEDED", JSON.stringify(found.build.phases));
        assert.deepEqual(await keys(`secondary/${name}/`), takes);
      });
    }

    it("are named by the build, beside the primary ones", async () => {
      assert.deepEqual(await keys("primary/"), ["main/top.txt"]);
      assert.equal(found.build.artifacts?.location, `arn:aws:s3:::${BUCKET}/primary/main`);
      assert.deepEqual(
        found.build.secondaryArtifacts?.map(({ artifactIdentifier }) => artifactIdentifier),
        Object.keys(cases),
      );
    });
  });

  it("go into a zip under a name that the buildspec's shell makes, in a folder of the build's [A1.10]", async () => {
    const buildspec =
      "version: 0.2\nenv: {variables: {STAGE: test}}\nphases:\n  build:\n    commands: [WORD=made, echo x > x.txt]\n" +
      'artifacts:\n  files: [x.txt]\n  name: $STAGE-$WORD-$(cat x.txt)-"q".zip\n';
    const artifacts = {
      type: "S3",
      location: BUCKET,
      path: "/named/",
      namespaceType: "BUILD_ID",
      packaging: "ZIP",
    } as const;
    const projectName = await createProject(emulator, buildspec, { artifacts: { ...artifacts, name: "own" } });
    const own = await runBuild(emulator, { projectName });
    const uuid = own.build.id?.split(":")[1] ?? "";
    assert.deepEqual(await keys(`named/${uuid}/`), ["own"], JSON.stringify(own.build.phases));
    const override = { ...artifacts, path: "overridden", namespaceType: "NONE", overrideArtifactName: true } as const;
    const { build } = await runBuild(emulator, { projectName, artifactsOverride: override });
    assert.deepEqual(await keys("overridden/"), ['test-made-x-"q".zip'], JSON.stringify(build.phases));
    assert.deepEqual(await unzipped(await content('overridden/test-made-x-"q".zip')), { "x.txt": "x\n" });
    assert.match(build.artifacts?.sha256sum ?? "", /^[0-9a-f]{64}$/);
  });

  it("come from several sources, each of the version that is asked for", async () => {
    const put = async (key: string, files: Record<string, string>): Promise<string> => {
      const Body = await zipOf(files);
      return (await s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body }))).VersionId ?? "";
    };
    const buildspec =
      "version: 0.2\nphases:\n  build:\n    commands:\n      - cat own.txt $CODEBUILD_SRC_DIR_tools/tool.txt\n" +
      "      - echo $CODEBUILD_RESOLVED_SOURCE_VERSION $CODEBUILD_SOURCE_VERSION $CODEBUILD_SOURCE_REPO_URL\n";
    const first = await put("app.zip", { "buildspec.yml": buildspec, "own.txt": "one\n" });
    await put("app.zip", { "buildspec.yml": buildspec, "own.txt": "two\n" });
    const tools = await put("tools.zip", { "tool.txt": "old tool\n" });
    await put("tools.zip", { "tool.txt": "new tool\n" });
    const projectName = await createProject(emulator, "", {
      source: { type: "S3", location: `${BUCKET}/app.zip` },
      secondarySources: [{ type: "S3", location: `${BUCKET}/tools.zip`, sourceIdentifier: "tools" }],
    });
    const newest = await runBuild(emulator, { projectName });
    assert.deepEqual(newest.output.slice(0, 2), ["two", "new tool"]);
    const older = await runBuild(emulator, {
      projectName,
      sourceVersion: first,
      secondarySourcesVersionOverride: [{ sourceIdentifier: "tools", sourceVersion: tools }],
    });
    assert.deepEqual(older.output, ["one", "old tool", `${first} ${first} ${BUCKET}/app.zip`]);
    assert.equal(older.build.resolvedSourceVersion, first);
  });

  const upload = async (artifacts: string, serviceRole?: string) => {
    const spec = `version: 0.2\nphases:\n  build:\n    commands: [touch x, 'exit 3']\n${artifacts}`;
    const settings = { artifacts: { type: "S3", location: BUCKET }, ...(serviceRole && { serviceRole }) } as const;
    const { build, lines } = await runBuildspec(emulator, spec, settings);
    const phase = build.phases?.find(({ phaseType }) => phaseType === "UPLOAD_ARTIFACTS");
    return { status: phase?.phaseStatus, contexts: phase?.contexts, build: build.buildStatus, lines };
  };

  it("are uploaded also when BUILD failed, and fail that phase when none matches [A1.11] [A2.3]", async () => {
    const { lines, ...failed } = await upload("artifacts:\n  files: [none.txt]\n");
    assert.ok(lines.some((line) => line.endsWith(" Skipping invalid file path none.txt")));
    assert.deepEqual(failed, {
      status: "FAILED",
      contexts: [{ statusCode: "CLIENT_ERROR", message: "no matching artifact paths found" }],
      build: "FAILED",
    });
    const { contexts } = await upload("artifacts:\n  files: ['*']\n  base-directory: none\n");
    assert.equal(contexts?.[0]?.message, "no matching base directory path found for none");
  });

  it("are not secondary ones alone, but in a build of a pipeline [A1.9]", async () => {
    const spec = `version: 0.2\nphases: {}\nartifacts:\n  secondary-artifacts: {own: {files: ['*']}}\n`;
    const { build } = await runBuildspec(emulator, spec);
    const phase = build.phases?.find(({ phaseType }) => phaseType === "DOWNLOAD_SOURCE");
    const message = "Expected artifacts.files to be present";
    assert.deepEqual(phase?.contexts, [{ statusCode: "YAML_FILE_ERROR", message }]);
  });

  it("are refused by name from a place that the emulator does not see", async () => {
    const { contexts } = await upload("artifacts:\n  files: ['*']\n  base-directory: /etc\n");
    assert.match(contexts?.[0]?.message ?? "", /^NotImplemented: artifacts\.base-directory \/etc/);
  });

  it("are not uploaded by a role that may not write there [E8]", async () => {
    const logs = [{ Effect: "Allow", Action: "logs:*", Resource: "*" }];
    const role = await createRole(emulator, "no-upload", "codebuild.amazonaws.com", logs);
    const { status, contexts } = await upload("artifacts:\n  files: ['*']\n", role);
    assert.equal(status, "FAILED");
    assert.match(contexts?.[0]?.message ?? "", /^AccessDenied: .* is not authorized to perform: s3:PutObject/);
  });
});
