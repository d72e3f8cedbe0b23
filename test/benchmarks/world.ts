/** The place of a benchmark: a server, a vault and a folder of its own, which all go away with it. */
import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { text } from "node:stream/consumers";
import { build } from "esbuild";
import { defaultLimits } from "../../components/plan";
import { findPostgres } from "../../emulator/services/rds/programs";
import type { Limits } from "../../jobs/database/types";
import { master, startServer, type TestServer } from "../jobs/database/cluster";
import { changeLittle, createShop } from "./data";
import type { Answer, Request } from "./job";

/** As a small server that keeps its promises: what is committed is on the disk. */
const parameters = {
  fsync: "on",
  full_page_writes: "on",
  shared_buffers: "512MB",
  max_wal_size: "4GB",
  random_page_cost: "1.1",
};

export const database = "shop";

/** What a pipeline does when nothing else is said. */
export const gentle: Limits = { workers: defaultLimits.stageWorkers, maxRate: defaultLimits.maxRate };

/** For rows that compare how long something takes at its fastest. */
export const unbounded: Limits = { workers: 2 };

interface Closable {
  close(): Promise<void>;
}

export class World {
  private readonly children = new Set<ChildProcess>();
  private readonly kept = new Set<Closable>();
  private closing: Promise<void> | undefined;

  private constructor(
    readonly server: TestServer,
    /** For files that the benchmark makes. */
    readonly folder: string,
    private readonly programs: string,
    readonly say: (line: string) => void,
  ) {}

  static async open(say: (line: string) => void): Promise<World> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "benchmark-"));
    try {
      await build({
        entryPoints: ["job", "vault"].map((name) => path.join(__dirname, `${name}.ts`)),
        outdir: folder,
        bundle: true,
        platform: "node",
        target: "node20",
        external: ["pg-native"],
        logLevel: "error",
      });
      say("starting a PostgreSQL server");
      return new World(await startServer(parameters), folder, findPostgres().folder, say);
    } catch (error) {
      fs.rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Closes it with this world, if nobody did before. */
  keep<T extends Closable>(closable: T): T {
    this.kept.add(closable);
    return closable;
  }

  /** Ends every program that was started, and removes everything. */
  close(): Promise<void> {
    this.closing ??= this.removeAll();
    return this.closing;
  }

  private async removeAll(): Promise<void> {
    const ends = [...this.children].map((child) => killed(child));
    await Promise.all([...ends, ...[...this.kept].map((each) => each.close())]);
    await this.server.close();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  /** Fills the database anew. */
  async fill(gigabytes: number): Promise<void> {
    this.say(`filling a database of ${gigabytes} GB`);
    for (const { name } of await this.server.sql(
      "SELECT datname AS name FROM pg_database WHERE datname LIKE 'shop%'",
      "postgres",
    )) {
      await this.server.sql(`ALTER DATABASE ${String(name)} CONNECTION LIMIT -1`, "postgres");
      await this.server.sql(`DROP DATABASE ${String(name)} WITH (FORCE)`, "postgres");
    }
    fs.rmSync(this.vault, { recursive: true, force: true });
    await this.server.sql(`CREATE DATABASE ${database}`, "postgres");
    const client = await this.server.client();
    try {
      await createShop(client, gigabytes);
    } finally {
      await client.end();
    }
    await this.checkpoint();
    const [row] = await this.server.sql(`SELECT pg_database_size('${database}')::float8 / 1e9 AS size`);
    this.say(`it has ${Number(row?.size).toFixed(2)} GB on disk`);
  }

  async changeLittle(): Promise<void> {
    const client = await this.server.client();
    await changeLittle(client).finally(() => client.end());
  }

  /** So that the writes of what came before are nobody's load. */
  async checkpoint(): Promise<void> {
    await this.server.cluster.administer("CHECKPOINT");
  }

  /** Runs a job as the pipeline does. Its recovery points lie in this world's vault. */
  async job(
    job: Request["job"],
    limits: Limits,
    more: Pick<Request, "protected"> & { run?: string } = {},
  ): Promise<Answer> {
    const { address, caFile } = this.server;
    const request: Request = {
      run: randomUUID(),
      ...more,
      job,
      limits,
      target: { host: address, port: 5432, database, adminDatabase: "postgres" },
      ...master,
      caFile,
      vault: [path.join(this.folder, "vault.js"), this.vault],
    };
    const child = this.start(process.execPath, [path.join(this.folder, "job.js")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin?.end(JSON.stringify(request));
    if (child.stdout === null) throw new Error("the job has no output");
    const [answer] = await Promise.all([text(child.stdout), ended(child, job)]);
    return JSON.parse(answer) as Answer;
  }

  /** Runs one of PostgreSQL's programs. @returns its seconds */
  async program(name: string, args: readonly string[], options: SpawnOptions = {}): Promise<number> {
    const started = process.hrtime.bigint();
    const stdio = ["ignore", "ignore", "inherit"] as const;
    const child = this.start(this.postgres(name), args, { stdio: [...stdio], ...options });
    await ended(child, name);
    return Number(process.hrtime.bigint() - started) / 1e9;
  }

  /** Runs `vault | program`, or the other way around. @returns the seconds, and what the program's end printed */
  async pipe(first: readonly [string, ...string[]], second: readonly [string, ...string[]]) {
    const started = process.hrtime.bigint();
    const writer = this.start(first[0], first.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
    if (writer.stdout === null) throw new Error(`${first[0]} has no output`);
    const reader = this.start(second[0], second.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
    if (reader.stdin === null || reader.stdout === null) throw new Error(`${second[0]} has no input`);
    writer.stdout.pipe(reader.stdin);
    const [output] = await Promise.all([text(reader.stdout), ended(writer, first[0]), ended(reader, second[0])]);
    return { seconds: Number(process.hrtime.bigint() - started) / 1e9, output };
  }

  postgres(name: string): string {
    return path.join(this.programs, name);
  }

  vaultProgram(...args: string[]): [string, ...string[]] {
    return [process.execPath, path.join(this.folder, "vault.js"), this.vault, ...args];
  }

  start(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    if (this.closing !== undefined) throw new Error("the benchmark is over");
    // In a process group of its own.
    const child = spawn(command, args, { env: this.environment, cwd: this.folder, detached: true, ...options });
    this.children.add(child);
    child.once("close", () => this.children.delete(child));
    return child;
  }

  /** With which PostgreSQL's programs connect, as the jobs do: over TLS, with the name verified. */
  get environment(): Record<string, string> {
    return {
      PATH: process.env.PATH ?? "",
      LC_ALL: "C",
      PGHOST: this.server.address,
      PGPORT: "5432",
      PGDATABASE: database,
      PGUSER: master.user,
      PGPASSWORD: master.password,
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: this.server.caFile,
    };
  }

  private get vault(): string {
    return path.join(this.folder, "vault");
  }
}

/** Ends a program, with all that it has started itself. */
function killed(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.pid === undefined) return resolve();
    child.once("close", () => resolve());
    process.kill(-child.pid, "SIGKILL");
  });
}

/** Throws unless the program ends well. */
export function ended(child: ChildProcess, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${name} ended with ${code ?? signal}`));
    });
  });
}
