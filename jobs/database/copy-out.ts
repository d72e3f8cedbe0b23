/** Hashes what COPY gives of a table, as the server sends it. */
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import type { Client } from "pg";
import { endOfTable, type TextHash } from "./blocks";
import type { Budget } from "./throttle";

/** pg's own connection, which its types leave out. */
interface WithConnection {
  readonly connection: { readonly stream: Socket };
}

type Listener = (chunk: Buffer) => void;

/**
 * The hash of a table's text that the same text in a dump has (TableHashes in blocks.ts). It is taken from the socket:
 * the client library has one event for each row, and takes longer for it than the server takes to make the row.
 * @param sql - COPY ... TO STDOUT, in text format
 */
export async function hashCopy(client: Client, sql: string, budget: Budget): Promise<TextHash> {
  const { stream } = (client as unknown as WithConnection).connection;
  const listeners = stream.listeners("data") as Listener[];
  const rows = new CopiedRows();
  const restore = (): void => {
    stream.off("data", read);
    for (const listener of listeners) if (!stream.listeners("data").includes(listener)) stream.on("data", listener);
  };
  const read = (chunk: Buffer): void => {
    const wait = budget.spend(chunk.length);
    if (wait >= 1) {
      stream.pause();
      setTimeout(() => stream.resume(), wait);
    }
    const rest = rows.read(chunk);
    if (rest === undefined) return;
    restore();
    for (const listener of listeners) listener.call(stream, rest);
  };
  for (const listener of listeners) stream.off("data", listener);
  stream.on("data", read);
  try {
    const { rowCount } = await client.query(sql);
    return rows.finish(rowCount ?? 0);
  } finally {
    restore();
  }
}

/** A message has a byte for its kind, and four for its length, which counts itself. */
const headerBytes = 5;
const kinds = { copyOut: 0x48, copyData: 0x64 } as const;

/** Reads the server's messages, and hashes each row as a frame of a dump: both have five bytes before the row. */
class CopiedRows {
  private readonly hash = createHash("sha256");
  private rows = 0;
  /** Bytes that belong to a row and are still to come. */
  private missing = 0;
  /** Bytes of the announcement that are still to come. */
  private skip = 0;
  /** The part of a header that came at the end of a chunk. */
  private part: Buffer = Buffer.alloc(0);

  /** @returns undefined, or what no longer belongs to the copy */
  read(next: Buffer): Buffer | undefined {
    const chunk = this.part.length === 0 ? next : Buffer.concat([this.part, next]);
    this.part = Buffer.alloc(0);
    let at = Math.min(this.skip, chunk.length);
    this.skip -= at;
    let from = at;
    const end = chunk.length;
    for (;;) {
      const taken = Math.min(this.missing, end - at);
      at += taken;
      this.missing -= taken;
      if (at + headerBytes > end) break;
      const length = chunk.readUInt32BE(at + 1) - 4;
      if (chunk[at] === kinds.copyData) {
        chunk[at] = 0;
        chunk.writeUInt32LE(length, at + 1);
        at += headerBytes;
        this.missing = length;
        this.rows++;
      } else {
        this.hash.update(chunk.subarray(from, at));
        if (chunk[at] !== kinds.copyOut) return chunk.subarray(at);
        from = Math.min(end, at + headerBytes + length);
        this.skip = at + headerBytes + length - from;
        at = from;
      }
    }
    this.hash.update(chunk.subarray(from, at));
    this.part = Buffer.from(chunk.subarray(at));
    return undefined;
  }

  finish(sent: number): TextHash {
    if (sent !== this.rows) throw new Error(`the server sent ${sent} rows, of which ${this.rows} were read`);
    this.hash.update(endOfTable);
    return { rows: this.rows, sha256: this.hash.digest("hex") };
  }
}
