import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { crc32 } from "node:zlib";
import { Sha256 } from "@aws-crypto/sha256-js";
import * as s3 from "@aws-sdk/client-s3";
import { SignatureV4 } from "@smithy/signature-v4";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install as iam } from "../../../emulator/services/iam";
import { install } from "../../../emulator/services/s3";
import { clientSettings } from "../support";

const megabyte = 1024 * 1024;
const size = 128 * megabyte;
/** What 128 MB may cost in memory: chunks on their way, which the garbage collector has not looked at yet. */
const growth = 96 * megabyte;

/** Runs, and gives by how much the process had grown at most meanwhile. */
async function peakGrowth(work: () => Promise<void>): Promise<number> {
  global.gc?.();
  const before = process.memoryUsage().rss;
  let peak = before;
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 10);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return peak - before;
}

/** As many bytes as asked for, always the same, made while they are read. */
function bytes(length: number): Readable {
  const chunk = Buffer.alloc(megabyte, "0123456789abcdef");
  const chunks = function* () {
    for (let left = length; left > 0; left -= chunk.length) yield chunk.subarray(0, Math.min(left, chunk.length));
  };
  return Readable.from(chunks(), { objectMode: false });
}

async function sha256Of(stream: Readable): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

describe("S3 bodies", () => {
  const Bucket = "streams";
  let emulator: Emulator;
  let client: s3.S3Client;

  before(async () => {
    emulator = await startEmulator({ services: [iam, install] });
    client = new s3.S3Client(clientSettings(emulator));
    await client.send(new s3.CreateBucketCommand({ Bucket }));
  });
  after(async () => {
    client.destroy();
    await emulator.close();
  });
  const files = () => readdirSync(emulator.cloud.stores.s3.bucket(Bucket).directory);

  it("of 128 MB are written, read and put together from parts in constant memory", async () => {
    const expected = await sha256Of(bytes(size));
    const get = async (Key: string) => {
      const { Body } = await client.send(new s3.GetObjectCommand({ Bucket, Key }));
      assert.equal(await sha256Of(Body as Readable), expected);
    };
    const grown = await peakGrowth(async () => {
      await client.send(new s3.PutObjectCommand({ Bucket, Key: "whole", Body: bytes(size), ContentLength: size }));
      await get("whole");
      const { UploadId } = await client.send(
        new s3.CreateMultipartUploadCommand({
          Bucket,
          Key: "parts",
          ChecksumAlgorithm: "CRC32",
          ChecksumType: "FULL_OBJECT",
        }),
      );
      const Parts: s3.CompletedPart[] = [];
      for (const PartNumber of [1, 2]) {
        const part = { Bucket, Key: "parts", UploadId, PartNumber, ChecksumAlgorithm: "CRC32" as const };
        const Body = bytes(size / 2);
        const { ETag } = await client.send(new s3.UploadPartCommand({ ...part, Body, ContentLength: size / 2 }));
        Parts.push({ PartNumber, ETag });
      }
      const done = { Bucket, Key: "parts", UploadId, MultipartUpload: { Parts } };
      const completed = await client.send(new s3.CompleteMultipartUploadCommand(done));
      assert.equal(completed.ChecksumType, "FULL_OBJECT");
      await get("parts");
    });
    assert.ok(grown < growth, `the process grew by ${Math.round(grown / megabyte)} MB`);
    for (const Key of ["whole", "parts"]) await client.send(new s3.DeleteObjectCommand({ Bucket, Key }));
    assert.deepEqual(files(), []);
  });

  /** A put in S3's own chunk framing, with the checksum behind the body. */
  async function putChunked(Key: string, chunks: readonly string[], trailer: string) {
    const framed = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("");
    const body = `${framed}0\r\nx-amz-checksum-crc32:${trailer}\r\n\r\n`;
    const { hostname, port, host } = new URL(emulator.endpoint);
    const settings = clientSettings(emulator);
    const signer = new SignatureV4({
      service: "s3",
      region: settings.region,
      credentials: settings.credentials,
      sha256: Sha256,
      uriEscapePath: false,
      applyChecksum: false,
    });
    const signed = await signer.sign({
      method: "PUT",
      protocol: "http:",
      hostname,
      port: Number(port),
      path: `/${Bucket}/${Key}`,
      query: {},
      headers: {
        host,
        "content-encoding": "aws-chunked",
        "content-length": String(body.length),
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": String(chunks.join("").length),
        "x-amz-trailer": "x-amz-checksum-crc32",
      },
    });
    return new Promise<{ readonly status: number | undefined; readonly body: string }>((resolve, reject) => {
      const { method, headers, path } = signed;
      const request = httpRequest({ host: hostname, port, method, headers, path }, (response) => {
        text(response).then((answer) => resolve({ status: response.statusCode, body: answer }), reject);
      });
      request.once("error", reject);
      request.end(body);
    });
  }

  const crcOf = (value: string): string => {
    const digest = Buffer.alloc(4);
    digest.writeUInt32BE(crc32(value));
    return digest.toString("base64");
  };

  it("in chunks are stored without the framing, and their trailing checksum with them", async () => {
    const { status } = await putChunked("chunked", ["hello, ", "world"], crcOf("hello, world"));
    assert.equal(status, 200);
    const found = await client.send(new s3.GetObjectCommand({ Bucket, Key: "chunked", ChecksumMode: "ENABLED" }));
    assert.equal(await found.Body?.transformToString(), "hello, world");
    assert.equal(found.ChecksumCRC32, crcOf("hello, world"));
    assert.equal(found.ContentEncoding, undefined);
    assert.equal(found.ContentLength, 12);
    await client.send(new s3.DeleteObjectCommand({ Bucket, Key: "chunked" }));
  });

  it("whose trailing checksum is wrong, or which break off, are refused and leave nothing", async () => {
    const { status, body } = await putChunked("wrong", ["hello, ", "world"], crcOf("something else"));
    assert.equal(status, 400);
    assert.match(body, /<Code>BadDigest<\/Code>/);
    const half = Readable.from([randomBytes(1000)], { objectMode: false });
    const broken = client.send(new s3.PutObjectCommand({ Bucket, Key: "half", Body: half, ContentLength: 2000 }));
    await assert.rejects(broken);
    const { KeyCount } = await client.send(new s3.ListObjectsV2Command({ Bucket }));
    assert.equal(KeyCount, 0);
    assert.deepEqual(files(), []);
  });
});
