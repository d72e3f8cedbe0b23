/** Buckets and the versions of their objects. The index is in memory, the bytes are files. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import type {
  BucketLifecycleConfiguration,
  OwnershipControlsRule,
  PublicAccessBlockConfiguration,
  ServerSideEncryption,
  ServerSideEncryptionRule,
  StorageClass,
  Tag,
} from "@aws-sdk/client-s3";
import { AwsError, Cloud } from "../../core/definitions";
import { read, remove, Segment } from "./bodies";
import { ChecksumAlgorithm, Checksums } from "./checksums";

declare module "../../core/definitions" {
  interface Stores {
    s3: S3Store;
  }
}

/** What a put says about an object beside its bytes. */
export interface ObjectProperties {
  readonly ContentType?: string | undefined;
  readonly ContentEncoding?: string | undefined;
  readonly ContentDisposition?: string | undefined;
  readonly ContentLanguage?: string | undefined;
  readonly CacheControl?: string | undefined;
  readonly Expires?: Date | undefined;
  readonly Metadata?: Record<string, string> | undefined;
  readonly StorageClass?: StorageClass | undefined;
  readonly ServerSideEncryption: ServerSideEncryption;
  readonly SSEKMSKeyId?: string | undefined;
  readonly BucketKeyEnabled?: boolean | undefined;
  readonly tags: readonly Tag[];
}

export interface ObjectVersion {
  readonly key: string;
  /** `null` when it was written without versioning. */
  readonly versionId: string;
  readonly lastModified: Date;
  /** Absent on a delete marker. */
  readonly content?: Content;
}

export interface Content extends ObjectProperties {
  readonly segments: readonly Segment[];
  readonly size: number;
  /** Without the quotes. */
  readonly etag: string;
  readonly checksums: Checksums;
  readonly checksumType?: "COMPOSITE" | "FULL_OBJECT" | undefined;
}

export interface Part extends Segment {
  readonly etag: string;
  readonly checksums: Checksums;
}

export interface Upload {
  readonly id: string;
  readonly key: string;
  readonly properties: ObjectProperties;
  readonly algorithm: ChecksumAlgorithm | undefined;
  readonly checksumType: "COMPOSITE" | "FULL_OBJECT" | undefined;
  readonly parts: Map<number, Part>;
}

/** A conditional write under way: a delete that lands before it ends makes it fail with 409. */
export interface WriteInProgress {
  readonly key: string;
  conflicted: boolean;
}

export class Bucket {
  versioning: "Enabled" | "Suspended" | undefined;
  policy: string | undefined;
  lifecycle: BucketLifecycleConfiguration | undefined;
  tags: readonly Tag[] | undefined;
  // The defaults of every new bucket since 2023.
  encryption: ServerSideEncryptionRule = {
    ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" },
    BucketKeyEnabled: false,
  };
  ownership: OwnershipControlsRule | undefined = { ObjectOwnership: "BucketOwnerEnforced" };
  publicAccessBlock: PublicAccessBlockConfiguration | undefined = {
    BlockPublicAcls: true,
    IgnorePublicAcls: true,
    BlockPublicPolicy: true,
    RestrictPublicBuckets: true,
  };
  readonly uploads = new Map<string, Upload>();
  readonly writes = new Set<WriteInProgress>();
  /** By key, the newest version first. */
  private readonly objects = new Map<string, ObjectVersion[]>();
  private sorted: string[] | undefined;
  /** Readers of files; a file that is being read is removed after the last one. */
  private readonly readers = new Map<Content, number>();
  private readonly doomed = new Set<Content>();

  constructor(
    readonly name: string,
    readonly created: Date,
    readonly directory: string,
  ) {
    mkdirSync(directory, { recursive: true });
  }

  get arn(): string {
    return `arn:aws:s3:::${this.name}`;
  }

  newFile(): string {
    return join(this.directory, randomUUID());
  }

  /** Keys in UTF-8 binary order, which is the order of listings. */
  keys(): readonly string[] {
    this.sorted ??= [...this.objects.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    return this.sorted;
  }

  versions(key: string): readonly ObjectVersion[] {
    return this.objects.get(key) ?? [];
  }

  /** The current version, a delete marker included. */
  current(key: string): ObjectVersion | undefined {
    return this.objects.get(key)?.[0];
  }

  version(key: string, versionId: string): ObjectVersion | undefined {
    return this.objects.get(key)?.find((each) => each.versionId === versionId);
  }

  get isEmpty(): boolean {
    return this.objects.size === 0;
  }

  /** Makes this the current version. Without versioning it takes the place of the null version. */
  async add(key: string, content: Content | undefined, now: Date): Promise<ObjectVersion> {
    const versionId = this.versioning === "Enabled" ? newVersionId() : "null";
    const added: ObjectVersion = { key, versionId, lastModified: now, ...(content && { content }) };
    const before = this.objects.get(key) ?? [];
    const replaced = before.filter((each) => versionId === "null" && each.versionId === "null");
    if (before.length === 0) this.sorted = undefined;
    this.objects.set(key, [added, ...before.filter((each) => !replaced.includes(each))]);
    await Promise.all(replaced.map((each) => this.discard(each.content)));
    return added;
  }

  /** Removes one version for good. */
  async removeVersion(version: ObjectVersion): Promise<void> {
    const left = this.versions(version.key).filter((each) => each !== version);
    if (left.length > 0) this.objects.set(version.key, left);
    else {
      this.objects.delete(version.key);
      this.sorted = undefined;
    }
    await this.discard(version.content);
  }

  /** The bytes `start`..`end` (inclusive); the files stay until the stream is closed, whatever is deleted meanwhile. */
  open(content: Content, start: number, end: number): Readable {
    const stream = read(content.segments, start, end);
    this.readers.set(content, (this.readers.get(content) ?? 0) + 1);
    stream.once("close", () => {
      const left = (this.readers.get(content) ?? 1) - 1;
      if (left > 0) this.readers.set(content, left);
      else {
        this.readers.delete(content);
        if (this.doomed.delete(content)) void remove(content.segments);
      }
    });
    return stream;
  }

  private async discard(content: Content | undefined): Promise<void> {
    if (!content) return;
    if (this.readers.has(content)) this.doomed.add(content);
    else await remove(content.segments);
  }
}

export class S3Store {
  private readonly buckets = new Map<string, Bucket>();

  constructor(private readonly cloud: Cloud) {}

  /** @throws NoSuchBucket */
  bucket(name: string | undefined): Bucket {
    const found = this.buckets.get(name ?? "");
    if (!found)
      throw new AwsError("NoSuchBucket", "The specified bucket does not exist", 404, { BucketName: name ?? "" });
    return found;
  }

  find(name: string): Bucket | undefined {
    return this.buckets.get(name);
  }

  list(): readonly Bucket[] {
    return [...this.buckets.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  create(name: string): Bucket {
    const bucket = new Bucket(
      name,
      this.cloud.clock.now(),
      join(this.cloud.directory, "s3", `${name}-${randomUUID()}`),
    );
    this.buckets.set(name, bucket);
    return bucket;
  }

  async remove(bucket: Bucket): Promise<void> {
    this.buckets.delete(bucket.name);
    await rm(bucket.directory, { recursive: true, force: true });
  }
}

function newVersionId(): string {
  return randomBytes(24).toString("base64url").replaceAll("-", ".");
}
