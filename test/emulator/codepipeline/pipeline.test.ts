import * as assert from "node:assert/strict";
import { BatchGetBuildsCommand, CodeBuildClient } from "@aws-sdk/client-codebuild";
import {
  CodePipelineClient,
  CreatePipelineCommand,
  GetPipelineExecutionCommand,
  GetPipelineStateCommand,
  ListPipelineExecutionsCommand,
  RetryStageExecutionCommand,
  StartPipelineExecutionCommand,
  StopPipelineExecutionCommand,
  UpdatePipelineCommand,
} from "@aws-sdk/client-codepipeline";
import type { CloudEvent } from "../../../emulator/core/definitions";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { createRole, describeBuild } from "../codebuild/support";
import { client } from "../support";
import {
  actionEvent,
  actionRuns,
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

const pipelineName = "delivery";

describe("A pipeline", () => {
  let emulator: Emulator;
  let pipelines: CodePipelineClient;
  beforeEach(async () => {
    emulator = await startEmulator();
    pipelines = client(emulator, CodePipelineClient);
  });
  afterEach(async () => {
    await emulator.close();
    assert.deepEqual(emulator.failures, []);
  });

  const status = async (id: string): Promise<string | undefined> => {
    const command = new GetPipelineExecutionCommand({ pipelineName, pipelineExecutionId: id });
    return (await pipelines.send(command)).pipelineExecution?.status;
  };

  it("starts an execution when it is created, and moves real files through its builds [B2.1] [B2.4] [B2.7] [B3.1] [B3.4] [A4.4] [B7.2] [B7.3]", async () => {
    const role = await prepare(emulator, { "given.txt": "given\n" });
    await putSource(emulator, "Tools", { "tool.sh": "echo tool" });
    const artifacts = "artifacts:\n  files: [made.txt]\n";
    await pipelineProject(
      emulator,
      "Make",
      "version: 0.2\nenv:\n  exported-variables: [MADE]\nphases:\n  build:\n    commands:\n" +
        `      - cat given.txt > made.txt; sh $CODEBUILD_SRC_DIR_Tools/tool.sh >> made.txt; MADE=$(wc -l < made.txt)\n${artifacts}`,
    );
    await pipelineProject(emulator, "Use", ["cat made.txt; echo $RUN_ID $LINES $CODEBUILD_INITIATOR"]);
    const variables = [
      { name: "RUN_ID", value: "#{codepipeline.PipelineExecutionId}" },
      { name: "LINES", value: "#{Made.MADE}", type: "PLAINTEXT" },
    ];
    const id = await createPipeline(
      emulator,
      declarationOf(role, [], {
        stages: [
          { name: "Source", actions: [sourceAction(), sourceAction("Tools")] },
          { name: "Make", actions: [makeAction()] },
          {
            name: "Use",
            actions: [
              buildAction("Use", {
                inputArtifacts: [{ name: "MadeFiles" }],
                configuration: { ProjectName: "Use", EnvironmentVariables: JSON.stringify(variables) },
              }),
            ],
          },
        ],
      }),
    );
    const runs = await actionRuns(emulator, id);
    assert.deepEqual(
      runs.map((run) => `${run.stageName}/${run.actionName} ${run.status}`),
      ["Source/App Succeeded", "Source/Tools Succeeded", "Make/Make Succeeded", "Use/Use Succeeded"],
      JSON.stringify(runs.map((run) => run.output?.executionResult)),
    );
    assert.equal(await status(id), "Succeeded");
    const use = await describeBuild(emulator, runs[3]?.output?.executionResult?.externalExecutionId ?? "");
    assert.deepEqual(use.output, ["given", "tool", `${id} 2 codepipeline/delivery`]);
    assert.deepEqual(runs[2]?.output?.outputVariables, { MADE: "2" });
    const resolved = runs[3]?.input?.resolvedConfiguration?.EnvironmentVariables ?? "";
    assert.match(resolved, new RegExp(id));
    const location = runs[2]?.output?.outputArtifacts?.[0]?.s3location;
    assert.equal(location?.bucket, ARTIFACTS);
    assert.match(location.key ?? "", /^delivery\/MadeFiles\/[A-Za-z0-9]{7}$/);
    const { pipelineExecution } = await pipelines.send(
      new GetPipelineExecutionCommand({ pipelineName, pipelineExecutionId: id }),
    );
    assert.equal(pipelineExecution?.trigger?.triggerType, "CreatePipeline");
    assert.equal(pipelineExecution.artifactRevisions?.[0]?.name, "App");
  });

  it("lets the stage's other actions go on when one fails, and fails when all have ended [B5.7] [B8.1]", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "Deploy", ["exit 7"]);
    await pipelineProject(emulator, "Guard", ["sleep 0.3; echo guarded"], "BUILD_GENERAL1_MEDIUM");
    const heard: string[] = [];
    emulator.cloud.listen((event) => heard.push(shortEvent(event)));
    const id = await createPipeline(
      emulator,
      declarationOf(role, [{ name: "Deploy", actions: [buildAction("Deploy"), buildAction("Guard")] }]),
    );
    assert.equal(await status(id), "Failed");
    const [, deploy, guard] = await actionRuns(emulator, id);
    assert.equal(deploy?.status, "Failed");
    assert.deepEqual(deploy.output?.executionResult?.errorDetails, {
      code: "JobFailed",
      message:
        "Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, Message: Error while " +
        "executing command: exit 7. Reason: exit status 7",
    });
    assert.equal(guard?.status, "Succeeded");
    assert.deepEqual(
      heard.filter((event) => event !== ""),
      [
        "Pipeline STARTED",
        "Stage Source STARTED",
        "Action App STARTED",
        "Action App SUCCEEDED",
        "Stage Source SUCCEEDED",
        "Stage Deploy STARTED",
        "Action Deploy STARTED",
        "Action Guard STARTED",
        "Action Deploy FAILED",
        "Action Guard SUCCEEDED",
        "Stage Deploy FAILED",
        "Pipeline FAILED",
      ],
    );
  });

  it("fails an action whose build the quota refuses, with the service's message [A5.8]", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "One", ["sleep 0.3"]);
    await pipelineProject(emulator, "Two", ["true"]);
    const id = await createPipeline(
      emulator,
      declarationOf(role, [{ name: "Build", actions: [buildAction("One"), buildAction("Two")] }]),
    );
    const runs = await actionRuns(emulator, id);
    const refused = runs.find(({ actionName }) => actionName === "Two");
    assert.match(
      refused?.output?.executionResult?.errorDetails?.message ?? "",
      /^Error calling startBuild: Cannot have more than 1 builds in queue for the account .*AccountLimitExceededException/,
    );
  });

  it("runs its executions one after the other through each stage [B5.1] [B7.1]", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "Build", ["sleep 0.4"]);
    const first = executionEnded(emulator);
    await pipelines.send(
      new CreatePipelineCommand({
        pipeline: declarationOf(role, [{ name: "Build", actions: [buildAction("Build")] }]),
      }),
    );
    const { pipelineExecutionId = "" } = await pipelines.send(
      new StartPipelineExecutionCommand({ name: pipelineName }),
    );
    const second = executionEnded(emulator, pipelineExecutionId);
    await actionEvent(emulator, "Build", "STARTED");
    await actionEvent(emulator, "App", "SUCCEEDED");
    const state = await pipelines.send(new GetPipelineStateCommand({ name: pipelineName }));
    assert.deepEqual(
      state.stageStates?.[1]?.inboundExecutions?.map((inbound) => inbound.pipelineExecutionId),
      [pipelineExecutionId],
    );
    assert.equal(state.stageStates[1]?.latestExecution?.status, "InProgress");
    await Promise.all([first, second]);
    const { pipelineExecutionSummaries } = await pipelines.send(new ListPipelineExecutionsCommand({ pipelineName }));
    assert.deepEqual(
      pipelineExecutionSummaries?.map((summary) => summary.status),
      ["Succeeded", "Succeeded"],
    );
  });

  it("runs a failed action again while others of its stage are in progress [B5.8]", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "Deploy", [`test "$CODEBUILD_BUILD_NUMBER" -gt 1`]);
    await pipelineProject(emulator, "Guard", ["sleep 1.5"], "BUILD_GENERAL1_MEDIUM");
    const failed = actionEvent(emulator, "Deploy", "FAILED");
    const ended = executionEnded(emulator);
    const created = declarationOf(role, [{ name: "Deploy", actions: [buildAction("Deploy"), buildAction("Guard")] }]);
    await pipelines.send(new CreatePipelineCommand({ pipeline: created }));
    const event = await failed;
    const { "execution-id": pipelineExecutionId = "" } = event.detail as Record<string, string>;
    await pipelines.send(
      new RetryStageExecutionCommand({
        pipelineName,
        stageName: "Deploy",
        pipelineExecutionId,
        retryMode: "FAILED_ACTIONS",
      }),
    );
    await ended;
    assert.equal(await status(pipelineExecutionId), "Succeeded");
    const runs = await actionRuns(emulator, pipelineExecutionId);
    assert.deepEqual(runs.map((run) => `${run.actionName} ${run.status}`).sort(), [
      "App Succeeded",
      "Deploy Failed",
      "Deploy Succeeded",
      "Guard Succeeded",
    ]);
  });

  it("runs a failed stage again, only its failed actions, or all of them [B5.5] [B5.6]", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "Good", ["true"]);
    await pipelineProject(emulator, "Bad", ["exit 1"], "BUILD_GENERAL1_MEDIUM");
    const id = await createPipeline(
      emulator,
      declarationOf(role, [{ name: "Work", actions: [buildAction("Good"), buildAction("Bad")] }]),
    );
    const retry = async (retryMode: "FAILED_ACTIONS" | "ALL_ACTIONS"): Promise<void> => {
      const ended = executionEnded(emulator);
      const input = { pipelineName, stageName: "Work", pipelineExecutionId: id, retryMode };
      await pipelines.send(new RetryStageExecutionCommand(input));
      await ended;
    };
    await retry("FAILED_ACTIONS");
    await retry("ALL_ACTIONS");
    const names = (await actionRuns(emulator, id)).map(({ actionName }) => actionName);
    assert.equal(names.filter((name) => name === "Bad").length, 3);
    assert.equal(names.filter((name) => name === "Good").length, 2);
    await assert.rejects(
      pipelines.send(
        new RetryStageExecutionCommand({
          pipelineName,
          stageName: "Source",
          pipelineExecutionId: id,
          retryMode: "ALL_ACTIONS",
        }),
      ),
      { name: "StageNotRetryableException" },
    );
  });

  it("stops when its actions have ended, or leaves them to themselves [B5.4]", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "Build", ["sleep 0.5"]);
    const pipeline = declarationOf(role, [{ name: "Build", actions: [buildAction("Build")] }]);
    let started = actionEvent(emulator, "Build", "STARTED");
    let ended = executionEnded(emulator);
    await pipelines.send(new CreatePipelineCommand({ pipeline }));
    const { "execution-id": first = "" } = (await started).detail as Record<string, string>;
    await pipelines.send(new StopPipelineExecutionCommand({ pipelineName, pipelineExecutionId: first }));
    assert.equal(await status(first), "Stopping");
    await assert.rejects(
      pipelines.send(new StopPipelineExecutionCommand({ pipelineName, pipelineExecutionId: first })),
      { name: "DuplicatedStopRequestException" },
    );
    await ended;
    assert.equal(await status(first), "Stopped");
    assert.equal((await actionRuns(emulator, first))[1]?.status, "Succeeded");

    started = actionEvent(emulator, "Build", "STARTED");
    await pipelines.send(new StartPipelineExecutionCommand({ name: pipelineName }));
    const { "execution-id": second = "" } = (await started).detail as Record<string, string>;
    ended = executionEnded(emulator);
    const abandon = { pipelineName, pipelineExecutionId: second, abandon: true, reason: "enough" };
    const build = await buildOf(second);
    await pipelines.send(new StopPipelineExecutionCommand(abandon));
    await ended;
    assert.equal(await status(second), "Stopped");
    assert.equal((await actionRuns(emulator, second))[1]?.status, "Abandoned");
    assert.equal(await buildStatus(build), "IN_PROGRESS");
  });

  it("cancels what is running when it is updated, while the builds go on [B5.3]", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "Build", ["sleep 30"]);
    const pipeline = declarationOf(role, [{ name: "Build", actions: [buildAction("Build")] }]);
    const started = actionEvent(emulator, "Build", "STARTED");
    await pipelines.send(new CreatePipelineCommand({ pipeline }));
    const { "execution-id": id = "" } = (await started).detail as Record<string, string>;
    const build = await buildOf(id);
    const ended = executionEnded(emulator);
    const { pipeline: updated } = await pipelines.send(new UpdatePipelineCommand({ pipeline }));
    assert.equal(updated?.version, 2);
    const { state } = (await ended).detail as Record<string, string>;
    assert.equal(state, "CANCELED");
    assert.equal(await status(id), "Cancelled");
    assert.equal(await buildStatus(build), "IN_PROGRESS");
  });

  it("takes the version of the source that it is told to [B2.5]", async () => {
    const role = await prepare(emulator, { "v.txt": "one\n" });
    await pipelineProject(emulator, "Build", ["cat v.txt; echo $CODEBUILD_RESOLVED_SOURCE_VERSION"]);
    const versionTwo = await putSource(emulator, "App", { "v.txt": "two\n" });
    await putSource(emulator, "App", { "v.txt": "three\n" });
    await createPipeline(emulator, declarationOf(role, [{ name: "Build", actions: [buildAction("Build")] }]));
    const ended = executionEnded(emulator);
    const { pipelineExecutionId = "" } = await pipelines.send(
      new StartPipelineExecutionCommand({
        name: pipelineName,
        sourceRevisions: [{ actionName: "App", revisionType: "S3_OBJECT_VERSION_ID", revisionValue: versionTwo }],
      }),
    );
    await ended;
    const [, run] = await actionRuns(emulator, pipelineExecutionId);
    const { output } = await describeBuild(emulator, run?.output?.executionResult?.externalExecutionId ?? "");
    assert.deepEqual(output, ["two", versionTwo]);
  });

  it("fails an action whose variable no action has produced [B2.3]", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "Make", ["true"]);
    await pipelineProject(emulator, "Use", ["true"]);
    const variables = JSON.stringify([{ name: "X", value: "#{Made.MISSING}" }]);
    const use = buildAction("Use", { configuration: { ProjectName: "Use", EnvironmentVariables: variables } });
    const id = await createPipeline(
      emulator,
      declarationOf(role, [
        { name: "Make", actions: [buildAction("Make", { namespace: "Made" })] },
        { name: "Use", actions: [use] },
      ]),
    );
    const run = (await actionRuns(emulator, id)).at(-1);
    assert.equal(run?.status, "Failed");
    assert.match(
      run.output?.executionResult?.errorDetails?.message ?? "",
      /^An action in this pipeline failed because one or more variables could not be resolved: Action name=Use/,
    );
  });

  it("does what its role may do and no more [E7]", async () => {
    await prepare(emulator);
    const role = await createRole(emulator, "poor", "codepipeline.amazonaws.com", [
      { Effect: "Allow", Action: "s3:Get*", Resource: [`arn:aws:s3:::${SOURCES}`, `arn:aws:s3:::${SOURCES}/*`] },
    ]);
    await pipelineProject(emulator, "Build", ["true"]);
    const id = await createPipeline(
      emulator,
      declarationOf(role, [{ name: "Build", actions: [buildAction("Build")] }]),
    );
    const [source] = await actionRuns(emulator, id);
    assert.equal(source?.output?.executionResult?.errorDetails?.code, "PermissionError");
    assert.match(source.output.executionResult.errorDetails.message ?? "", /s3:PutObject/);
  });

  it("ends at once when the emulator closes", async () => {
    const role = await prepare(emulator);
    await pipelineProject(emulator, "Build", ["sleep 30"]);
    const started = actionEvent(emulator, "Build", "STARTED");
    const pipeline = declarationOf(role, [{ name: "Build", actions: [buildAction("Build")] }]);
    await pipelines.send(new CreatePipelineCommand({ pipeline }));
    await started;
    await pipelines.send(new StartPipelineExecutionCommand({ name: pipelineName }));
    await emulator.close();
  });

  async function buildOf(execution: string): Promise<string> {
    for (;;) {
      const run = (await actionRuns(emulator, execution)).at(-1);
      const id = run?.output?.executionResult?.externalExecutionId;
      if (id?.startsWith("Build:")) return id;
    }
  }

  async function buildStatus(id: string): Promise<string | undefined> {
    const { builds } = await client(emulator, CodeBuildClient).send(new BatchGetBuildsCommand({ ids: [id] }));
    return builds?.[0]?.buildStatus;
  }
});

function makeAction() {
  return buildAction("Make", {
    namespace: "Made",
    configuration: { ProjectName: "Make", PrimarySource: "App" },
    inputArtifacts: [{ name: "Tools" }, { name: "App" }],
    outputArtifacts: [{ name: "MadeFiles" }],
  });
}

function shortEvent({ detailType, detail }: CloudEvent): string {
  const [, what] = /^CodePipeline (\w+) Execution/.exec(detailType) ?? [];
  const { stage, action, state } = detail as Record<string, string>;
  const name = what === "Action" ? ` ${action}` : what === "Stage" ? ` ${stage}` : "";
  return what === undefined ? "" : `${what}${name} ${state}`;
}
