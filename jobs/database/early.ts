/**
 * Rows that are read back while other tables are still being restored, before the database is closed. What is read then
 * counts only if nothing has come between that and the seal. A row version never changes, and bears the id of the
 * transaction that wrote it (`xmin`), which even freezing keeps. So when the database is closed, one look at the table
 * without any text tells: as many rows as were read, all of them of the transaction that loaded the table, and in the
 * same file, which is to say in the same order. Anything else, and the table is read again.
 *
 * What a value's text depends on besides is in catalogs: the names of an enum's labels, a column that was dropped and
 * added again with a value for all rows. They are compared by {@link meaningOf}. Tables with values whose text needs
 * more of the catalogs, or a type's own code, are not read early.
 */
import type { Client } from "pg";
import type { TextHash } from "./blocks";
import { one } from "./connection";
import { hashCopy } from "./copy-out";
import { listRelations, tableKey, type KnownText, type Relation } from "./fingerprint";
import { Budget } from "./throttle";

/** A table as it was read early. */
export interface EarlyTable {
  readonly text: TextHash;
  /** Of the transaction that loaded it, with its epoch. */
  readonly xid: string;
  /** The number of its file. */
  readonly file: string;
}

/** What was read early of a database. */
export interface EarlyRows {
  /** Of {@link meaningOf}, from before the first table was read. */
  readonly meaning: string;
  /** By {@link tableKey}. */
  readonly tables: ReadonlyMap<string, EarlyTable>;
}

/** OIDs below are the server's own. */
const firstUserOid = 16_384;

/** Columns whose text depends on their bits, on {@link meaningOf}, and on nothing else. */
const plainColumn = `(t.oid < ${firstUserOid} AND t.typname !~ '^(reg|aclitem)' OR t.typtype = 'e')`;

/** The tables that may be read early, by {@link tableKey}. */
export async function earlyTables(client: Client): Promise<Map<string, Relation>> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_attribute a
                JOIN pg_catalog.pg_type own ON own.oid = a.atttypid
                LEFT JOIN pg_catalog.pg_type element ON element.oid = own.typelem AND own.typcategory = 'A'
                JOIN pg_catalog.pg_type t ON t.oid = coalesce(element.oid, own.oid)
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT ${plainColumn})`,
  );
  const names = new Set(rows.map(({ name }) => name));
  const tables = [...(await listRelations(client)).values()].flat();
  const early = tables.filter(({ name, copy }) => copy !== undefined && names.has(name));
  return new Map(early.map((table) => [tableKey(...table.parts), table]));
}

/** Differs when something differs that the text of a table's stored values depends on. */
export async function meaningOf(client: Client): Promise<string> {
  const parts = [
    `SELECT 'schema', oid, nspname FROM pg_catalog.pg_namespace`,
    `SELECT 'table', oid, relname, relnamespace FROM pg_catalog.pg_class WHERE relkind = 'r'`,
    `SELECT 'column', attrelid, attnum, attname, atttypid, atttypmod, attisdropped, attmissingval::text
       FROM pg_catalog.pg_attribute WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'r')`,
    `SELECT 'type', oid, typname, typnamespace, typtype, typelem, typoutput FROM pg_catalog.pg_type`,
    `SELECT 'label', oid, enumtypid, enumlabel FROM pg_catalog.pg_enum`,
  ].map(
    (sql) => `SELECT pg_catalog.sum(pg_catalog.hashtextextended((fp_.*)::text COLLATE "C", 0)) AS s FROM (${sql}) fp_`,
  );
  const { meaning } = await one<{ meaning: string }>(
    client,
    `SELECT pg_catalog.string_agg(coalesce(s, 0)::text, ' ' ORDER BY n) AS meaning
       FROM (${parts.map((sql, n) => `SELECT ${n} AS n, s FROM (${sql}) part`).join(" UNION ALL ")}) parts`,
  );
  return meaning;
}

/** Reads a table back that the transaction has loaded. The session reads as fingerprints must, in no transaction. */
export async function readEarly(client: Client, table: Relation, xid: string): Promise<EarlyTable> {
  const sql = "SELECT relfilenode::text AS file FROM pg_catalog.pg_class WHERE oid = $1::regclass";
  const { file } = await one<{ file: string }>(client, sql, [table.name]);
  return { text: await hashCopy(client, table.copy ?? "", new Budget(undefined)), xid, file };
}

/** The numbers of the files of all tables, by {@link tableKey}. */
async function files(client: Client): Promise<Map<string, string>> {
  const { rows } = await client.query<{ parts: [string, string]; file: string }>(
    `SELECT pg_catalog.json_build_array(n.nspname, c.relname) AS parts, c.relfilenode::text AS file
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'`,
  );
  return new Map(rows.map(({ parts, file }) => [tableKey(...parts), file]));
}

/** What still stands of what was read early. To be called, and used, when the database is closed. */
export async function standing(client: Client, early: EarlyRows): Promise<KnownText> {
  const same = (await meaningOf(client)) === early.meaning;
  const now = same ? await files(client) : new Map<string, string>();
  return async (session, table) => {
    const key = tableKey(...table.parts);
    const known = early.tables.get(key);
    if (known === undefined || now.get(key) !== known.file) return undefined;
    return (await isAsRead(session, table, known)) ? known.text : undefined;
  };
}

/** Whether all rows of a table, and no others, are those that were read early. */
async function isAsRead(client: Client, { name }: Relation, { text, xid }: EarlyTable): Promise<boolean> {
  const { rows, others } = await one<{ rows: string; others: string }>(
    client,
    `SELECT pg_catalog.count(*)::text AS rows, pg_catalog.count(*) FILTER (WHERE xmin <> '${xid}'::xid8::xid)::text AS others
       FROM ONLY ${name}`,
  );
  return rows === String(text.rows) && others === "0";
}
