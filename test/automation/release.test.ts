import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import {
  breakingRelease,
  deployScript,
  findRelease,
  heldRelease,
  packRelease,
  readRelease,
} from "../../automation/drill/release";
import { Refusal } from "../../automation/refusal";

describe("a release", () => {
  let folder: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "release-"));
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  function write(name: string, text: string, mode = 0o644): void {
    const file = path.join(folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text, { mode });
  }

  it("without a deploy.sh is refused by its folder's name", () => {
    write("readme", "");
    assert.throws(
      () => readRelease(folder),
      (error) => error instanceof Refusal && error.message.includes(folder) && error.message.includes(deployScript),
    );
  });

  it("that nobody knows is refused with the names of those that there are", () => {
    fs.mkdirSync(path.join(folder, "good"));
    assert.throws(() => findRelease("god", folder), /there is no release "god".*good/);
    assert.equal(findRelease("good", folder), path.join(folder, "good"));
  });

  it("makes the same zip in whatever order and at whatever time its files were written", async () => {
    write(deployScript, "exit 0\n", 0o755);
    write("app/a.txt", "a");
    write("app/b.txt", "b");
    const first = await packRelease(readRelease(folder));
    const old = new Date(0);
    fs.utimesSync(path.join(folder, "app/a.txt"), old, old);
    const second = await packRelease([...readRelease(folder)].reverse());
    assert.ok(first.equals(second));
    const changed = await packRelease([
      ...readRelease(folder),
      { path: "c", bytes: Buffer.from("c"), executable: false },
    ]);
    assert.ok(!first.equals(changed));
  });

  /** Runs a release's deploy.sh with stand-ins for the programs of its image. */
  function deploy(programs: Record<string, string>): { status: number; output: string } {
    const bin = path.join(folder, "bin");
    fs.mkdirSync(bin);
    for (const [name, text] of Object.entries(programs)) {
      fs.writeFileSync(path.join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    }
    const environment = { PATH: `${bin}:${process.env.PATH}`, RELEASE_BUCKET: "releases", RUN_ID: "run" };
    try {
      const output = execFileSync("bash", ["./deploy.sh"], {
        cwd: folder,
        env: environment,
        encoding: "utf8",
        stdio: "pipe",
      });
      return { status: 0, output };
    } catch (error) {
      const { status, stdout } = error as { status: number; stdout: string };
      return { status, output: stdout };
    }
  }

  it("made from SQL gives psql every statement, and fails also when all of them worked", () => {
    for (const file of breakingRelease("DROP TABLE a; DROP TABLE b;")) write(file.path, file.bytes.toString());
    const { status, output } = deploy({ psql: 'for each; do file=$each; done; cat "$file"' });
    assert.equal(status, 1);
    assert.equal(output, "DROP TABLE a; DROP TABLE b;\n");
  });

  it("that is held waits for its object before it fails with its own status", () => {
    const held = heldRelease([{ path: deployScript, bytes: Buffer.from("echo damage; exit 7\n"), executable: true }]);
    for (const file of held) write(file.path, file.bytes.toString());
    const looked = path.join(folder, "looked");
    const { status, output } = deploy({
      aws: `echo "$@" >> ${looked}; [ "$(wc -l < ${looked})" -ge 2 ]`,
      sleep: "exit 0",
    });
    assert.equal(status, 7);
    assert.match(output, /^damage\nheld: /);
    assert.equal(
      fs.readFileSync(looked, "utf8"),
      "s3api head-object --bucket releases --key deployments/run/go-on\n".repeat(2),
    );
  });

  it("that is held and succeeds does not wait", () => {
    const held = heldRelease([{ path: deployScript, bytes: Buffer.from("exit 0\n"), executable: true }]);
    for (const file of held) write(file.path, file.bytes.toString());
    assert.deepEqual(deploy({ aws: "exit 1" }), { status: 0, output: "" });
  });
});
