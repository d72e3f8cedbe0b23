/**
 * Volumes and snapshots as folders. A root volume is a folder with the places of a root file system that outlive a
 * reboot (`volumePlaces`), a data volume is a folder with what is in it; a snapshot is a copy of either, taken before
 * the request is answered: its point in time.
 */
import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import * as path from "node:path";

export class Disks {
  constructor(private readonly directory: string) {}

  folder(id: string): string {
    return path.join(this.directory, id);
  }

  /** An empty disk. */
  async create(id: string): Promise<void> {
    await fs.mkdir(this.folder(id), { recursive: true });
  }

  /** A disk with the contents that another has now. Shares the blocks where the file system can. */
  async copy(from: string, to: string): Promise<void> {
    await this.create(to);
    const problem = await run("cp", ["-a", "--reflink=auto", `${this.folder(from)}/.`, this.folder(to)]);
    if (problem !== undefined && !isOnlyVanished(problem)) {
      await this.remove(to);
      throw new Error(`Cannot copy ${from} to ${to}: ${problem}`);
    }
  }

  async empty(id: string): Promise<void> {
    await this.remove(id);
    await this.create(id);
  }

  async remove(id: string): Promise<void> {
    const folder = this.folder(id);
    try {
      await fs.rm(folder, { recursive: true, force: true });
    } catch {
      // A program inside may have made folders that not even their owner may change.
      await run("chmod", ["-R", "u+rwX", folder]);
      await fs.rm(folder, { recursive: true, force: true });
    }
  }
}

/** What it wrote to stderr when it failed. */
function run(program: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(
      // In a session of its own: a terminal's Ctrl-C goes to a whole process group, and would end it half-way.
      "setsid",
      [program, ...args],
      { env: { PATH: process.env.PATH, LC_ALL: "C" }, maxBuffer: 1 << 20 },
      (error, _out, stderr) => resolve(error === null ? undefined : stderr.trim() || error.message),
    );
  });
}

/** Files may go while a running instance is copied, as a crash at that moment would have it. */
function isOnlyVanished(problem: string): boolean {
  return problem.split("\n").every((line) => line.endsWith("No such file or directory"));
}
