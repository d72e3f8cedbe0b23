/**
 * Loads the data of a dump as it streams by. Each table is emptied and loaded in one transaction, which lets COPY write
 * its rows frozen and its pages as visible to all: nobody has to vacuum them, and the first reader writes nothing.
 */
import type { Readable } from "node:stream";
import { escapeIdentifier as quoted, type Client } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import type { Loaded } from "./after-data";
import type { Archive } from "./archive";
import { Blocks, DamagedDump, endOfRows } from "./blocks";
import { one } from "./connection";
import type { Entry } from "./toc";

/** What nobody loads yet. Several may read the same dump: what one of them takes, the others pass over. */
export class Untaken {
  private readonly known: ReadonlySet<number>;
  private readonly tables: Map<number, Entry>;
  private readonly objectsTaken = new Set<number>();
  private readonly hasObjects: boolean;

  constructor(entries: readonly Entry[]) {
    this.tables = new Map(entries.filter(({ kind }) => kind === "TABLE DATA").map((each) => [each.id, each]));
    this.known = new Set(this.tables.keys());
    this.hasObjects = entries.some(({ kind }) => kind === "BLOBS");
  }

  /** True: there is nothing to be found in the rest of the dump. How many large objects it has, nobody knows before. */
  get isNone(): boolean {
    return this.tables.size === 0 && !this.hasObjects;
  }

  /** @returns undefined when it is taken */
  table(id: number): Entry | undefined {
    if (!this.known.has(id)) throw new DamagedDump(`the dump has data of the unknown entry ${id}`);
    const entry = this.tables.get(id);
    this.tables.delete(id);
    return entry;
  }

  /** @returns false when it is taken */
  object(oid: number): boolean {
    if (this.objectsTaken.has(oid)) return false;
    this.objectsTaken.add(oid);
    return true;
  }
}

export interface LoadOptions {
  readonly archive: Archive;
  /** The dump, from its first byte. */
  readonly stream: Readable;
  readonly untaken: Untaken;
  /** Hears of every table whose data is committed. */
  readonly loaded: (table: Loaded) => void;
  /** Hears that this one has nothing more to load. What is left of its stream is only read. */
  readonly free: () => void;
}

/**
 * Reads a dump to its end, and loads over one connection what nobody else has taken. The session must read and write as
 * fingerprints do.
 */
export async function loadData(client: Client, options: LoadOptions): Promise<void> {
  const { archive, stream, untaken, loaded, free } = options;
  const { encoding } = await one<{ encoding: string }>(client, "SELECT pg_catalog.getdatabaseencoding() AS encoding");
  const blocks = new Blocks(false);
  let skip = archive.length;
  let destination: TableLoad | ObjectLoad | undefined;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const skipped = Math.min(skip, chunk.length);
    skip -= skipped;
    for (const event of blocks.read(chunk.subarray(skipped))) {
      if (event.kind === "table") {
        const entry = untaken.table(event.id);
        destination = entry && new TableLoad(client, entry, encoding);
      } else if (event.kind === "object") {
        destination = untaken.object(event.oid) ? new ObjectLoad(client, event.oid) : undefined;
      } else if (event.kind === "bytes") {
        await destination?.write(event.bytes);
      } else {
        if (destination instanceof TableLoad) {
          await destination.end(event.frames - 1);
          loaded(destination);
        }
        destination = undefined;
        if (untaken.isNone) free();
      }
    }
  }
  blocks.finish();
  free();
}

/** One table. Nothing is done for an empty one. */
class TableLoad implements Loaded {
  private copy: ReturnType<typeof copyFrom> | undefined;
  private failed: Promise<never> | undefined;
  xid: string | undefined;
  bytes = 0;

  constructor(
    private readonly client: Client,
    readonly entry: Entry,
    private readonly encoding: string,
  ) {}

  async write(bytes: Buffer): Promise<void> {
    if (this.copy === undefined && bytes.equals(endOfRows)) return;
    const copy = this.copy ?? (await this.begin());
    this.bytes += bytes.length;
    await this.orFailed(new Promise<void>((resolve) => copy.write(bytes, () => resolve())));
  }

  /** @param rows - how many must have come */
  async end(rows: number): Promise<void> {
    const { copy, entry } = this;
    if (copy === undefined) return;
    await this.orFailed(new Promise<void>((resolve) => copy.end(() => resolve())));
    await this.client.query("COMMIT");
    if (copy.rowCount === rows) return;
    throw new Error(`${entry.schema}.${entry.tag}: the dump has ${rows} rows, and ${copy.rowCount} were loaded`);
  }

  private async begin(): Promise<ReturnType<typeof copyFrom>> {
    const { entry, encoding } = this;
    const target = /^COPY (.+) FROM stdin;\n$/s.exec(entry.copy)?.[1];
    if (target === undefined) throw new Error(`the dump loads ${entry.schema}.${entry.tag} by: ${entry.copy}`);
    // A partition whose rows may belong to another one after a restore is loaded through its root, with others.
    const alone = sameRelation(target, entry);
    if (alone) this.xid = await this.truncate();
    else await this.client.query("BEGIN");
    const options = `${alone ? "FREEZE, " : ""}ENCODING '${encoding}'`;
    const copy = this.client.query(copyFrom(`COPY ${target} FROM STDIN WITH (${options})`));
    this.failed = new Promise<never>((_resolve, reject) => copy.once("error", reject));
    this.failed.catch(() => undefined);
    this.copy = copy;
    return copy;
  }

  /** @returns the transaction's id */
  private async truncate(): Promise<string> {
    const { schema, tag } = this.entry;
    // One message: a dump may have thousands of tables.
    const answers: unknown = await this.client.query(
      `BEGIN; TRUNCATE ONLY ${quoted(schema)}.${quoted(tag)}; SELECT pg_catalog.pg_current_xact_id()::text AS xid`,
    );
    const xid = (answers as { rows: { xid: string }[] }[]).at(-1)?.rows[0]?.xid;
    if (xid === undefined) throw new Error(`the server does not say in which transaction ${schema}.${tag} is loaded`);
    return xid;
  }

  /** What the server says of the data comes as an event, at any time. */
  private async orFailed(work: Promise<void>): Promise<void> {
    await (this.failed === undefined ? work : Promise.race([work, this.failed]));
  }
}

/** Whether a COPY's target, `schema.table (columns)`, is the entry's own table. */
export function sameRelation(target: string, { schema, tag }: Pick<Entry, "schema" | "tag">): boolean {
  const names = /^("(?:[^"]|"")+"|[^".( ]+)\.("(?:[^"]|"")+"|[^".( ]+)/.exec(target)?.slice(1, 3) ?? [];
  const bare = names.map((name) => (name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name));
  return bare[0] === schema && bare[1] === tag;
}

/** The contents of one large object. */
class ObjectLoad {
  private offset = 0;

  constructor(
    private readonly client: Client,
    private readonly oid: number,
  ) {}

  async write(bytes: Buffer): Promise<void> {
    await this.client.query("SELECT pg_catalog.lo_put($1, $2, $3)", [this.oid, this.offset, bytes]);
    this.offset += bytes.length;
  }
}
