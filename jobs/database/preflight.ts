/** What a logical copy by a master that is no superuser would lose, or cannot make: found before the deploy, by name. */
import type { Client } from "pg";
import { evidenceDatabase, proofDatabase, scratchDatabase, stagedDatabase } from "../../run/ids";
import { withConnection } from "./connection";
import { userSchema } from "./fingerprint";
import { mark } from "./owned";
import { clientFolder } from "./program";
import { databaseOid, readOnlyDefault, refusedSettings, serverVersion } from "./properties";
import type { DatabaseAccess, Finding } from "./types";

interface Rule {
  readonly code: string;
  readonly severity: Finding["severity"];
  /** Gives one row for each finding, with what it is about as `object`; or finds them itself. */
  readonly find: string | ((client: Client, access: DatabaseAccess) => Promise<string[]>);
  /** Parameters of the query. */
  readonly values?: (access: DatabaseAccess) => unknown[];
  /** What it means, and what to do. */
  readonly message: string;
  /** What happens when the owner accepts it. Absent: there is no protection with it, so it cannot be accepted. */
  readonly accepted?: string;
  /** The first version of PostgreSQL that has it. */
  readonly since?: number;
  /** Only looked for where the run treats its users' writes so. */
  readonly writes?: DatabaseAccess["writes"];
}

const relation = "pg_catalog.format('%I.%I', n.nspname, c.relname)";
const relations = "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
const thisDatabase = "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";

/**
 * Whether the master can act as a role: have its rights, and give it what it owns. From 16 on a membership can be
 * without either.
 */
const canBe = (role: string): string =>
  `(pg_catalog.pg_has_role(${role}, 'USAGE')
    AND CASE WHEN pg_catalog.current_setting('server_version_num')::int < 160000 THEN true
             ELSE pg_catalog.pg_has_role(${role}, 'SET') END)`;

/** What belongs to an extension is made by the extension. */
const ownObject = (catalog: string): string =>
  `o.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
     WHERE d.classid = '${catalog}'::regclass AND d.objid = o.oid AND d.deptype IN ('e', 'i'))`;

/** Objects by their owners. Not by pg_shdepend, which knows nothing of the superuser that made the cluster. */
const owned = [
  ["pg_class", "relowner", "relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't'"],
  ["pg_proc", "proowner", "true"],
  ["pg_type", "typowner", "typrelid = 0 AND typcategory <> 'A'"],
  ["pg_namespace", "nspowner", "nspname !~ '^pg_'"],
  ["pg_operator", "oprowner", "true"],
  ["pg_opclass", "opcowner", "true"],
  ["pg_opfamily", "opfowner", "true"],
  ["pg_collation", "collowner", "true"],
  ["pg_conversion", "conowner", "true"],
  ["pg_statistic_ext", "stxowner", "true"],
  ["pg_ts_dict", "dictowner", "true"],
  ["pg_ts_config", "cfgowner", "true"],
  ["pg_language", "lanowner", "true"],
  ["pg_foreign_data_wrapper", "fdwowner", "true"],
  ["pg_foreign_server", "srvowner", "true"],
  ["pg_publication", "pubowner", "true"],
  ["pg_event_trigger", "evtowner", "true"],
].map(
  ([catalog = "", owner = "", which = ""]) =>
    `SELECT pg_catalog.pg_describe_object('pg_catalog.${catalog}'::regclass, o.oid, 0) || ' of role '
              || pg_catalog.pg_get_userbyid(o.${owner}) AS object
       FROM pg_catalog.${catalog} o
      WHERE NOT ${canBe(`o.${owner}`)} AND ${which} AND ${ownObject(`pg_catalog.${catalog}`)}`,
);

/** In text without letters beyond ASCII, every character is one byte. */
const beyondAscii = (name: string): string => `${name}::text ~ '[^\\x01-\\x7f]'`;

/**
 * What is restored by its name, and not by pg_restore alone: tables and columns that are loaded, sequences that are set,
 * and whatever rights are granted on, and to. A dump has the names in the database's own encoding.
 */
const namesBeyondAscii = [
  `SELECT ${relation} AS object FROM ${relations}
    WHERE ${userSchema} AND (${beyondAscii("n.nspname")} OR ${beyondAscii("c.relname")})`,
  `SELECT ${relation} || '.' || pg_catalog.quote_ident(a.attname)
     FROM pg_catalog.pg_attribute a JOIN ${relations} ON c.oid = a.attrelid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped AND ${userSchema}
      AND ${beyondAscii("a.attname")}`,
  ...[
    ["pg_proc", "pronamespace", "proname", "true"],
    // A table's row type, and a type's array, have its name.
    ["pg_type", "typnamespace", "typname", "o.typrelid = 0 AND o.typcategory <> 'A'"],
  ].map(
    ([catalog = "", namespace = "", name = "", which = ""]) =>
      `SELECT pg_catalog.pg_describe_object('pg_catalog.${catalog}'::regclass, o.oid, 0)
         FROM pg_catalog.${catalog} o JOIN pg_catalog.pg_namespace n ON n.oid = o.${namespace}
        WHERE ${userSchema} AND ${which} AND ${beyondAscii(`o.${name}`)}`,
  ),
  `SELECT 'the role ' || r.rolname
     FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
    WHERE d.dbid = ${thisDatabase} AND d.refclassid = 'pg_catalog.pg_authid'::regclass AND ${beyondAscii("r.rolname")}`,
];

const bypasses = "(SELECT rolbypassrls OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";

/** A freeze of this or an earlier run: see freeze.ts. */
const freezeMark = `EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
   WHERE s.setdatabase = ${thisDatabase} AND r.rolname = current_user AND s.setconfig @> ARRAY['${readOnlyDefault}=off'])`;

const rules: readonly Rule[] = [
  {
    code: "name-taken",
    severity: "stop",
    find: `SELECT datname AS object FROM pg_catalog.pg_database WHERE datname = ANY ($1)
           AND pg_catalog.shobj_description(oid, 'pg_database') IS DISTINCT FROM $2`,
    values: ({ target: { database }, run }) => [
      [evidenceDatabase, stagedDatabase, scratchDatabase, proofDatabase].map((name) => name(database, run)),
      mark(run),
    ],
    message: "this run needs that name for a database of its own; rename or drop the one that has it",
  },
  {
    code: "template",
    severity: "stop",
    find: `SELECT datname AS object FROM pg_catalog.pg_database WHERE oid = ${thisDatabase} AND datistemplate`,
    message: "a template database cannot be replaced; set IS_TEMPLATE false",
  },
  {
    code: "no-create-database",
    severity: "stop",
    find: "SELECT rolname AS object FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT (rolcreatedb OR rolsuper)",
    message: "the role cannot create the staged database; ALTER ROLE ... CREATEDB, or use the master's secret",
  },
  {
    code: "no-signal",
    severity: "stop",
    find: `SELECT rolname AS object FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT rolsuper
           AND NOT pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')`,
    message: "the role cannot end other roles' sessions; GRANT pg_signal_backend to it, or use the master's secret",
  },
  {
    code: "database-owner",
    severity: "stop",
    find: `SELECT pg_catalog.pg_get_userbyid(datdba) AS object FROM pg_catalog.pg_database
           WHERE oid = ${thisDatabase} AND NOT ${canBe("datdba")}`,
    message: "the database belongs to this role, and only its members may rename the database; GRANT it to the master",
  },
  {
    code: "database-grant",
    severity: "stop",
    find: `SELECT DISTINCT pg_catalog.pg_get_userbyid(a.grantor) AS object
             FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
            WHERE d.oid = ${thisDatabase} AND NOT ${canBe("a.grantor")}`,
    message:
      "this role has granted rights on the database, which only its members can grant again; GRANT it to the master",
  },
  {
    code: "database-setting",
    severity: "stop",
    find: async (client, access) => {
      const oid = await databaseOid(client, access.target.database);
      return oid === undefined ? [] : refusedSettings(client, oid);
    },
    message: "the master may not make this setting of the database; RESET it, and set it in the parameter group",
  },
  {
    code: "owner-not-member",
    severity: "stop",
    find: `SELECT object FROM (${owned.join(" UNION ALL ")}) others ORDER BY 1 LIMIT 50`,
    message:
      "only members of its owner can restore it as the owner's; GRANT that role to the master, or change the owner",
  },
  {
    code: "extension-owner",
    severity: "stop",
    find: `SELECT extname AS object FROM pg_catalog.pg_extension
            WHERE oid >= 16384 AND NOT ${canBe("extowner")}`,
    message: "the extension belongs to a role that the master is no member of, and would become the master's; GRANT it",
  },
  {
    code: "extension-version",
    severity: "stop",
    find: `SELECT e.extname || ' ' || e.extversion AS object FROM pg_catalog.pg_extension e
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extension_versions v
                               WHERE v.name = e.extname AND v.version = e.extversion)`,
    message: "this version of the extension cannot be installed any more; ALTER EXTENSION ... UPDATE",
  },
  {
    code: "tablespace",
    severity: "stop",
    find: `SELECT DISTINCT t.spcname AS object FROM pg_catalog.pg_tablespace t
            WHERE NOT pg_catalog.has_tablespace_privilege(t.oid, 'CREATE') AND t.spcname <> 'pg_default'
              AND (EXISTS (SELECT FROM pg_catalog.pg_class WHERE reltablespace = t.oid AND NOT relisshared)
                   OR EXISTS (SELECT FROM pg_catalog.pg_database WHERE oid = ${thisDatabase} AND dattablespace = t.oid))`,
    message: "the database has something in this tablespace; GRANT CREATE ON TABLESPACE to the master",
  },
  {
    code: "invalid-index",
    severity: "stop",
    find: `SELECT ${relation} AS object FROM pg_catalog.pg_index i JOIN ${relations} ON c.oid = i.indexrelid
           WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready) AND ${userSchema}`,
    message: "a dump leaves out an invalid index; REINDEX or drop it",
    accepted: "the invalid index is not there any more after a healing",
  },
  {
    code: "subscription",
    severity: "stop",
    find: `SELECT subname AS object FROM pg_catalog.pg_subscription WHERE subdbid = ${thisDatabase} AND subenabled`,
    message:
      "an active subscription keeps the database from being renamed, and does not come along with a dump; DISABLE it",
  },
  {
    code: "disabled-subscription",
    severity: "stop",
    find: `SELECT subname AS object FROM pg_catalog.pg_subscription WHERE subdbid = ${thisDatabase} AND NOT subenabled`,
    message:
      "a subscription does not come along with a dump; drop it, or accept that it stays with the failed database",
    accepted: "the subscription stays with the failed database, which cannot be dropped before it",
  },
  {
    code: "replication-slot",
    severity: "stop",
    find: "SELECT slot_name AS object FROM pg_catalog.pg_replication_slots WHERE database = pg_catalog.current_database()",
    message: "a logical slot stays with the failed database: its consumer breaks and WAL is kept for ever; drop it",
    accepted:
      "after a healing the slot belongs to the failed database: its consumer has to begin anew, and WAL is kept until " +
      "the slot, or that database, is dropped",
  },
  {
    code: "prepared-transaction",
    severity: "stop",
    find: "SELECT gid AS object FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()",
    message: "a prepared transaction keeps the database from being renamed; COMMIT or ROLLBACK PREPARED",
    accepted: "a healing rolls the prepared transaction back",
  },
  {
    code: "prepared-transactions-allowed",
    severity: "warn",
    find: `SELECT 'max_prepared_transactions' AS object
           WHERE pg_catalog.current_setting('max_prepared_transactions')::int > 0`,
    message: "a prepared transaction that a release leaves has to be rolled back first in a healing; 0 avoids that",
  },
  {
    code: "forced-row-security",
    severity: "stop",
    find: `SELECT ${relation} AS object FROM ${relations}
           WHERE c.relrowsecurity AND c.relforcerowsecurity AND NOT ${bypasses}`,
    message: "row security is forced on its owner too, so not all rows can be dumped; ALTER ROLE ... BYPASSRLS",
  },
  {
    code: "row-security",
    severity: "stop",
    find: `SELECT ${relation} AS object FROM ${relations}
           WHERE c.relrowsecurity AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') AND NOT ${bypasses}`,
    message: "row security hides rows from the master, so not all can be dumped; GRANT it the owner, or BYPASSRLS",
  },
  {
    code: "large-object-owner",
    severity: "stop",
    find: `SELECT 'large object ' || oid AS object FROM pg_catalog.pg_largeobject_metadata
           WHERE NOT ${canBe("lomowner")} LIMIT 5`,
    message: "only members of its owner can dump a large object; GRANT its owner to the master",
  },
  {
    code: "user-mapping",
    severity: "stop",
    find: `SELECT srvname || ' for ' || usename AS object FROM pg_catalog.pg_user_mappings
           WHERE umoptions IS NULL AND usename <> current_user`,
    message: "the options of another user's mapping, such as its password, cannot be read; drop it, or map PUBLIC",
    accepted: "the mapping is without its options, such as its password, after a healing",
  },
  {
    code: "collation-version",
    severity: "stop",
    find: `SELECT datname AS object FROM pg_catalog.pg_database WHERE oid = ${thisDatabase}
           AND datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(oid)`,
    message:
      "its indexes were built with another version of the locale's rules; REINDEX, then REFRESH COLLATION VERSION",
    accepted:
      "its indexes are built with the new rules in the staged database, which fails where those find duplicates",
    since: 15,
  },
  {
    code: "collation-version",
    severity: "stop",
    find: `SELECT pg_catalog.format('collation %I.%I', n.nspname, c.collname) AS object
             FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
            WHERE ${userSchema} AND c.collversion IS NOT NULL
              AND c.collversion IS DISTINCT FROM pg_catalog.pg_collation_actual_version(c.oid)`,
    message: "indexes were built with another version of its rules; REINDEX, then ALTER COLLATION ... REFRESH VERSION",
    accepted:
      "its indexes are built with the new rules in the staged database, which fails where those find duplicates",
  },
  {
    code: "read-only-default",
    severity: "stop",
    find: `SELECT '${readOnlyDefault}' AS object WHERE NOT ${freezeMark}
             AND EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) e
                          WHERE s.setdatabase = ${thisDatabase} AND e LIKE '${readOnlyDefault}=%')`,
    message: "the database, or a role in it, sets this itself, and a freeze would take it away; RESET it",
    writes: "freeze",
  },
  {
    code: "frozen-master",
    severity: "stop",
    find: `SELECT DISTINCT usename || ' (' || application_name || ')' AS object FROM pg_catalog.pg_stat_activity
            WHERE datid = ${thisDatabase} AND usename = current_user AND application_name NOT LIKE 'protected-pipeline:%'`,
    message:
      "sessions have the master's role, which a freeze leaves free to write, for the deploy; give the application a " +
      "role of its own",
    accepted: "what sessions of the master's role write is not kept from being undone",
    writes: "freeze",
  },
  {
    code: "still-frozen",
    severity: "stop",
    find: `SELECT pg_catalog.current_database() AS object WHERE ${freezeMark}`,
    message:
      "an earlier run has kept the database's users from writing, and was never finished; finish it, or RESET " +
      `${readOnlyDefault} of the database and of the master in it`,
    writes: "continue",
  },
  {
    code: "encoded-name",
    severity: "stop",
    find: `SELECT DISTINCT object FROM (${namesBeyondAscii.join(" UNION ALL ")}) names
            WHERE pg_catalog.getdatabaseencoding() <> 'UTF8' ORDER BY 1 LIMIT 50`,
    message: "names with letters beyond ASCII can be restored in databases with the encoding UTF8 only; rename it",
  },
  {
    code: "foreign-table",
    severity: "warn",
    find: `SELECT ${relation} AS object FROM ${relations} WHERE c.relkind = 'f' AND ${userSchema}`,
    message: "its rows are on another server, and are neither protected nor healed",
  },
  {
    code: "address-column",
    severity: "warn",
    find: `SELECT ${relation} || '.' || pg_catalog.quote_ident(a.attname) AS object
           FROM pg_catalog.pg_attribute a JOIN ${relations} ON c.oid = a.attrelid
           WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND ${userSchema}
             AND pg_catalog.format_type(a.atttypid, NULL) IN ('oid', 'regclass', 'regproc', 'regprocedure', 'regoper',
                   'regoperator', 'regtype', 'regconfig', 'regdictionary', 'regnamespace', 'regcollation', 'xid', 'xid8',
                   'cid', 'tid')`,
    message: "the column holds addresses inside the database, which are other ones after a healing",
  },
];

/** A loss that no look at the original finds: the proof does, and names it. */
const provenOnly = ["stale-materialized-view"];

/** Codes that an owner can accept. */
export const acceptable: readonly string[] = [
  ...new Set(rules.filter(({ accepted }) => accepted !== undefined).map(({ code }) => code)),
  ...provenOnly,
].sort();

/** Every code that a finding can have. */
export const codes: readonly string[] = [
  ...new Set(["admin-database", "server-version", "client-programs", ...rules.map(({ code }) => code)]),
].sort();

/**
 * Looks for everything that would keep the database from being the same after a healing. What only trying can tell
 * (an extension or object that the master may not create) is found by the restore that Protect itself makes.
 * @param options - `accept`: codes of findings that are only told; the target's by default
 * @throws when a code is accepted that does not exist, or that nothing can be protected with
 */
export async function preflight(
  access: DatabaseAccess,
  { accept = access.target.accept ?? [] }: { readonly accept?: readonly string[] } = {},
): Promise<Finding[]> {
  checkAccepted(accept);
  const { database, adminDatabase } = access.target;
  if (database === adminDatabase) {
    const message =
      "the healing works from this database, and cannot close the one that it works from; name another one";
    return [{ severity: "stop", code: "admin-database", object: adminDatabase, message }];
  }
  const reachable = await withConnection(access, adminDatabase, serverVersion);
  return withConnection(access, database, async (client) => {
    const findings = await checkPrograms(reachable);
    for (const rule of rules) findings.push(...(await apply(access, client, rule, reachable, accept)));
    return findings;
  });
}

function checkAccepted(accept: readonly string[]): void {
  for (const code of accept) {
    if (acceptable.includes(code)) continue;
    const why = codes.includes(code) ? "there is no protection with it" : "there is no such finding";
    throw new Error(`the finding "${code}" cannot be accepted: ${why}. Those that can are ${acceptable.join(", ")}`);
  }
}

async function apply(
  access: DatabaseAccess,
  client: Client,
  rule: Rule,
  version: number,
  accept: readonly string[],
): Promise<Finding[]> {
  const { code, find, message, accepted } = rule;
  if (rule.since !== undefined && version < rule.since * 10_000) return [];
  if (rule.writes !== undefined && rule.writes !== (access.writes ?? "continue")) return [];
  const objects =
    typeof find === "string" ? await ask(client, find, rule.values?.(access)) : await find(client, access);
  return objects.map((object): Finding => {
    if (accepted !== undefined && accept.includes(code))
      return { severity: "warn", code, object, message: `accepted: ${accepted}` };
    return { severity: rule.severity, code, object, message };
  });
}

async function ask(client: Client, sql: string, values: unknown[] = []): Promise<string[]> {
  const { rows } = await client.query<{ object: string }>(sql, values);
  return rows.map(({ object }) => object);
}

/** Whether the server is one that can be protected, and its client programs are here. */
export async function checkPrograms(version: number): Promise<Finding[]> {
  const patience = new Date(Date.now() + 10_000);
  if (version < 130_000) {
    const message = "versions of PostgreSQL before 13 are not supported";
    return [{ severity: "stop", code: "server-version", object: String(version), message }];
  }
  try {
    await clientFolder(version, patience);
    return [];
  } catch (error) {
    return [{ severity: "stop", code: "client-programs", object: "pg_dump", message: (error as Error).message }];
  }
}
