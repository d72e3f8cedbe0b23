/** What a healing took out of the live database, read from the evidence. */
import { escapeIdentifier as quoted, type Client } from "pg";
import type { DatabaseFingerprint, UndoneTable } from "../../run/facts";
import { end } from "./connection";
import { readContents, readingSessions, sameRows } from "./fingerprint";
import { existingDatabase } from "./properties";
import type { DatabaseAccess, SwapPair } from "./types";

type Relations = DatabaseFingerprint["relations"];

/**
 * Fingerprints the failed database and compares it with the snapshot's. The live database is not asked: its clients
 * write again. The evidence is opened for the two sessions that read, and closed again whatever happens.
 */
export async function readUndone(
  access: DatabaseAccess,
  admin: Client,
  pair: SwapPair,
  before: DatabaseFingerprint,
): Promise<UndoneTable[]> {
  const { row } = await existingDatabase(admin, pair.liveOid);
  if (row.datname !== pair.evidence) throw new Error(`the failed database is ${row.datname}, not ${pair.evidence}`);
  const database = quoted(pair.evidence);
  await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true CONNECTION LIMIT 2`);
  try {
    const sessions = await readingSessions(access, pair.evidence);
    try {
      const { relations } = await readContents(sessions);
      return undoneTables(before.relations, relations);
    } finally {
      await Promise.all(sessions.map(end));
    }
  } finally {
    await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS false CONNECTION LIMIT 0`);
  }
}

/** The tables that differ. */
export function undoneTables(before: Relations, failed: Relations): UndoneTable[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(failed)])].sort();
  return names.flatMap((table) => {
    const was = before[table];
    const is = failed[table];
    if (was !== undefined && is !== undefined && sameRows(was, is)) return [];
    const change = was === undefined ? "added" : is === undefined ? "removed" : "changed";
    return [{ table, before: was ? Number(was.rows) : null, failed: is ? Number(is.rows) : null, change } as const];
  });
}
