/**
 * The schema's canonical text. pg_dump's text of a database differs from its text of an equal, restored one: it prints
 * some expressions in another form after they were parsed again. One round trip through a scratch database takes every
 * schema to a form that no further round trip changes, and that is the form that is compared.
 */
import { createHash } from "node:crypto";
import { openArchive, withoutRestrict, type Archive } from "./archive";
import { programEnvironment, withConnection } from "./connection";
import { createOwned, dropOwned } from "./owned";
import { output, start } from "./program";
import type { DatabaseState } from "./properties";
import { readGuide, restore, type RestoreGuide } from "./restore";
import type { DatabaseAccess } from "./types";

/** What is known of the schema that a dump holds. */
export interface DumpedSchema {
  /** The sha256 of its canonical text. */
  readonly hash: string;
  readonly objects: SchemaObjects;
}

/** A hash of the owner and the definition, by an object's kind and name, as `table public.orders`. */
export type SchemaObjects = Readonly<Record<string, string>>;

export async function readDumpedSchema(
  access: DatabaseAccess,
  archive: Archive,
  guide: RestoreGuide,
  scratch: Scratch,
  deadline: Date,
): Promise<DumpedSchema> {
  const original = await archiveText(archive, deadline);
  const canonical = await canonicalSchema(access, archive, original, guide, scratch, deadline);
  return { hash: sha256(canonical), objects: objectHashes(original) };
}

/** A database for a moment, made while other things go on. */
export class Scratch {
  /** Settles when it is there. */
  readonly made: Promise<unknown>;
  private dropped: Promise<void> | undefined;

  constructor(
    private readonly access: DatabaseAccess,
    readonly name: string,
    like: DatabaseState,
  ) {
    this.made = createOwned(access, name, like);
    // It is awaited later than it may fail.
    this.made.catch(() => undefined);
  }

  /** Drops it, once. Does nothing when it could not be made. */
  drop(): Promise<void> {
    this.dropped ??= this.made.then(
      () => dropOwned(this.access, this.name),
      () => undefined,
    );
    return this.dropped;
  }
}

/** The canonical text of a database's schema, by way of a scratch database of that name. */
export async function canonicalSchemaOf(
  access: DatabaseAccess,
  database: string,
  folder: string,
  { name, like }: { readonly name: string; readonly like: DatabaseState },
  deadline: Date,
): Promise<string> {
  const guide = await withConnection(access, database, readGuide);
  const environment = await programEnvironment(access, database);
  const args = ["--format=custom", "--compress=0", ...schemaOnly];
  const dump = start({ command: "pg_dump", folder, args, environment, deadline });
  dump.stdin.end();
  const archive = await openArchive(dump.stdout, folder);
  try {
    archive.stream.resume();
    await dump.done;
    const text = await archiveText(archive, deadline);
    return await canonicalSchema(access, archive, text, guide, new Scratch(access, name, like), deadline);
  } finally {
    await archive.close();
  }
}

async function canonicalSchema(
  access: DatabaseAccess,
  archive: Archive,
  original: string,
  guide: RestoreGuide,
  scratch: Scratch,
  deadline: Date,
): Promise<string> {
  try {
    await scratch.made;
    await restore(access, guide, { archive, into: scratch.name, workers: 1, deadline });
    const text = await schemaText(access, scratch.name, archive.folder, deadline);
    const lost = restoreLosses(original, text);
    if (lost.length > 0) throw new Error(`a restore does not bring back all of the schema: ${lost.join("; ")}`);
    return text;
  } finally {
    await scratch.drop();
  }
}

/** The text of the schema that the dump itself holds: as the original has it, before any restore. */
async function archiveText({ folder, head }: Archive, deadline: Date): Promise<string> {
  const environment = { PATH: process.env.PATH ?? "", LC_ALL: "C" };
  const args = ["--schema-only", "--no-subscriptions", "--file=-", head];
  return withoutVolatileLines(await output({ command: "pg_restore", folder, args, environment, deadline }));
}

/** Subscriptions are the preflight's: only a superuser can dump them. */
const schemaOnly = ["--schema-only", "--no-subscriptions", "--lock-wait-timeout=10s"];

/** The text of pg_dump without what differs between two dumps of one schema. */
export async function schemaText(
  access: DatabaseAccess,
  database: string,
  folder: string,
  deadline: Date,
): Promise<string> {
  const environment = await programEnvironment(access, database);
  const text = await output({ command: "pg_dump", folder, args: schemaOnly, environment, deadline });
  return withoutVolatileLines(text);
}

/** What pg_dump's text says of one object. */
export interface SchemaObject {
  /** For example `TABLE`. */
  readonly kind: string;
  /** For example `table public.orders`. */
  readonly what: string;
  readonly owner: string;
  readonly text: string;
}

/** Splits pg_dump's text at its own headings. What stands above the first one is no object. */
export function schemaObjects(text: string): SchemaObject[] {
  const heading = /^--\n-- Name: (.+); Type: (.+); Schema: (.+); Owner: (.*?)(?:; Tablespace: .*)?\n--$/gm;
  const whole = text.replace(/^--\n-- PostgreSQL database dump complete\n--\s*$/m, "");
  const headings = [...whole.matchAll(heading)];
  return headings.map((match, index) => {
    const [, name = "", kind = "", schema = "", owner = ""] = match;
    const body = whole.slice(match.index, headings[index + 1]?.index);
    return {
      kind,
      what: `${kind.toLowerCase()} ${schema === "-" ? "" : `${schema}.`}${name}`,
      owner,
      // Depends on the object before, and is told with the object itself where it matters.
      text: body.replaceAll(/^SET default_(tablespace|table_access_method) = .*;$/gm, "").trim(),
    };
  });
}

/** That a materialized view is to be filled is in a whole dump's text, and not in that of a schema alone. */
function definitions(text: string): SchemaObject[] {
  return schemaObjects(text).filter(({ kind }) => kind !== "MATERIALIZED VIEW DATA");
}

/** The objects of pg_dump's text. Two texts of one database are comparable by it without being in canonical form. */
export function objectHashes(text: string): SchemaObjects {
  const bodies = new Map<string, string>();
  for (const { what, owner, text: body } of definitions(text))
    bodies.set(what, `${bodies.get(what) ?? ""}${owner}\n${body}`);
  return Object.fromEntries([...bodies].map(([what, body]) => [what, sha256(body)]));
}

/** Kinds whose text has expressions, which pg_dump prints in another form after they were parsed again. */
const drifting = new Set(
  "TABLE,VIEW,MATERIALIZED VIEW,INDEX,CONSTRAINT,CHECK CONSTRAINT,DEFAULT,DOMAIN,FUNCTION,PROCEDURE,POLICY,RULE,TRIGGER,STATISTICS,PUBLICATION TABLE".split(
    ",",
  ),
);

/**
 * What a restore made another, one line each. The canonical text alone would not tell: what every restore loses, it
 * loses from both sides of the comparison.
 */
export function restoreLosses(original: string, restored: string): string[] {
  const [before, after] = [original, restored].map((text) => {
    const lines = definitions(text).map(({ kind, what, owner, text: body }) =>
      JSON.stringify([what, owner, drifting.has(kind) ? "" : body]),
    );
    return lines.sort();
  });
  return [
    ...missing(before ?? [], after ?? []).map((line) => `${describe(line)} is lost or altered`),
    ...missing(after ?? [], before ?? []).map((line) => `${describe(line)} appears`),
  ];
}

/** Members of the first list that the second does not have as often. */
function missing(first: readonly string[], second: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const line of second) counts.set(line, (counts.get(line) ?? 0) + 1);
  return first.filter((line) => {
    const count = counts.get(line) ?? 0;
    counts.set(line, count - 1);
    return count <= 0;
  });
}

function describe(line: string): string {
  const [what, owner] = JSON.parse(line) as [string, string];
  return owner === "" || owner === "-" ? what : `${what} of ${owner}`;
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Drops what differs between two dumps of one schema: the versions, and a random word. */
export function withoutVolatileLines(text: string): string {
  return withoutRestrict(text)
    .replace(/^-- Dumped from database version .*\n/m, "")
    .replace(/^-- Dumped by pg_dump version .*\n/m, "");
}
