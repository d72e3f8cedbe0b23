/**
 * The schema's canonical text. pg_dump's text of a database differs from its text of an equal, restored one: it prints
 * some expressions in another form after they were parsed again. One round trip through a scratch database takes every
 * schema to a form that no further round trip changes, and that is the form that is compared.
 */
import { createHash } from "node:crypto";
import { withoutRestrict, type Archive } from "./archive";
import { programEnvironment } from "./connection";
import { createOwned, dropOwned } from "./owned";
import { output } from "./program";
import { restore, type RestoreGuide } from "./restore";
import type { DatabaseAccess } from "./types";

/** The sha256 of the schema's text of a database that was restored: its form is canonical already. */
export async function restoredSchemaHash(
  access: DatabaseAccess,
  database: string,
  folder: string,
  deadline: Date,
): Promise<string> {
  const environment = await programEnvironment(access, database);
  const args = ["--schema-only", "--lock-wait-timeout=10s"];
  const text = await output({ command: "pg_dump", folder, args, environment, deadline });
  return createHash("sha256").update(withoutVolatileLines(text)).digest("hex");
}

/** The sha256 of the canonical text of the schema that a dump holds. */
export async function canonicalSchemaHash(
  access: DatabaseAccess,
  archive: Archive,
  guide: RestoreGuide,
  scratch: { readonly name: string; readonly like: number },
  deadline: Date,
): Promise<string> {
  await createOwned(access, scratch.name, scratch.like);
  try {
    await restore(access, guide, { archive, into: scratch.name, schemaOnly: true, workers: 1, deadline });
    return await restoredSchemaHash(access, scratch.name, archive.folder, deadline);
  } finally {
    await dropOwned(access, scratch.name);
  }
}

/** Drops what differs between two dumps of one schema: the versions, and a random word. */
export function withoutVolatileLines(text: string): string {
  return withoutRestrict(text)
    .replace(/^-- Dumped from database version .*\n/m, "")
    .replace(/^-- Dumped by pg_dump version .*\n/m, "");
}
