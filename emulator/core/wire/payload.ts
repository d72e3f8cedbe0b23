import { Readable, Transform, type TransformCallback } from "node:stream";
import { AwsError, notImplemented } from "../definitions";
import type { OperationModel } from "../model";
import { memberSchema } from "../shapes";
import { type Checksum, checksumOf } from "./checksum";
import type { WireRequest } from "./wire";

/** The longest line of chunk framing or trailer that is read: S3 itself has lines of some 200 bytes. */
const longestLine = 16 * 1024;

/**
 * A request's payload as it was before the SDK framed it: `aws-chunked` is undone, checksums in headers and trailers
 * are verified while the bytes pass (a wrong one fails the stream, so that nothing half-read is kept), and the input's
 * length and encoding become those of the payload. Memory does not depend on the payload's size.
 */
export function bodyOf(operation: OperationModel, request: WireRequest, input: Record<string, unknown>): Readable {
  const digest = header(request, "x-amz-content-sha256") ?? "";
  const encodings = (header(request, "content-encoding") ?? "").split(",").map((encoding) => encoding.trim());
  const chunked = digest.startsWith("STREAMING-") || encodings.includes("aws-chunked");
  const expected = expectedChecksums(request, digest);
  const sent = request.body instanceof Readable ? request.body : Readable.from([request.body]);
  if (!chunked) return join(sent, new VerifiedPayload(expected));
  const length = header(request, "x-amz-decoded-content-length");
  describeDecoded(input, encodings, memberSchema(operation.input, "ContentLength") && length);
  const trailer = header(request, "x-amz-trailer");
  describeTrailer(operation, input, trailer);
  return join(sent, new ChunkedPayload(expected, trailer, length === undefined ? undefined : Number(length)));
}

/** What the caller says of the payload is meant without the framing. */
function describeDecoded(
  input: Record<string, unknown>,
  encodings: readonly string[],
  length: string | undefined,
): void {
  if (length !== undefined) input.ContentLength = Number(length);
  if (input.ContentEncoding === undefined) return;
  const remaining = encodings.filter((encoding) => encoding !== "aws-chunked");
  if (remaining.length === 0) delete input.ContentEncoding;
  else input.ContentEncoding = remaining.join(",");
}

/** A checksum that comes behind the body is kept like one that is announced in front of it. */
function describeTrailer(operation: OperationModel, input: Record<string, unknown>, trailer: string | undefined): void {
  const algorithm = algorithmOf(trailer);
  if (algorithm === undefined || !memberSchema(operation.input, "ChecksumAlgorithm")) return;
  input.ChecksumAlgorithm ??= algorithm.toUpperCase();
}

function algorithmOf(trailer: string | undefined): string | undefined {
  return /^x-amz-checksum-(\w+)$/.exec(trailer ?? "")?.[1];
}

function header(request: WireRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/**
 * Pipes so that the caller's breaking off fails the payload, but not the other way round: a payload that is refused half
 * way is read to its end and dropped, so that the caller, still sending, gets the answer and not a reset connection.
 */
function join(source: Readable, target: Transform): Readable {
  const drop = (): void => {
    source.unpipe(target);
    source.resume();
  };
  source.once("error", (error) => target.destroy(error));
  source.once("close", () => {
    if (!source.readableEnded) target.destroy(incomplete());
  });
  target.once("error", drop);
  target.once("close", drop);
  return source.pipe(target);
}

function incomplete(): AwsError {
  return new AwsError(
    "IncompleteBody",
    "You did not provide the number of bytes specified by the Content-Length HTTP header.",
  );
}

interface ExpectedChecksum {
  readonly name: string;
  readonly running: Checksum;
  /** Base64. */
  readonly value: string;
  readonly code: string;
  readonly message: string;
}

function expectedChecksums(request: WireRequest, digest: string): readonly ExpectedChecksum[] {
  const expected: ExpectedChecksum[] = [];
  for (const [name, value] of Object.entries(request.headers)) {
    const algorithm = /^x-amz-checksum-(\w+)$/.exec(name)?.[1];
    if (algorithm === undefined || algorithm === "mode" || algorithm === "type" || algorithm === "algorithm") continue;
    expected.push(badDigest(name, requiredChecksum(algorithm), String(value)));
  }
  const md5 = header(request, "content-md5");
  if (md5 !== undefined) expected.push(badDigest("content-md5", requiredChecksum("md5"), md5));
  if (/^[0-9a-f]{64}$/.test(digest)) {
    expected.push({
      name: "x-amz-content-sha256",
      running: requiredChecksum("sha256"),
      value: Buffer.from(digest, "hex").toString("base64"),
      code: "XAmzContentSHA256Mismatch",
      message: "The provided 'x-amz-content-sha256' header does not match what was computed.",
    });
  }
  return expected;
}

function badDigest(name: string, running: Checksum, value: string): ExpectedChecksum {
  const what = name === "content-md5" ? "Content-MD5" : name.replace("x-amz-checksum-", "").toUpperCase();
  return {
    name,
    running,
    value,
    code: "BadDigest",
    message: `The ${what} you specified did not match what we received.`,
  };
}

function requiredChecksum(algorithm: string): Checksum {
  const checksum = checksumOf(algorithm);
  if (!checksum) throw notImplemented(`the checksum ${algorithm}`);
  return checksum;
}

function verify(expected: readonly ExpectedChecksum[]): AwsError | undefined {
  const wrong = expected.find(({ running, value }) => running.digest() !== value);
  return wrong && new AwsError(wrong.code, wrong.message);
}

class VerifiedPayload extends Transform {
  constructor(private readonly expected: readonly ExpectedChecksum[]) {
    super();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    for (const { running } of this.expected) running.update(chunk);
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    done(verify(this.expected));
  }
}

type ChunkState = "size" | "data" | "data-end" | "trailers" | "end";

/**
 * Undoes `aws-chunked`: `<hex size>[;chunk-signature=...]\r\n<data>\r\n ... 0\r\n<trailers>\r\n`. Signatures of chunks
 * are not verified, as those of requests are not.
 */
class ChunkedPayload extends Transform {
  private state: ChunkState = "size";
  private remaining = 0;
  private line = Buffer.alloc(0);
  private readonly trailing: { readonly name: string; readonly running: Checksum } | undefined;
  private trailers = new Map<string, string>();
  private received = 0;

  constructor(
    private readonly expected: readonly ExpectedChecksum[],
    trailer: string | undefined,
    /** How many bytes there are without the framing, as far as the caller says so. */
    private readonly length: number | undefined,
  ) {
    super();
    const algorithm = algorithmOf(trailer);
    if (trailer !== undefined && algorithm === undefined) throw notImplemented(`the trailer ${trailer}`);
    this.trailing =
      trailer !== undefined && algorithm !== undefined
        ? { name: trailer, running: requiredChecksum(algorithm) }
        : undefined;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      let rest = chunk;
      while (rest.length > 0) rest = this.state === "data" ? this.takeData(rest) : this.takeLine(rest);
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  override _flush(done: TransformCallback): void {
    const isWhole = this.length === undefined || this.length === this.received;
    if (!isWhole || (this.state !== "end" && this.state !== "trailers")) {
      done(incomplete());
      return;
    }
    done(verify(this.allExpected()));
  }

  private allExpected(): readonly ExpectedChecksum[] {
    if (!this.trailing) return this.expected;
    const { name, running } = this.trailing;
    return [...this.expected, badDigest(name, running, this.trailers.get(name) ?? "")];
  }

  private takeData(chunk: Buffer): Buffer {
    const data = chunk.subarray(0, this.remaining);
    for (const { running } of this.expected) running.update(data);
    this.trailing?.running.update(data);
    this.push(data);
    this.received += data.length;
    this.remaining -= data.length;
    if (this.remaining === 0) this.state = "data-end";
    return chunk.subarray(data.length);
  }

  private takeLine(chunk: Buffer): Buffer {
    const end = chunk.indexOf(0x0a);
    this.line = Buffer.concat([this.line, chunk.subarray(0, end === -1 ? chunk.length : end)]);
    if (this.line.length > longestLine) throw malformed("a line is too long");
    if (end === -1) return Buffer.alloc(0);
    const line = this.line.toString("latin1").replace(/\r$/, "");
    this.line = Buffer.alloc(0);
    this.endLine(line);
    return chunk.subarray(end + 1);
  }

  private endLine(line: string): void {
    switch (this.state) {
      case "size":
        return this.startChunk(line);
      case "data-end":
        if (line !== "") throw malformed("a chunk is longer than it says");
        this.state = "size";
        return;
      case "trailers":
        return this.readTrailer(line);
      default:
        if (line !== "") throw malformed("there is something after the end");
    }
  }

  private startChunk(line: string): void {
    const size = /^([0-9a-fA-F]+)(;.*)?$/.exec(line)?.[1];
    if (size === undefined) throw malformed("a chunk has no size");
    this.remaining = Number.parseInt(size, 16);
    this.state = this.remaining === 0 ? "trailers" : "data";
  }

  private readTrailer(line: string): void {
    if (line === "") {
      this.state = "end";
      return;
    }
    const colon = line.indexOf(":");
    this.trailers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
}

function malformed(what: string): AwsError {
  return new AwsError("InvalidChunkSizeError", `The aws-chunked body is malformed: ${what}.`);
}
