/**
 * The beginning of a custom-format dump: header and table of contents, all of the schema and no data. pg_restore takes
 * it as a file of its own for everything but data, so the data can stream through, once and unstored.
 */
import { randomUUID } from "node:crypto";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { Readable } from "node:stream";
import { output } from "./program";
import { type Entry, Incomplete, parseToc, type TableOfContents } from "./toc";

/** What is read at first, and by how much more until the table of contents is whole. */
const firstBytes = 1 << 20;
const growth = 4;
/** About a million objects. */
const mostBytes = 1 << 28;

/** A dump whose beginning has been read. */
export interface Archive extends TableOfContents {
  /** File with the dump's beginning: all of its table of contents, and no data. */
  readonly head: string;
  /** The whole stream, from its first byte. */
  readonly stream: Readable;
  /** A folder for small files beside the head; goes away with the archive. */
  readonly directory: string;
  readonly folder: string;
  /** Removes what was stored, and ends the stream. */
  close(): Promise<void>;
}

/**
 * Reads a dump's beginning.
 * @param folder - of the client programs
 * @throws when the stream is not a custom-format dump or ends within its table of contents
 */
export async function openArchive(source: Readable, folder: string): Promise<Archive> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), "protected-pipeline-"));
  const head = path.join(directory, "head.dump");
  const close = async (): Promise<void> => {
    source.destroy();
    await fs.rm(directory, { recursive: true, force: true });
  };
  try {
    const iterator = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const chunks: Buffer[] = [];
    let size = 0;
    for (let wanted = firstBytes; ; wanted *= growth) {
      let ended = false;
      while (size < wanted && !ended) {
        const next = await iterator.next();
        if (next.done === true) ended = true;
        else size += chunks[chunks.push(next.value) - 1]?.length ?? 0;
      }
      const beginning = Buffer.concat(chunks);
      const toc = readToc(beginning, ended || wanted >= mostBytes);
      if (toc === undefined) continue;
      await fs.writeFile(head, beginning.subarray(0, toc.length), { mode: 0o600 });
      return { ...toc, head, stream: whole(chunks, iterator), directory, folder, close };
    }
  } catch (error) {
    await close();
    throw error;
  }
}

/** Undefined: it is longer than what was read so far. */
function readToc(beginning: Buffer, all: boolean): TableOfContents | undefined {
  try {
    return parseToc(beginning);
  } catch (error) {
    if (error instanceof Incomplete && !all) return undefined;
    const message = `the stream (${beginning.length} bytes read) is no whole custom-format dump: ${(error as Error).message}`;
    throw new Error(message, { cause: error });
  }
}

function whole(chunks: Buffer[], iterator: AsyncIterator<Buffer>): Readable {
  async function* bytes(): AsyncGenerator<Buffer> {
    for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) yield chunk;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  }
  return Readable.from(bytes(), { objectMode: false });
}

/** Writes a list for `pg_restore --use-list`; gives its file. */
export async function writeList(archive: Archive, entries: readonly Entry[]): Promise<string> {
  const file = path.join(archive.directory, `${randomUUID()}.list`);
  await fs.writeFile(file, entries.map(({ id }) => `${id};\n`).join(""));
  return file;
}

/** The SQL that pg_restore would run for these entries. */
export async function entriesSql(archive: Archive, entries: readonly Entry[], deadline: Date): Promise<string> {
  if (entries.length === 0) return "";
  const list = await writeList(archive, entries);
  const environment = { PATH: process.env.PATH ?? "", LC_ALL: "C" };
  const args = ["--file=-", `--use-list=${list}`, archive.head];
  const text = await output({ command: "pg_restore", folder: archive.folder, args, environment, deadline });
  return withoutRestrict(text);
}

/**
 * Drops the two psql commands that pg_dump and pg_restore put around their text since 2025's minor releases: they
 * hold a random word, and no server knows them. Only the outermost two lines: a function's body may hold such a line.
 */
export function withoutRestrict(text: string): string {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => /^\\restrict \w+$/.test(line));
  if (first < 0) return text;
  const last = lines.findLastIndex((line) => /^\\unrestrict \w+$/.test(line));
  return lines.filter((_, index) => index !== first && index !== last).join("\n");
}

/**
 * The values that the dump gives to sequences: `last_value,is_called` by qualified, quoted name. They are newer than
 * the snapshot, because a sequence is not transactional, and they are what a restore sets.
 */
export async function sequenceValues(archive: Archive, deadline: Date): Promise<Record<string, string>> {
  const entries = archive.entries.filter(({ kind }) => kind === "SEQUENCE SET");
  const sql = await entriesSql(archive, entries, deadline);
  const values = new Map<string, string>();
  const calls = /^SELECT pg_catalog\.setval\((E?)'((?:[^']|'')*)', (-?\d+), (true|false)\);$/gm;
  for (const [, escaped, quoted = "", value, called] of sql.matchAll(calls)) {
    const name = quoted.replaceAll("''", "'");
    values.set(escaped === "E" ? name.replaceAll("\\\\", "\\") : name, `${value},${called}`);
  }
  if (values.size !== entries.length) {
    throw new Error(`the dump sets ${entries.length} sequences, of which ${values.size} could be read`);
  }
  return Object.fromEntries(values);
}
