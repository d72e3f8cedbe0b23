/**
 * Cuts a stream where its content says so, not at fixed places: what is inserted in one place leaves the chunks after
 * it as they were, and a vault that keeps every chunk once stores only what is new. A gear hash rolls over the bytes,
 * and a chunk ends where its top bits are zero.
 */
import { createHash } from "node:crypto";

const SMALLEST = 64 * 1024;
const LARGEST = 1024 * 1024;
/** On average a chunk ends 2^18 bytes after the smallest. */
const MASK = 0x3ffff << 14;

/** Pseudo-random, and the same for ever: other numbers would cut other chunks. */
const GEAR = Int32Array.from({ length: 256 }, (_, byte) =>
  createHash("md5").update(Buffer.of(byte)).digest().readInt32LE(0),
);

/** The bytes of a chunk that come before the ones that are looked at. Shifting drops what is older than 32 bytes. */
const SKIPPED = SMALLEST - 33;

/** The stream's bytes, unchanged, in chunks. Holds no more than one chunk and the pieces of the source that
 * it is in. */
export async function* cutChunks(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  const chunk = new Chunk();
  for await (const data of source) {
    let start = 0;
    for (let end = chunk.take(data, 0); end !== undefined; end = chunk.take(data, end)) {
      yield Buffer.concat([...held, data.subarray(start, end)]);
      held = [];
      start = end;
    }
    if (start < data.length) held.push(data.subarray(start));
  }
  if (held.length > 0) yield Buffer.concat(held);
}

/** The chunk that is being read. */
class Chunk {
  private length = 0;
  private hash = 0;

  /** Reads on. @returns where the chunk ends; the next one begins there. Undefined: not in this data */
  take(data: Buffer, from: number): number | undefined {
    let at = from + Math.min(Math.max(0, SKIPPED - this.length), data.length - from);
    let { hash } = this;
    // How far it is before an end counts, and to where there must be one.
    const smallest = from + SMALLEST - this.length;
    const largest = from + LARGEST - this.length;
    const end = Math.min(data.length, largest);
    // Once for every byte: a loop of its own, which the compiler makes fast.
    for (; at < end; at++) {
      hash = ((hash << 1) + (GEAR[data[at] ?? 0] ?? 0)) | 0;
      if ((hash & MASK) === 0 && at + 1 >= smallest) break;
    }
    if (at === data.length && at < largest) {
      this.length += data.length - from;
      this.hash = hash;
      return undefined;
    }
    this.length = 0;
    this.hash = 0;
    return at === largest ? at : at + 1;
  }
}
