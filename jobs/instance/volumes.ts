/** EBS volumes: what EC2 says of them, and marking them. */
import type { Volume } from "@aws-sdk/client-ec2";
import { type Clients, codeOf } from "../clients";
import { Failure } from "../failure";
import type { Tags } from "../engines/engine";

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

/** The free volumes that bear all of these tags. */
export async function freeVolumes(clients: Clients, tags: Tags): Promise<string[]> {
  const { DescribeVolumesCommand } = await import("@aws-sdk/client-ec2");
  const filters = Object.entries(tags).map(([name, value]) => ({ Name: `tag:${name}`, Values: [value] }));
  const answer = await (
    await clients.ec2()
  ).send(new DescribeVolumesCommand({ Filters: [...filters, { Name: "status", Values: ["available"] }] }));
  return (answer.Volumes ?? []).flatMap(({ VolumeId }) => (VolumeId === undefined ? [] : [VolumeId]));
}

export async function tagResource(clients: Clients, resource: string, tags: Tags): Promise<void> {
  const { CreateTagsCommand } = await import("@aws-sdk/client-ec2");
  const list = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  await (await clients.ec2()).send(new CreateTagsCommand({ Resources: [resource], Tags: list }));
}

/** Removes a volume that nobody uses. One that is gone, or in use, is left alone. */
export async function deleteFreeVolume(clients: Clients, volumeId: string): Promise<void> {
  const volume = await describeVolume(clients, volumeId);
  if (volume?.State !== "available") return;
  const { DeleteVolumeCommand } = await import("@aws-sdk/client-ec2");
  await (await clients.ec2()).send(new DeleteVolumeCommand({ VolumeId: volumeId }));
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
