/** Operations on buckets and their configurations. */
import {
  CreateBucketCommandInput,
  CreateBucketCommandOutput,
  DeleteBucketCommandInput,
  DeleteBucketCommandOutput,
  HeadBucketCommandInput,
  HeadBucketCommandOutput,
  LifecycleRule,
  ListBucketsCommandInput,
  ListBucketsCommandOutput,
  PutBucketEncryptionCommandInput,
  PutBucketLifecycleConfigurationCommandInput,
  PutBucketLifecycleConfigurationCommandOutput,
  PutBucketOwnershipControlsCommandInput,
  PutBucketPolicyCommandInput,
  PutBucketTaggingCommandInput,
  PutBucketVersioningCommandInput,
  PutPublicAccessBlockCommandInput,
} from "@aws-sdk/client-s3";
import { AwsError, operation, Operation } from "../../core/definitions";
import { parsePolicy } from "../../core/iam";
import { policyProblem, statementsOf, texts } from "../iam/policy-document";
import { onBucket } from "./access";
import { ownedBucket } from "./object-operations";
import { Bucket } from "./store";

const createBucket = operation<CreateBucketCommandInput, CreateBucketCommandOutput>({
  name: "CreateBucket",
  honours: ["Bucket", "CreateBucketConfiguration.LocationConstraint", "ObjectOwnership"],
  authorize: (input) => [{ action: "s3:CreateBucket", resource: `arn:aws:s3:::${input.Bucket ?? ""}` }],
  handle: (input, { cloud }) => {
    const name = validName(input.Bucket);
    checkLocation(input.CreateBucketConfiguration?.LocationConstraint, cloud.region);
    const existing = cloud.stores.s3.find(name);
    // Only us-east-1 answers 200 when one creates one's own bucket again (CreateBucket, BucketAlreadyOwnedByYou).
    if (existing && cloud.region !== "us-east-1")
      throw new AwsError(
        "BucketAlreadyOwnedByYou",
        "Your previous request to create the named bucket succeeded and you already own it.",
        409,
        { BucketName: name },
      );
    const bucket = existing ?? cloud.stores.s3.create(name);
    if (input.ObjectOwnership !== undefined) bucket.ownership = { ObjectOwnership: input.ObjectOwnership };
    return { Location: `/${name}`, BucketArn: bucket.arn };
  },
});

const deleteBucket = operation<DeleteBucketCommandInput, DeleteBucketCommandOutput>({
  name: "DeleteBucket",
  honours: ["Bucket", "ExpectedBucketOwner"],
  authorize: (input, call) => [onBucket(call, input.Bucket, "DeleteBucket")],
  handle: async (input, call) => {
    const bucket = ownedBucket(input, call);
    if (!bucket.isEmpty)
      throw new AwsError(
        "BucketNotEmpty",
        bucket.versioning === undefined
          ? "The bucket you tried to delete is not empty"
          : "The bucket you tried to delete is not empty. You must delete all versions in the bucket.",
        409,
        { BucketName: bucket.name },
      );
    await call.cloud.stores.s3.remove(bucket);
    return {};
  },
});

const headBucket = operation<HeadBucketCommandInput, HeadBucketCommandOutput>({
  name: "HeadBucket",
  honours: ["Bucket", "ExpectedBucketOwner"],
  authorize: (input, call) => {
    // The reply to a HEAD has no body: a missing bucket is a bare 404.
    if (!call.cloud.stores.s3.find(input.Bucket ?? "")) throw new AwsError("NotFound", "Not Found", 404);
    return [onBucket(call, input.Bucket, "ListBucket")];
  },
  handle: (input, call) => {
    const bucket = ownedBucket(input, call);
    return { BucketRegion: call.cloud.region, BucketArn: bucket.arn };
  },
});

const listBuckets = operation<ListBucketsCommandInput, ListBucketsCommandOutput>({
  name: "ListBuckets",
  honours: ["Prefix", "BucketRegion"],
  authorize: () => [{ action: "s3:ListAllMyBuckets", resource: "*" }],
  handle: (input, { cloud }) => ({
    Buckets: cloud.stores.s3
      .list()
      .filter(
        ({ name }) => name.startsWith(input.Prefix ?? "") && (input.BucketRegion ?? cloud.region) === cloud.region,
      )
      .map(({ name, created, arn }) => ({
        Name: name,
        CreationDate: created,
        BucketArn: arn,
        BucketRegion: cloud.region,
      })),
    Owner: { ID: cloud.account },
    ...(input.Prefix !== undefined && { Prefix: input.Prefix }),
  }),
});

interface BucketInput {
  readonly Bucket?: string | undefined;
  readonly ExpectedBucketOwner?: string | undefined;
}

/** The put, get and delete of one configuration of a bucket. They differ in little else than names. */
interface Configuration<Put extends BucketInput> {
  /** As in `Put<name>`, `Get<name>`. */
  readonly put: string;
  readonly get: string;
  readonly delete?: string;
  readonly honours: readonly string[];
  readonly actions: { readonly put: string; readonly get: string; readonly delete?: string };
  readonly set: (bucket: Bucket, input: Put) => object | void;
  /** Undefined when there is none: the reply is then `missing`. */
  readonly read: (bucket: Bucket) => object | undefined;
  readonly missing: AwsError | object;
  readonly clear?: (bucket: Bucket) => void;
}

function configuration<Put extends BucketInput>(definition: Configuration<Put>): readonly Operation[] {
  const common = ["Bucket", "ExpectedBucketOwner"];
  const { actions, clear } = definition;
  const put = operation<Put, object>({
    name: definition.put,
    // The checksums of the request's body are verified by what reads it.
    honours: [...common, "ChecksumAlgorithm", ...definition.honours],
    authorize: (input, call) => [onBucket(call, input.Bucket, actions.put)],
    handle: (input, call) => definition.set(ownedBucket(input, call), input) ?? {},
  });
  const get = operation<BucketInput, object>({
    name: definition.get,
    honours: common,
    authorize: (input, call) => [onBucket(call, input.Bucket, actions.get)],
    handle: (input, call) => {
      const found = definition.read(ownedBucket(input, call)) ?? definition.missing;
      if (found instanceof AwsError) throw found;
      return found;
    },
  });
  if (definition.delete === undefined || !clear) return [put, get];
  const remove = operation<BucketInput, object>({
    name: definition.delete,
    honours: common,
    authorize: (input, call) => [onBucket(call, input.Bucket, actions.delete ?? actions.put)],
    handle: (input, call) => {
      clear(ownedBucket(input, call));
      return {};
    },
  });
  return [put, get, remove];
}

const versioning = configuration<PutBucketVersioningCommandInput>({
  put: "PutBucketVersioning",
  get: "GetBucketVersioning",
  honours: ["VersioningConfiguration.Status", "ContentMD5"],
  actions: { put: "PutBucketVersioning", get: "GetBucketVersioning" },
  set: (bucket, input) => {
    const status = input.VersioningConfiguration?.Status;
    if (status !== "Enabled" && status !== "Suspended") throw malformedXml();
    bucket.versioning = status;
  },
  read: ({ versioning }) => versioning && { Status: versioning },
  missing: {},
});

const encryption = configuration<PutBucketEncryptionCommandInput>({
  put: "PutBucketEncryption",
  get: "GetBucketEncryption",
  delete: "DeleteBucketEncryption",
  honours: ["ServerSideEncryptionConfiguration", "ContentMD5"],
  actions: { put: "PutEncryptionConfiguration", get: "GetEncryptionConfiguration" },
  set: (bucket, input) => {
    const [rule, ...others] = input.ServerSideEncryptionConfiguration?.Rules ?? [];
    if (!rule?.ApplyServerSideEncryptionByDefault || others.length > 0) throw malformedXml();
    bucket.encryption = { BucketKeyEnabled: false, ...rule };
  },
  read: ({ encryption }) => ({ ServerSideEncryptionConfiguration: { Rules: [encryption] } }),
  missing: {},
  // Deleting goes back to the default: SSE-S3.
  clear: (bucket) => {
    bucket.encryption = {
      ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" },
      BucketKeyEnabled: false,
    };
  },
});

const lifecycle = configuration<PutBucketLifecycleConfigurationCommandInput>({
  put: "PutBucketLifecycleConfiguration",
  get: "GetBucketLifecycleConfiguration",
  delete: "DeleteBucketLifecycle",
  honours: ["LifecycleConfiguration", "TransitionDefaultMinimumObjectSize"],
  actions: { put: "PutLifecycleConfiguration", get: "GetLifecycleConfiguration" },
  set: (bucket, input): Omit<PutBucketLifecycleConfigurationCommandOutput, "$metadata"> => {
    const rules = input.LifecycleConfiguration?.Rules ?? [];
    if (rules.length === 0 || rules.length > 1000) throw malformedXml();
    rules.forEach(checkLifecycleRule);
    const ids = rules.flatMap(({ ID }) => (ID === undefined ? [] : [ID]));
    if (new Set(ids).size < ids.length) throw new AwsError("InvalidArgument", "Rule ID must be unique.");
    bucket.lifecycle = { Rules: rules };
    return {
      TransitionDefaultMinimumObjectSize: input.TransitionDefaultMinimumObjectSize ?? "all_storage_classes_128K",
    };
  },
  read: ({ lifecycle }) =>
    lifecycle && { ...lifecycle, TransitionDefaultMinimumObjectSize: "all_storage_classes_128K" },
  missing: new AwsError("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", 404),
  clear: (bucket) => (bucket.lifecycle = undefined),
});

const policy = configuration<PutBucketPolicyCommandInput>({
  put: "PutBucketPolicy",
  get: "GetBucketPolicy",
  delete: "DeleteBucketPolicy",
  honours: ["Policy", "ConfirmRemoveSelfBucketAccess", "ContentMD5"],
  actions: { put: "PutBucketPolicy", get: "GetBucketPolicy", delete: "DeleteBucketPolicy" },
  set: (bucket, input) => {
    const text = input.Policy ?? "";
    checkPolicy(bucket, text);
    bucket.policy = text;
  },
  read: ({ policy }) => (policy === undefined ? undefined : { Policy: policy }),
  missing: new AwsError("NoSuchBucketPolicy", "The bucket policy does not exist", 404),
  clear: (bucket) => (bucket.policy = undefined),
});

const ownershipControls = configuration<PutBucketOwnershipControlsCommandInput>({
  put: "PutBucketOwnershipControls",
  get: "GetBucketOwnershipControls",
  delete: "DeleteBucketOwnershipControls",
  honours: ["OwnershipControls", "ContentMD5"],
  actions: { put: "PutBucketOwnershipControls", get: "GetBucketOwnershipControls" },
  set: (bucket, input) => {
    const [rule, ...others] = input.OwnershipControls?.Rules ?? [];
    if (!rule || others.length > 0) throw malformedXml();
    bucket.ownership = rule;
  },
  read: ({ ownership }) => ownership && { OwnershipControls: { Rules: [ownership] } },
  missing: new AwsError("OwnershipControlsNotFoundError", "The bucket ownership controls were not found", 404),
  clear: (bucket) => (bucket.ownership = undefined),
});

const publicAccessBlock = configuration<PutPublicAccessBlockCommandInput>({
  put: "PutPublicAccessBlock",
  get: "GetPublicAccessBlock",
  delete: "DeletePublicAccessBlock",
  honours: ["PublicAccessBlockConfiguration", "ContentMD5"],
  actions: { put: "PutBucketPublicAccessBlock", get: "GetBucketPublicAccessBlock" },
  set: (bucket, input) => {
    const given = input.PublicAccessBlockConfiguration;
    bucket.publicAccessBlock = {
      BlockPublicAcls: given?.BlockPublicAcls ?? false,
      IgnorePublicAcls: given?.IgnorePublicAcls ?? false,
      BlockPublicPolicy: given?.BlockPublicPolicy ?? false,
      RestrictPublicBuckets: given?.RestrictPublicBuckets ?? false,
    };
  },
  read: (bucket) => bucket.publicAccessBlock && { PublicAccessBlockConfiguration: bucket.publicAccessBlock },
  missing: new AwsError(
    "NoSuchPublicAccessBlockConfiguration",
    "The public access block configuration was not found",
    404,
  ),
  clear: (bucket) => (bucket.publicAccessBlock = undefined),
});

const tagging = configuration<PutBucketTaggingCommandInput>({
  put: "PutBucketTagging",
  get: "GetBucketTagging",
  delete: "DeleteBucketTagging",
  honours: ["Tagging", "ContentMD5"],
  actions: { put: "PutBucketTagging", get: "GetBucketTagging" },
  set: (bucket, input) => {
    const tags = input.Tagging?.TagSet ?? [];
    if (tags.length > 50) throw new AwsError("BadRequest", "Bucket tag count cannot be greater than 50", 400);
    if (new Set(tags.map(({ Key }) => Key)).size < tags.length)
      throw new AwsError("InvalidTag", "Cannot provide multiple Tags with the same key", 400);
    bucket.tags = tags;
  },
  read: ({ tags }) => tags && { TagSet: [...tags] },
  missing: new AwsError("NoSuchTagSet", "The TagSet does not exist", 404),
  clear: (bucket) => (bucket.tags = undefined),
});

export const bucketOperations: readonly Operation[] = [
  createBucket,
  deleteBucket,
  headBucket,
  listBuckets,
  ...versioning,
  ...encryption,
  ...lifecycle,
  ...policy,
  ...ownershipControls,
  ...publicAccessBlock,
  ...tagging,
];

/** "General purpose bucket naming rules". */
function validName(name: string | undefined): string {
  const valid =
    name !== undefined &&
    /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) &&
    !/\.\.|^xn--|^sthree-|^amzn-s3-demo-|-s3alias$|--ol-s3$|\.mrap$|--x-s3$|--table-s3$|^\d+\.\d+\.\d+\.\d+$/.test(
      name,
    );
  if (!valid) throw new AwsError("InvalidBucketName", "The specified bucket is not valid.", 400, { BucketName: name });
  return name;
}

function checkLocation(location: string | undefined, region: string): void {
  if ((location ?? "us-east-1") === region && location !== "us-east-1") return;
  throw new AwsError(
    location === "us-east-1" ? "InvalidLocationConstraint" : "IllegalLocationConstraintException",
    `The ${location ?? "unspecified"} location constraint is incompatible for the region specific endpoint this request was sent to.`,
    400,
  );
}

function checkLifecycleRule(rule: LifecycleRule): void {
  const actions = [
    rule.Expiration,
    rule.NoncurrentVersionExpiration,
    rule.AbortIncompleteMultipartUpload,
    rule.Transitions?.[0],
    rule.NoncurrentVersionTransitions?.[0],
  ];
  if (rule.Status !== "Enabled" && rule.Status !== "Disabled") throw malformedXml();
  if (actions.every((action) => action === undefined))
    throw new AwsError("InvalidRequest", "At least one action needs to be specified in a rule");
  const days = [
    rule.Expiration?.Days,
    rule.NoncurrentVersionExpiration?.NoncurrentDays,
    rule.AbortIncompleteMultipartUpload?.DaysAfterInitiation,
  ];
  if (days.some((each) => each !== undefined && (each < 1 || !Number.isInteger(each))))
    throw new AwsError("InvalidArgument", "'Days' for Expiration action must be a positive integer");
}

function checkPolicy(bucket: Bucket, text: string): void {
  const problem = policyProblem(text, "resource");
  if (problem !== undefined) throw new AwsError("MalformedPolicy", problem, 400);
  checkEvaluable(text);
  if (Buffer.byteLength(text) > 20 * 1024)
    throw new AwsError("PolicyTooLarge", "The policy exceeds the maximum allowed document size.", 400);
  const statements = statementsOf(JSON.parse(text));
  for (const statement of statements)
    for (const resource of texts(statement.Resource ?? statement.NotResource))
      if (resource !== bucket.arn && !resource.startsWith(`${bucket.arn}/`) && resource !== `${bucket.arn}*`)
        throw new AwsError("MalformedPolicy", "Policy has invalid resource", 400, { Detail: resource });
  if (bucket.publicAccessBlock?.BlockPublicPolicy === true && statements.some(isPublic))
    throw new AwsError(
      "AccessDenied",
      "Public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.",
      403,
    );
}

/** A policy that could not be evaluated is refused when it is put, not when it is first needed. */
function checkEvaluable(text: string): void {
  try {
    parsePolicy(text);
  } catch (error) {
    throw error instanceof AwsError ? new AwsError("MalformedPolicy", error.message, 400) : error;
  }
}

/**
 * "The meaning of public", on the safe side: an Allow for everybody counts as public unless a condition narrows it
 * down, and any condition is taken to do so.
 */
function isPublic(statement: ReturnType<typeof statementsOf>[number]): boolean {
  const { Principal: principal } = statement;
  const everybody =
    principal === "*" || (typeof principal === "object" && texts((principal as { AWS?: unknown }).AWS).includes("*"));
  return statement.Effect === "Allow" && everybody && statement.Condition === undefined;
}

function malformedXml(): AwsError {
  return new AwsError(
    "MalformedXML",
    "The XML you provided was not well-formed or did not validate against our published schema",
    400,
  );
}
