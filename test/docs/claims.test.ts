import assert from "node:assert/strict";
import { claimProblems, claimsOf, withProofs } from "./claims";
import { checkPage, page } from "./pages";
import { titlesOf, titlesWithClaims } from "./titles";

const written = page("claims.md");
const titles = titlesWithClaims();

describe("docs/claims.md", () => {
  it("has a test for each of its claims, and no test proves what is not claimed", () => {
    assert.ok(claimsOf(written).length > 100, "the table of claims was not found");
    assert.deepEqual(claimProblems(claimsOf(written), titles), []);
  });

  it("names the tests that prove a claim today", () => {
    checkPage("claims.md", withProofs(written, titles));
  });
});

describe("The check of claims", () => {
  const table = "| A1.1 | One. | API | |\n| A1.2 | Two. | API | old |";
  const proofs = (source: string) => titlesOf("test/emulator/x/y.test.ts", source);

  it("finds ids in titles, in templates and in the tables of loops, and not in comments", () => {
    const source = 'it("does one [A1.1]", f); for (const [a] of [["two [A1.2]", 1]]) it(`${a}`, f); // [A9.9]';
    assert.deepEqual(claimProblems(claimsOf(table), proofs(source)), []);
    const template = proofs("it(`${what} and more [A1.1] [A1.2]`, () => {})");
    assert.deepEqual(
      template.map(({ text, claims }) => [text, claims]),
      [["… and more", ["A1.1", "A1.2"]]],
    );
  });

  it("names a claim without a test, one that is only proven by a skipped test, and a test without a claim", () => {
    const source = 'it.skip("does one [A1.1]", f); describe("what [A1.3]", () => { it("is", f); });';
    assert.deepEqual(claimProblems(claimsOf(table), proofs(source)), [
      "No test proves claim A1.1",
      "No test proves claim A1.2",
      'test/emulator/x/y.test.ts: "what" proves A1.3, which is no claim',
    ]);
  });

  it("writes the last column anew", () => {
    const source = 'it("does | one [A1.1]", f); it("does it again [A1.1]", f);';
    assert.equal(
      withProofs(table, proofs(source)),
      "| A1.1 | One. | API | [x/y](../test/emulator/x/y.test.ts): does \\| one; does it again |\n| A1.2 | Two. | API |  |",
    );
  });
});
