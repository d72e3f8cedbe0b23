/**
 * The table of contents of a custom-format dump, as pg_dump 13 to 18 write it (archive versions 1.14 to 1.16; its
 * source, pg_backup_archiver.c, is the only description). `pg_restore --list` shows the same, but neither where the
 * table of contents ends and the data begins, nor the COPY statements.
 */

/** One entry. */
export interface Entry {
  readonly id: number;
  /** OID of the catalog that the object is in; 0 for what has no catalog row. */
  readonly catalog: number;
  /** For example `TABLE DATA`. */
  readonly kind: string;
  /** The object's name; of some kinds with more, for example `EXTENSION hstore` of a comment. */
  readonly tag: string;
  /** Empty: in no schema. */
  readonly schema: string;
  readonly section: "none" | "pre-data" | "data" | "post-data";
  /** The statement that loads a table's data; empty for other kinds. */
  readonly copy: string;
  /** Ids of the entries that this one needs. */
  readonly needs: readonly number[];
}

export interface TableOfContents {
  readonly entries: readonly Entry[];
  /** How many bytes the header and the table of contents have; the data begins after them. */
  readonly length: number;
}

/** More bytes are needed. */
export class Incomplete extends Error {}

const magic = "PGDMP";
const custom = 1;
const versions = { oldest: [1, 14], newest: [1, 16] } as const;
const sections = [undefined, "none", "pre-data", "data", "post-data"] as const;

/** Parses a dump's beginning. Throws {@link Incomplete} when it ends too soon. */
export function parseToc(bytes: Buffer): TableOfContents {
  const reader = new Reader(bytes);
  const version = readHeader(reader);
  const count = reader.int();
  const entries = Array.from({ length: count }, () => readEntry(reader, version));
  return { entries, length: reader.position };
}

/** @returns the minor version */
function readHeader(reader: Reader): number {
  if (reader.take(magic.length).toString("latin1") !== magic) throw new Error("it does not begin as a dump does");
  const [major, minor] = [reader.byte(), reader.byte()];
  reader.byte();
  if (major !== versions.oldest[0] || minor < versions.oldest[1] || minor > versions.newest[1]) {
    throw new Error(`its format has version ${major}.${minor}, which pg_dump 13 to 18 do not write`);
  }
  const [intSize, offsetSize, format] = [reader.byte(), reader.byte(), reader.byte()];
  if (intSize !== 4 || format !== custom) throw new Error("it is no custom-format dump with integers of four bytes");
  reader.offsetSize = offsetSize;
  const compression = minor >= 15 ? reader.byte() : reader.int();
  if (compression !== 0) throw new Error("it is compressed, which `pg_dump --compress=0` is not");
  // When it was made, of what, and by what.
  for (let field = 0; field < 7; field++) reader.int();
  for (let field = 0; field < 3; field++) reader.text();
  return minor;
}

function readEntry(reader: Reader, version: number): Entry {
  const id = reader.int();
  reader.int();
  const catalog = Number(reader.text());
  reader.text();
  const tag = reader.text();
  const kind = reader.text();
  const section = sections[reader.int()];
  if (section === undefined) throw new Error(`its entry ${id} is in an unknown section`);
  // Its definition, and how it is dropped.
  reader.text();
  reader.text();
  const copy = reader.text();
  const schema = reader.text();
  // Tablespace and access method.
  reader.text();
  reader.text();
  if (version >= 16) reader.int();
  // Owner, and whether it has OIDs.
  reader.text();
  reader.text();
  const needs: number[] = [];
  for (let need = reader.optionalText(); need !== undefined; need = reader.optionalText()) needs.push(Number(need));
  // Where its data is; a dump that was written to a pipe does not know.
  reader.take(1 + reader.offsetSize);
  return { id, catalog, kind, tag, schema, section, copy, needs };
}

class Reader {
  position = 0;
  offsetSize = 8;

  constructor(private readonly bytes: Buffer) {}

  take(length: number): Buffer {
    const end = this.position + length;
    if (end > this.bytes.length) throw new Incomplete("it ends within its table of contents");
    const taken = this.bytes.subarray(this.position, end);
    this.position = end;
    return taken;
  }

  byte(): number {
    return this.take(1).readUInt8();
  }

  /** A sign, and four bytes from the lowest on. */
  int(): number {
    const negative = this.byte() !== 0;
    const value = this.take(4).readUInt32LE();
    return negative ? -value : value;
  }

  /** Absent and empty are the same for what is read here. */
  text(): string {
    return this.optionalText() ?? "";
  }

  optionalText(): string | undefined {
    const length = this.int();
    return length < 0 ? undefined : this.take(length).toString("utf8");
  }
}
