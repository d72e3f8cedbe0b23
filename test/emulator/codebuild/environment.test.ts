import * as assert from "node:assert/strict";
import { parseBuildspec } from "../../../emulator/services/codebuild/buildspec";
import { layeredVariables, parseSecretReference } from "../../../emulator/services/codebuild/environment";

const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf";

describe("A reference to a secret", () => {
  const forms: readonly (readonly [string, object])[] = [
    ["db", { secretId: "db" }],
    ["db:password", { secretId: "db", jsonKey: "password" }],
    ["db:password:AWSPREVIOUS", { secretId: "db", jsonKey: "password", versionStage: "AWSPREVIOUS" }],
    ["db:::0a1b", { secretId: "db", versionId: "0a1b" }],
    ["db::AWSPENDING", { secretId: "db", versionStage: "AWSPENDING" }],
    [arn, { secretId: arn }],
    [`${arn}:password`, { secretId: arn, jsonKey: "password" }],
    [`${arn}:password::0a1b`, { secretId: arn, jsonKey: "password", versionId: "0a1b" }],
  ];
  for (const [text, parsed] of forms) {
    it(`is read from ${text}`, () => {
      assert.deepEqual(parseSecretReference(text), parsed);
    });
  }

  it("is refused with more fields than there are", () => {
    assert.throws(() => parseSecretReference("db:a:b:c:d"), /Invalid secret reference/);
  });
});

describe("The variables of a build", () => {
  it("come from StartBuild before the project, and from the project before the buildspec", () => {
    const spec = parseBuildspec(
      "version: 0.2\nenv:\n  variables: {A: spec, B: spec, C: spec}\n  secrets-manager: {D: db}\nphases: {}",
    );
    const plain = (name: string, value: string) => ({ name, value, type: "PLAINTEXT" as const });
    const project = [plain("B", "project"), plain("C", "project"), plain("D", "project")];
    const found = layeredVariables(spec, project, [plain("C", "start")]);
    const values = Object.fromEntries(found.map(({ name, value, type }) => [name, `${value} ${type}`]));
    assert.deepEqual(values, {
      A: "spec PLAINTEXT",
      B: "project PLAINTEXT",
      C: "start PLAINTEXT",
      D: "project PLAINTEXT",
    });
  });
});
