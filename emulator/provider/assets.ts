import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { buffer } from "node:stream/consumers";
import { ZipFile } from "yazl";
import type { AssetValue } from "../core/definitions";
import { isPlainObject } from "../core/shapes";

/** An asset or archive as the engine sent it, to be given back as it was. */
export class DecodedAsset implements AssetValue {
  constructor(
    readonly kind: "asset" | "archive",
    readonly hash: string,
    readonly wire: Readonly<Record<string, unknown>>,
    private readonly read: () => Promise<Buffer>,
  ) {}

  bytes(): Promise<Buffer> {
    return this.read();
  }
}

type WireValue = Readonly<Record<string, unknown>>;

/** A file of an archive: its path inside, and its bytes. */
interface Entry {
  readonly path: string;
  readonly executable: boolean;
  readonly bytes: Buffer;
}

/** Reads an asset's or archive's description; its contents only when they are asked for. */
export function decodeAsset(
  wire: WireValue,
  directory: string,
  isArchive: (value: WireValue) => boolean,
): DecodedAsset {
  if (typeof wire.uri === "string" && wire.uri !== "") {
    throw new Error(`NotImplemented: remote assets and archives (${wire.uri})`);
  }
  const hash = typeof wire.hash === "string" ? wire.hash : "";
  const read = isArchive(wire)
    ? (): Promise<Buffer> => archiveBytes(wire, directory, isArchive)
    : (): Promise<Buffer> => assetBytes(wire, directory);
  return new DecodedAsset(isArchive(wire) ? "archive" : "asset", hash || fallbackHash(wire), wire, read);
}

/** The engine gives every asset the hash of its contents; without one, the description stands for them. */
function fallbackHash(wire: WireValue): string {
  return createHash("sha256").update(JSON.stringify(wire)).digest("hex");
}

async function assetBytes(wire: WireValue, directory: string): Promise<Buffer> {
  if (typeof wire.path === "string" && wire.path !== "") return readNamed(located(wire.path, directory), "asset");
  return Buffer.from(typeof wire.text === "string" ? wire.text : "", "utf8");
}

async function archiveBytes(
  wire: WireValue,
  directory: string,
  isArchive: (value: WireValue) => boolean,
): Promise<Buffer> {
  if (typeof wire.path === "string" && wire.path !== "") {
    const path = located(wire.path, directory);
    const found = await stat(path).catch(() => undefined);
    // An archive's file is passed on as it is.
    if (found && !found.isDirectory()) return readFile(path);
  }
  return zip(await archiveEntries(wire, "", directory, isArchive));
}

async function archiveEntries(
  wire: WireValue,
  prefix: string,
  directory: string,
  isArchive: (value: WireValue) => boolean,
): Promise<readonly Entry[]> {
  if (typeof wire.path === "string" && wire.path !== "") return folderEntries(located(wire.path, directory), prefix);
  const members = isPlainObject(wire.assets) ? Object.entries(wire.assets) : [];
  const entries = await Promise.all(
    members.map(async ([name, value]): Promise<readonly Entry[]> => {
      if (!isPlainObject(value)) throw new Error(`The archive's member ${name} is neither an asset nor an archive`);
      const path = joined(prefix, name);
      if (isArchive(value)) return archiveEntries(value, path, directory, isArchive);
      return [{ path, executable: await isExecutable(value, directory), bytes: await assetBytes(value, directory) }];
    }),
  );
  return entries.flat();
}

async function folderEntries(folder: string, prefix: string): Promise<readonly Entry[]> {
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory()) {
    throw new Error(`The archive ${folder} cannot be read inside another archive: it is no folder`);
  }
  const names = (await readdir(folder)).sort();
  const entries = await Promise.all(
    names.map(async (name): Promise<readonly Entry[]> => {
      const path = join(folder, name);
      const { mode, isFolder } = await describe(path);
      if (isFolder) return folderEntries(path, joined(prefix, name));
      return [{ path: joined(prefix, name), executable: (mode & 0o100) !== 0, bytes: await readFile(path) }];
    }),
  );
  return entries.flat();
}

async function describe(path: string): Promise<{ readonly mode: number; readonly isFolder: boolean }> {
  const found = await stat(path);
  return { mode: found.mode, isFolder: found.isDirectory() };
}

async function isExecutable(wire: WireValue, directory: string): Promise<boolean> {
  if (typeof wire.path !== "string" || wire.path === "") return false;
  return ((await describe(located(wire.path, directory))).mode & 0o100) !== 0;
}

function joined(prefix: string, name: string): string {
  return prefix === "" ? name : `${prefix}/${name}`;
}

function located(path: string, directory: string): string {
  return isAbsolute(path) ? path : resolve(directory, path);
}

async function readNamed(path: string, what: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Error(`The ${what} ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** The first moment that a zip can name; without time zones or owners, equal contents give equal bytes. */
const zipEpoch = new Date(1980, 0, 1);

/** A zip whose bytes depend on nothing but its entries. */
export async function zip(entries: readonly Entry[]): Promise<Buffer> {
  const file = new ZipFile();
  for (const { path, executable, bytes } of [...entries].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const mode = executable ? 0o100755 : 0o100644;
    file.addBuffer(bytes, path, { mtime: zipEpoch, mode, forceDosTimestamp: true });
  }
  file.end();
  return buffer(file.outputStream);
}
