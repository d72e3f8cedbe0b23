/**
 * Staging by a copy of the database's files, `CREATE DATABASE ... TEMPLATE`: exact even where a dump is not (rows of
 * materialized views that are stale, invalid indexes), and fast. The server copies only a database that nobody is in,
 * so clients are kept out for as long as it takes.
 *
 * Dump and fingerprint are then read from the copy: the copy, the dump and the fingerprint are of one moment, and the
 * live database is not read at all. The dump is proven beside it: restored, compared, and dropped again.
 */
import { escapeIdentifier as quoted, escapeLiteral as literal, type Client } from "pg";
import { setTimeout as pause } from "node:timers/promises";
import { proofDatabase, scratchDatabase, stagedDatabase } from "../../run/ids";
import { remaining, saying, withConnection } from "./connection";
import { originHash, originOf } from "./origin";
import { dropOwned, mark } from "./owned";
import { databaseOid, existingDatabase, serverVersion } from "./properties";
import { protectDatabase } from "./protect";
import { proveBy, proveDatabase } from "./prove";
import { canonicalSchemaOf } from "./schema";
import { clientSessions, endSessions, occupants } from "./sessions";
import { stageAs } from "./stage";
import type {
  DatabaseAccess,
  ProtectedDatabase,
  ProtectOptions,
  ProveOptions,
  ProvenDatabase,
  StagedDatabase,
  StageOptions,
} from "./types";

/** A copy that is to be staged, and of which database. */
export interface Clone extends StagedDatabase {
  /** OID of the live database. */
  readonly of: number;
  /** When nobody was in the live database. */
  readonly takenAt: Date;
}

const shortPause = 10;
/** While the files are copied, and nobody can come in. */
const longPause = 100;

/**
 * Copies the live database. Its sessions are ended; who connects again waits until the copy is made, and goes on
 * without an error. What an interrupted attempt of this run has left is dropped first.
 */
export function cloneDatabase(access: DatabaseAccess, { deadline }: { readonly deadline: Date }): Promise<Clone> {
  return saying(access, "clone", async () => {
    const { adminDatabase, database } = access.target;
    const name = stagedDatabase(database, access.run);
    await dropOwned(access, name);
    return withConnection(access, adminDatabase, async (admin) => {
      const of = await existingOid(admin, database);
      // Before the copy: the age that is told is never less than the real one.
      const takenAt = new Date();
      const ended = await copy(access, admin, of, name, deadline);
      const took = Date.now() - takenAt.getTime();
      access.log(`$ CREATE DATABASE ${name} TEMPLATE ${database}   # ${took} ms, ${ended} sessions ended`);
      await admin.query(`COMMENT ON DATABASE ${quoted(name)} IS ${literal(mark(access.run))}`);
      await admin.query(`REVOKE CONNECT, TEMPORARY ON DATABASE ${quoted(name)} FROM PUBLIC`);
      return { database: name, oid: await existingOid(admin, name), of, takenAt };
    });
  });
}

/**
 * The server locks the original against new sessions as soon as the statement begins, and waits five seconds for the
 * open ones to go, which are ended meanwhile. The lock goes with the statement, or with its session: nothing has to be
 * opened again after an interruption.
 * @returns how many sessions were ended
 */
async function copy(access: DatabaseAccess, admin: Client, of: number, name: string, deadline: Date): Promise<number> {
  // 15 made copying through the write-ahead log the default; before, there is only the other way.
  const strategy = (await serverVersion(admin)) >= 150_000 ? " STRATEGY file_copy" : "";
  const { row, owner, tablespace } = await existingDatabase(admin, of);
  const ended = new Set<number>();
  return withConnection(access, access.target.adminDatabase, async (other) => {
    await admin.query(`SET statement_timeout = ${remaining(deadline, "copy the database")}`);
    let over = false;
    const copying = admin
      .query(
        `CREATE DATABASE ${quoted(name)} TEMPLATE ${quoted(row.datname)}${strategy} OWNER ${quoted(owner)}` +
          (tablespace === "pg_default" ? "" : ` TABLESPACE ${quoted(tablespace)}`),
      )
      .finally(() => (over = true));
    copying.catch(() => undefined);
    let left: string[] = [];
    while (!over) {
      await endSessions(other, await clientSessions(other, [of]), ended);
      left = await occupants(other, [of]);
      await pause(left.length > 0 ? shortPause : longPause);
    }
    await copying.catch((error: unknown) => {
      if (left.length === 0) throw error;
      throw new Error(`it is in use by ${left.join(", ")}: ${(error as Error).message}`, { cause: error });
    });
    await admin.query("RESET statement_timeout");
    return ended.size;
  });
}

async function existingOid(client: Client, database: string): Promise<number> {
  const oid = await databaseOid(client, database);
  if (oid === undefined) throw new Error(`there is no database ${database}`);
  return oid;
}

/** Like `protectDatabase`, but all of it is read from the copy. */
export async function protectClone(
  access: DatabaseAccess,
  clone: Clone,
  options: ProtectOptions,
): Promise<ProtectedDatabase> {
  const copied = { ...access, target: { ...access.target, database: clone.database } };
  const made = await protectDatabase(copied, { ...options, original: clone.of });
  return { ...made, snapshotAt: clone.takenAt.toISOString() };
}

/** The copy that an earlier job of this run made. Throws when it is gone. */
export function findClone(access: DatabaseAccess): Promise<StagedDatabase> {
  const database = stagedDatabase(access.target.database, access.run);
  return withConnection(access, access.target.adminDatabase, async (admin) => ({
    database,
    oid: await existingOid(admin, database),
  }));
}

/** Drops the copy of a run that does not go on. Does nothing when there is none. */
export function discardClone(access: DatabaseAccess): Promise<void> {
  return dropOwned(access, stagedDatabase(access.target.database, access.run));
}

/**
 * Proves the dump, by restoring it beside the copy, and then the copy itself, which is sealed. A materialized view that
 * is stale comes out of a dump refreshed; the copy has it as it was.
 */
export async function proveClone(
  access: DatabaseAccess,
  options: ProveOptions & Pick<StageOptions, "dump" | "limits">,
): Promise<ProvenDatabase> {
  const { deadline, staged } = options;
  const { database } = access.target;
  await proveDump(access, options, proofDatabase(database, access.run));
  const scratch = { name: scratchDatabase(database, access.run), like: originOf(options.protected).shared.state };
  return proveBy(access, options, {
    // Its text is not canonical: it was never restored.
    schema: (folder) => canonicalSchemaOf(access, staged.database, folder, scratch, deadline),
    refreshedViews: false,
  });
}

/**
 * The copy that proves the dump keeps this run's mark as its comment to the end, so that it can be dropped, by a later
 * attempt too.
 */
async function proveDump(
  access: DatabaseAccess,
  options: ProveOptions & Pick<StageOptions, "dump" | "limits">,
  name: string,
): Promise<void> {
  const accept = [...(access.target.accept ?? []), "stale-materialized-view"];
  const { guide, shared, local, horizon } = originOf(options.protected);
  const marked = { ...shared, state: { ...shared.state, comment: mark(access.run) } };
  const properties = originHash({ shared: marked, local });
  const made = {
    ...options.protected,
    origin: JSON.stringify({ guide, shared: marked, local, horizon }),
    fingerprint: { ...options.protected.fingerprint, properties },
  };
  try {
    const staged = await stageAs(access, name, { ...options, protected: made });
    const accepting = { ...access, target: { ...access.target, accept } };
    await proveDatabase(accepting, { ...options, protected: made, staged });
  } finally {
    await dropOwned(access, name);
  }
}
