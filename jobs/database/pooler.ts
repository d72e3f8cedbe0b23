/**
 * PgBouncer in front of a database. A cut-over that it does not know of takes 15 seconds for its clients: it sees their
 * connections end, and does not try another one before `server_login_retry`. Paused, it keeps their queries until it is
 * resumed, and they see no error.
 */
import * as fs from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { Client, escapeIdentifier as quoted } from "pg";
import { end } from "./connection";
import type { PoolerAccess } from "./types";

/** How long clients have to end their transactions. Then the fence ends them. */
const drainTime = 2_000;
const connectTimeout = 2_000;
/** How long, and how often, a pooler that does not answer is asked to go on. */
const patience = 30_000;
const retryPause = 500;

/** One pooler, as one healer sees it. Nothing here fails a healing: what went wrong is told. */
export class Pooler {
  /** The connection over which a pause was asked for, and may still be waiting. */
  private pausing: Client | undefined;
  private tried = false;
  /** PgBouncer's `server_login_retry` as it was found; undefined: another healer has found it, and died. */
  private loginRetry: string | undefined;

  constructor(
    private readonly access: PoolerAccess,
    private readonly caFile: string,
    private readonly log: (line: string) => void,
  ) {}

  /** Whether this healer has paused it and not resumed it. */
  get paused(): boolean {
    return this.pausing !== undefined;
  }

  /** Keeps new queries from the database, and waits a moment for those that run. Tried once until it is resumed. */
  async pause(): Promise<void> {
    if (this.tried) return;
    this.tried = true;
    try {
      const client = await this.connect();
      this.pausing = client;
      // A login that the pause or the fence breaks off counts as failed, and nobody would be let in for 15 seconds.
      const { value } = await loginRetryOf(client);
      // A healer that died before this one has set it already.
      if (value !== "0") this.loginRetry = value;
      await setLoginRetry(client, "0");
      const paused = client.query(`PAUSE ${quoted(this.access.database)}`);
      paused.catch(() => undefined);
      const drained = await Promise.race([paused.then(() => true), pause(drainTime, false)]);
      const still = drained ? "" : `; some transactions did not end within ${drainTime / 1000} s, and are ended`;
      this.log(`${this.name} is paused${still}`);
    } catch (error) {
      this.log(`${this.name} could not be paused (${(error as Error).message}); its clients will see errors`);
    }
  }

  /** Lets the queries go on, also when another healer has paused it. */
  async resume(deadline: Date): Promise<void> {
    // One that did not answer before is asked once.
    const until = this.tried && !this.paused ? 0 : Math.min(deadline.getTime(), Date.now() + patience);
    const before = this.pausing;
    for (;;) {
      try {
        await this.tryResume();
        break;
      } catch (error) {
        if (Date.now() + retryPause < until) {
          await pause(retryPause);
          continue;
        }
        const command = `RESUME ${quoted(this.access.database)}`;
        this.log(`${this.name} could not be resumed (${(error as Error).message}); run \`${command}\` in its console`);
        break;
      }
    }
    this.pausing = undefined;
    this.tried = false;
    if (before !== undefined) await end(before);
  }

  private async tryResume(): Promise<void> {
    const client = await this.connect();
    try {
      await client.query(`RESUME ${quoted(this.access.database)}`).catch((error: Error) => {
        if (!/is not paused/.test(error.message)) throw error;
      });
      const { value, standard } = await loginRetryOf(client);
      if (value === "0") await setLoginRetry(client, this.loginRetry ?? standard);
      this.log(`${this.name} goes on`);
    } finally {
      await end(client);
    }
  }

  private async connect(): Promise<Client> {
    const { host, port, tls, credentials } = this.access;
    const { user, password } = await credentials();
    const ca = tls ? await fs.readFile(this.caFile, "utf8") : undefined;
    const client = new Client({
      host,
      port,
      user,
      password,
      database: "pgbouncer",
      ssl: ca === undefined ? false : { ca, rejectUnauthorized: true, minVersion: "TLSv1.2" },
      connectionTimeoutMillis: connectTimeout,
    });
    client.on("error", () => undefined);
    await client.connect().catch(async (error: unknown) => {
      await end(client);
      throw error;
    });
    return client;
  }

  private get name(): string {
    const { host, port, database } = this.access;
    return `the pooler's database ${database} at ${host}:${port}`;
  }
}

async function loginRetryOf(console: Client): Promise<{ value: string; standard: string }> {
  const { rows } = await console.query<{ key: string; value: string; default: string }>("SHOW CONFIG");
  const row = rows.find(({ key }) => key === "server_login_retry");
  if (row === undefined) throw new Error("its console does not show server_login_retry");
  return { value: row.value, standard: row.default };
}

async function setLoginRetry(console: Client, seconds: string): Promise<void> {
  await console.query(`SET server_login_retry = '${seconds}'`);
}
