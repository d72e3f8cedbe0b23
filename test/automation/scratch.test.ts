import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { Scratch } from "../../automation/drill/scratch";
import { waitFor } from "../../automation/wait";

const soon = { deadlineSeconds: 20, pollMilliseconds: 20 };

function alive(pid: number): boolean {
  // A zombie is dead: only its parent has not looked yet.
  try {
    return !/^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

describe("the folder of a drill", () => {
  it("goes away with everything in it", async () => {
    const scratch = await Scratch.make("scratch-test");
    const inner = await scratch.folder("a/b");
    fs.writeFileSync(path.join(inner, "file"), "");
    await scratch.remove();
    assert.equal(fs.existsSync(scratch.directory), false);
  });

  it("goes away with the processes that work in it when the driver is killed", async () => {
    const driver = spawn(
      process.execPath,
      [
        "--require",
        "ts-node/register/transpile-only",
        "--eval",
        `const { Scratch } = require("./automation/drill/scratch");
         const { spawn } = require("node:child_process");
         Scratch.make("scratch-test").then((scratch) => {
           const child = spawn("sleep", ["600"], { cwd: scratch.directory, detached: true, stdio: "ignore" });
           console.log(JSON.stringify({ directory: scratch.directory, pid: child.pid }));
           setInterval(() => undefined, 1000);
         });`,
      ],
      { cwd: path.resolve(__dirname, "../.."), stdio: ["ignore", "pipe", "inherit"] },
    );
    const [line] = await new Promise<Buffer[]>((resolve) =>
      driver.stdout.once("data", (data: Buffer) => resolve([data])),
    );
    const { directory, pid } = JSON.parse(String(line)) as { directory: string; pid: number };
    assert.ok(fs.existsSync(directory) && alive(pid));
    driver.kill("SIGKILL");
    await waitFor(async () => !fs.existsSync(directory) || undefined, { ...soon, what: "the folder to go" });
    await waitFor(async () => !alive(pid) || undefined, { ...soon, what: "the process to end" });
  });
});
