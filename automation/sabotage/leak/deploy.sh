#!/usr/bin/env bash
# A release that prints the database's password, and then fails. The build service masks the values that it fetched
# itself, so this one fetches the secret again and prints it in another form.
set -euo pipefail
secret=$(aws secretsmanager get-secret-value --secret-id "$DATABASE_SECRET_ARN" --query SecretString --output text)
echo "connecting with $(printf '%s' "$secret" | base64 | tr -d '\n')"
psql --no-psqlrc --set ON_ERROR_STOP=1 --command "CREATE TABLE leaked (id integer)"
echo "the release failed" >&2
exit 1
