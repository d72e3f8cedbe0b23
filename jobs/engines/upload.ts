/**
 * Sends a stream of unknown length to S3, in parts. Two buffers of one part each, used in turn, are all that it keeps:
 * one is filled while the other one is on its way. (The uploader of the SDK's library makes new ones for every part, and
 * holds three to four parts until somebody collects them: more memory with parts of half the size.)
 */
import type { CompletedPart, S3Client } from "@aws-sdk/client-s3";
import type { Readable } from "node:stream";
import { Failure } from "../failure";

/** S3 takes no more parts of one object. */
const mostParts = 10_000;
/** Twice as much is in memory. */
const partBytes = 24 * 1024 * 1024;
/** 234 GiB. */
export const longestUpload = mostParts * partBytes;

export interface Destination {
  readonly Bucket: string;
  readonly Key: string;
  readonly Metadata: Record<string, string>;
}

/**
 * Resolves when the object exists. Until the last part it does not, so a stream that breaks off leaves none; the parts
 * that were sent are removed. A part that is lost on its way is sent again by the client.
 */
export async function upload(client: S3Client, to: Destination, stream: Readable, size = partBytes): Promise<void> {
  const { Bucket, Key } = to;
  const {
    AbortMultipartUploadCommand,
    CompleteMultipartUploadCommand,
    CreateMultipartUploadCommand,
    PutObjectCommand,
    UploadPartCommand,
  } = await import("@aws-sdk/client-s3");
  const described = { ...to, ContentType: "application/octet-stream" };
  const sent: Promise<CompletedPart>[] = [];
  let UploadId: string | undefined;
  const send = async (PartNumber: number, Body: Buffer): Promise<CompletedPart> => {
    const { ETag, ChecksumCRC32 } = await client.send(
      new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ChecksumAlgorithm: "CRC32" }),
    );
    return { PartNumber, ETag, ChecksumCRC32 };
  };
  try {
    for await (const part of cut(stream, size)) {
      if (sent.length === mostParts) throw tooLong(to, size);
      if (sent.length === 0 && part.length < size) {
        await client.send(new PutObjectCommand({ ...described, Body: part }));
        return;
      }
      UploadId ??= (await client.send(new CreateMultipartUploadCommand({ ...described, ChecksumAlgorithm: "CRC32" })))
        .UploadId;
      // The part before: its buffer is the next to be filled.
      await sent.at(-1);
      const sending = send(sent.length + 1, part);
      // Awaited with the next part, or at the end.
      sending.catch(() => undefined);
      sent.push(sending);
    }
    const Parts = await Promise.all(sent);
    await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
  } catch (error) {
    await Promise.allSettled(sent);
    // What this cannot remove, the bucket's own rule for unfinished uploads does.
    if (UploadId !== undefined) {
      await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(() => undefined);
    }
    throw error;
  }
}

/** The stream in parts of one size, at least one, the last as long as it is. A part is good until the next but one. */
async function* cut(stream: Readable, size: number): AsyncGenerator<Buffer, void, undefined> {
  let [current, other] = [Buffer.allocUnsafe(size), Buffer.allocUnsafe(size)];
  let filled = 0;
  let any = false;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    for (let from = 0; from < chunk.length;) {
      const copied = chunk.copy(current, filled, from);
      from += copied;
      filled += copied;
      if (filled < size) continue;
      yield current;
      [current, other] = [other, current];
      [filled, any] = [0, true];
    }
  }
  if (filled > 0 || !any) yield current.subarray(0, filled);
}

function tooLong({ Bucket }: Destination, size: number): Failure {
  const gibibytes = Math.floor((mostParts * size) / 2 ** 30);
  return new Failure(
    `the dump is longer than the ${gibibytes} GiB that ${Bucket} can take in one upload, so nothing of it is a recovery ` +
      "point; choose another engine, or split the database: docs/performance.md says where a dump ends",
  );
}
