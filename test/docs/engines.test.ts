/** docs/engines.md: its example is the engine of the tests, which passes the contract and is type-checked. */
import assert from "node:assert/strict";
import { checkPage, page, textOf } from "./pages";

const example = "test/jobs/engines/memory-engine.ts";

describe("docs/engines.md", () => {
  it("shows the example as it is", () => {
    const head = `\`\`\`ts\n// ${example}\n`;
    const [before, after] = page("engines.md").split(head);
    assert.ok(before !== undefined && after !== undefined, `the page has no block that begins with "// ${example}"`);
    checkPage("engines.md", before + head + textOf(example) + after.slice(after.indexOf("```\n")));
  });

  it("describes every member of the interface", () => {
    const declared = textOf("jobs/engines/engine.ts").split("export interface BackupEngine {")[1] ?? "";
    const members = [...declared.matchAll(/^ {2}(?:readonly )?(\w+)[(:]/gm)].map(([, name = ""]) => name);
    assert.ok(members.length > 10);
    const text = page("engines.md");
    assert.deepEqual(
      members.filter((name) => !text.includes(`\n| \`${name}\` |`)),
      [],
    );
  });
});
