/**
 * Zip files, as sources and artifacts travel in: file modes and symbolic links are kept.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import * as yauzl from "yauzl";
import * as yazl from "yazl";

const TYPE_BITS = 0o170000;
const LINK_TYPE = 0o120000;

/** Unpacks into a folder. Throws when an entry would be written outside of it. */
export async function unzip(file: string, directory: string): Promise<void> {
  const root = fs.realpathSync(directory);
  const zip = await yauzl.openPromise(file);
  try {
    for await (const entry of zip.eachEntry()) await extract(zip, entry, root);
  } finally {
    zip.close();
  }
}

async function extract(zip: yauzl.ZipFile, entry: yauzl.Entry, root: string): Promise<void> {
  const target = path.join(root, entry.fileName);
  if (entry.fileName.endsWith("/")) return makeFolder(target, root);
  makeFolder(path.dirname(target), root);
  const mode = entry.externalFileAttributes >>> 16;
  const content = await zip.openReadStreamPromise(entry);
  if ((mode & TYPE_BITS) === LINK_TYPE) {
    fs.symlinkSync((await content.toArray()).join(""), target);
    return;
  }
  await pipeline(content, fs.createWriteStream(target, { mode: mode & 0o777 || 0o644, flags: "wx" }));
}

/** An earlier entry may be a link that leads out of the folder. */
function makeFolder(folder: string, root: string): void {
  let existing = folder;
  while (!fs.existsSync(existing)) existing = path.dirname(existing);
  const real = fs.realpathSync(existing);
  if (real !== root && !real.startsWith(root + path.sep)) {
    throw new Error(`The archive's entry ${path.relative(root, folder)} would be written outside of its folder.`);
  }
  fs.mkdirSync(folder, { recursive: true });
}

export interface ZipEntry {
  /** The file on this machine. */
  readonly file: string;
  /** Its name in the archive. */
  readonly name: string;
}

export async function zip(entries: readonly ZipEntry[], target: string): Promise<void> {
  const archive = new yazl.ZipFile();
  const failed = new Promise<never>((_, reject) => archive.once("error", reject));
  for (const { file, name } of entries) archive.addFile(file, name, { mode: fs.statSync(file).mode });
  archive.end();
  await Promise.race([pipeline(archive.outputStream, fs.createWriteStream(target)), failed]);
}
