/** Proves a staged database: seals it, and compares it with the fingerprint of the snapshot. */
import { escapeIdentifier as quoted, escapeLiteral as literal, type Client } from "pg";
import { setTimeout as pause } from "node:timers/promises";
import { connect, end, one, remaining, saying, withConnection } from "./connection";
import { all, differences, readContents, readingSessions } from "./fingerprint";
import { mark } from "./owned";
import { clientFolder } from "./program";
import {
  copySharedProperties,
  existingDatabase,
  localProperties,
  propertiesHash,
  sharedProperties,
} from "./properties";
import { restoredSchemaHash } from "./schema";
import { readSeal } from "./seal";
import type { DatabaseAccess, ProvenDatabase, ProveOptions } from "./types";

/** How many differences an error names. */
const named = 20;

/**
 * Compares the staged database with the protected fingerprint, and seals it. Rows are read after it was closed, by
 * sessions that were open before, so nothing can come between the proof and the seal. Can be repeated.
 * @throws naming what differs; the database is then closed, and marked as unfinished
 */
export function proveDatabase(access: DatabaseAccess, options: ProveOptions): Promise<ProvenDatabase> {
  return saying(access, "prove the copy of", () => proveStaged(access, options));
}

async function proveStaged(access: DatabaseAccess, options: ProveOptions): Promise<ProvenDatabase> {
  const { staged } = options;
  const admin = await connect(access, access.target.adminDatabase);
  try {
    await reopen(admin, staged.oid, staged.database);
    return await compare(access, admin, options);
  } catch (error) {
    await admin
      .query(`COMMENT ON DATABASE ${quoted(staged.database)} IS ${literal(mark(access.run))}`)
      .catch(() => undefined);
    throw error;
  } finally {
    await end(admin);
  }
}

/** After an interrupted proof the database may be closed already. */
async function reopen(admin: Client, oid: number, database: string): Promise<void> {
  const { row } = await existingDatabase(admin, oid);
  if (row.datname !== database) throw new Error(`the database with OID ${oid} is ${row.datname}, not ${database}`);
  if (!row.datallowconn)
    await admin.query(`ALTER DATABASE ${quoted(database)} ALLOW_CONNECTIONS true CONNECTION LIMIT -1`);
}

async function compare(access: DatabaseAccess, admin: Client, options: ProveOptions): Promise<ProvenDatabase> {
  const { deadline, staged } = options;
  const expected = options.protected.fingerprint;
  const folder = await clientFolder(options.protected.serverVersion, deadline);
  const sessions = await readingSessions(access, staged.database);
  const everyone: Client[] = [...sessions];
  const timer = setTimeout(() => void Promise.all(everyone.map(end)), remaining(deadline, "prove the staged database"));
  try {
    const watcher = await connect(access, staged.database);
    everyone.push(watcher);
    const catalogs = await catalogMarker(watcher);
    const schema = await restoredSchemaHash(access, staged.database, folder, deadline);
    // Before the closing, so that the closing is the last write to what the seal covers.
    await copySharedProperties(admin, options.protected.oid, staged.oid);
    const { sealedAt, seal } = await close(admin, staged, everyone, deadline);
    if ((await catalogMarker(watcher)) !== catalogs) {
      throw new Error(`somebody changed the schema of ${staged.database} while it was proven`);
    }
    const contents = await readContents(sessions);
    const local = await localProperties(watcher);
    await all(everyone.map(end));
    const properties = propertiesHash([...(await sharedProperties(admin, staged.oid)), ...local]);
    const found = differences(expected, { ...contents, schema, properties });
    if (found.length > 0) throw new Error(await explain(access, admin, options, local, found));
    if ((await readSeal(admin, staged.oid)) !== seal) {
      throw new Error(`somebody opened or altered ${staged.database} while its rows were compared`);
    }
    const relations = Object.values(expected.relations);
    const rows = relations.reduce((sum, relation) => sum + BigInt(relation.rows), 0n);
    return {
      compared: `${relations.length} tables, ${rows.toLocaleString("en-US")} rows`,
      sealedAt,
      seal,
    };
  } finally {
    clearTimeout(timer);
    await Promise.all(everyone.map(end));
  }
}

/**
 * Closes the database to connections, and ends whoever else is in there. The seal is read in the transaction that
 * closes it: read later, it would cover what somebody did in between.
 */
async function close(
  admin: Client,
  staged: ProveOptions["staged"],
  own: readonly Client[],
  deadline: Date,
): Promise<{ sealedAt: string; seal: string }> {
  const seal = await sealing(admin, staged);
  const sealedAt = new Date().toISOString();
  const pids = await Promise.all(
    own.map((client) => one<{ pid: number }>(client, "SELECT pg_catalog.pg_backend_pid() AS pid")),
  );
  for (;;) {
    const { rows } = await admin.query<{ pid: number }>(
      `SELECT pid FROM pg_catalog.pg_stat_activity
        WHERE datid = $1 AND backend_type <> 'autovacuum worker' AND pid <> ALL ($2::int[])`,
      [staged.oid, pids.map(({ pid }) => pid)],
    );
    if (rows.length === 0) return { sealedAt, seal };
    remaining(deadline, `end the sessions in ${staged.database}: ${rows.map(({ pid }) => pid).join(", ")}`);
    for (const { pid } of rows) await admin.query("SELECT pg_catalog.pg_terminate_backend($1)", [pid]);
    await pause(10);
  }
}

async function sealing(admin: Client, { database, oid }: ProveOptions["staged"]): Promise<string> {
  await admin.query("BEGIN");
  try {
    await admin.query(`ALTER DATABASE ${quoted(database)} ALLOW_CONNECTIONS false`);
    const seal = await readSeal(admin, oid);
    await admin.query("COMMIT");
    return seal;
  } catch (error) {
    await admin.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/**
 * Changes whenever a row of a catalog is written, but for statistics. pg_dump needs a connection of its own, so the
 * schema is read before the database is closed; this tells that nobody changed it until then.
 */
async function catalogMarker(client: Client): Promise<string> {
  const { rows: catalogs } = await client.query<{ name: string }>(
    `SELECT 'pg_catalog.' || pg_catalog.quote_ident(relname) AS name FROM pg_catalog.pg_class
      WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared
        AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject')
        AND pg_catalog.has_table_privilege(oid, 'SELECT') ORDER BY 1`,
  );
  const each = catalogs.map(
    ({ name }) =>
      `SELECT pg_catalog.sum(pg_catalog.hashtextextended('${name}' || ctid::text || xmin::text, 0)) AS s FROM ${name}`,
  );
  const { marker } = await one<{ marker: string }>(
    client,
    `SELECT pg_catalog.sum(s)::text AS marker FROM (${each.join(" UNION ALL ")}) catalogs`,
  );
  return marker;
}

async function explain(
  access: DatabaseAccess,
  admin: Client,
  options: ProveOptions,
  local: readonly string[],
  found: readonly string[],
): Promise<string> {
  const more = found.length > named ? [`and ${found.length - named} more`] : [];
  const lines = [...found.slice(0, named), ...more, ...(await propertyDifferences(access, admin, options, local))];
  return (
    `the staged database ${options.staged.database} is not equal to the snapshot of ${access.target.database}: ` +
    lines.join("; ")
  );
}

/** Properties are only known by their hash; what differs from the live database *now* is most likely what differs. */
async function propertyDifferences(
  access: DatabaseAccess,
  admin: Client,
  { protected: { oid }, staged }: ProveOptions,
  local: readonly string[],
): Promise<string[]> {
  const inside = await withConnection(access, access.target.database, localProperties);
  const live = new Set([...(await sharedProperties(admin, oid)), ...inside]);
  const copy = new Set([...(await sharedProperties(admin, staged.oid)), ...local]);
  return [
    ...[...live].filter((each) => !copy.has(each)).map((each) => `live has ${each}`),
    ...[...copy].filter((each) => !live.has(each)).map((each) => `staged has ${each}`),
  ];
}
