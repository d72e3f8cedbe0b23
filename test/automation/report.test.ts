import assert from "node:assert/strict";
import { makeReport, type ReportInput } from "../../automation/report/report";
import { markdown } from "../../automation/report/markdown";
import { summaryLines } from "../../automation/report/summary";
import { report as reportSchema } from "../../run/report";

const input: ReportInput = {
  scenario: "bad",
  engine: "elastio",
  startedAt: new Date(0),
  finishedAt: new Date(20_000),
  execution: {
    id: "1b9d6bcd-0000-4000-8000-000000000000",
    status: "Failed",
    stages: [
      {
        name: "Deploy",
        status: "Failed",
        actions: [
          { name: "Deploy", status: "Failed", startedAt: new Date(0), endedAt: new Date(1500), summary: "a | b" },
        ],
      },
    ],
  },
  run: {
    names: [],
    verdict: {
      at: "2026-01-01T00:00:00.000Z",
      build: "guard:1",
      verdict: "healed",
      reason: "the deploy failed",
      rto: { total: 1900, decision: 100, database: 20, instance: 1780 },
      rpo: 4100,
      outage: 2200,
      undone: [
        { table: "public.orders", before: 5, failed: 4, change: "changed" },
        { table: "public.audit", before: null, failed: 0, change: "added" },
        {
          table: "public.products",
          before: 9,
          failed: 9,
          change: "changed",
          rows: { added: 0, removed: 0, changed: 1200 },
        },
      ],
      undoneObjects: ["table public.audit: only in the failed database"],
      notUndone: ["role clerk: it may log in now"],
    },
    protected: [],
    cutOvers: [],
  },
  clientOutage: 2400,
  checks: [
    { name: "rows", held: true, detail: "same: 14 tables" },
    { name: "verdict", held: true, detail: "healed" },
  ],
};

describe("the report", () => {
  it("passes only when there are checks and all of them held", () => {
    assert.equal(makeReport(input).passed, true);
    assert.equal(makeReport({ ...input, checks: [] }).passed, false);
    const [first] = input.checks;
    assert.ok(first);
    assert.equal(makeReport({ ...input, checks: [...input.checks, { ...first, held: false }] }).passed, false);
  });

  it("fits its schema after a trip through JSON, also when there was no run at all", () => {
    for (const each of [input, { ...input, execution: undefined, run: undefined, clientOutage: null }]) {
      const made = makeReport(each);
      assert.deepEqual(reportSchema.parse(JSON.parse(JSON.stringify(made))), made);
    }
  });

  it("ends a drill with ten lines", () => {
    assert.deepEqual(summaryLines(makeReport(input), "/tmp/report"), [
      "rows      same: 14 tables",
      "schema    not judged",
      "files     not judged",
      "instance  not judged",
      "answer    not judged",
      "RTO       1.9 s from detection to green (decision 100 ms, database 20 ms, instance 1.8 s); outage 2.2 s, a client was without an answer for 2.4 s",
      "RPO       4.1 s: age of the snapshot at the failure",
      "undone    public.orders changed (5 rows, then 4), public.audit added (0 rows), public.products 1,200 changed",
      "held      all 2 checks",
      "report    /tmp/report",
    ]);
  });

  it("lists what else was undone, and what was not", () => {
    const text = markdown(makeReport(input));
    assert.match(text, /## Undone besides rows\n\n- table public\.audit: only in the failed database\n/);
    assert.match(text, /## Not undone\n\n- role clerk: it may log in now\n/);
    assert.doesNotMatch(markdown(makeReport({ ...input, run: undefined })), /ndone besides|Not undone/);
  });

  it("names the checks that failed", () => {
    const made = makeReport({ ...input, checks: [{ name: "secrets", held: false, detail: "found: x" }] });
    assert.equal(summaryLines(made, undefined)[8], "FAILED    1 of 1 checks: secrets (found: x)");
    assert.match(markdown(made), /\| secrets \| \*\*NO\*\* \| found: x \|/);
  });

  it("keeps its tables whole when a text holds their separator", () => {
    assert.match(markdown(makeReport(input)), /\| Deploy \| Deploy \| Failed \| 1.5 s \| a \\\| b \|/);
  });
});
