import assert from "node:assert/strict";
import * as s3 from "@aws-sdk/client-s3";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install as iam } from "../../../emulator/services/iam";
import { install } from "../../../emulator/services/s3";
import { credentialsFor } from "../iam/role";
import { clientSettings } from "../support";

describe("S3 buckets", () => {
  let emulator: Emulator;
  let client: s3.S3Client;
  let bucket = "";
  let count = 0;
  const clients: s3.S3Client[] = [];

  before(async () => {
    emulator = await startEmulator({ services: [iam, install] });
    client = new s3.S3Client(clientSettings(emulator));
    clients.push(client);
  });
  after(async () => {
    for (const each of clients) each.destroy();
    await emulator.close();
  });
  beforeEach(async () => {
    bucket = `bucket-${++count}`;
    await client.send(new s3.CreateBucketCommand({ Bucket: bucket }));
  });

  /** A client with the credentials of a role that may do just this. */
  const as = async (statements: Parameters<typeof credentialsFor>[2]) => {
    const credentials = await credentialsFor(emulator, `role-${count}-${clients.length}`, statements);
    const made = new s3.S3Client(clientSettings(emulator, credentials));
    clients.push(made);
    return made;
  };
  const putPolicy = (...Statement: object[]) =>
    client.send(
      new s3.PutBucketPolicyCommand({
        Bucket: bucket,
        Policy: JSON.stringify({ Version: "2012-10-17", Statement }),
      }),
    );
  const arn = () => `arn:aws:s3:::${bucket}`;

  it("have the defaults of new buckets", async () => {
    const target = { Bucket: bucket };
    assert.equal((await client.send(new s3.GetBucketVersioningCommand(target))).Status, undefined);
    const encryption = await client.send(new s3.GetBucketEncryptionCommand(target));
    assert.equal(
      encryption.ServerSideEncryptionConfiguration?.Rules?.[0]?.ApplyServerSideEncryptionByDefault?.SSEAlgorithm,
      "AES256",
    );
    const access = await client.send(new s3.GetPublicAccessBlockCommand(target));
    assert.equal(access.PublicAccessBlockConfiguration?.BlockPublicPolicy, true);
    const ownership = await client.send(new s3.GetBucketOwnershipControlsCommand(target));
    assert.equal(ownership.OwnershipControls?.Rules?.[0]?.ObjectOwnership, "BucketOwnerEnforced");
    await assert.rejects(client.send(new s3.GetBucketPolicyCommand(target)), { name: "NoSuchBucketPolicy" });
    await assert.rejects(client.send(new s3.GetBucketTaggingCommand(target)), { name: "NoSuchTagSet" });
    await assert.rejects(client.send(new s3.GetBucketLifecycleConfigurationCommand(target)), {
      name: "NoSuchLifecycleConfiguration",
    });
  });

  it("keep their configurations", async () => {
    const rule: s3.LifecycleRule = {
      ID: "expire",
      Status: "Enabled",
      Filter: { Prefix: "runs/" },
      Expiration: { Days: 30 },
      NoncurrentVersionExpiration: { NoncurrentDays: 7 },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
    };
    await client.send(
      new s3.PutBucketLifecycleConfigurationCommand({ Bucket: bucket, LifecycleConfiguration: { Rules: [rule] } }),
    );
    const { Rules } = await client.send(new s3.GetBucketLifecycleConfigurationCommand({ Bucket: bucket }));
    assert.deepEqual(Rules, [rule]);
    const TagSet = [{ Key: "a", Value: "1" }];
    await client.send(new s3.PutBucketTaggingCommand({ Bucket: bucket, Tagging: { TagSet } }));
    assert.deepEqual((await client.send(new s3.GetBucketTaggingCommand({ Bucket: bucket }))).TagSet, TagSet);
    await client.send(new s3.DeleteBucketTaggingCommand({ Bucket: bucket }));
    await assert.rejects(client.send(new s3.GetBucketTaggingCommand({ Bucket: bucket })), { name: "NoSuchTagSet" });
  });

  it("refuse names that AWS refuses", async () => {
    for (const Bucket of ["ab", "Upper", "a..b", "192.168.0.1", "under_score", "x".repeat(64)])
      await assert.rejects(client.send(new s3.CreateBucketCommand({ Bucket })), { name: "InvalidBucketName" }, Bucket);
  });

  it("are only deleted when no version is left", async () => {
    await client.send(
      new s3.PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: "Enabled" } }),
    );
    const { VersionId } = await client.send(new s3.PutObjectCommand({ Bucket: bucket, Key: "k", Body: "x" }));
    const marker = await client.send(new s3.DeleteObjectCommand({ Bucket: bucket, Key: "k" }));
    const remove = () => client.send(new s3.DeleteBucketCommand({ Bucket: bucket }));
    await assert.rejects(remove(), { name: "BucketNotEmpty" });
    await client.send(new s3.DeleteObjectCommand({ Bucket: bucket, Key: "k", VersionId }));
    await assert.rejects(remove(), { name: "BucketNotEmpty" });
    await client.send(new s3.DeleteObjectCommand({ Bucket: bucket, Key: "k", VersionId: marker.VersionId }));
    await remove();
    await assert.rejects(client.send(new s3.HeadBucketCommand({ Bucket: bucket })), { name: "NotFound" });
  });

  it("refuse policies that are malformed, of another bucket, or public", async () => {
    const base = { Effect: "Allow", Action: "s3:GetObject", Principal: { AWS: "arn:aws:iam::123456789012:root" } };
    await assert.rejects(putPolicy({ ...base, Resource: "arn:aws:s3:::other/*" }), { name: "MalformedPolicy" });
    await assert.rejects(putPolicy({ Effect: "Allow", Action: "s3:GetObject", Resource: `${arn()}/*` }), {
      name: "MalformedPolicy",
    });
    await assert.rejects(putPolicy({ ...base, Resource: `${arn()}/*`, Condition: { Bool: { "s3:typo": "true" } } }), {
      name: "MalformedPolicy",
    });
    await assert.rejects(putPolicy({ ...base, Principal: "*", Resource: `${arn()}/*` }), { name: "AccessDenied" });
    await putPolicy({ ...base, Resource: `${arn()}/*` });
  });

  it("can demand that objects are only created, never replaced, also by the account's root", async () => {
    await putPolicy({
      Effect: "Deny",
      Principal: "*",
      Action: "s3:PutObject",
      Resource: `${arn()}/runs/*`,
      Condition: { Null: { "s3:if-none-match": "true" }, Bool: { "s3:ObjectCreationOperation": "true" } },
    });
    const put = (Key: string, more: object = {}) =>
      client.send(new s3.PutObjectCommand({ Bucket: bucket, Key, Body: "x", ...more }));
    await assert.rejects(put("runs/1"), (error: s3.S3ServiceException) => {
      assert.equal(error.name, "AccessDenied");
      assert.equal(error.$metadata.httpStatusCode, 403);
      assert.match(error.message, /not authorized to perform: s3:PutObject on resource: .* explicit deny/);
      return true;
    });
    await put("runs/1", { IfNoneMatch: "*" });
    await put("other/1");
    // The steps of a multipart upload create nothing: only its completion needs the condition.
    const target = { Bucket: bucket, Key: "runs/big" };
    const { UploadId } = await client.send(new s3.CreateMultipartUploadCommand(target));
    const { ETag } = await client.send(new s3.UploadPartCommand({ ...target, UploadId, PartNumber: 1, Body: "bytes" }));
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    const complete = (more: object) =>
      client.send(new s3.CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload, ...more }));
    await assert.rejects(complete({}), { name: "AccessDenied" });
    await complete({ IfNoneMatch: "*" });
  });

  it("never lock the root user out of their policy", async () => {
    await putPolicy({ Effect: "Deny", Principal: "*", Action: "s3:*", Resource: [arn(), `${arn()}/*`] });
    await assert.rejects(client.send(new s3.ListObjectsV2Command({ Bucket: bucket })), { name: "AccessDenied" });
    await client.send(new s3.DeleteBucketPolicyCommand({ Bucket: bucket }));
    await client.send(new s3.ListObjectsV2Command({ Bucket: bucket }));
  });

  it("tell a caller who may not list that a missing object is forbidden, not missing", async () => {
    const reader = await as([{ Action: "s3:GetObject", Resource: `${arn()}/*` }]);
    const lister = await as([{ Action: ["s3:GetObject", "s3:ListBucket"], Resource: [arn(), `${arn()}/*`] }]);
    const get = (by: s3.S3Client) => by.send(new s3.GetObjectCommand({ Bucket: bucket, Key: "ticket" }));
    await assert.rejects(get(reader), { name: "AccessDenied" });
    await assert.rejects(get(lister), { name: "NoSuchKey" });
    await client.send(new s3.PutObjectCommand({ Bucket: bucket, Key: "ticket", Body: "x" }));
    assert.equal(await (await get(reader)).Body?.transformToString(), "x");
  });

  it("give a listing only below the prefix that a policy names", async () => {
    const role = await as([
      { Action: "s3:ListBucket", Resource: arn(), Condition: { StringLike: { "s3:prefix": "runs/*" } } },
    ]);
    const list = (Prefix?: string) => role.send(new s3.ListObjectsV2Command({ Bucket: bucket, Prefix }));
    await list("runs/1/");
    await assert.rejects(list("leases/"), { name: "AccessDenied" });
    await assert.rejects(list(), { name: "AccessDenied" });
  });

  it("delete of many keys those that the caller may delete, and name the others", async () => {
    const role = await as([{ Action: "s3:DeleteObject", Resource: `${arn()}/mine/*` }]);
    const Objects = [{ Key: "mine/1" }, { Key: "yours/1" }];
    const { Deleted, Errors } = await role.send(new s3.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }));
    assert.deepEqual(
      Deleted?.map(({ Key }) => Key),
      ["mine/1"],
    );
    assert.deepEqual(
      Errors?.map(({ Key, Code }) => [Key, Code]),
      [["yours/1", "AccessDenied"]],
    );
  });

  it("answer NotImplemented by name to what they do not honour", async () => {
    await assert.rejects(
      client.send(new s3.PutObjectCommand({ Bucket: bucket, Key: "k", Body: "x", ACL: "public-read" })),
      { message: /PutObject\.ACL/ },
    );
  });
});
