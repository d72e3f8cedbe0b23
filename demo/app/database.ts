/**
 * The shop's way to its database. Where the database is, and with which password, is read from the application's
 * secret when a connection is needed, and again when the password is refused: it may have been rotated.
 */
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { readFileSync } from "node:fs";
import { Client } from "pg";
import { isTransient } from "./transient";
import type { Query } from "./release";

/** How long one request may keep on trying, and the pause between two attempts, in milliseconds. */
const patience = 2_000;
const pause = 50;
const mostIdle = 4;

interface Settings {
  readonly host: string;
  readonly port: number;
  readonly dbname: string;
  readonly username: string;
  readonly password: string;
}

export class Database {
  private readonly idle: Client[] = [];
  private settings: Promise<Settings> | undefined;
  private readonly secrets = new SecretsManagerClient({});

  /**
   * Runs one piece of work in a transaction. Tries again, for a short time, when the connection was lost or the
   * database is closed or away for a moment, as it is during a failover or a cut-over.
   */
  async run<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const end = Date.now() + patience;
    for (;;) {
      try {
        return await this.attempt(work);
      } catch (error) {
        if (!isTransient(error) || Date.now() + pause > end) throw error;
        if (isRefused(error)) this.settings = undefined;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  private async attempt<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const client = this.idle.pop() ?? (await this.connect());
    let usable = true;
    try {
      await client.query("BEGIN");
      const result = await work(
        async (text, values = []) => (await client.query<Record<string, unknown>>(text, [...values])).rows,
      );
      await client.query("COMMIT");
      return result;
    } catch (error) {
      usable = await client.query("ROLLBACK").then(
        () => !isTransient(error),
        () => false,
      );
      throw error;
    } finally {
      if (usable && this.idle.length < mostIdle) this.idle.push(client);
      else void client.end().catch(() => undefined);
    }
  }

  private async connect(): Promise<Client> {
    this.settings ??= this.readSettings();
    const settings = await this.settings.catch((error: unknown) => {
      this.settings = undefined;
      throw error;
    });
    const client = new Client({
      host: settings.host,
      port: settings.port,
      database: settings.dbname,
      user: settings.username,
      password: settings.password,
      application_name: "shop",
      ssl: { ca: readFileSync(process.env.PGSSLROOTCERT ?? "/opt/shop/ca.pem", "utf8") },
      connectionTimeoutMillis: 1_000,
      statement_timeout: 5_000,
    });
    // A connection that ends while it is idle is found out at its next use.
    client.on("error", () => undefined);
    await client.connect();
    return client;
  }

  private async readSettings(): Promise<Settings> {
    const answer = await this.secrets.send(new GetSecretValueCommand({ SecretId: process.env.APPLICATION_SECRET_ARN }));
    return JSON.parse(answer.SecretString ?? "") as Settings;
  }
}

function isRefused(error: unknown): boolean {
  return (error as { code?: string }).code === "28P01";
}
