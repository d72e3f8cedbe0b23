/**
 * The one folder of a drill, and the promise that nothing outlives the driver. When the driver dies without a word
 * (SIGKILL, out of memory), a small watchdog that holds the other end of a pipe ends every process that still works
 * in the folder, and removes it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";

/** Sessions of their own, so that a signal to the driver's group does not reach it. `cat` ends when the driver does. */
const watchdogScript = `
cat >/dev/null
[ -d "$1" ] || exit 0
works_in() {
  find /proc/[0-9]*/cwd -maxdepth 0 \\( -lname "$1" -o -lname "$1/*" \\) 2>/dev/null
  grep -alF -- "$1/" /proc/[0-9]*/cmdline 2>/dev/null
}
for signal in TERM KILL KILL; do
  left=$(works_in "$1" | cut -d / -f 3 | sort -u)
  [ -n "$left" ] || break
  kill -s $signal $left 2>/dev/null
  sleep 0.5
done
rm -rf "$1"
`;

export class Scratch {
  private constructor(
    /** Absolute. */
    readonly directory: string,
    private readonly watchdog: ChildProcess,
  ) {}

  static async make(name: string): Promise<Scratch> {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), `${name}-`));
    // A database server runs as a user of its own, who has to get through to its folder.
    await fs.chmod(directory, 0o711);
    const watchdog = spawn("sh", ["-c", watchdogScript, "watchdog", directory], {
      cwd: "/",
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    watchdog.unref();
    // A watchdog that cannot be started is no reason to stop; what it guards against is rare.
    watchdog.on("error", () => undefined);
    return new Scratch(directory, watchdog);
  }

  async folder(name: string): Promise<string> {
    const folder = path.join(this.directory, name);
    await fs.mkdir(folder, { recursive: true });
    return folder;
  }

  async remove(): Promise<void> {
    await fs.rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    this.watchdog.stdin?.end();
  }
}
