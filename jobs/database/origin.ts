/**
 * What a restore has to know of the original, and the dump does not carry. It is read in the dump's own snapshot and
 * kept with the recovery point's fact, because later there is nobody to ask: the live database may have been altered by
 * a failed deploy, and is closed while it is healed.
 */
import type { Client } from "pg";
import * as z from "zod/mini";
import { one } from "./connection";
import { localProperties, propertiesHash, sharedLines, sharedProperties, type SharedProperties } from "./properties";
import { readGuide, type RestoreGuide } from "./restore";
import type { DatabaseAccess, ProtectedDatabase } from "./types";

const text = z.string();
const nullable = z.nullable(z.string());

const schema = z.object({
  guide: z.object({
    extensions: z.array(z.object({ name: text, version: text, schema: text, owner: text, comment: nullable })),
    strangers: z.array(z.object({ schema: text, role: text })),
    schemas: z.array(text),
  }),
  shared: z.object({
    state: z.object({
      row: z.object({
        datname: text,
        datcollate: text,
        datctype: text,
        datconnlimit: z.number(),
        datistemplate: z.boolean(),
        datallowconn: z.boolean(),
        datlocprovider: z.optional(text),
        datlocale: z.optional(nullable),
        daticulocale: z.optional(nullable),
        daticurules: z.optional(nullable),
      }),
      owner: text,
      encoding: text,
      tablespace: text,
      comment: nullable,
      xmin: text,
    }),
    grants: z.array(z.object({ grantor: text, grantee: nullable, privilege: text, grantable: z.boolean() })),
    settings: z.array(z.object({ role: nullable, name: text, value: text })),
  }),
  /** Lines of localProperties, to say what differs. */
  local: z.array(text),
  /** Transactions before this one are in the snapshot: rows that they wrote, and that are still there, are unchanged. */
  horizon: text,
});

export interface Origin {
  readonly guide: RestoreGuide;
  readonly shared: SharedProperties;
  readonly local: readonly string[];
  readonly horizon: string;
}

/** Reads it in a session that has imported the snapshot. */
export async function readOrigin(session: Client, oid: number, access: DatabaseAccess): Promise<Origin> {
  const { horizon } = await one<{ horizon: string }>(
    session,
    "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text AS horizon",
  );
  return {
    guide: await readGuide(session),
    shared: await sharedProperties(session, oid, access.writes === "freeze"),
    local: await localProperties(session, access.target.accept),
    horizon,
  };
}

/** The part of the fingerprint that hashes what a dump does not carry. */
export function originHash({ shared, local }: Pick<Origin, "shared" | "local">): string {
  return propertiesHash([...sharedLines(shared), ...local]);
}

/** Parses what a fact holds. Throws when there is none, or it is another version's. */
export function originOf({ origin, recoveryPoint }: Pick<ProtectedDatabase, "origin" | "recoveryPoint">): Origin {
  if (origin === undefined)
    throw new Error(`the fact of the recovery point ${recoveryPoint} does not say what a restore has to know`);
  const result = z.safeParse(schema, JSON.parse(origin));
  if (result.success) return result.data;
  throw new Error(`the fact of the recovery point ${recoveryPoint} cannot be read: ${z.prettifyError(result.error)}`);
}
