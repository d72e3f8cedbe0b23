/** Proves a staged database: seals it, and compares it with the fingerprint of the snapshot. */
import { escapeIdentifier as quoted, escapeLiteral as literal, type Client } from "pg";
import { setTimeout as pause } from "node:timers/promises";
import type { DatabaseFingerprint } from "../../run/facts";
import { connect, end, one, remaining, saying } from "./connection";
import { standing } from "./early";
import { all, beginReading, differences, openSessions, readContents, sameRows, type Contents } from "./fingerprint";
import { originOf, type Origin } from "./origin";
import { mark } from "./owned";
import { clientFolder } from "./program";
import {
  applySharedProperties,
  existingDatabase,
  localProperties,
  propertiesHash,
  sharedLines,
  sharedProperties,
} from "./properties";
import { schemaText, sha256 } from "./schema";
import { readSeal } from "./seal";
import type { DatabaseAccess, ProvenDatabase, ProveOptions } from "./types";

/** How many differences an error names. */
const named = 20;

/** How a database is compared. */
interface Comparison {
  /** The canonical text of the staged database's schema. */
  readonly schema: (folder: string) => Promise<string>;
  /** Whether a materialized view may hold newer rows than the original's. */
  readonly refreshedViews: boolean;
}

/**
 * Compares the staged database with the protected fingerprint, and seals it. Rows are read after it was closed, by
 * sessions that were open before, so nothing can come between the proof and the seal. Can be repeated.
 * @throws naming what differs; the database is then closed, and marked as unfinished
 */
export function proveDatabase(access: DatabaseAccess, options: ProveOptions): Promise<ProvenDatabase> {
  const { deadline, staged } = options;
  return proveBy(access, options, {
    schema: (folder) => schemaText(access, staged.database, folder, deadline),
    refreshedViews: access.target.accept?.includes("stale-materialized-view") ?? false,
  });
}

export function proveBy(
  access: DatabaseAccess,
  options: ProveOptions,
  comparison: Comparison,
): Promise<ProvenDatabase> {
  return saying(access, "prove the copy of", () => proveStaged(access, options, comparison));
}

async function proveStaged(
  access: DatabaseAccess,
  options: ProveOptions,
  comparison: Comparison,
): Promise<ProvenDatabase> {
  const { staged } = options;
  const admin = await connect(access, access.target.adminDatabase);
  try {
    await reopen(admin, staged.oid, staged.database);
    return await compare(access, admin, options, comparison);
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

async function compare(
  access: DatabaseAccess,
  admin: Client,
  options: ProveOptions,
  comparison: Comparison,
): Promise<ProvenDatabase> {
  const { deadline, staged } = options;
  const origin = originOf(options.protected);
  const expected = options.protected.fingerprint;
  const folder = clientFolder(options.protected.serverVersion, deadline);
  folder.catch(() => undefined);
  const sessions = await openSessions(access, staged.database);
  const everyone: Client[] = [...sessions];
  const timer = setTimeout(() => void Promise.all(everyone.map(end)), remaining(deadline, "prove the staged database"));
  try {
    const watcher = await connect(access, staged.database);
    everyone.push(watcher);
    const catalogs = await catalogMarker(watcher);
    const schema = sha256(await comparison.schema(await folder));
    // Before the closing, so that the closing is the last write to what the seal covers.
    await applySharedProperties(admin, origin.shared, staged.oid);
    const { sealedAt, seal } = await close(admin, staged, everyone, deadline);
    if ((await catalogMarker(watcher)) !== catalogs) {
      throw new Error(`somebody changed the schema of ${staged.database} while it was proven`);
    }
    // Not before the last of the others is gone: a snapshot does not see what is committed after it.
    await beginReading(sessions);
    const known = staged.early && (await standing(watcher, staged.early));
    const contents = await readContents(sessions, options.limits, undefined, known);
    const local = await localProperties(watcher, access.target.accept);
    const stale = await staleViews(watcher, expected, contents);
    await all(everyone.map(end));
    const shared = sharedLines(await sharedProperties(admin, staged.oid));
    const found = differences(expected, {
      ...contents,
      relations: comparison.refreshedViews ? { ...contents.relations, ...stale } : contents.relations,
      schema,
      properties: propertiesHash([...shared, ...local]),
    });
    if (found.length > 0) {
      throw new Error(
        explain(access, staged, [
          ...found.slice(0, named),
          ...(found.length > named ? [`and ${found.length - named} more`] : []),
          ...propertyDifferences(origin, [...shared, ...local]),
          ...Object.keys(stale).map(staleView),
        ]),
      );
    }
    const refreshed = Object.keys(stale);
    if (refreshed.length > 0) access.log(`${refreshed.join(", ")}: refreshed in the copy, stale in the original`);
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

function explain(access: DatabaseAccess, staged: ProveOptions["staged"], lines: readonly string[]): string {
  return (
    `the staged database ${staged.database} is not equal to the snapshot of ${access.target.database}: ` +
    lines.join("; ")
  );
}

/** Materialized views whose rows differ, with the rows that they had: a dump only carries their definition. */
async function staleViews(
  client: Client,
  { relations: before }: Pick<DatabaseFingerprint, "relations">,
  { relations: after }: Contents,
): Promise<Contents["relations"]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm'`,
  );
  const stale: Contents["relations"] = {};
  for (const { name } of rows) {
    const was = before[name];
    const is = after[name];
    if (was !== undefined && is !== undefined && !sameRows(was, is)) stale[name] = was;
  }
  return stale;
}

function staleView(name: string): string {
  return (
    `the materialized view ${name} is stale, and a dump cannot keep that: REFRESH it before the deploy, or accept ` +
    `"stale-materialized-view"`
  );
}

function propertyDifferences(origin: Origin, lines: readonly string[]): string[] {
  const before = new Set([...sharedLines(origin.shared), ...origin.local]);
  const after = new Set(lines);
  return [
    ...[...before].filter((each) => !after.has(each)).map((each) => `live had ${each}`),
    ...[...after].filter((each) => !before.has(each)).map((each) => `staged has ${each}`),
  ];
}
