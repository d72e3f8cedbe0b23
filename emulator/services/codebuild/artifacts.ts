/**
 * Which files of a build become an artifact.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import picomatch from "picomatch";
import type { ArtifactFiles } from "./buildspec";
import type { ZipEntry } from "./zip";

/**
 * @param files names relative to the base directory, with `/`
 * @returns the chosen ones, each with its name in the artifact
 */
export function chooseFiles(files: readonly string[], spec: ArtifactFiles): { file: string; name: string }[] {
  const options = { dot: true };
  const wanted = picomatch(spec.files.map(plain), options);
  const unwanted = picomatch(spec.excludePaths.map(plain), options);
  const chosen = files.filter((file) => wanted(file) && !unwanted(file)).sort();
  return chosen.map((file) => ({ file, name: spec.discardPaths ? path.posix.basename(file) : file }));
}

function plain(pattern: string): string {
  return pattern.replace(/^\.\//, "");
}

/**
 * The files of an artifact on this machine. The base directory may be a pattern; what it matches is not part of the
 * names.
 * @returns the files, how many base folders there are, and the patterns that no file matches
 * @param source folder of the host that is the build's source folder
 * @param visible folder of the host that nothing may be taken from outside of: links could lead there
 */
export function collectFiles(
  spec: ArtifactFiles,
  source: string,
  visible: string,
): { readonly folders: number; readonly files: ZipEntry[]; readonly unmatched: string[] } {
  const entries = new Map<string, ZipEntry>();
  const found = baseFolders(spec.baseDirectory, source).map((base) => ({ base, files: listFiles(base, visible) }));
  for (const { base, files } of found) {
    for (const { file, name } of chooseFiles(files, spec)) entries.set(name, { file: path.join(base, file), name });
  }
  const unmatched = spec.files.filter(
    (pattern) => !found.some(({ files }) => chooseFiles(files, { ...spec, files: [pattern] }).length > 0),
  );
  return { folders: found.length, files: [...entries.values()], unmatched };
}

function baseFolders(baseDirectory: string, source: string): string[] {
  const base = plain(baseDirectory).replace(/\/+$/, "") || ".";
  const exact = path.resolve(source, base);
  if (!picomatch.scan(base).isGlob) return isFolder(exact) ? [exact] : [];
  const matches = picomatch(base, { dot: true });
  const folders = fs
    .readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory());
  const names = folders.map((entry) => path.relative(source, path.join(entry.parentPath, entry.name)));
  return names.filter((name) => matches(name)).map((name) => path.join(source, name));
}

function listFiles(base: string, visible: string): string[] {
  const entries = fs.readdirSync(base, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => path.join(entry.parentPath, entry.name));
  return paths.filter((file) => isFileWithin(file, visible)).map((file) => path.relative(base, file));
}

function isFileWithin(file: string, visible: string): boolean {
  try {
    const real = fs.realpathSync(file);
    return real.startsWith(visible + path.sep) && fs.statSync(real).isFile();
  } catch {
    // A link that leads nowhere on this side.
    return false;
  }
}

function isFolder(folder: string): boolean {
  return fs.existsSync(folder) && fs.statSync(folder).isDirectory();
}
