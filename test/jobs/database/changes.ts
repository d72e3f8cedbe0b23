/** What is done to a database with everything in it, by what it is done to, and how a comparison must tell. */

export interface Change {
  readonly sql: string;
  /** What must be among the differences. */
  readonly sees: RegExp;
}

/** Each is made in a transaction of its own, which is rolled back. Differences of rows. */
export const rowChanges: Readonly<Record<string, Change>> = {
  "a value": { sql: "UPDATE kinds SET n = n + 1 WHERE id = 7", sees: /public\.kinds: the number of rows is the same/ },
  "values that changed places [finding 3]": {
    sql: "UPDATE kinds a SET u = b.u FROM kinds b WHERE (a.id, b.id) IN ((3, 5), (5, 3))",
    sees: /public\.kinds: the number of rows is the same/,
  },
  "the scale of a number [finding 4]": {
    sql: "UPDATE kinds SET n = n::numeric(40,25) WHERE id = 7",
    sees: /public\.kinds: the n/,
  },
  "the case of a citext [finding 4]": {
    sql: "UPDATE kinds SET ci = 'citext' WHERE id = 7",
    sees: /public\.kinds: the number/,
  },
  "the case where a collation ignores it [finding 4]": {
    sql: "UPDATE kinds SET nd = 'straße' WHERE id = 7",
    sees: /public\.kinds: the number/,
  },
  "a negative zero [finding 4]": { sql: "UPDATE kinds SET f = 0 WHERE f = 0", sees: /public\.kinds: the number/ },
  "the text of a json [finding 4]": {
    sql: `UPDATE kinds SET j = '{"a": 1.0, "a": 2}' WHERE id = 7`,
    sees: /public\.kinds: the number/,
  },
  "one of two equal rows": {
    sql: "DROP RULE quiet ON doubled; DELETE FROM doubled WHERE ctid = '(0,1)'",
    sees: /public\.doubled: 30 rows became 29/,
  },
  "a pair of equal rows [finding 3]": {
    sql: "DROP RULE quiet ON doubled; UPDATE doubled SET a = 7 WHERE ctid IN ('(0,1)', '(0,4)')",
    sees: /public\.doubled: the number of rows is the same \(30\)/,
  },
  "a row of a table that others inherit from": {
    sql: "DELETE FROM ONLY parent",
    sees: /public\.parent: 1 rows became 0/,
  },
  "a row of an inheriting table": { sql: "UPDATE child SET what = 'x'", sees: /public\.child: the number/ },
  "a row without columns": { sql: "INSERT INTO none DEFAULT VALUES", sees: /public\."none": 4 rows became 5/ },
  "a row of a table that was empty": {
    sql: "INSERT INTO empty_keyed VALUES (1, NULL)",
    sees: /public\.empty_keyed: 0 rows became 1/,
  },
  "a row of a partition [finding 25]": {
    sql: "DELETE FROM events WHERE n = 5",
    sees: /public\.events: 900 rows became 899/,
  },
  "a row behind row security": { sql: "DELETE FROM secretive WHERE id = 1", sees: /public\.secretive: 10 rows/ },
  "an unlogged row": { sql: "DELETE FROM fleeting WHERE g = 1", sees: /public\.fleeting: 10 rows became 9/ },
  "an oddly named table": {
    sql: `UPDATE "Odd ""schema"."Ta'ble" SET t = 'y' WHERE "select" = 1`,
    sees: /"Odd ""schema"\."Ta'ble": the number/,
  },
  "a value of a table with every built-in type": {
    sql: "UPDATE builtin SET c_cid = '8', c_jsonpath = '$.b', c_tid = '(7,8)', c_xml = '<x/>'",
    sees: /public\.builtin: the number/,
  },
  "an array's bounds": { sql: "UPDATE arrays SET a = '{{1,2},{3,NULL}}'", sees: /public\.arrays: the number/ },
  "a value in a composite's array": {
    sql: "UPDATE composed SET ps = ARRAY[ROW(NULL, NULL)::pair]",
    sees: /public\.composed: the number/,
  },
  "an enum's value in a row": { sql: "UPDATE composed SET m = '{ok}'", sees: /public\.composed: the number/ },
  "a value of a domain": { sql: "UPDATE domained SET d = 'e'", sees: /public\.domained: the number/ },
  "a materialized view": { sql: "REFRESH MATERIALIZED VIEW later", sees: /public\.later/ },
  "a row of a materialized view [finding 21]": {
    sql: "DELETE FROM kinds WHERE id = 7; REFRESH MATERIALIZED VIEW totals",
    sees: /public\.totals: the number/,
  },
  "a new, empty table": { sql: "CREATE TABLE nothing_yet ()", sees: /public\.nothing_yet was not there before/ },
  "a sequence's value": {
    sql: "SELECT nextval('countdown')",
    sees: /sequence public\.countdown: 99,true became 98,true/,
  },
  "whether a sequence was used": { sql: "SELECT setval('untouched', 1)", sees: /sequence public\.untouched: 1,false/ },
  "an identity's next value": {
    sql: "SELECT nextval('by_default_id_seq')",
    sees: /sequence public\.by_default_id_seq: 7,true became 14,true/,
  },
  "a large object": { sql: "SELECT lo_put(70001, 4999, 'x')", sees: /large objects/ },
  "the end of a large object [finding 34]": { sql: "SELECT lo_put(70002, 10003, E'\\\\000')", sees: /large objects/ },
  "a large object's rights": { sql: "REVOKE SELECT ON LARGE OBJECT 70001 FROM reader", sees: /large objects/ },
  "a large object's owner": { sql: "ALTER LARGE OBJECT 70002 OWNER TO reader", sees: /large objects/ },
  "a large object's comment": { sql: "COMMENT ON LARGE OBJECT 70001 IS 'larger'", sees: /large objects/ },
  "a large object that is gone": { sql: "SELECT lo_unlink(70002)", sees: /large objects: 2 rows became 1/ },
};

/**
 * All are made in one database, one after the other, so that its text is asked for once. Each is seen by lines of its
 * own in the text of the schema: `-` only before, `+` only after.
 */
export const schemaChanges: Readonly<Record<string, Change>> = {
  "a default": { sql: "ALTER TABLE parent ALTER id SET DEFAULT 1", sees: /^\+ +id integer DEFAULT 1/ },
  "a column's type": { sql: "ALTER TABLE composed ALTER m TYPE text[] USING NULL", sees: /^\+ +m text\[\]/ },
  "a column's order": {
    sql: "ALTER TABLE arrays DROP a; ALTER TABLE arrays ADD a int[]",
    sees: /^\+ +a integer\[\]$/,
  },
  "a column that may be null": { sql: "ALTER TABLE doubled ALTER a SET NOT NULL", sees: /^\+ +a integer NOT NULL/ },
  "a column's collation": {
    sql: `ALTER TABLE kinds ALTER nd TYPE text COLLATE "C"`,
    sees: /^- +nd text COLLATE public\.nodet/,
  },
  "a column's storage": { sql: "ALTER TABLE kinds ALTER jb SET STORAGE MAIN", sees: /^\+ .* jb SET STORAGE MAIN/ },
  "a column's statistics target": {
    sql: "ALTER TABLE kinds ALTER t SET STATISTICS 501",
    sees: /^\+ .* t SET STATISTICS 501/,
  },
  "a column's options": {
    sql: "ALTER TABLE parent ALTER what RESET (n_distinct)",
    sees: /^- .* what SET \(n_distinct=5\)/,
  },
  "a generated column": {
    sql: "ALTER TABLE kinds ALTER g DROP EXPRESSION",
    sees: /^- +g text GENERATED ALWAYS AS .* STORED/,
  },
  "an identity": {
    sql: "ALTER TABLE by_default ALTER id SET GENERATED ALWAYS",
    sees: /^\+ .* id ADD GENERATED ALWAYS AS IDENTITY/,
  },
  "a sequence's definition": { sql: "ALTER SEQUENCE countdown NO CYCLE", sees: /^- +CYCLE;/ },
  "a sequence's owning column": {
    sql: "ALTER SEQUENCE by_default_s_seq OWNED BY NONE",
    sees: /^- .*by_default_s_seq OWNED BY/,
  },
  "a table's persistence": {
    sql: "ALTER TABLE empty_unlogged SET LOGGED",
    sees: /^- CREATE UNLOGGED TABLE public\.empty_unlogged/,
  },
  "a table's storage parameter": { sql: "ALTER TABLE kinds SET (fillfactor = 81)", sees: /^\+ .*fillfactor='81'/ },
  "a toast table's storage parameter": {
    sql: "ALTER TABLE parent SET (toast.autovacuum_enabled = true)",
    sees: /^\+ .*toast\.autovacuum_enabled='true'/,
  },
  "a replica identity": { sql: "ALTER TABLE doubled REPLICA IDENTITY DEFAULT", sees: /^- .*REPLICA IDENTITY FULL/ },
  "the index that a table is clustered on": {
    sql: "ALTER TABLE parent SET WITHOUT CLUSTER",
    sees: /^- .*CLUSTER ON parent_id/,
  },
  "an inheritance": { sql: "ALTER TABLE child NO INHERIT parent", sees: /^- INHERITS \(public\.parent\)/ },
  "a partition": {
    sql: "ALTER TABLE listed DETACH PARTITION listed_a",
    sees: /^- .*ATTACH PARTITION public\.listed_a FOR/,
  },
  "the type that a table is of": { sql: "ALTER TABLE typed NOT OF", sees: /^- CREATE TABLE public\.typed OF/ },
  "a primary key": {
    sql: "ALTER TABLE kinds DROP CONSTRAINT kinds_pkey",
    sees: /^- .*CONSTRAINT kinds_pkey PRIMARY KEY/,
  },
  "a foreign key's deferral": {
    sql: "ALTER TABLE empty_keyed ALTER CONSTRAINT empty_keyed_parent_fkey NOT DEFERRABLE",
    sees: /^- .*empty_keyed_parent_fkey FOREIGN KEY .* DEFERRABLE INITIALLY DEFERRED/,
  },
  "a constraint that was not validated": {
    sql: "ALTER TABLE checked VALIDATE CONSTRAINT positive_a",
    sees: /^- .*positive_a CHECK .* NOT VALID/,
  },
  "an exclusion": { sql: "ALTER TABLE checked DROP CONSTRAINT checked_r_excl", sees: /^- .*checked_r_excl EXCLUDE/ },
  "an index": { sql: "DROP INDEX kinds_md_idx", sees: /^- CREATE INDEX kinds_md_idx/ },
  "an index's storage parameter": {
    sql: "ALTER INDEX parent_id SET (fillfactor = 71)",
    sees: /^\+ CREATE INDEX parent_id .*fillfactor='71'/,
  },
  "a trigger": {
    sql: "CREATE TRIGGER more BEFORE INSERT ON kinds FOR EACH ROW EXECUTE FUNCTION touch()",
    sees: /^\+ CREATE TRIGGER more/,
  },
  "a trigger that is disabled": {
    sql: "ALTER TABLE kinds ENABLE TRIGGER asleep",
    sees: /^- .*DISABLE TRIGGER asleep/,
  },
  "a trigger that always fires": {
    sql: "ALTER TABLE kinds ENABLE TRIGGER always",
    sees: /^- .*ENABLE ALWAYS TRIGGER always/,
  },
  "a trigger that fires on replicas": {
    sql: "ALTER TABLE kinds ENABLE TRIGGER replica",
    sees: /^- .*ENABLE REPLICA TRIGGER replica/,
  },
  "a trigger that fires": { sql: "ALTER TABLE kinds DISABLE TRIGGER touched", sees: /^\+ .*DISABLE TRIGGER touched/ },
  "a rule": { sql: "DROP RULE quiet ON doubled", sees: /^- CREATE RULE quiet/ },
  "a rule that is disabled": { sql: "ALTER TABLE composed ENABLE RULE also", sees: /^- .*DISABLE RULE also/ },
  "a function's body": {
    sql: "CREATE OR REPLACE FUNCTION theirs.f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    sees: /^\+ +AS \$\$SELECT 2\$\$/,
  },
  "a function's search_path": {
    sql: "ALTER FUNCTION looked_up() RESET search_path",
    sees: /^- +SET search_path TO 'theirs', 'public'/,
  },
  "a function's cost": { sql: "ALTER FUNCTION many(int, text[]) COST 8", sees: /^\+ .*COST 8 ROWS 9/ },
  "a procedure": { sql: "DROP PROCEDURE nothing()", sees: /^- CREATE PROCEDURE public\.nothing/ },
  "an aggregate": { sql: "DROP AGGREGATE product(numeric)", sees: /^- CREATE AGGREGATE public\.product/ },
  "an operator": { sql: "DROP OPERATOR === (pair, pair)", sees: /^- CREATE OPERATOR public\.===/ },
  "a cast": { sql: "DROP CAST (pair AS mood)", sees: /^- CREATE CAST \(public\.pair AS public\.mood\)/ },
  "a conversion": { sql: "DROP CONVERSION conv", sees: /^- CREATE CONVERSION public\.conv/ },
  "a collation": { sql: "ALTER COLLATION nodet RENAME TO other", sees: /^- CREATE COLLATION public\.nodet/ },
  "an enum's value": { sql: "ALTER TYPE mood ADD VALUE 'elated' AFTER 'ok'", sees: /^\+ +'elated',/ },
  "a composite type": { sql: "ALTER TYPE pair ADD ATTRIBUTE c int CASCADE", sees: /^\+ \tc integer/ },
  "a range type": { sql: "DROP TYPE span CASCADE", sees: /^- CREATE TYPE public\.span AS RANGE/ },
  "a domain's constraint": {
    sql: "ALTER DOMAIN strict_text DROP CONSTRAINT no_blank",
    sees: /^- \tCONSTRAINT no_blank CHECK/,
  },
  "a domain's default": { sql: "ALTER DOMAIN strict_text SET DEFAULT 'e'", sees: /^\+ .*DEFAULT 'e'::text/ },
  "a text search dictionary": {
    sql: "ALTER TEXT SEARCH DICTIONARY words (stopwords = german)",
    sees: /^\+ +stopwords = 'german'/,
  },
  "a text search configuration": {
    sql: "ALTER TEXT SEARCH CONFIGURATION plain DROP MAPPING FOR word",
    sees: /^- +ADD MAPPING FOR word WITH public\.words/,
  },
  "a view": {
    sql: "CREATE OR REPLACE VIEW guarded WITH (security_barrier) AS SELECT id FROM secretive WHERE id > 1",
    sees: /^\+ +WHERE \((secretive\.)?id > 1\)/,
  },
  "a view's option": {
    sql: "ALTER VIEW guarded RESET (security_barrier)",
    sees: /^- CREATE VIEW public\.guarded WITH \(security_barrier/,
  },
  "a materialized view's definition": {
    sql: "DROP MATERIALIZED VIEW later; CREATE MATERIALIZED VIEW later AS SELECT 2 AS one WITH NO DATA",
    sees: /^\+ +SELECT 2 AS one/,
  },
  "row security": {
    sql: "ALTER TABLE secretive DISABLE ROW LEVEL SECURITY",
    sees: /^- .*public\.secretive ENABLE ROW LEVEL SECURITY/,
  },
  "a policy": { sql: "DROP POLICY mine ON secretive", sees: /^- CREATE POLICY mine/ },
  "whom a policy is for": {
    sql: "ALTER POLICY theirs ON secretive TO granter",
    sees: /^\+ CREATE POLICY theirs .*TO granter/,
  },
  "a statistics object": { sql: "DROP STATISTICS kinds_stats", sees: /^- CREATE STATISTICS public\.kinds_stats/ },
  "a statistics object's target": {
    sql: "ALTER STATISTICS wide SET STATISTICS 701",
    sees: /^\+ .*public\.wide SET STATISTICS 701/,
  },
  "what a publication publishes": {
    sql: "ALTER PUBLICATION news SET (publish = 'insert')",
    sees: /^\+ CREATE PUBLICATION news WITH \(publish = 'insert'/,
  },
  "a publication's tables": {
    sql: "ALTER PUBLICATION news ADD TABLE doubled",
    sees: /^\+ ALTER PUBLICATION news ADD TABLE ONLY public\.doubled/,
  },
  "a right that was handed on [finding 32]": {
    sql: "SET ROLE granter; REVOKE SELECT ON theirs.things FROM reader",
    sees: /^- GRANT SELECT ON TABLE theirs\.things TO reader/,
  },
  "a right": {
    sql: "SET ROLE theirs_owner; REVOKE SELECT ON theirs.things FROM granter",
    sees: /^- GRANT SELECT ON TABLE theirs\.things TO granter/,
  },
  "an owner": {
    sql: "ALTER TABLE theirs.things OWNER TO master",
    sees: /^\+ ALTER TABLE theirs\.things OWNER TO master/,
  },
  "a right that was taken from everybody": {
    sql: "SET ROLE theirs_owner; GRANT EXECUTE ON FUNCTION theirs.f() TO PUBLIC",
    sees: /^- REVOKE ALL ON FUNCTION theirs\.f\(\) FROM PUBLIC/,
  },
  "a right on a column": {
    sql: "REVOKE SELECT (id) ON parent FROM reader",
    sees: /^- GRANT SELECT\(id\) ON TABLE public\.parent TO reader/,
  },
  "a right on a type": {
    sql: "REVOKE GRANT OPTION FOR USAGE ON TYPE mood FROM reader",
    sees: /^- GRANT ALL ON TYPE public\.mood TO reader WITH GRANT OPTION/,
  },
  "a right on a schema": {
    sql: "REVOKE USAGE ON SCHEMA theirs FROM granter",
    sees: /^- GRANT USAGE ON SCHEMA theirs TO granter/,
  },
  "a default privilege": {
    sql: "ALTER DEFAULT PRIVILEGES IN SCHEMA theirs REVOKE SELECT ON TABLES FROM reader",
    sees: /^- ALTER DEFAULT PRIVILEGES .* IN SCHEMA theirs GRANT SELECT ON TABLES +TO reader/,
  },
  "a default privilege in all schemas": {
    sql: "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM reader",
    sees: /^- ALTER DEFAULT PRIVILEGES FOR ROLE master GRANT ALL ON FUNCTIONS +TO reader/,
  },
  "a schema's owner": {
    sql: "GRANT CREATE ON DATABASE :database TO theirs_owner; ALTER SCHEMA theirs OWNER TO theirs_owner",
    sees: /^\+ ALTER SCHEMA theirs OWNER TO theirs_owner/,
  },
  "a column's comment": { sql: "COMMENT ON COLUMN kinds.t IS NULL", sees: /^- COMMENT ON COLUMN public\.kinds\.t/ },
  "a table's comment": {
    sql: "COMMENT ON TABLE parent IS 'another'",
    sees: /^\+ COMMENT ON TABLE public\.parent IS 'another'/,
  },
  "a function's comment": {
    sql: "COMMENT ON FUNCTION touch() IS NULL",
    sees: /^- COMMENT ON FUNCTION public\.touch\(\)/,
  },
  "a constraint's comment": {
    sql: "COMMENT ON CONSTRAINT later ON checked IS NULL",
    sees: /^- COMMENT ON CONSTRAINT later/,
  },
  "an index's comment": { sql: "COMMENT ON INDEX parent_id IS NULL", sees: /^- COMMENT ON INDEX public\.parent_id/ },
  "a trigger's comment": { sql: "COMMENT ON TRIGGER touched ON kinds IS NULL", sees: /^- COMMENT ON TRIGGER touched/ },
  "a name that needs quoting": {
    sql: `ALTER TABLE "Odd ""schema"."Ta'ble" RENAME TO "Ta'bles"`,
    sees: /^- CREATE TABLE "Odd ""schema"\."Ta'ble"/,
  },
  "a schema": { sql: "CREATE SCHEMA one_more", sees: /^\+ CREATE SCHEMA one_more/ },
};

/** Like {@link schemaChanges}, to what only some masters can make: see {@link privileged}. */
export const privilegedChanges: Readonly<Record<string, Change>> = {
  "an event trigger [finding 35]": { sql: "DROP EVENT TRIGGER watching", sees: /^- CREATE EVENT TRIGGER watching/ },
  "an event trigger that is disabled": {
    sql: "ALTER EVENT TRIGGER asleep ENABLE",
    sees: /^- ALTER EVENT TRIGGER asleep DISABLE/,
  },
  "an event trigger that always fires": {
    sql: "ALTER EVENT TRIGGER always ENABLE",
    sees: /^- ALTER EVENT TRIGGER always ENABLE ALWAYS/,
  },
  "an event trigger that fires on replicas": {
    sql: "ALTER EVENT TRIGGER replica ENABLE",
    sees: /^- ALTER EVENT TRIGGER replica ENABLE REPLICA/,
  },
  "an event trigger's comment": {
    sql: "COMMENT ON EVENT TRIGGER always IS NULL",
    sees: /^- COMMENT ON EVENT TRIGGER always/,
  },
  "a publication of all tables": {
    sql: "DROP PUBLICATION everything",
    sees: /^- CREATE PUBLICATION everything FOR ALL TABLES/,
  },
  "a function that is leakproof": { sql: "ALTER FUNCTION tight() NOT LEAKPROOF", sees: /^- .*LEAKPROOF/ },
};

/** What a master of RDS may make and the one of an ordinary server may not, unless it is a superuser. */
export const privileged = `
  CREATE EXTENSION pg_stat_statements;
  CREATE TABLE watched (id int PRIMARY KEY);
  INSERT INTO watched SELECT generate_series(1, 10);
  CREATE FUNCTION fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
  CREATE EVENT TRIGGER watching ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION fired();
  CREATE EVENT TRIGGER asleep ON sql_drop EXECUTE FUNCTION fired();
  CREATE EVENT TRIGGER always ON ddl_command_start EXECUTE FUNCTION fired();
  CREATE EVENT TRIGGER replica ON table_rewrite EXECUTE FUNCTION fired();
  ALTER EVENT TRIGGER asleep DISABLE;
  ALTER EVENT TRIGGER always ENABLE ALWAYS;
  ALTER EVENT TRIGGER replica ENABLE REPLICA;
  COMMENT ON EVENT TRIGGER always IS 'an event trigger';
  CREATE PUBLICATION everything FOR ALL TABLES;
  CREATE FUNCTION tight() RETURNS int LANGUAGE sql LEAKPROOF SET track_io_timing = on AS 'SELECT 1'`;

/** Each must change what is known of a database beside its dump, from inside. */
export const localChanges: Readonly<Record<string, string>> = {
  "an extension's version [finding 22]": "ALTER EXTENSION hstore UPDATE",
  "an extension's comment": "COMMENT ON EXTENSION hstore IS NULL",
  "an extension": "DROP EXTENSION pg_trgm CASCADE",
  "a function of an extension": "ALTER FUNCTION skeys(hstore) COST 99",
  "the comment on an extension's function": "COMMENT ON FUNCTION skeys(hstore) IS 'x'",
  "a schema that was dropped": "DROP SCHEMA theirs CASCADE",
};

/** The same from outside, where the server knows it. */
export const sharedChanges: Readonly<Record<string, string>> = {
  "a setting": "ALTER DATABASE :database SET search_path = public",
  "a setting that is a list in quotes [finding 37]": `ALTER DATABASE :database SET search_path = '"$user", public, "Odd ""schema"'`,
  "a role's setting": "ALTER ROLE reader IN DATABASE :database SET work_mem = '8MB'",
  "the owner": "ALTER DATABASE :database OWNER TO theirs_owner",
  "the connection limit": "ALTER DATABASE :database CONNECTION LIMIT 78",
  "a right": "GRANT TEMPORARY ON DATABASE :database TO PUBLIC",
  "a right that was handed on": "SET ROLE granter; REVOKE CONNECT ON DATABASE :database FROM reader; RESET ROLE",
  "the comment": "COMMENT ON DATABASE :database IS 'x'",
  "being a template": "ALTER DATABASE :database IS_TEMPLATE true",
};
