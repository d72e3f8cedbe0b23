/** What interrupted work of a run has left on a server. */
import { proofDatabase, scratchDatabase, stagedDatabase, type RunId } from "../../run/ids";
import { saying, withConnection } from "./connection";
import { dropOwned, mark } from "./owned";
import { databaseOid, existingDatabase } from "./properties";
import type { DatabaseAccess, StagedDatabase } from "./types";

/** The names of all that a run makes beside a database until its verdict. */
export function temporaryDatabases(database: string, run: RunId): string[] {
  return [stagedDatabase, scratchDatabase, proofDatabase].map((name) => name(database, run));
}

/** Which of these databases there are. */
export function existingDatabases(access: DatabaseAccess, names: readonly string[]): Promise<string[]> {
  return saying(access, "look for leftovers", () =>
    withConnection(access, access.target.adminDatabase, async (client) => {
      const { rows } = await client.query<{ datname: string }>(
        "SELECT datname FROM pg_catalog.pg_database WHERE datname = ANY ($1)",
        [names],
      );
      return rows.map(({ datname }) => datname);
    }),
  );
}

/**
 * The staged database of this run that an earlier healer has closed to prove it, and was lost before it could say so. It
 * counts for nothing until it is proven again. What was not restored to its end bears the mark, and is dropped instead.
 */
export function closedStaged(access: DatabaseAccess): Promise<StagedDatabase | undefined> {
  const { adminDatabase, database: live } = access.target;
  const database = stagedDatabase(live, access.run);
  return saying(access, "look for the copy of", () =>
    withConnection(access, adminDatabase, async (client) => {
      const oid = await databaseOid(client, database);
      if (oid === undefined) return undefined;
      const { row, comment } = await existingDatabase(client, oid);
      return row.datallowconn || comment === mark(access.run) ? undefined : { database, oid };
    }),
  );
}

/** Drops what this run has begun beside its database and not finished. What does not bear its mark makes it fail. */
export function dropUnfinished(access: DatabaseAccess): Promise<void> {
  return saying(access, "remove leftovers", async () => {
    for (const name of temporaryDatabases(access.target.database, access.run)) await dropOwned(access, name);
  });
}
