/** The `aws:s3` resource types. */
import {
  BucketLifecycleConfiguration,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteBucketEncryptionCommand,
  DeleteBucketLifecycleCommand,
  DeleteBucketOwnershipControlsCommand,
  DeleteBucketPolicyCommand,
  DeleteBucketTaggingCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  DeletePublicAccessBlockCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetBucketTaggingCommand,
  GetBucketVersioningCommand,
  GetObjectTaggingCommand,
  GetPublicAccessBlockCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  HeadObjectCommandOutput,
  LifecycleRule,
  ListObjectVersionsCommand,
  ObjectOwnership,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutBucketTaggingCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutPublicAccessBlockCommand,
  ServerSideEncryption,
  ServerSideEncryptionRule,
  Tag,
} from "@aws-sdk/client-s3";
import { AssetValue, AwsError, Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import {
  amount,
  block,
  blocks,
  compact,
  flag,
  map,
  policyText,
  required,
  tagOutputs,
  tagPairs,
  text,
  unless,
} from "../properties";

const gone = ["NotFound", "NoSuchBucket"];
/** Every resource of a bucket is replaced when its bucket changes (Terraform's `bucket`: "Forces new resource"). */
const bucketReplaces = { replaceOn: "terraform-provider-aws, aws_s3_bucket_*: bucket, Forces new resource" };

const bucket: ResourceDefinition = {
  type: "aws:s3/bucket:Bucket",
  inputs: {
    bucket: {
      replaceOn: "terraform-provider-aws, aws_s3_bucket: bucket, Forces new resource",
      autoname: { maxLength: 63, lowerCase: true },
    },
    forceDestroy: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const Bucket = required(inputs, "bucket");
    // us-east-1 would answer 200 for one's own bucket: the provider looks first.
    if (await unless(gone, context.send(new HeadBucketCommand({ Bucket }))))
      throw new AwsError("BucketAlreadyExists", `creating S3 Bucket (${Bucket}): BucketAlreadyExists`, 409);
    const { region } = context.cloud;
    await context.send(
      new CreateBucketCommand({
        Bucket,
        ...(region !== "us-east-1" && { CreateBucketConfiguration: { LocationConstraint: region as "eu-west-1" } }),
      }),
    );
    context.made(Bucket);
    const TagSet = tagPairs(inputs);
    if (TagSet.length > 0) await context.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet } }));
    return { id: Bucket, outputs: bucketOutputs(inputs, context, TagSet) };
  },
  read: async (id, state, context) => {
    if (!(await unless(gone, context.send(new HeadBucketCommand({ Bucket: id }))))) return undefined;
    const tagging = await unless(["NoSuchTagSet"], context.send(new GetBucketTaggingCommand({ Bucket: id })));
    return { id, outputs: bucketOutputs({ ...state, bucket: id }, context, tagging?.TagSet ?? []) };
  },
  update: async (id, news, olds, context) => {
    const TagSet = tagPairs(news);
    if (TagSet.length > 0) await context.send(new PutBucketTaggingCommand({ Bucket: id, Tagging: { TagSet } }));
    else if (olds.tags !== undefined) await context.send(new DeleteBucketTaggingCommand({ Bucket: id }));
    return { id, outputs: bucketOutputs(news, context, TagSet) };
  },
  delete: async (id, state, context) => {
    await unless(
      gone,
      (async () => {
        if (flag(state, "forceDestroy") === true) await empty(id, context);
        await context.send(new DeleteBucketCommand({ Bucket: id }));
      })(),
    );
  },
};

function bucketOutputs(state: Properties, { cloud }: ResourceContext, tags: readonly Tag[]): Properties {
  const name = required(state, "bucket");
  return {
    ...state,
    ...tagOutputs(state, tags),
    arn: `arn:aws:s3:::${name}`,
    bucketDomainName: `${name}.s3.amazonaws.com`,
    bucketRegionalDomainName: `${name}.s3.${cloud.region}.amazonaws.com`,
    bucketRegion: cloud.region,
    region: cloud.region,
    // "Amazon S3 website endpoints": hosted zone of us-east-1, the only Region that is emulated.
    ...(cloud.region === "us-east-1" && { hostedZoneId: "Z3AQBSTGFJSTF" }),
    objectLockEnabled: false,
    requestPayer: "BucketOwner",
  };
}

/** Removes every version and delete marker. */
async function empty(Bucket: string, context: ResourceContext): Promise<void> {
  for (;;) {
    const page = await context.send(new ListObjectVersionsCommand({ Bucket }));
    const Objects = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].map(({ Key, VersionId }) => ({
      Key,
      VersionId,
    }));
    if (Objects.length === 0) return;
    const { Errors: [error] = [] } = await context.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }),
    );
    if (error) throw new AwsError(error.Code ?? "InternalError", `emptying ${Bucket}: ${error.Key}: ${error.Message}`);
  }
}

/** A resource that is one configuration of a bucket: its id is the bucket's name. */
interface BucketConfiguration {
  readonly type: string;
  readonly inputs: ResourceDefinition["inputs"];
  readonly missing: readonly string[];
  put(Bucket: string, inputs: Properties, context: ResourceContext): Promise<unknown>;
  /** The real state, as inputs; undefined when there is none. */
  get(Bucket: string, context: ResourceContext): Promise<Properties | undefined>;
  remove(Bucket: string, context: ResourceContext): Promise<unknown>;
}

function bucketConfiguration(definition: BucketConfiguration): ResourceDefinition {
  const outputs = (Bucket: string, state: Properties, { cloud }: ResourceContext): Properties => ({
    ...state,
    bucket: Bucket,
    region: cloud.region,
  });
  return {
    type: definition.type,
    inputs: { bucket: bucketReplaces, ...definition.inputs },
    create: async (inputs, context) => {
      const Bucket = required(inputs, "bucket");
      await definition.put(Bucket, inputs, context);
      return { id: Bucket, outputs: outputs(Bucket, inputs, context) };
    },
    read: async (id, state, context) => {
      const found = await unless([...gone, ...definition.missing], definition.get(id, context));
      return found && { id, outputs: outputs(id, { ...state, ...found }, context) };
    },
    update: async (id, news, _olds, context) => {
      await definition.put(id, news, context);
      return { id, outputs: outputs(id, news, context) };
    },
    delete: async (id, _state, context) => {
      await unless(gone, definition.remove(id, context));
    },
  };
}

const versioning = bucketConfiguration({
  type: "aws:s3/bucketVersioning:BucketVersioning",
  inputs: { versioningConfiguration: {} },
  missing: [],
  put: (Bucket, inputs, context) => {
    const given = required(block(inputs, "versioningConfiguration") ?? {}, "status");
    // `Disabled` is only valid for a bucket that has never been versioned (aws_s3_bucket_versioning, status).
    if (given === "Disabled") return Promise.resolve();
    const Status = given as "Enabled" | "Suspended";
    return context.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }));
  },
  get: async (Bucket, context) => {
    const { Status } = await context.send(new GetBucketVersioningCommand({ Bucket }));
    return { versioningConfiguration: { status: Status ?? "Disabled" } };
  },
  // Destroying an enabled configuration suspends it (aws_s3_bucket_versioning, note).
  remove: (Bucket, context) =>
    context.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Suspended" } })),
});

const encryption = bucketConfiguration({
  type: "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
  inputs: { rules: {} },
  missing: [],
  put: (Bucket, inputs, context) =>
    context.send(
      new PutBucketEncryptionCommand({
        Bucket,
        ServerSideEncryptionConfiguration: { Rules: blocks(inputs, "rules").map(encryptionRule) },
      }),
    ),
  get: async (Bucket, context) => {
    const found = await context.send(new GetBucketEncryptionCommand({ Bucket }));
    const rules = found.ServerSideEncryptionConfiguration?.Rules ?? [];
    return {
      rules: rules.map((rule) =>
        compact({
          applyServerSideEncryptionByDefault: compact({
            sseAlgorithm: rule.ApplyServerSideEncryptionByDefault?.SSEAlgorithm,
            kmsMasterKeyId: rule.ApplyServerSideEncryptionByDefault?.KMSMasterKeyID,
          }),
          bucketKeyEnabled: rule.BucketKeyEnabled,
        }),
      ),
    };
  },
  remove: (Bucket, context) => context.send(new DeleteBucketEncryptionCommand({ Bucket })),
});

function encryptionRule(rule: Properties): ServerSideEncryptionRule {
  const byDefault = block(rule, "applyServerSideEncryptionByDefault");
  return {
    ...(byDefault && {
      ApplyServerSideEncryptionByDefault: {
        SSEAlgorithm: required(byDefault, "sseAlgorithm") as ServerSideEncryption,
        KMSMasterKeyID: text(byDefault, "kmsMasterKeyId"),
      },
    }),
    BucketKeyEnabled: flag(rule, "bucketKeyEnabled"),
  };
}

const lifecycle = bucketConfiguration({
  type: "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
  inputs: { rules: {} },
  missing: ["NoSuchLifecycleConfiguration"],
  put: (Bucket, inputs, context) => {
    const LifecycleConfiguration: BucketLifecycleConfiguration = { Rules: blocks(inputs, "rules").map(lifecycleRule) };
    return context.send(new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration }));
  },
  get: async (Bucket, context) => {
    const { Rules = [] } = await context.send(new GetBucketLifecycleConfigurationCommand({ Bucket }));
    return { rules: Rules.map(lifecycleProperties) };
  },
  remove: (Bucket, context) => context.send(new DeleteBucketLifecycleCommand({ Bucket })),
});

function lifecycleRule(rule: Properties): LifecycleRule {
  const supported = [
    "id",
    "status",
    "filter",
    "expiration",
    "noncurrentVersionExpiration",
    "abortIncompleteMultipartUpload",
  ];
  const other = Object.keys(rule).find((name) => !supported.includes(name));
  if (other !== undefined) throw new AwsError("NotImplemented", `NotImplemented: lifecycle rule ${other}`, 501);
  const filter = block(rule, "filter");
  const expiration = block(rule, "expiration");
  const noncurrent = block(rule, "noncurrentVersionExpiration");
  const abort = block(rule, "abortIncompleteMultipartUpload");
  return {
    ID: required(rule, "id"),
    Status: required(rule, "status") as "Enabled",
    Filter: { Prefix: (filter && text(filter, "prefix")) ?? "" },
    ...(expiration && {
      Expiration: {
        Days: amount(expiration, "days"),
        ExpiredObjectDeleteMarker: flag(expiration, "expiredObjectDeleteMarker"),
      },
    }),
    ...(noncurrent && {
      NoncurrentVersionExpiration: {
        NoncurrentDays: amount(noncurrent, "noncurrentDays"),
        NewerNoncurrentVersions: amount(noncurrent, "newerNoncurrentVersions"),
      },
    }),
    ...(abort && {
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: amount(abort, "daysAfterInitiation") },
    }),
  };
}

function lifecycleProperties(rule: LifecycleRule): Properties {
  const { Expiration, NoncurrentVersionExpiration, AbortIncompleteMultipartUpload } = rule;
  return compact({
    id: rule.ID,
    status: rule.Status,
    // No prefix and an empty one are the same.
    filter: { prefix: rule.Filter?.Prefix ?? "" },
    expiration:
      Expiration && compact({ days: Expiration.Days, expiredObjectDeleteMarker: Expiration.ExpiredObjectDeleteMarker }),
    noncurrentVersionExpiration:
      NoncurrentVersionExpiration &&
      compact({
        noncurrentDays: NoncurrentVersionExpiration.NoncurrentDays,
        newerNoncurrentVersions: NoncurrentVersionExpiration.NewerNoncurrentVersions,
      }),
    abortIncompleteMultipartUpload:
      AbortIncompleteMultipartUpload &&
      compact({ daysAfterInitiation: AbortIncompleteMultipartUpload.DaysAfterInitiation }),
  });
}

const policy = bucketConfiguration({
  type: "aws:s3/bucketPolicy:BucketPolicy",
  inputs: { policy: {} },
  missing: ["NoSuchBucketPolicy"],
  put: (Bucket, inputs, context) =>
    context.send(new PutBucketPolicyCommand({ Bucket, Policy: policyText(inputs, "policy") })),
  get: async (Bucket, context) => ({ policy: (await context.send(new GetBucketPolicyCommand({ Bucket }))).Policy }),
  remove: (Bucket, context) => context.send(new DeleteBucketPolicyCommand({ Bucket })),
});

const ownershipControls = bucketConfiguration({
  type: "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
  inputs: { rule: {} },
  missing: ["OwnershipControlsNotFoundError"],
  put: (Bucket, inputs, context) => {
    const rule = { ObjectOwnership: required(block(inputs, "rule") ?? {}, "objectOwnership") as ObjectOwnership };
    return context.send(new PutBucketOwnershipControlsCommand({ Bucket, OwnershipControls: { Rules: [rule] } }));
  },
  get: async (Bucket, context) => {
    const { OwnershipControls } = await context.send(new GetBucketOwnershipControlsCommand({ Bucket }));
    return { rule: { objectOwnership: OwnershipControls?.Rules?.[0]?.ObjectOwnership } };
  },
  remove: (Bucket, context) => context.send(new DeleteBucketOwnershipControlsCommand({ Bucket })),
});

const publicAccessBlock = bucketConfiguration({
  type: "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
  inputs: {
    blockPublicAcls: {},
    blockPublicPolicy: {},
    ignorePublicAcls: {},
    restrictPublicBuckets: {},
  },
  missing: ["NoSuchPublicAccessBlockConfiguration"],
  put: (Bucket, inputs, context) =>
    context.send(
      new PutPublicAccessBlockCommand({
        Bucket,
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: flag(inputs, "blockPublicAcls") ?? false,
          BlockPublicPolicy: flag(inputs, "blockPublicPolicy") ?? false,
          IgnorePublicAcls: flag(inputs, "ignorePublicAcls") ?? false,
          RestrictPublicBuckets: flag(inputs, "restrictPublicBuckets") ?? false,
        },
      }),
    ),
  get: async (Bucket, context) => {
    const found = (await context.send(new GetPublicAccessBlockCommand({ Bucket }))).PublicAccessBlockConfiguration;
    return {
      blockPublicAcls: found?.BlockPublicAcls,
      blockPublicPolicy: found?.BlockPublicPolicy,
      ignorePublicAcls: found?.IgnorePublicAcls,
      restrictPublicBuckets: found?.RestrictPublicBuckets,
    };
  },
  remove: (Bucket, context) => context.send(new DeletePublicAccessBlockCommand({ Bucket })),
});

const bucketObject: ResourceDefinition = {
  type: "aws:s3/bucketObjectv2:BucketObjectv2",
  inputs: {
    bucket: { replaceOn: "terraform-provider-aws, aws_s3_object: bucket, Forces new resource" },
    key: { replaceOn: "terraform-provider-aws, aws_s3_object: key, Forces new resource" },
    source: {},
    content: {},
    contentBase64: {},
    sourceHash: {},
    contentType: {},
    contentEncoding: {},
    contentDisposition: {},
    contentLanguage: {},
    cacheControl: {},
    metadata: {},
    serverSideEncryption: {},
    kmsKeyId: {},
    bucketKeyEnabled: {},
    forceDestroy: {},
    tags: {},
  },
  create: putObject,
  read: async (id, state, context) => {
    const Bucket = text(state, "bucket") ?? id.split("/")[0] ?? "";
    const Key = text(state, "key") ?? id.slice(id.indexOf("/") + 1);
    const found = await unless([...gone, "NoSuchKey"], context.send(new HeadObjectCommand({ Bucket, Key })));
    if (!found) return undefined;
    const { TagSet = [] } = await context.send(new GetObjectTaggingCommand({ Bucket, Key }));
    const outputs = objectOutputs({ ...state, bucket: Bucket, key: Key }, context, TagSet);
    return { id, outputs: { ...outputs, ...objectProperties(found) } };
  },
  update: async (_id, news, _olds, context) => putObject(news, context),
  delete: async (_id, state, context) => {
    const [Bucket, Key] = [required(state, "bucket"), required(state, "key")];
    await unless(gone, removeObject(Bucket, Key, context));
  },
};

async function putObject(inputs: Properties, context: ResourceContext) {
  const [Bucket, Key] = [required(inputs, "bucket"), required(inputs, "key")];
  const tags = new URLSearchParams(map(inputs, "tags")).toString();
  const metadata = map(inputs, "metadata");
  const put = await context.send(
    new PutObjectCommand({
      Bucket,
      Key,
      Body: await objectBody(inputs),
      // What the provider sends when the program says nothing.
      ContentType: text(inputs, "contentType") ?? "application/octet-stream",
      ContentEncoding: text(inputs, "contentEncoding"),
      ContentDisposition: text(inputs, "contentDisposition"),
      ContentLanguage: text(inputs, "contentLanguage"),
      CacheControl: text(inputs, "cacheControl"),
      ServerSideEncryption: text(inputs, "serverSideEncryption") as ServerSideEncryption | undefined,
      SSEKMSKeyId: text(inputs, "kmsKeyId"),
      BucketKeyEnabled: flag(inputs, "bucketKeyEnabled"),
      ...(Object.keys(metadata).length > 0 && { Metadata: metadata }),
      ...(tags !== "" && { Tagging: tags }),
    }),
  );
  const actual = { etag: unquoted(put.ETag), versionId: put.VersionId ?? "" };
  return { id: `${Bucket}/${Key}`, outputs: { ...objectOutputs(inputs, context), ...actual } };
}

/** What S3 says of an object: also that it has not got something any more. */
function objectProperties(found: HeadObjectCommandOutput): Properties {
  return {
    etag: unquoted(found.ETag),
    versionId: found.VersionId ?? "",
    contentType: found.ContentType,
    contentEncoding: found.ContentEncoding,
    contentDisposition: found.ContentDisposition,
    contentLanguage: found.ContentLanguage,
    cacheControl: found.CacheControl,
    metadata: found.Metadata && Object.keys(found.Metadata).length > 0 ? found.Metadata : undefined,
    serverSideEncryption: found.ServerSideEncryption,
    kmsKeyId: found.SSEKMSKeyId,
    bucketKeyEnabled: found.BucketKeyEnabled ?? false,
  };
}

function objectOutputs(
  state: Properties,
  { cloud }: ResourceContext,
  tags?: Parameters<typeof tagOutputs>[1],
): Properties {
  return {
    contentType: "application/octet-stream",
    serverSideEncryption: "AES256",
    storageClass: "STANDARD",
    bucketKeyEnabled: false,
    ...state,
    ...tagOutputs(state, tags),
    arn: `arn:aws:s3:::${required(state, "bucket")}/${required(state, "key")}`,
    region: cloud.region,
  };
}

async function objectBody(inputs: Properties): Promise<Buffer | string> {
  if (isAsset(inputs.source)) return inputs.source.bytes();
  const base64 = text(inputs, "contentBase64");
  return base64 === undefined ? (text(inputs, "content") ?? "") : Buffer.from(base64, "base64");
}

/** The provider removes every version of the key. */
async function removeObject(Bucket: string, Key: string, context: ResourceContext): Promise<void> {
  const page = await context.send(new ListObjectVersionsCommand({ Bucket, Prefix: Key }));
  const versions = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].filter((each) => each.Key === Key);
  for (const { VersionId } of versions) await context.send(new DeleteObjectCommand({ Bucket, Key, VersionId }));
}

function isAsset(value: unknown): value is AssetValue {
  return typeof value === "object" && value !== null && "bytes" in value && typeof value.bytes === "function";
}

function unquoted(etag: string | undefined): string {
  return (etag ?? "").replaceAll('"', "");
}

export const resources: readonly ResourceDefinition[] = [
  bucket,
  versioning,
  encryption,
  lifecycle,
  policy,
  ownershipControls,
  publicAccessBlock,
  bucketObject,
];
