/**
 * Volumes and snapshots as folders. A root volume is a folder with the places of a root file system that outlive a
 * reboot (`volumePlaces`), a data volume is a folder with what is in it; a snapshot is a copy of either, taken before
 * the request is answered: its point in time.
 *
 * A volume of a snapshot is cold: it is there at once, whatever its size, and its contents are loaded when they are
 * first needed ("Initialize Amazon EBS volumes", Amazon EBS User Guide). On AWS that is block by block; here it is
 * everything at the first use.
 */
import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import * as path from "node:path";

interface Cold {
  readonly source: string;
  loading?: Promise<void>;
}

export class Disks {
  private readonly cold = new Map<string, Cold>();

  constructor(private readonly directory: string) {}

  /** Where a disk's contents are, once it has been used. */
  folder(id: string): string {
    return path.join(this.directory, id);
  }

  /** The folder of a disk that is to be used. */
  async open(id: string): Promise<string> {
    await this.load(id);
    return this.folder(id);
  }

  /** An empty disk. */
  async create(id: string): Promise<void> {
    await fs.mkdir(this.folder(id), { recursive: true });
  }

  /** A cold disk with the contents of another, which nothing may be written to any more. */
  async createFrom(source: string, id: string): Promise<void> {
    await this.create(id);
    this.cold.set(id, { source });
  }

  private async load(id: string): Promise<void> {
    const cold = this.cold.get(id);
    if (cold === undefined) return;
    cold.loading ??= this.copy(cold.source, id);
    try {
      await cold.loading;
      this.cold.delete(id);
    } catch (error) {
      delete cold.loading;
      throw error;
    }
  }

  /** A disk with the contents that another has now. Shares the blocks where the file system can. */
  async copy(from: string, to: string): Promise<void> {
    await this.load(from);
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
    await this.cold.get(id)?.loading?.catch(() => undefined);
    this.cold.delete(id);
    // What was made of it does not need it any more.
    const made = [...this.cold].filter(([, { source }]) => source === id);
    await Promise.all(made.map(([disk]) => this.load(disk)));
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
