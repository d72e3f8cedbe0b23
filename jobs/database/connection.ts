/** Connections to the server: TLS with the server's name verified, and credentials that may change under the job. */
import * as fs from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { Client, DatabaseError } from "pg";
import type { Credentials, DatabaseAccess } from "./types";

/** `invalid_password`: the secret was rotated, and one of the two sides does not know yet. */
const invalidPassword = "28P01";
/** A rotation's steps are seconds apart; RDS applies a new master password within about a minute. */
const rotationPatience = 120_000;
const rotationPause = 2_000;
const connectTimeout = 10_000;
/** How long credentials that the server took are used for programs without trying them again. */
const trustedFor = 30_000;

/** Dead peers are noticed by the server, too: a lost job must not hold locks or a snapshot. */
const keepAlives = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3";

/**
 * Time-outs that a database or role sets for its users: a job waits idly, holds a snapshot, and has deadlines of its
 * own. Only those that the server knows: the first came with 14, the last with 17.
 */
const withoutTimeouts = `SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
  WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')`;

/** The credentials that the server took last. Used until it refuses them; then the secret is read again. */
const accepted = new WeakMap<DatabaseAccess, { readonly credentials: Credentials; readonly at: number }>();

/**
 * Opens a connection to the target's database, or to another one of the same server. The session looks nothing up
 * by search_path and gives up on locks. Throws when the server does not answer, or when the credentials are still
 * refused after two minutes of reading them anew.
 */
export async function connect(access: DatabaseAccess, database = access.target.database): Promise<Client> {
  const ca = await fs.readFile(access.caFile, "utf8");
  const patience = Date.now() + rotationPatience;
  for (;;) {
    const credentials = accepted.get(access)?.credentials ?? (await access.credentials());
    const client = newClient(access, database, credentials, ca);
    try {
      await client.connect();
      await client.query(
        `SET search_path = ''; SET lock_timeout = '10s'; SET client_min_messages = warning; ${withoutTimeouts}`,
      );
      accepted.set(access, { credentials, at: Date.now() });
      return client;
    } catch (error) {
      await end(client);
      const refused = error instanceof DatabaseError && error.code === invalidPassword;
      if (!refused || Date.now() > patience) throw connectionError(access, database, error);
      // The first refusal of what was taken before only says that the secret is to be read again.
      if (accepted.delete(access)) continue;
      access.log(`${access.target.host} refused the password; reading the secret again in ${rotationPause / 1000} s`);
      await pause(rotationPause);
    }
  }
}

function newClient(access: DatabaseAccess, database: string, credentials: Credentials, ca: string): Client {
  const client = new Client({
    host: access.target.host,
    port: access.target.port,
    database,
    user: credentials.user,
    password: credentials.password,
    ssl: { ca, rejectUnauthorized: true, minVersion: "TLSv1.2" },
    application_name: applicationName(access),
    connectionTimeoutMillis: connectTimeout,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    options: keepAlives,
  });
  // A lost connection also fails the query that runs, or the next one; that is where it is dealt with.
  client.on("error", () => undefined);
  return client;
}

function connectionError(access: DatabaseAccess, database: string, error: unknown): Error {
  const { host, port } = access.target;
  const message = `cannot connect to database "${database}" at ${host}:${port}: ${(error as Error).message}`;
  return Object.assign(new Error(message, { cause: error }), { code: (error as { code?: string }).code });
}

/** What the server shows of a session: 63 bytes at most, or PostgreSQL would cut it. */
export function applicationName(access: Pick<DatabaseAccess, "job" | "run">): string {
  return `${applicationPrefix}${access.job}:${access.run}`.slice(0, 63);
}

export const applicationPrefix = "protected-pipeline:";

/** Closes a connection; one that is broken already is closed. */
export async function end(client: Client): Promise<void> {
  await client.end().catch(() => undefined);
}

/** Runs work on a connection of its own. */
export async function withConnection<T>(
  access: DatabaseAccess,
  database: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(access, database);
  try {
    return await work(client);
  } finally {
    await end(client);
  }
}

async function triedCredentials(access: DatabaseAccess, database: string): Promise<Credentials> {
  const known = accepted.get(access);
  if (known !== undefined && Date.now() - known.at < trustedFor) return known.credentials;
  await end(await connect(access, database));
  const tried = accepted.get(access);
  if (tried === undefined) throw new Error(`the credentials for ${access.target.host} were refused right after use`);
  return tried.credentials;
}

/**
 * The environment with which a PostgreSQL program connects, with credentials that the server has just taken: a rotation
 * is waited for here, where it can be told from other failures, and not in the program.
 */
export async function programEnvironment(access: DatabaseAccess, database: string): Promise<Record<string, string>> {
  const { user, password } = await triedCredentials(access, database);
  return {
    PATH: process.env.PATH ?? "",
    LC_ALL: "C",
    PGHOST: access.target.host,
    PGPORT: String(access.target.port),
    PGDATABASE: database,
    PGUSER: user,
    PGPASSWORD: password,
    PGSSLMODE: "verify-full",
    PGSSLROOTCERT: access.caFile,
    PGAPPNAME: applicationName(access),
    PGCONNECT_TIMEOUT: String(connectTimeout / 1000),
    // With what the text of values and of constants in expressions depends on, which pg_dump leaves as it is.
    PGOPTIONS: `${keepAlives} -c timezone=UTC -c lc_monetary=C -c bytea_output=hex`,
  };
}

/** One row of a query that always has one. */
export async function one<T extends object>(client: Client, sql: string, values: unknown[] = []): Promise<T> {
  const row = (await client.query<T>(sql, values)).rows[0];
  if (row === undefined) throw new Error(`the server gave no row for: ${sql}`);
  return row;
}

/** Milliseconds until a deadline, at least one. Throws, naming what was to be done, when it has passed. */
export function remaining(deadline: Date, what: string): number {
  const milliseconds = deadline.getTime() - Date.now();
  if (milliseconds <= 0)
    throw new Error(`the deadline (${deadline.toISOString()}) passed before this was done: ${what}`);
  return milliseconds;
}

/** Says of a failure what was to be done, and to what: the server's own words often name neither. */
export async function saying<T>(access: DatabaseAccess, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { host, database } = access.target;
    const message = `cannot ${what} the database ${database} at ${host}: ${(error as Error).message}`;
    throw new Error(message, { cause: error });
  }
}
