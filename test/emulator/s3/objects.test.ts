import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install as iam } from "../../../emulator/services/iam";
import { install } from "../../../emulator/services/s3";
import { clientSettings } from "../support";

describe("S3 objects", () => {
  let emulator: Emulator;
  let client: s3.S3Client;
  let bucket = "";
  let buckets = 0;

  before(async () => {
    emulator = await startEmulator({ services: [iam, install] });
    client = new s3.S3Client(clientSettings(emulator));
  });
  after(async () => {
    client.destroy();
    await emulator.close();
  });
  beforeEach(async () => {
    bucket = `bucket-${++buckets}`;
    await client.send(new s3.CreateBucketCommand({ Bucket: bucket }));
  });

  const put = (Key: string, Body: string, more: Partial<s3.PutObjectCommandInput> = {}) =>
    client.send(new s3.PutObjectCommand({ Bucket: bucket, Key, Body, ...more }));
  const get = async (Key: string, more: Partial<s3.GetObjectCommandInput> = {}) => {
    const found = await client.send(new s3.GetObjectCommand({ Bucket: bucket, Key, ...more }));
    return { ...found, text: (await found.Body?.transformToString()) ?? "" };
  };
  const enableVersioning = () =>
    client.send(new s3.PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: "Enabled" } }));

  it("gives back what was put, with its metadata, ETag and encryption", async () => {
    await put("a/ü b.txt", "hello", { ContentType: "text/plain", Metadata: { run: "r1" }, CacheControl: "no-cache" });
    const found = await get("a/ü b.txt");
    assert.equal(found.text, "hello");
    assert.equal(found.ETag, `"${createHash("md5").update("hello").digest("hex")}"`);
    assert.equal(found.ContentType, "text/plain");
    assert.equal(found.CacheControl, "no-cache");
    assert.deepEqual(found.Metadata, { run: "r1" });
    assert.equal(found.ServerSideEncryption, "AES256");
    assert.equal(found.VersionId, undefined);
  });

  it("keeps an empty object", async () => {
    await put("empty", "");
    const found = await get("empty");
    assert.equal(found.text, "");
    assert.equal(found.ContentLength, 0);
  });

  it("answers 412 to If-None-Match when the object exists", async () => {
    await put("fact", "first", { IfNoneMatch: "*" });
    await assert.rejects(put("fact", "second", { IfNoneMatch: "*" }), (error: s3.S3ServiceException) => {
      assert.equal(error.name, "PreconditionFailed");
      assert.equal(error.$metadata.httpStatusCode, 412);
      return true;
    });
    assert.equal((await get("fact")).text, "first");
  });

  it("lets one of two writers at once win, and tells the other 412", async () => {
    const slow = (text: string) => {
      let release = (): void => undefined;
      const gate = new Promise<void>((resolve) => (release = resolve));
      const Body = Readable.from(
        (async function* () {
          yield text;
          await gate;
        })(),
        { objectMode: false },
      );
      return { Body, release, ContentLength: text.length };
    };
    const [first, second] = [slow("one"), slow("two")];
    const root = { kind: "root", arn: "arn:aws:iam::123456789012:root" } as const;
    const write = (Body: Readable) =>
      emulator.cloud.send(root, new s3.PutObjectCommand({ Bucket: bucket, Key: "k", Body, IfNoneMatch: "*" }));
    const [one, two] = [write(first.Body), write(second.Body)];
    second.release();
    await two;
    first.release();
    await assert.rejects(one, { code: "PreconditionFailed" });
    assert.equal((await get("k")).text, "two");
    assert.equal(readdirSync(join(emulator.cloud.stores.s3.bucket(bucket).directory)).length, 1);
  });

  it("answers 409 when a delete lands while a conditional write is under way", async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const Body = Readable.from(
      (async function* () {
        yield "late";
        await gate;
      })(),
      { objectMode: false },
    );
    const root = { kind: "root", arn: "arn:aws:iam::123456789012:root" } as const;
    const write = emulator.cloud.send(
      root,
      new s3.PutObjectCommand({ Bucket: bucket, Key: "k", Body, IfNoneMatch: "*" }),
    );
    await client.send(new s3.DeleteObjectCommand({ Bucket: bucket, Key: "k" }));
    release();
    await assert.rejects(write, { code: "ConditionalRequestConflict", status: 409 });
  });

  it("writes under If-Match only over the very object, and 404s where there is none", async () => {
    await enableVersioning();
    const { ETag } = await put("k", "one");
    await put("k", "two", { IfMatch: ETag });
    await assert.rejects(put("k", "three", { IfMatch: ETag }), { name: "PreconditionFailed" });
    await client.send(new s3.DeleteObjectCommand({ Bucket: bucket, Key: "k" }));
    await assert.rejects(put("k", "four", { IfMatch: ETag }), { name: "NoSuchKey" });
    await put("k", "five", { IfNoneMatch: "*" });
    assert.equal((await get("k")).text, "five");
  });

  it("reads ranges, the last bytes, and refuses what is beyond the end", async () => {
    await put("k", "0123456789");
    const middle = await get("k", { Range: "bytes=2-4" });
    assert.equal(middle.text, "234");
    assert.equal(middle.ContentRange, "bytes 2-4/10");
    assert.equal(middle.$metadata.httpStatusCode, 206);
    assert.equal((await get("k", { Range: "bytes=-3" })).text, "789");
    assert.equal((await get("k", { Range: "bytes=8-" })).text, "89");
    await assert.rejects(get("k", { Range: "bytes=10-" }), { name: "InvalidRange" });
  });

  it("answers 304 and 412 to conditional reads", async () => {
    const { ETag } = await put("k", "x");
    const status = async (more: Partial<s3.GetObjectCommandInput>) =>
      get("k", more).then(
        ({ $metadata }) => $metadata.httpStatusCode,
        (error: s3.S3ServiceException) => error.$metadata.httpStatusCode,
      );
    assert.equal(await status({ IfNoneMatch: ETag }), 304);
    assert.equal(await status({ IfMatch: '"other"' }), 412);
    assert.equal(await status({ IfMatch: ETag }), 200);
  });

  it("keeps versions, and hides the object behind a delete marker", async () => {
    await enableVersioning();
    const one = await put("k", "one");
    const two = await put("k", "two");
    assert.notEqual(one.VersionId, two.VersionId);
    assert.equal((await get("k", { VersionId: one.VersionId })).text, "one");
    const marker = await client.send(new s3.DeleteObjectCommand({ Bucket: bucket, Key: "k" }));
    assert.equal(marker.DeleteMarker, true);
    await assert.rejects(get("k"), { name: "NoSuchKey" });
    await assert.rejects(get("k", { VersionId: marker.VersionId }), { name: "MethodNotAllowed" });
    const listed = await client.send(new s3.ListObjectVersionsCommand({ Bucket: bucket }));
    assert.deepEqual(
      listed.Versions?.map(({ VersionId, IsLatest }) => [VersionId, IsLatest]),
      [
        [two.VersionId, false],
        [one.VersionId, false],
      ],
    );
    assert.deepEqual(
      listed.DeleteMarkers?.map(({ VersionId, IsLatest }) => [VersionId, IsLatest]),
      [[marker.VersionId, true]],
    );
    await client.send(new s3.DeleteObjectCommand({ Bucket: bucket, Key: "k", VersionId: marker.VersionId }));
    assert.equal((await get("k")).text, "two");
  });

  it("overwrites the null version when versioning is suspended, and keeps the others", async () => {
    await put("k", "before");
    await enableVersioning();
    await put("k", "version");
    await client.send(
      new s3.PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: "Suspended" } }),
    );
    await put("k", "after");
    const listed = await client.send(new s3.ListObjectVersionsCommand({ Bucket: bucket }));
    assert.equal(listed.Versions?.length, 2);
    assert.equal(listed.Versions?.[0]?.VersionId, "null");
    assert.equal((await get("k", { VersionId: "null" })).text, "after");
  });

  it("verifies checksums and gives them back", async () => {
    const right = createHash("sha256").update("data").digest("base64");
    await put("k", "data", { ChecksumSHA256: right });
    assert.equal((await get("k", { ChecksumMode: "ENABLED" })).ChecksumSHA256, right);
    const wrong = createHash("sha256").update("other").digest("base64");
    await assert.rejects(put("k", "data", { ChecksumSHA256: wrong }), { name: "BadDigest" });
    for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1"] as const) {
      await put("each", "123456789", { ChecksumAlgorithm });
      const head = await client.send(
        new s3.HeadObjectCommand({ Bucket: bucket, Key: "each", ChecksumMode: "ENABLED" }),
      );
      assert.ok(head[`Checksum${ChecksumAlgorithm}`], ChecksumAlgorithm);
      assert.equal((await get("each", { ChecksumMode: "ENABLED" })).text, "123456789");
    }
  });

  it("keeps of a refused upload no file", async () => {
    const wrong = createHash("sha256").update("other").digest("base64");
    await assert.rejects(put("k", "data", { ChecksumSHA256: wrong }));
    assert.deepEqual(readdirSync(emulator.cloud.stores.s3.bucket(bucket).directory), []);
  });

  it("takes a stream of unknown length in parts, and gives back the same bytes", async () => {
    const part = randomBytes(5 * 1024 * 1024);
    const rest = randomBytes(1000);
    const upload = new Upload({
      client,
      params: { Bucket: bucket, Key: "big", Body: Readable.from([part, rest], { objectMode: false }) },
    });
    const done = await upload.done();
    assert.match(done.ETag ?? "", /-2"$/);
    const found = await client.send(new s3.GetObjectCommand({ Bucket: bucket, Key: "big" }));
    const bytes = Buffer.from((await found.Body?.transformToByteArray()) ?? []);
    assert.ok(bytes.equals(Buffer.concat([part, rest])));
    const across = await client.send(
      new s3.GetObjectCommand({ Bucket: bucket, Key: "big", Range: `bytes=${part.length - 2}-${part.length + 1}` }),
    );
    const expected = Buffer.concat([part.subarray(-2), rest.subarray(0, 2)]);
    assert.ok(Buffer.from((await across.Body?.transformToByteArray()) ?? []).equals(expected));
  });

  it("refuses to complete an upload with wrong, disordered or too small parts, and forgets an aborted one", async () => {
    const target = { Bucket: bucket, Key: "mpu" };
    const { UploadId } = await client.send(new s3.CreateMultipartUploadCommand(target));
    const part = async (PartNumber: number) => {
      const { ETag } = await client.send(new s3.UploadPartCommand({ ...target, UploadId, PartNumber, Body: "small" }));
      return { PartNumber, ETag };
    };
    const [one, two] = [await part(1), await part(2)];
    const complete = (Parts: s3.CompletedPart[]) =>
      client.send(new s3.CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }));
    await assert.rejects(complete([two, one]), { name: "InvalidPartOrder" });
    await assert.rejects(complete([{ PartNumber: 1, ETag: '"0"' }]), { name: "InvalidPart" });
    await assert.rejects(complete([one, two]), { name: "EntityTooSmall" });
    assert.equal(readdirSync(emulator.cloud.stores.s3.bucket(bucket).directory).length, 2);
    await client.send(new s3.AbortMultipartUploadCommand({ ...target, UploadId }));
    await assert.rejects(complete([one]), { name: "NoSuchUpload" });
    assert.deepEqual(readdirSync(emulator.cloud.stores.s3.bucket(bucket).directory), []);
  });

  it("completes a multipart upload under If-None-Match only where no object is", async () => {
    const target = { Bucket: bucket, Key: "mpu" };
    const upload = async () => {
      const { UploadId } = await client.send(new s3.CreateMultipartUploadCommand(target));
      const { ETag } = await client.send(
        new s3.UploadPartCommand({ ...target, UploadId, PartNumber: 1, Body: "bytes" }),
      );
      const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
      return client.send(
        new s3.CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload, IfNoneMatch: "*" }),
      );
    };
    await upload();
    await assert.rejects(upload(), { name: "PreconditionFailed" });
    assert.equal((await get("mpu")).text, "bytes");
  });

  it("lists in pages, by prefix and delimiter, in the order of UTF-8", async () => {
    for (const key of ["z", "a/1", "a/2", "b/1", "é", "a.txt"]) await put(key, "x");
    const all: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page: s3.ListObjectsV2CommandOutput = await client.send(
        new s3.ListObjectsV2Command({ Bucket: bucket, MaxKeys: 2, ContinuationToken }),
      );
      all.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ""));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    assert.deepEqual(all, ["a.txt", "a/1", "a/2", "b/1", "z", "é"]);
    const folders: string[] = [];
    do {
      const page: s3.ListObjectsV2CommandOutput = await client.send(
        new s3.ListObjectsV2Command({ Bucket: bucket, Delimiter: "/", MaxKeys: 1, ContinuationToken }),
      );
      folders.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ""));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    assert.deepEqual(folders, ["a/", "b/"]);
    const below = await client.send(new s3.ListObjectsV2Command({ Bucket: bucket, Prefix: "a/", StartAfter: "a/1" }));
    assert.deepEqual(
      below.Contents?.map(({ Key }) => Key),
      ["a/2"],
    );
  });

  it("pages through versions without losing or repeating one", async () => {
    await enableVersioning();
    for (const key of ["a", "b", "a", "c", "a"]) await put(key, "x");
    const seen: string[] = [];
    let page: s3.ListObjectVersionsCommandOutput | undefined;
    do {
      page = await client.send(
        new s3.ListObjectVersionsCommand({
          Bucket: bucket,
          MaxKeys: 2,
          KeyMarker: page?.NextKeyMarker,
          VersionIdMarker: page?.NextVersionIdMarker,
        }),
      );
      seen.push(...(page.Versions ?? []).map(({ Key, VersionId }) => `${Key ?? ""}@${VersionId ?? ""}`));
    } while (page.IsTruncated);
    assert.equal(seen.length, 5);
    assert.equal(new Set(seen).size, 5);
  });

  it("deletes many at once, and says which", async () => {
    await put("a", "x");
    const Objects = [{ Key: "a" }, { Key: "never" }];
    const { Deleted, Errors } = await client.send(new s3.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }));
    assert.deepEqual(
      Deleted?.map(({ Key }) => Key),
      ["a", "never"],
    );
    assert.equal(Errors, undefined);
  });

  it("answers 404 to HEAD and GET of what is not there", async () => {
    await assert.rejects(client.send(new s3.HeadObjectCommand({ Bucket: bucket, Key: "no" })), { name: "NotFound" });
    await assert.rejects(get("no"), { name: "NoSuchKey" });
    await assert.rejects(client.send(new s3.GetObjectCommand({ Bucket: "not-here", Key: "no" })), {
      name: "NoSuchBucket",
    });
  });
});
