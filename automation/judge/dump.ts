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

/**
 * Reads the COPY blocks of a data dump. Throws when the dump ends inside one.
 * @param start - is told of each block, and gives what hears its rows, as text without the line's end
 */
export async function readCopies(file: string, start: (copy: Copy) => (row: Buffer) => void): Promise<void> {
  let current: { readonly table: string; readonly hear: (row: Buffer) => void } | undefined;
  for await (const lines of linesOf(file)) {
    for (const line of lines) {
      if (current === undefined) {
        const copy = copyOf(line);
        if (copy !== undefined) current = { table: copy.table, hear: start(copy) };
      } else if (line.length === 2 && line[0] === 0x5c && line[1] === 0x2e) {
        current = undefined;
      } else {
        current.hear(line);
      }
    }
  }
  if (current !== undefined) throw new Error(`the dump ends inside the rows of ${current.table}`);
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
    return (row) => {
      found.rows += 1;
      found.hash.update(row).update("\n");
    };
  });
  return new Map(
    [...reading].map(([table, { columns, rows, hash }]) => [table, { columns, rows, sha256: hash.digest("hex") }]),
  );
}

/** Lines as bytes, without their end, as many at a time as one read brings. */
async function* linesOf(file: string): AsyncGenerator<Buffer[]> {
  const handle = await fs.open(file);
  try {
    let rest = Buffer.alloc(0);
    for (;;) {
      const chunk = Buffer.alloc(chunkBytes);
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes);
      if (bytesRead === 0) break;
      const text = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      const lines: Buffer[] = [];
      let start = 0;
      for (let end = text.indexOf(10); end !== -1; end = text.indexOf(10, start)) {
        lines.push(text.subarray(start, end));
        start = end + 1;
      }
      rest = text.subarray(start);
      yield lines;
    }
    if (rest.length > 0) yield [rest];
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
