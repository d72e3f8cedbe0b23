/**
 * Loads the data of a dump as it streams by. Each table is emptied and loaded in one transaction, which lets COPY write
 * its rows frozen and its pages as visible to all: nobody has to vacuum them, and the first reader writes nothing.
 */
import type { Readable } from "node:stream";
import { escapeIdentifier as quoted, type Client } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import type { Loaded } from "./after-data";
import { entriesSql, type Archive } from "./archive";
import { Blocks, DamagedDump, endOfRows } from "./blocks";
import { one } from "./connection";
import type { Entry } from "./toc";

/**
 * Reads the dump's stream to its end and loads all of its data over one connection.
 * @param loaded - hears of every table whose data is committed
 */
export async function loadData(
  client: Client,
  archive: Archive,
  stream: Readable,
  deadline: Date,
  loaded: (table: Loaded) => void,
): Promise<void> {
  const tables = new Map(archive.entries.filter(({ kind }) => kind === "TABLE DATA").map((each) => [each.id, each]));
  await client.query(
    "SET row_security = off; SET synchronous_commit = off; SET statement_timeout = 0; SET lc_monetary = 'C'",
  );
  const { encoding } = await one<{ encoding: string }>(client, "SELECT pg_catalog.getdatabaseencoding() AS encoding");
  const sequences = archive.entries.filter(({ kind }) => kind === "SEQUENCE SET");
  const sequencesSql = entriesSql(archive, sequences, deadline);
  sequencesSql.catch(() => undefined);
  const blocks = new Blocks(false);
  let skip = archive.length;
  let destination: TableLoad | ObjectLoad | undefined;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const skipped = Math.min(skip, chunk.length);
    skip -= skipped;
    for (const event of blocks.read(chunk.subarray(skipped))) {
      if (event.kind === "table") {
        const entry = tables.get(event.id);
        if (entry === undefined) throw new DamagedDump(`the dump has data of the unknown entry ${event.id}`);
        destination = new TableLoad(client, entry, encoding);
      } else if (event.kind === "object") {
        destination = new ObjectLoad(client, event.oid);
      } else if (event.kind === "bytes") {
        await destination?.write(event.bytes);
      } else if (destination instanceof TableLoad) {
        await destination.end(event.frames - 1);
        loaded(destination);
      }
    }
  }
  blocks.finish();
  const sql = await sequencesSql;
  if (sql !== "") await client.query(sql);
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
