/** Stages a database: restores the recovery point beside the live database, where a healing will find it. */
import { pipeline } from "node:stream";
import { finished } from "node:stream/promises";
import { DatabaseError } from "pg";
import { evidenceDatabase, stagedDatabase } from "../../run/ids";
import { analyze } from "./analyze";
import { openArchive } from "./archive";
import { DamagedDump } from "./blocks";
import { Checksum, type Sum } from "./checksum";
import { remaining, saying, withConnection } from "./connection";
import { createOwned, dropOwned } from "./owned";
import { clientFolder } from "./program";
import { originOf } from "./origin";
import { databaseOid } from "./properties";
import { restore, type RestoreGuide } from "./restore";
import { Throttle } from "./throttle";
import type { DatabaseAccess, ProtectedDatabase, StagedDatabase, StageOptions } from "./types";

/**
 * Restores the dump, as the vault gives it back, into a new database beside the live one. The stream's length and
 * sha256 are verified before pg_restore hears its end. What an interrupted attempt of this run has left is dropped
 * first; when this fails, nothing of it is left.
 */
export function stageDatabase(access: DatabaseAccess, options: StageOptions): Promise<StagedDatabase> {
  return saying(access, "stage", async () => {
    await checkLive(access, options.protected);
    return stageAs(access, stagedDatabase(access.target.database, access.run), options);
  });
}

/** Stages under a name of one's own. */
export async function stageAs(
  access: DatabaseAccess,
  database: string,
  options: StageOptions,
): Promise<StagedDatabase> {
  const { guide, shared } = originOf(options.protected);
  const folder = await clientFolder(options.protected.serverVersion, options.deadline);
  const oid = await createOwned(access, database, shared.state);
  try {
    await fill(access, database, folder, guide, options);
    return { database, oid };
  } catch (error) {
    await dropOwned(access, database).catch((dropError: unknown) =>
      access.log(`the database ${database} could not be dropped: ${(dropError as Error).message}`),
    );
    throw error;
  }
}

/**
 * The live database must be the one that was protected, and the name for the evidence must be free. It is looked at
 * from outside: when a healer stages, the live database is closed.
 */
function checkLive(access: DatabaseAccess, protectedDatabase: ProtectedDatabase): Promise<void> {
  const { adminDatabase, database, host } = access.target;
  return withConnection(access, adminDatabase, async (client) => {
    const oid = await databaseOid(client, database);
    if (oid !== protectedDatabase.oid) {
      throw new Error(
        `the database ${database} on ${host} is another one (OID ${oid}) than was protected ` +
          `(OID ${protectedDatabase.oid}); start the pipeline again`,
      );
    }
    const evidence = evidenceDatabase(database, access.run);
    if ((await databaseOid(client, evidence)) !== undefined) {
      throw new Error(`a database named "${evidence}" exists on ${host} already: this run has been healed before`);
    }
  });
}

async function fill(
  access: DatabaseAccess,
  database: string,
  folder: string,
  guide: RestoreGuide,
  options: StageOptions,
): Promise<void> {
  const { deadline } = options;
  const workers = options.limits?.workers ?? 1;
  const checksum = await openVerified(options);
  const archive = await openArchive(checksum, folder);
  try {
    access.log(
      `$ ... | pg_restore --exit-on-error --dbname=${database}   # schemas, extensions, tables, data, indexes, rights`,
    );
    await restore(access, guide, {
      archive,
      into: database,
      stream: archive.stream,
      workers,
      deadline,
    });
    if (checksum.sum === undefined) throw new Error("the recovery point's stream was not read to its end");
  } catch (error) {
    // Whether it is what was stored is known at its end, and says more than where it could not be understood.
    if (blamesData(error)) {
      const signal = AbortSignal.timeout(remaining(deadline, "read the recovery point to its end"));
      await finished(checksum.resume(), { signal });
    }
    throw error;
  } finally {
    await archive.close();
  }
  await analyze(access, database, workers);
}

/** Whether the data itself is wrong: as a dump, for its types (class 22), or for its constraints (class 23). */
function blamesData(error: unknown): boolean {
  return error instanceof DamagedDump || (error instanceof DatabaseError && /^2[23]/.test(error.code ?? ""));
}

/** The recovery point's stream, which ends well only when it is what was stored. */
export async function openVerified(options: Pick<StageOptions, "protected" | "dump" | "limits">): Promise<Checksum> {
  const checksum = new Checksum((sum) => verify(sum, options.protected));
  // Whoever reads gets the error; without a reader it must not end the process.
  checksum.on("error", () => undefined);
  pipeline(await options.dump(), new Throttle(options.limits?.maxRate), checksum, () => undefined);
  return checksum;
}

function verify(sum: Sum, expected: ProtectedDatabase): void {
  if (sum.bytes === expected.bytes && sum.sha256 === expected.sha256) return;
  throw new Error(
    `the recovery point ${expected.recoveryPoint} is not what was stored: ${sum.bytes} bytes with sha256 ${sum.sha256}, ` +
      `instead of ${expected.bytes} bytes with sha256 ${expected.sha256}`,
  );
}
