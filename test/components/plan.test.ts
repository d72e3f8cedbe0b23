import assert from "node:assert/strict";
import * as fc from "fast-check";
import {
  buildTimeouts,
  defaultDeadlines,
  defaultLimits,
  defaultSoak,
  limitsFrom,
  planProblems,
  type PlanSettings,
} from "../../components/plan";

const settings: PlanSettings = {
  deadlines: defaultDeadlines,
  soak: defaultSoak,
  pollSeconds: 5,
  probes: [{ id: "application", intervalSeconds: 5, timeoutSeconds: 5 }],
  targetIds: ["instance", "database"],
  retentionDays: 35,
  limits: defaultLimits,
  healing: "always",
  engine: "aws",
  instances: [{ id: "instance", paths: ["/opt/shop"], freeze: undefined }],
};

describe("plan", () => {
  it("bounds the load on the environment, unless its owner says that it may be unbounded", () => {
    assert.deepEqual(limitsFrom(), defaultLimits);
    assert.deepEqual(limitsFrom({ stageWorkers: 3 }), { ...defaultLimits, stageWorkers: 3 });
    assert.deepEqual(limitsFrom({ maxRate: "unbounded" }), { parallelTargets: 4, stageWorkers: 1 });
  });

  it("has defaults without a problem", () => {
    assert.deepEqual(planProblems(settings), []);
  });

  const wrong: [string, Partial<PlanSettings>, string][] = [
    ["nothing to protect", { targetIds: [] }, "There is nothing to protect: give at least one instance or database."],
    ["an id twice", { targetIds: ["a", "a"] }, 'The target id "a" is given twice: ids are unique.'],
    [
      "an id that is no part of a key",
      { targetIds: ["My Instance"] },
      'The target id "My Instance" cannot be part of an object\'s key: use lower-case letters, digits and hyphens.',
    ],
    [
      "a deadline that is no time",
      { deadlines: { ...defaultDeadlines, healSeconds: 0 }, pollSeconds: -1 },
      "healSeconds is 0: give a positive number of seconds.",
    ],
    [
      "deadlines beyond what CodeBuild gives",
      { deadlines: { ...defaultDeadlines, deploySeconds: 120_000, healSeconds: 20_000 } },
      "The deadlines add up to 2370 minutes for the guard build, and CodeBuild ends a build after 2160: shorten them.",
    ],
    [
      "a poll longer than a deadline",
      { pollSeconds: 700 },
      "pollSeconds is 700, and the shortest deadline 600 seconds: poll more often, or nothing is seen in time.",
    ],
    [
      "a protection that is stale before its deploy",
      { deadlines: { ...defaultDeadlines, freshSeconds: 300 } },
      "admitSeconds (600) exceeds freshSeconds (300): a protection could be stale before its deploy begins.",
    ],
    [
      "a soak without an answer of a probe",
      { soak: { seconds: 5, tolerance: 0 } },
      'The probe "application" answers at most every 10 seconds, and the soak lasts 5: it would end without an answer.',
    ],
    [
      "a bound that is no number of targets",
      { limits: { ...defaultLimits, parallelTargets: 1.5 } },
      "limits.parallelTargets is 1.5: give a whole number from 1 on.",
    ],
    [
      "a rate at which nothing is ever read",
      { limits: { ...defaultLimits, maxRate: 0 } },
      'limits.maxRate is 0: give bytes per second, or "unbounded".',
    ],
    [
      "healing only what has changed where nothing tells that it has",
      { healing: "when-changed", instances: [{ id: "web", paths: [], freeze: undefined }] },
      'The instance "web" has no paths, and healing is "when-changed": nothing would tell that it has changed.',
    ],
    [
      "an instance that would stay frozen beyond its protection",
      { instances: [{ id: "web", paths: [], freeze: { thawSeconds: 3600 } }] },
      'The instance "web" thaws by itself after 3600 seconds: give a positive number below protectSeconds (3600), as ' +
        "short as the application bears.",
    ],
    [
      "a freeze for a backup whose moment nobody tells",
      { engine: "elastio", instances: [{ id: "web", paths: [], freeze: { thawSeconds: 60 } }] },
      'The instance "web" is to be frozen for its backup, and Elastio does not tell at which moment it makes one: use ' +
        'the engine "aws", or no freeze.',
    ],
  ];
  for (const [what, change, sentence] of wrong) {
    it(`refuses ${what}`, () => {
      assert.ok(
        planProblems({ ...settings, ...change }).includes(sentence),
        planProblems({ ...settings, ...change }).join("\n"),
      );
    });
  }

  it("gives every build more time than the deadlines that may pass in it, and the Guard more than the deploy", () => {
    const seconds = fc.integer({ min: 1, max: 40_000 });
    const deadlines = fc.record({
      leaseSeconds: seconds,
      protectSeconds: seconds,
      waitSeconds: seconds,
      admitSeconds: seconds,
      deploySeconds: seconds,
      healSeconds: seconds,
      freshSeconds: seconds,
    });
    fc.assert(
      fc.property(deadlines, fc.integer({ min: 0, max: 40_000 }), (given, soak) => {
        const timeouts = buildTimeouts(given, { seconds: soak, tolerance: 0 });
        assert.ok(Object.values(timeouts).every((minutes) => Number.isInteger(minutes) && minutes >= 5));
        assert.ok(timeouts.protect * 60 > given.leaseSeconds + given.protectSeconds);
        assert.ok(timeouts.wait * 60 > given.waitSeconds);
        assert.ok(timeouts.deploy * 60 > given.admitSeconds + given.deploySeconds);
        assert.ok(timeouts.guard * 60 > timeouts.deploy * 60 + soak + given.healSeconds);
        assert.ok(timeouts.rescue * 60 > given.healSeconds);
      }),
    );
  });
});
