/**
 * Keeps a database's users from writing, from the snapshot to the verdict, so that a healing loses nothing of theirs.
 *
 * A master that is no superuser has no lock on a database's writes. What it has: the default of
 * `default_transaction_read_only`, for the database, and an exception from it for itself, the role that the deploy
 * works as. A session takes its defaults when it begins, so all that began before are ended once; and once more when
 * the freeze is over. It is advisory: a session that switches it off writes on, and so does one of the master's role.
 * docs/exactness.md says so, with what was considered instead.
 *
 * Nothing has to be remembered: the exception is set first and taken back last, and tells that a freeze is on, or was
 * not taken back to its end. That only the freeze sets these two is made sure of by the preflight.
 */
import { escapeIdentifier as quoted, type Client } from "pg";
import { setTimeout as pause } from "node:timers/promises";
import { applicationPrefix, connect, end, one, remaining, saying } from "./connection";
import { databaseOid, databaseState, readOnlyDefault } from "./properties";
import { endSessions } from "./sessions";
import type { DatabaseAccess } from "./types";

export interface Frozen {
  readonly sessionsEnded: number;
  /** Roles whose sessions write on. */
  readonly exempt: readonly string[];
}

const shortPause = 20;

/** Freezes. Returns when every session in the database has begun since. Can be repeated. */
export function freezeWrites(access: DatabaseAccess, { deadline }: { readonly deadline: Date }): Promise<Frozen> {
  return saying(access, "freeze", () =>
    administering(access, async (admin) => {
      const oid = await databaseOid(admin, access.target.database);
      if (oid === undefined) throw new Error(`there is no database ${access.target.database}`);
      const database = quoted(access.target.database);
      const { me } = await whoAmI(admin);
      await admin.query(`ALTER ROLE ${quoted(me)} IN DATABASE ${database} SET ${readOnlyDefault} = off`);
      await admin.query(`ALTER DATABASE ${database} SET ${readOnlyDefault} = on`);
      const sessionsEnded = await endOlder(access, admin, oid, deadline);
      access.log(`${access.target.database} is read-only for all but ${me}; ${sessionsEnded} sessions were ended`);
      return { sessionsEnded, exempt: [me] };
    }),
  );
}

/**
 * Takes a freeze back. Does nothing where there is none, as after a healing: the restored database never was frozen.
 * Can be repeated at every point of an earlier, interrupted call, and needs nothing of the freeze's.
 * @param oid - the live database's; without it, the one that bears the target's name
 */
export function thawWrites(
  access: DatabaseAccess,
  { oid, deadline }: { readonly oid?: number | undefined; readonly deadline: Date },
): Promise<{ readonly sessionsEnded: number }> {
  return saying(access, "thaw", () =>
    administering(access, async (admin) => {
      const found = oid ?? (await databaseOid(admin, access.target.database));
      const state = found === undefined ? undefined : await databaseState(admin, found);
      if (found === undefined || state === undefined) return { sessionsEnded: 0 };
      const { me, exempt } = await whoAmI(admin, found);
      if (!exempt) return { sessionsEnded: 0 };
      const database = quoted(state.row.datname);
      await admin.query(`ALTER DATABASE ${database} RESET ${readOnlyDefault}`);
      const sessionsEnded = await endOlder(access, admin, found, deadline);
      await admin.query(`ALTER ROLE ${quoted(me)} IN DATABASE ${database} RESET ${readOnlyDefault}`);
      access.log(`${state.row.datname} takes writes again; ${sessionsEnded} sessions were ended`);
      return { sessionsEnded };
    }),
  );
}

/** This role, and whether it is the exception from a freeze of the database. */
function whoAmI(admin: Client, oid = 0): Promise<{ me: string; exempt: boolean }> {
  return one(
    admin,
    `SELECT current_user AS me, EXISTS (
       SELECT FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
        WHERE s.setdatabase = $1 AND r.rolname = current_user
          AND s.setconfig::text[] @> ARRAY[$2 || '=off']) AS exempt`,
    [oid, readOnlyDefault],
  );
}

/** Ends the sessions that began before now, but the exempt role's and those that only a superuser may end. */
async function endOlder(access: DatabaseAccess, admin: Client, oid: number, deadline: Date): Promise<number> {
  const { now } = await one<{ now: string }>(admin, "SELECT pg_catalog.clock_timestamp()::text AS now");
  const ended = new Set<number>();
  for (;;) {
    const { rows } = await admin.query<{ pid: number; role: string; mine: boolean; client: string }>(
      `SELECT pid, usename AS role, usename = current_user AS mine, application_name AS client
         FROM pg_catalog.pg_stat_activity JOIN pg_catalog.pg_roles ON rolname = usename
        WHERE datid = $1 AND backend_type = 'client backend' AND backend_start < $2::timestamptz AND NOT rolsuper`,
      [oid, now],
    );
    for (const { pid, role, client } of rows.filter(({ mine, client: name }) => mine && !isOurs(name)))
      access.log(`session ${pid} of ${role} (${client}) is not frozen: it has the role that deploys work as`);
    const others = rows.filter(({ mine }) => !mine);
    if (others.length === 0) return ended.size;
    await endSessions(
      admin,
      others.map(({ pid }) => pid),
      ended,
    );
    const left = others.map(({ pid, role }) => `${pid} of ${role}`).join(", ");
    remaining(deadline, `end the sessions that began before: ${left}`);
    await pause(shortPause);
  }
}

function isOurs(applicationName: string): boolean {
  return applicationName.startsWith(applicationPrefix);
}

async function administering<T>(access: DatabaseAccess, work: (admin: Client) => Promise<T>): Promise<T> {
  const admin = await connect(access, access.target.adminDatabase);
  try {
    return await work(admin);
  } finally {
    await end(admin);
  }
}
