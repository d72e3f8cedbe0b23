/** The exported snapshot in which everything about a protection is read. */
import type { Client } from "pg";
import { connect, end, one, remaining } from "./connection";
import { userSchema } from "./fingerprint";
import type { DatabaseAccess } from "./types";

export interface Snapshot {
  /** What other sessions import. */
  readonly id: string;
  readonly takenAt: Date;
  /** The session that holds it; ends with {@link end}. */
  readonly holder: Client;
}

/** How often tables may appear or vanish between listing and locking them before that is an error. */
const attempts = 5;
const raced = new Set(["42P01", "3F000"]);

/**
 * Locks all tables against everything that changes their definition, and only then takes the snapshot: a TRUNCATE
 * between a snapshot and its lock would make the dump *and* the fingerprint say that the table is empty.
 */
export async function exportSnapshot(access: DatabaseAccess, deadline: Date): Promise<Snapshot> {
  const holder = await connect(access);
  try {
    for (let attempt = 1; ; attempt++) {
      remaining(deadline, "lock the tables");
      const snapshot = await tryExport(holder);
      if (snapshot !== undefined) return snapshot;
      if (attempt === attempts) {
        throw new Error(
          `tables of ${access.target.database} appear or vanish all the time; protect it when that is over`,
        );
      }
    }
  } catch (error) {
    await end(holder);
    throw error;
  }
}

/** Undefined: another set of tables was locked than the snapshot has. */
async function tryExport(holder: Client): Promise<Snapshot | undefined> {
  const tables = await listTables(holder);
  await holder.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    // A time-out that is set on the database or the role would end the holder, and the snapshot with it.
    await holder.query(
      "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s'",
    );
    if (tables.length > 0)
      await holder.query(`LOCK TABLE ${tables.map((name) => `ONLY ${name}`).join(", ")} IN ACCESS SHARE MODE`);
    // Before the snapshot: the age that is told is never less than the real one.
    const takenAt = new Date();
    const { id } = await one<{ id: string }>(holder, "SELECT pg_catalog.pg_export_snapshot() AS id");
    const seen = await listTables(holder);
    if (seen.join() === tables.join()) return { id, takenAt, holder };
  } catch (error) {
    if (!raced.has((error as { code?: string }).code ?? "")) {
      await holder.query("ROLLBACK").catch(() => undefined);
      throw error;
    }
  }
  await holder.query("ROLLBACK");
  return undefined;
}

async function listTables(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND ${userSchema} ORDER BY c.oid`,
  );
  return rows.map(({ name }) => name);
}
