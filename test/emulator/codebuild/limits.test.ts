import * as assert from "node:assert/strict";
import {
  BatchGetBuildsCommand,
  BatchGetProjectsCommand,
  CodeBuildClient,
  ListBuildsForProjectCommand,
  StartBuildCommand,
  StopBuildCommand,
  UpdateProjectCommand,
  type Build,
  type CreateProjectCommandInput,
} from "@aws-sdk/client-codebuild";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { BUILDS_KEPT, CodeBuildStore } from "../../../emulator/services/codebuild/store";
import type { BuildRun } from "../../../emulator/services/codebuild/build";
import { client } from "../support";
import { createProject, createRole, describeBuild, endedBuilds, runBuild, runBuildspec } from "./support";

const spec = (...commands: readonly string[]): string =>
  `version: 0.2\nphases:\n  build:\n    commands: ${JSON.stringify(commands)}\n`;
const MINUTE = 60_000;
const environment = {
  type: "LINUX_CONTAINER",
  image: "aws/codebuild/standard:7.0",
  computeType: "BUILD_GENERAL1_SMALL",
} as const;

describe("CodeBuild", () => {
  let emulator: Emulator;
  let codebuild: CodeBuildClient;
  before(async () => {
    emulator = await startEmulator();
    codebuild = client(emulator, CodeBuildClient);
  });
  after(async () => {
    await emulator.close();
    assert.deepEqual(emulator.failures, []);
  });

  const start = async (projectName: string, rest: object = {}): Promise<Build> => {
    const { build = {} } = await codebuild.send(new StartBuildCommand({ projectName, ...rest }));
    return build;
  };
  const stop = async (...builds: readonly Build[]): Promise<void> => {
    for (const { id } of builds) await codebuild.send(new StopBuildCommand({ id }));
  };
  const exceeded = (message: string) => ({ name: "AccountLimitExceededException", message });

  it("runs one build of each compute type at a time, and refuses more as the service does [A5.8]", async () => {
    const project = await createProject(emulator, spec("sleep 60"));
    const first = await start(project);
    const refused = exceeded("Cannot have more than 1 builds in queue for the account");
    await assert.rejects(start(project), refused);
    const other = await start(project, { computeTypeOverride: "BUILD_GENERAL1_MEDIUM" });
    const arm = await start(project, { environmentTypeOverride: "ARM_CONTAINER" });
    await stop(first);
    await stop(await start(project), other, arm);
    const largest = { computeTypeOverride: "BUILD_GENERAL1_2XLARGE" };
    await assert.rejects(start(project, largest), exceeded("Cannot have more than 0 builds in queue for the account"));
  });

  describe("with a queue", () => {
    before(() =>
      emulator.cloud.stores.codebuild.setQuota("LINUX_CONTAINER", "BUILD_GENERAL1_SMALL", { running: 1, queued: 1 }),
    );
    after(() =>
      emulator.cloud.stores.codebuild.setQuota("LINUX_CONTAINER", "BUILD_GENERAL1_SMALL", { running: 1, queued: 0 }),
    );

    it("lets a build wait there for its turn, which its time-out does not count", async () => {
      const project = await createProject(emulator, spec("sleep 60"), {
        timeoutInMinutes: 2_160,
        queuedTimeoutInMinutes: 480,
      });
      const first = await start(project);
      const ended = endedBuilds(emulator);
      const second = await start(project, { buildspecOverride: spec("echo done"), timeoutInMinutesOverride: 5 });
      await assert.rejects(start(project), exceeded("Cannot have more than 2 builds in queue for the account"));
      const { builds: [waiting] = [] } = await codebuild.send(new BatchGetBuildsCommand({ ids: [second.id ?? ""] }));
      assert.equal(waiting?.currentPhase, "QUEUED");
      emulator.cloud.clock.advance(10 * MINUTE);
      await stop(first);
      await ended.wait(second.arn ?? "");
      const { build, output } = await describeBuild(emulator, second.id ?? "");
      assert.equal(build.buildStatus, "SUCCEEDED");
      assert.deepEqual(output, ["done"]);
      const queued = build.phases?.find(({ phaseType }) => phaseType === "QUEUED");
      assert.ok((queued?.durationInSeconds ?? 0) >= 600);
    });

    it("takes it out of there when its time is over, or it is stopped [A5.9]", async () => {
      const project = await createProject(emulator, spec("sleep 60"), { queuedTimeoutInMinutes: 5 });
      const first = await start(project);
      const late = await start(project);
      const ended = endedBuilds(emulator);
      emulator.cloud.clock.advance(5 * MINUTE);
      await ended.wait(late.arn ?? "");
      const stopped = await start(project);
      await stop(stopped, first);
      const { builds = [] } = await codebuild.send(
        new BatchGetBuildsCommand({ ids: [late.id ?? "", stopped.id ?? ""] }),
      );
      const shown = builds.map(({ buildStatus, phases }) =>
        [buildStatus, ...(phases ?? []).map(({ phaseType, phaseStatus }) => `${phaseType} ${phaseStatus}`)].join(", "),
      );
      assert.deepEqual(shown, [
        "TIMED_OUT, SUBMITTED SUCCEEDED, QUEUED TIMED_OUT, COMPLETED undefined",
        "STOPPED, SUBMITTED SUCCEEDED, QUEUED STOPPED, COMPLETED undefined",
      ]);
    });
  });

  it("keeps a project to its own limit, with an error even where the account has a queue [A5.9]", async () => {
    const { codebuild: store } = emulator.cloud.stores;
    store.setQuota("LINUX_CONTAINER", "BUILD_GENERAL1_SMALL", { running: 3, queued: 3 });
    const name = await createProject(emulator, spec("sleep 60"), { concurrentBuildLimit: 2 });
    const builds = [await start(name), await start(name)];
    await assert.rejects(start(name), {
      name: "AccountLimitExceededException",
      message: /^Cannot have more than 2 active/,
    });
    const other = await createProject(emulator, spec("sleep 60"));
    builds.push(await start(other), await start(other));
    const update = (concurrentBuildLimit: number) =>
      codebuild.send(new UpdateProjectCommand({ name, concurrentBuildLimit }));
    await assert.rejects(update(4), {
      name: "InvalidInputException",
      message: "Project-level concurrent build limit cannot exceed the account-level concurrent build limit of 3.",
    });
    const { project } = await update(-1);
    assert.equal(project?.concurrentBuildLimit, undefined);
    builds.push(await start(name));
    await stop(...builds.reverse());
    store.setQuota("LINUX_CONTAINER", "BUILD_GENERAL1_SMALL", { running: 1, queued: 0 });
  });

  it("answers at most 100 builds at once, and names those that it does not find [A5.10]", async () => {
    const project = await createProject(emulator, spec("true"));
    const { build } = await runBuild(emulator, { projectName: project });
    const ids = [build.id ?? "", build.arn ?? "", `${project}:none`];
    const found = await codebuild.send(new BatchGetBuildsCommand({ ids: [...ids, `${project}:none`] }));
    assert.deepEqual(
      found.builds?.map(({ id }) => id),
      [build.id, build.id],
    );
    assert.deepEqual(found.buildsNotFound, [`${project}:none`]);
    const many = Array.from({ length: 101 }, (_, index) => `${project}:${index}`);
    const refused = { name: "InvalidInputException" };
    await assert.rejects(codebuild.send(new BatchGetBuildsCommand({ ids: many })), refused);
    await assert.rejects(codebuild.send(new BatchGetBuildsCommand({ ids: [] })), refused);
    const names = await codebuild.send(new BatchGetProjectsCommand({ names: [project, "none"] }));
    assert.deepEqual([names.projects?.length, names.projectsNotFound], [1, ["none"]]);
    await assert.rejects(codebuild.send(new BatchGetProjectsCommand({ names: many })), refused);
  });

  it("lists a project's builds by the hundred, in either order", async () => {
    const { codebuild: store } = emulator.cloud.stores;
    store.setQuota("LINUX_CONTAINER", "BUILD_GENERAL1_SMALL", { running: 0, queued: 200 });
    const projectName = await createProject(emulator, spec("true"));
    const builds: Build[] = [];
    for (let index = 0; index < 101; index++) builds.push(await start(projectName));
    const ids = builds.map(({ id }) => id);
    const list = (rest: object) => codebuild.send(new ListBuildsForProjectCommand({ projectName, ...rest }));
    const newest = await list({});
    assert.deepEqual(newest.ids, [...ids].reverse().slice(0, 100));
    const rest = await list({ nextToken: newest.nextToken });
    assert.deepEqual([rest.ids, rest.nextToken], [[ids[0]], undefined]);
    assert.deepEqual((await list({ sortOrder: "ASCENDING" })).ids, ids.slice(0, 100));
    await assert.rejects(list({ nextToken: "x" }), { name: "InvalidInputException" });
    await assert.rejects(codebuild.send(new ListBuildsForProjectCommand({ projectName: "none" })), {
      name: "ResourceNotFoundException",
    });
    await stop(...builds);
    store.setQuota("LINUX_CONTAINER", "BUILD_GENERAL1_SMALL", { running: 1, queued: 0 });
  });

  it("starts one build for one idempotency token, for five minutes, and refuses it for another request", async () => {
    const project = await createProject(emulator, spec("sleep 60"));
    const first = await start(project, { idempotencyToken: "once" });
    assert.equal((await start(project, { idempotencyToken: "once" })).id, first.id);
    const other = { idempotencyToken: "once", timeoutInMinutesOverride: 7 };
    await assert.rejects(start(project, other), { name: "InvalidInputException", message: /^Parameter mismatch/ });
    await stop(first);
    emulator.cloud.clock.advance(5 * MINUTE);
    const second = await start(project, other);
    assert.notEqual(second.id, first.id);
    await stop(second);
  });

  it("lets StartBuild override what the project says, for this build alone", async () => {
    const projectName = await createProject(emulator, spec("true"), {
      source: { type: "CODEPIPELINE" },
      artifacts: { type: "CODEPIPELINE" },
    });
    await assert.rejects(start(projectName), {
      name: "InvalidInputException",
      message: /source from CodePipeline only/,
    });
    const serviceRole = await createRole(emulator, "another", "codebuild.amazonaws.com");
    const { build, output } = await runBuild(emulator, {
      projectName,
      sourceTypeOverride: "NO_SOURCE",
      artifactsOverride: { type: "NO_ARTIFACTS" },
      buildspecOverride: spec("echo $CODEBUILD_BUILD_IMAGE"),
      imageOverride: "public.ecr.aws/docker/library/node:22",
      computeTypeOverride: "BUILD_GENERAL1_LARGE",
      timeoutInMinutesOverride: 6,
      queuedTimeoutInMinutesOverride: 7,
      serviceRoleOverride: serviceRole,
      logsConfigOverride: { cloudWatchLogs: { status: "ENABLED", groupName: "/mine", streamName: "builds" } },
    });
    assert.deepEqual(output, ["public.ecr.aws/docker/library/node:22"]);
    assert.equal(build.environment?.computeType, "BUILD_GENERAL1_LARGE");
    assert.deepEqual([build.timeoutInMinutes, build.queuedTimeoutInMinutes], [6, 7]);
    assert.equal(build.serviceRole, serviceRole);
    assert.equal(build.logs?.groupName, "/mine");
    assert.equal(build.logs.streamName, `builds/${build.id?.split(":")[1]}`);
    const { projects: [project] = [] } = await codebuild.send(new BatchGetProjectsCommand({ names: [projectName] }));
    assert.equal(project?.environment?.computeType, "BUILD_GENERAL1_SMALL");
    await assert.rejects(start(projectName, { gitCloneDepthOverride: 1 }), {
      name: "NotImplemented",
      message: /StartBuild\.gitCloneDepthOverride/,
    });
  });

  const wrong: readonly (readonly [string, Partial<CreateProjectCommandInput>, string, RegExp])[] = [
    ["a name of one character [A5.7]", { name: "a" }, "InvalidInputException", /Project name a is invalid/],
    ["a name with a dot [A5.7]", { name: "a.b" }, "InvalidInputException", /Project name a\.b/],
    ["a time-out of 4 minutes [A5.7]", { timeoutInMinutes: 4 }, "InvalidInputException", /4 is not between 5 and 2160/],
    ["a time-out of 2161 minutes [A5.7]", { timeoutInMinutes: 2_161 }, "InvalidInputException", /2161 is not between/],
    [
      "a queue time-out of 481 minutes [A5.7]",
      { queuedTimeoutInMinutes: 481 },
      "InvalidInputException",
      /between 5 and 480/,
    ],
    [
      "a limit of builds beyond the account's",
      { concurrentBuildLimit: 2 },
      "InvalidInputException",
      /account-level concurrent build limit of 1\.$/,
    ],
    ["no buildspec and no source", { source: { type: "NO_SOURCE" } }, "InvalidInputException", /requires a buildspec/],
    [
      "a buildspec of 25,601 characters",
      { source: { type: "NO_SOURCE", buildspec: `#${"x".repeat(25_600)}` } },
      "InvalidInputException",
      /at most 25600/,
    ],
    [
      "a buildspec in S3 [A1.8]",
      { source: { type: "NO_SOURCE", buildspec: "arn:aws:s3:::b/k" } },
      "NotImplemented",
      /buildspec as an ARN/,
    ],
    [
      "a source in GitHub",
      { source: { type: "GITHUB", location: "https://github.com/a/b" } },
      "NotImplemented",
      /source\.type GITHUB/,
    ],
    [
      "a Lambda's environment",
      { environment: { ...environment, type: "LINUX_LAMBDA_CONTAINER" } },
      "NotImplemented",
      /LINUX_LAMBDA_CONTAINER/,
    ],
    [
      "a secondary source without a good identifier",
      { secondarySources: [{ type: "S3", location: "b/k", sourceIdentifier: "a-b" }] },
      "InvalidInputException",
      /identifier of a secondary source: a-b/,
    ],
    [
      "two secondary artifacts of one name",
      {
        secondaryArtifacts: ["x", "x"].map((artifactIdentifier) => ({ type: "S3", location: "b", artifactIdentifier })),
      },
      "InvalidInputException",
      /must be unique/,
    ],
    [
      "a variable twice",
      {
        environment: {
          ...environment,
          environmentVariables: [
            { name: "A", value: "1" },
            { name: "A", value: "2" },
          ],
        },
      },
      "InvalidInputException",
      /Duplicate environment variable names/,
    ],
    [
      "a variable of 4,097 characters",
      { environment: { ...environment, environmentVariables: [{ name: "A", value: "x".repeat(4_097) }] } },
      "InvalidInputException",
      /at most 4096 characters/,
    ],
    ["a cache", { cache: { type: "LOCAL" } }, "NotImplemented", /cache\.type LOCAL/],
  ];
  let sharedRole: Promise<string> | undefined;
  const role = (): Promise<string> => (sharedRole ??= createRole(emulator, "shared", "codebuild.amazonaws.com"));
  for (const [what, settings, name, message] of wrong) {
    it(`refuses a project with ${what}`, async () => {
      await assert.rejects(
        createProject(emulator, spec("true"), { name: "refused", serviceRole: await role(), ...settings }),
        { name, message },
      );
    });
  }

  it("reads the buildspec from the project, or from a path below the source [A1.8]", async () => {
    const { output } = await runBuildspec(emulator, spec("echo inline"));
    assert.deepEqual(output, ["inline"]);
    const { build } = await runBuildspec(emulator, "", { source: { type: "NO_SOURCE", buildspec: "ci/build.yml" } });
    const [context] = build.phases?.find(({ phaseType }) => phaseType === "DOWNLOAD_SOURCE")?.contexts ?? [];
    assert.deepEqual(context, { statusCode: "YAML_FILE_ERROR", message: "YAML file does not exist" });
  });

  it("assumes its role as the project, in the account's name [E5]", async () => {
    const { account } = emulator.cloud;
    const arn = `arn:aws:codebuild:us-east-1:${account}:project/trusted`;
    const trust = (source: string) => ({
      StringEquals: { "aws:SourceAccount": account },
      ArnEquals: { "aws:SourceArn": source },
    });
    const all = [{ Effect: "Allow", Action: "*", Resource: "*" }];
    const right = await createRole(emulator, "right", "codebuild.amazonaws.com", all, trust(arn));
    const { build } = await runBuildspec(emulator, spec("true"), { name: "trusted", serviceRole: right });
    assert.equal(build.buildStatus, "SUCCEEDED");
    const another = await createRole(emulator, "wrong", "codebuild.amazonaws.com", all, trust(`${arn}-not`));
    for (const serviceRole of [another, await createRole(emulator, "ec2", "ec2.amazonaws.com")]) {
      await assert.rejects(createProject(emulator, spec("true"), { name: "refused", serviceRole }), {
        name: "InvalidInputException",
        message: `CodeBuild is not authorized to perform: sts:AssumeRole on ${serviceRole}`,
      });
    }
  });

  it("remembers a bounded number of finished builds, and all that run", () => {
    const store = new CodeBuildStore();
    const run = (index: number, buildComplete: boolean) =>
      ({ id: `p:${index}`, build: { projectName: "p", buildComplete } }) as unknown as BuildRun;
    store.add(run(0, false));
    for (let index = 1; index <= BUILDS_KEPT + 1; index++) store.add(run(index, true));
    const kept = store.buildsOf("p").map(({ id }) => id);
    assert.equal(kept.length, BUILDS_KEPT);
    assert.deepEqual([kept[0], kept[1], kept.at(-1)], ["p:0", "p:3", `p:${BUILDS_KEPT + 1}`]);
  });
});
