/**
 * What a dump does not carry, and a database has all the same: settings (per role too), access rights, owner,
 * connection limit, comment, encoding and locale in the server's shared catalogs; versions and owners of extensions,
 * and schemas that were dropped, in its own.
 */
import { createHash } from "node:crypto";
import { escapeIdentifier as quoted, escapeLiteral as literal, type Client } from "pg";
import { userSchema } from "./fingerprint";
import { one } from "./connection";

/** A database's row in the shared catalog; members differ between versions of PostgreSQL. */
interface DatabaseRow {
  readonly datname: string;
  readonly datcollate: string;
  readonly datctype: string;
  readonly datconnlimit: number;
  readonly datistemplate: boolean;
  readonly datallowconn: boolean;
  /** `c` libc, `i` ICU, `b` builtin; from 15 on. */
  readonly datlocprovider?: string | undefined;
  /** From 17 on; 15 and 16 call it daticulocale. */
  readonly datlocale?: string | null | undefined;
  readonly daticulocale?: string | null | undefined;
  readonly daticurules?: string | null | undefined;
}

export interface DatabaseState {
  readonly row: DatabaseRow;
  readonly owner: string;
  readonly encoding: string;
  readonly tablespace: string;
  readonly comment: string | null;
  /** The id of the transaction that wrote the row. */
  readonly xmin: string;
}

interface Grant {
  readonly grantor: string;
  /** Null: everybody. */
  readonly grantee: string | null;
  readonly privilege: string;
  readonly grantable: boolean;
}

interface Setting {
  /** Null: for every role. */
  readonly role: string | null;
  readonly name: string;
  readonly value: string;
}

/** What the server's shared catalogs know of a database, as far as a copy must have it. */
export interface SharedProperties {
  readonly state: DatabaseState;
  readonly grants: readonly Grant[];
  readonly settings: readonly Setting[];
}

/** Reads a database's row by OID, from any database of the server. Undefined: there is none. */
export async function databaseState(client: Client, oid: number): Promise<DatabaseState | undefined> {
  const { rows } = await client.query<DatabaseState>(
    `SELECT pg_catalog.to_jsonb(d) AS row, pg_catalog.pg_get_userbyid(d.datdba) AS owner, d.xmin::text AS xmin,
            pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, t.spcname AS tablespace,
            pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
       FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace WHERE d.oid = $1`,
    [oid],
  );
  return rows[0];
}

/** Like {@link databaseState}, for a database that must be there. */
export async function existingDatabase(client: Client, oid: number): Promise<DatabaseState> {
  const state = await databaseState(client, oid);
  if (state === undefined) throw new Error(`the database with OID ${oid} is gone`);
  return state;
}

/** The OID of a database, or undefined. */
export async function databaseOid(client: Client, name: string): Promise<number | undefined> {
  const { rows } = await client.query<{ oid: string }>(
    "SELECT oid::text AS oid FROM pg_catalog.pg_database WHERE datname = $1",
    [name],
  );
  return rows[0] === undefined ? undefined : Number(rows[0].oid);
}

async function grants(client: Client, oid: number): Promise<Grant[]> {
  const { rows } = await client.query<Grant>(
    `SELECT pg_catalog.pg_get_userbyid(a.grantor) AS grantor, a.privilege_type AS privilege, a.is_grantable AS grantable,
            CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee) END AS grantee
       FROM pg_catalog.pg_database d,
            pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
      WHERE d.oid = $1 ORDER BY 1, 4, 2`,
    [oid],
  );
  return rows;
}

async function settings(client: Client, oid: number): Promise<Setting[]> {
  const { rows } = await client.query<{ role: string | null; entry: string }>(
    `SELECT CASE WHEN s.setrole <> 0 THEN pg_catalog.pg_get_userbyid(s.setrole) END AS role, e.entry
       FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) WITH ORDINALITY e(entry, n)
      WHERE s.setdatabase = $1 ORDER BY 1 NULLS FIRST, e.n`,
    [oid],
  );
  return rows.map(({ role, entry }) => {
    const equals = entry.indexOf("=");
    return { role, name: entry.slice(0, equals), value: entry.slice(equals + 1) };
  });
}

/**
 * Reads them by OID.
 * @param frozen - the run keeps users from writing (freeze.ts): its own mark is none of the database's properties
 */
export async function sharedProperties(client: Client, oid: number, frozen = false): Promise<SharedProperties> {
  const kept = ({ name }: Setting): boolean => !(frozen && name === readOnlyDefault);
  return {
    state: await existingDatabase(client, oid),
    grants: await grants(client, oid),
    settings: (await settings(client, oid)).filter(kept),
  };
}

/** What a freeze sets. The preflight makes sure that only the freeze does. */
export const readOnlyDefault = "default_transaction_read_only";

/**
 * The shared properties, one line each, without the database's name and whether it takes connections. A right that was
 * granted by default reads like one that was granted by hand: they mean the same.
 */
export function sharedLines({ state, grants: given, settings: set }: SharedProperties): string[] {
  const { row, owner, encoding, tablespace, comment } = state;
  const locale = [row.datlocprovider ?? "c", row.datlocale ?? row.daticulocale ?? null, row.daticurules ?? null];
  return [
    line("owner", owner),
    line("encoding", encoding),
    line("collation", row.datcollate, row.datctype, ...locale),
    line("tablespace", tablespace),
    line("connection limit", row.datconnlimit),
    line("template", row.datistemplate),
    line("comment", comment),
    ...given.map((each) => line("grant", each.grantor, each.grantee, each.privilege, each.grantable)),
    ...set.map((each) => line("setting", each.role, each.name, each.value)).sort(),
  ];
}

/**
 * What a dump loses of what is inside a database, one line each. The client is connected to it.
 * @param accepted - codes of the preflight whose loss is accepted
 */
export async function localProperties(client: Client, accepted: readonly string[] = []): Promise<string[]> {
  const extensions = await client.query<{ line: unknown[] }>(
    `SELECT pg_catalog.jsonb_build_array(e.extname, e.extversion, pg_catalog.pg_get_userbyid(e.extowner), n.nspname,
                                         pg_catalog.obj_description(e.oid, 'pg_extension')) AS line
       FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname`,
  );
  const schemas = await client.query<{ name: string }>(
    `SELECT n.nspname AS name FROM pg_catalog.pg_namespace n WHERE ${userSchema} ORDER BY 1`,
  );
  const invalid = await client.query<{ name: string }>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready) AND ${userSchema} ORDER BY 1`,
  );
  const members = await client.query<{ line: unknown[] }>(extensionMembers);
  return [
    ...extensions.rows.map(({ line: parts }) => line("extension", ...parts)),
    ...members.rows.map(({ line: parts }) => line("extension member", ...parts)),
    ...schemas.rows.map(({ name }) => line("schema", name)),
    ...(accepted.includes("invalid-index") ? [] : invalid.rows.map(({ name }) => line("invalid index", name))),
  ];
}

/**
 * An extension's own objects are not dumped, but made anew by `CREATE EXTENSION`: another owner, body or comment of one
 * is lost. One line for each extension, with a hash over its functions and relations.
 */
const extensionMembers = `
  SELECT pg_catalog.jsonb_build_array(e.extname, pg_catalog.md5(pg_catalog.string_agg(m.text, E'\\n' ORDER BY m.text))) AS line
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    JOIN (SELECT 'pg_proc'::regclass AS classid, p.oid,
                 pg_catalog.concat_ws(' ', p.oid::regprocedure, pg_catalog.pg_get_userbyid(p.proowner), p.prosrc, p.probin,
                   p.proconfig, p.provolatile, p.proparallel, p.proisstrict, p.prosecdef, p.proleakproof, p.procost,
                   p.prorows, pg_catalog.obj_description(p.oid, 'pg_proc')) AS text
            FROM pg_catalog.pg_proc p
           UNION ALL
          SELECT 'pg_class'::regclass, c.oid,
                 pg_catalog.concat_ws(' ', c.oid::regclass, c.relkind, pg_catalog.pg_get_userbyid(c.relowner), c.reloptions,
                   pg_catalog.pg_get_viewdef(c.oid), pg_catalog.obj_description(c.oid, 'pg_class'))
            FROM pg_catalog.pg_class c
         ) m ON m.classid = d.classid AND m.oid = d.objid
   GROUP BY e.extname ORDER BY e.extname`;

function line(...members: unknown[]): string {
  return JSON.stringify(members);
}

/** The hash that a fingerprint holds. */
export function propertiesHash(lines: readonly string[]): string {
  return createHash("sha256").update(lines.join("\n")).digest("hex");
}

/** `CREATE DATABASE` with everything that can only be said then. From template0: nothing of template1's comes along. */
export function createDatabaseSql(name: string, like: DatabaseState): string {
  const { row, owner, encoding, tablespace } = like;
  const locale = row.datlocale ?? row.daticulocale ?? null;
  const providers: Record<string, string[]> = {
    i: ["LOCALE_PROVIDER icu", `ICU_LOCALE ${literal(locale ?? "")}`],
    b: ["LOCALE_PROVIDER builtin", `BUILTIN_LOCALE ${literal(locale ?? "")}`],
    c: ["LOCALE_PROVIDER libc"],
  };
  return [
    `CREATE DATABASE ${quoted(name)} TEMPLATE template0 OWNER ${quoted(owner)}`,
    `ENCODING ${literal(encoding)} LC_COLLATE ${literal(row.datcollate)} LC_CTYPE ${literal(row.datctype)}`,
    ...(row.datlocprovider === undefined ? [] : (providers[row.datlocprovider] ?? [])),
    ...(row.daticurules ? [`ICU_RULES ${literal(row.daticurules)}`] : []),
    // The default needs no right; naming it does.
    ...(tablespace === "pg_default" ? [] : [`TABLESPACE ${quoted(tablespace)}`]),
  ].join(" ");
}

/**
 * Gives a database the shared properties of another one: rights, settings, comment and connection limit. The rest
 * was given when it was created. The client is not connected to it.
 */
export async function applySharedProperties(client: Client, from: SharedProperties, to: number): Promise<void> {
  const { row } = await existingDatabase(client, to);
  const { state } = from;
  const database = quoted(row.datname);
  await client.query(`ALTER DATABASE ${database} CONNECTION LIMIT ${state.row.datconnlimit}`);
  await client.query(`COMMENT ON DATABASE ${database} IS ${state.comment === null ? "NULL" : literal(state.comment)}`);
  await applyGrants(client, from, to, database);
  await applySettings(client, from.settings, to, database);
}

async function applyGrants(client: Client, from: SharedProperties, to: number, database: string): Promise<void> {
  const { owner } = from.state;
  const grantees = new Set((await grants(client, to)).map((each) => each.grantee));
  await client.query("BEGIN");
  try {
    // As the very role that granted: of several that a member could grant as, the server takes any.
    await client.query(`SET LOCAL ROLE ${quoted(owner)}`);
    for (const grantee of grantees) {
      await client.query(`REVOKE ALL ON DATABASE ${database} FROM ${roleName(grantee)} CASCADE`);
    }
    // The owner's grants first: those that grantees handed on rest on them.
    const ordered = [...from.grants].sort((a, b) => Number(a.grantor !== owner) - Number(b.grantor !== owner));
    for (const { grantor, grantee, privilege, grantable } of ordered) {
      const option = grantable ? " WITH GRANT OPTION" : "";
      await client.query(`SET LOCAL ROLE ${quoted(grantor)}`);
      await client.query(`GRANT ${privilege} ON DATABASE ${database} TO ${roleName(grantee)}${option}`);
    }
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

function roleName(role: string | null): string {
  return role === null ? "PUBLIC" : quoted(role);
}

async function applySettings(client: Client, wanted: readonly Setting[], to: number, database: string): Promise<void> {
  const roles = new Set((await settings(client, to)).map(({ role }) => role));
  for (const role of roles) await client.query(`ALTER ${settingSubject(role, database)} RESET ALL`);
  for (const setting of wanted) {
    try {
      await applySetting(client, setting, database, "COMMIT");
    } catch (error) {
      const message = `the setting ${setting.name} of the database cannot be copied: ${(error as Error).message}`;
      throw new Error(message, { cause: error });
    }
  }
}

/**
 * A setting is taken over as the session's own value, not as a literal: a list in quotes would become one element.
 * Each in a transaction of its own, because a setting such as statement_timeout works on its own transaction.
 */
async function applySetting(
  client: Client,
  { role, name, value }: Setting,
  database: string,
  end: "COMMIT" | "ROLLBACK",
): Promise<void> {
  try {
    // In one message: the setting may be a time-out for sessions that say nothing within their transaction.
    await client.query(
      `BEGIN; SELECT pg_catalog.set_config(${literal(name)}, ${literal(value)}, true);
       ALTER ${settingSubject(role, database)} SET ${settingName(name)} FROM CURRENT; ${end}`,
    );
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/** Tries whether this role may set what the database has set, and takes it back at once. One line for each refusal. */
export async function refusedSettings(client: Client, oid: number): Promise<string[]> {
  const { row } = await existingDatabase(client, oid);
  const refused: string[] = [];
  for (const setting of await settings(client, oid)) {
    await applySetting(client, setting, quoted(row.datname), "ROLLBACK").catch((error: unknown) =>
      refused.push(
        `${setting.name}${setting.role === null ? "" : ` of role ${setting.role}`} (${(error as Error).message})`,
      ),
    );
  }
  return refused;
}

function settingSubject(role: string | null, database: string): string {
  return role === null ? `DATABASE ${database}` : `ROLE ${quoted(role)} IN DATABASE ${database}`;
}

/** A custom setting's name has a dot, which is no part of an identifier. */
function settingName(name: string): string {
  return name.split(".").map(quoted).join(".");
}

/**
 * What lives on the server as a whole, and is not healed with a database: roles with their memberships and settings,
 * other databases, tablespaces, rights on parameters. By name, with all that is known of it as readable text. Passwords are not readable.
 */
export async function serverObjects(client: Client): Promise<Record<string, string>> {
  const parameters = `
     UNION ALL
     SELECT 'rights on the parameter ' || p.parname, pg_catalog.jsonb_build_object('rights', p.paracl::text)
       FROM pg_catalog.pg_parameter_acl p`;
  // pg_auth_members has more columns in newer versions (16: options of their own), so it is taken as a whole.
  const { rows } = await client.query<{ name: string; known: Record<string, unknown> }>(
    `SELECT 'role ' || r.rolname AS name,
            pg_catalog.to_jsonb(r) - '{oid,rolname,rolpassword,rolconfig}'::text[] || pg_catalog.jsonb_build_object(
              'member of', (SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(m) - '{oid,roleid,member,grantor}'::text[]
                                     || pg_catalog.jsonb_build_object('role', pg_catalog.pg_get_userbyid(m.roleid))
                                     ORDER BY pg_catalog.pg_get_userbyid(m.roleid), m.grantor)
                              FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid),
              'settings', (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s
                            WHERE s.setrole = r.oid AND s.setdatabase = 0)) AS known
       FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_'
     UNION ALL
     SELECT 'settings of all roles', pg_catalog.jsonb_build_object('settings', s.setconfig)
       FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = 0 AND s.setdatabase = 0
     UNION ALL
     SELECT 'database ' || d.datname, pg_catalog.jsonb_build_object('owner', pg_catalog.pg_get_userbyid(d.datdba))
       FROM pg_catalog.pg_database d WHERE d.datname !~ '_(staged|failed|scratch|proof)_[0-9a-f]{8}$'
     UNION ALL
     SELECT 'tablespace ' || t.spcname, pg_catalog.jsonb_build_object('owner', pg_catalog.pg_get_userbyid(t.spcowner),
                                          'rights', t.spcacl::text, 'options', t.spcoptions)
       FROM pg_catalog.pg_tablespace t ${(await serverVersion(client)) < 150_000 ? "" : parameters} ORDER BY 1`,
  );
  return Object.fromEntries(rows.map(({ name, known }) => [name, JSON.stringify(known)]));
}

/** The version of the server, for example 150018. */
export async function serverVersion(client: Client): Promise<number> {
  const sql = "SELECT pg_catalog.current_setting('server_version_num')::int AS version";
  return (await one<{ version: number }>(client, sql)).version;
}
