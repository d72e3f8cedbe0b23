/**
 * Names that are derived from a run's id. A run is one execution of the pipeline, and its id is the execution's id.
 *
 * PostgreSQL truncates a longer identifier with a NOTICE only, so two long names can silently become one: a name
 * that would not fit is shortened with a hash of the whole, never by cutting alone.
 */
import { createHash } from "node:crypto";

/** The id of a run: the pipeline execution's id, a UUID. */
export type RunId = string & { readonly __brand: "RunId" };

/** PostgreSQL's longest identifier, in bytes (NAMEDATALEN - 1). */
export const longestIdentifier = 63;

const pattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Parses a run id. Throws when it is not a pipeline execution's id. */
export function runId(text: string): RunId {
  if (!pattern.test(text)) {
    throw new Error(`"${text}" is not a run id. A run id is the id of a pipeline execution, a UUID in lower case.`);
  }
  return text as RunId;
}

/** The first eight hex digits of a run id: what names on AWS and in PostgreSQL carry. */
export function shortRun(run: RunId): string {
  return run.slice(0, 8);
}

/** The name of the database into which a run restores, for example `shop_staged_1b9d6bcd`. */
export function stagedDatabase(database: string, run: RunId): string {
  return derivedName(database, `_staged_${shortRun(run)}`);
}

/** The name under which a run keeps the failed database as evidence, for example `shop_failed_1b9d6bcd`. */
export function evidenceDatabase(database: string, run: RunId): string {
  return derivedName(database, `_failed_${shortRun(run)}`);
}

/** The name of the database through which a run's schema text takes its canonical form, `shop_scratch_1b9d6bcd`. */
export function scratchDatabase(database: string, run: RunId): string {
  return derivedName(database, `_scratch_${shortRun(run)}`);
}

/** The name of the database in which a run proves a dump beside a clone, `shop_proof_1b9d6bcd`. */
export function proofDatabase(database: string, run: RunId): string {
  return derivedName(database, `_proof_${shortRun(run)}`);
}

function derivedName(database: string, suffix: string): string {
  const name = database + suffix;
  if (Buffer.byteLength(name) <= longestIdentifier) return name;
  const hash = createHash("sha256").update(database).digest("hex").slice(0, 8);
  const room = longestIdentifier - suffix.length - hash.length - 1;
  let kept = "";
  for (const character of database) {
    if (Buffer.byteLength(kept + character) > room) break;
    kept += character;
  }
  return `${kept}_${hash}${suffix}`;
}
