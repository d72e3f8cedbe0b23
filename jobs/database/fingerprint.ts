/**
 * Fingerprints: what proves that two databases hold the same rows, sequences and large objects. Rows are compared by
 * hashes of their text, which tells what the `hash_record_extended` of a row does not: values of one column that
 * changed places between rows, 1.0 from 1.00, and types without a hash function. docs/exactness.md has the reasons.
 *
 * A plain table's hash is the sha256 of the text that COPY gives of it, in the order in which its rows lie: a dump
 * reads them in that order, and a restore writes them so. The dump is hashed as it streams by, so the live database is
 * read once, and not twice. Where the order may change, or COPY does not give everything, the hashes of the rows are
 * added up by the server.
 */
import { setTimeout as pause } from "node:timers/promises";
import { escapeLiteral as literal, type Client } from "pg";
import type { DatabaseFingerprint } from "../../run/facts";
import type { TextHash } from "./blocks";
import { connect, end, one } from "./connection";
import { hashCopy } from "./copy-out";
import { Budget } from "./throttle";
import type { DatabaseAccess, Limits } from "./types";

export type Contents = Pick<DatabaseFingerprint, "relations" | "sequences" | "largeObjects">;
type RelationFingerprint = DatabaseFingerprint["largeObjects"];

/** Everything that a value's text depends on; and row security must be an error, never a shorter count. */
export const readingSettings = `
  SET search_path = ''; SET row_security = off; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD';
  SET intervalstyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = content;
  SET lc_monetary = 'C'; SET client_encoding = 'UTF8'; SET jit = off; SET statement_timeout = 0;
  SET idle_in_transaction_session_timeout = 0; SET max_parallel_workers_per_gather = 0;
  SET synchronize_seqscans = off`;

/** Pages of a table that one query hashes: 64 MB. Enough to make the query's own cost vanish. */
const chunkPages = 8192;
const pageBytes = 8192;

/** Schemas that belong to the server. Temporary ones begin with `pg_`, as no other schema may. */
export const userSchema = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;

/** A table, a partition or a materialized view that holds rows. */
export interface Relation {
  readonly name: string;
  /** For a plain table, how its rows are written as text. */
  readonly copy: string | undefined;
  /** For the key of {@link tableKey}. */
  readonly parts: readonly [schema: string, name: string];
  /** The name under which its rows are counted: the root of a partition, itself otherwise. */
  readonly root: string;
  readonly pages: number;
  readonly populated: boolean;
}

/** A part of a relation's rows. */
interface Chunk {
  readonly relation: Relation;
  readonly from: number;
  /** Undefined: to the end. */
  readonly to: number | undefined;
}

type Pair = readonly [Client, Client];

/** Opens a session that reads as fingerprints must. */
export async function openSession(access: DatabaseAccess, database: string): Promise<Client> {
  const client = await connect(access, database);
  try {
    await client.query(readingSettings);
    return client;
  } catch (error) {
    await end(client);
    throw error;
  }
}

/** Two of them: one for each core of a small machine. */
export async function openSessions(access: DatabaseAccess, database: string): Promise<Pair> {
  const opening = [openSession(access, database), openSession(access, database)] as const;
  try {
    return await all(opening);
  } catch (error) {
    for (const each of opening) await each.then(end, () => undefined);
    throw error;
  }
}

/** From now on, sessions read what is committed now, or what an exported snapshot has. */
export async function beginReading(sessions: Pair, snapshot?: string): Promise<void> {
  for (const client of sessions) {
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    // A snapshot's name is the server's own text; it can be no parameter here.
    if (snapshot !== undefined) await client.query(`SET TRANSACTION SNAPSHOT ${client.escapeLiteral(snapshot)}`);
  }
}

/** Opens sessions, and begins to read in an exported snapshot or in one of their own. */
export async function readingSessions(access: DatabaseAccess, database: string, snapshot?: string): Promise<Pair> {
  const sessions = await openSessions(access, database);
  try {
    await beginReading(sessions, snapshot);
    return sessions;
  } catch (error) {
    await Promise.all(sessions.map(end));
    throw error;
  }
}

/** The hashes of tables' text that were made elsewhere, by {@link tableKey}. */
export type TableTexts = ReadonlyMap<string, TextHash>;

export function tableKey(schema: string, name: string): string {
  return JSON.stringify([schema, name]);
}

/** What is known of a plain table's text. Undefined: it must be read. */
export type KnownText = (client: Client, table: Relation) => Promise<TextHash | undefined>;

/**
 * Fingerprints of all rows, sequences and large objects. The sessions share the work, as far as the limits let more
 * than one work at a time; they must see the same.
 * @param texts - of the plain tables, which are not read then
 * @param known - gives what is known of one of them, which is not read as text then
 */
export async function readContents(
  sessions: readonly [Client, ...Client[]],
  limits: Limits = { workers: 1 },
  texts?: Promise<TableTexts>,
  known?: KnownText,
): Promise<Contents> {
  // It is awaited below, later than it may fail.
  texts?.catch(() => undefined);
  const [first] = sessions;
  const listed = await listRelations(first);
  const sequences = await readSequences(first);
  const relations = new Map([...listed].filter(([, [relation]]) => relation?.copy === undefined));
  const tables = [...listed.values()].flat().filter(({ copy }) => copy !== undefined);
  const sums = new Map<string, { rows: bigint; hash: bigint }>();
  for (const root of relations.keys()) sums.set(root, { rows: 0n, hash: 0n });
  const work = chunks([...relations.values()].flat(), await tidRanges(first));
  const unread = texts === undefined ? [...tables] : [];
  const read = new Map<string, TextHash>();
  const budget = new Budget(limits.maxRate);
  const largeObjects = { rows: "0", hash: "0" };
  let largeObjectsRead = false;
  const worker = async (client: Client): Promise<void> => {
    if (!largeObjectsRead) {
      largeObjectsRead = true;
      Object.assign(largeObjects, await readLargeObjects(client));
    }
    for (let table = unread.shift(); table !== undefined; table = unread.shift()) {
      const text = (await known?.(client, table)) ?? (await hashCopy(client, table.copy ?? "", budget));
      read.set(tableKey(...table.parts), text);
    }
    for (let chunk = work.shift(); chunk !== undefined; chunk = work.shift()) {
      const sum = sums.get(chunk.relation.root);
      await pause(budget.spend(((chunk.to ?? chunk.relation.pages) - chunk.from) * pageBytes));
      const part = await one<RelationFingerprint>(client, chunkSql(chunk));
      if (sum === undefined) throw new Error(`no root was listed for ${chunk.relation.name}`);
      sum.rows += BigInt(part.rows);
      sum.hash += BigInt(part.hash);
    }
  };
  await all(sessions.slice(0, limits.workers).map(worker));
  const hashes = (await texts) ?? read;
  const unpopulated = [...relations.values()].flat().filter((relation) => !relation.populated);
  const fingerprints = [...sums].map(([root, sum]) => [root, { rows: `${sum.rows}`, hash: `${sum.hash}` }] as const);
  return {
    relations: {
      ...Object.fromEntries(fingerprints),
      ...Object.fromEntries(tables.map((table) => [table.name, textFingerprint(table, hashes)])),
      ...Object.fromEntries(unpopulated.map(({ name }) => [name, { rows: "0", hash: "not populated" }])),
    },
    sequences,
    largeObjects,
  };
}

function textFingerprint({ name, parts }: Relation, hashes: TableTexts): RelationFingerprint {
  const hash = hashes.get(tableKey(...parts));
  if (hash === undefined) throw new Error(`nothing was read of the table ${name}: the dump does not have its rows`);
  return { rows: String(hash.rows), hash: hash.sha256 };
}

/**
 * Like Promise.all, but waits for all of them: nothing must run on under the feet of what cleans up. Throws what went
 * wrong first, because one failure often brings the others about.
 */
export async function all<const T extends readonly Promise<unknown>[]>(
  promises: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const result = Promise.all(promises);
  // It is looked at below, later than it may fail.
  result.catch(() => undefined);
  await Promise.allSettled(promises);
  return result;
}

/**
 * Whose rows a dump has all of, and a restore writes in the same order: no partition (a hash partition on an enum puts
 * rows elsewhere), no generated columns (they are not in the dump), no extension's (of which a dump has a part).
 */
const plainTable = `c.relkind = 'r' AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute g WHERE g.attrelid = c.oid AND g.attgenerated <> '')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                     AND d.objid = c.oid AND d.deptype = 'e')`;

/** Relations that hold rows, by the root that they add up under. */
export async function listRelations(client: Client): Promise<Map<string, Relation[]>> {
  const { rows } = await client.query<{
    name: string;
    parts: [string, string];
    columns: string | null;
    root: string;
    kind: string;
    pages: string;
    populated: boolean;
    encoding: string;
  }>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind,
            pg_catalog.json_build_array(n.nspname, c.relname) AS parts, pg_catalog.getdatabaseencoding() AS encoding,
            CASE WHEN ${plainTable} THEN (
              SELECT coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum), '')
                FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            ) END AS columns,
            pg_catalog.format('%I.%I', rn.nspname, rc.relname) AS root,
            CASE WHEN c.relkind IN ('r', 'm')
                 THEN pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8
                 ELSE 0 END AS pages,
            c.relispopulated AS populated
       FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_catalog.pg_class rc ON rc.oid = coalesce(pg_catalog.pg_partition_root(c.oid), c.oid)
       JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
      WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND ${userSchema}
      ORDER BY pages DESC, 1`,
  );
  const roots = new Map<string, Relation[]>();
  for (const { name, parts, columns, root, kind, pages, populated, encoding } of rows) {
    const copy =
      columns === null
        ? undefined
        : `COPY ${name}${columns === "" ? "" : ` (${columns})`} TO STDOUT WITH (ENCODING ${literal(encoding)})`;
    const leaves = roots.get(root) ?? [];
    roots.set(root, leaves);
    // A partitioned table holds no rows itself, but that it is there is told.
    if (kind !== "p") leaves.push({ name, parts, copy, root, pages: Number(pages), populated });
  }
  return roots;
}

/** Reading a range of pages without reading the whole table came with 14. */
async function tidRanges(client: Client): Promise<boolean> {
  const { version } = await one<{ version: number }>(
    client,
    "SELECT pg_catalog.current_setting('server_version_num')::int AS version",
  );
  return version >= 140_000;
}

/** The work, biggest relations first. */
function chunks(relations: Relation[], ranges: boolean): Chunk[] {
  const populated = relations.filter((relation) => relation.populated).sort((a, b) => b.pages - a.pages);
  return populated.flatMap((relation) => {
    const count = ranges ? Math.max(1, Math.ceil(relation.pages / chunkPages)) : 1;
    return Array.from({ length: count }, (_, index) => ({
      relation,
      from: index * chunkPages,
      to: index === count - 1 ? undefined : (index + 1) * chunkPages,
    }));
  });
}

/** `(fp_.*)::text`, because a column may bear any name that the whole row is given, and would be taken for it. */
function chunkSql({ relation, from, to }: Chunk): string {
  const bounds = [
    ...(from > 0 ? [`fp_.ctid >= '(${from},0)'`] : []),
    ...(to !== undefined ? [`fp_.ctid < '(${to},0)'`] : []),
  ];
  return (
    `SELECT pg_catalog.count(*)::text AS rows,
            coalesce(pg_catalog.sum(pg_catalog.hashtextextended((fp_.*)::text COLLATE "C", 0)), 0)::text AS hash
       FROM ONLY ${relation.name} fp_` + (bounds.length > 0 ? ` WHERE ${bounds.join(" AND ")}` : "")
  );
}

/** `last_value,is_called` of every sequence. Not transactional: the values are those of this moment. */
export async function readSequences(client: Client): Promise<Record<string, string>> {
  const { rows: sequences } = await client.query<{ name: string }>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND ${userSchema} ORDER BY 1`,
  );
  if (sequences.length === 0) return {};
  const each = sequences.map(
    ({ name }) =>
      `SELECT ${client.escapeLiteral(name)} AS name, pg_catalog.concat_ws(',', last_value,
              CASE WHEN is_called THEN 'true' ELSE 'false' END) AS value FROM ${name}`,
  );
  const { rows } = await client.query<{ name: string; value: string }>(each.join(" UNION ALL "));
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
}

/**
 * Contents, not pages: a restore writes the pages that a sparse object leaves out. Read as their owners may, because not
 * every master may read the catalog of pages (13 has no pg_read_all_data).
 */
async function readLargeObjects(client: Client): Promise<RelationFingerprint> {
  return one<RelationFingerprint>(
    client,
    `SELECT pg_catalog.count(*)::text AS rows,
            coalesce(pg_catalog.sum(pg_catalog.hashtextextended(
              row(m.oid, m.lomowner::regrole, m.lomacl, pg_catalog.obj_description(m.oid, 'pg_largeobject'),
                  (WITH RECURSIVE part(number, length, hash) AS (
                     SELECT -1::int8, ${largeObjectPart}, NULL::bytea
                      UNION ALL
                     SELECT p.number + 1, pg_catalog.length(d.data), pg_catalog.sha256(d.data)
                       FROM part p CROSS JOIN LATERAL (
                         SELECT pg_catalog.lo_get(m.oid, (p.number + 1) * ${largeObjectPart}, ${largeObjectPart}) AS data
                         OFFSET 0) d
                      WHERE p.length = ${largeObjectPart})
                   SELECT pg_catalog.string_agg(concat_ws(' ', length, hash), ',' ORDER BY number) FROM part))::text
              COLLATE "C", 0)), 0)::text AS hash
       FROM pg_catalog.pg_largeobject_metadata m`,
  );
}

/** As much of a large object as the server holds at a time, in bytes. */
const largeObjectPart = 1 << 20;

/** How two fingerprints differ, one line each. Empty: the databases are equal. */
export function differences(before: DatabaseFingerprint, after: DatabaseFingerprint): string[] {
  return [
    ...memberDifferences(before.relations, after.relations, describeRows),
    ...memberDifferences(before.sequences, after.sequences, (name, was, is) => `sequence ${name}: ${was} became ${is}`),
    ...(sameRows(before.largeObjects, after.largeObjects)
      ? []
      : [describeRows("large objects", before.largeObjects, after.largeObjects)]),
    ...(before.schema === after.schema ? [] : ["the schema's text differs"]),
    ...(before.properties === after.properties ? [] : ["the database's properties differ"]),
  ];
}

function memberDifferences<T>(
  before: Readonly<Record<string, T>>,
  after: Readonly<Record<string, T>>,
  describe: (name: string, before: T, after: T) => string,
): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names.flatMap((name) => {
    const was = before[name];
    const is = after[name];
    if (was === undefined) return [`${name} was not there before`];
    if (is === undefined) return [`${name} is missing`];
    return JSON.stringify(was) === JSON.stringify(is) ? [] : [describe(name, was, is)];
  });
}

function describeRows(name: string, before: RelationFingerprint, after: RelationFingerprint): string {
  if (before.rows !== after.rows) return `${name}: ${before.rows} rows became ${after.rows}`;
  return `${name}: the number of rows is the same (${after.rows}), but not their contents`;
}

export function sameRows(a: RelationFingerprint, b: RelationFingerprint): boolean {
  return a.rows === b.rows && a.hash === b.hash;
}
