import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import colours from "picocolors";
import { cut, executionStep, news, render } from "../../automation/view/render";
import { emptyView, endStep, noteStep, startStep, type ViewState } from "../../automation/view/state";

const time = (seconds: number) => new Date(seconds * 1000);

const running: ViewState = {
  ...startStep(
    endStep(startStep(emptyView("Drill bad"), "stack", 0), "stack", "done", "91 resources", 4200),
    executionStep,
    5000,
  ),
  execution: {
    id: "e",
    status: "InProgress",
    stages: [
      {
        name: "Protect",
        status: "Succeeded",
        actions: [{ name: "Protect", status: "Succeeded", startedAt: time(5), endedAt: time(7.5), summary: "" }],
      },
      {
        name: "Deploy",
        status: "InProgress",
        actions: [
          { name: "Deploy", status: "Failed", startedAt: time(8), endedAt: time(9), summary: "" },
          { name: "Guard", status: "InProgress", startedAt: time(8), summary: "" },
        ],
      },
      { name: "After", status: "NotStarted", actions: [{ name: "Tell", status: "NotStarted", summary: "" }] },
    ],
  },
  failure: { action: "Deploy", lines: ["one", "two", "three", "four", "five", "six", "seven"] },
  healing: ["claimed", "fenced"],
};

describe("the live view", () => {
  it("shows stages and actions with state and time, the failing command's last lines, and the healing", () => {
    assert.deepEqual(render(running, 100, 10_000).split("\n"), [
      "Drill bad",
      "  ✓ stack                               4.2 s  91 resources",
      "  ▸ pipeline                            5.0 s",
      "    ✓ Protect",
      "      ✓ Protect                         2.5 s  Succeeded",
      "    ▸ Deploy",
      "      ✗ Deploy                          1.0 s  Failed",
      "      ▸ Guard                           2.0 s  InProgress",
      "    · After",
      "",
      "  Deploy, last lines",
      "    two",
      "    three",
      "    four",
      "    five",
      "    six",
      "    seven",
      "",
      "  Guard",
      "    claimed",
      "    fenced",
    ]);
  });

  it("is never wider than the terminal, and keeps its colours whole", () => {
    const coloured = colours.createColors(true);
    for (const width of [5, 20, 41, 80]) {
      for (const line of render(running, width, 10_000, coloured).split("\n")) {
        assert.ok(stripVTControlCharacters(line).length <= width, `${line} is wider than ${width}`);
      }
    }
    assert.equal(cut(coloured.red("abcdef"), 4), coloured.red("abc…"));
  });

  it("is told line by line where there is no terminal, and nothing twice", () => {
    const started = startStep(emptyView("Drill"), "stack", 0);
    const noted = noteStep(started, "stack", "5 resources");
    const ended = endStep(noted, "stack", "failed", "no space", 1500);
    assert.deepEqual(news(emptyView("Drill"), started), ["stack ..."]);
    assert.deepEqual(news(started, noted), []);
    assert.deepEqual(news(noted, ended), ["stack FAILED (1.5 s): no space"]);
    assert.deepEqual(news(running, running), []);
    assert.deepEqual(news({ ...running, healing: ["claimed"] }, running), ["  Guard: fenced"]);
  });

  it("tells when an action ended while no one looked", () => {
    const lines = news({ ...running, execution: undefined }, running);
    assert.deepEqual(lines, [
      "  Protect/Protect Succeeded (2.5 s)",
      "  Deploy/Deploy Failed (1.0 s)",
      "  Deploy/Guard InProgress",
    ]);
  });
});
