/**
 * Restores a dump into an empty database as a master that is no superuser. A plain pg_restore fails there: rights are
 * restored last, so an owner may not yet create what it owns; extensions come in the newest version; a right that was
 * handed on needs a session of the one who did. The order here works from one dump, read once.
 */
import { escapeIdentifier as quoted, escapeLiteral as literal, type Client } from "pg";
import type { Readable } from "node:stream";
import { entriesSql, writeList, type Archive } from "./archive";
import { afterData } from "./after-data";
import { programEnvironment, withConnection } from "./connection";
import type { Crew } from "./crew";
import { userSchema } from "./fingerprint";
import { loadData, Untaken } from "./load";
import { output } from "./program";
import type { Entry } from "./toc";
import type { DatabaseAccess } from "./types";

export interface RestoreOptions {
  readonly archive: Archive;
  /** The database to fill: empty, made from template0. */
  readonly into: string;
  /**
   * The whole dump, once for each connection that is to load it. Without contents, everything about objects is restored,
   * and nothing of what they hold.
   */
  readonly contents?: { readonly streams: readonly Readable[]; readonly crew: Crew };
  /** How many connections work at the same time. */
  readonly workers: number;
  readonly deadline: Date;
}

/** What the live database says about owners and extensions; a dump does not carry it, or not exactly. */
export interface RestoreGuide {
  readonly extensions: readonly Extension[];
  /** Roles that own an object in a schema of somebody else. */
  readonly strangers: readonly { readonly schema: string; readonly role: string }[];
  readonly schemas: readonly string[];
}

interface Extension {
  readonly name: string;
  readonly version: string;
  readonly schema: string;
  readonly owner: string;
  readonly comment: string | null;
}

const catalogs = { namespace: 2615, defaultAcl: 826 } as const;

const kinds = {
  schema: (entry: Entry) => entry.catalog === catalogs.namespace,
  acl: (entry: Entry) => entry.kind === "ACL" || entry.catalog === catalogs.defaultAcl,
  extensionComment: (entry: Entry) => entry.kind === "COMMENT" && entry.tag.startsWith("EXTENSION "),
  /** They need data, and rights, of other objects. */
  last: (entry: Entry) => entry.kind === "MATERIALIZED VIEW DATA" || entry.kind === "EVENT TRIGGER",
  largeObject: (entry: Entry) =>
    entry.kind.startsWith("BLOB") || (entry.schema === "" && entry.tag.startsWith("LARGE OBJECT")),
} as const;

/** Reads the guide from the live database, to which the client is connected. */
export async function readGuide(client: Client): Promise<RestoreGuide> {
  const extensions = await client.query<Extension>(
    `SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema,
            pg_catalog.pg_get_userbyid(e.extowner) AS owner, pg_catalog.obj_description(e.oid, 'pg_extension') AS comment
       FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY e.oid`,
  );
  const owned = [
    ["pg_class", "relnamespace", "relowner"],
    ["pg_proc", "pronamespace", "proowner"],
    ["pg_type", "typnamespace", "typowner"],
    ["pg_operator", "oprnamespace", "oprowner"],
    ["pg_opclass", "opcnamespace", "opcowner"],
    ["pg_opfamily", "opfnamespace", "opfowner"],
    ["pg_collation", "collnamespace", "collowner"],
    ["pg_conversion", "connamespace", "conowner"],
    ["pg_statistic_ext", "stxnamespace", "stxowner"],
    ["pg_ts_dict", "dictnamespace", "dictowner"],
    ["pg_ts_config", "cfgnamespace", "cfgowner"],
  ].map(
    ([catalog, namespace, owner]) =>
      `SELECT n.nspname AS schema, pg_catalog.pg_get_userbyid(o.${owner}) AS role FROM pg_catalog.${catalog} o
         JOIN pg_catalog.pg_namespace n ON n.oid = o.${namespace} WHERE o.${owner} <> n.nspowner AND ${userSchema}`,
  );
  const strangers = await client.query<{ schema: string; role: string }>(owned.join(" UNION "));
  const schemas = await client.query<{ name: string }>(
    `SELECT n.nspname AS name FROM pg_catalog.pg_namespace n WHERE ${userSchema}`,
  );
  return { extensions: extensions.rows, strangers: strangers.rows, schemas: schemas.rows.map(({ name }) => name) };
}

/** Fills the database. On an error it is left as it is, for the caller to drop. */
export async function restore(access: DatabaseAccess, guide: RestoreGuide, options: RestoreOptions): Promise<void> {
  const { archive, into, deadline, contents } = options;
  const { schemas, objects, rest, rights, last } = sort(archive.entries, contents === undefined);
  const environment = await programEnvironment(access, into);
  const load = {
    ...environment,
    // The restored database is not needed before it is proven and sealed, and that commit waits for the disk. An index
    // is built by one process: the others are the live database's.
    PGOPTIONS:
      `${environment.PGOPTIONS ?? ""} -c synchronous_commit=off -c maintenance_work_mem=128MB ` +
      "-c max_parallel_maintenance_workers=0",
  };
  const pgRestore = (args: string[]) => ({
    command: "pg_restore" as const,
    folder: archive.folder,
    args: ["--exit-on-error", "--no-privileges", `--dbname=${into}`, ...args],
    environment: load,
    deadline,
  });
  const fromHead = async (entries: readonly Entry[], args: string[]): Promise<void> => {
    if (entries.length === 0) return;
    const list = await writeList(archive, entries);
    await output(pgRestore([`--use-list=${list}`, ...args, archive.head]));
  };

  await fromHead(schemas, []);
  // What is run last is made meanwhile.
  const rightsSql = entriesSql(archive, rights, deadline);
  const sequences = contents === undefined ? [] : archive.entries.filter(({ kind }) => kind === "SEQUENCE SET");
  const sequencesSql = entriesSql(archive, sequences, deadline);
  for (const made of [rightsSql, sequencesSql]) made.catch(() => undefined);
  const granted = await withConnection(access, into, async (client) => {
    await dropWhatIsNotThere(client, guide);
    await createExtensions(client, guide.extensions);
    const missing = await grantCreate(client, guide);
    await fromHead(rest, ["--section=pre-data"]);
    await fromHead(objects, []);
    if (contents !== undefined) {
      const { streams, crew } = contents;
      await crew.prepare(rest, (entries) => fromHead(entries, []));
      const untaken = new Untaken(archive.entries);
      const loaded = crew.loaded.bind(crew);
      await crew.work(
        streams.map((stream) => (session, free) => loadData(session, { archive, stream, untaken, loaded, free })),
      );
      const values = await sequencesSql;
      if (values !== "") await client.query(values);
    }
    return missing;
  });
  await fromHead(contents?.crew.rest ?? afterData(rest), [`--jobs=${options.workers}`]);
  await withConnection(access, into, async (client) => {
    await revokeCreate(client, granted);
    const sql = asRoles(await rightsSql);
    if (sql !== "") await client.query(sql);
  });
  await fromHead(last, []);
}

/** The parts of the table of contents, each in its own order. */
export function sort(
  entries: readonly Entry[],
  schemaOnly: boolean,
): Record<"schemas" | "objects" | "rest" | "rights" | "last", Entry[]> {
  const wanted = entries.filter((entry) => !kinds.extensionComment(entry) && !(schemaOnly && kinds.largeObject(entry)));
  const lastOnes = new Set(wanted.filter(kinds.last).map(({ id }) => id));
  // A comment comes after what it is about.
  const isLast = ({ id, section, needs }: Entry): boolean =>
    lastOnes.has(id) || (section === "none" && needs.some((need) => lastOnes.has(need)));
  // Empty ones: to 16 they are made with the definitions, from 17 on with the data, which is loaded another way.
  const isObject = (entry: Entry): boolean => kinds.largeObject(entry) && !kinds.acl(entry) && entry.kind !== "BLOBS";
  const special = (entry: Entry): boolean =>
    kinds.schema(entry) || kinds.acl(entry) || isObject(entry) || isLast(entry);
  return {
    schemas: wanted.filter(kinds.schema),
    objects: wanted.filter(isObject),
    rest: wanted.filter((entry) => !special(entry)),
    rights: wanted.filter(kinds.acl),
    // What a schema alone has no need of: contents of materialized views.
    last: wanted.filter((entry) => isLast(entry) && !(schemaOnly && entry.kind.startsWith("MATERIALIZED"))),
  };
}

/** template0 brings a schema and an extension that the live database may have dropped. */
async function dropWhatIsNotThere(client: Client, guide: RestoreGuide): Promise<void> {
  if (!guide.schemas.includes("public")) await client.query("DROP SCHEMA IF EXISTS public");
  const extensions = guide.extensions.map(({ name }) => name);
  if (!extensions.includes("plpgsql")) await client.query("DROP EXTENSION IF EXISTS plpgsql");
}

/** Exactly the live versions, by their owners: the dump's own statements then find them there. */
async function createExtensions(client: Client, extensions: readonly Extension[]): Promise<void> {
  const { rows } = await client.query<{ name: string }>("SELECT extname AS name FROM pg_catalog.pg_extension");
  const present = new Set(rows.map(({ name }) => name));
  for (const { name, version, schema, owner, comment } of extensions.filter((each) => !present.has(each.name))) {
    const role = await client.query<{ member: boolean }>(
      `SELECT pg_catalog.pg_has_role(r.oid, 'USAGE') AND r.rolname <> current_user AS member
         FROM pg_catalog.pg_roles r WHERE r.rolname = $1`,
      [owner],
    );
    const asOwner = role.rows[0]?.member === true;
    if (asOwner) {
      await client.query(`GRANT CREATE ON DATABASE ${await currentDatabase(client)} TO ${quoted(owner)}`);
      await client.query(`SET ROLE ${quoted(owner)}`);
    }
    await client.query(`CREATE EXTENSION ${quoted(name)} SCHEMA ${quoted(schema)} VERSION ${literal(version)}`);
    // The extension brings its own comment; the dump's statement for another one is refused to all but its owner.
    await client.query(`COMMENT ON EXTENSION ${quoted(name)} IS ${comment === null ? "NULL" : literal(comment)}`);
    if (asOwner) await client.query("RESET ROLE");
  }
}

async function currentDatabase(client: Client): Promise<string> {
  const { rows } = await client.query<{ name: string }>("SELECT current_database() AS name");
  return quoted(rows[0]?.name ?? "");
}

type Stranger = RestoreGuide["strangers"][number];

/** Lets owners create in schemas that are not theirs, where they may not already. */
async function grantCreate(client: Client, guide: RestoreGuide): Promise<Stranger[]> {
  const missing: Stranger[] = [];
  for (const stranger of guide.strangers) {
    const { rows } = await client.query<{ may: boolean }>(
      `SELECT pg_catalog.has_schema_privilege($1, n.oid, 'CREATE') AS may
         FROM pg_catalog.pg_namespace n WHERE n.nspname = $2`,
      [stranger.role, stranger.schema],
    );
    if (rows[0]?.may === false) missing.push(stranger);
  }
  for (const { schema, role } of missing) {
    await client.query(`GRANT CREATE ON SCHEMA ${quoted(schema)} TO ${quoted(role)}`);
  }
  return missing;
}

async function revokeCreate(client: Client, granted: readonly Stranger[]): Promise<void> {
  for (const { schema, role } of granted) {
    await client.query(`REVOKE CREATE ON SCHEMA ${quoted(schema)} FROM ${quoted(role)}`);
  }
}

/**
 * Grants are made as the very roles that made them. Only a superuser changes the session's user; being the role for a
 * while has the same effect. And of several roles that a member could grant as, the server takes any, where somebody
 * else than the owner may grant too: there, what is the owner's is granted as the owner.
 */
export function asRoles(sql: string): string {
  const objects = sql.split(/^(?=--\n-- Name: )/m);
  return objects.map(asGrantors).join("");
}

function asGrantors(sql: string): string {
  const owner = /^-- Name: .*; Owner: (.+)$/m.exec(sql)?.[1];
  const asOwner = owner !== undefined && owner !== "-" && sql.includes(" WITH GRANT OPTION;");
  const back = asOwner ? `SET ROLE ${quoted(owner)};` : "RESET ROLE;";
  const granting = sql
    .replace(/^SET SESSION AUTHORIZATION DEFAULT;$/gm, () => back)
    .replace(/^RESET SESSION AUTHORIZATION;$/gm, () => back)
    .replace(/^SET SESSION AUTHORIZATION (.+);$/gm, "SET ROLE $1;");
  return asOwner ? `${back}\n${granting}\nRESET ROLE;\n` : granting;
}
