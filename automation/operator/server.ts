/** A connection of the operator's own to a protected database server. */
import { GetSecretValueCommand, type SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import * as fs from "node:fs";
import * as tls from "node:tls";
import { setTimeout as pause } from "node:timers/promises";
import { Client, type ClientConfig, DatabaseError } from "pg";
import * as z from "zod/mini";
import { rdsCertificates } from "../../components/rds-certificates";
import type { DatabaseTarget } from "../../run/plan";
import { Refusal } from "../refusal";

export interface ServerOptions {
  /** Where to connect instead of the plan's host and port: the near end of a tunnel. */
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  /** PEM file of certificate authorities. Default: RDS's of the Region. */
  readonly ca?: string | undefined;
}

export type Connect = (target: DatabaseTarget, database: string) => Promise<Client>;

const secret = z.object({ username: z.string(), password: z.string() });
/** A rotation's steps are seconds apart. */
const rotationPatience = 120_000;
const rotationPause = 2_000;
const invalidPassword = "28P01";

/**
 * Connects to the databases of a plan. The server's certificate is verified against the plan's host, also through a
 * tunnel; the password is read from the secret for each connection, and again when the server refuses it.
 */
export function connector(secrets: SecretsManagerClient, region: string, options: ServerOptions): Connect {
  const ca = certificates(region, options.ca);
  return async (target, database) => {
    const patience = Date.now() + rotationPatience;
    for (;;) {
      const client = new Client(await configuration(secrets, target, database, ca, options));
      // A lost connection fails the query that runs, or the next one; that is where it is told.
      client.on("error", () => undefined);
      try {
        await client.connect();
        return client;
      } catch (error) {
        await client.end().catch(() => undefined);
        const refused = error instanceof DatabaseError && error.code === invalidPassword;
        if (!refused || Date.now() > patience) throw unreachable(target, database, options, error);
        await pause(rotationPause);
      }
    }
  };
}

/** Runs work on a connection, and closes it. */
export async function connected<T>(
  connect: Connect,
  target: DatabaseTarget,
  database: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(target, database);
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * The line with which the operator's own psql connects. libpq, too, verifies the name `host` when it connects to
 * `hostaddr`, the near end of a tunnel.
 */
export function psqlLine(target: DatabaseTarget, database: string, user: string, options: ServerOptions): string {
  const near =
    options.host === undefined ? "" : `hostaddr=${options.host === "localhost" ? "127.0.0.1" : options.host} `;
  const ca = options.ca ?? "<file with RDS's certificate authorities>";
  const connection = `host=${target.host} ${near}port=${options.port ?? target.port} dbname=${database} user=${user}`;
  return `psql "${connection} sslmode=verify-full sslrootcert=${ca} options='-c default_transaction_read_only=on'"`;
}

/** The line that puts the password where psql looks for it, without showing it. */
export function passwordLine({ secretArn }: DatabaseTarget): string {
  const read = `aws secretsmanager get-secret-value --secret-id '${secretArn}' --query SecretString --output text`;
  return `export PGPASSWORD="$(${read} | jq -r .password)"`;
}

export async function credentialsOf(secrets: SecretsManagerClient, { secretArn }: DatabaseTarget) {
  const { SecretString = "" } = await secrets.send(new GetSecretValueCommand({ SecretId: secretArn }));
  const parsed = z.safeParse(secret, parsedJson(SecretString));
  if (parsed.success) return parsed.data;
  throw new Refusal(`the secret ${secretArn} is no JSON object with username and password`);
}

async function configuration(
  secrets: SecretsManagerClient,
  target: DatabaseTarget,
  database: string,
  ca: string,
  options: ServerOptions,
): Promise<ClientConfig> {
  const { username: user, password } = await credentialsOf(secrets, target);
  return {
    host: options.host ?? target.host,
    port: options.port ?? target.port,
    user,
    password,
    database,
    application_name: "protected-pipeline:operator",
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    ssl: {
      ca,
      minVersion: "TLSv1.2",
      // The name in the plan, whatever the name of the tunnel's near end.
      checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(target.host, certificate),
    },
  };
}

function certificates(region: string, file: string | undefined): string {
  if (file === undefined) return rdsCertificates(region);
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    throw new Refusal(`the file ${file} of --ca cannot be read: ${(error as Error).message}`);
  }
}

function unreachable(target: DatabaseTarget, database: string, options: ServerOptions, error: unknown): Error {
  const where = `${options.host ?? target.host}:${options.port ?? target.port}`;
  const reason = (error as Error).message || String((error as { code?: string }).code);
  const hint =
    options.host === undefined ? "; from outside of its network, open a tunnel and give --host and --port" : "";
  return new Error(`cannot connect to database "${database}" at ${where}: ${reason}${hint}`, { cause: error });
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
