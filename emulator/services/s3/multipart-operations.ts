/** Multipart uploads. The parts become the object's segments as they are: completing copies no byte. */
import { createHash, randomBytes } from "node:crypto";
import {
  AbortMultipartUploadCommandInput,
  AbortMultipartUploadCommandOutput,
  CompletedPart,
  CompleteMultipartUploadCommandInput,
  CompleteMultipartUploadCommandOutput,
  CreateMultipartUploadCommandInput,
  CreateMultipartUploadCommandOutput,
  UploadPartCommandInput,
  UploadPartCommandOutput,
} from "@aws-sdk/client-s3";
import { AwsError, operation, Operation } from "../../core/definitions";
import { onObject } from "./access";
import { read, receive, remove, runningChecksum } from "./bodies";
import { Checksums } from "./checksums";
import {
  algorithmNamed,
  checksumMembers,
  conditionally,
  describe,
  encryptionOf,
  ownedBucket,
  propertyMembers,
  taggingAccess,
  validKey,
  versionOf,
  writeContext,
} from "./object-operations";
import { Bucket, Part, Upload } from "./store";

const minimumPartSize = 5 * 1024 * 1024;

const createMultipartUpload = operation<CreateMultipartUploadCommandInput, CreateMultipartUploadCommandOutput>({
  name: "CreateMultipartUpload",
  honours: ["Bucket", "Key", "ChecksumAlgorithm", "ChecksumType", "ExpectedBucketOwner", ...propertyMembers],
  authorize: (input, call) => [
    onObject(call, input.Bucket, input.Key, "PutObject", {
      ...writeContext(input),
      "s3:ObjectCreationOperation": "false",
    }),
    ...taggingAccess(input, call),
  ],
  handle: (input, call) => {
    const bucket = ownedBucket(input, call);
    const algorithm = algorithmNamed(input.ChecksumAlgorithm, "ChecksumAlgorithm");
    const upload: Upload = {
      id: randomBytes(48).toString("base64url"),
      key: validKey(input.Key),
      properties: describe(input, bucket),
      algorithm,
      // CRC-64/NVME exists as a full-object checksum only.
      checksumType: input.ChecksumType ?? (algorithm && (algorithm === "CRC64NVME" ? "FULL_OBJECT" : "COMPOSITE")),
      parts: new Map(),
    };
    bucket.uploads.set(upload.id, upload);
    return {
      Bucket: bucket.name,
      Key: upload.key,
      UploadId: upload.id,
      ChecksumAlgorithm: upload.algorithm,
      ChecksumType: upload.checksumType,
      ...encryptionOf(upload.properties),
    };
  },
});

const uploadPart = operation<UploadPartCommandInput, UploadPartCommandOutput>({
  name: "UploadPart",
  honours: [
    "Bucket",
    "Key",
    "UploadId",
    "PartNumber",
    "Body",
    "ContentLength",
    "ContentMD5",
    "ChecksumAlgorithm",
    "ExpectedBucketOwner",
    ...checksumMembers,
  ],
  authorize: (input, call) => [
    onObject(call, input.Bucket, input.Key, "PutObject", { "s3:ObjectCreationOperation": "false" }),
  ],
  handle: async (input, call) => {
    const bucket = ownedBucket(input, call);
    const upload = uploadOf(bucket, input);
    const number = input.PartNumber ?? 0;
    if (!Number.isInteger(number) || number < 1 || number > 10_000)
      throw new AwsError("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
    const algorithm = algorithmNamed(input.ChecksumAlgorithm, "ChecksumAlgorithm") ?? upload.algorithm;
    const received = await receive(input.Body, bucket.newFile(), input, algorithm);
    const part: Part = { ...received, etag: received.md5 };
    if (bucket.uploads.get(upload.id) !== upload) {
      await remove([part]);
      throw noSuchUpload(upload.id);
    }
    const before = upload.parts.get(number);
    upload.parts.set(number, part);
    if (before) await remove([before]);
    return { ETag: `"${part.etag}"`, ...part.checksums, ...encryptionOf(upload.properties) };
  },
});

const completeMultipartUpload = operation<CompleteMultipartUploadCommandInput, CompleteMultipartUploadCommandOutput>({
  name: "CompleteMultipartUpload",
  honours: [
    "Bucket",
    "Key",
    "UploadId",
    "MultipartUpload",
    "IfMatch",
    "IfNoneMatch",
    "ChecksumType",
    "MpuObjectSize",
    "ExpectedBucketOwner",
    ...checksumMembers,
  ],
  authorize: (input, call) => [
    onObject(call, input.Bucket, input.Key, "PutObject", {
      ...writeContext(input),
      "s3:ObjectCreationOperation": "true",
    }),
  ],
  handle: async (input, call) => {
    const bucket = ownedBucket(input, call);
    const upload = uploadOf(bucket, input);
    const parts = chosenParts(upload, input.MultipartUpload?.Parts ?? []);
    const size = parts.reduce((sum, part) => sum + part.size, 0);
    if (input.MpuObjectSize !== undefined && Number(input.MpuObjectSize) !== size)
      throw new AwsError("InvalidRequest", "The provided 'x-amz-mp-object-size' header value does not match", 400);
    if (input.ChecksumType !== undefined && input.ChecksumType !== upload.checksumType)
      throw new AwsError("InvalidRequest", "The checksum type does not match that of the upload", 400);
    const added = await conditionally(call, bucket, upload.key, input, {
      content: async () => {
        const checksums = await objectChecksums(upload, parts);
        verifyObjectChecksum(input, checksums);
        if (!bucket.uploads.delete(upload.id)) throw noSuchUpload(upload.id);
        const { properties, checksumType } = upload;
        return { ...properties, segments: parts, size, etag: etagOf(parts), checksums, checksumType };
      },
      undo: () => void bucket.uploads.set(upload.id, upload),
    });
    await remove([...upload.parts.values()].filter((part) => !parts.includes(part)));
    return {
      Bucket: bucket.name,
      Key: upload.key,
      Location: `${call.cloud.endpoint}/${bucket.name}/${encodeURIComponent(upload.key)}`,
      ETag: `"${added.content?.etag ?? ""}"`,
      ...added.content?.checksums,
      ChecksumType: upload.checksumType,
      ...versionOf(bucket, added),
      ...encryptionOf(upload.properties),
    };
  },
});

const abortMultipartUpload = operation<AbortMultipartUploadCommandInput, AbortMultipartUploadCommandOutput>({
  name: "AbortMultipartUpload",
  honours: ["Bucket", "Key", "UploadId", "ExpectedBucketOwner"],
  authorize: (input, call) => [onObject(call, input.Bucket, input.Key, "AbortMultipartUpload")],
  handle: async (input, call) => {
    const bucket = ownedBucket(input, call);
    const upload = uploadOf(bucket, input);
    bucket.uploads.delete(upload.id);
    await remove([...upload.parts.values()]);
    return {};
  },
});

export const multipartOperations: readonly Operation[] = [
  createMultipartUpload,
  uploadPart,
  completeMultipartUpload,
  abortMultipartUpload,
];

function uploadOf(
  bucket: Bucket,
  { Key, UploadId }: { readonly Key?: string | undefined; readonly UploadId?: string | undefined },
): Upload {
  const upload = bucket.uploads.get(UploadId ?? "");
  if (!upload || upload.key !== Key) throw noSuchUpload(UploadId ?? "");
  return upload;
}

function noSuchUpload(id: string): AwsError {
  return new AwsError(
    "NoSuchUpload",
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    404,
    { UploadId: id },
  );
}

/** The parts that the request lists, checked: order, ETags, checksums, sizes. */
function chosenParts(upload: Upload, listed: readonly CompletedPart[]): readonly Part[] {
  if (listed.length === 0)
    throw new AwsError("MalformedXML", "The XML you provided was not well-formed or did not validate", 400);
  if (listed.some(({ PartNumber = 0 }, index) => PartNumber <= (listed[index - 1]?.PartNumber ?? 0)))
    throw new AwsError("InvalidPartOrder", "The list of parts was not in ascending order.", 400);
  return listed.map((each, index) => {
    const part = upload.parts.get(each.PartNumber ?? 0);
    const wrong = checksumMembers.some(
      (member) => each[member] !== undefined && part?.checksums[member] !== each[member],
    );
    if (!part || part.etag !== (each.ETag ?? "").replaceAll('"', "") || wrong)
      throw new AwsError(
        "InvalidPart",
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
        400,
        { PartNumber: String(each.PartNumber) },
      );
    if (part.size < minimumPartSize && index < listed.length - 1)
      throw new AwsError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", 400);
    return part;
  });
}

/** MD5 of the parts' MD5s, and their number. */
function etagOf(parts: readonly Part[]): string {
  const digest = createHash("md5");
  for (const part of parts) digest.update(Buffer.from(part.etag, "hex"));
  return `${digest.digest("hex")}-${parts.length}`;
}

async function objectChecksums(upload: Upload, parts: readonly Part[]): Promise<Checksums> {
  const { algorithm } = upload;
  if (!algorithm) return {};
  const member = `Checksum${algorithm}` as const;
  const hash = runningChecksum(algorithm);
  if (upload.checksumType === "FULL_OBJECT") {
    const size = parts.reduce((sum, part) => sum + part.size, 0);
    for await (const chunk of read(parts, 0, size - 1)) hash.update(chunk as Buffer);
    return { [member]: hash.digest() };
  }
  for (const part of parts) hash.update(Buffer.from(part.checksums[member] ?? "", "base64"));
  return { [member]: `${hash.digest()}-${parts.length}` };
}

function verifyObjectChecksum(expected: Checksums, actual: Checksums): void {
  for (const member of checksumMembers) {
    const [want, have] = [expected[member], actual[member]];
    // Of a composite checksum the number of parts may be left out.
    if (want !== undefined && want !== have && want !== have?.replace(/-\d+$/, ""))
      throw new AwsError("BadDigest", `The ${member} you specified did not match the calculated checksum.`, 400);
  }
}
