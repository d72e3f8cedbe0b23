/** A real PgBouncer in front of a test server. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import type { PoolerAccess } from "../../../jobs/database/types";
import { master, type TestServer } from "./cluster";

const startTimeout = 10_000;
const admin = { user: "pooladmin", password: "console" };

export interface TestPooler {
  readonly port: number;
  readonly access: PoolerAccess;
  /** What its console answers. */
  console(command: string): Promise<Record<string, unknown>[]>;
  /** A client of the database, through the pooler. */
  client(): Promise<Client>;
  close(): Promise<void>;
}

/** Undefined: it is not installed. */
export function findPgBouncer(): string | undefined {
  const folders = ["/usr/sbin", "/usr/local/sbin", ...(process.env.PATH ?? "").split(":")];
  return folders.map((folder) => path.join(folder, "pgbouncer")).find((file) => fs.existsSync(file));
}

export async function startPgBouncer(program: string, server: TestServer): Promise<TestPooler> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "pgbouncer-"));
  const port = await freePort(server.address);
  const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
  const users = [master, admin].map(({ user, password }) => `${quoted(user)} ${quoted(password)}\n`);
  const files: Record<string, string> = {
    "users.txt": users.join(""),
    "ca.pem": fs.readFileSync(server.caFile, "utf8"),
    "pgbouncer.ini": `
[databases]
pooled = host=${server.address} port=5432 dbname=shop
[pgbouncer]
listen_addr = ${server.address}
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${folder}/users.txt
admin_users = ${admin.user}
pool_mode = transaction
server_tls_sslmode = verify-full
server_tls_ca_file = ${folder}/ca.pem
`,
  };
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text);
  // PgBouncer refuses to run as root.
  const root = process.getuid?.() === 0;
  if (root) for (const file of ["", ...Object.keys(files)]) fs.chmodSync(path.join(folder, file), 0o755);
  const child = spawn(program, [path.join(folder, "pgbouncer.ini")], {
    stdio: ["ignore", "ignore", "pipe"],
    ...(root ? { uid: 65534, gid: 65534 } : {}),
  });
  let said = "";
  child.stderr.on("data", (text: Buffer) => (said = (said + text.toString()).slice(-2000)));
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    fs.rmSync(folder, { recursive: true, force: true });
  };
  const client = async (): Promise<Client> => {
    const connection = new Client({ host: server.address, port, ...master, database: "pooled" });
    connection.on("error", () => undefined);
    await connection.connect();
    return connection;
  };
  const console = async (command: string): Promise<Record<string, unknown>[]> => {
    const connection = new Client({ host: server.address, port, ...admin, database: "pgbouncer" });
    await connection.connect();
    try {
      return (await connection.query<Record<string, unknown>>(command)).rows;
    } finally {
      await connection.end();
    }
  };
  const access = {
    host: server.address,
    port,
    database: "pooled",
    tls: false,
    credentials: async () => admin,
  };
  const deadline = Date.now() + startTimeout;
  for (;;) {
    try {
      await (await client()).end();
      return { port, access, console, client, close };
    } catch (error) {
      if (Date.now() > deadline || child.exitCode !== null) {
        await close();
        throw new Error(`PgBouncer did not start: ${said}`, { cause: error });
      }
      await pause(20);
    }
  }
}

function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() =>
        address !== null && typeof address === "object" ? resolve(address.port) : reject(new Error()),
      );
    });
  });
}
