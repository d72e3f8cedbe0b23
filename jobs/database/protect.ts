/** Protects a database: a dump in the vault, and a fingerprint of the very same snapshot. */
import { once } from "node:events";
import { pipeline } from "node:stream";
import type { Client } from "pg";
import { scratchDatabase } from "../../run/ids";
import type { DatabaseFingerprint } from "../../run/facts";
import { openArchive, sequenceValues, type Archive } from "./archive";
import { TableHashes } from "./blocks";
import { Checksum, type Sum } from "./checksum";
import { end, programEnvironment, remaining, saying, withConnection } from "./connection";
import {
  all,
  beginReading,
  openSessions,
  readContents,
  readSequences,
  tableKey,
  type Contents,
  type TableTexts,
} from "./fingerprint";
import { clientFolder, start, type RunningProgram } from "./program";
import { originHash, readOrigin, type Origin } from "./origin";
import { databaseOid, serverObjects, serverVersion } from "./properties";
import { readDumpedSchema, Scratch, type SchemaObjects } from "./schema";
import { exportSnapshot, type Snapshot } from "./snapshot";
import { Throttle } from "./throttle";
import type { DatabaseAccess, ProtectedDatabase, ProtectOptions } from "./types";

interface Live {
  readonly oid: number;
  readonly version: number;
  readonly folder: string;
  /** What a healing of the database does not undo. */
  readonly roles: Record<string, string>;
}

/**
 * Dumps the database into the vault and fingerprints it, all in one exported snapshot, with the tables locked against
 * changes of their definition from before the snapshot on. Nothing is stored in between: the dump goes as a stream.
 * No lock or snapshot is left when this returns or throws.
 */
export function protectDatabase(access: DatabaseAccess, options: ProtectOptions): Promise<ProtectedDatabase> {
  return saying(access, "protect", () => protectInSnapshot(access, options));
}

async function protectInSnapshot(access: DatabaseAccess, options: ProtectOptions): Promise<ProtectedDatabase> {
  const live = await readLive(access, options.deadline);
  const exporting = exportSnapshot(access, options.deadline);
  const opening = openSessions(access, access.target.database);
  try {
    const [snapshot, sessions] = await all([exporting, opening]);
    const { oid, version, roles } = live;
    const parts = await readSnapshot(access, live, { snapshot, sessions }, options);
    const { recoveryPoint, sum, fingerprint, origin, objects } = parts;
    return {
      kind: "database",
      recoveryPoint,
      snapshotAt: snapshot.takenAt.toISOString(),
      ...sum,
      oid: options.original ?? oid,
      serverVersion: version,
      fingerprint,
      roles,
      origin: JSON.stringify(origin),
      objects,
    };
  } finally {
    await exporting.then(({ holder }) => end(holder)).catch(() => undefined);
    await opening.then((sessions) => Promise.all(sessions.map(end))).catch(() => undefined);
  }
}

function readLive(access: DatabaseAccess, deadline: Date): Promise<Live> {
  return withConnection(access, access.target.database, async (client) => {
    const oid = await databaseOid(client, access.target.database);
    if (oid === undefined) throw new Error(`the database ${access.target.database} was renamed while it was looked at`);
    const version = await serverVersion(client);
    return {
      oid,
      version,
      folder: await clientFolder(version, deadline),
      roles: await serverObjects(client),
    };
  });
}

async function readSnapshot(
  access: DatabaseAccess,
  live: Live,
  { snapshot, sessions }: { readonly snapshot: Snapshot; readonly sessions: readonly [Client, Client] },
  options: ProtectOptions,
): Promise<{
  recoveryPoint: string;
  sum: Sum;
  fingerprint: DatabaseFingerprint;
  origin: Origin;
  objects: SchemaObjects;
}> {
  const { deadline } = options;
  const { database } = access.target;
  let dump: RunningProgram | undefined;
  const abandon = async (): Promise<void> => {
    dump?.kill();
    await Promise.all(sessions.map(end));
  };
  const timer = setTimeout(() => void abandon(), remaining(deadline, "protect the database"));
  let scratch: Scratch | undefined;
  try {
    const before = await readSequences(sessions[0]);
    await beginReading(sessions, snapshot.id);
    const origin = await readOrigin(sessions[0], options.original ?? live.oid, access);
    scratch = new Scratch(access, scratchDatabase(database, access.run), origin.shared.state);
    dump = await startDump(access, live.folder, snapshot, options);
    const archive = await openArchive(dump.stdout, live.folder);
    try {
      const stored = store(archive, dump.done, options);
      const parts = [
        stored,
        readContents(
          sessions,
          options.limits,
          stored.then(({ texts }) => texts),
        ),
        readDumpedSchema(access, archive, origin.guide, scratch, deadline),
      ] as const;
      // One failure ends the others; and none of them runs on when this returns.
      for (const part of parts) part.catch(abandon);
      const [{ recoveryPoint, sum }, contents, schema] = await all(parts);
      const sequences = await dumpedSequences(access, archive, before, contents, deadline);
      const fingerprint = { ...contents, sequences, schema: schema.hash, properties: originHash(origin) };
      return { recoveryPoint, sum, fingerprint, origin, objects: schema.objects };
    } finally {
      await archive.close();
    }
  } catch (error) {
    // When pg_dump itself failed, what it says explains more than the stream that broke off.
    dump?.kill();
    const reason = await dump?.done.then(
      () => undefined,
      (failure: unknown) => failure,
    );
    throw dump?.failedFirst === true ? reason : error;
  } finally {
    clearTimeout(timer);
    await scratch?.drop().catch((error: unknown) => access.log(`left behind: ${(error as Error).message}`));
    await abandon();
  }
}

async function startDump(
  access: DatabaseAccess,
  folder: string,
  snapshot: Snapshot,
  options: ProtectOptions,
): Promise<RunningProgram> {
  const args = [
    "--format=custom",
    "--compress=0",
    "--no-sync",
    "--no-subscriptions",
    "--lock-wait-timeout=10s",
    `--snapshot=${snapshot.id}`,
  ];
  const { database } = access.target;
  access.log(`$ pg_dump ${args.join(" ")} ${database}` + (options.vaultCommand ? ` | ${options.vaultCommand}` : ""));
  const environment = await programEnvironment(access, database);
  const dump = start({ command: "pg_dump", folder, args, environment, deadline: options.deadline });
  dump.stdin.end();
  return dump;
}

/** Streams the dump into the vault. The vault hears the stream's end only after pg_dump has ended well. */
async function store(
  archive: Archive,
  dumped: Promise<void>,
  options: ProtectOptions,
): Promise<{ recoveryPoint: string; sum: Sum; texts: TableTexts }> {
  const hashes = new TableHashes(archive.length);
  const checksum = new Checksum(() => dumped, hashes.update);
  // Whoever reads gets the error; without a reader it must not end the process.
  checksum.on("error", () => undefined);
  pipeline(archive.stream, new Throttle(options.limits?.maxRate), checksum, () => undefined);
  const failed = once(checksum, "error").then(([error]) => Promise.reject(error as Error));
  failed.catch(() => undefined);
  const deadline = overdue(options.deadline);
  try {
    const { recoveryPoint } = await Promise.race([options.vault(checksum), failed, deadline.passed]);
    if (checksum.sum === undefined || !checksum.readableEnded) {
      throw new Error(`the vault says that ${recoveryPoint} is complete, but it did not read the dump to its end`);
    }
    if (recoveryPoint === "") throw new Error("the vault took the dump, but names no recovery point");
    return { recoveryPoint, sum: checksum.sum, texts: textsOf(archive, hashes) };
  } catch (error) {
    checksum.destroy(error as Error);
    throw error;
  } finally {
    deadline.cancel();
  }
}

function textsOf({ entries }: Archive, hashes: TableHashes): TableTexts {
  const byId = hashes.finish();
  return new Map(
    entries.flatMap(({ id, kind, schema, tag }) => {
      const hash = kind === "TABLE DATA" ? byId.get(id) : undefined;
      return hash === undefined ? [] : [[tableKey(schema, tag), hash] as const];
    }),
  );
}

function overdue(deadline: Date): { passed: Promise<never>; cancel: () => void } {
  let cancel = (): void => undefined;
  const passed = new Promise<never>((_resolve, reject) => {
    const error = new Error(`the vault did not take the dump until the deadline, ${deadline.toISOString()}`);
    const timer = setTimeout(() => reject(error), Math.max(0, deadline.getTime() - Date.now()));
    cancel = () => clearTimeout(timer);
  });
  passed.catch(() => undefined);
  return { passed, cancel };
}

/**
 * The values that the dump sets, after a look that they are real: as they were if the sequence stood still, between
 * the values before and after if it moved. A sequence that the dump does not set (an extension's own) must stand still.
 */
async function dumpedSequences(
  access: DatabaseAccess,
  archive: Archive,
  before: Contents["sequences"],
  contents: Contents,
  deadline: Date,
): Promise<Contents["sequences"]> {
  const after = await withConnection(access, access.target.database, readSequences);
  const dumped = await sequenceValues(archive, deadline);
  const sequences: Record<string, string> = {};
  for (const name of Object.keys(contents.sequences)) {
    const [from, to, value] = [before[name], after[name], dumped[name] ?? before[name]];
    const stood = from !== undefined && from === to;
    if (value === undefined || (stood && value !== from) || (!stood && dumped[name] === undefined)) {
      throw new Error(
        `the sequence ${name} is dumped as ${value ?? "nothing"}, but was ${from ?? "not there"} before and ` +
          `${to ?? "not there"} after; start the pipeline again`,
      );
    }
    sequences[name] = value;
  }
  const unknown = Object.keys(dumped).find((name) => sequences[name] === undefined);
  if (unknown !== undefined) throw new Error(`the dump sets the sequence ${unknown}, which the snapshot does not have`);
  return sequences;
}
