/**
 * Objects in S3, to and from files, as streams: memory does not depend on their size.
 */
import * as fs from "node:fs";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import type { Cloud, Principal } from "../../core/definitions";

export interface ObjectLocation {
  readonly bucket: string;
  readonly key: string;
  readonly versionId?: string;
}

/** @returns the version that was read */
export async function saveObject(
  cloud: Cloud,
  principal: Principal,
  { bucket, key, versionId }: ObjectLocation,
  file: string,
): Promise<string | undefined> {
  const command = new GetObjectCommand({ Bucket: bucket, Key: key, ...(versionId && { VersionId: versionId }) });
  const object = await cloud.send(principal, command);
  if (!(object.Body instanceof Readable)) throw new Error(`s3://${bucket}/${key} was answered without a body.`);
  await pipeline(object.Body, fs.createWriteStream(file));
  return object.VersionId;
}

export async function putFile(
  cloud: Cloud,
  principal: Principal,
  { bucket, key }: ObjectLocation,
  file: string,
): Promise<void> {
  const Body = fs.createReadStream(file);
  const ContentLength = fs.statSync(file).size;
  await cloud.send(principal, new PutObjectCommand({ Bucket: bucket, Key: key, Body, ContentLength }));
}

/** Hexadecimal digests, as builds report them of their artifacts. */
export async function digests(file: string): Promise<{ md5sum: string; sha256sum: string }> {
  const md5 = createHash("md5");
  const sha256 = createHash("sha256");
  for await (const chunk of fs.createReadStream(file) as AsyncIterable<Buffer>) {
    md5.update(chunk);
    sha256.update(chunk);
  }
  return { md5sum: md5.digest("hex"), sha256sum: sha256.digest("hex") };
}

/** `bucket/key`, also as an ARN. */
export function parseLocation(location: string): ObjectLocation {
  const [bucket = "", ...key] = location.replace(/^arn:aws:s3:::/, "").split("/");
  return { bucket, key: key.join("/") };
}
