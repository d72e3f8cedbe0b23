import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { execa } from "execa";

const root = path.resolve(__dirname, "../..");

async function run(...args: string[]) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "command-line-"));
  try {
    const { exitCode, stdout, stderr } = await execa(
      process.execPath,
      [path.join(root, "scripts/run.js"), "automation/main.ts", ...args],
      { reject: false, env: { TMPDIR: folder } },
    );
    return { exitCode, stdout, stderr, left: fs.readdirSync(folder).filter((name) => name !== "v8-compile-cache-0") };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

describe("the command line", () => {
  it("tells its commands and options", async () => {
    const { exitCode, stdout } = await run("drill", "--help");
    assert.equal(exitCode, 0);
    for (const option of ["engine", "release", "break", "data", "report", "keep", "hold", "sabotage"]) {
      assert.ok(stdout.includes(`--${option}`), option);
    }
  });

  const refused: [string, string[], RegExp][] = [
    ["an unknown option", ["drill", "--relaese", "bad"], /unknown option '--relaese'/],
    [
      "an unknown engine",
      ["drill", "--engine", "tape"],
      /argument 'tape' is invalid. Allowed choices are elastio, aws/,
    ],
    ["an option without its value", ["drill", "--data"], /argument missing/],
    ["an argument too many", ["drill", "bad"], /too many arguments/],
    ["an unknown command", ["dril"], /unknown command 'dril'/],
    ["no command", [], /Usage:/],
    ["options that contradict each other", ["drill", "--release", "bad", "--break", "x"], /mutually exclusive/],
    ["a release that is not there", ["drill", "--release", "nowhere"], /there is no release "nowhere"/],
    ["a release without a deploy script", ["drill", "--release", path.join(root, "docs")], /has no deploy.sh: add one/],
    ["an unreadable dump", ["drill", "--data", "/nowhere.dump"], /cannot be read/],
    ["a file that is no dump", ["drill", "--data", path.join(root, "package.json")], /is not a dump/],
    ["a port that is none", ["emulator", "--port", "http"], /give a number from 0 to 65535/],
  ];
  for (const [what, args, says] of refused) {
    it(`refuses ${what} with exit status 2, and leaves nothing behind`, async () => {
      const { exitCode, stderr, left } = await run(...args);
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /^\s+at /m);
      assert.equal(exitCode, 2);
      assert.deepEqual(left, []);
    });
  }

  it("refuses a port in use", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const { exitCode, stderr, left } = await run("emulator", "--port", String(port));
      assert.match(stderr, new RegExp(`^protected-pipeline: port ${port} of 127.0.0.1 is in use: .*$`, "im"));
      assert.equal(exitCode, 2);
      assert.deepEqual(left, []);
    } finally {
      server.close();
    }
  });
});
