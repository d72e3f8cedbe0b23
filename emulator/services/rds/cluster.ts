/**
 * A real PostgreSQL cluster that is set up as RDS sets one up: the superuser is `rdsadmin`, whom nobody can log in as
 * over the network; the master is an ordinary role with a few more rights; every connection is TLS.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as fsp from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import type { Certificate } from "./certificates";
import type { PostgresPrograms } from "./programs";

const execute = promisify(execFile);

export interface ClusterOptions {
  readonly programs: PostgresPrograms;
  /** The loopback address that the server listens on. */
  readonly address: string;
  readonly port: number;
  readonly certificate: Certificate;
  /** Server settings by name, over the defaults. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** False lets clients in without TLS, as `rds.force_ssl=0` does. */
  readonly forceTls?: boolean;
  readonly master: { readonly user: string; readonly password: string };
  /** A database to create, owned by the master. */
  readonly database?: string | undefined;
}

const superuser = "rdsadmin";
const startTimeout = 20_000;
const stopTimeout = 10_000;

/**
 * Settings that only matter when the operating system crashes: the cluster's files never outlive it. Clients, locks,
 * write-ahead log records, replication and errors are the same as with RDS's settings.
 */
const throwaway = { fsync: "off", full_page_writes: "off" };

/** Settings as RDS has them, with sizes for a small machine. */
const defaults = {
  ...throwaway,
  max_connections: "100",
  shared_buffers: "64MB",
  max_wal_size: "2GB",
  timezone: "UTC",
  log_timezone: "UTC",
  lc_messages: "C",
  password_encryption: "scram-sha-256",
  log_line_prefix: "%t:%r:%u@%d:[%p]:",
};

/** The server's user: PostgreSQL refuses to run as root. */
interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** One running cluster, in a folder of its own that goes away with it. */
export class Cluster {
  private constructor(
    readonly options: ClusterOptions,
    /** Holds the data, the Unix socket and the log. */
    readonly directory: string,
    private readonly user: ServerUser | undefined,
  ) {}

  private server: ChildProcess | undefined;
  private frozen = false;

  /** Creates and starts a cluster. Nothing of it is left when that fails. */
  static async create(options: ClusterOptions): Promise<Cluster> {
    const user = serverUser();
    // Not below the caller's folder: the server's user must be able to reach it, and a socket's path is short.
    const directory = await fsp.mkdtemp(path.join(os.tmpdir(), "rds-"));
    const cluster = new Cluster(options, directory, user);
    try {
      await cluster.prepare();
      await cluster.start();
      await cluster.introduceMaster();
      return cluster;
    } catch (error) {
      await cluster.remove();
      throw error;
    }
  }

  /** Starts the server, and waits until it answers. */
  async start(): Promise<void> {
    const log = fs.openSync(this.log, "a");
    const program = path.join(this.options.programs.folder, "postgres");
    const [command, ...args] = asUser(this.user, [program, "-D", this.data]);
    const server = spawn(command, args, { stdio: ["ignore", log, log], env: {}, cwd: this.directory });
    fs.closeSync(log);
    this.server = server;
    const failed = new Promise<never>((_resolve, reject) => {
      server.once("error", reject);
      server.once("exit", () =>
        reject(new Error(`the PostgreSQL server at ${this.options.address} ended at its start`)),
      );
    });
    failed.catch(() => undefined);
    try {
      await Promise.race([this.answers(), failed]);
    } catch (error) {
      throw new Error(`${(error as Error).message}; its log ends with: ${await this.logEnd()}`, { cause: error });
    }
  }

  /** Ends the server: open sessions are ended, nothing is lost. */
  async stop(): Promise<void> {
    this.thaw();
    const server = this.server;
    this.server = undefined;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
    server.kill("SIGINT");
    const hurry = setTimeout(() => server.kill("SIGQUIT"), stopTimeout);
    await ended;
    clearTimeout(hurry);
  }

  /** Ends the server and removes its folder. */
  async remove(): Promise<void> {
    await this.stop();
    await fsp.rm(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Runs SQL as the superuser, over the socket: what RDS's own machinery does inside an instance. */
  async administer<R extends object = object>(sql: string, database = "postgres"): Promise<R[]> {
    // Loaded here: the emulator starts many times without any cluster, and this takes a tenth of a second.
    const { Client } = await import("pg");
    const client = new Client({ host: this.directory, port: this.options.port, user: superuser, database });
    await client.connect();
    try {
      return (await client.query<R>(sql)).rows;
    } finally {
      await client.end();
    }
  }

  /** Bytes of all databases and of the write-ahead log: what RDS counts against the instance's storage. */
  async size(): Promise<number> {
    const [row] = await this.administer<{ bytes: string }>(
      `SELECT (SELECT sum(pg_catalog.pg_database_size(oid)) FROM pg_catalog.pg_database)
            + (SELECT sum(size) FROM pg_catalog.pg_ls_waldir()) AS bytes`,
    );
    return Number(row?.bytes);
  }

  /**
   * Stops every process of the server where it is. To its clients that is a network that carries nothing, in either
   * direction; other than with a broken network, the server's own work stands still, too.
   */
  freeze(): void {
    const server = this.server?.pid;
    if (server === undefined) return;
    // The postmaster first: it would start others.
    process.kill(server, "SIGSTOP");
    for (const child of childrenOf(server)) process.kill(child, "SIGSTOP");
    this.frozen = true;
  }

  /** Lets a frozen server go on. */
  thaw(): void {
    const server = this.server?.pid;
    if (!this.frozen || server === undefined) return;
    for (const pid of [...childrenOf(server), server]) process.kill(pid, "SIGCONT");
    this.frozen = false;
  }

  private get data(): string {
    return path.join(this.directory, "data");
  }

  private get log(): string {
    return path.join(this.directory, "log");
  }

  private async prepare(): Promise<void> {
    const template = await clusterTemplate(this.options.programs, this.user);
    await execute(...alone("cp", "-a", template, this.data));
    const { certificate } = this.options;
    await fsp.writeFile(path.join(this.data, "server.crt"), certificate.certificate, { mode: 0o600 });
    await fsp.writeFile(path.join(this.data, "server.key"), certificate.key, { mode: 0o600 });
    await fsp.appendFile(path.join(this.data, "postgresql.conf"), this.configuration());
    await fsp.writeFile(path.join(this.data, "pg_hba.conf"), this.hostBasedAccess());
    await fsp.writeFile(this.log, "");
    if (this.user !== undefined) {
      await execute(...alone("chown", "-R", `${this.user.uid}:${this.user.gid}`, this.directory));
    }
    await fsp.chmod(this.data, 0o700);
  }

  private configuration(): string {
    const settings = {
      ...defaults,
      ...this.options.parameters,
      listen_addresses: this.options.address,
      port: String(this.options.port),
      unix_socket_directories: this.directory,
      ssl: "on",
      ssl_cert_file: "server.crt",
      ssl_key_file: "server.key",
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`);
    return ["", ...lines, ""].join("\n");
  }

  /** Only this account reaches the socket's folder; over the network, nobody is the superuser. */
  private hostBasedAccess(): string {
    const connection = this.options.forceTls === false ? "host" : "hostssl";
    return [
      `local all ${superuser} trust`,
      `host all ${superuser} all reject`,
      `${connection} all all all scram-sha-256`,
      "",
    ].join("\n");
  }

  private async answers(): Promise<void> {
    const deadline = Date.now() + startTimeout;
    for (;;) {
      try {
        await this.administer("SELECT 1");
        return;
      } catch (error) {
        if (Date.now() > deadline || this.server === undefined) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  private async introduceMaster(): Promise<void> {
    const { escapeIdentifier, escapeLiteral } = await import("pg");
    const master = escapeIdentifier(this.options.master.user);
    const password = escapeLiteral(this.options.master.password);
    await this.administer(
      `CREATE ROLE ${master} LOGIN CREATEDB CREATEROLE PASSWORD ${password} VALID UNTIL 'infinity' IN ROLE rds_superuser;
       ALTER DATABASE postgres OWNER TO ${master}; ALTER DATABASE template1 OWNER TO ${master};`,
    );
    if (this.options.database === undefined) return;
    await this.administer(`CREATE DATABASE ${escapeIdentifier(this.options.database)} OWNER ${master}`);
  }

  private async logEnd(): Promise<string> {
    const lines = (await fsp.readFile(this.log, "utf8").catch(() => "")).trim().split("\n");
    return lines.slice(-3).join(" | ");
  }
}

/** By `/proc`: each of PostgreSQL's processes is a session of its own, so that no signal reaches them as a group. */
function childrenOf(parent: number): number[] {
  return fs.readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = fs.readFileSync(`/proc/${name}/stat`, "utf8");
      // The program's name is in parentheses, and may hold anything.
      const [, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return Number(ppid) === parent ? [Number(name)] : [];
    } catch {
      // It ended meanwhile.
      return [];
    }
  });
}

/** Undefined when this process is an ordinary user's already. */
function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = fs.readFileSync("/etc/passwd", "utf8").split("\n");
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = accounts.find((line) => line.startsWith(`${name}:`))?.split(":") ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error("PostgreSQL does not run as root, and this machine has neither the user postgres nor nobody");
}

/**
 * A command in a session of its own: a terminal's Ctrl-C goes to a whole process group, and would end the server, or
 * half of its making, by itself.
 */
function alone(...command: readonly string[]): [string, string[]] {
  return ["setsid", [...command]];
}

/** The command that runs this as the server's user, and ends it (fast) when this process dies without a word. */
function asUser(user: ServerUser | undefined, command: readonly string[]): [string, ...string[]] {
  const identity =
    user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", "--inh-caps=-all"];
  return ["setsid", "setpriv", "--pdeathsig=INT", ...identity, ...command];
}

const setup = [
  "CREATE ROLE rds_superuser;",
  "CREATE ROLE rds_replication;",
  "CREATE ROLE rds_password;",
  "CREATE ROLE rds_iam;",
  "GRANT pg_monitor, pg_signal_backend, rds_replication, rds_password TO rds_superuser WITH ADMIN OPTION;",
];

/** pg_read_all_data came with 14. */
function setupFor(major: number): string[] {
  return major < 14 ? setup : [...setup, "GRANT pg_read_all_data TO rds_superuser WITH ADMIN OPTION;"];
}

/**
 * A cluster that was never started, with RDS's own roles: every instance begins as a copy of it, because `initdb`
 * takes a second. Kept per user and server version; made aside and moved in place, so that two makers do no harm.
 */
async function clusterTemplate(programs: PostgresPrograms, user: ServerUser | undefined): Promise<string> {
  const sql = setupFor(programs.major);
  const key = createHash("sha256")
    .update(JSON.stringify([programs, sql, user ?? process.getuid?.()]))
    .digest("hex")
    .slice(0, 12);
  const cache = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "protected-pipeline");
  const template = path.join(cache, `postgres-${programs.version}-${key}`);
  if (fs.existsSync(template)) return template;
  const made = await makeTemplate(programs, user, sql);
  try {
    await fsp.mkdir(cache, { recursive: true, mode: 0o700 });
    const aside = `${template}.${randomUUID()}`;
    await execute(...alone("cp", "-a", path.join(made, "data"), aside));
    await fsp.rename(aside, template).catch(async (error: unknown) => {
      await fsp.rm(aside, { recursive: true, force: true });
      // Another process was first.
      if (!fs.existsSync(template)) throw error;
    });
    return template;
  } finally {
    await fsp.rm(made, { recursive: true, force: true });
  }
}

async function makeTemplate(programs: PostgresPrograms, user: ServerUser | undefined, sql: string[]): Promise<string> {
  const directory = await fsp.mkdtemp(path.join(os.tmpdir(), "rds-template-"));
  if (user !== undefined) await fsp.chown(directory, user.uid, user.gid);
  const data = path.join(directory, "data");
  const environment = { env: { PATH: process.env.PATH }, cwd: directory };
  const options = ["-U", superuser, "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-sync", "-D", data];
  const [initialize, ...initializeArgs] = asUser(user, [path.join(programs.folder, "initdb"), ...options]);
  await execute(initialize, initializeArgs, environment);
  const single = ["--single", "-F", "-O", "-D", data, "postgres"];
  const [run, ...runArgs] = asUser(user, [path.join(programs.folder, "postgres"), ...single]);
  const session = execute(run, runArgs, environment);
  session.child.stdin?.end(sql.join("\n") + "\n");
  await session;
  return directory;
}
