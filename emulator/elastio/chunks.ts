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

/** The stream's bytes, unchanged, in chunks. Holds no more than one chunk and one piece of the source. */
export async function* cutChunks(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let length = 0;
  let hash = 0;
  for await (const data of source) {
    let start = 0;
    for (let index = 0; index < data.length; index++) {
      length++;
      // Shifting drops what is older than 32 bytes; before the smallest size there is no need to look.
      if (length < SMALLEST - 32) continue;
      hash = ((hash << 1) + (GEAR[data[index] ?? 0] ?? 0)) | 0;
      if (length < LARGEST && (length < SMALLEST || (hash & MASK) !== 0)) continue;
      held.push(data.subarray(start, index + 1));
      yield Buffer.concat(held);
      held = [];
      start = index + 1;
      length = 0;
      hash = 0;
    }
    if (start < data.length) held.push(Buffer.from(data.subarray(start)));
  }
  if (length > 0) yield Buffer.concat(held);
}
