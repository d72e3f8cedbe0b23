/**
 * Programs of the host that machines are made with, or that machines show inside.
 */
import * as fs from "node:fs";
import * as path from "node:path";

const SYSTEM_FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The absolute path of a program of the host, or undefined. Looks beyond PATH: users often lack the sbin folders. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":").filter((folder) => folder !== ""), ...SYSTEM_FOLDERS];
  return folders.map((folder) => path.join(folder, name)).find(isExecutable);
}

/**
 * The folder of the newest PostgreSQL client programs. Debian's `/usr/bin/psql` is a wrapper that picks a version by
 * the host's clusters, which a machine has nothing to do with, so the real folder goes first.
 */
export function postgresFolder(): string | undefined {
  const root = "/usr/lib/postgresql";
  const versions = fs.existsSync(root) ? fs.readdirSync(root) : [];
  const packaged = versions
    .filter((version) => isExecutable(path.join(root, version, "bin", "pg_dump")))
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => path.join(root, version, "bin"));
  const [newest] = packaged;
  if (newest !== undefined) return newest;
  const found = findProgram("pg_dump");
  return found === undefined ? undefined : path.dirname(fs.realpathSync(found));
}

function isExecutable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}
