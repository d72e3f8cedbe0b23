/** What a call on a bucket or object needs to be allowed, with the condition keys of S3. */
import { Access, Call } from "../../core/definitions";
import { Bucket } from "./store";

type Context = NonNullable<Access["context"]>;
type OptionalContext = Readonly<Record<string, string | number | boolean | undefined>>;

export function bucketOf(call: Call, name: string | undefined): Bucket {
  return call.cloud.stores.s3.bucket(name);
}

export function onBucket(call: Call, name: string | undefined, action: string, context: OptionalContext = {}): Access {
  const bucket = bucketOf(call, name);
  return access(call, bucket, `s3:${action}`, bucket.arn, context);
}

export function onObject(
  call: Call,
  name: string | undefined,
  key: string | undefined,
  action: string,
  context: OptionalContext = {},
): Access {
  const bucket = bucketOf(call, name);
  return access(call, bucket, `s3:${action}`, `${bucket.arn}/${key ?? ""}`, context);
}

/**
 * The permissions of a read. A caller who may not list a bucket is told 403 instead of 404 for what does not exist
 * (GetObject, "If the object that you request doesn't exist").
 */
export function onRead(
  call: Call,
  name: string | undefined,
  key: string | undefined,
  versionId: string | undefined,
): readonly Access[] {
  const bucket = bucketOf(call, name);
  const found = versionId === undefined ? bucket.current(key ?? "") : bucket.version(key ?? "", versionId);
  const get = onObject(call, name, key, versionId === undefined ? "GetObject" : "GetObjectVersion", {
    "s3:VersionId": versionId,
  });
  const exists = found !== undefined && (found.content !== undefined || versionId !== undefined);
  return exists ? [get] : [get, onBucket(call, name, "ListBucket")];
}

function access(call: Call, bucket: Bucket, action: string, resource: string, context: OptionalContext): Access {
  // The root user can always read, put and delete a bucket's policy, whatever that policy denies (PutBucketPolicy).
  const unlocked = call.principal.kind === "root" && action.endsWith("BucketPolicy");
  return {
    action,
    resource,
    context: defined({
      ...context,
      "aws:ResourceAccount": call.cloud.account,
      "s3:ResourceAccount": call.cloud.account,
    }),
    resourcePolicy: unlocked ? undefined : bucket.policy,
  };
}

function defined(context: OptionalContext): Context {
  return Object.fromEntries(
    Object.entries(context).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)] as const])),
  );
}
