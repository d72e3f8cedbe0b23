/** Which tables two databases have, and how their rows can be compared. */
import { escapeIdentifier as quoted, type Client } from "pg";

export interface Column {
  readonly name: string;
  readonly type: string;
}

export interface Table {
  /** Qualified, and quoted where it needs to be. */
  readonly name: string;
  readonly partitioned: boolean;
  readonly columns: readonly Column[];
  /** Names of the primary key's columns, in its order; empty without one. */
  readonly key: readonly string[];
}

/**
 * All ordinary tables; a partitioned one stands for its partitions, because rows may lie in others after a restore.
 * Generated columns follow from the others and are left out.
 */
export async function tablesOf(client: Client): Promise<Map<string, Table>> {
  const { rows } = await client.query<Table>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.relkind = 'p' AS partitioned,
            coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                        'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
               FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '[]') AS columns,
            coalesce((SELECT pg_catalog.json_agg(a.attname ORDER BY k.position)
               FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position)
               JOIN pg_catalog.pg_attribute a ON a.attnum = k.attnum
              WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND k.position <= i.indnkeyatts), '[]')
              AS key
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      ORDER BY 1`,
  );
  return new Map(rows.map((table) => [table.name, table]));
}

/** How the rows of one table are read on both sides. */
export interface Reading {
  readonly table: Table;
  /** The columns that both have, with the same type. */
  readonly columns: readonly string[];
  /** Empty: whole rows are compared, as often as they occur. */
  readonly key: readonly string[];
  /** Columns that only one side has, or with another type, for people. */
  readonly differing: readonly string[];
}

export function readingOf(live: Table, failed: Table): Reading {
  const types = new Map(failed.columns.map(({ name, type }) => [name, type]));
  const columns = live.columns.filter(({ name, type }) => types.get(name) === type).map(({ name }) => name);
  const all = new Set([...live.columns, ...failed.columns].map(({ name }) => name));
  const key = live.key.every((name) => columns.includes(name)) ? live.key : [];
  return { table: live, columns, key, differing: [...all].filter((name) => !columns.includes(name)) };
}

/** The rows as `{key, row}`, both JSON texts, in the order of their keys' bytes; without a key, of the rows' bytes. */
export function rowsSql({ table, columns, key }: Reading): string {
  const members = key.map((name) => `x.${quoted(name)}`).join(", ");
  const row = "pg_catalog.row_to_json(x)::text";
  const by = key.length === 0 ? row : `pg_catalog.json_build_array(${members})::text`;
  return `SELECT ${by} AS key, ${row} AS row FROM (${selection(table, columns)}) x ORDER BY (${by}) COLLATE "C"`;
}

/** One line that is the same for equal rows in any order: most tables are compared by it alone. */
export function digestSql({ table, columns }: Reading): string {
  const hash = "pg_catalog.hashtextextended(pg_catalog.row_to_json(x)::text, 0)";
  return `SELECT count(*)::text || ':' || coalesce(sum(${hash}), 0)::text AS digest FROM (${selection(table, columns)}) x`;
}

function selection({ name, partitioned }: Table, columns: readonly string[]): string {
  return `SELECT ${columns.map(quoted).join(", ")} FROM ${partitioned ? "" : "ONLY "}${name}`;
}
