import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Install } from "../core/definitions";

const names = [
  "iam",
  "sts",
  "s3",
  "secretsmanager",
  "ssm",
  "logs",
  "events",
  "scheduler",
  "ec2",
  "rds",
  "codebuild",
  "codepipeline",
];

/** The services, in the order in which they are installed. */
export const installs: readonly Install[] = names.flatMap((name) => {
  if (!existsSync(join(__dirname, name, "index.ts"))) return [];
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    return [(require(`./${name}`) as { install: Install }).install];
  } catch (error) {
    process.stderr.write(`emulator/services/${name} does not load: ${String(error)}\n`);
    return [];
  }
});
