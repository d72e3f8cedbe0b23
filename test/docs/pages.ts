/** Pages of docs/ of which a part is written by a test: the test compares, and writes when UPDATE_DOCS is set. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

export const root = join(__dirname, "..", "..");

export function page(name: string): string {
  const file = join(root, "docs", name);
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

/** Fails when a page is not what it should be, and says how to make it so. */
export function checkPage(name: string, expected: string): void {
  if (process.env.UPDATE_DOCS) writeFileSync(join(root, "docs", name), expected);
  const stale = `docs/${name} is stale: write it anew with UPDATE_DOCS=1 npx mocha 'test/docs/*.test.ts'`;
  assert.ok(page(name) === expected, stale);
}

/** All files below a folder of the project, by their paths from the project's root, sorted. */
export function filesBelow(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
    .filter((file) => !/(^|\/)(node_modules|dist|__pycache__)\//.test(file))
    .sort();
}

const texts = new Map<string, string>();

export function textOf(file: string): string {
  const known = texts.get(file) ?? readFileSync(join(root, file), "utf8");
  texts.set(file, known);
  return known;
}

/** Text for a cell of a table. */
export function cell(text: string): string {
  return text.replaceAll("|", "\\|").replace(/\s+/g, " ");
}

/** A test as a link from a page of docs/. */
export function linkTo(file: string): string {
  return `[${file.replace(/^test\/(emulator\/)?/, "").replace(/\.test\.ts$/, "")}](../${file})`;
}
