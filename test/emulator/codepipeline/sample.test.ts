import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  CodePipelineClient,
  CreatePipelineCommand,
  GetPipelineStateCommand,
  PutApprovalResultCommand,
  StartPipelineExecutionCommand,
  type ActionState,
  type PipelineDeclaration,
} from "@aws-sdk/client-codepipeline";
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { describeBuild, filesBelow, until } from "../codebuild/support";
import { client } from "../support";
import { actionRuns, executionEnded, pipelineProject, prepare, putSource } from "./support";

const samples = path.join(__dirname, "samples");
const name = "website";

/** A pipeline as people write it, after the samples of the documentation: two sources, two artifacts, an approval. */
describe("The sample pipeline", () => {
  let emulator: Emulator;
  let pipelines: CodePipelineClient;
  let version: string;
  before(async () => {
    emulator = await startEmulator();
    pipelines = client(emulator, CodePipelineClient);
    const role = await prepare(emulator);
    version = await putSource(emulator, "App", filesBelow(path.join(samples, "App")));
    await putSource(emulator, "Config", filesBelow(path.join(samples, "Config")));
    await client(emulator, SecretsManagerClient).send(
      new CreateSecretCommand({ Name: "website/deploy", SecretString: JSON.stringify({ token: "not-for-the-log" }) }),
    );
    await pipelineProject(emulator, "website-build", "buildspec.yml");
    await pipelineProject(emulator, "website-deploy", fs.readFileSync(path.join(samples, "deploy.yml"), "utf8"));
    const text = fs.readFileSync(path.join(samples, "pipeline.json"), "utf8").replace('"ROLE"', JSON.stringify(role));
    await pipelines.send(new CreatePipelineCommand({ pipeline: JSON.parse(text) as PipelineDeclaration }));
  });
  after(async () => {
    await emulator.close();
    assert.deepEqual(emulator.failures, []);
  });

  it("builds, asks, and deploys both artifacts with what the build has said [A1.9] [A1.12] [B1.1] [B2.5] [B3.1] [B3.3]", async () => {
    const id = await endOf(approve);
    assert.deepEqual(await told(id), {
      Settings: ["settings of 1.4.1, by codepipeline/website", "colour=green", "release=1.4.1"],
      Pages: [`pages of ${version}, by codepipeline/website`, "<p>Hello, world!</p>"],
    });
    const [ask] = (await actionRuns(emulator, id, name)).filter(({ actionName }) => actionName === "Ask");
    assert.equal(ask?.input?.resolvedConfiguration?.CustomData, "Release 1.4.1?");
  });

  it("takes what it is started with, by one build after the other [B2.6]", async () => {
    const variables = [{ name: "Audience", value: "you" }];
    const id = await endOf(async () => {
      await pipelines.send(new StartPipelineExecutionCommand({ name, variables }));
      await approve();
    });
    assert.deepEqual((await told(id)).Pages, [`pages of ${version}, by codepipeline/website`, "<p>Hello, you!</p>"]);
  });

  /** The execution that ends next, and has succeeded. */
  const endOf = async (work: () => Promise<unknown>): Promise<string> => {
    const ended = executionEnded(emulator);
    await work();
    const detail = (await ended).detail as Record<string, string>;
    assert.equal(detail.state, "SUCCEEDED", JSON.stringify(await state()));
    return detail["execution-id"] ?? "";
  };

  const state = async (): Promise<(ActionState & { readonly stage: string | undefined })[]> => {
    const { stageStates = [] } = await pipelines.send(new GetPipelineStateCommand({ name }));
    return stageStates.flatMap(({ stageName, actionStates = [] }) =>
      actionStates.map((action) => ({ stage: stageName, ...action })),
    );
  };

  const approve = async (): Promise<void> => {
    const token = await until("the request for an approval", async () => {
      const asked = (await state()).find(({ actionName }) => actionName === "Ask");
      return asked?.latestExecution?.token;
    });
    const result = { summary: "looks good", status: "Approved" } as const;
    const answer = { pipelineName: name, stageName: "Approve", actionName: "Ask", token, result };
    await pipelines.send(new PutApprovalResultCommand(answer));
  };

  /** What the builds of the Deploy stage have printed, by action. */
  const told = async (id: string): Promise<Record<string, readonly string[]>> => {
    const runs = (await actionRuns(emulator, id, name)).filter(({ stageName }) => stageName === "Deploy");
    const outputs = runs.map(async ({ actionName = "", output }) => {
      const found = await describeBuild(emulator, output?.executionResult?.externalExecutionId ?? "");
      assert.doesNotMatch(found.lines.join("\n"), /not-for-the-log/);
      return [actionName, found.output] as const;
    });
    return Object.fromEntries(await Promise.all(outputs));
  };
});
