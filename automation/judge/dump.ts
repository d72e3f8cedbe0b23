/** Two dumps of a database, as files: compared byte by byte, and counted per table for the words of the report. */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";

export interface TableDump {
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
const copyStart = new RegExp(`^COPY (${identifier}\\.${identifier}|${identifier}) (?:\\(.*\\) )?FROM stdin;$`);

/** Reads the COPY blocks of a data dump. Throws when the dump ends inside one. */
export async function readTables(file: string): Promise<DumpTables> {
  const reader = new TableReader();
  for await (const lines of linesOf(file)) for (const line of lines) reader.read(line);
  return reader.end();
}

class TableReader {
  private readonly tables = new Map<string, TableDump>();
  private current: { name: string; rows: number; hash: ReturnType<typeof createHash> } | undefined;

  read(line: Buffer): void {
    if (this.current === undefined) {
      this.start(line);
    } else if (line.length === 2 && line[0] === 0x5c && line[1] === 0x2e) {
      this.tables.set(this.current.name, { rows: this.current.rows, sha256: this.current.hash.digest("hex") });
      this.current = undefined;
    } else {
      this.current.rows += 1;
      this.current.hash.update(line).update("\n");
    }
  }

  end(): DumpTables {
    if (this.current !== undefined) throw new Error(`the dump ends inside the rows of ${this.current.name}`);
    return this.tables;
  }

  private start(line: Buffer): void {
    // Not every line outside a block is short: a large object's content is one line.
    if (line.length > 10_000 || line[0] !== 0x43) return;
    const name = copyStart.exec(line.toString())?.[1];
    if (name !== undefined) this.current = { name, rows: 0, hash: createHash("sha256") };
  }
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
    .filter((name) => before.get(name)?.sha256 !== after.get(name)?.sha256)
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
