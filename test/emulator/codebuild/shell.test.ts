import * as assert from "node:assert/strict";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { runBuildspec, type FinishedBuild } from "./support";

/** What one command does, what a later one prints, and what that is in each shell. */
interface Carried {
  readonly what: string;
  readonly does: string;
  readonly prints: string;
  readonly found: string | { readonly sh: string; readonly bash: string };
}

const persists: readonly Carried[] = [
  { what: "an assignment", does: "plain=1", prints: "$plain", found: "1" },
  { what: "an export", does: "export exported=2", prints: "$exported", found: "2" },
  {
    what: "a variable given to programs",
    does: "given=3",
    prints: `$(sh -c 'echo "$given"')`,
    found: "3",
  },
  { what: "a value of several lines", does: "lines='a\n  b'", prints: '$(echo "$lines" | wc -l)', found: "2" },
  { what: "a value with quotes", does: `quotes="it's \\"so\\""`, prints: "$quotes", found: `it's "so"` },
  { what: "the directory", does: "mkdir -p '/tmp/a b' && cd '/tmp/a b'", prints: "$PWD", found: "/tmp/a b" },
  { what: "the exit status of the last command", does: "true", prints: "$CODEBUILD_LAST_EXIT", found: "0" },
  { what: "a variable that was unset", does: "gone=1; unset gone", prints: "[${gone-}]", found: "[]" },
  { what: "a changed variable of the build's own", does: "GIVEN=changed", prints: "$GIVEN", found: "changed" },
  {
    what: "a read-only variable, which stays read-only in bash alone,",
    does: "readonly fixed=1",
    prints: "$fixed $( (fixed=2) 2>/dev/null && echo writable || echo read-only)",
    found: { sh: "1 writable", bash: "1 read-only" },
  },
];

const doesNotPersist: readonly Carried[] = [
  {
    what: "a function",
    does: "greet() { echo hello; }",
    prints: "$(type greet >/dev/null 2>&1 && echo there || echo gone)",
    found: "gone",
  },
  {
    what: "an alias",
    does: "alias greet='echo hello'",
    prints: "$(alias greet >/dev/null 2>&1 && echo there || echo gone)",
    found: "gone",
  },
  { what: "set -e", does: "set -e", prints: "$(false; echo on)", found: "on" },
  { what: "set -u", does: "set -u", prints: "[$no_such_variable]", found: "[]" },
  { what: "a trap, which fires at once", does: "trap 'echo trapped' EXIT", prints: "$(trap)", found: "" },
  { what: "what a command that exits has set", does: "lost=1; exit 0", prints: "[${lost-}]", found: "[]" },
  {
    what: "the unsetting of a variable of the build's own",
    does: "unset UNSET",
    prints: "$UNSET",
    found: "unset",
  },
];

function buildspec(shell: "sh" | "bash"): string {
  const all = [...persists, ...doesNotPersist];
  const commands = all.flatMap(({ does, prints }, index) => [does, `echo "${index}: ${prints}"`]);
  const rest = [
    "false; echo last line counts",
    "false | true",
    'echo "4: $0" >&2; no-such-program || true',
    'test "$PWD" = "/tmp/a b" && echo the same directory in the next phase',
  ];
  return JSON.stringify({
    version: "0.2",
    env: { shell: shell === "sh" ? "/bin/sh" : "bash", variables: { GIVEN: "given", UNSET: "unset" } },
    phases: {
      install: { commands: ['test "$PWD" = "$CODEBUILD_SRC_DIR" && echo starts in the source folder'] },
      pre_build: { commands },
      build: { commands: rest, finally: ['echo "finally: $plain"; later=from-finally'] },
      post_build: { commands: ["echo later: $later"] },
    },
  });
}

for (const shell of ["sh", "bash"] as const) {
  describe(`The commands of a build in ${shell}`, () => {
    let emulator: Emulator;
    let found: FinishedBuild;
    before(async () => {
      emulator = await startEmulator();
      found = await runBuildspec(emulator, buildspec(shell));
    });
    after(async () => {
      await emulator.close();
    });

    it("all run, each as a shell script of its own [A1.7]", () => {
      assert.equal(found.build.buildStatus, "SUCCEEDED", found.lines.join("\n"));
    });

    for (const [list, verb, claim] of [
      [persists, "carry", "A3.1"],
      [doesNotPersist, "do not carry", "A3.2"],
    ] as const) {
      for (const item of list) {
        it(`${verb} ${item.what} to the next [${claim}]`, () => {
          const number = [...persists, ...doesNotPersist].indexOf(item);
          const line = found.output.find((output) => output.startsWith(`${number}: `));
          const expected = typeof item.found === "string" ? item.found : item.found[shell];
          assert.equal(line, `${number}: ${expected}`);
        });
      }
    }

    it("have their traps fire at their own end [A3.2]", () => {
      assert.ok(found.output.includes("trapped"));
    });

    it("carry over phases, to and from finally too [A3.1] [A3.5]", () => {
      assert.ok(found.output.includes("the same directory in the next phase"));
      assert.ok(found.output.includes("finally: 1"));
      assert.ok(found.output.includes("later: from-finally"));
    });

    it("start in the source folder [A3.6]", () => {
      assert.equal(found.output[0], "starts in the source folder");
    });

    it("have the status of their last line, and pipes that of their last program [A3.3]", () => {
      assert.ok(found.output.includes("last line counts"));
    });

    it("begin on line 4 of their script [A3.4]", () => {
      const line = shell === "sh" ? "4: no-such-program: not found" : "line 4: no-such-program: command not found";
      assert.ok(found.output.includes(`/codebuild/output/tmp/script.sh: ${line}`), found.output.join("\n"));
    });
  });
}
