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
    ["an unknown phase [A1.1]", "version: 0.2\nphases:\n  deploy:\n    commands: [x]", /Unknown phase deploy/],
    ["an unknown member", `${build("true")}    comands: [x]\n`, /Unknown member phases\.build\.comands/],
    ...(["pre_build", "build", "post_build"] as const).map(
      (phase) =>
        [
          `${phase} without commands [A1.2]`,
          `version: 0.2\nphases:\n  ${phase}:\n    finally: [x]`,
          new RegExp(`phases\\.${phase}\\.commands to be`),
        ] as const,
    ),
    ["artifacts without files [A1.9]", `${build("x")}artifacts:\n  name: y`, /Expected artifacts\.files to be present/],
    [
      "secondary artifacts without files of their own [A1.9]",
      `${build("x")}artifacts:\n  files: [a]\n  secondary-artifacts: {b: {base-directory: c}}`,
      /Expected artifacts\.secondary-artifacts\.b\.files to be present/,
    ],
    [
      "another word for yes",
      `${build("x")}artifacts:\n  files: [a]\n  discard-paths: y`,
      /discard-paths to be yes or no/,
    ],
    ["another shell", `env:\n  shell: zsh\n${build("x")}`, /env\.shell to be bash or \/bin\/sh: found "zsh"/],
    [
      "another word for on-failure",
      `${build("x")}    on-failure: IGNORE\n`,
      /ABORT, CONTINUE or RETRY: found "IGNORE"/,
    ],
    ["runtimes outside of install", `${build("x")}    runtime-versions: {nodejs: 22}\n`, /Unknown member/],
    ["broken YAML", "version: [0.2", /./],
  ];
  it("may have an install phase without commands [A1.2]", () => {
    const spec = parseBuildspec("version: 0.2\nphases: {install: {runtime-versions: {nodejs: 22}}}");
    assert.deepEqual(spec.phases.install?.runtimeVersions, { nodejs: "22" });
  });

  for (const retry of ["RETRY", "RETRY-2", "RETRY-.*timeout.*", "RETRY-2-.*timeout.*"]) {
    it(`is refused by name with on-failure ${retry} [A1.5]`, () => {
      assert.throws(() => parseBuildspec(`${build("x")}    on-failure: ${retry}\n`), {
        name: "BuildspecError",
        message: `NotImplemented: buildspec phases.build.on-failure ${retry}`,
      });
    });
  }

  const lacking: readonly (readonly [string, string])[] = [
    ["run-as", `run-as: root\n${build("x")}`],
    ["phases.build.run-as", `${build("x")}    run-as: root\n`],
    ["proxy", `proxy: {upload-artifacts: yes}\n${build("x")}`],
    ["batch", `batch: {fast-fail: true}\n${build("x")}`],
    ["reports", `${build("x")}reports: {all: {files: ["*"]}}`],
    ["cache", `${build("x")}cache: {paths: [node_modules]}`],
    ["env.git-credential-helper", `env: {git-credential-helper: yes}\n${build("x")}`],
    ["artifacts.enable-symlinks", `${build("x")}artifacts: {files: [a], enable-symlinks: yes}`],
    ["artifacts.s3-prefix", `${build("x")}artifacts: {files: [a], s3-prefix: b}`],
    ["phases.install.runtime-versions.java", "version: 0.2\nphases: {install: {runtime-versions: {java: corretto21}}}"],
  ];
  for (const [member, text] of lacking) {
    it(`is refused by name with ${member} [A1.3]`, () => {
      assert.throws(() => parseBuildspec(text), { message: `NotImplemented: buildspec ${member}` });
    });
  }

  for (const [what, text, message] of wrong) {
    it(`is refused with ${what}`, () => {
      assert.throws(() => parseBuildspec(text), message);
    });
  }
});

function tail(command: string): string {
  return `phases:\n  build:\n    commands:\n      - ${command}\n`;
}
