/**
 * The seal of a staged database: closed to connections, and recognisable if it was ever opened again.
 *
 * A database with ALLOW_CONNECTIONS false lets nobody in, superusers included. To write to it, one has to open it
 * first, and that writes a new version of its row in pg_database, with the id of that transaction (`xmin`): closing it
 * again does not bring the old one back. Renaming it, its owner, rights and limit are in the same row. What else is
 * known of a database outside of it (settings, comment) is read and hashed with it, and a copy that takes its place
 * has another OID. So a seal that reads the same proves, in a millisecond and whatever the size, that nobody was in
 * there: the rows need not be read again. VACUUM keeps the xmin that is read here, and writes its own horizon in place.
 * Whoever writes to the server's files is beyond this; on RDS nobody does.
 */
import type { Client } from "pg";
import { databaseState, propertiesHash, sharedLines, sharedProperties } from "./properties";
import type { StagedDatabase } from "./types";

/** What any change to a sealed database changes. */
export async function readSeal(client: Client, oid: number): Promise<string> {
  const properties = await sharedProperties(client, oid);
  return propertiesHash([properties.state.xmin, String(oid), ...sharedLines(properties)]);
}

/** Why a staged database is not, any more, what was proven. Empty: it is. */
export async function sealProblems(client: Client, staged: StagedDatabase, seal: string): Promise<string[]> {
  const state = await databaseState(client, staged.oid);
  const named = `the staged database ${staged.database} (OID ${staged.oid})`;
  if (state === undefined) return [`${named} is gone`];
  const { datname, datallowconn } = state.row;
  if (datname !== staged.database) return [`${named} bears the name ${datname}`];
  if (datallowconn) return [`the seal of ${named} is broken: it is open to connections`];
  if ((await readSeal(client, staged.oid)) !== seal) {
    return [`the seal of ${named} is broken: it was opened or altered after it was proven`];
  }
  const { rows } = await client.query<{ who: string }>(
    `SELECT pg_catalog.concat_ws(' ', 'session', pid, usename, application_name) AS who
       FROM pg_catalog.pg_stat_activity WHERE datid = $1 AND backend_type <> 'autovacuum worker'
     UNION ALL SELECT 'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts WHERE database = $2`,
    [staged.oid, datname],
  );
  return rows.map(({ who }) => `${named} is in use: ${who}`);
}
