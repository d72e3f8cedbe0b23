/** Whether there is room for the staged database, and time: looked at before anything is done. */
import { one, saying, withConnection } from "./connection";
import type { DatabaseAccess } from "./types";

/** What staging a database takes on its server, in bytes. */
export interface DatabaseSpace {
  /** The staged database itself: as large as the live one, mostly less, for it has no gaps. */
  readonly database: number;
  /** The write-ahead log that is written on the way, as far as somebody may keep it: a replica or a slot that lags. */
  readonly wal: number;
}

/** Restoring a database writes about as much log as the database is large. */
const walPerByte = 1;
/** A server without replicas removes it soon; at most this stays. */
const shareWithoutReplicas = 0.3;
/** More than is computed: for what others write in the same time. */
const reserve = 1.3;
/** RDS makes storage larger when less than this is free, and never smaller again. */
const autoscalingShare = 0.1;

export function databaseSpace(access: DatabaseAccess): Promise<DatabaseSpace> {
  return saying(access, "see the size of", () =>
    withConnection(access, access.target.adminDatabase, async (client) => {
      const { size, keeps } = await one<{ size: string; keeps: boolean }>(
        client,
        `SELECT pg_catalog.pg_database_size($1::name)::text AS size,
                EXISTS (SELECT FROM pg_catalog.pg_replication_slots)
                OR EXISTS (SELECT FROM pg_catalog.pg_stat_replication) AS keeps`,
        [access.target.database],
      );
      const database = Number(size);
      return { database, wal: Math.ceil(database * walPerByte * (keeps ? 1 : shareWithoutReplicas)) };
    }),
  );
}

/** What all databases of a server take, in bytes, as far as this role may ask for it (RDS's own: it may not). */
export function serverSize(access: DatabaseAccess): Promise<number> {
  return saying(access, "see the size of the server of", () =>
    withConnection(access, access.target.adminDatabase, async (client) => {
      const { size } = await one<{ size: string }>(
        client,
        `SELECT pg_catalog.sum(CASE WHEN pg_catalog.has_database_privilege(oid, 'CONNECT')
                                    THEN pg_catalog.pg_database_size(oid) ELSE 0 END)::text AS size
           FROM pg_catalog.pg_database`,
      );
      return Number(size);
    }),
  );
}

/** The storage of a server, in bytes. */
export interface ServerStorage {
  readonly free: number;
  readonly allocated: number;
}

/** Why the staged databases do not fit on their server. Undefined: they do. */
export function spaceProblem(needs: readonly DatabaseSpace[], { free, allocated }: ServerStorage): string | undefined {
  const sum = needs.reduce((bytes, { database, wal }) => bytes + database + wal, 0);
  const wanted = reserve * sum + autoscalingShare * allocated;
  if (free >= wanted) return undefined;
  return (
    `restoring beside the live database needs ${gigabytes(wanted)} GB of free storage (${reserve} times the databases ` +
    `and their write-ahead log, ${gigabytes(sum)} GB, and a tenth of the ${gigabytes(allocated)} GB that are ` +
    `allocated), but ${gigabytes(free)} GB are free; add storage, or stage on failure only`
  );
}

/**
 * Why a database's dump may not fit into one stream of the vault. Undefined: it will. A dump is mostly half as large as
 * its database, for it has no indexes; but it may be larger, for it is not compressed.
 * @param size - of the database, in bytes
 * @param longest - stream that the engine stores, in bytes
 */
export function streamProblem(size: number, longest: number): string | undefined {
  if (size <= longest) return undefined;
  return (
    `the database has ${gigabytes(size)} GB, and the engine stores dumps of up to ${gigabytes(longest)} GB; one that ` +
    "turns out longer fails after hours, before the deploy; choose another engine, or split the database"
  );
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}

/** What an earlier run took for the same, for a deadline that is to hold again. */
export interface LastTime {
  readonly milliseconds: number;
  /** The dump's bytes then. */
  readonly bytes: number;
}

/** How much slower than the last time is no surprise. */
const slack = 1.25;

/**
 * Why a deadline will not hold. Undefined: it will, or there is no telling.
 * @param what - for the message, for example `staging shop`
 * @param bytes - of the dump now, if that is known
 */
export function deadlineProblem(
  what: string,
  seconds: number,
  last: LastTime | undefined,
  bytes?: number,
): string | undefined {
  if (last === undefined || last.bytes <= 0) return undefined;
  const growth = Math.max(1, (bytes ?? last.bytes) / last.bytes);
  const expected = (last.milliseconds / 1000) * growth * slack;
  if (expected <= seconds) return undefined;
  return (
    `${what} took ${Math.round(last.milliseconds / 1000)} s the last time and will take up to ${Math.ceil(expected)} s ` +
    `now, but its deadline is ${seconds} s; give it more time, raise maxRate, or stage on failure only`
  );
}
