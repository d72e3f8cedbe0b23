/**
 * What a healing took out of the live database: the failed database, kept as evidence, against the one in its place.
 *
 * A row is unchanged when its version is older than the snapshot, so a table without newer versions and with as many
 * rows as before is done with one cheap count. The others are read from both databases as hashes in order, and merged:
 * memory does not depend on their size. The healed database has clients by now; what they write is told apart by the
 * transaction that put it in place, and counted as uncertain where they wrote over a row that was there before.
 */
import { escapeIdentifier as quoted, type Client } from "pg";
import Cursor from "pg-cursor";
import type { UndoneTable } from "../../run/facts";
import { end, one } from "./connection";
import { readingSessions, userSchema } from "./fingerprint";
import { originOf } from "./origin";
import { clientFolder } from "./program";
import { existingDatabase, sharedLines, sharedProperties } from "./properties";
import { objectHashes, schemaText, type SchemaObjects } from "./schema";
import type { DatabaseAccess, ProtectedDatabase, SwapPair, Undone } from "./types";

type Rows = NonNullable<UndoneTable["rows"]>;

/** Readers, and pg_dump. */
const visitors = 3;

/** Compares. The evidence is opened for as long as it is read, and closed again whatever happens. */
export async function readUndone(
  access: DatabaseAccess,
  admin: Client,
  pair: SwapPair,
  before: ProtectedDatabase,
  deadline: Date,
): Promise<Undone> {
  const { row } = await existingDatabase(admin, pair.liveOid);
  if (row.datname !== pair.evidence) throw new Error(`the failed database is ${row.datname}, not ${pair.evidence}`);
  const database = quoted(pair.evidence);
  await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true CONNECTION LIMIT ${visitors}`);
  try {
    // Beside the rows, and never longer than the evidence is open.
    const objects = changedObjects(access, pair, before, deadline).catch((error: unknown) => {
      access.log(`the objects that differed cannot be told: ${(error as Error).message}`);
      return [];
    });
    const tables = await changedTables(access, admin, pair, before, deadline).finally(() => objects);
    return { tables, objects: [...(await changedProperties(access, admin, pair, before)), ...(await objects)] };
  } finally {
    await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS false CONNECTION LIMIT 0`);
  }
}

async function changedTables(
  access: DatabaseAccess,
  admin: Client,
  pair: SwapPair,
  before: ProtectedDatabase,
  deadline: Date,
): Promise<UndoneTable[]> {
  const { horizon } = originOf(before);
  // The transaction that put the healed database in place wrote its row of the catalog.
  const { xmin: healed } = await existingDatabase(admin, pair.staged.oid);
  const failed = await readingSessions(access, pair.evidence);
  const live = await readingSessions(access, pair.database);
  try {
    const found = await Promise.all([failed, live].map(([reader]) => listTables(reader)));
    const [failedTables = new Map<string, Table>(), liveTables = new Map<string, Table>()] = found;
    const tables = await changes(access, failed[0], failedTables, before, horizon, deadline);
    // Small ones first: when the time is up, as many as possible have been told.
    const size = ({ before: was, failed: is }: UndoneTable): number => (was ?? 0) + (is ?? 0);
    for (const told of [...tables].sort((a, b) => size(a) - size(b))) {
      const [was, is] = [liveTables.get(told.table), failedTables.get(told.table)];
      if (told.change !== "changed" || was === undefined || is === undefined || was.columns.size === 0) continue;
      const rows = await within(failed[0], deadline, () =>
        within(live[0], deadline, () => compareRows(failed[0], live[0], was, is, healed, told.before ?? 0)),
      );
      if (rows === undefined) {
        access.log(
          `the rows of ${told.table}, and of larger tables, could not be compared in time; the evidence has them`,
        );
        break;
      }
      Object.assign(told, { rows });
    }
    return tables.filter(({ rows, before: was, failed: is }) => rows === undefined || was !== is || anything(rows));
  } finally {
    await Promise.all([...failed, ...live].map(end));
  }
}

/** A rewritten table has new versions of rows that are the same. */
function anything({ added, removed, changed, uncertain = 0 }: Rows): boolean {
  return added + removed + changed + uncertain > 0;
}

interface Table {
  readonly name: string;
  readonly partitioned: boolean;
  /** Type by quoted name. */
  readonly columns: ReadonlyMap<string, string>;
  /** Quoted columns of the primary key; empty when there is none. */
  readonly key: readonly string[];
}

async function listTables(client: Client): Promise<Map<string, Table>> {
  const { rows } = await client.query<{ name: string; kind: string; columns: Record<string, string>; key: string[] }>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind,
            coalesce((SELECT pg_catalog.jsonb_object_agg(pg_catalog.quote_ident(a.attname),
                                                         pg_catalog.format_type(a.atttypid, a.atttypmod))
                        FROM pg_catalog.pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}') AS columns,
            ARRAY(SELECT pg_catalog.quote_ident(a.attname) FROM pg_catalog.pg_index i
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
                   WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY a.attnum) AS key
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relpersistence <> 't' AND c.relispopulated
        AND ${userSchema} ORDER BY 1`,
  );
  return new Map(
    rows.map(({ name, kind, columns, key }) => {
      const sorted = Object.entries(columns).sort(([a], [b]) => (a < b ? -1 : 1));
      return [name, { name, partitioned: kind === "p", columns: new Map(sorted), key }];
    }),
  );
}

/** The tables that may differ, with how many rows they have. */
async function changes(
  access: DatabaseAccess,
  client: Client,
  tables: ReadonlyMap<string, Table>,
  { fingerprint }: ProtectedDatabase,
  horizon: string,
  deadline: Date,
): Promise<UndoneTable[]> {
  const found: UndoneTable[] = [];
  for (const table of [...new Set([...Object.keys(fingerprint.relations), ...tables.keys()])].sort()) {
    const was = fingerprint.relations[table];
    const is = tables.get(table);
    const before = was === undefined ? null : Number(was.rows);
    if (is === undefined) {
      // What was never populated is no table of rows, then or now.
      if (was?.hash !== "not populated") found.push({ table, before, failed: null, change: "removed" });
      continue;
    }
    const counted = await within(client, deadline, () =>
      one<{ rows: string; newer: string }>(
        client,
        `SELECT pg_catalog.count(*)::text AS rows, pg_catalog.count(*) FILTER (
                WHERE pg_catalog.age(fp_.xmin) <= pg_catalog.age($1::xid8::xid))::text AS newer FROM ${from(is)}`,
        [horizon],
      ),
    );
    if (counted === undefined) {
      access.log(`${table}, and what comes after it, could not be counted in time; the evidence has it`);
      break;
    }
    const failed = Number(counted.rows);
    if (before === null) found.push({ table, before, failed, change: "added" });
    else if (counted.newer !== "0" || before !== failed) found.push({ table, before, failed, change: "changed" });
  }
  return found;
}

function from({ name, partitioned }: Table): string {
  return `${partitioned ? "" : "ONLY "}${name} fp_`;
}

/** Undefined when the time is up. A statement that it was up for leaves its transaction behind, failed. */
async function within<T>(client: Client, deadline: Date, work: () => Promise<T>): Promise<T | undefined> {
  const left = deadline.getTime() - Date.now();
  if (left <= 0) return undefined;
  try {
    await client.query(`SET LOCAL statement_timeout = ${left}`);
    return await work();
  } catch (error) {
    if ((error as { code?: string }).code !== timeout) throw error;
    return undefined;
  }
}

/** `query_canceled`. */
const timeout = "57014";

/** Rows by their key's and their text's hash, in order. */
async function* hashedRows(client: Client, table: Table, like: Table, keep: string): AsyncGenerator<HashedRow> {
  // What both have: a column that a release added makes no row another one.
  const common = [...like.columns].filter(([name, type]) => table.columns.get(name) === type).map(([name]) => name);
  const hash = (columns: readonly string[]): string =>
    `pg_catalog.hashtextextended(ROW(${columns.map((name) => `fp_.${name}`).join(", ")})::text COLLATE "C", 0)`;
  const whole = hash(common);
  const keyed = like.key.length > 0 && like.key.every((name) => common.includes(name));
  const cursor = client.query(
    new Cursor<{ key: string; hash: string; count: string }>(
      `SELECT key::text AS key, hash::text AS hash, count::text AS count
         FROM (SELECT ${keyed ? hash(like.key) : whole} AS key, ${whole} AS hash, pg_catalog.count(*) AS count
                 FROM ${from(table)} WHERE ${keep} GROUP BY 1, 2) hashed
        ORDER BY hashed.key, hashed.hash`,
    ),
  );
  try {
    for (let rows = await cursor.read(batch); rows.length > 0; rows = await cursor.read(batch)) {
      for (const row of rows) yield { key: BigInt(row.key), hash: row.hash, count: Number(row.count) };
    }
  } finally {
    await cursor.close();
  }
}

export interface HashedRow {
  readonly key: bigint;
  readonly hash: string;
  readonly count: number;
}

const batch = 5_000;

async function compareRows(
  failed: Client,
  live: Client,
  was: Table,
  is: Table,
  healed: string,
  before: number,
): Promise<Rows> {
  const untouched = `pg_catalog.age(fp_.xmin) > pg_catalog.age('${healed}'::xid)`;
  const { rows, seen } = await mergeRows(hashedRows(live, was, was, untouched), hashedRows(failed, is, was, "true"));
  return { ...rows, ...(seen < before ? { uncertain: before - seen } : {}) };
}

/**
 * Counts how two sequences of rows, each in the order of its keys, differ: one pass, in the memory of one key's rows.
 * @returns also how many rows the first one had
 */
export async function mergeRows(
  before: AsyncIterable<HashedRow>,
  after: AsyncIterable<HashedRow>,
): Promise<{ rows: { added: number; removed: number; changed: number }; seen: number }> {
  const rows = { added: 0, removed: 0, changed: 0 };
  const olds = groups(before);
  const news = groups(after);
  let seen = 0;
  let old = await olds.next();
  let other = await news.next();
  while (old.done !== true || other.done !== true) {
    const order = old.done === true ? 1 : other.done === true ? -1 : compareKeys(old.value.key, other.value.key);
    const was = old.done !== true && order <= 0 ? old.value.counts : new Map<string, number>();
    const is = other.done !== true && order >= 0 ? other.value.counts : new Map<string, number>();
    const gone = surplus(was, is);
    const come = surplus(is, was);
    const changed = Math.min(gone, come);
    rows.changed += changed;
    rows.removed += gone - changed;
    rows.added += come - changed;
    for (const count of was.values()) seen += count;
    if (order <= 0) old = await olds.next();
    if (order >= 0) other = await news.next();
  }
  return { rows, seen };
}

function compareKeys(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** How many rows of the first are not in the second. */
function surplus(first: ReadonlyMap<string, number>, second: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const [hash, count] of first) sum += Math.max(0, count - (second.get(hash) ?? 0));
  return sum;
}

interface Group {
  readonly key: bigint;
  readonly counts: Map<string, number>;
}

async function* groups(rows: AsyncIterable<HashedRow>): AsyncGenerator<Group> {
  let group: Group | undefined;
  for await (const { key, hash, count } of rows) {
    if (group !== undefined && group.key !== key) {
      yield group;
      group = undefined;
    }
    group ??= { key, counts: new Map() };
    group.counts.set(hash, (group.counts.get(hash) ?? 0) + count);
  }
  if (group !== undefined) yield group;
}

/** Properties of the database as a whole. The evidence's own limit and the freeze are the run's doing. */
async function changedProperties(
  access: DatabaseAccess,
  admin: Client,
  pair: SwapPair,
  before: ProtectedDatabase,
): Promise<string[]> {
  const own = (text: string): boolean => text.startsWith('["connection limit"');
  const was = sharedLines(originOf(before).shared).filter((text) => !own(text));
  const failed = await sharedProperties(admin, pair.liveOid, access.writes === "freeze");
  const is = sharedLines(failed).filter((text) => !own(text));
  return [
    ...was.filter((text) => !is.includes(text)).map((text) => `the database lost ${text}`),
    ...is.filter((text) => !was.includes(text)).map((text) => `the database got ${text}`),
  ];
}

/**
 * Objects of the schema. The failed database is the very one that was dumped, so pg_dump gives the same text of what
 * nobody changed, whatever its form.
 */
async function changedObjects(
  access: DatabaseAccess,
  pair: SwapPair,
  before: ProtectedDatabase,
  deadline: Date,
): Promise<string[]> {
  if (before.objects === undefined) throw new Error("the recovery point's fact does not have what was there");
  const folder = await clientFolder(before.serverVersion, deadline);
  const failed = await schemaText(access, pair.evidence, folder, deadline);
  return objectChanges(before.objects, objectHashes(failed));
}

/** One line for each object of the schema that differs. */
export function objectChanges(before: SchemaObjects, failed: SchemaObjects): string[] {
  const all = [...new Set([...Object.keys(before), ...Object.keys(failed)])].sort();
  return all.flatMap((what) => {
    const [was, is] = [before[what], failed[what]];
    if (was === is) return [];
    return [`${what} was ${was === undefined ? "added" : is === undefined ? "removed" : "changed"}`];
  });
}

/** How what lives on the server as a whole differs, one line each. Nothing of it is healed with a database. */
export function serverChanges(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((name) => {
    const was = before[name];
    const is = after[name];
    if (was === is) return [];
    if (was === undefined) return [`${name} was added`];
    if (is === undefined) return [`${name} was removed`];
    return [`${name} was changed: ${memberChanges(was, is).join(", ")}`];
  });
}

function memberChanges(before: string, after: string): string[] {
  const was = JSON.parse(before) as Record<string, unknown>;
  const is = JSON.parse(after) as Record<string, unknown>;
  const text = (value: unknown): string => JSON.stringify(value ?? null);
  return [...new Set([...Object.keys(was), ...Object.keys(is)])]
    .filter((name) => text(was[name]) !== text(is[name]))
    .map((name) => `${name} was ${text(was[name])} and is ${text(is[name])}`);
}
