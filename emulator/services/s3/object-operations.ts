/** Operations on objects: conditional writes, versions, ranges. */
import {
  DeleteObjectCommand,
  DeleteObjectCommandInput,
  DeleteObjectCommandOutput,
  DeleteObjectsCommandInput,
  DeleteObjectsCommandOutput,
  GetObjectCommandInput,
  GetObjectCommandOutput,
  GetObjectTaggingCommandInput,
  GetObjectTaggingCommandOutput,
  HeadObjectCommandInput,
  HeadObjectCommandOutput,
  PutObjectCommandInput,
  PutObjectCommandOutput,
  Tag,
} from "@aws-sdk/client-s3";
import { Access, AwsError, Call, operation, Operation } from "../../core/definitions";
import { bucketOf, onObject, onRead } from "./access";
import { receive, remove } from "./bodies";
import { ChecksumAlgorithm, checksumAlgorithms, isChecksumAlgorithm } from "./checksums";
import { Bucket, Content, ObjectProperties, ObjectVersion, WriteInProgress } from "./store";

/** The members that describe an object, shared by every request that creates one. */
export const propertyMembers = [
  "ContentType",
  "ContentEncoding",
  "ContentDisposition",
  "ContentLanguage",
  "CacheControl",
  "Expires",
  "Metadata",
  "StorageClass",
  "ServerSideEncryption",
  "SSEKMSKeyId",
  "BucketKeyEnabled",
  "Tagging",
] as const;
export const checksumMembers = checksumAlgorithms.map((each) => `Checksum${each}` as const);

type DescribedInput = Pick<PutObjectCommandInput, (typeof propertyMembers)[number]>;
interface WriteConditions {
  readonly IfMatch?: string | undefined;
  readonly IfNoneMatch?: string | undefined;
}

/** Condition keys of a request that writes an object. */
export function writeContext(input: DescribedInput & WriteConditions): Parameters<typeof onObject>[4] {
  return {
    "s3:if-none-match": input.IfNoneMatch,
    "s3:if-match": input.IfMatch,
    "s3:x-amz-server-side-encryption": input.ServerSideEncryption,
    "s3:x-amz-server-side-encryption-aws-kms-key-id": input.SSEKMSKeyId,
    "s3:x-amz-storage-class": input.StorageClass,
  };
}

const putObject = operation<PutObjectCommandInput, PutObjectCommandOutput>({
  name: "PutObject",
  honours: [
    "Bucket",
    "Key",
    "Body",
    "ContentLength",
    "ContentMD5",
    "IfMatch",
    "IfNoneMatch",
    "ExpectedBucketOwner",
    "ChecksumAlgorithm",
    ...checksumMembers,
    ...propertyMembers,
  ],
  authorize: (input, call) => [
    onObject(call, input.Bucket, input.Key, "PutObject", {
      ...writeContext(input),
      "s3:ObjectCreationOperation": "true",
    }),
    ...taggingAccess(input, call),
  ],
  handle: async (input, call) => {
    const bucket = ownedBucket(input, call);
    const key = validKey(input.Key);
    const properties = describe(input, bucket);
    const algorithm = algorithmNamed(input.ChecksumAlgorithm, "ChecksumAlgorithm");
    const added = await conditionally(call, bucket, key, input, {
      content: async () => {
        const received = await receive(input.Body, bucket.newFile(), input, algorithm);
        const { size, md5, checksums } = received;
        const checksumType = Object.keys(checksums).length > 0 ? "FULL_OBJECT" : undefined;
        return { ...properties, segments: [received], size, etag: md5, checksums, checksumType };
      },
      undo: (content) => remove(content.segments),
    });
    return {
      ETag: `"${added.content?.etag ?? ""}"`,
      ...added.content?.checksums,
      ChecksumType: added.content?.checksumType,
      ...versionOf(bucket, added),
      ...encryptionOf(properties),
    };
  },
});

const getMembers = [
  "Bucket",
  "Key",
  "VersionId",
  "Range",
  "IfMatch",
  "IfNoneMatch",
  "IfModifiedSince",
  "IfUnmodifiedSince",
  "ChecksumMode",
  "ExpectedBucketOwner",
];
const overrides = [
  "ResponseContentType",
  "ResponseContentDisposition",
  "ResponseContentEncoding",
  "ResponseContentLanguage",
  "ResponseCacheControl",
];

const getObject = operation<GetObjectCommandInput, GetObjectCommandOutput>({
  name: "GetObject",
  honours: [...getMembers, ...overrides],
  authorize: (input, call) => onRead(call, input.Bucket, input.Key, input.VersionId),
  handle: (input, call) => {
    const bucket = ownedBucket(input, call);
    const { version, content } = readable(bucket, input);
    checkReadConditions(version, content, input);
    const range = parseRange(input.Range, content.size);
    const { start, end } = range ?? { start: 0, end: content.size - 1 };
    return {
      ...headersOf(bucket, version, content, input.ChecksumMode === "ENABLED" && !range),
      ...overridden(input),
      ContentLength: end - start + 1,
      ...(range && { ContentRange: `bytes ${start}-${end}/${content.size}` }),
      Body: bucket.open(content, start, end) as GetObjectCommandOutput["Body"],
    };
  },
});

const headObject = operation<HeadObjectCommandInput, HeadObjectCommandOutput>({
  name: "HeadObject",
  honours: getMembers,
  authorize: (input, call) => onRead(call, input.Bucket, input.Key, input.VersionId),
  handle: (input, call) => {
    const bucket = ownedBucket(input, call);
    try {
      const { version, content } = readable(bucket, input);
      checkReadConditions(version, content, input);
      const range = parseRange(input.Range, content.size);
      return {
        ...headersOf(bucket, version, content, input.ChecksumMode === "ENABLED" && !range),
        ContentLength: range ? range.end - range.start + 1 : content.size,
        ...(range && { ContentRange: `bytes ${range.start}-${range.end}/${content.size}` }),
      };
    } catch (error) {
      // The reply to a HEAD has no body: all that a client sees is the status.
      if (error instanceof AwsError && error.status === 404) throw new AwsError("NotFound", "Not Found", 404);
      throw error;
    }
  },
});

const deleteObject = operation<DeleteObjectCommandInput, DeleteObjectCommandOutput>({
  name: "DeleteObject",
  honours: ["Bucket", "Key", "VersionId", "IfMatch", "ExpectedBucketOwner"],
  authorize: (input, call) => [
    onObject(call, input.Bucket, input.Key, input.VersionId === undefined ? "DeleteObject" : "DeleteObjectVersion", {
      "s3:VersionId": input.VersionId,
      "s3:if-match": input.IfMatch,
    }),
  ],
  handle: async (input, call) => {
    const bucket = ownedBucket(input, call);
    const key = validKey(input.Key);
    if (input.IfMatch !== undefined) checkWriteConditions(bucket, key, { IfMatch: input.IfMatch });
    for (const write of bucket.writes) if (write.key === key) write.conflicted = true;
    if (input.VersionId !== undefined) return removeVersion(bucket, key, input.VersionId);
    if (bucket.versioning === undefined) {
      const current = bucket.current(key);
      if (current) await bucket.removeVersion(current);
      return {};
    }
    const marker = await bucket.add(key, undefined, call.cloud.clock.now());
    return { DeleteMarker: true, VersionId: marker.versionId };
  },
});

const deleteObjects = operation<DeleteObjectsCommandInput, DeleteObjectsCommandOutput>({
  name: "DeleteObjects",
  honours: [
    "Bucket",
    "Delete.Objects.Key",
    "Delete.Objects.VersionId",
    "Delete.Quiet",
    "ChecksumAlgorithm",
    "ExpectedBucketOwner",
  ],
  // Each key is decided on its own, and a denied one is an entry of `Errors`.
  authorize: (input, call) => {
    ownedBucket(input, call);
    return [];
  },
  handle: async (input, call) => {
    const objects = input.Delete?.Objects ?? [];
    if (objects.length === 0 || objects.length > 1000)
      throw new AwsError("MalformedXML", "The XML you provided was not well-formed or did not validate", 400);
    const deleted: NonNullable<DeleteObjectsCommandOutput["Deleted"]> = [];
    const errors: NonNullable<DeleteObjectsCommandOutput["Errors"]> = [];
    for (const { Key, VersionId } of objects) {
      const target = { Key, ...(VersionId !== undefined && { VersionId }) };
      try {
        const result = await call.cloud.send(
          call.principal,
          new DeleteObjectCommand({ Bucket: input.Bucket, ...target }),
        );
        deleted.push({
          ...target,
          ...(result.DeleteMarker && { DeleteMarker: true, DeleteMarkerVersionId: result.VersionId }),
        });
      } catch (error) {
        if (!(error instanceof AwsError)) throw error;
        errors.push({ ...target, Code: error.code, Message: error.message });
      }
    }
    return { ...(input.Delete?.Quiet !== true && { Deleted: deleted }), ...(errors.length > 0 && { Errors: errors }) };
  },
});

const getObjectTagging = operation<GetObjectTaggingCommandInput, GetObjectTaggingCommandOutput>({
  name: "GetObjectTagging",
  honours: ["Bucket", "Key", "VersionId", "ExpectedBucketOwner"],
  authorize: (input, call) => [
    onObject(
      call,
      input.Bucket,
      input.Key,
      input.VersionId === undefined ? "GetObjectTagging" : "GetObjectVersionTagging",
    ),
  ],
  handle: (input, call) => {
    const bucket = ownedBucket(input, call);
    const { version, content } = readable(bucket, input);
    return { TagSet: [...content.tags], ...versionOf(bucket, version) };
  },
});

export const objectOperations: readonly Operation[] = [
  putObject,
  getObject,
  headObject,
  deleteObject,
  deleteObjects,
  getObjectTagging,
];

/** @throws AccessDenied when `ExpectedBucketOwner` is another account. */
export function ownedBucket(
  input: { readonly Bucket?: string | undefined; readonly ExpectedBucketOwner?: string | undefined },
  call: Call,
): Bucket {
  const bucket = bucketOf(call, input.Bucket);
  if (input.ExpectedBucketOwner !== undefined && input.ExpectedBucketOwner !== call.cloud.account)
    throw new AwsError("AccessDenied", "Access Denied", 403);
  return bucket;
}

export function validKey(key: string | undefined): string {
  if (key === undefined || key === "")
    throw new AwsError("InvalidArgument", "An object key must have at least one character", 400);
  if (Buffer.byteLength(key) > 1024) throw new AwsError("KeyTooLongError", "Your key is too long", 400);
  return key;
}

export function algorithmNamed(name: string | undefined, member: string): ChecksumAlgorithm | undefined {
  if (name === undefined || isChecksumAlgorithm(name)) return name;
  throw new AwsError("InvalidRequest", `Value for ${member} is not valid: ${name}`, 400);
}

export function describe(input: DescribedInput, bucket: Bucket): ObjectProperties {
  const byDefault = bucket.encryption.ApplyServerSideEncryptionByDefault;
  const encryption = input.ServerSideEncryption ?? byDefault?.SSEAlgorithm ?? "AES256";
  return {
    ContentType: input.ContentType ?? "binary/octet-stream",
    ContentEncoding: input.ContentEncoding,
    ContentDisposition: input.ContentDisposition,
    ContentLanguage: input.ContentLanguage,
    CacheControl: input.CacheControl,
    Expires: input.Expires,
    Metadata: input.Metadata,
    StorageClass: input.StorageClass,
    ServerSideEncryption: encryption,
    SSEKMSKeyId: input.SSEKMSKeyId ?? (encryption === "AES256" ? undefined : byDefault?.KMSMasterKeyID),
    BucketKeyEnabled: input.BucketKeyEnabled ?? bucket.encryption.BucketKeyEnabled,
    tags: parseTagging(input.Tagging),
  };
}

/** An object about to be made: how to get its content, and what undoes that when a condition fails in the end. */
interface Writing {
  readonly content: () => Promise<Content>;
  readonly undo: (content: Content) => Promise<void> | void;
}

/**
 * Writes an object under the request's conditions. They are looked at before the body is read and again when it is
 * complete: of two writers at once the first to finish wins, and the other one is told 412.
 */
export async function conditionally(
  call: Call,
  bucket: Bucket,
  key: string,
  conditions: WriteConditions,
  { content, undo }: Writing,
): Promise<ObjectVersion> {
  checkWriteConditions(bucket, key, conditions);
  const conditional = conditions.IfMatch !== undefined || conditions.IfNoneMatch !== undefined;
  const write: WriteInProgress = { key, conflicted: false };
  if (conditional) bucket.writes.add(write);
  try {
    const received = await content();
    try {
      checkConflict(write);
      checkWriteConditions(bucket, key, conditions);
    } catch (error) {
      await undo(received);
      throw error;
    }
    return await bucket.add(key, received, call.cloud.clock.now());
  } finally {
    bucket.writes.delete(write);
  }
}

function checkConflict(write: WriteInProgress): void {
  if (!write.conflicted) return;
  throw new AwsError(
    "ConditionalRequestConflict",
    "The conditional request cannot succeed due to a conflicting operation against this resource.",
    409,
    { Condition: "If-None-Match", Key: write.key },
  );
}

function checkWriteConditions(bucket: Bucket, key: string, { IfMatch, IfNoneMatch }: WriteConditions): void {
  const current = bucket.current(key)?.content;
  if (IfNoneMatch !== undefined) {
    if (IfNoneMatch !== "*")
      throw new AwsError("NotImplemented", "A header you provided implies functionality that is not implemented", 501, {
        Header: "If-None-Match",
      });
    if (current) throw preconditionFailed("If-None-Match");
  }
  if (IfMatch !== undefined) {
    // A delete marker counts as no object (PutObject, If-Match).
    if (!current) throw noSuchKey(key);
    if (IfMatch !== "*" && unquoted(IfMatch) !== current.etag) throw preconditionFailed("If-Match");
  }
}

function preconditionFailed(condition: string): AwsError {
  return new AwsError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412, {
    Condition: condition,
  });
}

function noSuchKey(key: string): AwsError {
  return new AwsError("NoSuchKey", "The specified key does not exist.", 404, { Key: key });
}

/** The version that a read asks for, with its content. */
function readable(
  bucket: Bucket,
  { Key, VersionId }: { readonly Key?: string | undefined; readonly VersionId?: string | undefined },
): { readonly version: ObjectVersion; readonly content: Content } {
  const key = validKey(Key);
  const version = VersionId === undefined ? bucket.current(key) : bucket.version(key, VersionId);
  if (!version && VersionId !== undefined)
    throw new AwsError("NoSuchVersion", "The specified version does not exist.", 404, { Key: key, VersionId });
  if (!version) throw noSuchKey(key);
  if (version.content) return { version, content: version.content };
  if (VersionId !== undefined)
    throw new AwsError("MethodNotAllowed", "The specified method is not allowed against this resource.", 405);
  throw noSuchKey(key);
}

function checkReadConditions(
  version: ObjectVersion,
  content: Content,
  input: Pick<GetObjectCommandInput, "IfMatch" | "IfNoneMatch" | "IfModifiedSince" | "IfUnmodifiedSince">,
): void {
  const matches = (etag: string): boolean => etag === "*" || unquoted(etag) === content.etag;
  // Headers carry whole seconds.
  const modified = Math.floor(version.lastModified.getTime() / 1000) * 1000;
  if (input.IfMatch !== undefined) {
    if (!matches(input.IfMatch)) throw preconditionFailed("If-Match");
  } else if (input.IfUnmodifiedSince !== undefined && modified > input.IfUnmodifiedSince.getTime())
    throw preconditionFailed("If-Unmodified-Since");
  const unchanged =
    input.IfNoneMatch !== undefined
      ? matches(input.IfNoneMatch)
      : input.IfModifiedSince !== undefined && modified <= input.IfModifiedSince.getTime();
  if (unchanged) throw new AwsError("NotModified", "Not Modified", 304);
}

/** One range of bytes, as S3 takes it; a malformed one is ignored, as RFC 9110 says. */
function parseRange(header: string | undefined, size: number): { start: number; end: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const [first, last] = [match[1] ?? "", match[2] ?? ""];
  const start = first === "" ? Math.max(size - Number(last), 0) : Number(first);
  const end = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
  if (start >= size || (first === "" && Number(last) === 0))
    throw new AwsError("InvalidRange", "The requested range is not satisfiable", 416, {
      RangeRequested: header,
      ActualObjectSize: String(size),
    });
  return { start, end };
}

function headersOf(bucket: Bucket, version: ObjectVersion, content: Content, withChecksums: boolean) {
  return {
    AcceptRanges: "bytes",
    LastModified: version.lastModified,
    ETag: `"${content.etag}"`,
    ContentType: content.ContentType,
    ContentEncoding: content.ContentEncoding,
    ContentDisposition: content.ContentDisposition,
    ContentLanguage: content.ContentLanguage,
    CacheControl: content.CacheControl,
    ...(content.Expires && { ExpiresString: content.Expires.toUTCString() }),
    Metadata: content.Metadata ?? {},
    // Absent for STANDARD.
    StorageClass: content.StorageClass === "STANDARD" ? undefined : content.StorageClass,
    ...(content.tags.length > 0 && { TagCount: content.tags.length }),
    ...(withChecksums && { ...content.checksums, ChecksumType: content.checksumType }),
    ...versionOf(bucket, version),
    ...encryptionOf(content),
  };
}

export function versionOf(bucket: Bucket, version: ObjectVersion): { VersionId?: string } {
  return bucket.versioning === undefined ? {} : { VersionId: version.versionId };
}

export function encryptionOf(properties: ObjectProperties) {
  return {
    ServerSideEncryption: properties.ServerSideEncryption,
    SSEKMSKeyId: properties.SSEKMSKeyId,
    ...(properties.BucketKeyEnabled === true && { BucketKeyEnabled: true }),
  };
}

function overridden(input: GetObjectCommandInput) {
  const given = {
    ContentType: input.ResponseContentType,
    ContentDisposition: input.ResponseContentDisposition,
    ContentEncoding: input.ResponseContentEncoding,
    ContentLanguage: input.ResponseContentLanguage,
    CacheControl: input.ResponseCacheControl,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

async function removeVersion(bucket: Bucket, key: string, versionId: string): Promise<{ VersionId: string }> {
  const version = bucket.version(key, versionId);
  // Deleting what does not exist succeeds.
  if (version) await bucket.removeVersion(version);
  return { VersionId: versionId, ...(version && !version.content && { DeleteMarker: true }) };
}

/** The `x-amz-tagging` header: URL query parameters. */
function parseTagging(header: string | undefined): readonly Tag[] {
  const tags = [...new URLSearchParams(header ?? "")].map(([Key, Value]) => ({ Key, Value }));
  if (tags.length > 10) throw new AwsError("BadRequest", "Object tags cannot be greater than 10", 400);
  return tags;
}

export function taggingAccess(
  input: {
    readonly Bucket?: string | undefined;
    readonly Key?: string | undefined;
    readonly Tagging?: string | undefined;
  },
  call: Call,
): readonly Access[] {
  return input.Tagging === undefined ? [] : [onObject(call, input.Bucket, input.Key, "PutObjectTagging")];
}

function unquoted(etag: string): string {
  return etag.replace(/^"|"$/g, "");
}
