/** What the demo's instance does when it boots for the first time. Pure: text in, script out. */

export interface UserDataOptions {
  readonly region: string;
  /** Bucket whose objects under `application/` are the application. */
  readonly bucket: string;
  /** ARN of the secret from which the application learns where its database is. The ARN is not secret. */
  readonly secretArn: string;
  /** Files under `application/`, relative. */
  readonly files: readonly string[];
}

/** EC2 takes 16 KB before encoding. */
export const longestUserData = 16_384;

/** Where the application lives on the instance. */
export const applicationDirectory = "/opt/shop";
export const applicationUnit = "/etc/systemd/system/shop.service";
export const applicationPort = 8080;

/** Absolute paths throughout: a machine that boots has no working directory to speak of. */
export function userData(options: UserDataOptions): string {
  const fetches = options.files.map(
    (file) =>
      `aws s3 cp --only-show-errors ${quoted(`s3://${options.bucket}/application/${file}`)} ${quoted(`${applicationDirectory}/${file}`)} &`,
  );
  const folders = [...new Set(options.files.map((file) => `${applicationDirectory}/${file}`.replace(/\/[^/]*$/, "")))];
  return `#!/bin/bash
# Installs and starts the shop. Output: /var/log/cloud-init-output.log
set -euo pipefail
export AWS_REGION=${quoted(options.region)}
command -v node > /dev/null || dnf install --assumeyes --quiet nodejs22
command -v psql > /dev/null || dnf install --assumeyes --quiet postgresql17

mkdir -p ${folders.map(quoted).join(" ")}
${fetches.join("\n")}
for download in $(jobs -p); do wait "$download"; done

cat > ${applicationDirectory}/shop.env <<'SETTINGS'
AWS_REGION=${options.region}
APPLICATION_SECRET_ARN=${options.secretArn}
PGSSLROOTCERT=${applicationDirectory}/ca.pem
SETTINGS

cat > ${applicationUnit} <<'UNIT'
[Unit]
Description=The shop
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/bin/env node ${applicationDirectory}/server.js
EnvironmentFile=${applicationDirectory}/shop.env
WorkingDirectory=${applicationDirectory}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
UNIT

systemctl daemon-reload
systemctl enable --now shop
`;
}

/** One word of a shell command, whatever it holds. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9_./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
