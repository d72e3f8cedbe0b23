/** Volumes and snapshots that a run has left in EC2. */
import {
  DeleteSnapshotCommand,
  DeleteVolumeCommand,
  DescribeSnapshotsCommand,
  DescribeVolumesCommand,
  type EC2Client,
  type Tag,
  type Volume,
} from "@aws-sdk/client-ec2";
import type { RunId } from "../../run/ids";
import { Refusal } from "../refusal";
import type { KeptVolume } from "./evidence";

const runTag = "protected-pipeline:run";

/** Undefined when EC2 knows no such volume. */
export async function lookAtVolume(ec2: EC2Client, volumeId: string): Promise<Volume | undefined> {
  try {
    return (await ec2.send(new DescribeVolumesCommand({ VolumeIds: [volumeId] }))).Volumes?.[0];
  } catch (error) {
    if ((error as Error).name === "InvalidVolume.NotFound") return undefined;
    throw error;
  }
}

/**
 * @returns false when it was gone already
 * @throws Refusal when it is in use, or not marked as this run's
 */
export async function deleteVolume(ec2: EC2Client, { volumeId, run }: KeptVolume): Promise<boolean> {
  const volume = await lookAtVolume(ec2, volumeId);
  if (volume === undefined) return false;
  if (!isMarked(volume.Tags, run))
    throw new Refusal(`${volumeId} has no tag that says it is run ${run}'s: it is left alone`);
  if (volume.State !== "available") throw new Refusal(`${volumeId} is ${volume.State ?? "?"}: it is left alone`);
  await ec2.send(new DeleteVolumeCommand({ VolumeId: volumeId }));
  return true;
}

/** Deletes the snapshots that the run has made. @returns their ids */
export async function deleteSnapshots(ec2: EC2Client, run: RunId): Promise<string[]> {
  const filters = [{ Name: `tag:${runTag}`, Values: [run] }];
  const { Snapshots = [] } = await ec2.send(new DescribeSnapshotsCommand({ OwnerIds: ["self"], Filters: filters }));
  const ids = Snapshots.flatMap(({ SnapshotId }) => SnapshotId ?? []);
  for (const SnapshotId of ids) await ec2.send(new DeleteSnapshotCommand({ SnapshotId }));
  return ids;
}

function isMarked(tags: readonly Tag[] = [], run: RunId): boolean {
  return tags.some(({ Key, Value }) => Key === runTag && Value === run);
}
