import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const releases = path.resolve(__dirname, "../../demo/releases");

interface Run {
  readonly status: number | null;
  readonly output: string;
  /** Calls of `aws` and `psql`, in their order. */
  readonly calls: readonly string[];
}

describe("a release's deploy.sh", () => {
  let folder: string;

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "releases-"));
  });
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** Deploys with programs that write down their calls; those that match `failing` fail. */
  function deploy(release: string, failing = "^$"): Run {
    const log = path.join(folder, "calls");
    fs.writeFileSync(log, "");
    const program = `#!/bin/bash
echo "$(basename "$0") $*" >> '${log}'
[ "$1 $2" != "s3 cp" ] || cat > /dev/null
for word in "$@"; do case "$word" in file://*) node -e 'JSON.parse(require("fs").readFileSync(process.argv[1].slice(7)))' "$word" || exit 9 ;; esac; done
if [[ "$(basename "$0") $*" =~ $FAILING ]]; then exit 3; fi
[ "$2" != send-command ] || echo command-1
`;
    for (const name of ["aws", "psql"]) fs.writeFileSync(path.join(folder, name), program, { mode: 0o755 });
    const environment = {
      PATH: `${folder}:${process.env.PATH ?? ""}`,
      TMPDIR: folder,
      FAILING: failing,
      INSTANCE_ID: "i-0123456789abcdef0",
      RELEASE_BUCKET: "releases",
      RUN_ID: "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    };
    const script = path.join(releases, release, "deploy.sh");
    const { status, stdout, stderr } = spawnSync("bash", [script], { env: environment, encoding: "utf8" });
    const calls = fs.readFileSync(log, "utf8").trim().split("\n");
    return { status, output: stdout + stderr, calls: calls.map((call) => call.split(" ").slice(0, 3).join(" ")) };
  }

  it("is the same in both releases", () => {
    const [bad, good] = ["bad", "good"].map((name) => fs.readFileSync(path.join(releases, name, "deploy.sh"), "utf8"));
    assert.equal(bad, good);
  });

  it("migrates, installs the application by SSM, and migrates the rest", () => {
    const { status, calls, output } = deploy("good");
    assert.equal(status, 0, output);
    assert.deepEqual(calls, [
      "psql --no-psqlrc --quiet",
      "aws s3 cp",
      "aws ssm send-command",
      "aws ssm wait",
      "aws ssm get-command-invocation",
      "psql --no-psqlrc --quiet",
    ]);
    assert.match(output, /release 1\.1\.0 is deployed/);
  });

  it("fails with its second migration, after the new application was installed", () => {
    const { status, calls, output } = deploy("bad", "002_tiers");
    assert.equal(status, 3);
    assert.ok(calls.includes("aws ssm send-command"));
    assert.equal(calls.at(-1), "psql --no-psqlrc --quiet");
    assert.doesNotMatch(output, /is deployed/);
  });

  for (const [what, failing] of [
    ["its first migration", "001_"],
    ["the upload of its application", "s3 cp"],
    ["the command on the instance", "ssm wait"],
  ] as const) {
    it(`fails with ${what}, and goes no further`, () => {
      const { status, output } = deploy("good", failing);
      assert.notEqual(status, 0);
      assert.doesNotMatch(output, /002_open_gifts|is deployed/);
    });
  }
});
