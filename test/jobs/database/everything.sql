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
-- Owners that hold CREATE only by a grant, or not at all any more; rights that were handed on.
GRANT theirs_owner, reader, granter TO CURRENT_USER;
GRANT CREATE, USAGE ON SCHEMA theirs TO theirs_owner;
SET ROLE theirs_owner;
CREATE TABLE theirs.things (id serial PRIMARY KEY, v text);
INSERT INTO theirs.things (v) SELECT 'v' || g FROM generate_series(1, 50) g;
GRANT SELECT ON theirs.things TO granter WITH GRANT OPTION;
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
