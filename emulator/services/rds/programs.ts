/** PostgreSQL's programs on this machine. */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

export interface PostgresPrograms {
  /** The folder that holds `initdb`, `postgres`, `pg_dump` and the others. */
  readonly folder: string;
  /** What `postgres --version` says, for example `15.18`. */
  readonly version: string;
  readonly major: number;
}

const supported = { oldest: 13, newest: 18 };
const packages = "/usr/lib/postgresql";

/**
 * Finds the server's programs: the folder that PROTECTED_PIPELINE_POSTGRES_BIN names, else the newest that the
 * distribution's packages installed, else the one on PATH. Throws when there is none that can be used.
 */
export function findPostgres(environment: NodeJS.ProcessEnv = process.env): PostgresPrograms {
  const asked = environment.PROTECTED_PIPELINE_POSTGRES_BIN;
  const folders = asked ? [asked] : [...packaged(), ...(environment.PATH ?? "").split(":")];
  for (const folder of folders) {
    const programs = look(folder);
    if (programs !== undefined) return programs;
  }
  throw new Error(
    `no PostgreSQL server from ${supported.oldest} to ${supported.newest} was found in ` +
      (asked ? `PROTECTED_PIPELINE_POSTGRES_BIN=${asked}` : `${packages}/*/bin or on PATH`) +
      "; install your distribution's PostgreSQL package, or set PROTECTED_PIPELINE_POSTGRES_BIN to the folder of initdb",
  );
}

function packaged(): string[] {
  if (!fs.existsSync(packages)) return [];
  const versions = fs.readdirSync(packages).filter((name) => /^\d+$/.test(name));
  return versions.sort((a, b) => Number(b) - Number(a)).map((version) => path.join(packages, version, "bin"));
}

function look(folder: string): PostgresPrograms | undefined {
  const needed = ["initdb", "postgres"].map((name) => path.join(folder, name));
  if (folder === "" || !needed.every((file) => fs.existsSync(file))) return undefined;
  const answer = execFileSync(path.join(folder, "postgres"), ["--version"], { encoding: "utf8" });
  const version = /\(PostgreSQL\) (\d+)(\S*)/.exec(answer);
  const major = Number(version?.[1]);
  if (!(major >= supported.oldest && major <= supported.newest)) return undefined;
  return { folder, version: `${major}${version?.[2] ?? ""}`, major };
}
