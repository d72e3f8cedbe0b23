/** ListObjectsV2 and ListObjectVersions. */
import {
  ListObjectsV2CommandInput,
  ListObjectsV2CommandOutput,
  ListObjectVersionsCommandInput,
  ListObjectVersionsCommandOutput,
} from "@aws-sdk/client-s3";
import { AwsError, operation, Operation } from "../../core/definitions";
import { onBucket } from "./access";
import { ownedBucket } from "./object-operations";
import { Bucket, Content, ObjectVersion } from "./store";

const listObjectsV2 = operation<ListObjectsV2CommandInput, ListObjectsV2CommandOutput>({
  name: "ListObjectsV2",
  honours: [
    "Bucket",
    "Prefix",
    "Delimiter",
    "MaxKeys",
    "StartAfter",
    "ContinuationToken",
    "EncodingType",
    "FetchOwner",
    "ExpectedBucketOwner",
  ],
  authorize: (input, call) => [
    onBucket(call, input.Bucket, "ListBucket", {
      "s3:prefix": input.Prefix,
      "s3:delimiter": input.Delimiter,
      "s3:max-keys": input.MaxKeys,
    }),
  ],
  handle: (input, call) => {
    const bucket = ownedBucket(input, call);
    const encode = encoder(input.EncodingType);
    const after = input.ContinuationToken === undefined ? input.StartAfter : parseToken(input.ContinuationToken);
    const entries = bucket.keys().flatMap((key) => {
      const current = bucket.current(key);
      return current?.content ? [{ key, version: current, content: current.content }] : [];
    });
    const page = paginate(entries, input, (key) => after !== undefined && compare(key, after) <= 0, after);
    return {
      Name: bucket.name,
      Prefix: encode(input.Prefix ?? ""),
      ...(input.Delimiter !== undefined && { Delimiter: encode(input.Delimiter) }),
      MaxKeys: page.maxKeys,
      EncodingType: input.EncodingType,
      KeyCount: page.contents.length + page.prefixes.length,
      IsTruncated: page.last !== undefined,
      ...(input.ContinuationToken !== undefined && { ContinuationToken: input.ContinuationToken }),
      ...(input.StartAfter !== undefined && { StartAfter: encode(input.StartAfter) }),
      ...(page.last !== undefined && { NextContinuationToken: formatToken(page.last) }),
      Contents: page.contents.map(({ key, version, content }) => ({
        Key: encode(key),
        LastModified: version.lastModified,
        ...describe(content),
        StorageClass: content.StorageClass ?? "STANDARD",
        ...(input.FetchOwner === true && { Owner: { ID: call.cloud.account } }),
      })),
      CommonPrefixes: page.prefixes.map((prefix) => ({ Prefix: encode(prefix) })),
    };
  },
});

const listObjectVersions = operation<ListObjectVersionsCommandInput, ListObjectVersionsCommandOutput>({
  name: "ListObjectVersions",
  honours: [
    "Bucket",
    "Prefix",
    "Delimiter",
    "MaxKeys",
    "KeyMarker",
    "VersionIdMarker",
    "EncodingType",
    "ExpectedBucketOwner",
  ],
  authorize: (input, call) => [
    onBucket(call, input.Bucket, "ListBucketVersions", {
      "s3:prefix": input.Prefix,
      "s3:delimiter": input.Delimiter,
      "s3:max-keys": input.MaxKeys,
    }),
  ],
  handle: (input, call) => {
    const bucket = ownedBucket(input, call);
    const encode = encoder(input.EncodingType);
    const page = paginate(allVersions(bucket), input, skipper(bucket, input), input.KeyMarker);
    const last = page.contents.at(-1);
    const common = (version: ObjectVersion) => ({
      Key: encode(version.key),
      VersionId: version.versionId,
      IsLatest: bucket.current(version.key) === version,
      LastModified: version.lastModified,
      Owner: { ID: call.cloud.account },
    });
    return {
      Name: bucket.name,
      Prefix: encode(input.Prefix ?? ""),
      ...(input.Delimiter !== undefined && { Delimiter: encode(input.Delimiter) }),
      KeyMarker: encode(input.KeyMarker ?? ""),
      VersionIdMarker: input.VersionIdMarker ?? "",
      MaxKeys: page.maxKeys,
      EncodingType: input.EncodingType,
      IsTruncated: page.last !== undefined,
      ...(page.last !== undefined && {
        NextKeyMarker: encode(page.last),
        ...(last?.key === page.last && { NextVersionIdMarker: last.version.versionId }),
      }),
      Versions: page.contents.flatMap(({ version }) =>
        version.content
          ? [
              {
                ...common(version),
                ...describe(version.content),
                StorageClass: "STANDARD" as const,
              },
            ]
          : [],
      ),
      DeleteMarkers: page.contents.filter(({ version }) => !version.content).map(({ version }) => common(version)),
      CommonPrefixes: page.prefixes.map((prefix) => ({ Prefix: encode(prefix) })),
    };
  },
});

export const listingOperations: readonly Operation[] = [listObjectsV2, listObjectVersions];

interface Page<E> {
  readonly contents: readonly E[];
  readonly prefixes: readonly string[];
  readonly maxKeys: number;
  /** Where the next page goes on, when there is one: the last key or common prefix of this page. */
  readonly last: string | undefined;
}

/**
 * One page of a listing, with keys that share a prefix up to the delimiter rolled up. `after` may itself be a common
 * prefix: everything below it has been listed.
 */
function paginate<E extends { readonly key: string }>(
  entries: Iterable<E>,
  input: Pick<ListObjectsV2CommandInput, "Prefix" | "Delimiter" | "MaxKeys">,
  skip: (key: string, entry: E) => boolean,
  after: string | undefined,
): Page<E> {
  const maxKeys = Math.min(input.MaxKeys ?? 1000, 1000);
  if (maxKeys < 0)
    throw new AwsError("InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647");
  const prefix = input.Prefix ?? "";
  const contents: E[] = [];
  const prefixes = new Set<string>();
  let last: string | undefined;
  for (const entry of entries) {
    if (!entry.key.startsWith(prefix) || skip(entry.key, entry)) continue;
    const common = commonPrefix(entry.key, prefix, input.Delimiter);
    if (common !== undefined && (prefixes.has(common) || (common === after && after.endsWith(input.Delimiter ?? ""))))
      continue;
    if (contents.length + prefixes.size >= maxKeys) return { contents, prefixes: [...prefixes], maxKeys, last };
    if (common !== undefined) prefixes.add(common);
    else contents.push(entry);
    last = common ?? entry.key;
  }
  return { contents, prefixes: [...prefixes], maxKeys, last: undefined };
}

function commonPrefix(key: string, prefix: string, delimiter: string | undefined): string | undefined {
  if (delimiter === undefined || delimiter === "") return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at === -1 ? undefined : key.slice(0, at + delimiter.length);
}

function* allVersions(bucket: Bucket): Generator<{ readonly key: string; readonly version: ObjectVersion }> {
  for (const key of bucket.keys()) for (const version of bucket.versions(key)) yield { key, version };
}

/** What precedes the markers: earlier keys, and of the marker's key the versions up to the marker. */
function skipper(
  bucket: Bucket,
  { KeyMarker, VersionIdMarker }: ListObjectVersionsCommandInput,
): (key: string, entry: { readonly version: ObjectVersion }) => boolean {
  if (KeyMarker === undefined || KeyMarker === "") return () => false;
  const versions = bucket.versions(KeyMarker);
  const marker = versions.findIndex(({ versionId }) => versionId === VersionIdMarker);
  return (key, { version }) => {
    const order = compare(key, KeyMarker);
    if (order !== 0) return order < 0;
    return marker === -1 || versions.indexOf(version) <= marker;
  };
}

function describe(content: Content) {
  return {
    ETag: `"${content.etag}"`,
    Size: content.size,
    ChecksumAlgorithm: Object.keys(content.checksums).map((member) => member.replace("Checksum", "") as "CRC32"),
    ...(content.checksumType && { ChecksumType: content.checksumType }),
  };
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function encoder(type: string | undefined): (text: string) => string {
  // As S3 encodes: slashes stay.
  return type === "url" ? (text) => encodeURIComponent(text).replaceAll("%2F", "/") : (text) => text;
}

function formatToken(last: string): string {
  return Buffer.from(last).toString("base64url");
}

function parseToken(token: string): string {
  const text = Buffer.from(token, "base64url").toString();
  if (text === "" || formatToken(text) !== token)
    throw new AwsError("InvalidArgument", "The continuation token provided is incorrect");
  return text;
}
