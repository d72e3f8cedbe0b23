/** Stages a database: restores the recovery point beside the live database, where a healing will find it. */
import { pipeline } from "node:stream";
import { finished } from "node:stream/promises";
import { DatabaseError, type Client } from "pg";
import { evidenceDatabase, stagedDatabase } from "../../run/ids";
import { analyze } from "./analyze";
import { openArchive, type Archive } from "./archive";
import { DamagedDump } from "./blocks";
import { Checksum, type Sum } from "./checksum";
import { end, remaining, saying, withConnection } from "./connection";
import { Crew } from "./crew";
import type { EarlyRows } from "./early";
import { openSession } from "./fingerprint";
import { createOwned, dropOwned } from "./owned";
import { clientFolder } from "./program";
import { originOf } from "./origin";
import { databaseOid } from "./properties";
import { restore, type RestoreGuide } from "./restore";
import { Throttle } from "./throttle";
import type { DatabaseAccess, FreshlyStaged, ProtectedDatabase, StageOptions } from "./types";

/**
 * Restores the dump, as the vault gives it back, into a new database beside the live one. The stream's length and
 * sha256 are verified before pg_restore hears its end. What an interrupted attempt of this run has left is dropped
 * first; when this fails, nothing of it is left.
 */
export function stageDatabase(access: DatabaseAccess, options: StageOptions): Promise<FreshlyStaged> {
  return saying(access, "stage", async () => {
    await checkLive(access, options.protected);
    return stageAs(access, stagedDatabase(access.target.database, access.run), options);
  });
}

/** Stages under a name of one's own. */
export async function stageAs(access: DatabaseAccess, database: string, options: StageOptions): Promise<FreshlyStaged> {
  const { guide, shared } = originOf(options.protected);
  // The vault begins to send while the database is made.
  const opening = openRecoveryPoint(options);
  opening.catch(() => undefined);
  let oid: number;
  try {
    oid = await createOwned(access, database, shared.state);
  } catch (error) {
    void opening.then(({ archive }) => archive.close()).catch(() => undefined);
    throw error;
  }
  try {
    const point = await opening;
    try {
      return { database, oid, early: await fill(access, database, guide, point, options) };
    } finally {
      await point.archive.close();
    }
  } catch (error) {
    await dropOwned(access, database).catch((dropError: unknown) =>
      access.log(`the database ${database} could not be dropped: ${(dropError as Error).message}`),
    );
    throw error;
  }
}

interface RecoveryPoint {
  readonly checksum: Checksum;
  readonly archive: Archive;
}

async function openRecoveryPoint(options: StageOptions): Promise<RecoveryPoint> {
  const folder = await clientFolder(options.protected.serverVersion, options.deadline);
  const checksum = await openVerified(options);
  return { checksum, archive: await openArchive(checksum, folder) };
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
  guide: RestoreGuide,
  { checksum, archive }: RecoveryPoint,
  options: StageOptions,
): Promise<EarlyRows | undefined> {
  const { deadline } = options;
  const workers = options.limits?.workers ?? 1;
  const sessions: Client[] = [];
  const readings = [checksum];
  const timer = setTimeout(() => void Promise.all(sessions.map(end)), remaining(deadline, "restore the database"));
  const session = async (): Promise<Client> => {
    const client = await openSession(access, database);
    sessions.push(client);
    return client;
  };
  try {
    // With one worker nobody is free to do more than load; and where a rate bounds it, doing more saves no time.
    const isBusy = workers === 1 || options.limits?.maxRate !== undefined;
    const crew = new Crew({ workers, session, readsBack: !isBusy });
    // One reading of the dump feeds one connection, whose server process is what a load waits for.
    if (!isBusy) readings.push(await openVerified(options));
    access.log(
      `$ ... | pg_restore --exit-on-error --dbname=${database}   # schemas, extensions, tables, data, indexes, rights`,
    );
    const contents = { streams: [archive.stream, ...readings.slice(1)], crew };
    await restore(access, guide, { archive, into: database, contents, workers, deadline });
    if (readings.some(({ sum }) => sum === undefined))
      throw new Error("the recovery point's stream was not read to its end");
    await analyze(access, database, workers, crew.analyzed);
    return crew.early;
  } catch (error) {
    // Whether it is what was stored is known at its end, and says more than where it could not be understood.
    if (blamesData(error)) {
      const signal = AbortSignal.timeout(remaining(deadline, "read the recovery point to its end"));
      await finished(checksum.resume(), { signal });
    }
    throw error;
  } finally {
    clearTimeout(timer);
    for (const each of readings) each.destroy();
    await Promise.all(sessions.map(end));
  }
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
