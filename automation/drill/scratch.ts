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
  for process in /proc/[0-9]*; do
    pid=\${process#/proc/}
    [ "$pid" != $$ ] || continue
    case "$(readlink "$process/cwd" 2>/dev/null)" in "$1"|"$1"/*) echo "$pid"; continue ;; esac
    if tr '\\0' '\\n' <"$process/cmdline" 2>/dev/null | grep -qF "$1/"; then echo "$pid"; fi
  done
}
for signal in TERM KILL KILL; do
  left=$(works_in "$1")
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
