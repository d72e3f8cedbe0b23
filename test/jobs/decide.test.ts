import assert from "node:assert/strict";
import { type Observation, type Rules, decide } from "../../jobs/guard/decide";

const minute = 60_000;
const rules: Rules = { deployDeadline: 100 * minute, patience: minute, soakMilliseconds: 5 * minute, tolerance: 1 };
const ok = (started: number) => ({ started, ended: started + 1, ok: true, detail: "HTTP 200" });
const bad = (started: number) => ({ started, ended: started + 1, ok: false, detail: "HTTP 500" });
const running: Observation = {
  now: 10 * minute,
  status: "IN_PROGRESS",
  unknownSince: undefined,
  endedAt: undefined,
  samples: [],
  alarms: [],
  alarmsUnknownSince: undefined,
};
const succeeded: Observation = { ...running, status: "SUCCEEDED", endedAt: 9 * minute, samples: [[ok(9.5 * minute)]] };
const soaked: Observation = { ...succeeded, now: 14 * minute };

/** What is seen, and what follows. */
const table: [string, Observation, "watch" | "healthy" | "failed", RegExp?][] = [
  ["a build that runs is watched", running, "watch"],
  ...["FAILED", "FAULT", "TIMED_OUT", "STOPPED"].map((status): [string, Observation, "failed", RegExp] => [
    `a build that ended as ${status} failed`,
    { ...running, status, endedAt: 9 * minute },
    "failed",
    new RegExp(status),
  ]),
  ["a status that nobody knows is a failure", { ...running, status: "SOMETHING_NEW" }, "failed", /SOMETHING_NEW/],
  ["a build past its deadline failed", { ...running, now: 100 * minute }, "failed", /deadline/],
  ["silence is borne for a while", { ...running, status: undefined, unknownSince: 9.5 * minute }, "watch"],
  ["silence is borne no longer", { ...running, status: undefined, unknownSince: 9 * minute }, "failed", /CodeBuild/],
  [
    "silence past the deadline is a failure",
    { ...running, status: undefined, now: 100 * minute },
    "failed",
    /deadline/,
  ],
  ["an alarm is a failure while the deploy runs", { ...running, alarms: ["errors"] }, "failed", /alarm errors/],
  ["an alarm is a failure while it soaks", { ...succeeded, alarms: ["errors"] }, "failed", /alarm errors/],
  ["silence of the alarms ends as failure", { ...succeeded, alarmsUnknownSince: 8 * minute }, "failed", /CloudWatch/],
  ["a build that succeeded is watched while it soaks", succeeded, "watch"],
  ["a deadline means nothing to a build that succeeded", { ...succeeded, now: 9.2 * minute }, "watch"],
  ["an application that stayed well is healthy", soaked, "healthy"],
  [
    "as many failed probes as are tolerated are healthy",
    { ...soaked, samples: [[bad(9 * minute), ok(10 * minute)]] },
    "healthy",
  ],
  [
    "one more than that is a failure",
    { ...soaked, samples: [[bad(9 * minute), bad(10 * minute), ok(1)]] },
    "failed",
    /HTTP 500/,
  ],
  ["failures of all probes count together", { ...soaked, samples: [[bad(9 * minute)], [bad(9 * minute)]] }, "failed"],
  ["a probe that never answered is waited for", { ...soaked, samples: [[ok(9.5 * minute)], []] }, "watch"],
  ["a probe with only a tolerated failure is waited for", { ...soaked, samples: [[bad(9.5 * minute)]] }, "watch"],
  ["without probes the build alone decides", { ...soaked, samples: [] }, "healthy"],
];

describe("the Guard's decision", () => {
  for (const [name, seen, decision, reason] of table) {
    it(name, () => {
      const answer = decide(seen, rules);
      assert.equal(answer.decision, decision);
      if (reason !== undefined) assert.match("reason" in answer ? answer.reason : "", reason);
    });
  }

  it("dates a failure from the end of the build, not from the look at it", () => {
    const answer = decide({ ...running, status: "FAILED", endedAt: 9 * minute }, rules);
    assert.equal("detectedAt" in answer ? answer.detectedAt : 0, 9 * minute);
  });

  it("never dates a failure into the future, whatever CodeBuild's clock says", () => {
    const answer = decide({ ...running, status: "FAILED", endedAt: 11 * minute }, rules);
    assert.equal("detectedAt" in answer ? answer.detectedAt : 0, running.now);
  });

  it("dates an application's failure from the first probe that failed", () => {
    const answer = decide({ ...soaked, samples: [[bad(9.1 * minute), bad(9.2 * minute)]] }, rules);
    assert.equal("detectedAt" in answer ? answer.detectedAt : 0, 9.1 * minute);
  });
});
