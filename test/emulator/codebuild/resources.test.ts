import * as assert from "node:assert/strict";
import type { Properties, ResourceContext } from "../../../emulator/core/definitions";
import type { Emulator } from "../../../emulator/emulator";
import { projectResource } from "../../../emulator/services/codebuild/resources";
import { withEmulator } from "../support";
import { createRole } from "./support";

function resourceContext({ cloud }: Emulator): ResourceContext {
  const principal = { kind: "root", arn: `arn:aws:iam::${cloud.account}:root` } as const;
  return { cloud, principal, send: (command) => cloud.send(principal, command), made: () => undefined };
}

async function projectInputs(emulator: Emulator): Promise<Properties> {
  return {
    name: "guard",
    description: "Guards",
    serviceRole: await createRole(emulator, "guard", "codebuild.amazonaws.com"),
    source: { type: "NO_SOURCE", buildspec: "version: 0.2\nphases: {build: {commands: [a]}}" },
    artifacts: { type: "NO_ARTIFACTS" },
    environment: {
      type: "LINUX_CONTAINER",
      image: "aws/codebuild/standard:7.0",
      computeType: "BUILD_GENERAL1_SMALL",
      imagePullCredentialsType: "CODEBUILD",
      environmentVariables: [{ name: "A", value: "1", type: "PLAINTEXT" }],
    },
    logsConfig: { cloudwatchLogs: { status: "ENABLED", groupName: "/aws/codebuild/guard" } },
    buildTimeout: 60,
    queuedTimeout: 10,
    vpcConfig: { vpcId: "vpc-1", subnets: ["subnet-1"], securityGroupIds: ["sg-1"] },
    tags: { team: "shop" },
  };
}

describe("The resource aws:codebuild/project:Project", () => {
  it("reads back what it was created with, by its ARN", async () => {
    await withEmulator(async (emulator) => {
      const context = resourceContext(emulator);
      const inputs = await projectInputs(emulator);
      const created = await projectResource.create(inputs, context);
      assert.equal(created.id, "arn:aws:codebuild:us-east-1:123456789012:project/guard");
      const read = await projectResource.read(created.id, {}, context);
      assert.deepEqual(read, created);
      for (const [name, value] of Object.entries(inputs)) assert.deepEqual(created.outputs[name], value, name);
    });
  });

  it("is updated in place, and what is not given any more goes away", async () => {
    await withEmulator(async (emulator) => {
      const context = resourceContext(emulator);
      const olds = await projectInputs(emulator);
      const { id } = await projectResource.create(olds, context);
      const { description: _description, vpcConfig: _vpcConfig, tags: _tags, ...rest } = olds;
      const updated = await projectResource.update?.(id, { ...rest, buildTimeout: 99 }, olds, context);
      const read = await projectResource.read(id, {}, context);
      assert.equal(updated?.outputs.buildTimeout, 99);
      assert.equal(read?.outputs.buildTimeout, 99);
      for (const name of ["description", "vpcConfig", "tags"]) assert.equal(read.outputs[name], undefined, name);
    });
  });

  it("is gone after its deletion", async () => {
    await withEmulator(async (emulator) => {
      const context = resourceContext(emulator);
      const { id, outputs } = await projectResource.create(await projectInputs(emulator), context);
      await projectResource.delete(id, outputs, context);
      assert.equal(await projectResource.read(id, outputs, context), undefined);
    });
  });

  it("refuses by name what is not honoured", async () => {
    await withEmulator(async (emulator) => {
      const context = resourceContext(emulator);
      const inputs = await projectInputs(emulator);
      const source = { ...(inputs.source as object), gitCloneDepth: 1 };
      await assert.rejects(projectResource.create({ ...inputs, source }, context), {
        message: "NotImplemented: CreateProject.source.gitCloneDepth",
      });
    });
  });
});
