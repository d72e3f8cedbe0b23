/** Who is in a database, and how they are made to leave. */
import { escapeIdentifier as quoted, escapeLiteral as literal, type Client } from "pg";
import { connect, end } from "./connection";
import { existingDatabase } from "./properties";
import type { DatabaseAccess, SwapPair } from "./types";

/**
 * Ends sessions, one call for each: in one statement, the first that may not be ended (a superuser's) would keep
 * those after it alive. Adds the ended ones to `ended`: a session takes a moment to leave, and is asked again by the
 * next attempt. Who is left is for {@link occupants} to say.
 */
export async function endSessions(client: Client, pids: readonly number[], ended: Set<number>): Promise<void> {
  for (const pid of pids) {
    try {
      const { rows } = await client.query<{ ended: boolean }>("SELECT pg_catalog.pg_terminate_backend($1) AS ended", [
        pid,
      ]);
      if (rows[0]?.ended === true) ended.add(pid);
    } catch (error) {
      // 42501: a superuser's. Anything else says that the connection is of no use any more.
      if ((error as { code?: string }).code !== "42501") throw error;
    }
  }
}

/** The sessions that may be ended: clients' and replication's. */
export async function clientSessions(client: Client, oids: readonly number[]): Promise<number[]> {
  const { rows } = await client.query<{ pid: number }>(
    `SELECT pid FROM pg_catalog.pg_stat_activity
      WHERE datid = ANY ($1::oid[]) AND backend_type IN ('client backend', 'walsender')
        AND pid <> pg_catalog.pg_backend_pid()`,
    [oids],
  );
  return rows.map(({ pid }) => pid);
}

/** All that a RENAME would wait for, but autovacuum: RENAME ends that itself, and nobody else may. */
export async function occupants(client: Client, oids: readonly number[]): Promise<string[]> {
  const { rows } = await client.query<{ who: string }>(
    `SELECT pg_catalog.format('%s %s of %s (%s)', a.backend_type, a.pid, coalesce(a.usename, '?'), a.application_name) AS who
       FROM pg_catalog.pg_stat_activity a
      WHERE a.datid = ANY ($1::oid[]) AND a.backend_type <> 'autovacuum worker' AND a.pid <> pg_catalog.pg_backend_pid()
     UNION ALL
     SELECT pg_catalog.format('prepared transaction %L of %s', p.gid, p.owner)
       FROM pg_catalog.pg_prepared_xacts p JOIN pg_catalog.pg_database d ON d.datname = p.database
      WHERE d.oid = ANY ($1::oid[])`,
    [oids],
  );
  return rows.map(({ who }) => who);
}

/**
 * Rolls back transactions that the failed release has prepared and left: they outlive their sessions and block the
 * RENAME for ever. That is only possible from inside their database, and as their owner.
 */
export async function rollBackPrepared(
  access: DatabaseAccess,
  client: Client,
  pairs: readonly SwapPair[],
): Promise<void> {
  for (const { liveOid } of pairs) {
    const { row } = await existingDatabase(client, liveOid);
    const { rows } = await client.query<{ gid: string; owner: string }>(
      "SELECT gid, owner FROM pg_catalog.pg_prepared_xacts WHERE database = $1",
      [row.datname],
    );
    if (rows.length === 0) continue;
    if (!row.datallowconn) await client.query(`ALTER DATABASE ${quoted(row.datname)} ALLOW_CONNECTIONS true`);
    const inside = await connect(access, row.datname);
    try {
      for (const { gid, owner } of rows) {
        await inside.query(`SET ROLE ${quoted(owner)}`);
        await inside.query(`ROLLBACK PREPARED ${literal(gid)}`);
        await inside.query("RESET ROLE");
        access.log(`rolled back the prepared transaction ${gid} of ${owner} in ${row.datname}`);
      }
    } finally {
      await end(inside);
    }
  }
}
