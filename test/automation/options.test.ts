import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { checkArguments } from "../../automation/drill/options";
import { Refusal } from "../../automation/refusal";

const engine = "elastio" as const;

describe("the options of a drill", () => {
  const refused = [
    { given: { engine, release: "bad", break: "SELECT 1" }, says: /--release and --break are mutually exclusive/ },
    { given: { engine, sabotage: "heal" as const, release: "good" }, says: /--sabotage brings its own release/ },
    { given: { engine, sabotage: "heal" as const, hold: true }, says: /--hold and --sabotage/ },
    { given: { engine, break: "  " }, says: /--break needs SQL/ },
  ];
  for (const { given, says } of refused) {
    it(`are refused with a sentence that says what to do: ${says.source}`, () => {
      assert.throws(
        () => checkArguments(given),
        (error) => error instanceof Refusal && says.test(error.message) && !error.message.includes("\n"),
      );
    });
  }

  it("may name a report's folder that is still to be made, but no file", () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "options-"));
    try {
      checkArguments({ engine, report: path.join(folder, "new", "deep") });
      const file = path.join(folder, "file");
      fs.writeFileSync(file, "");
      assert.throws(() => checkArguments({ engine, report: path.join(file, "below") }), /is a file/);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });
});
