/** Statistics of a restored database, so that the first queries after a healing are planned as before. */
import { escapeIdentifier as quoted } from "pg";
import { withConnection } from "./connection";
import { all, userSchema } from "./fingerprint";
import type { DatabaseAccess } from "./types";

/** Analyzes all tables, partitioned parents and materialized views too, over so many connections, and the catalogs. */
export async function analyze(access: DatabaseAccess, database: string, workers: number): Promise<void> {
  const relations = await withConnection(access, database, async (client) => {
    const { rows } = await client.query<{ schema: string; name: string }>(
      `SELECT n.nspname AS schema, c.relname AS name
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm', 'p') AND (${userSchema} OR n.nspname = 'pg_catalog')
        ORDER BY pg_catalog.pg_relation_size(c.oid) DESC`,
    );
    return rows;
  });
  const worker = (): Promise<void> =>
    withConnection(access, database, async (client) => {
      await client.query("SET statement_timeout = 0");
      for (let next = relations.shift(); next !== undefined; next = relations.shift())
        await client.query(`ANALYZE ${quoted(next.schema)}.${quoted(next.name)}`);
    });
  await all(Array.from({ length: workers }, worker));
}
