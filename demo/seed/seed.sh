#!/usr/bin/env bash
# Runs on the instance, as root, by SSM: fills the database and makes the application's role. Settings come by
# environment: SEED_LOCATION, MASTER_SECRET_ARN, APPLICATION_SECRET_ARN, PGHOST, PGPORT, PGDATABASE. No secret is ever
# an argument of a program. A second run, after one that came to its end, changes nothing.
set -euo pipefail
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export PGSSLMODE=verify-full PGSSLROOTCERT=/opt/shop/ca.pem PGAPPNAME=seed PGOPTIONS="-c client_min_messages=error"

fail() { echo "the seeding failed: $*" >&2; exit 1; }
sql() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$@"; }

# First boot installs these; SSM may be there earlier.
for _ in $(seq 6000); do
  if [ -s "$PGSSLROOTCERT" ] && command -v psql > /dev/null && command -v node > /dev/null; then break; fi
  sleep 0.1
done
command -v psql > /dev/null || fail "the instance's first boot has not installed psql; see /var/log/cloud-init-output.log"

aws s3 cp --only-show-errors "$SEED_LOCATION" data &
download=$!
# Two lines: the master's name and password.
aws secretsmanager get-secret-value --secret-id "$MASTER_SECRET_ARN" --query SecretString --output text > master.json
node -e '
  const { username, password } = JSON.parse(require("node:fs").readFileSync("master.json", "utf8"));
  process.stdout.write(`${username}\n${password}\n`);
' > master
{ IFS= read -r PGUSER && IFS= read -r PGPASSWORD; } < master
export PGUSER PGPASSWORD
wait "$download"

seeded=$(sql --tuples-only --no-align --command \
  "SELECT 1 FROM pg_roles WHERE rolname = 'shop_app' AND shobj_description(oid, 'pg_authid') = 'seeded'")
if [ "$seeded" = 1 ]; then
  echo "the database was seeded before"
  exit 0
fi

password=$(head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
# Terse: an error shows no statement, and so no password.
sql --set VERBOSITY=terse <<SQL
SELECT 'CREATE ROLE shop_app' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_app') \gexec
ALTER ROLE shop_app LOGIN PASSWORD '$password';
SELECT format('GRANT CONNECT ON DATABASE %I TO shop_app', current_database()) \gexec
GRANT USAGE ON SCHEMA public TO shop_app;
SQL

# A dump names roles that do not exist here, and settings of newer servers. That is all that may go wrong.
harmless='role ".*" does not exist|must be owner of extension|must be (member of|able to SET) role|unrecognized configuration parameter'
check() {
  grep -E '(ERROR|FATAL|PANIC|error):' errors | grep -Ev "$harmless" > refused || true
  [ ! -s refused ] || fail "the data could not be loaded: $(head -n 5 refused)"
}
# Any database: the application may look at everything, and change rows.
grant_all() {
  sql <<'SQL'
SELECT format('GRANT USAGE ON SCHEMA %1$I TO shop_app; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA %1$I TO shop_app', nspname)
FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname \gexec
ANALYZE;
SQL
}
if [ "$(head -c 5 data)" = PGDMP ]; then
  pg_restore --no-owner --no-privileges --dbname="$PGDATABASE" data 2> errors || [ -s errors ] || fail "pg_restore failed"
  check
  grant_all
elif [ "$(head -n 1 data)" = "-- The shop's own data." ]; then
  sql --single-transaction --file=data > /dev/null
  # Beside what follows, and waited for at the end.
  sql --command=ANALYZE &
else
  psql --no-psqlrc --quiet --file=data > /dev/null 2> errors || [ -s errors ] || fail "psql failed"
  check
  grant_all
fi
# The form that RDS's own secrets have. Nothing in it needs an escape.
printf '{"engine":"postgres","host":"%s","port":%s,"dbname":"%s","username":"shop_app","password":"%s"}' \
  "$PGHOST" "$PGPORT" "$PGDATABASE" "$password" > secret.json
aws secretsmanager put-secret-value --secret-id "$APPLICATION_SECRET_ARN" --secret-string "file://$work/secret.json" > /dev/null
sql --tuples-only --no-align <<'SQL'
COMMENT ON ROLE shop_app IS 'seeded';
SELECT 'seeded ' || count(*) || ' tables' FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace);
SQL

# The application finds its secret by itself.
node -e '
  const url = `http://${require("node:os").hostname()}:8080/health`;
  const end = Date.now() + 120_000;
  const look = () => fetch(url, { signal: AbortSignal.timeout(5_000) }).then((answer) => answer.status, (error) => error.message);
  (async () => {
    let last;
    while ((last = await look()) !== 200) {
      if (Date.now() > end) { console.error(`${url} does not answer well: ${last}`); process.exit(1); }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    console.log(`${url} answers 200`);
  })();
'
for background in $(jobs -p); do wait "$background"; done
