import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { violations } from "../support/aws-models";

const root = join(__dirname, "..", "..");

interface Result {
  readonly passed: boolean;
  readonly calls: number;
  readonly operations: number;
  readonly violations: readonly string[];
}

describe("the inputs of AWS's operations", () => {
  for (const engine of ["elastio", "aws"]) {
    it(`in a whole drill with the engine ${engine} are what AWS's own models accept`, async function () {
      this.timeout(600_000);
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [join(root, "scripts", "run.js"), "test/drill/recorded-drill.ts", engine],
        { cwd: root, maxBuffer: 1 << 24 },
      );
      const result = JSON.parse(stdout) as Result;
      assert.deepEqual(result.violations, []);
      assert.ok(result.passed, "the drill itself did not pass");
      assert.ok(result.calls > 500, `only ${result.calls} calls were recorded`);
      assert.ok(result.operations > 60, `only ${result.operations} operations were called`);
    });
  }

  it("are refused when a required member is missing", () => {
    assert.deepEqual(violations("codepipeline", "StartPipelineExecution", {}), [
      "codepipeline StartPipelineExecution: input lacks the required name",
    ]);
  });

  it("are refused when a member does not match its pattern or length", () => {
    const found = violations("codepipeline", "StartPipelineExecution", { name: "a b".repeat(40) });
    assert.equal(found.length, 2, found.join("; "));
  });

  it("are refused when the model has no such member", () => {
    assert.deepEqual(violations("sts", "GetCallerIdentity", { Verbose: true }), [
      "sts GetCallerIdentity: input has no member Verbose",
    ]);
  });
});
