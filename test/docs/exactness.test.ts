import assert from "node:assert/strict";
import { acceptable } from "../../jobs/database/preflight";
import { spaceCodes } from "../../jobs/space";
import { claimProblems, claimsOf, withProofs } from "./claims";
import { checkPage, page } from "./pages";
import { titlesOf, titlesWithClaims } from "./titles";

const ids = /\s*\[finding (\d+)\]/g;
const row = /^\| (\d+) \| (.*) \| (.*) \|(.*)\|$/;
/** A finding that no test proves says why, where others say what is done. */
const unproven = /^\| (\d+) \| .* \| No test: .* \|/gm;

const written = page("exactness.md");
const titles = titlesWithClaims(ids);

describe("docs/exactness.md", () => {
  it("has every finding once, with a test that proves it or a line that says why there is none", () => {
    const findings = claimsOf(written, row);
    const all = Array.from({ length: 46 }, (_, index) => String(index + 1));
    assert.deepEqual(findings, all);
    assert.deepEqual(problems(written, titles), []);
  });

  it("names the tests that prove a finding today", () => {
    checkPage("exactness.md", withProofs(written, titles, row));
  });

  it("says of each code that can be accepted what is so after a healing", () => {
    const listed = [...written.matchAll(/^\| `([a-z-]+)` \| .+ \|$/gm)].map(([, code]) => code);
    assert.deepEqual(listed, [...acceptable, ...spaceCodes].sort());
  });

  it("is found wanting when a finding has neither a test nor a reason, both, or a test proves what is no finding", () => {
    const table = "| 1 | One. | Done. | |\n| 2 | Two. | No test: why. | |\n| 3 | Three. | No test: why. | |";
    const proofs = titlesOf("test/x.test.ts", 'it("a [finding 3]", f); it("b [finding 4]", f);', ids);
    assert.deepEqual(problems(table, proofs), [
      "No test proves claim 1",
      'test/x.test.ts: "b" proves 4, which is no claim',
      "Finding 3 has a test, and a reason why it has none",
    ]);
  });
});

function problems(text: string, proofs: typeof titles): string[] {
  const reasons = [...text.matchAll(unproven)].map(([, id]) => id ?? "");
  const proven = proofs.flatMap(({ claims }) => claims);
  const excused = reasons.map((id) => `No test proves claim ${id}`);
  return [
    ...claimProblems(claimsOf(text, row), proofs).filter((line) => !excused.includes(line)),
    ...reasons
      .filter((id) => proven.includes(id))
      .map((id) => `Finding ${id} has a test, and a reason why it has none`),
  ];
}
