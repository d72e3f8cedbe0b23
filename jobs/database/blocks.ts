/**
 * The data of a custom-format dump: after the table of contents, one block for each table and for the large objects.
 * A block consists of frames, each a length and that many bytes; of a table, a frame is one row of COPY's text.
 */
import { createHash, type Hash } from "node:crypto";

const kinds = { data: 1, objects: 3 } as const;
/** A sign, always 0, and four bytes from the lowest on. */
const intBytes = 5;

/** After its rows, pg_dump ends every table by this frame. */
export const endOfRows = Buffer.from("\\.\n\n\n");

/** How the frames of a table end: {@link endOfRows}, and an empty one. */
export const endOfTable = Buffer.from([0, endOfRows.length, 0, 0, 0, ...endOfRows, 0, 0, 0, 0, 0]);

export type BlockEvent =
  /** The data of the entry with this id follows. */
  | { readonly kind: "table"; readonly id: number }
  /** The contents of a large object follow. */
  | { readonly kind: "object"; readonly oid: number }
  /** A piece of it. */
  | { readonly kind: "bytes"; readonly bytes: Buffer }
  | { readonly kind: "end"; readonly frames: number };

type State = "block" | "id" | "oid" | "frame" | "body";

/** The dump cannot be read any further. */
export class DamagedDump extends Error {}

/**
 * Cuts a dump's data into blocks. `framed` leaves the frames in the pieces, as they are in the dump, with the empty one
 * at the end; otherwise the pieces are the bare contents.
 */
export class Blocks {
  private state: State = "block";
  private objects = false;
  private frames = 0;
  /** Of the body of a frame: how many bytes are still to come. */
  private missing = 0;
  private readonly integer = Buffer.alloc(intBytes);
  /** How many bytes of the integer have come. */
  private held = 0;

  constructor(private readonly framed: boolean) {}

  /** What is in the next chunk. */
  *read(received: Buffer): Generator<BlockEvent> {
    // The bare contents are moved together in place; what was received belongs to somebody else.
    const chunk = this.framed ? received : Buffer.from(received);
    let at = 0;
    while (at < chunk.length) {
      if (this.state === "block") {
        this.objects = this.blockKind(chunk[at++]) === kinds.objects;
        this.state = "id";
      } else if (this.state === "id" || this.state === "oid") {
        const value = this.readInt(chunk, at);
        at = Math.min(chunk.length, at + value.taken);
        if (value.value !== undefined) yield* this.opened(value.value);
      } else {
        const { to, bytes, ended } = this.readFrames(chunk, at);
        if (bytes.length > 0) yield { kind: "bytes", bytes };
        at = to;
        if (ended) yield { kind: "end", frames: this.frames };
      }
    }
  }

  /** Throws unless the last block was whole. */
  finish(): void {
    if (this.state !== "block") throw new DamagedDump("the dump ends within a table's data");
  }

  private blockKind(byte: number | undefined): number {
    if (byte === kinds.data || byte === kinds.objects) return byte;
    throw new DamagedDump(`the dump has a block of the unknown kind ${byte}`);
  }

  private *opened(value: number): Generator<BlockEvent> {
    if (this.state === "id") {
      this.state = this.objects ? "oid" : "frame";
      if (!this.objects) yield { kind: "table", id: value };
    } else {
      this.state = value === 0 ? "block" : "frame";
      if (value !== 0) yield { kind: "object", oid: value };
    }
    this.frames = 0;
  }

  /** The integer that begins here, or in the chunk before. */
  private readInt(chunk: Buffer, at: number): { taken: number; value: number | undefined } {
    const taken = Math.min(intBytes - this.held, chunk.length - at);
    chunk.copy(this.integer, this.held, at, at + taken);
    this.held += taken;
    if (this.held < intBytes) return { taken, value: undefined };
    this.held = 0;
    return { taken, value: this.integer.readUInt32LE(1) };
  }

  /** All frames until the block's end or the chunk's: millions of them, so nothing is made for each. */
  private readFrames(chunk: Buffer, from: number): { to: number; bytes: Buffer; ended: boolean } {
    const { framed } = this;
    let ended = false;
    const end = chunk.length;
    let at = from;
    // Where the next bare contents go.
    let target = from;
    while (at < end) {
      if (this.state === "frame") {
        let length: number;
        if (this.held === 0 && at + intBytes <= end) {
          length = chunk.readUInt32LE(at + 1);
          at += intBytes;
        } else {
          const { taken, value } = this.readInt(chunk, at);
          at += taken;
          if (value === undefined) break;
          length = value;
        }
        if (length === 0) {
          this.state = this.objects ? "oid" : "block";
          ended = true;
          break;
        }
        this.frames++;
        this.missing = length;
        this.state = "body";
      }
      const taken = Math.min(this.missing, end - at);
      if (!framed) chunk.copyWithin(target, at, at + taken);
      at += taken;
      target += taken;
      this.missing -= taken;
      if (this.missing === 0) this.state = "frame";
    }
    return { to: at, bytes: chunk.subarray(from, framed ? at : target), ended };
  }
}

/** What is known of a table's rows from their text: how many, and a hash over all of them in their order. */
export interface TextHash {
  readonly rows: number;
  /** Hexadecimal sha256 of the frames, {@link endOfTable} included. */
  readonly sha256: string;
}

/** Hashes the data of every table in a dump, on its way. */
export class TableHashes {
  private readonly blocks = new Blocks(true);
  private readonly hashes = new Map<number, TextHash>();
  private id = 0;
  private hash: Hash | undefined;

  /** @param skip - how many bytes come before the first block */
  constructor(private skip: number) {}

  readonly update = (chunk: Buffer): void => {
    const skipped = Math.min(this.skip, chunk.length);
    this.skip -= skipped;
    for (const event of this.blocks.read(chunk.subarray(skipped))) {
      if (event.kind === "table") {
        this.id = event.id;
        this.hash = createHash("sha256");
      } else if (event.kind === "object") this.hash = undefined;
      else if (event.kind === "bytes") this.hash?.update(event.bytes);
      else if (this.hash !== undefined)
        this.hashes.set(this.id, { rows: event.frames - 1, sha256: this.hash.digest("hex") });
    }
  };

  /** By the id of the table's data. Throws when the dump is not whole. */
  finish(): ReadonlyMap<number, TextHash> {
    this.blocks.finish();
    return this.hashes;
  }
}
