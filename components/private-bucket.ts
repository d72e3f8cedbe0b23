import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import { knownInputs } from "./inputs";
import { denyOtherAccounts, denyPlainHttp, policy, type Statement } from "./policies";
import { currentSite } from "./site";

export interface PrivateBucketArgs {
  /**
   * Delete the bucket with everything in it when the stack is destroyed.
   * @default false
   */
  readonly forceDestroy?: boolean;
  /** Prefixes whose objects, and old versions of them, are deleted after that many days. */
  readonly expire: Readonly<Record<string, number>>;
  /** Further statements of the bucket's policy. */
  readonly statements?: (bucketArn: string) => readonly Statement[];
}

/**
 * A bucket that is versioned, encrypted, closed to the public, to other accounts and to plain HTTP. The other buckets
 * of this package are made of it.
 */
export class PrivateBucket extends pulumi.ComponentResource {
  /** Name of the bucket; resolves when the bucket is versioned and its policy is in force. */
  readonly bucket: pulumi.Output<string>;
  readonly arn: pulumi.Output<string>;

  constructor(name: string, args: PrivateBucketArgs, opts?: pulumi.ComponentResourceOptions) {
    super("protected-pipeline:index:PrivateBucket", name, knownInputs(args), opts);
    const parent = { parent: this };

    const bucket = new aws.s3.Bucket(name, { forceDestroy: args.forceDestroy ?? false }, parent);
    const versioning = new aws.s3.BucketVersioning(
      `${name}-versioning`,
      { bucket: bucket.bucket, versioningConfiguration: { status: "Enabled" } },
      parent,
    );
    const encryption = new aws.s3.BucketServerSideEncryptionConfiguration(
      `${name}-encryption`,
      { bucket: bucket.bucket, rules: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" } }] },
      parent,
    );
    const block = new aws.s3.BucketPublicAccessBlock(
      `${name}-private`,
      {
        bucket: bucket.bucket,
        blockPublicAcls: true,
        blockPublicPolicy: true,
        ignorePublicAcls: true,
        restrictPublicBuckets: true,
      },
      parent,
    );
    const lifecycle = new aws.s3.BucketLifecycleConfiguration(
      `${name}-retention`,
      { bucket: bucket.bucket, rules: lifecycleRules(args.expire) },
      // S3 wants versioning on before rules about old versions.
      { ...parent, dependsOn: [versioning] },
    );
    const document = pulumi
      .all([bucket.arn, currentSite(this)])
      .apply(([arn, site]) =>
        JSON.stringify(
          policy(denyPlainHttp(arn), denyOtherAccounts(arn, site.account), ...(args.statements?.(arn) ?? [])),
        ),
      );
    const bucketPolicy = new aws.s3.BucketPolicy(
      `${name}-policy`,
      { bucket: bucket.bucket, policy: document },
      // S3 refuses a policy while the public access block is being written.
      { ...parent, dependsOn: [block] },
    );

    this.arn = bucket.arn;
    this.bucket = pulumi
      .all([bucket.bucket, versioning.id, encryption.id, lifecycle.id, bucketPolicy.id])
      .apply(([bucketName]) => bucketName);
    this.registerOutputs({ bucket: this.bucket, arn: this.arn });
  }
}

function lifecycleRules(expire: Readonly<Record<string, number>>) {
  const expiry = Object.entries(expire).map(([prefix, days]) => ({
    id: `expire-${prefix.replaceAll("/", "") || "all"}`,
    status: "Enabled",
    filter: { prefix },
    expiration: { days },
    noncurrentVersionExpiration: { noncurrentDays: days },
  }));
  const uploads = {
    id: "abort-unfinished-uploads",
    status: "Enabled",
    filter: { prefix: "" },
    abortIncompleteMultipartUpload: { daysAfterInitiation: 1 },
  };
  return [...expiry, uploads];
}
