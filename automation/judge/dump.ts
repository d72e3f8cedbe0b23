/** Two dumps of a database, as files: compared byte by byte, and counted per table for the words of the report. */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";

export interface TableDump {
  /** As the dump lists them. */
  readonly columns: string;
  readonly rows: number;
  /** sha256 over the rows' text, in the dump's order. */
  readonly sha256: string;
}

/** Tables by their qualified name as the dump writes it. */
export type DumpTables = ReadonlyMap<string, TableDump>;

const chunkBytes = 1 << 20;

/** Whether two files hold the same bytes. */
export async function sameBytes(first: string, second: string): Promise<boolean> {
  const a = await fs.open(first);
  try {
    const b = await fs.open(second);
    try {
      if ((await a.stat()).size !== (await b.stat()).size) return false;
      const left = Buffer.alloc(chunkBytes);
      const right = Buffer.alloc(chunkBytes);
      for (;;) {
        const { bytesRead } = await a.read(left, 0, chunkBytes);
        if (bytesRead === 0) return true;
        await readExactly(b, right, bytesRead);
        if (left.compare(right, 0, bytesRead, 0, bytesRead) !== 0) return false;
      }
    } finally {
      await b.close();
    }
  } finally {
    await a.close();
  }
}

async function readExactly(file: fs.FileHandle, target: Buffer, length: number): Promise<void> {
  let position = 0;
  while (position < length) {
    const { bytesRead } = await file.read(target, position, length - position);
    if (bytesRead === 0) throw new Error("the file became shorter while it was read");
    position += bytesRead;
  }
}

const identifier = /(?:"(?:[^"]|"")*"|[^\s."(]+)/.source;
const copyStart = new RegExp(`^COPY (${identifier}\\.${identifier}|${identifier}) (?:\\((.*)\\) )?FROM stdin;$`);

/** Where the rows of a table begin in a dump. */
export interface Copy {
  readonly table: string;
  /** As the dump lists them. */
  readonly columns: string;
}

/** The line after a block of rows. */
const terminator = Buffer.from("\\.\n");
const terminatorAfterRow = Buffer.from("\n\\.\n");

/**
 * Reads the COPY blocks of a data dump. Throws when the dump ends inside one.
 * @param start - is told of each block, and gives what hears its rows: as many whole lines at a time as there are
 */
export async function readCopies(file: string, start: (copy: Copy) => (rows: Buffer) => void): Promise<void> {
  let current: { readonly table: string; readonly hear: (rows: Buffer) => void } | undefined;
  for await (const text of wholeLinesOf(file)) {
    for (let at = 0; at < text.length;) {
      if (current === undefined) {
        const end = text.indexOf(10, at);
        const copy = copyOf(text.subarray(at, end));
        if (copy !== undefined) current = { table: copy.table, hear: start(copy) };
        at = end + 1;
        continue;
      }
      const { end, over } = endOfRows(text, at);
      if (end > at) current.hear(text.subarray(at, end));
      if (over) current = undefined;
      at = over ? end + terminator.length : end;
    }
  }
  if (current !== undefined) throw new Error(`the dump ends inside the rows of ${current.table}`);
}

/** Where the rows that begin there end, and whether the block does. */
function endOfRows(text: Buffer, at: number): { readonly end: number; readonly over: boolean } {
  if (text.subarray(at, at + terminator.length).equals(terminator)) return { end: at, over: true };
  const found = text.indexOf(terminatorAfterRow, at);
  return found === -1 ? { end: text.length, over: false } : { end: found + 1, over: true };
}

function copyOf(line: Buffer): Copy | undefined {
  // Not every line outside a block is short: a large object's content is one line.
  if (line.length > 10_000 || line[0] !== 0x43) return undefined;
  const [, table, columns = ""] = copyStart.exec(line.toString()) ?? [];
  return table === undefined ? undefined : { table, columns };
}

/** Counts and hashes the rows of each table of a data dump. */
export async function readTables(file: string): Promise<DumpTables> {
  const reading = new Map<
    string,
    { readonly columns: string; rows: number; readonly hash: ReturnType<typeof createHash> }
  >();
  await readCopies(file, ({ table, columns }) => {
    const found = { columns, rows: 0, hash: createHash("sha256") };
    reading.set(table, found);
    return (rows) => {
      for (let end = rows.indexOf(10); end !== -1; end = rows.indexOf(10, end + 1)) found.rows += 1;
      found.hash.update(rows);
    };
  });
  return new Map(
    [...reading].map(([table, { columns, rows, hash }]) => [table, { columns, rows, sha256: hash.digest("hex") }]),
  );
}

/** A file's text, a whole number of lines at a time. */
async function* wholeLinesOf(file: string): AsyncGenerator<Buffer> {
  const handle = await fs.open(file);
  try {
    let rest = Buffer.alloc(0);
    for (;;) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes);
      if (bytesRead === 0) break;
      const text = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      const end = text.lastIndexOf(10) + 1;
      rest = text.subarray(end);
      if (end > 0) yield text.subarray(0, end);
    }
    if (rest.length > 0) yield Buffer.concat([rest, Buffer.from("\n")]);
  } finally {
    await handle.close();
  }
}

export interface TableDifference {
  readonly table: string;
  /** Rows; undefined where the table is not. */
  readonly before: number | undefined;
  readonly after: number | undefined;
}

export function differingTables(before: DumpTables, after: DumpTables): TableDifference[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names
    .filter((name) => {
      const [was, is] = [before.get(name), after.get(name)];
      return was?.sha256 !== is?.sha256 || was?.columns !== is?.columns;
    })
    .map((table) => ({ table, before: before.get(table)?.rows, after: after.get(table)?.rows }));
}

/** The statements of a schema dump that only one side has, for the report: at most `limit` lines of each. */
export function differingLines(before: string, after: string, limit: number): { gone: string[]; new: string[] } {
  const meaningful = (text: string) => text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("--"));
  const left = meaningful(before);
  const right = meaningful(after);
  const [leftSet, rightSet] = [new Set(left), new Set(right)];
  return {
    gone: left.filter((line) => !rightSet.has(line)).slice(0, limit),
    new: right.filter((line) => !leftSet.has(line)).slice(0, limit),
  };
}

/** Tables that a schema dump creates, by their name as the dump writes it. */
export function createdTables(schema: string): string[] {
  return [...schema.matchAll(/^CREATE (?:UNLOGGED |FOREIGN )?TABLE (.+?) \($/gm)].map((match) => match[1] ?? "");
}

/** The table at the root of each partition that a schema dump attaches. */
export function partitionRoots(schema: string): Map<string, string> {
  const attached = new RegExp(
    `^ALTER TABLE ONLY (${identifier}\\.${identifier}) ATTACH PARTITION (${identifier}\\.${identifier}) `,
    "gm",
  );
  const parents = new Map([...schema.matchAll(attached)].map(([, parent = "", child = ""]) => [child, parent]));
  const rootOf = (table: string): string => {
    const parent = parents.get(table);
    return parent === undefined ? table : rootOf(parent);
  };
  return new Map([...parents.keys()].map((child) => [child, rootOf(child)]));
}
