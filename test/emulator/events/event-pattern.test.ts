import assert from "node:assert/strict";
import { eventPattern } from "../../../emulator/services/events/event-pattern";
import { checkTargetInput, targetInput } from "../../../emulator/services/events/input-transformer";

const event = {
  source: "aws.codepipeline",
  "detail-type": "CodePipeline Pipeline Execution State Change",
  resources: ["arn:1", "arn:2"],
  detail: { pipeline: "drill-1", state: "FAILED", version: 3, "execution-id": "e-1", empty: null, text: 'a "b"' },
};

describe("An event pattern", () => {
  const cases: readonly [string, object, boolean][] = [
    ["an exact value", { detail: { state: ["FAILED"] } }, true],
    ["one of several values", { detail: { state: ["STOPPED", "FAILED"] } }, true],
    ["another value", { detail: { state: ["SUCCEEDED"] } }, false],
    ["all members at once", { source: ["aws.codepipeline"], detail: { pipeline: ["other"] } }, false],
    ["a member of a list", { resources: ["arn:2"] }, true],
    ["a missing member", { detail: { stage: ["Deploy"] } }, false],
    ["null", { detail: { empty: [null] } }, true],
    ["a number", { detail: { version: [3] } }, true],
    ["a number given as text", { detail: { version: ["3"] } }, false],
    ["a prefix", { detail: { pipeline: [{ prefix: "drill-" }] } }, true],
    ["another prefix", { detail: { pipeline: [{ prefix: "prod-" }] } }, false],
    ["a suffix", { detail: { pipeline: [{ suffix: "-1" }] } }, true],
    ["equality without case", { detail: { state: [{ "equals-ignore-case": "failed" }] } }, true],
    ["a wildcard", { detail: { pipeline: [{ wildcard: "d*-1" }] } }, true],
    ["anything but others", { detail: { state: [{ "anything-but": ["SUCCEEDED", "STARTED"] }] } }, true],
    ["anything but this", { detail: { state: [{ "anything-but": "FAILED" }] } }, false],
    ["anything but, of a missing member", { detail: { stage: [{ "anything-but": "x" }] } }, false],
    ["anything but a prefix", { detail: { pipeline: [{ "anything-but": { prefix: "drill-" } }] } }, false],
    ["an existing member", { detail: { state: [{ exists: true }] } }, true],
    ["the absence of a member", { detail: { stage: [{ exists: false }] } }, true],
    ["a range", { detail: { version: [{ numeric: [">", 2, "<=", 3] }] } }, true],
    ["another range", { detail: { version: [{ numeric: [">", 3] }] } }, false],
    ["one of alternatives", { $or: [{ source: ["x"] }, { detail: { state: ["FAILED"] } }] }, true],
  ];
  for (const [what, pattern, expected] of cases)
    it(`${expected ? "matches" : "does not match"} ${what}`, () => {
      assert.equal(eventPattern(JSON.stringify(pattern))(event), expected);
    });

  it("that is not understood is refused", () => {
    for (const text of [
      "x",
      "[]",
      "{}",
      '{"a":"b"}',
      '{"a":[]}',
      '{"a":[{"like":"b"}]}',
      '{"a":[{"numeric":["?",1]}]}',
    ])
      assert.throws(() => eventPattern(text), { code: "InvalidEventPatternException" }, text);
  });
});

describe("An input transformer", () => {
  const rule = { name: "r", arn: "arn:rule" };
  const transform = (InputTemplate: string, InputPathsMap: Record<string, string>) =>
    targetInput({ InputTransformer: { InputTemplate, InputPathsMap } }, event, rule, new Date(0));

  it("gives texts their quotes outside of quotes, and none inside", () => {
    const paths = { s: "$.detail.state", v: "$.detail.version", r: "$.resources[1]", t: "$.detail.text" };
    const text = transform('{"state": <s>, "version": <v>, "why": "is <s>: <t>", "r": <r>}', paths);
    assert.deepEqual(JSON.parse(text), { state: "FAILED", version: 3, why: 'is FAILED: a "b"', r: "arn:2" });
  });

  it("knows the rule and the event", () => {
    const text = transform('{"rule": <aws.events.rule-name>, "source": "<aws.events.rule-arn>"}', {});
    assert.deepEqual(JSON.parse(text), { rule: "r", source: "arn:rule" });
  });

  it("leaves nothing for a path that finds nothing", () => {
    assert.equal(transform('{"x": <x>}', { x: "$.detail.none.deeper" }), '{"x": }');
  });

  it("is refused when a placeholder has no path, or with another input beside it", () => {
    const refused = { code: "ValidationException" };
    assert.throws(() => checkTargetInput({ InputTransformer: { InputTemplate: "<x>" } }), refused);
    assert.throws(
      () => checkTargetInput({ InputTransformer: { InputTemplate: "<x>", InputPathsMap: { x: "detail" } } }),
      refused,
    );
    assert.throws(() => checkTargetInput({ Input: "{}", InputPath: "$" }), refused);
    assert.throws(() => checkTargetInput({ Input: "{" }), refused);
  });
});
