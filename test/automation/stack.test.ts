import assert from "node:assert/strict";
import type { EngineEvent } from "@pulumi/pulumi/automation";
import { UpdateOutcome } from "../../automation/drill/stack";

describe("the end of an update", () => {
  const event = (given: object) => given as EngineEvent;
  const done = (type: string, outputs: object) => event({ resOutputsEvent: { metadata: { type, new: { outputs } } } });
  const summary = event({ summaryEvent: {} });

  it("is the engine's summary, with the outputs of the stack itself", () => {
    const outcome = new UpdateOutcome();
    assert.equal(outcome.hear(done("aws:s3/bucket:Bucket", { bucket: "b" })), undefined);
    assert.equal(outcome.hear(done("pulumi:pulumi:Stack", { pipelineName: "p" })), undefined);
    assert.deepEqual(outcome.hear(summary), { pipelineName: "p" });
  });

  it("is not told by events when there was an error, or no stack", () => {
    const failed = new UpdateOutcome();
    failed.hear(done("pulumi:pulumi:Stack", { pipelineName: "p" }));
    failed.hear(event({ diagnosticEvent: { severity: "error", message: "no" } }));
    assert.equal(failed.hear(summary), undefined);
    assert.equal(new UpdateOutcome().hear(summary), undefined);
  });
});
