/**
 * Releases: what the pipeline deploys. A release is a folder with a `deploy.sh`; it travels as a zip whose bytes depend
 * on its contents only.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { ZipFile } from "yazl";
import { messageOf, Refusal } from "../refusal";

export interface ReleaseFile {
  /** Relative, with `/` between folders. */
  readonly path: string;
  readonly bytes: Buffer;
  readonly executable: boolean;
}

export type Release = readonly ReleaseFile[];

/** The command that a release must have, run by the Deploy job with bash. */
export const deployScript = "deploy.sh";
/** What {@link heldRelease} calls the script that it wraps. */
const wrappedScript = "deploy.wrapped.sh";
const largestReleaseBytes = 200 * 1024 * 1024;

/** Where a release of that name or path lies. A name has neither a separator nor a dot at its beginning. */
export function findRelease(nameOrFolder: string, releasesFolder: string): string {
  const named = path.join(releasesFolder, nameOrFolder);
  if (/^[A-Za-z0-9_-]+$/.test(nameOrFolder) && fs.existsSync(named)) return named;
  const folder = path.resolve(nameOrFolder);
  if (fs.existsSync(folder)) return folder;
  const names = fs.existsSync(releasesFolder) ? fs.readdirSync(releasesFolder).sort().join(", ") : "none";
  throw new Refusal(
    `there is no release "${nameOrFolder}": give a folder that holds a ${deployScript}, or a name of: ${names}.`,
  );
}

/** Reads a release's folder. Refuses one that the Deploy job could not run. */
export function readRelease(folder: string): Release {
  if (!fs.statSync(folder).isDirectory()) {
    throw new Refusal(`the release ${folder} is not a folder: give a folder that holds a ${deployScript}.`);
  }
  const script = path.join(folder, deployScript);
  if (!fs.existsSync(script) || !fs.statSync(script).isFile()) {
    throw new Refusal(`the release ${folder} has no ${deployScript}: add one, the Deploy job runs it with bash.`);
  }
  try {
    return readFiles(folder);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(`the release ${folder} cannot be read: ${messageOf(error)}.`);
  }
}

function readFiles(folder: string): Release {
  const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true });
  const files: ReleaseFile[] = [];
  let total = 0;
  for (const entry of entries) {
    const file = path.join(entry.parentPath, entry.name);
    const status = fs.statSync(file);
    if (status.isDirectory()) continue;
    if (!status.isFile()) throw new Refusal(`the release holds ${file}, which is not a regular file: remove it.`);
    total += status.size;
    if (total > largestReleaseBytes) {
      throw new Refusal(
        `the release ${folder} is larger than ${largestReleaseBytes / 1024 / 1024} MB: make it smaller.`,
      );
    }
    files.push({
      path: path.relative(folder, file).split(path.sep).join("/"),
      bytes: fs.readFileSync(file),
      executable: (status.mode & 0o111) !== 0,
    });
  }
  return files;
}

/** A release that runs this SQL, statement by statement and each committed, and then fails. */
export function breakingRelease(sql: string): Release {
  const script = [
    "#!/usr/bin/env bash",
    "# Runs break.sql against the live database, and then fails like a release whose next step went wrong.",
    "set -uo pipefail",
    'psql --no-psqlrc --echo-all --file "$(dirname "$0")/break.sql"',
    'echo "the release failed after its SQL had run" >&2',
    "exit 1",
    "",
  ].join("\n");
  return [textFile(deployScript, script, true), textFile("break.sql", `${sql.trim().replace(/;$/, "")};\n`)];
}

/** What the log of a held release says once the damage is done, and the key whose existence lets it go on. */
export const heldMarker = "held: the release has failed, and waits before it says so";
export function holdKey(run: string): string {
  return `deployments/${run}/go-on`;
}

/**
 * The same release, but when it fails it does not say so before an object appears beside the release. So a visitor
 * can look at the broken application; the pipeline under test knows nothing of it.
 */
export function heldRelease(release: Release): Release {
  const script = [
    "#!/usr/bin/env bash",
    `bash "$(dirname "$0")/${wrappedScript}" "$@"`,
    "status=$?",
    "if [ $status -ne 0 ]; then",
    `  echo "${heldMarker}"`,
    `  until aws s3api head-object --bucket "$RELEASE_BUCKET" --key "${holdKey("$RUN_ID")}" >/dev/null 2>&1; do`,
    "    sleep 1",
    "  done",
    "fi",
    "exit $status",
    "",
  ].join("\n");
  const rest = release.map((file) => (file.path === deployScript ? { ...file, path: wrappedScript } : file));
  return [textFile(deployScript, script, true), ...rest];
}

function textFile(name: string, text: string, executable = false): ReleaseFile {
  return { path: name, bytes: Buffer.from(text), executable };
}

/** The zip of a release. Equal releases give equal bytes, whenever and wherever they are packed. */
export async function packRelease(release: Release): Promise<Buffer> {
  const zip = new ZipFile();
  const byPath = (a: ReleaseFile, b: ReleaseFile) => (a.path < b.path ? -1 : 1);
  for (const file of [...release].sort(byPath)) {
    zip.addBuffer(file.bytes, file.path, {
      // Zips hold local times; this one is made of UTC's numbers, so that the time zone does not show.
      mtime: new Date(1980, 0, 1),
      mode: file.executable ? 0o100755 : 0o100644,
      forceDosTimestamp: true,
    });
  }
  zip.end();
  const chunks: Buffer[] = [];
  for await (const chunk of zip.outputStream) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}
