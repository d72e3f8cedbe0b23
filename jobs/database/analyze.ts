/** Statistics of a restored database, so that the first queries after a healing are planned as before. */
import { escapeIdentifier as quoted, type Client } from "pg";
import { withConnection } from "./connection";
import { all, tableKey, userSchema } from "./fingerprint";
import type { DatabaseAccess } from "./types";

/**
 * Analyzes all tables, partitioned parents and materialized views too, over so many connections, and the catalogs.
 * @param analyzed - tables, by `tableKey`, that need it no more, but for what they inherit
 */
export async function analyze(
  access: DatabaseAccess,
  database: string,
  workers: number,
  analyzed: ReadonlySet<string>,
): Promise<void> {
  const left: string[] = [];
  const work = async (client: Client): Promise<void> => {
    await client.query("SET statement_timeout = 0; SET synchronous_commit = off");
    for (let next = left.shift(); next !== undefined; next = left.shift()) await client.query(`ANALYZE ${next}`);
  };
  await withConnection(access, database, async (client) => {
    left.push(...(await unanalyzed(client, analyzed)));
    const others = Array.from({ length: Math.min(workers, left.length) - 1 }, () =>
      withConnection(access, database, work),
    );
    await all([work(client), ...others]);
  });
}

/** What to analyze in one statement each: all catalogs, and then each relation, biggest first. */
async function unanalyzed(client: Client, analyzed: ReadonlySet<string>): Promise<string[]> {
  const { rows } = await client.query<{ schema: string; name: string; parent: boolean; catalog: boolean }>(
    `SELECT n.nspname AS schema, c.relname AS name, n.nspname = 'pg_catalog' AS catalog,
            EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS parent
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'm', 'p') AND (${userSchema} OR n.nspname = 'pg_catalog')
      ORDER BY pg_catalog.pg_relation_size(c.oid) DESC`,
  );
  const named = ({ schema, name }: (typeof rows)[number]): string => `${quoted(schema)}.${quoted(name)}`;
  const catalogs = rows.filter(({ catalog }) => catalog);
  const relations = rows.filter(
    ({ schema, name, parent, catalog }) => !catalog && (parent || !analyzed.has(tableKey(schema, name))),
  );
  return [catalogs.map(named).join(", "), ...relations.map(named)];
}
