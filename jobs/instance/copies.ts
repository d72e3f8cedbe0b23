/** Stopping, emptying and removing the copies of an instance that a restore boots. */
import { type Clients, codeOf } from "../clients";
import { type Deadline, type Pause, until } from "../time";
import { describeVolume } from "./volumes";

/** @returns false when they cannot be stopped yet: an instance that is still starting refuses it */
export async function stopInstances(clients: Clients, instanceIds: readonly string[]): Promise<boolean> {
  const { StopInstancesCommand } = await import("@aws-sdk/client-ec2");
  try {
    await (await clients.ec2()).send(new StopInstancesCommand({ InstanceIds: [...instanceIds] }));
    return true;
  } catch (error) {
    if (codeOf(error) === "IncorrectInstanceState") return false;
    throw error;
  }
}

export async function terminateInstances(clients: Clients, instanceIds: readonly string[]): Promise<void> {
  if (instanceIds.length === 0) return;
  const { TerminateInstancesCommand } = await import("@aws-sdk/client-ec2");
  await (await clients.ec2()).send(new TerminateInstancesCommand({ InstanceIds: [...instanceIds] }));
}

/** Detaches a volume from a stopped instance and waits until it is free. */
export async function detachVolume(
  clients: Clients,
  volumeId: string,
  instanceId: string,
  deadline: Deadline,
  pause: Pause,
): Promise<void> {
  const { DetachVolumeCommand } = await import("@aws-sdk/client-ec2");
  const client = await clients.ec2();
  if ((await describeVolume(clients, volumeId))?.State === "available") return;
  await client.send(new DetachVolumeCommand({ VolumeId: volumeId, InstanceId: instanceId }));
  await until(`volume ${volumeId} to be detached from ${instanceId}`, deadline, pause, async () =>
    (await describeVolume(clients, volumeId))?.State === "available" ? true : undefined,
  );
}
