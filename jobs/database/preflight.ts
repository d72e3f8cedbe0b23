/** What a logical copy by a master that is no superuser would lose, or cannot make: found before the deploy, by name. */
import type { Client } from "pg";
import { evidenceDatabase } from "../../run/ids";
import { withConnection } from "./connection";
import { userSchema } from "./fingerprint";
import { clientFolder } from "./program";
import { serverVersion } from "./properties";
import type { DatabaseAccess, Finding } from "./types";

interface Rule {
  readonly code: string;
  readonly severity: Finding["severity"];
  /** Gives one row for each finding, with what it is about as `object`. `$1`: see `names`. */
  readonly sql: string;
  /** Names that the query needs, as one array. */
  readonly names?: (access: DatabaseAccess) => string[];
  /** What it means, and what to do. */
  readonly message: string;
  /** The first version of PostgreSQL that has it. */
  readonly since?: number;
}

const relation = "pg_catalog.format('%I.%I', n.nspname, c.relname)";
const relations = "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
const thisDatabase = "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";

const rules: readonly Rule[] = [
  {
    code: "name-taken",
    severity: "stop",
    sql: "SELECT datname AS object FROM pg_catalog.pg_database WHERE datname = ANY ($1)",
    names: ({ target, run }) => [evidenceDatabase(target.database, run)],
    message: "this run would keep the failed database under that name; rename or drop it",
  },
  {
    code: "template",
    severity: "stop",
    sql: `SELECT datname AS object FROM pg_catalog.pg_database WHERE oid = ${thisDatabase} AND datistemplate`,
    message: "a template database cannot be replaced; set IS_TEMPLATE false",
  },
  {
    code: "no-create-database",
    severity: "stop",
    sql: "SELECT rolname AS object FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT (rolcreatedb OR rolsuper)",
    message: "the role cannot create the staged database; ALTER ROLE ... CREATEDB, or use the master's secret",
  },
  {
    code: "no-signal",
    severity: "stop",
    sql: `SELECT rolname AS object FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT rolsuper
          AND NOT pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')`,
    message: "the role cannot end other roles' sessions; GRANT pg_signal_backend to it, or use the master's secret",
  },
  {
    code: "database-owner",
    severity: "stop",
    sql: `SELECT pg_catalog.pg_get_userbyid(datdba) AS object FROM pg_catalog.pg_database
          WHERE oid = ${thisDatabase} AND NOT pg_catalog.pg_has_role(datdba, 'USAGE')`,
    message: "the database belongs to this role, and only its members may rename the database; GRANT it to the master",
  },
  {
    code: "owner-not-member",
    severity: "stop",
    sql: `SELECT r.rolname AS object FROM pg_catalog.pg_roles r WHERE NOT pg_catalog.pg_has_role(r.oid, 'USAGE')
          AND EXISTS (SELECT FROM pg_catalog.pg_shdepend d
                       WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'
                         AND d.dbid = ${thisDatabase})`,
    message: "this role owns objects, and only its members can restore them as its own; GRANT it to the master",
  },
  {
    code: "invalid-index",
    severity: "stop",
    sql: `SELECT ${relation} AS object FROM pg_catalog.pg_index i JOIN ${relations} ON c.oid = i.indexrelid
          WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready) AND ${userSchema}`,
    message: "a dump leaves out an invalid index; REINDEX or drop it",
  },
  {
    code: "subscription",
    severity: "stop",
    sql: `SELECT subname AS object FROM pg_catalog.pg_subscription WHERE subdbid = ${thisDatabase}`,
    message: "a subscription does not come along with a dump, and keeps the database from being renamed; drop it",
  },
  {
    code: "replication-slot",
    severity: "stop",
    sql: "SELECT slot_name AS object FROM pg_catalog.pg_replication_slots WHERE database = pg_catalog.current_database()",
    message: "a logical slot stays with the failed database: its consumer breaks and WAL is kept for ever; drop it",
  },
  {
    code: "prepared-transaction",
    severity: "stop",
    sql: "SELECT gid AS object FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()",
    message: "a prepared transaction keeps the database from being renamed; COMMIT or ROLLBACK PREPARED",
  },
  {
    code: "prepared-transactions-allowed",
    severity: "warn",
    sql: `SELECT 'max_prepared_transactions' AS object
          WHERE pg_catalog.current_setting('max_prepared_transactions')::int > 0`,
    message: "a prepared transaction that a release leaves has to be rolled back first in a healing; 0 avoids that",
  },
  {
    code: "forced-row-security",
    severity: "stop",
    sql: `SELECT ${relation} AS object FROM ${relations} WHERE c.relrowsecurity AND c.relforcerowsecurity
          AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)`,
    message: "row security is forced on its owner too, so not all rows can be dumped; ALTER ROLE ... BYPASSRLS",
  },
  {
    code: "row-security",
    severity: "stop",
    sql: `SELECT ${relation} AS object FROM ${relations}
          WHERE c.relrowsecurity AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
            AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)`,
    message: "row security hides rows from the master, so not all can be dumped; GRANT it the owner, or BYPASSRLS",
  },
  {
    code: "large-object-owner",
    severity: "stop",
    sql: `SELECT 'large object ' || oid AS object FROM pg_catalog.pg_largeobject_metadata
          WHERE NOT pg_catalog.pg_has_role(lomowner, 'USAGE') LIMIT 5`,
    message: "only members of its owner can dump a large object; GRANT its owner to the master",
  },
  {
    code: "user-mapping",
    severity: "stop",
    sql: `SELECT srvname || ' for ' || usename AS object FROM pg_catalog.pg_user_mappings
          WHERE umoptions IS NULL AND usename <> current_user`,
    message: "the options of another user's mapping, such as its password, cannot be read; drop it, or map PUBLIC",
  },
  {
    code: "collation-version",
    severity: "stop",
    sql: `SELECT datname AS object FROM pg_catalog.pg_database WHERE oid = ${thisDatabase}
          AND datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(oid)`,
    message:
      "its indexes were built with another version of the locale's rules; REINDEX, then REFRESH COLLATION VERSION",
    since: 15,
  },
  {
    code: "address-column",
    severity: "warn",
    sql: `SELECT ${relation} || '.' || pg_catalog.quote_ident(a.attname) AS object
          FROM pg_catalog.pg_attribute a JOIN ${relations} ON c.oid = a.attrelid
          WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND ${userSchema}
            AND a.atttypid IN ('oid'::regtype, 'regclass'::regtype, 'regproc'::regtype, 'regprocedure'::regtype,
                               'regtype'::regtype, 'xid'::regtype, 'tid'::regtype)`,
    message: "the column holds addresses inside the database, which are other ones after a healing",
  },
];

/**
 * Looks for everything that would keep the database from being the same after a healing. What only trying can tell
 * (an extension or object that the master may not create) is found by the restore that Protect itself makes.
 */
export async function preflight(access: DatabaseAccess): Promise<Finding[]> {
  const { database, adminDatabase } = access.target;
  if (database === adminDatabase) {
    const message =
      "the healing works from this database, and cannot close the one that it works from; name another one";
    return [{ severity: "stop", code: "admin-database", object: adminDatabase, message }];
  }
  const reachable = await withConnection(access, adminDatabase, serverVersion);
  return withConnection(access, database, async (client) => {
    const findings = await programs(reachable);
    for (const rule of rules) findings.push(...(await apply(access, client, rule, reachable)));
    return findings;
  });
}

async function apply(access: DatabaseAccess, client: Client, rule: Rule, version: number): Promise<Finding[]> {
  if (rule.since !== undefined && version < rule.since * 10_000) return [];
  const values = rule.names === undefined ? [] : [rule.names(access)];
  const { rows } = await client.query<{ object: string }>(rule.sql, values);
  const { code, severity, message } = rule;
  return rows.map(({ object }) => ({ code, severity, object, message }));
}

async function programs(version: number): Promise<Finding[]> {
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
