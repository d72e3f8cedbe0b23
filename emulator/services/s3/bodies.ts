/** Object bodies: files on disk, written and read as streams, so that memory does not depend on their size. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rm, unlink } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AwsError, notImplemented } from "../../core/definitions";
import { Checksum, checksumOf } from "../../core/wire/checksum";
import { ChecksumAlgorithm, checksumAlgorithms, Checksums } from "./checksums";

/** A stretch of an object: a whole file. A multipart object has one per part. */
export interface Segment {
  readonly file: string;
  readonly size: number;
}

export interface Received extends Segment {
  /** Hexadecimal. */
  readonly md5: string;
  readonly checksums: Checksums;
}

/** What a request says about its body, to be verified. */
export interface Expectation extends Checksums {
  readonly ContentMD5?: string | undefined;
}

/**
 * Writes a request's body to a file and verifies it.
 * @throws BadDigest when a checksum or Content-MD5 differs; IncompleteBody when the sender went away.
 */
export async function receive(
  body: unknown,
  file: string,
  expected: Expectation,
  algorithm: ChecksumAlgorithm | undefined,
): Promise<Received> {
  const md5 = createHash("md5");
  const named = checksumAlgorithms.filter((each) => each === algorithm || expected[`Checksum${each}`] !== undefined);
  const hashes = new Map(named.map((each) => [each, runningChecksum(each)] as const));
  let size = 0;
  try {
    await pipeline(
      toReadable(body),
      async function* (source: AsyncIterable<Uint8Array>) {
        for await (const chunk of source) {
          size += chunk.length;
          md5.update(chunk);
          for (const hash of hashes.values()) hash.update(chunk);
          yield chunk;
        }
      },
      createWriteStream(file),
    );
    const digest = md5.digest();
    const checksums = Object.fromEntries(
      [...hashes].map(([each, hash]) => [`Checksum${each}`, hash.digest()]),
    ) as Checksums;
    verify(expected, digest, checksums);
    return { file, size, md5: digest.toString("hex"), checksums };
  } catch (error) {
    await rm(file, { force: true });
    throw isPrematureClose(error)
      ? new AwsError("IncompleteBody", "The request body terminated unexpectedly", 400)
      : error;
  }
}

/** The bytes `start`..`end` (inclusive) of these segments, one after the other. */
export function read(segments: readonly Segment[], start: number, end: number): Readable {
  return Readable.from(chunks(segments, start, end), { objectMode: false });
}

export async function remove(segments: readonly Segment[]): Promise<void> {
  for (const { file } of segments) await unlink(file).catch(() => undefined);
}

/** @throws NotImplemented for an algorithm that is not computed here. */
export function runningChecksum(algorithm: ChecksumAlgorithm): Checksum {
  const checksum = checksumOf(algorithm.toLowerCase());
  if (!checksum) throw notImplemented(`the checksum ${algorithm}`);
  return checksum;
}

async function* chunks(segments: readonly Segment[], start: number, end: number): AsyncGenerator<Buffer> {
  let offset = 0;
  for (const { file, size } of segments) {
    const from = Math.max(start - offset, 0);
    const to = Math.min(end - offset, size - 1);
    if (from <= to) yield* createReadStream(file, { start: from, end: to, highWaterMark: 1 << 18 });
    offset += size;
    if (offset > end) return;
  }
}

function verify(expected: Expectation, md5: Buffer, actual: Checksums): void {
  if (expected.ContentMD5 !== undefined) {
    if (Buffer.from(expected.ContentMD5, "base64").length !== md5.length)
      throw new AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.", 400);
    if (expected.ContentMD5 !== md5.toString("base64"))
      throw new AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.", 400);
  }
  for (const algorithm of checksumAlgorithms) {
    const value = expected[`Checksum${algorithm}`];
    if (value !== undefined && value !== actual[`Checksum${algorithm}`])
      throw new AwsError("BadDigest", `The ${algorithm} you specified did not match the calculated checksum.`, 400);
  }
}

function toReadable(body: unknown): Readable {
  if (body === undefined || body === null) return Readable.from([]);
  if (body instanceof Readable) return body;
  if (typeof body === "string") return Readable.from([Buffer.from(body)]);
  if (body instanceof Uint8Array) return Readable.from([body]);
  throw new AwsError("InvalidRequest", "The body is neither bytes nor text nor a stream.", 400);
}

function isPrematureClose(error: unknown): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    (error.code === "ERR_STREAM_PREMATURE_CLOSE" || error.code === "ECONNRESET")
  );
}
