import assert from "node:assert/strict";
import type { NormalizedSchema } from "@smithy/core/schema";
import { EmbeddedCloud } from "../../../emulator/core/cloud";
import { memberSchema } from "../../../emulator/core/shapes";
import { type Emulator, startEmulator } from "../../../emulator/emulator";

/** Whether a dotted path leads to a member of the model, lists and maps being transparent. */
function exists(schema: NormalizedSchema, path: readonly string[]): boolean {
  if (schema.isListSchema() || schema.isMapSchema()) return exists(schema.getValueSchema(), path);
  const [head, ...rest] = path;
  if (head === undefined) return true;
  const member = memberSchema(schema, head);
  return member !== undefined && exists(member, rest);
}

describe("Every service", () => {
  let emulator: Emulator;
  let cloud: EmbeddedCloud;

  before(async () => {
    emulator = await startEmulator();
    assert.ok(emulator.cloud instanceof EmbeddedCloud);
    cloud = emulator.cloud;
  });

  after(() => emulator.close());

  it("has only operations and members that AWS's own model has", () => {
    const wrong = cloud.dispatcher.services.flatMap(({ service, model }) =>
      service.operations.flatMap(({ name, honours }) => {
        const operation = model.operations.get(name);
        if (!operation) return [`${service.signingName}: ${name}`];
        return honours
          .filter((path) => !exists(operation.input, path.split(".")))
          .map((path) => `${service.signingName}: ${name}.${path}`);
      }),
    );
    assert.deepEqual(wrong, []);
  });

  it("describes each operation, resource and function once", () => {
    const names = cloud.dispatcher.services.flatMap(({ service }) => [
      ...service.operations.map(({ name }) => `${service.signingName}: ${name}`),
      ...service.resources.map(({ type }) => type),
      ...service.invokes.map(({ token }) => token),
    ]);
    const twice = names.filter((name, index) => names.indexOf(name) !== index);
    assert.deepEqual(twice, []);
  });

  it("says for each of its resources' inputs that replace where that is documented", () => {
    const silent = cloud.dispatcher.services.flatMap(({ service }) =>
      service.resources.flatMap(({ type, inputs }) =>
        Object.entries(inputs).flatMap(([name, { replaceOn }]) =>
          replaceOn !== undefined && replaceOn.length < 10 ? [`${type}.${name}`] : [],
        ),
      ),
    );
    assert.deepEqual(silent, []);
  });
});
