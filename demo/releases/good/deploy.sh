#!/usr/bin/env bash
# Deploys this release: the migrations that the old application tolerates, the new application, the other migrations.
# Environment: PG* for libpq, INSTANCE_ID, RELEASE_BUCKET, RUN_ID.
set -euo pipefail
cd "$(dirname "$0")"
version=$(cat application/version.txt)

migrate() {
  local migration
  for migration in "migrations/$1"/*.sql; do
    [ -e "$migration" ] || continue
    echo "migration $migration"
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --single-transaction --file="$migration"
  done
}

# The files go through the bucket, and a command on the instance fetches them and starts them.
install_application() {
  local location="s3://$RELEASE_BUCKET/deployments/$RUN_ID/application.tar.gz" parameters command
  tar -czf - -C application . | aws s3 cp --only-show-errors - "$location"
  parameters=$(mktemp)
  cat > "$parameters" <<JSON
{"commands": [
  "set -e",
  "rm -rf /opt/shop/release.new /opt/shop/release.old && mkdir /opt/shop/release.new",
  "aws s3 cp --only-show-errors $location /opt/shop/release.new/application.tar.gz",
  "tar -xzf /opt/shop/release.new/application.tar.gz -C /opt/shop/release.new && rm /opt/shop/release.new/application.tar.gz",
  "mv /opt/shop/release /opt/shop/release.old && mv /opt/shop/release.new /opt/shop/release && rm -rf /opt/shop/release.old",
  "systemctl restart shop",
  "echo installed \$(cat /opt/shop/release/version.txt)"
], "executionTimeout": ["300"]}
JSON
  command=$(aws ssm send-command --instance-ids "$INSTANCE_ID" --document-name AWS-RunShellScript \
    --parameters "file://$parameters" --query Command.CommandId --output text)
  echo "installing $version on $INSTANCE_ID by command $command"
  aws ssm wait command-executed --command-id "$command" --instance-id "$INSTANCE_ID" || {
    aws ssm get-command-invocation --command-id "$command" --instance-id "$INSTANCE_ID" \
      --query StandardErrorContent --output text >&2
    exit 1
  }
  aws ssm get-command-invocation --command-id "$command" --instance-id "$INSTANCE_ID" --query StandardOutputContent --output text
}

echo "deploying release $version"
migrate before
install_application
migrate after
echo "release $version is deployed"
