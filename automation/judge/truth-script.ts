/**
 * What the Truth job runs: the whole database in canonical form, taken with PostgreSQL's own programs by the master,
 * who is not a superuser. It leaves nothing behind in the server.
 *
 * Canonical form: a dump is text that changes without the database changing. `\restrict` lines carry a random token,
 * and `Dumped` lines versions; and an expression that was restored once is printed in another way than one that was
 * typed (`ARRAY['a'::varchar]::text[]` against `ARRAY['a'::varchar::text]`). After one restore the text stays as it
 * is. So the schema's text goes once through a scratch database, without owners and grants, which need rights there
 * that the master may not have; their own lines, which contain no expression, are taken from the first dump.
 *
 * | file | what |
 * |---|---|
 * | `data.sql` | every row, sequence and large object, in the order of the dump |
 * | `views.txt` | the rows of materialized views, which no dump carries, sorted |
 * | `schema.sql` | canonical schema, owners and grants, what belongs to the database and its schemas themselves |
 * | `typed.sql` | the schema as it was typed: for the evidence, which was never restored |
 * | `databases.txt` | all databases of the server |
 * | `evidence-data.sql`, `evidence-typed.sql` | the same of the evidence database, when `EVIDENCE` names one |
 */

/** Names of the files, as the driver reads them. */
export const truthFiles = {
  data: "data.sql",
  views: "views.txt",
  schema: "schema.sql",
  typed: "typed.sql",
  databases: "databases.txt",
  evidenceData: "evidence-data.sql",
  evidenceTyped: "evidence-typed.sql",
} as const;

/**
 * One shell command for a build whose shell is bash. Environment: libpq's PGHOST, PGPORT, PGUSER, PGPASSWORD, and
 * DATABASE, ADMIN_DATABASE, TRUTH_BUCKET, TRUTH_KEY, CA_KEY, and EVIDENCE (empty for none).
 */
export const truthScript = String.raw`(
set -euo pipefail
umask 077
export PGSSLMODE=verify-full PGCLIENTENCODING=UTF8 PGAPPNAME=outside-judge PGCONNECT_TIMEOUT=20
work=$(mktemp -d)
scratch=""
reclose=""
admin() { psql -XqAt -v ON_ERROR_STOP=1 -d "$ADMIN_DATABASE" "$@"; }
leave() {
  status=$?
  for job in $(jobs -p); do wait "$job" || status=1; done
  [ -z "$scratch" ] || dropdb --if-exists --maintenance-db="$ADMIN_DATABASE" "$scratch" || status=1
  [ -z "$reclose" ] || admin -c "$reclose" || status=1
  rm -rf "$work"
  exit $status
}
trap leave EXIT
mkdir "$work/out"
cd "$work"
aws s3 cp --quiet "s3://$TRUTH_BUCKET/$CA_KEY" ca.pem
export PGSSLROOTCERT="$work/ca.pem"

# canonical < text: without the lines that no two dumps have in common.
canonical() { awk '/^\\restrict / && !token { token = $2; next } $1 == "\\unrestrict" && $2 == token { next } NR < 20 && /^-- Dumped / { next } { print }'; }
# dump DATABASE PREFIX: one dump is one snapshot, and everything is taken from it.
dump() { pg_dump --format=custom --compress=0 --dbname="$1" --file="$2whole.dump"; }
# texts PREFIX: of a dump.
texts() {
  pg_restore --schema-only --file=- "$1whole.dump" | canonical > "out/$1typed.sql"
  pg_restore --data-only --file=- "$1whole.dump" | canonical > "out/$1data.sql"
}

if [ -n "$EVIDENCE" ]; then
  # Kept closed, so it is opened for the length of a dump; as it was is written down first.
  reclose=$(admin -v evidence="$EVIDENCE" <<'SQL'
SELECT format('ALTER DATABASE %I WITH ALLOW_CONNECTIONS %s CONNECTION LIMIT %s', datname, datallowconn::text, datconnlimit)
  FROM pg_database WHERE datname = :'evidence'
SQL
)
  [ -n "$reclose" ] || { echo "there is no database \"$EVIDENCE\": the evidence was not kept" >&2; exit 1; }
  admin -v evidence="$EVIDENCE" <<'SQL'
SELECT format('ALTER DATABASE %I WITH ALLOW_CONNECTIONS true CONNECTION LIMIT -1', :'evidence') \gexec
SQL
  { dump "$EVIDENCE" evidence- && texts evidence-; } &
  evidence=$!
fi

scratch="truth_$(printf %s "$CODEBUILD_BUILD_ID" | sha256sum | cut -c 1-16)"
dump "$DATABASE" "" &
dumped=$!
admin -v database="$DATABASE" -v scratch="$scratch" <<'SQL'
SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L', :'scratch',
  pg_encoding_to_char(encoding), 'C', datctype) FROM pg_database WHERE datname = :'database' \gexec
SQL
wait "$dumped"
texts "" &
told=$!
pg_restore --schema-only --no-owner --no-acl --exit-on-error --dbname="$scratch" whole.dump
pg_dump --schema-only --no-owner --no-acl --dbname="$scratch" | canonical > out/schema.sql
dropdb --maintenance-db="$ADMIN_DATABASE" "$scratch"
scratch=""
wait "$told"
{ grep -E '^(ALTER .* OWNER TO |ALTER DEFAULT PRIVILEGES |GRANT |REVOKE )' out/typed.sql || true; } >> out/schema.sql
psql -XqAt -v ON_ERROR_STOP=1 -d "$DATABASE" >> out/schema.sql <<'SQL'
SELECT 'database', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datistemplate,
  datallowconn, datconnlimit, (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace),
  shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database();
SELECT 'database grant', a::text FROM pg_database, unnest(datacl) a WHERE datname = current_database() ORDER BY a::text COLLATE "C";
SELECT 'setting', coalesce(setrole::regrole::text, ''), c FROM pg_db_role_setting s, unnest(setconfig) c
  WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 2, 3;
SELECT 'schema', nspname, nspowner::regrole, (SELECT string_agg(a::text, ' ' ORDER BY a::text COLLATE "C") FROM unnest(nspacl) a)
  FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname COLLATE "C";
SELECT 'extension', extname, extversion, extowner::regrole, extnamespace::regnamespace FROM pg_extension ORDER BY extname COLLATE "C";
SQL
psql -XqAt -v ON_ERROR_STOP=1 -d "$DATABASE" > out/views.txt <<'SQL'
SET search_path = '';
SET timezone = 'UTC';
SELECT format('SELECT %L, t FROM (SELECT (v.*)::text AS t FROM %I.%I v) r ORDER BY t COLLATE "C"', matviewname, schemaname, matviewname)
  FROM pg_matviews WHERE ispopulated ORDER BY schemaname COLLATE "C", matviewname COLLATE "C" \gexec
SQL
if [ -n "$EVIDENCE" ]; then
  wait "$evidence"
  admin -c "$reclose"
  reclose=""
fi
admin -c 'SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname COLLATE "C"' > out/databases.txt
(cd out && sha256sum -- *.sql *.txt > SHA256SUMS && cat SHA256SUMS)
tar -C out -cf - . | aws s3 cp --quiet - "s3://$TRUTH_BUCKET/$TRUTH_KEY"
)`;
