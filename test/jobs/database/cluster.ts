/** Throwaway servers for tests: real clusters, set up as RDS sets them up, whose master is not a superuser. */
import { randomBytes, randomInt } from "node:crypto";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { Client, type ClientConfig } from "pg";
import { CertificateAuthority } from "../../../emulator/services/rds/certificates";
import { Cluster } from "../../../emulator/services/rds/cluster";
import { findPostgres } from "../../../emulator/services/rds/programs";
import type { DatabaseAccess } from "../../../jobs/database";
import { runId, type RunId } from "../../../run/ids";

export const master = { user: "master", password: "p@ss 'word' \"of\" master" };

export interface TestServer {
  readonly cluster: Cluster;
  readonly address: string;
  /** For example 150000: without the minor version. */
  readonly version: number;
  readonly caFile: string;
  /** Everything that the jobs have logged. */
  readonly lines: string[];
  access(options?: Partial<DatabaseAccess>): DatabaseAccess;
  /** How to connect as the master. */
  connection(): ClientConfig;
  /** A connection as the master. */
  client(database?: string): Promise<Client>;
  /** Runs SQL as the master on a connection of its own, and gives the rows. */
  sql(text: string, database?: string): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

export const run: RunId = runId("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");

export async function startServer(parameters: Record<string, string> = {}): Promise<TestServer> {
  const address = await freeAddress();
  const authority = new CertificateAuthority("test authority");
  const certificate = authority.issue(["database.test", address]);
  const programs = findPostgres();
  const cluster = await Cluster.create({
    programs,
    address,
    port: 5432,
    certificate,
    master,
    database: "shop",
    parameters,
  });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "database-test-"));
  const caFile = path.join(folder, "ca.pem");
  fs.writeFileSync(caFile, authority.certificate);
  const lines: string[] = [];
  const target = { host: address, port: 5432, database: "shop", adminDatabase: "postgres" };

  const config = (): ClientConfig => ({
    host: address,
    port: 5432,
    ...master,
    ssl: { ca: authority.certificate },
    application_name: "test",
  });
  const client = async (database = "shop"): Promise<Client> => {
    const connection = new Client({ ...config(), database });
    // A test may end the session from the server's side.
    connection.on("error", () => undefined);
    await connection.connect();
    return connection;
  };
  return {
    cluster,
    address,
    version: programs.major * 10_000,
    caFile,
    lines,
    connection: config,
    client,
    access: (options = {}) => ({
      target,
      credentials: async () => master,
      caFile,
      run,
      job: "test",
      log: (line) => lines.push(line),
      ...options,
    }),
    sql: async (text, database) => {
      const connection = await client(database);
      try {
        const result: unknown = await connection.query(text);
        const last: unknown = Array.isArray(result) ? result.at(-1) : result;
        return (last as { rows: Record<string, unknown>[] }).rows;
      } finally {
        await connection.end();
      }
    },
    close: async () => {
      await cluster.remove();
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A loopback address on which nobody listens on PostgreSQL's port. */
async function freeAddress(): Promise<string> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const address = `127.${randomInt(100, 250)}.${randomInt(1, 250)}.${randomInt(2, 250)}`;
    if (await canListen(address)) return address;
  }
  throw new Error("no loopback address has port 5432 free");
}

function canListen(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen(5432, address, () => server.close(() => resolve(true)));
  });
}

/** A deadline that no passing test reaches. */
export function soon(seconds = 60): Date {
  return new Date(Date.now() + seconds * 1000);
}

export function randomName(prefix: string): string {
  return `${prefix}_${randomBytes(4).toString("hex")}`;
}
