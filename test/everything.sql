-- Every kind of thing that the master of an RDS can make in a database, with names and values that need care.
CREATE EXTENSION hstore VERSION '1.4';
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm VERSION '1.3';
CREATE SCHEMA "Odd ""schema";
CREATE SCHEMA theirs;
COMMENT ON SCHEMA theirs IS 'it''s theirs';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE COLLATION nodet (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE kinds (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text, v varchar(20) CHECK (v IN ('a', 'b')), n numeric, f float8,
  r real, b bool, by bytea, ts timestamptz, d date, tm time, tz timetz, iv interval, j json, jb jsonb, x xml, u uuid,
  i inet, c cidr, m macaddr, p point, bx box, ln line, cr circle, po polygon, bt bit(3), vb varbit, mo money,
  tsv tsvector, tsq tsquery, arr int[], marr mood[], md mood, pr pair, sp span, po2 positive, h hstore, ci citext,
  nd text COLLATE nodet, g text GENERATED ALWAYS AS (t || '!') STORED
);
INSERT INTO kinds (t, v, n, f, r, b, by, ts, d, tm, tz, iv, j, jb, x, u, i, c, m, p, bx, ln, cr, po, bt, vb, mo, tsv, tsq,
                   arr, marr, md, pr, sp, po2, h, ci, nd)
SELECT 'täxt ' || g, CASE WHEN g % 2 = 0 THEN 'a' ELSE 'b' END, g / 7.0, CASE g WHEN 1 THEN '-0'::float8 WHEN 2 THEN 'NaN' ELSE g / 3.0 END,
       'Infinity', g % 2 = 0, decode(md5(g::text), 'hex'), '2020-01-01 00:00Z'::timestamptz + g * interval '1 hour',
       '2020-01-01'::date + g, '24:00', '12:00+02', '1 mon 2 days 03:04:05.6', '{"a": 1.00, "a": 2}', '{"a": 1.00}',
       '<a/>', md5(g::text)::uuid, '10.0.0.1/24', '10.0.0.0/24', '08:00:2b:01:02:03', '(1,2)', '((0,0),(1,1))', '{1,2,3}',
       '<(0,0),1>', '((0,0),(1,1),(2,0))', '101', '10101', g, to_tsvector('simple', 'a b c'), 'a & b', ARRAY[g, NULL, g],
       ARRAY['sad', 'happy']::mood[], 'ok', ROW(g, 'x"y')::pair, span(0, g), g, 'a=>1', 'CiText', 'Straße'
  FROM generate_series(1, 500) g;
INSERT INTO kinds DEFAULT VALUES;
ALTER TABLE kinds ADD COLUMN gone int;
ALTER TABLE kinds DROP COLUMN gone;
ALTER TABLE kinds ALTER COLUMN t SET STATISTICS 500, ALTER COLUMN jb SET STORAGE EXTERNAL;
ALTER TABLE kinds SET (fillfactor = 80);
CREATE INDEX ON kinds (md) WHERE v IN ('a', 'b');
CREATE INDEX ON kinds USING gin (t gin_trgm_ops);
CREATE STATISTICS kinds_stats (dependencies) ON v, md FROM kinds;
CREATE TABLE doubled (a int, b text);
INSERT INTO doubled SELECT g % 3, 'same' FROM generate_series(1, 30) g;
CREATE TABLE none ();
INSERT INTO none SELECT FROM generate_series(1, 4);
CREATE TABLE "Odd ""schema"."Ta'ble" ("select" int, fp_ text, t text);
INSERT INTO "Odd ""schema"."Ta'ble" VALUES (1, 'x', NULL), (2, NULL, '');
CREATE UNLOGGED TABLE fleeting AS SELECT g FROM generate_series(1, 10) g;
CREATE TABLE parent (id int, what text);
CREATE TABLE child (more int) INHERITS (parent);
INSERT INTO parent VALUES (1, 'parent');
INSERT INTO child VALUES (2, 'child', 3);
CREATE TABLE events (at date, md mood, n int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') PARTITION BY HASH (md);
CREATE TABLE events_1a PARTITION OF events_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE events_1b PARTITION OF events_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE events_rest PARTITION OF events DEFAULT;
INSERT INTO events SELECT '2020-06-01'::date + g, (ARRAY['sad', 'ok', 'happy'])[g % 3 + 1]::mood, g FROM generate_series(1, 900) g;
CREATE SEQUENCE countdown INCREMENT -1 START 100 MINVALUE -5 MAXVALUE 200 CYCLE;
SELECT nextval('countdown'), nextval('countdown');
CREATE SEQUENCE untouched;
CREATE VIEW happy AS SELECT id, t FROM kinds WHERE v IN ('a', 'b') WITH CHECK OPTION;
CREATE MATERIALIZED VIEW totals AS SELECT md, count(*) FROM kinds GROUP BY md;
CREATE MATERIALIZED VIEW later AS SELECT 1 AS one WITH NO DATA;
CREATE UNIQUE INDEX ON totals (md);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
/*
\restrict notreally
*/
  NEW.t := NEW.t; RETURN NEW; END$$;
CREATE TRIGGER touched BEFORE UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER asleep BEFORE UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE kinds DISABLE TRIGGER asleep;
CREATE RULE quiet AS ON DELETE TO doubled DO INSTEAD NOTHING;
CREATE PROCEDURE nothing() LANGUAGE sql AS $$SELECT 1$$;
CREATE AGGREGATE product(numeric) (sfunc = numeric_mul, stype = numeric);
CREATE TABLE secretive (id int, who text);
INSERT INTO secretive SELECT g, 'x' FROM generate_series(1, 10) g;
ALTER TABLE secretive ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secretive USING (who IN ('x', 'y'));
CREATE PUBLICATION news FOR TABLE kinds;
COMMENT ON COLUMN kinds.t IS 'a comment; with "things"';
SELECT lo_from_bytea(70001, decode(repeat('ab', 5000), 'hex')), lo_create(70002);
SELECT lo_put(70002, 10000, 'far');
COMMENT ON LARGE OBJECT 70001 IS 'large';
-- A value of every built-in type that a column can have.
CREATE TABLE builtin (
  c_bool bool, c_bytea bytea, c_char "char", c_name name, c_int8 int8, c_int2 int2, c_int2vector int2vector, c_int4 int4,
  c_regproc regproc, c_text text, c_oid oid, c_tid tid, c_xid xid, c_cid cid, c_oidvector oidvector, c_json json, c_xml xml,
  c_xid8 xid8, c_point point, c_lseg lseg, c_path path, c_box box, c_polygon polygon, c_line line, c_circle circle,
  c_float4 float4, c_float8 float8, c_money money, c_macaddr macaddr, c_inet inet, c_cidr cidr, c_macaddr8 macaddr8,
  c_aclitem aclitem, c_bpchar char(5), c_varchar varchar(9), c_date date, c_time time(3), c_timestamp timestamp,
  c_timestamptz timestamptz, c_interval interval day to second(2), c_timetz timetz, c_bit bit(4), c_varbit varbit(9),
  c_numeric numeric(9, 4), c_refcursor refcursor, c_regprocedure regprocedure, c_regoper regoper, c_regoperator regoperator,
  c_regclass regclass, c_regcollation regcollation, c_regtype regtype, c_regrole regrole, c_regnamespace regnamespace,
  c_uuid uuid, c_pg_lsn pg_lsn, c_tsvector tsvector, c_tsquery tsquery, c_regconfig regconfig, c_regdictionary regdictionary,
  c_jsonb jsonb, c_jsonpath jsonpath, c_txid_snapshot txid_snapshot, c_pg_snapshot pg_snapshot, c_int4range int4range,
  c_numrange numrange, c_tsrange tsrange, c_tstzrange tstzrange, c_daterange daterange, c_int8range int8range
);
INSERT INTO builtin VALUES (
  true, '\x00ff', 'q', 'a name', 9223372036854775807, -32768, '1 2 3', -2147483648,
  'pg_catalog.now', E'back\\slash\ttab', 4294967295, '(7,9)', '77', '7', '10 20', '{"b": 1,  "a": [1.0]}', '<x y="1">&amp;</x>',
  '4294967299', '(1.5,-2)', '[(0,0),(1,1)]', '[(0,0),(1,1),(2,0)]', '(3,3),(1,1)', '((0,0),(1,1),(2,0))', '{1,-1,0}', '<(1,2),3>',
  'NaN', '-Infinity', '-12.34', '08:00:2b:01:02:03', '2001:db8::1/64', '2001:db8::/32', '08:00:2b:01:02:03:04:05',
  'reader=r/reader', 'pad', 'v', '4714-11-24 BC', '23:59:59.123', '294276-12-31 23:59:59', 'infinity', '3 days 04:05:06.78',
  '24:00:00-07', '1010', '101', '-0.0001', 'cur', 'pg_catalog.length(text)', 'pg_catalog.||/', 'pg_catalog.+(integer,integer)',
  'pg_catalog.pg_class', '"C"', 'integer', 'reader', 'pg_catalog', '00000000-0000-0000-0000-000000000001', '16/B374D848',
  '''Fat'':2 a:1', 'fat & (rat | !cat)', 'english', 'simple', '{"b": 1.10, "a": null}', '$.a[*] ? (@ > 1)',
  '10:20:10,14,15', '10:20:10', '[1,10)', '(1.5,]', '[2020-01-01,)', '[2020-01-01 00:00+00,2021-01-01 00:00+00)', '(,2020-01-01)', 'empty'
);
CREATE TABLE arrays (a int[][], b text[], c numrange[], d bytea[], e "char"[]);
INSERT INTO arrays VALUES ('[0:1][2:3]={{1,2},{3,NULL}}', '{"",NULL,"NULL","a,b"}', '{"[1,2)",empty}', '{"\\x00"}', '{a}');
CREATE TYPE "Ta type" AS (x int);
CREATE TYPE "Odd type" AS (a "Ta type", b pair[]);
CREATE TABLE composed (c "Odd type", ps pair[], m mood[]);
INSERT INTO composed VALUES (ROW(ROW(1), ARRAY[ROW(1, 'x')::pair]), ARRAY[ROW(NULL, '')::pair], '{sad}');
CREATE TABLE typed OF pair (PRIMARY KEY (a));
INSERT INTO typed VALUES (1, 'typed');
CREATE UNLOGGED TABLE empty_unlogged (id int PRIMARY KEY);
CREATE TABLE empty_keyed (id int PRIMARY KEY, parent int REFERENCES empty_keyed DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE checked (a int, r int4range, EXCLUDE USING gist (r WITH &&));
ALTER TABLE checked ADD CONSTRAINT positive_a CHECK (a > 0) NOT VALID;
ALTER TABLE checked ADD CONSTRAINT later FOREIGN KEY (a) REFERENCES typed NOT VALID;
INSERT INTO checked VALUES (1, '[1,2)');
CREATE TABLE by_default (id smallint GENERATED BY DEFAULT AS IDENTITY (START 7 INCREMENT 7), s bigserial);
INSERT INTO by_default DEFAULT VALUES;
CREATE TABLE listed (k text) PARTITION BY LIST (k);
CREATE TABLE listed_a PARTITION OF listed FOR VALUES IN ('a', NULL);
CREATE INDEX listed_k ON listed (k);
INSERT INTO listed VALUES ('a'), (NULL);
ALTER TABLE doubled REPLICA IDENTITY FULL;
ALTER TABLE parent ALTER COLUMN what SET (n_distinct = 5), SET (autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE INDEX parent_id ON parent (id) WITH (fillfactor = 70);
ALTER TABLE parent CLUSTER ON parent_id;
CREATE TRIGGER always BEFORE UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE kinds ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER replica BEFORE UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE kinds ENABLE REPLICA TRIGGER replica;
CREATE RULE also AS ON INSERT TO composed DO ALSO NOTHING;
ALTER TABLE composed DISABLE RULE also;
CREATE DOMAIN strict_text AS text DEFAULT 'd' NOT NULL CONSTRAINT no_blank CHECK (VALUE <> '');
CREATE TABLE domained (d strict_text);
INSERT INTO domained DEFAULT VALUES;
CREATE FUNCTION looked_up() RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = theirs, public
  AS 'BEGIN RETURN (SELECT count(*) FROM doubled); END';
CREATE FUNCTION by_caller() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM doubled); END';
CREATE FUNCTION many(a int, VARIADIC b text[] DEFAULT '{}') RETURNS TABLE (x int) LANGUAGE sql COST 7 ROWS 9 AS 'SELECT 1';
CREATE FUNCTION alike(pair, pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT ($1).a = ($2).a';
CREATE OPERATOR === (leftarg = pair, rightarg = pair, function = alike, commutator = ===);
CREATE TEXT SEARCH DICTIONARY words (template = simple, stopwords = english);
CREATE TEXT SEARCH CONFIGURATION plain (copy = simple);
ALTER TEXT SEARCH CONFIGURATION plain ALTER MAPPING FOR word WITH words;
CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE CAST (pair AS mood) WITH INOUT;
CREATE POLICY theirs ON secretive AS RESTRICTIVE FOR UPDATE TO reader USING (true) WITH CHECK (id > 0);
CREATE VIEW guarded WITH (security_barrier) AS SELECT id FROM secretive;
CREATE STATISTICS wide (ndistinct, mcv) ON a, b FROM doubled;
ALTER STATISTICS wide SET STATISTICS 700;
GRANT SELECT (id), UPDATE (what) ON parent TO reader;
GRANT USAGE ON TYPE mood TO reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO reader;
COMMENT ON TABLE parent IS 'a table';
COMMENT ON FUNCTION touch() IS 'a function';
COMMENT ON TYPE mood IS 'a type';
COMMENT ON EXTENSION hstore IS 'our own words';
COMMENT ON CONSTRAINT later ON checked IS 'a constraint';
COMMENT ON SEQUENCE countdown IS 'a sequence';
COMMENT ON TRIGGER touched ON kinds IS 'a trigger';
COMMENT ON POLICY mine ON secretive IS 'a policy';
COMMENT ON INDEX parent_id IS 'an index';
COMMENT ON RULE quiet ON doubled IS 'a rule';
COMMENT ON STATISTICS wide IS 'statistics';
COMMENT ON PUBLICATION news IS 'a publication';
COMMENT ON COLLATION nodet IS 'a collation';
COMMENT ON DOMAIN strict_text IS 'a domain';
COMMENT ON VIEW guarded IS 'a view';
COMMENT ON COLUMN guarded.id IS 'a view''s column';
COMMENT ON MATERIALIZED VIEW totals IS 'a materialized view';
COMMENT ON CAST (pair AS mood) IS 'a cast';
COMMENT ON AGGREGATE product(numeric) IS 'an aggregate';
-- What newer versions have.
DO $$ BEGIN
  IF current_setting('server_version_num')::int >= 140000 THEN
    EXECUTE 'CREATE TABLE newer (c_int4multirange int4multirange, c_nummultirange nummultirange, c_tsmultirange tsmultirange,
      c_tstzmultirange tstzmultirange, c_datemultirange datemultirange, c_int8multirange int8multirange,
      packed text COMPRESSION pglz)';
    EXECUTE $x$INSERT INTO newer
      VALUES ('{[1,2),[3,4)}', '{}', '{[2020-01-01,2020-01-02)}', '{}', '{(,2020-01-01)}', '{[5,6)}', 'x')$x$;
    EXECUTE $x$CREATE FUNCTION atomic_one(v text) RETURNS bool LANGUAGE sql
      BEGIN ATOMIC SELECT v::varchar IN ('a', 'b'); END$x$;
    EXECUTE 'CREATE STATISTICS expressed ON (a % 2) FROM doubled';
  END IF;
  IF current_setting('server_version_num')::int >= 150000 THEN
    EXECUTE 'CREATE PUBLICATION filtered FOR TABLE typed (a) WHERE (a > 0) WITH (publish = ''insert'')';
    EXECUTE 'CREATE UNIQUE INDEX nulls_equal ON empty_keyed (parent) NULLS NOT DISTINCT';
    EXECUTE 'CREATE VIEW invoked WITH (security_invoker) AS SELECT id FROM parent';
    -- Before, that schema is a superuser's.
    EXECUTE 'REVOKE ALL ON SCHEMA public FROM PUBLIC';
    EXECUTE 'GRANT USAGE ON SCHEMA public TO reader';
  END IF;
  IF current_setting('server_version_num')::int >= 180000 THEN
    EXECUTE 'CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)';
    EXECUTE 'INSERT INTO computed VALUES (1), (2)';
  END IF;
END $$;
-- Owners that hold CREATE only by a grant, or not at all any more; rights that were handed on.
GRANT granter, reader, theirs_owner TO CURRENT_USER;
GRANT CREATE, USAGE ON SCHEMA theirs TO theirs_owner;
SET ROLE theirs_owner;
CREATE TABLE theirs.things (id serial PRIMARY KEY, v text);
INSERT INTO theirs.things (v) SELECT 'v' || g FROM generate_series(1, 50) g;
GRANT SELECT ON theirs.things TO granter WITH GRANT OPTION;
GRANT SELECT ON theirs.things TO shop_owner;
CREATE FUNCTION theirs.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION theirs.f() FROM PUBLIC;
RESET ROLE;
REVOKE CREATE ON SCHEMA theirs FROM theirs_owner;
GRANT USAGE ON SCHEMA theirs TO granter;
SET ROLE granter;
GRANT SELECT ON theirs.things TO reader;
RESET ROLE;
ALTER DEFAULT PRIVILEGES IN SCHEMA theirs GRANT SELECT ON TABLES TO reader;
GRANT SELECT ON LARGE OBJECT 70001 TO reader;
REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO granter WITH GRANT OPTION;
SET ROLE granter;
GRANT CONNECT ON DATABASE shop TO reader;
RESET ROLE;
ALTER DATABASE shop SET search_path = "$user", public, "Odd ""schema";
ALTER DATABASE shop SET statement_timeout = '17min';
ALTER DATABASE shop SET default_transaction_isolation = 'read committed';
ALTER ROLE reader IN DATABASE shop SET work_mem = '7MB';
ALTER DATABASE shop CONNECTION LIMIT 77;
COMMENT ON DATABASE shop IS 'the shop''s "database"';
GRANT shop_owner TO CURRENT_USER;
ALTER DATABASE shop OWNER TO shop_owner;
