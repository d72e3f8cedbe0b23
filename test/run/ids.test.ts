import { strict as assert } from "node:assert";
import fc from "fast-check";
import { evidenceDatabase, longestIdentifier, runId, stagedDatabase } from "../../run/ids";

const run = runId("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");

describe("names of a run", () => {
  it("carry the run's first eight digits", () => {
    assert.equal(stagedDatabase("shop", run), "shop_staged_1b9d6bcd");
    assert.equal(evidenceDatabase("shop", run), "shop_failed_1b9d6bcd");
  });

  it("never exceed PostgreSQL's longest identifier, in bytes", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 80, unit: "grapheme" }), (database) => {
        assert.ok(Buffer.byteLength(stagedDatabase(database, run)) <= longestIdentifier);
      }),
    );
  });

  it("stay different when two long names differ only in their last character [finding 17]", () => {
    const long = "x".repeat(62);
    assert.notEqual(evidenceDatabase(`${long}a`, run), evidenceDatabase(`${long}b`, run));
  });

  it("are only made from a pipeline execution's id", () => {
    assert.throws(() => runId("latest"), {
      message: '"latest" is not a run id. A run id is the id of a pipeline execution, a UUID in lower case.',
    });
  });
});
