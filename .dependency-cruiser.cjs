"use strict";
/** Imports go only downwards: automation -> components -> run <- jobs; the emulator stands beside them. */
const only = (from, allowed, comment) => ({
  name: `${from.replace(/\W/g, "")}-imports-only-downwards`,
  comment,
  severity: "error",
  from: { path: `^${from}/` },
  to: {
    path: "^(automation|components|demo|emulator|jobs|run|test|examples|scripts|index\\.ts)",
    pathNot: `^(${[from, ...allowed].join("|")})/`,
  },
});

module.exports = {
  forbidden: [
    only("run", [], "run/ is pure knowledge: it imports nothing of the project."),
    only("jobs", ["run"], "The jobs know only the plan and the facts."),
    only("components", ["run"], "Components make the plan; they know neither jobs nor the driver."),
    only("demo", ["run"], "The demo is what is protected; it knows nothing of its protection."),
    only("emulator", [], "The emulator stands where AWS stands: it knows nothing of the project."),
    only(
      "automation",
      ["components", "demo", "emulator", "run"],
      "The driver shares no code with the jobs that it judges.",
    ),
    {
      name: "judge-is-independent",
      comment: "The outside judge shares no code with what it judges.",
      severity: "error",
      from: { path: "^automation/judge/" },
      to: { path: "^(jobs|emulator|components)/" },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "not-to-dev-dependencies",
      comment: "What runs in production is a dependency, not a development one.",
      severity: "error",
      from: { path: "^(automation|components|demo|emulator|jobs|run|index\\.ts)" },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["type-only", "npm"] },
    },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|node_modules/.cache)" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "require", "node", "default"] },
  },
};
