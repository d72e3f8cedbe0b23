import * as assert from "node:assert/strict";
import type { Properties, ResourceContext } from "../../../emulator/core/definitions";
import type { Emulator } from "../../../emulator/emulator";
import { pipelineResource } from "../../../emulator/services/codepipeline/resources";
import { withEmulator } from "../support";
import { ARTIFACTS, executionEnded, pipelineProject, prepare, SOURCES } from "./support";

function resourceContext({ cloud }: Emulator): ResourceContext {
  const principal = { kind: "root", arn: `arn:aws:iam::${cloud.account}:root` } as const;
  return { cloud, principal, send: (command) => cloud.send(principal, command), made: () => undefined };
}

async function pipelineInputs(emulator: Emulator): Promise<Properties> {
  const roleArn = await prepare(emulator);
  await pipelineProject(emulator, "Build", ["true"]);
  const source = { name: "App", category: "Source", owner: "AWS", provider: "S3", version: "1", runOrder: 1 };
  const build = { name: "Build", category: "Build", owner: "AWS", provider: "CodeBuild", version: "1", runOrder: 1 };
  return {
    name: "delivery",
    pipelineType: "V2",
    executionMode: "QUEUED",
    roleArn,
    artifactStores: [{ type: "S3", location: ARTIFACTS }],
    stages: [
      {
        name: "Source",
        actions: [
          {
            ...source,
            outputArtifacts: ["App"],
            configuration: { S3Bucket: SOURCES, S3ObjectKey: "App.zip", PollForSourceChanges: "false" },
          },
        ],
      },
      {
        name: "Build",
        actions: [{ ...build, inputArtifacts: ["App"], configuration: { ProjectName: "Build" }, namespace: "Built" }],
      },
    ],
    tags: { team: "shop" },
  };
}

describe("The resource aws:codepipeline/pipeline:Pipeline", () => {
  it("reads back what it was created with, and has started an execution", async () => {
    await withEmulator(async (emulator) => {
      const context = resourceContext(emulator);
      const inputs = await pipelineInputs(emulator);
      const ended = executionEnded(emulator);
      const created = await pipelineResource.create(inputs, context);
      assert.equal((await ended).detail && ((await ended).detail as Record<string, string>).state, "SUCCEEDED");
      assert.equal(created.id, "delivery");
      const read = await pipelineResource.read("delivery", {}, context);
      assert.deepEqual(read, created);
      for (const [name, value] of Object.entries(inputs)) assert.deepEqual(created.outputs[name], value, name);
    });
  });

  it("changes its tags without an update of the pipeline, which would cancel executions", async () => {
    await withEmulator(async (emulator) => {
      const context = resourceContext(emulator);
      const olds = await pipelineInputs(emulator);
      const ended = executionEnded(emulator);
      await pipelineResource.create(olds, context);
      const updated = await pipelineResource.update?.("delivery", { ...olds, tags: { a: "b" } }, olds, context);
      assert.deepEqual(updated?.outputs.tags, { a: "b" });
      const { state } = (await ended).detail as Record<string, string>;
      assert.equal(state, "SUCCEEDED");
    });
  });

  it("is gone after its deletion", async () => {
    await withEmulator(async (emulator) => {
      const context = resourceContext(emulator);
      const { outputs } = await pipelineResource.create(await pipelineInputs(emulator), context);
      await pipelineResource.delete("delivery", outputs, context);
      assert.equal(await pipelineResource.read("delivery", outputs, context), undefined);
    });
  });

  it("refuses by name what is not honoured", async () => {
    await withEmulator(async (emulator) => {
      const inputs = await pipelineInputs(emulator);
      const [source, build] = inputs.stages as object[];
      const stages = [source, { ...build, onFailure: { result: "ROLLBACK" } }];
      await assert.rejects(pipelineResource.create({ ...inputs, stages }, resourceContext(emulator)), {
        message: "NotImplemented: CreatePipeline.pipeline.stages.onFailure",
      });
    });
  });
});
