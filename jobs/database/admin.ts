/** The Guard's connection to a server: fence, swap and what follows. See {@link AdminSession}. */
import { escapeIdentifier as quoted, type Client } from "pg";
import { setTimeout as pause } from "node:timers/promises";
import { applicationName, applicationPrefix, connect, end } from "./connection";
import { databaseState, existingDatabase, serverObjects } from "./properties";
import { Pooler } from "./pooler";
import { sealProblems } from "./seal";
import { clientSessions, endSessions, occupants, rollBackPrepared } from "./sessions";
import { advanceSequences } from "./sequences";
import { readUndone, serverChanges } from "./undone";
import type {
  AdminSession,
  DatabaseAccess,
  Fenced,
  ProtectedDatabase,
  StagedDatabase,
  SwapPair,
  Swapped,
  Undone,
} from "./types";

/** Between two looks at something that is over within milliseconds. */
const shortPause = 5;
/** Before another attempt to reach a server. */
const longPause = 250;
const keepAlive = 30_000;
/** How long a closing session tries to resume a pooler. */
const poolerPatience = 10_000;
/** A session that changes the same row of pg_database makes this wait; it is ended at the next attempt. */
const alterTimeout = 500;
/** RENAME itself waits up to 5 s for sessions to go away. */
const renameTimeout = 8_000;

/** For what an interrupted comparison puts away. */
const undoneGrace = 60_000;

/** Errors after which the same may work: what another session did, or a connection that is gone. */
const transient = new Set([
  "55006", // object_in_use
  "55P03", // lock_not_available
  "57014", // query_canceled: a time-out
  "40001",
  "40P01",
  "57P01", // admin_shutdown
  "57P02",
  "57P03", // cannot_connect_now
  "53300", // too_many_connections
]);

/** Somebody is still in there. */
class Occupied extends Error {}

/** Opens the connection. All accesses are to databases of one server. */
export async function openAdmin(accesses: readonly DatabaseAccess[]): Promise<AdminSession> {
  const [access] = accesses;
  if (access === undefined) throw new Error("no database to administer was given");
  const servers = new Set(accesses.map(({ target }) => `${target.host}:${target.port}`));
  if (servers.size > 1) throw new Error(`one connection cannot serve several servers: ${[...servers].join(", ")}`);
  const admin = new ServerAdmin(access);
  await admin.open();
  return admin;
}

class ServerAdmin implements AdminSession {
  private client: Client | undefined;
  private queue: Promise<unknown> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;
  /** By the OID of the live database. */
  private readonly poolers = new Map<number, Pooler>();

  constructor(private readonly access: DatabaseAccess) {}

  async open(): Promise<void> {
    await this.connected();
    // Firewalls forget idle connections; and a lost one is noticed, and opened anew, before it is needed.
    this.timer = setInterval(() => void this.alone(() => this.probe()).catch(() => undefined), keepAlive);
    this.timer.unref();
  }

  ready(deadline: Date): Promise<void> {
    return this.persist(deadline, "reach the database server", async (client) => {
      const ended = new Set<number>();
      await endSessions(client, await this.leftovers(client), ended);
      if (ended.size > 0) this.access.log(`ended ${ended.size} session(s) that earlier jobs of this run had left`);
    });
  }

  checkSeal(pairs: readonly SwapPair[], deadline: Date): Promise<void> {
    return this.persist(deadline, "check the seal", (client) => requireSeals(client, pairs));
  }

  async fence(pairs: readonly SwapPair[], deadline: Date): Promise<Fenced> {
    await this.pausePoolers(pairs);
    const ended = new Set<number>();
    await this.persist(deadline, `fence ${names(pairs)}`, (client) => this.clear(client, pairs, ended));
    return { sessionsEnded: ended.size };
  }

  async unfence(pairs: readonly SwapPair[], deadline: Date): Promise<void> {
    await this.persist(deadline, `open ${names(pairs)}`, async (client) => {
      for (const { liveOid, database } of pairs) {
        const { row } = await existingDatabase(client, liveOid);
        if (row.datname !== database)
          throw new Error(`the database with OID ${liveOid} is ${row.datname} now; it stays closed`);
        if (!row.datallowconn) await client.query(`ALTER DATABASE ${quoted(database)} ALLOW_CONNECTIONS true`);
      }
    });
    await this.resumePoolers(pairs, deadline);
  }

  async swap(pairs: readonly SwapPair[], deadline: Date, ready?: () => Promise<void>): Promise<Swapped> {
    const started = Date.now();
    let tried = false;
    const what = `put the staged database in the place of ${names(pairs)}`;
    const result = await this.persist(deadline, what, async (client) => {
      const found = await positions(client, pairs);
      if (isOver(found)) {
        await ready?.();
        return { at: now(), milliseconds: tried ? Date.now() - started : 0, resumed: !tried };
      }
      tried = true;
      if (!found.includes("half")) {
        await this.pausePoolers(pairs);
        await this.clear(client, pairs);
        await exchange(client, pairs, ready);
      }
      const advancing = pairs.filter(advances);
      if (advancing.length > 0) {
        for (const pair of advancing) await advanceSequences(this.access, client, pair);
        await open(client, advancing);
      }
      return { at: now(), milliseconds: Date.now() - started, resumed: false };
    });
    await this.resumePoolers(pairs, deadline);
    return result;
  }

  isSwapped(pairs: readonly SwapPair[], deadline: Date): Promise<boolean> {
    return this.persist(deadline, "look which databases are live", async (client) =>
      isOver(await positions(client, pairs)),
    );
  }

  undone(pair: SwapPair, before: ProtectedDatabase, deadline: Date): Promise<Undone> {
    const access = { ...this.access, target: { ...this.access.target, database: pair.database } };
    // What is not told in time is left out; closing the evidence again is not.
    const end = new Date(deadline.getTime() + undoneGrace);
    return this.persist(end, `compare ${pair.evidence} with the snapshot`, (client) =>
      readUndone(access, client, pair, before, deadline),
    );
  }

  notUndone(server: Readonly<Record<string, string>>, deadline: Date): Promise<string[]> {
    return this.persist(deadline, "compare what lives on the server as a whole", async (client) => {
      return serverChanges(server, await serverObjects(client));
    });
  }

  discardStaged(staged: StagedDatabase, deadline: Date): Promise<void> {
    return this.persist(deadline, `drop ${staged.database}`, async (client) => {
      const state = await databaseState(client, staged.oid);
      if (state === undefined) return;
      if (state.row.datname !== staged.database) {
        throw new Error(
          `the staged database (OID ${staged.oid}) bears the name ${state.row.datname} instead of ${staged.database}; ` +
            "it was not dropped",
        );
      }
      await client.query(`DROP DATABASE ${quoted(staged.database)} WITH (FORCE)`);
    });
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    // Whatever ended this session: a pooler that stays paused would let its clients wait for ever.
    const paused = [...this.poolers.values()].filter((pooler) => pooler.paused);
    await Promise.all(paused.map((pooler) => pooler.resume(new Date(Date.now() + poolerPatience))));
    await this.alone(async () => {
      if (this.client !== undefined) await end(this.client);
      this.client = undefined;
    });
  }

  private async pausePoolers(pairs: readonly SwapPair[]): Promise<void> {
    await Promise.all(this.poolersOf(pairs).map((pooler) => pooler.pause()));
  }

  private async resumePoolers(pairs: readonly SwapPair[], deadline: Date): Promise<void> {
    await Promise.all(this.poolersOf(pairs).map((pooler) => pooler.resume(deadline)));
  }

  private poolersOf(pairs: readonly SwapPair[]): Pooler[] {
    return pairs.flatMap(({ liveOid, pooler: access }) => {
      if (access === undefined) return [];
      const known = this.poolers.get(liveOid) ?? new Pooler(access, this.access.caFile, this.access.log);
      this.poolers.set(liveOid, known);
      return [known];
    });
  }

  /** Closes the live databases and ends all sessions in both. Throws Occupied when some are left. */
  private async clear(client: Client, pairs: readonly SwapPair[], ended = new Set<number>()): Promise<void> {
    const oids = pairs.flatMap(({ liveOid, staged }) => [liveOid, staged.oid]);
    await rollBackPrepared(this.access, client, pairs);
    // Before, too: an open transaction that changed the database's own row would block its closing.
    await endSessions(client, await clientSessions(client, oids), ended);
    for (const { liveOid } of pairs) await refuseConnections(client, liveOid);
    await endSessions(client, await clientSessions(client, oids), ended);
    const left = await occupants(client, oids);
    if (left.length > 0) throw new Occupied(`still in use by ${left.join(", ")}`);
  }

  private async leftovers(client: Client): Promise<number[]> {
    const { rows } = await client.query<{ pid: number; name: string }>(
      "SELECT pid, application_name AS name FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid()",
    );
    const jobs = ["protect", "wait"].map((job) => applicationName({ job, run: this.access.run }));
    return rows.filter(({ name }) => name.startsWith(applicationPrefix) && jobs.includes(name)).map(({ pid }) => pid);
  }

  private async probe(): Promise<void> {
    await (await this.connected()).query("SELECT 1");
  }

  private async connected(): Promise<Client> {
    if (this.client !== undefined) return this.client;
    const client = await connect(this.access, this.access.target.adminDatabase);
    const lost = (): void => {
      if (this.client === client) this.client = undefined;
    };
    client.on("error", lost);
    client.on("end", lost);
    this.client = client;
    return client;
  }

  /** One operation after the other: they share a connection, and transactions on it. */
  private alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.queue.then(work);
    this.queue = result.catch(() => undefined);
    return result;
  }

  /** Attempts until it works, a lasting error, or the deadline, whose error says what stood in the way. */
  private persist<T>(deadline: Date, what: string, attempt: (client: Client) => Promise<T>): Promise<T> {
    return this.alone(async () => {
      let reason = "there was no time left";
      for (;;) {
        try {
          return await this.attempt(deadline, attempt);
        } catch (error) {
          if (!isTransient(error)) throw error;
          const late = Date.now() >= deadline.getTime();
          // The deadline itself breaks the connection: what was in the way before tells more.
          if (!late || !isConnectionError(error)) reason = (error as Error).message;
          if (late) throw new Error(`could not ${what} until ${deadline.toISOString()}: ${reason}`, { cause: error });
          await pause(error instanceof Occupied ? shortPause : this.client === undefined ? longPause : shortPause * 4);
        }
      }
    });
  }

  /** One attempt; a server that does not answer by the deadline loses its connection, which fails the attempt. */
  private async attempt<T>(deadline: Date, attempt: (client: Client) => Promise<T>): Promise<T> {
    const client = await this.connected();
    const patience = Math.max(1, deadline.getTime() - Date.now());
    const timer = setTimeout(() => {
      if (this.client === client) this.client = undefined;
      void end(client);
    }, patience);
    try {
      return await attempt(client);
    } finally {
      clearTimeout(timer);
    }
  }
}

function isTransient(error: unknown): boolean {
  if (error instanceof Occupied || isConnectionError(error)) return true;
  const { code, message } = error as { code?: string; message: string };
  // XX000 is everything internal; only this of it comes from another session.
  if (code === "XX000") return /tuple concurrently (updated|deleted)/.test(message);
  return code !== undefined && transient.has(code);
}

/** The connection itself: a class 08 error, an operating system's, or the client's own words, which have no code. */
function isConnectionError(error: unknown): boolean {
  const { code, message } = error as { code?: string; message: string };
  if (code !== undefined) return code.startsWith("08") || /^E[A-Z]+$/.test(code);
  return /connection terminated|connection error|not queryable|timeout expired/i.test(message);
}

async function refuseConnections(client: Client, oid: number): Promise<void> {
  const { row } = await existingDatabase(client, oid);
  if (!row.datallowconn) return;
  await inTransaction(client, alterTimeout, async () => {
    await client.query(`ALTER DATABASE ${quoted(row.datname)} ALLOW_CONNECTIONS false`);
  });
}

async function requireSeals(client: Client, pairs: readonly SwapPair[]): Promise<void> {
  const problems: string[] = [];
  for (const { staged, seal } of pairs) problems.push(...(await sealProblems(client, staged, seal)));
  if (problems.length > 0) throw new Error(problems.join("; "));
}

/**
 * The exchange of names, of all databases or of none: one transaction, one record in the write-ahead log. The seal is
 * checked within it. The failed database stays closed; the limit keeps it so if somebody opens it without thinking.
 * A database whose sequences are to advance is opened under its staged name, which no client knows, and gets the live
 * one by {@link open} when they are set.
 */
async function exchange(client: Client, pairs: readonly SwapPair[], ready?: () => Promise<void>): Promise<void> {
  await inTransaction(client, renameTimeout, async () => {
    await requireSeals(client, pairs);
    for (const pair of pairs) {
      const { database, staged, evidence } = pair;
      const name = advances(pair) ? staged.database : database;
      await client.query(`ALTER DATABASE ${quoted(database)} RENAME TO ${quoted(evidence)}`);
      if (name !== staged.database)
        await client.query(`ALTER DATABASE ${quoted(staged.database)} RENAME TO ${quoted(name)}`);
      await client.query(`ALTER DATABASE ${quoted(name)} ALLOW_CONNECTIONS true`);
      await client.query(`ALTER DATABASE ${quoted(evidence)} CONNECTION LIMIT 0`);
    }
    await ready?.();
  });
}

/** The second half of the exchange where sequences advance. */
async function open(client: Client, pairs: readonly SwapPair[]): Promise<void> {
  await endSessions(
    client,
    await clientSessions(
      client,
      pairs.map(({ staged }) => staged.oid),
    ),
    new Set(),
  );
  await inTransaction(client, renameTimeout, async () => {
    for (const { database, staged } of pairs)
      await client.query(`ALTER DATABASE ${quoted(staged.database)} RENAME TO ${quoted(database)}`);
  });
}

function advances({ sequences }: SwapPair): boolean {
  return sequences === "advance";
}

async function inTransaction(client: Client, timeout: number, work: () => Promise<void>): Promise<void> {
  await client.query("BEGIN");
  try {
    await client.query(`SET LOCAL statement_timeout = ${timeout}; SET LOCAL lock_timeout = ${timeout}`);
    await work();
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/** Where an exchange stands. `half`: the failed database is out of the way, sequences are to be set. */
type Position = "before" | "half" | "after";

/** Judged by OIDs: names change hands, OIDs do not. Throws when the names are none that an exchange gives. */
async function position(client: Client, pair: SwapPair): Promise<Position> {
  const { database, liveOid, staged, evidence } = pair;
  const live = (await databaseState(client, liveOid))?.row.datname;
  const other = (await databaseState(client, staged.oid))?.row.datname;
  if (live === database && other === staged.database) return "before";
  if (live === evidence && other === database) return "after";
  if (live === evidence && other === staged.database && advances(pair)) return "half";
  throw new Error(
    `${database}: the database that was live (OID ${liveOid}) is ${live ?? "gone"} and the staged one ` +
      `(OID ${staged.oid}) is ${other ?? "gone"}; expected ${database} and ${staged.database}, or ${evidence} and ` +
      `${database}. Somebody else has renamed or dropped databases; nothing was changed`,
  );
}

async function positions(client: Client, pairs: readonly SwapPair[]): Promise<Position[]> {
  const found: Position[] = [];
  for (const pair of pairs) found.push(await position(client, pair));
  if (found.includes("before") && new Set(found).size > 1) {
    throw new Error(`of ${names(pairs)}, some are swapped and some are not, which one transaction cannot have done`);
  }
  return found;
}

function isOver(found: readonly Position[]): boolean {
  return found.every((each) => each === "after");
}

function names(pairs: readonly SwapPair[]): string {
  return pairs.map(({ database }) => database).join(", ");
}

function now(): string {
  return new Date().toISOString();
}
