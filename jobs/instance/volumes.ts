/** EBS volumes: what EC2 says of them, how they are kept alike, marked and removed. */
import type { Volume } from "@aws-sdk/client-ec2";
import type { AttachedVolume } from "../../run/facts";
import { type Clients, codeOf } from "../clients";
import type { Tags } from "../engines/engine";
import { Failure } from "../failure";
import type { Attachment } from "./instances";

/** Undefined when EC2 knows no such volume. */
export async function describeVolume(clients: Clients, volumeId: string): Promise<Volume | undefined> {
  const { DescribeVolumesCommand } = await import("@aws-sdk/client-ec2");
  try {
    const answer = await (await clients.ec2()).send(new DescribeVolumesCommand({ VolumeIds: [volumeId] }));
    return answer.Volumes?.[0];
  } catch (error) {
    if (codeOf(error) === "InvalidVolume.NotFound") return undefined;
    throw error;
  }
}

export async function requireVolume(clients: Clients, volumeId: string): Promise<Volume> {
  const volume = await describeVolume(clients, volumeId);
  if (volume === undefined) throw new Failure(`EC2 knows no volume ${volumeId}`);
  return volume;
}

/** Everything of attached volumes that one in their place must have too. The root comes first. */
export async function readVolumes(clients: Clients, attachments: readonly Attachment[]): Promise<AttachedVolume[]> {
  return Promise.all(
    attachments.map(async ({ device, volumeId, deleteOnTermination }, index) => {
      const volume = await requireVolume(clients, volumeId);
      const { VolumeType: type, Size: size } = volume;
      if (type === undefined || size === undefined) {
        throw new Failure(`EC2's answer about volume ${volumeId} lacks its type or size`);
      }
      return { device, volumeId, root: index === 0, deleteOnTermination, type, size, ...figuresOf(volume) };
    }),
  );
}

function figuresOf(volume: Volume): Pick<AttachedVolume, "iops" | "throughput" | "encrypted" | "kmsKeyId" | "tags"> {
  const { VolumeType: type = "", Iops, Throughput, KmsKeyId, Tags: tags = [] } = volume;
  // EC2 gives figures for every type, but accepts them only where they can be chosen.
  return {
    ...(Iops !== undefined && ["gp3", "io1", "io2"].includes(type) ? { iops: Iops } : {}),
    ...(Throughput !== undefined && type === "gp3" ? { throughput: Throughput } : {}),
    encrypted: volume.Encrypted === true,
    ...(KmsKeyId === undefined ? {} : { kmsKeyId: KmsKeyId }),
    tags: Object.fromEntries(
      tags.flatMap(({ Key = "", Value = "" }) => (Key.startsWith("aws:") ? [] : [[Key, Value]])),
    ),
  };
}

/** What `CreateVolume` is told, so that the volume is as the protected one: kind, figures, size, encryption and key. */
export function likeVolume(volume: AttachedVolume) {
  return {
    VolumeType: volume.type as NonNullable<Volume["VolumeType"]>,
    Size: volume.size,
    ...(volume.iops === undefined ? {} : { Iops: volume.iops }),
    ...(volume.throughput === undefined ? {} : { Throughput: volume.throughput }),
    ...(volume.encrypted ? { Encrypted: true } : {}),
    ...(volume.kmsKeyId === undefined ? {} : { KmsKeyId: volume.kmsKeyId }),
  };
}

/**
 * Makes sure that a volume is as the one in whose place it goes. Kind and figures can be set; what cannot be, encryption
 * above all, must be right.
 */
export async function makeAlike(clients: Clients, volumeId: string, wanted: AttachedVolume): Promise<void> {
  const volume = await requireVolume(clients, volumeId);
  const is = figuresOf(volume);
  const key = wanted.kmsKeyId !== undefined && is.kmsKeyId !== wanted.kmsKeyId;
  if (is.encrypted !== wanted.encrypted || key) {
    throw new Failure(
      `volume ${volumeId} for ${wanted.device} is ${is.encrypted ? `encrypted with ${is.kmsKeyId ?? "a key"}` : "not encrypted"}, ` +
        `and ${wanted.volumeId} is ${wanted.encrypted ? `encrypted with ${wanted.kmsKeyId ?? "a key"}` : "not"}`,
    );
  }
  if ((volume.Size ?? 0) < wanted.size) {
    throw new Failure(`volume ${volumeId} for ${wanted.device} has ${volume.Size ?? 0} GiB, and not ${wanted.size}`);
  }
  if (volume.VolumeType === wanted.type && is.iops === wanted.iops && is.throughput === wanted.throughput) return;
  const { ModifyVolumeCommand } = await import("@aws-sdk/client-ec2");
  const { VolumeType, Iops, Throughput } = likeVolume(wanted) as Volume;
  await (
    await clients.ec2()
  ).send(
    new ModifyVolumeCommand({
      VolumeId: volumeId,
      VolumeType,
      ...(Iops === undefined ? {} : { Iops }),
      ...(Throughput === undefined ? {} : { Throughput }),
    }),
  );
}

/** The volumes that bear all of these tags. */
export async function taggedVolumes(clients: Clients, tags: Tags): Promise<Volume[]> {
  const { DescribeVolumesCommand } = await import("@aws-sdk/client-ec2");
  const client = await clients.ec2();
  const filters = Object.entries(tags).map(([name, value]) => ({ Name: `tag:${name}`, Values: [value] }));
  const volumes: Volume[] = [];
  let token: string | undefined;
  do {
    const page = await client.send(
      new DescribeVolumesCommand({ Filters: filters, ...(token === undefined ? {} : { NextToken: token }) }),
    );
    volumes.push(...(page.Volumes ?? []));
    token = page.NextToken;
  } while (token !== undefined && token !== "");
  return volumes;
}

export function tagOf(volume: Volume, name: string): string | undefined {
  return volume.Tags?.find(({ Key }) => Key === name)?.Value;
}

export async function tagResource(clients: Clients, resource: string, tags: Tags): Promise<void> {
  const { CreateTagsCommand } = await import("@aws-sdk/client-ec2");
  await (await clients.ec2()).send(new CreateTagsCommand({ Resources: [resource], Tags: tagList(tags) }));
}

export function tagList(tags: Tags): { Key: string; Value: string }[] {
  return Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
}

/** Marks a failed volume, so that nobody takes it for waste, and says until when it is kept. */
export async function keepAsEvidence(clients: Clients, volumeId: string, tags: Tags, until: Date): Promise<void> {
  await tagResource(clients, volumeId, {
    ...tags,
    "protected-pipeline:evidence": "failed-volume",
    "protected-pipeline:keep-until": until.toISOString(),
  });
}

/**
 * Removes a volume that nobody uses. One that is gone, or in use, is left alone.
 *
 * @returns whether it was removed by this call
 */
export async function deleteFreeVolume(clients: Clients, volumeId: string): Promise<boolean> {
  const volume = await describeVolume(clients, volumeId);
  if (volume?.State !== "available") return false;
  const { DeleteVolumeCommand } = await import("@aws-sdk/client-ec2");
  await (await clients.ec2()).send(new DeleteVolumeCommand({ VolumeId: volumeId }));
  return true;
}

/**
 * Makes a call that EC2 only checks: it answers `DryRunOperation` when it would be allowed.
 *
 * @param what - the call, for the error
 */
export async function rehearse(what: string, call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (codeOf(error) === "DryRunOperation") return;
    throw new Failure(`${what} would not be possible: ${(error as Error).message}`, undefined, { cause: error });
  }
  throw new Failure(`${what} was tried as a dry run, and EC2 did not say what would become of it`);
}
