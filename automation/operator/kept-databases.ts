/** Kept databases on their server: looked up by OID, opened for a look, closed, and dropped. */
import { escapeIdentifier as quoted, type Client } from "pg";
import { Refusal } from "../refusal";
import type { KeptDatabase } from "./evidence";
import { connected, type Connect } from "./server";

export interface Found {
  readonly bytes: number;
  readonly open: boolean;
}

/**
 * What is there; undefined when it is gone. Names change hands, OIDs do not: a database of that name with another OID,
 * or the live one, is never taken for the kept one.
 *
 * @throws Refusal when the OID bears another name
 */
export async function look(admin: Client, { name, oid, target }: KeptDatabase): Promise<Found | undefined> {
  const { rows } = await admin.query<{ name: string; bytes: string; open: boolean }>(
    `SELECT datname AS name, pg_catalog.pg_database_size(oid) AS bytes, datallowconn AND datconnlimit <> 0 AS open
       FROM pg_catalog.pg_database WHERE oid = $1`,
    [oid],
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  if (row.name !== name || name === target.database) {
    throw new Refusal(
      `the database with OID ${oid} at ${target.host} is "${row.name}", not "${name}": it is left alone`,
    );
  }
  return { bytes: Number(row.bytes), open: row.open };
}

/** Runs work beside the kept database, on the plan's admin database. */
export function beside<T>(connect: Connect, kept: KeptDatabase, work: (admin: Client) => Promise<T>): Promise<T> {
  return connected(connect, kept.target, kept.target.adminDatabase, work);
}

/** So many sessions, of the owner alone: who else might connect has lost the right to, before the door is opened. */
export async function open(admin: Client, kept: KeptDatabase, sessions: number): Promise<void> {
  await mustBeThere(admin, kept);
  const database = quoted(kept.name);
  const { rows } = await admin.query<{ grantee: string | null }>(
    `SELECT DISTINCT CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee) END AS grantee
       FROM pg_catalog.pg_database d,
            pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
      WHERE d.oid = $1 AND a.privilege_type = 'CONNECT' AND a.grantee <> d.datdba`,
    [kept.oid],
  );
  for (const { grantee } of rows) {
    const role = grantee === null ? "PUBLIC" : quoted(grantee);
    await admin.query(`REVOKE CONNECT ON DATABASE ${database} FROM ${role} CASCADE`);
  }
  await admin.query(`ALTER DATABASE ${database} CONNECTION LIMIT ${sessions}`);
  await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true`);
}

/** Closed as a healing left it, and its sessions ended. */
export async function close(admin: Client, kept: KeptDatabase): Promise<void> {
  await mustBeThere(admin, kept);
  const database = quoted(kept.name);
  await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS false`);
  await admin.query(`ALTER DATABASE ${database} CONNECTION LIMIT 0`);
  await admin.query(
    `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
      WHERE datid = $1 AND backend_type = 'client backend'`,
    [kept.oid],
  );
}

/** @returns false when it was gone already */
export async function drop(admin: Client, kept: KeptDatabase): Promise<boolean> {
  if ((await look(admin, kept)) === undefined) return false;
  await admin.query(`DROP DATABASE ${quoted(kept.name)} WITH (FORCE)`);
  return true;
}

async function mustBeThere(admin: Client, kept: KeptDatabase): Promise<void> {
  if ((await look(admin, kept)) === undefined) throw new Refusal(`${kept.name} at ${kept.target.host} is gone`);
}
