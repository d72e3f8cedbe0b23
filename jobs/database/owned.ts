/** Databases that a run makes for itself. Each bears a comment that says so; nothing without it is ever dropped. */
import { escapeIdentifier as quoted, escapeLiteral as literal, type Client } from "pg";
import { withConnection } from "./connection";
import { userSchema } from "./fingerprint";
import { createDatabaseSql, databaseOid, databaseState, type DatabaseState } from "./properties";
import type { DatabaseAccess } from "./types";

/** The comment on a database that a run has made and not finished. */
export function mark(run: string): string {
  return `protected-pipeline: unfinished database of run ${run}`;
}

/**
 * Creates an empty database like another one, that nobody but its owner may connect to. What an earlier, interrupted
 * attempt of the same run has left under that name is dropped first; anything else makes this fail.
 * @returns its OID
 */
export async function createOwned(access: DatabaseAccess, name: string, like: DatabaseState): Promise<number> {
  return withConnection(access, access.target.adminDatabase, async (client) => {
    await dropBy(client, access, name);
    await client.query(createDatabaseSql(name, like));
    await client.query(`COMMENT ON DATABASE ${quoted(name)} IS ${literal(mark(access.run))}`);
    await client.query(`REVOKE CONNECT, TEMPORARY ON DATABASE ${quoted(name)} FROM PUBLIC`);
    const oid = await databaseOid(client, name);
    if (oid === undefined) throw new Error(`the database ${name} is gone right after its creation`);
    return oid;
  });
}

/** Drops a database that this run has made and not finished. Does nothing when there is none of that name. */
export function dropOwned(access: DatabaseAccess, name: string): Promise<void> {
  return withConnection(access, access.target.adminDatabase, (client) => dropBy(client, access, name));
}

async function dropBy(client: Client, access: DatabaseAccess, name: string): Promise<void> {
  const mine = await isOwn(access, client, name);
  if (mine === undefined) return;
  if (!mine) {
    throw new Error(
      `a database named "${name}" exists on ${access.target.host}, and it is not this run's; ` +
        "look at what it is, then rename or drop it, and start the pipeline again",
    );
  }
  await client.query(`DROP DATABASE IF EXISTS ${quoted(name)} WITH (FORCE)`);
}

/** Undefined: there is no such database. */
async function isOwn(access: DatabaseAccess, client: Client, name: string): Promise<boolean | undefined> {
  const oid = await databaseOid(client, name);
  const state = oid === undefined ? undefined : await databaseState(client, oid);
  if (state === undefined) return undefined;
  if (state.comment === mark(access.run)) return true;
  // Created, and interrupted before the comment: empty, open and without any comment.
  if (state.comment !== null || !state.row.datallowconn) return false;
  return withConnection(access, name, isEmpty);
}

async function isEmpty(client: Client): Promise<boolean> {
  const { rows } = await client.query(
    `SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE ${userSchema} LIMIT 1`,
  );
  return rows.length === 0;
}
