import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { stripVTControlCharacters } from "node:util";
import { spawn } from "@lydell/node-pty";
import { waitFor } from "../../automation/wait";

const root = path.resolve(__dirname, "../..");
const soon = { deadlineSeconds: 30, pollMilliseconds: 50 };

/** A drill on a terminal of its own, with its own folder for temporary files. */
function startDrill(folder: string) {
  const environment = Object.entries({ ...process.env, TMPDIR: folder, CI: undefined }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  const terminal = spawn(process.execPath, ["scripts/run.js", "automation/main.ts", "drill"], {
    cwd: root,
    cols: 120,
    rows: 50,
    env: Object.fromEntries(environment),
  });
  let shown = "";
  terminal.onData((data) => (shown += data));
  const ended = new Promise<number>((resolve) => terminal.onExit(({ exitCode }) => resolve(exitCode)));
  return { terminal, ended, text: () => stripVTControlCharacters(shown) };
}

/** Commands of all processes that work in the folder. */
function processesIn(folder: string): string[] {
  return fs.readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      return command.includes(folder) || fs.readlinkSync(`/proc/${pid}/cwd`).startsWith(folder) ? [command] : [];
    } catch {
      // Gone, or not ours.
      return [];
    }
  });
}

describe("a drill that is interrupted", () => {
  let folder: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "interrupted-"));
    fs.chmodSync(folder, 0o711);
  });
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  async function untilMaking(drill: ReturnType<typeof startDrill>): Promise<void> {
    // Far enough that servers and machines are being made.
    const making = async () => /([6-9]\d|1\d\d) resources/.test(drill.text()) || undefined;
    await waitFor(making, { deadlineSeconds: 100, pollMilliseconds: 20, what: "the stack to be half made" });
  }

  const left = () => fs.readdirSync(folder).filter((name) => !name.startsWith("v8-compile-cache"));

  it("by Ctrl-C destroys its stack, says so, and leaves nothing", async () => {
    const drill = startDrill(folder);
    await untilMaking(drill);
    drill.terminal.write("\u0003");
    assert.equal(await drill.ended, 2, drill.text());
    assert.match(drill.text(), /✓ stack destroyed/);
    assert.match(drill.text(), /protected-pipeline: interrupted by SIGINT\s*$/);
    assert.deepEqual(left(), []);
    assert.deepEqual(processesIn(folder), []);
  });

  it("by SIGKILL leaves nothing either, a moment later", async () => {
    const drill = startDrill(folder);
    await untilMaking(drill);
    process.kill(drill.terminal.pid, "SIGKILL");
    await drill.ended;
    await waitFor(async () => left().length === 0 || undefined, { ...soon, what: "the folder to be empty" });
    await waitFor(async () => processesIn(folder).length === 0 || undefined, { ...soon, what: "the processes to end" });
  });
});
