import assert from "node:assert/strict";
import fc from "fast-check";
import { changedMembers, type Difference, differences, type Row } from "../../../automation/operator/diff/merge";

async function* stream(rows: readonly Row[]): AsyncGenerator<Row> {
  const sorted = [...rows].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  for (const row of sorted) yield await Promise.resolve(row);
}

async function found(live: readonly Row[], failed: readonly Row[]): Promise<Difference[]> {
  const all: Difference[] = [];
  for await (const each of differences(stream(live), stream(failed))) all.push(each);
  return all;
}

describe("the difference of two streams of rows", () => {
  const row = (key: string, value = key): Row => ({ key, row: value });

  it("is what only one side has, and what both have otherwise", async () => {
    assert.deepEqual(await found([row("1"), row("2"), row("3", "old")], [row("2"), row("3", "new"), row("4")]), [
      { kind: "live-only", row: "1" },
      { kind: "changed", key: "3", live: "old", failed: "new" },
      { kind: "failed-only", row: "4" },
    ]);
  });

  it("pairs rows that occur more than once as often as both sides have them", async () => {
    assert.deepEqual(await found([row("a"), row("a"), row("b")], [row("a"), row("b"), row("b")]), [
      { kind: "live-only", row: "a" },
      { kind: "failed-only", row: "b" },
    ]);
  });

  it("follows the order of bytes, where that of UTF-16 is another", async () => {
    assert.deepEqual(await found([row("\uffee"), row("\u{1f600}")], [row("\u{1f600}")]), [
      { kind: "live-only", row: "\uffee" },
    ]);
  });

  it("is for any two sets of rows what comparing them all with each other finds", async () => {
    const rows = fc.uniqueArray(
      fc.record({ key: fc.string({ unit: "binary", maxLength: 3 }), row: fc.constantFrom("x", "y") }),
      {
        selector: ({ key }) => key,
      },
    );
    await fc.assert(
      fc.asyncProperty(rows, rows, async (live, failed) => {
        const before = new Map(live.map((each) => [each.key, each.row]));
        const after = new Map(failed.map((each) => [each.key, each.row]));
        const count = (kind: string, all: Difference[]) => all.filter((each) => each.kind === kind).length;
        const all = await found(live, failed);
        assert.equal(count("live-only", all), live.filter(({ key }) => !after.has(key)).length);
        assert.equal(count("failed-only", all), failed.filter(({ key }) => !before.has(key)).length);
        assert.equal(count("changed", all), live.filter(({ key, row: is }) => (after.get(key) ?? is) !== is).length);
      }),
      { numRuns: 200 },
    );
  });

  it("names the members that differ", () => {
    assert.equal(changedMembers('{"id":1,"note":"old","n":2}', '{"id":1,"note":null,"n":2}'), 'note: "old" → null');
    // Beyond what a JavaScript number can tell apart.
    assert.match(changedMembers('{"n":10000000000000000001}', '{"n":10000000000000000002}'), /01} → .*02}/);
  });
});
