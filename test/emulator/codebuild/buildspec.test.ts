import * as assert from "node:assert/strict";
import { parseBuildspec } from "../../../emulator/services/codebuild/buildspec";

const build = (yaml: string): string => `version: 0.2\nphases:\n  build:\n    commands:\n      - ${yaml}\n`;

describe("A buildspec", () => {
  it("keeps every scalar as it was written", () => {
    const spec = parseBuildspec(`version: 0.2\nenv:\n  variables:\n    A: 1.10\n    B: yes\n    C:\n${tail("true")}`);
    assert.deepEqual(spec.variables, { A: "1.10", B: "yes", C: "" });
    assert.deepEqual(spec.phases.build?.commands, ["true"]);
  });

  it("runs its commands in sh unless it says bash", () => {
    assert.equal(parseBuildspec(build("true")).shell, "sh");
    assert.equal(parseBuildspec(`env:\n  shell: bash\n${build("true")}`).shell, "bash");
  });

  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ["a command that YAML reads as a mapping", build("echo: foo"), /commands\[0\] to be of string type: found subkeys/],
    ["no version", tail("true"), /Expected version to be 0\.2: found nothing/],
    ["another version", `version: 0.1\n${tail("true")}`, /found "0\.1"/],
    ["an unknown phase", "version: 0.2\nphases:\n  deploy:\n    commands: [x]", /Unknown phase deploy/],
    ["an unknown member", `${build("true")}    comands: [x]\n`, /Unknown member phases\.build\.comands/],
    ["a phase without commands", "version: 0.2\nphases:\n  build:\n    finally: [x]", /phases\.build\.commands to be/],
    ["artifacts without files", `${build("x")}artifacts:\n  name: y`, /NotImplemented: buildspec artifacts\.name/],
    ["what is not implemented", `${build("x")}reports:\n  a: b`, /NotImplemented: buildspec reports/],
    ["a retry of the phase", `${build("x")}    on-failure: RETRY-2\n`, /NotImplemented: .*on-failure RETRY-2/],
    ["broken YAML", "version: [0.2", /./],
  ];
  for (const [what, text, message] of wrong) {
    it(`is refused with ${what}`, () => {
      assert.throws(() => parseBuildspec(text), message);
    });
  }
});

function tail(command: string): string {
  return `phases:\n  build:\n    commands:\n      - ${command}\n`;
}
