import * as assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { BatchGetBuildsCommand, CodeBuildClient } from "@aws-sdk/client-codebuild";
import {
  CodePipelineClient,
  CodePipelineServiceException,
  CreatePipelineCommand,
  DisableStageTransitionCommand,
  EnableStageTransitionCommand,
  GetPipelineCommand,
  GetPipelineExecutionCommand,
  GetPipelineStateCommand,
  ListActionExecutionsCommand,
  ListPipelineExecutionsCommand,
  PutApprovalResultCommand,
  RetryStageExecutionCommand,
  RollbackStageCommand,
  StartPipelineExecutionCommand,
  StopPipelineExecutionCommand,
  UpdatePipelineCommand,
  type ActionExecution,
  type PipelineDeclaration,
  type StageDeclaration,
} from "@aws-sdk/client-codepipeline";
import { EventBridgeClient, PutRuleCommand, PutTargetsCommand } from "@aws-sdk/client-eventbridge";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { POLL_MS } from "../../../emulator/services/codepipeline/polling";
import { Execution, EXECUTIONS_KEPT, remember, type Pipeline } from "../../../emulator/services/codepipeline/store";
import { createProject, createRole, describeBuild, unzipped, until } from "../codebuild/support";
import { client } from "../support";
import {
  actionRuns,
  approvalAction,
  ARTIFACTS,
  buildAction,
  createPipeline,
  declarationOf,
  executionEnded,
  pipelineProject,
  prepare,
  putSource,
  sourceAction,
  SOURCES,
} from "./support";

const DAY = 24 * 3_600_000;

describe("An execution", () => {
  let emulator: Emulator;
  let pipelines: CodePipelineClient;
  let role: string;
  let count = 0;
  before(async () => {
    emulator = await startEmulator();
    pipelines = client(emulator, CodePipelineClient);
    role = await prepare(emulator);
    const { codebuild } = emulator.cloud.stores;
    codebuild.setQuota("LINUX_CONTAINER", "BUILD_GENERAL1_SMALL", { running: 20, queued: 0 });
    await pipelineProject(emulator, "Good", ["true"]);
    await pipelineProject(emulator, "Bad", ["exit 1"]);
    await pipelineProject(emulator, "Long", ["sleep 60"]);
  });
  after(async () => {
    await emulator.close();
    assert.deepEqual(emulator.failures, []);
  });

  const build = (name: string, project = "Good") => buildAction(name, { configuration: { ProjectName: project } });
  const declared = (stages: StageDeclaration[], rest: Partial<PipelineDeclaration> = {}) =>
    declarationOf(role, stages, { name: `pipeline-${++count}`, ...rest });
  const create = async (pipeline: PipelineDeclaration): Promise<string> => {
    await pipelines.send(new CreatePipelineCommand({ pipeline }));
    return await newest(pipeline.name);
  };
  const newest = async (pipelineName: string | undefined): Promise<string> => {
    const { pipelineExecutionSummaries = [] } = await pipelines.send(
      new ListPipelineExecutionsCommand({ pipelineName }),
    );
    return pipelineExecutionSummaries[0]?.pipelineExecutionId ?? "";
  };
  const start = async (name: string | undefined, rest: object = {}): Promise<string> => {
    const { pipelineExecutionId = "" } = await pipelines.send(new StartPipelineExecutionCommand({ name, ...rest }));
    return pipelineExecutionId;
  };
  /** To its end. */
  const run = async (name: string | undefined, rest: object = {}): Promise<string> => {
    const id = await start(name, rest);
    await until("the execution's end", async () => {
      const { status } = (await execution(name, id)) ?? {};
      return status === "InProgress" ? undefined : status;
    });
    return id;
  };
  const execution = async (pipelineName: string | undefined, id: string) => {
    const command = new GetPipelineExecutionCommand({ pipelineName, pipelineExecutionId: id });
    return (await pipelines.send(command)).pipelineExecution;
  };
  const state = (name: string | undefined) => pipelines.send(new GetPipelineStateCommand({ name }));
  const latest = async (name: string | undefined, action: string): Promise<ActionExecution | undefined> => {
    const { stageStates = [] } = await state(name);
    const actions = stageStates.flatMap(({ actionStates = [] }) => actionStates);
    return actions.find(({ actionName }) => actionName === action)?.latestExecution;
  };
  const waitingToken = (name: string | undefined, action = "Ask"): Promise<string> =>
    until("the approval's request", async () => (await latest(name, action))?.token);
  const answer = (name: string | undefined, token: string, status: "Approved" | "Rejected", rest: object = {}) =>
    pipelines.send(
      new PutApprovalResultCommand({
        pipelineName: name,
        stageName: "Approve",
        actionName: "Ask",
        token,
        result: { status, summary: "as agreed" },
        ...rest,
      }),
    );
  const approve: StageDeclaration = { name: "Approve", actions: [approvalAction("Ask")] };
  const good: StageDeclaration = { name: "Build", actions: [build("Build")] };

  describe("with a manual approval", () => {
    it("waits for it, and goes on when it is given [B1.5]", async () => {
      const stages = [
        {
          name: "Approve",
          actions: [approvalAction("Ask", { configuration: { CustomData: "#{codepipeline.PipelineExecutionId}" } })],
        },
        good,
      ];
      const { name } = declared([]);
      const id = await create(declared(stages, { name }));
      const token = await waitingToken(name);
      const [, asked] = await actionRuns(emulator, id, name);
      assert.equal(asked?.input?.resolvedConfiguration?.CustomData, id);
      assert.equal(asked.output?.executionResult?.externalExecutionId, token);
      const ended = executionEnded(emulator, id);
      const { approvedAt } = await answer(name, token, "Approved");
      assert.ok(approvedAt instanceof Date);
      await ended;
      assert.equal((await execution(name, id))?.status, "Succeeded");
      const { status, summary, lastUpdatedBy, token: none } = (await latest(name, "Ask")) ?? {};
      const root = `arn:aws:iam::${emulator.cloud.account}:root`;
      assert.deepEqual([status, summary, lastUpdatedBy, none], ["Succeeded", "as agreed", root, undefined]);
      await assert.rejects(answer(name, token, "Approved"), { name: "ApprovalAlreadyCompletedException" });
    });

    it("fails when it is rejected, and asks with another token when it is retried", async () => {
      const { name } = declared([]);
      const id = await create(declared([approve, good], { name }));
      const token = await waitingToken(name);
      const ended = executionEnded(emulator, id);
      await answer(name, token, "Rejected");
      await ended;
      assert.equal((await execution(name, id))?.status, "Failed");
      const asked = await latest(name, "Ask");
      assert.deepEqual(
        [asked?.status, asked?.summary, asked?.errorDetails?.code],
        ["Failed", "as agreed", "JobFailed"],
      );
      const retry = {
        pipelineName: name,
        stageName: "Approve",
        pipelineExecutionId: id,
        retryMode: "FAILED_ACTIONS",
      } as const;
      await pipelines.send(new RetryStageExecutionCommand(retry));
      const second = await waitingToken(name);
      assert.notEqual(second, token);
      await assert.rejects(answer(name, token, "Approved"), { name: "InvalidApprovalTokenException" });
      const again = executionEnded(emulator, id);
      await answer(name, second, "Approved");
      await again;
      assert.equal((await execution(name, id))?.status, "Succeeded");
    });

    it("fails when nobody answers in its time: seven days, or what the action says", async () => {
      const minutes: readonly (readonly [number | undefined, number])[] = [
        [undefined, 7 * DAY],
        [5, 5 * 60_000],
      ];
      for (const [timeoutInMinutes, milliseconds] of minutes) {
        const { name } = declared([]);
        const ask = approvalAction("Ask", timeoutInMinutes === undefined ? {} : { timeoutInMinutes });
        const id = await create(declared([{ name: "Approve", actions: [ask] }], { name }));
        const token = await waitingToken(name);
        emulator.cloud.clock.advance(milliseconds - 60_000);
        assert.equal((await execution(name, id))?.status, "InProgress");
        const ended = executionEnded(emulator, id);
        emulator.cloud.clock.advance(60_000);
        await ended;
        assert.equal((await execution(name, id))?.status, "Failed");
        await assert.rejects(answer(name, token, "Approved"), { name: "InvalidApprovalTokenException" });
      }
    });

    it("is approved only by who may, and only where there is something to approve", async () => {
      const { name } = declared([]);
      const id = await create(declared([approve, good], { name }));
      const token = await waitingToken(name);
      const rejected: readonly (readonly [object, string])[] = [
        [{ pipelineName: "none" }, "PipelineNotFoundException"],
        [{ stageName: "None" }, "StageNotFoundException"],
        [{ actionName: "None" }, "ActionNotFoundException"],
        [{ token: "00000000-0000-0000-0000-000000000000" }, "InvalidApprovalTokenException"],
        [{ result: { status: "Approved", summary: "x".repeat(513) } }, "ValidationException"],
      ];
      for (const [input, error] of rejected)
        await assert.rejects(answer(name, token, "Approved", input), { name: error });
      const approver = await createApprover(`${name}/Approve/Other`);
      const denied = approver.send(
        new PutApprovalResultCommand({
          pipelineName: name,
          stageName: "Approve",
          actionName: "Ask",
          token,
          result: { status: "Approved", summary: "" },
        }),
      );
      await assert.rejects(
        denied,
        /not authorized to perform: codepipeline:PutApprovalResult on resource: .*\/Approve\/Ask/,
      );
      const ended = executionEnded(emulator, id);
      await pipelines.send(
        new StopPipelineExecutionCommand({ pipelineName: name, pipelineExecutionId: id, abandon: true }),
      );
      await ended;
      assert.equal((await latest(name, "Ask"))?.status, "Abandoned");
    });

    /** A role that may approve just this. */
    async function createApprover(resource: string): Promise<CodePipelineClient> {
      const Resource = `arn:aws:codepipeline:us-east-1:${emulator.cloud.account}:${resource}`;
      const statement = { Effect: "Allow", Action: "codepipeline:PutApprovalResult", Resource };
      const RoleArn = await createRole(emulator, "approver", "codebuild.amazonaws.com", [statement]);
      const principal = { kind: "assumed-role", arn: `${RoleArn}/x`, roleArn: RoleArn } as const;
      const { accessKeyId, secretAccessKey, sessionToken } = emulator.cloud.issueCredentials(principal, 3600);
      return client(emulator, CodePipelineClient, { accessKeyId, secretAccessKey, sessionToken });
    }
  });

  describe("of a pipeline that polls its source", () => {
    it("starts when the object has another version, and not otherwise", async () => {
      const version = await putSource(emulator, "Polled", { a: "1" });
      const polled = { ...sourceAction("Polled"), configuration: { S3Bucket: SOURCES, S3ObjectKey: "Polled.zip" } };
      const take = buildAction("Build", {
        configuration: { ProjectName: "Good" },
        inputArtifacts: [{ name: "Polled" }],
      });
      const { name } = declared([]);
      const stages = [
        { name: "Source", actions: [polled] },
        { name: "Build", actions: [take] },
      ];
      const first = await createPipeline(emulator, declared([], { name, stages }));
      await polls(name);
      assert.equal(await newest(name), first);
      const changed = await putSource(emulator, "Polled", { a: "2" });
      const ended = executionEnded(emulator);
      emulator.cloud.clock.advance(POLL_MS);
      const { "execution-id": second = "" } = (await ended).detail as Record<string, string>;
      const found = await execution(name, second);
      assert.deepEqual(found?.trigger, { triggerType: "PollForSourceChanges" });
      assert.equal(found.artifactRevisions?.[0]?.revisionId, changed);
      assert.notEqual(changed, version);
      // Somebody else was faster: the change is taken already.
      await putSource(emulator, "Polled", { a: "3" });
      const third = await run(name);
      await polls(name);
      assert.equal(await newest(name), third);
    });

    it("does not start any more when polling has been switched off", async () => {
      await putSource(emulator, "Silent", { a: "1" });
      const configuration = { S3Bucket: SOURCES, S3ObjectKey: "Silent.zip" };
      const polled = { ...sourceAction("Silent"), configuration };
      const take = buildAction("Build", {
        configuration: { ProjectName: "Good" },
        inputArtifacts: [{ name: "Silent" }],
      });
      const next = { name: "Build", actions: [take] };
      const pipeline = declared([], { stages: [{ name: "Source", actions: [polled] }, next] });
      const first = await createPipeline(emulator, pipeline);
      const quiet = { ...polled, configuration: { ...configuration, PollForSourceChanges: "false" } };
      await pipelines.send(
        new UpdatePipelineCommand({ pipeline: { ...pipeline, stages: [{ name: "Source", actions: [quiet] }, next] } }),
      );
      await putSource(emulator, "Silent", { a: "2" });
      emulator.cloud.clock.advance(POLL_MS);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(
        emulator.recorder.calls.filter(
          ({ operation, input }) => operation === "HeadObject" && (input as { Key?: string }).Key === "Silent.zip",
        ).length,
        0,
      );
      assert.equal(await newest(pipeline.name), first);
    });

    /** Lets the pipeline ask once, and waits until it has. */
    async function polls(name: string | undefined): Promise<void> {
      const asked = (): number => emulator.recorder.calls.filter(({ operation }) => operation === "HeadObject").length;
      const before = asked();
      emulator.cloud.clock.advance(POLL_MS);
      await until(`the polling of ${name}`, () => Promise.resolve(asked() > before ? true : undefined));
    }
  });

  it("is superseded by a newer one while it waits, in the mode of that name [B5.10]", async () => {
    const { name } = declared([]);
    const first = await create(declared([approve, good], { name, executionMode: "SUPERSEDED" }));
    const token = await waitingToken(name);
    const second = await start(name);
    const inbound = async (id: string) =>
      await until("the execution before the stage", async () => {
        const { stageStates = [] } = await state(name);
        return stageStates[1]?.inboundExecution?.pipelineExecutionId === id ? true : undefined;
      });
    await inbound(second);
    const superseded = executionEnded(emulator, second);
    const third = await start(name);
    assert.equal(((await superseded).detail as Record<string, string>).state, "SUPERSEDED");
    await inbound(third);
    assert.equal((await execution(name, second))?.status, "Superseded");
    assert.equal((await execution(name, first))?.status, "InProgress");
    await answer(name, token, "Rejected");
    // A failed stage is free for the next one.
    const next = await until("the third one's request", async () => {
      const request = await latest(name, "Ask");
      return request?.token === token ? undefined : request?.token;
    });
    const ended = executionEnded(emulator, third);
    await answer(name, next, "Approved");
    await ended;
    assert.equal((await execution(name, third))?.status, "Succeeded");
    const stage = { pipelineName: name, stageName: "Approve", retryMode: "FAILED_ACTIONS" } as const;
    await assert.rejects(pipelines.send(new RetryStageExecutionCommand({ ...stage, pipelineExecutionId: first })), {
      name: "NotLatestPipelineExecutionException",
    });
  });

  it("leaves a failed stage to the next one [B5.2], and is retried only while it is the latest there [B5.6]", async () => {
    const { name } = declared([]);
    const stages = [{ name: "Work", actions: [build("Bad", "Bad")] }];
    const first = await createPipeline(emulator, declared(stages, { name }));
    const second = await run(name);
    assert.equal((await execution(name, second))?.status, "Failed");
    const retry = (pipelineExecutionId: string, stageName = "Work") =>
      pipelines.send(
        new RetryStageExecutionCommand({
          pipelineName: name,
          stageName,
          pipelineExecutionId,
          retryMode: "FAILED_ACTIONS",
        }),
      );
    await assert.rejects(retry(first), { name: "NotLatestPipelineExecutionException" });
    await assert.rejects(retry(second, "Source"), { name: "StageNotRetryableException" });
    await assert.rejects(retry(second, "None"), { name: "StageNotFoundException" });
    await pipelines.send(new UpdatePipelineCommand({ pipeline: declared(stages, { name }) }));
    await assert.rejects(retry(second), {
      name: "StageNotRetryableException",
      message: /structure of the pipeline has changed/,
    });
  });

  it("is retried after an abandon, while the abandoned build still runs [B5.4] [B5.8]", async () => {
    const { name } = declared([]);
    const id = await create(declared([{ name: "Work", actions: [build("Deploy", "Long"), build("Other")] }], { name }));
    const abandoned = await until("the build", async () => (await latest(name, "Deploy"))?.externalExecutionId);
    await until("the other action's end", async () =>
      (await latest(name, "Other"))?.status === "Succeeded" ? true : undefined,
    );
    const stopped = executionEnded(emulator, id);
    const stop = { pipelineName: name, pipelineExecutionId: id, abandon: true, reason: "too long" };
    await pipelines.send(new StopPipelineExecutionCommand(stop));
    assert.equal(((await stopped).detail as Record<string, string>)["stop-execution-comments"], "too long");
    await assert.rejects(pipelines.send(new StopPipelineExecutionCommand(stop)), {
      name: "PipelineExecutionNotStoppableException",
    });
    await pipelines.send(
      new RetryStageExecutionCommand({
        pipelineName: name,
        stageName: "Work",
        pipelineExecutionId: id,
        retryMode: "FAILED_ACTIONS",
      }),
    );
    const second = await until("the second build", async () => {
      const found = (await latest(name, "Deploy"))?.externalExecutionId;
      return found === abandoned ? undefined : found;
    });
    const { builds = [] } = await client(emulator, CodeBuildClient).send(
      new BatchGetBuildsCommand({ ids: [abandoned, second] }),
    );
    assert.deepEqual(
      builds.map(({ buildStatus }) => buildStatus),
      ["IN_PROGRESS", "IN_PROGRESS"],
    );
    const runs = (await actionRuns(emulator, id, name)).map(({ actionName, status }) => `${actionName} ${status}`);
    assert.deepEqual(runs.sort(), ["App Succeeded", "Deploy Abandoned", "Deploy InProgress", "Other Succeeded"]);
    const over = executionEnded(emulator, id);
    await pipelines.send(new StopPipelineExecutionCommand(stop));
    await over;
  });

  it("runs a stage's actions in groups of ascending runOrder, and none after a failed group [B1.1]", async () => {
    const { name } = declared([]);
    const ordered = (action: string, runOrder: number, project = "Good") => ({ ...build(action, project), runOrder });
    const actions = [ordered("third", 30), ordered("first", 1), ordered("second", 2, "Bad"), ordered("beside", 2)];
    const id = await createPipeline(emulator, declared([{ name: "Work", actions }], { name }));
    const runs = (await actionRuns(emulator, id, name)).slice(1);
    assert.deepEqual(
      runs.map(({ actionName, status }) => `${actionName} ${status}`),
      ["first Succeeded", "second Failed", "beside Succeeded"],
    );
    const [first, second] = runs;
    assert.ok(first?.lastUpdateTime && second?.startTime && first.lastUpdateTime <= second.startTime);
  });

  it("hands several outputs on as secondary artifacts of their names [B3.3] [B3.4]", async () => {
    await pipelineProject(
      emulator,
      "Two",
      "version: 0.2\nphases:\n  build:\n    commands: [echo one > 1.txt, echo two > 2.txt]\nartifacts:\n  files: [none]\n" +
        "  secondary-artifacts:\n    One: {files: [1.txt]}\n    Two: {files: [2.txt]}\n",
    );
    await pipelineProject(emulator, "Join", [
      "cat 2.txt $CODEBUILD_SRC_DIR_One/1.txt",
      "echo $CODEBUILD_SOURCE_VERSION",
    ]);
    const { name } = declared([]);
    const make = { ...build("Make", "Two"), outputArtifacts: [{ name: "One" }, { name: "Two" }] };
    const join = buildAction("Join", {
      inputArtifacts: [{ name: "One" }, { name: "Two" }],
      configuration: { ProjectName: "Join", PrimarySource: "Two" },
    });
    const id = await createPipeline(
      emulator,
      declared(
        [
          { name: "Make", actions: [make] },
          { name: "Join", actions: [join] },
        ],
        { name },
      ),
    );
    const runs = await actionRuns(emulator, id, name);
    const joined = await describeBuild(emulator, runs[2]?.output?.executionResult?.externalExecutionId ?? "");
    const [one, two] = runs[1]?.output?.outputArtifacts ?? [];
    assert.deepEqual(joined.output, ["two", "one", `arn:aws:s3:::${ARTIFACTS}/${two?.s3location?.key}`]);
    assert.equal(joined.build.source?.type, "CODEPIPELINE");
    const Key = one?.s3location?.key;
    const { Body } = await client(emulator, S3Client).send(new GetObjectCommand({ Bucket: ARTIFACTS, Key }));
    assert.deepEqual(await unzipped((await Body?.transformToByteArray()) ?? new Uint8Array()), { "1.txt": "one\n" });
  });

  it("gives its variables, its sources' and its builds' to later actions [B2.1] [B2.5] [B2.6] [B2.7] [B3.2]", async () => {
    await pipelineProject(emulator, "Tell", [`printf '%s\\n' "$VERSION" "$ETAG" "$MADE" "$GIVEN" "$DEFAULT" "$TYPE"`]);
    await pipelineProject(
      emulator,
      "MakeOne",
      "version: 0.2\nenv: {exported-variables: [MADE]}\nphases: {build: {commands: [MADE=by-build]}}\n",
    );
    const { name } = declared([]);
    const variable = (key: string, value: string) => ({ name: key, value });
    const EnvironmentVariables = JSON.stringify([
      variable("VERSION", "#{Src.VersionId}"),
      variable("ETAG", "#{Src.ETag}"),
      variable("MADE", "#{Made.MADE}"),
      variable("GIVEN", "#{variables.given}"),
      { ...variable("DEFAULT", "#{variables.default}-x"), type: "PLAINTEXT" },
    ]);
    const stages = [
      { name: "Source", actions: [{ ...sourceAction(), namespace: "Src" }] },
      {
        name: "Work",
        actions: [
          { ...build("Make", "MakeOne"), namespace: "Made", runOrder: 1 },
          { ...buildAction("Tell", { configuration: { ProjectName: "Tell", EnvironmentVariables } }), runOrder: 2 },
        ],
      },
    ];
    const variables = [{ name: "given" }, { name: "default", defaultValue: "usual" }];
    await createPipeline(emulator, declared([], { name, stages, variables }));
    const missing = { name: "ValidationException", message: /given is required/ };
    await assert.rejects(start(name), missing);
    await assert.rejects(start(name, { variables: [{ name: "none", value: "x" }] }), { name: "ValidationException" });
    await assert.rejects(start(name, { variables: [{ name: "given", value: "x".repeat(1_001) }] }), {
      name: "ValidationException",
    });
    const id = await run(name, { variables: [{ name: "given", value: "by-caller" }] });
    const runs = await actionRuns(emulator, id, name);
    const { VersionId = "", ETag = "" } = runs[0]?.output?.outputVariables ?? {};
    const told = await describeBuild(emulator, runs[2]?.output?.executionResult?.externalExecutionId ?? "");
    assert.deepEqual(told.output, [VersionId, ETag, "by-build", "by-caller", "usual-x", ""]);
    assert.match(VersionId, /.{8}/);
    assert.equal(runs[2]?.input?.configuration?.EnvironmentVariables, EnvironmentVariables);
    assert.ok(runs[2].input.resolvedConfiguration?.EnvironmentVariables?.includes(VersionId));
    assert.deepEqual((await execution(name, id))?.variables, [
      { name: "given", resolvedValue: "by-caller" },
      { name: "default", resolvedValue: "usual" },
    ]);
  });

  it("fails an action whose EnvironmentVariables are no list of variables [B3.2]", async () => {
    for (const wrong of ["no JSON", "{}", '[{"name": "A"}]', '[{"name": "A", "value": "b", "type": "SECRET"}]']) {
      const { name } = declared([]);
      const action = buildAction("Use", { configuration: { ProjectName: "Good", EnvironmentVariables: wrong } });
      const id = await createPipeline(emulator, declared([{ name: "Work", actions: [action] }], { name }));
      const run = (await actionRuns(emulator, id, name)).at(-1);
      assert.equal(run?.output?.executionResult?.errorDetails?.code, "ConfigurationError", wrong);
    }
  });

  it("starts once for one client token [B9.3]", async () => {
    const { name } = declared([]);
    await createPipeline(emulator, declared([good], { name }));
    const [first, second, third] = [
      await start(name, { clientRequestToken: "a" }),
      await start(name, { clientRequestToken: "a" }),
      await start(name),
    ];
    assert.equal(first, second);
    assert.notEqual(first, third);
  });

  it("is listed page by page, newest first, as its actions are", async () => {
    const { name: pipelineName } = declared([]);
    const ids = [await createPipeline(emulator, declared([good], { name: pipelineName }))];
    for (let index = 0; index < 2; index++) {
      ids.unshift(await run(pipelineName));
    }
    const list = (rest: object) => pipelines.send(new ListPipelineExecutionsCommand({ pipelineName, ...rest }));
    const page = await list({ maxResults: 2 });
    const shown = page.pipelineExecutionSummaries?.map(({ pipelineExecutionId }) => pipelineExecutionId);
    assert.deepEqual(shown, ids.slice(0, 2));
    const last = await list({ maxResults: 2, nextToken: page.nextToken });
    assert.deepEqual([last.pipelineExecutionSummaries?.length, last.nextToken], [1, undefined]);
    await assert.rejects(list({ nextToken: "x" }), { name: "InvalidNextTokenException" });
    await assert.rejects(list({ maxResults: 101 }), { name: "ValidationException" });
    const actions = await pipelines.send(new ListActionExecutionsCommand({ pipelineName, maxResults: 5 }));
    const rest = await pipelines.send(new ListActionExecutionsCommand({ pipelineName, nextToken: actions.nextToken }));
    const all = [...(actions.actionExecutionDetails ?? []), ...(rest.actionExecutionDetails ?? [])];
    assert.equal(all.length, 6, JSON.stringify(all.map((x) => [x.pipelineExecutionId, x.actionName, x.startTime])));
    assert.equal(all[0]?.actionName, "Build");
  });

  it("does not happen in a pipeline whose role does not trust CodePipeline by name alone [E6]", async () => {
    const { account } = emulator.cloud;
    const condition = {
      StringEquals: { "aws:SourceAccount": account },
      ArnLike: { "aws:SourceArn": `arn:aws:codepipeline:*:${account}:*` },
    };
    const all = [{ Effect: "Allow", Action: "*", Resource: "*" }];
    const roleArn = await createRole(emulator, "asks-for-source", "codepipeline.amazonaws.com", all, condition);
    await assert.rejects(pipelines.send(new CreatePipelineCommand({ pipeline: declared([good], { roleArn }) })), {
      name: "InvalidStructureException",
      message: `CodePipeline is not authorized to perform AssumeRole on role ${roleArn}`,
    });
  });

  for (const missing of ["codebuild:StartBuild", "codebuild:BatchGetBuilds", "s3:PutObject", "s3:GetObject"]) {
    it(`fails where the pipeline's role lacks ${missing} [E7]`, async () => {
      const roleArn = await createRole(emulator, `without-${missing.replace(":", "-")}`, "codepipeline.amazonaws.com", [
        { Effect: "Allow", Action: "*", Resource: "*" },
        {
          Effect: "Deny",
          Action: [missing, ...(missing === "s3:GetObject" ? ["s3:GetObjectVersion"] : [])],
          Resource: "*",
        },
      ]);
      const { name } = declared([]);
      const id = await createPipeline(emulator, declared([good], { name, roleArn }));
      const run = (await actionRuns(emulator, id, name)).at(-1);
      assert.equal(run?.output?.executionResult?.errorDetails?.code, "PermissionError");
      assert.match(run.output.executionResult.errorDetails.message ?? "", new RegExp(missing));
    });
  }

  it("starts a build when it fails, by a rule that says what the event says [B8.2] [B8.3]", async () => {
    const events = client(emulator, EventBridgeClient);
    await createProject(emulator, 'version: 0.2\nphases: {build: {commands: ["echo $RUN_ID of $PIPELINE: $STATE"]}}', {
      name: "Rescue",
    });
    const { name = "" } = declared([]);
    const EventPattern = JSON.stringify({
      source: ["aws.codepipeline"],
      "detail-type": ["CodePipeline Pipeline Execution State Change"],
      detail: { pipeline: [name], state: ["FAILED", "STOPPED"] },
    });
    await events.send(new PutRuleCommand({ Name: "rescue", EventPattern }));
    const startBuild = { Effect: "Allow", Action: "codebuild:StartBuild", Resource: "*" };
    const RoleArn = await createRole(emulator, "rule", "events.amazonaws.com", [startBuild]);
    const variable = (key: string, from: string) => ({ name: key, type: "PLAINTEXT", value: from });
    const overrides = [variable("RUN_ID", "<x>"), variable("PIPELINE", "<p>"), variable("STATE", "<s>")];
    const InputTransformer = {
      InputPathsMap: { x: "$.detail.execution-id", p: "$.detail.pipeline", s: "$.detail.state" },
      InputTemplate: JSON.stringify({ environmentVariablesOverride: overrides }).replace(/"(<.>)"/g, "$1"),
    };
    const Arn = `arn:aws:codebuild:us-east-1:${emulator.cloud.account}:project/Rescue`;
    await events.send(
      new PutTargetsCommand({ Rule: "rescue", Targets: [{ Id: "build", Arn, RoleArn, InputTransformer }] }),
    );
    emulator.faults.inject({ at: "events.delivery", when: { rule: "rescue" }, effect: { kind: "twice" } });
    const rescues: string[] = [];
    const end = emulator.cloud.listen(({ detailType, detail }) => {
      const found = detail as Record<string, string>;
      const isOver = detailType === "CodeBuild Build State Change" && found["build-status"] !== "IN_PROGRESS";
      if (isOver && found["project-name"] === "Rescue") rescues.push(found["build-id"] ?? "");
    });
    const id = await createPipeline(emulator, declared([{ name: "Work", actions: [build("Bad", "Bad")] }], { name }));
    await until("two builds", () => Promise.resolve(rescues.length >= 2 ? rescues : undefined));
    end();
    assert.equal(new Set(rescues).size, 2);
    for (const rescue of rescues) {
      const { build: found, output } = await describeBuild(emulator, rescue);
      assert.deepEqual(output, [`${id} of ${name}: FAILED`]);
      assert.match(found.initiator ?? "", /^rule\//);
    }
  });

  it("is neither rolled back nor held before a stage: both are refused by name [B5.9]", async () => {
    const pipelineName = "pipeline-1";
    const targetPipelineExecutionId = randomUUID();
    const commands = [
      new RollbackStageCommand({ pipelineName, stageName: "Build", targetPipelineExecutionId }),
      new DisableStageTransitionCommand({ pipelineName, stageName: "Build", transitionType: "Inbound", reason: "no" }),
      new EnableStageTransitionCommand({ pipelineName, stageName: "Build", transitionType: "Inbound" }),
    ];
    for (const command of commands) {
      const operation = `codepipeline: ${command.constructor.name.replace(/Command$/, "")}`;
      await assert.rejects(pipelines.send(command as RollbackStageCommand), refusedByName(operation));
    }
  });

  const rules = [
    { name: "Alarm", ruleTypeId: { category: "Rule", owner: "AWS", provider: "CloudWatchAlarm" } as const },
  ];
  const conditions: readonly Partial<StageDeclaration>[] = [
    { beforeEntry: { conditions: [{ result: "FAIL", rules }] } },
    { onSuccess: { conditions: [{ result: "ROLLBACK", rules }] } },
    { onFailure: { result: "ROLLBACK", conditions: [{ result: "ROLLBACK", rules }] } },
    { onFailure: { result: "RETRY", retryConfiguration: { retryMode: "ALL_ACTIONS" } } },
  ];
  for (const condition of conditions) {
    const [member = "", { result }] = Object.entries(condition)[0] as [string, { readonly result?: string }];
    it(`does not begin with ${[member, result].join(" ").trim()} of a stage, which is refused by name [B6.1]`, async () => {
      const pipeline = declared([{ name: "Build", actions: [build("Build")], ...condition }]);
      const created = pipelines.send(new CreatePipelineCommand({ pipeline }));
      await assert.rejects(created, refusedByName(`CreatePipeline.pipeline.stages.${member}`));
    });
  }

  it("is remembered for a while: a bounded number of finished ones, and all that run", () => {
    const pipeline = { executions: new Map(), tokens: new Map() } as unknown as Pipeline;
    const run = (id: string, status: Execution["status"]): Execution => {
      const made = new Execution(id, pipeline, { version: 1 } as PipelineDeclaration, {}, [], [], new Date());
      made.status = status;
      pipeline.tokens.set(`token-${id}`, made);
      remember(pipeline, made);
      return made;
    };
    run("running", "InProgress");
    for (let index = 0; index <= EXECUTIONS_KEPT; index++) run(String(index), "Failed");
    assert.equal(pipeline.executions.size, EXECUTIONS_KEPT);
    assert.equal(pipeline.tokens.size, EXECUTIONS_KEPT);
    assert.deepEqual([...pipeline.executions.keys()].slice(0, 2), ["running", "2"]);
  });

  it("is of the pipeline's declaration as GetPipeline shows it", async () => {
    const { name } = declared([]);
    await createPipeline(emulator, declared([good], { name }));
    const { pipeline, metadata } = await pipelines.send(new GetPipelineCommand({ name }));
    assert.deepEqual([pipeline?.version, pipeline?.executionMode, pipeline?.pipelineType], [1, "QUEUED", "V2"]);
    assert.equal(metadata?.pipelineArn, `arn:aws:codepipeline:us-east-1:${emulator.cloud.account}:${name}`);
    await assert.rejects(pipelines.send(new GetPipelineCommand({ name: "none" })), {
      name: "PipelineNotFoundException",
    });
  });
});

/** What is answered for what the emulator does not have. */
function refusedByName(what: string) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof CodePipelineServiceException);
    assert.deepEqual(
      [error.name, error.message, error.$metadata.httpStatusCode],
      ["NotImplemented", `NotImplemented: ${what}`, 501],
    );
    return true;
  };
}
