import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { configOf } from "../../components/demo-config";
import { InvalidArgumentsError } from "../../components/errors";
import { runProgram } from "./program";

async function read(values: Record<string, string>) {
  const all = Object.entries(values).map(([key, value]) => [`protected-pipeline:${key}`, value]);
  pulumi.runtime.setAllConfig(Object.fromEntries(all) as Record<string, string>);
  try {
    const { result } = await runProgram(() => {
      try {
        return configOf(new pulumi.Config());
      } catch (error) {
        return error as Error;
      }
    });
    return result;
  } finally {
    pulumi.runtime.setAllConfig({});
  }
}

describe("configuration of the demo", () => {
  it("needs nothing but a decision about writes", async () => {
    assert.deepEqual(await read({ writes: "continue" }), {
      name: "protected-pipeline-test",
      engine: "aws",
      writes: "continue",
    });
  });

  it("reads numbers, lists and objects", async () => {
    const config = await read({
      writes: "freeze",
      engine: "elastio",
      soakSeconds: "90",
      deployOnCreate: "true",
      visitors: '["203.0.113.7/32"]',
      deadlines: '{"healSeconds":900}',
    });
    assert.deepEqual(config, {
      name: "protected-pipeline-test",
      engine: "elastio",
      writes: "freeze",
      deployOnCreate: true,
      soakSeconds: 90,
      deadlines: { healSeconds: 900 },
      visitors: ["203.0.113.7/32"],
    });
  });

  const wrong: [string, Record<string, string>, string][] = [
    [
      "a missing decision about writes",
      {},
      'The configuration "writes" is missing: set it with "pulumi config set protected-pipeline:writes <value>".',
    ],
    [
      "an engine that there is not",
      { writes: "freeze", engine: "tape" },
      'The configuration "engine" is "tape": give aws or elastio.',
    ],
  ];
  for (const [what, values, sentence] of wrong) {
    it(`refuses ${what}`, async () => {
      const error = await read(values);
      assert.ok(error instanceof InvalidArgumentsError);
      assert.equal(error.message, sentence);
    });
  }
});
