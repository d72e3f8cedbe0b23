/** Instances that are stopped, started and ended, and volumes that are attached to them and taken off. */
import { type Clients, codeOf } from "../clients";
import { Failure } from "../failure";
import { type Deadline, type Pause, until } from "../time";
import { describeInstance } from "./instances";
import { describeVolume, rehearse } from "./volumes";

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

/** Stops an instance, unless it is stopped, and waits until it is. */
export async function stopInstance(
  clients: Clients,
  instanceId: string,
  deadline: Deadline,
  pause: Pause,
): Promise<void> {
  await until(`instance ${instanceId} to stop`, deadline, pause, async () => {
    const { state } = await describeInstance(clients, instanceId);
    if (state === "stopped") return true;
    if (state === "running") await stopInstances(clients, [instanceId]);
    if (["shutting-down", "terminated"].includes(state)) throw new Failure(`instance ${instanceId} is ${state}`);
    return undefined;
  });
}

/** Starts an instance, unless it is running, and waits until it is. */
export async function startInstance(
  clients: Clients,
  instanceId: string,
  deadline: Deadline,
  pause: Pause,
): Promise<void> {
  const { StartInstancesCommand } = await import("@aws-sdk/client-ec2");
  const client = await clients.ec2();
  await until(`instance ${instanceId} to run`, deadline, pause, async () => {
    const { state } = await describeInstance(clients, instanceId);
    if (state === "running") return true;
    if (state === "stopped") await client.send(new StartInstancesCommand({ InstanceIds: [instanceId] }));
    if (["shutting-down", "terminated"].includes(state)) throw new Failure(`instance ${instanceId} is ${state}`);
    return undefined;
  });
}

export async function terminateInstances(clients: Clients, instanceIds: readonly string[]): Promise<void> {
  if (instanceIds.length === 0) return;
  const { TerminateInstancesCommand } = await import("@aws-sdk/client-ec2");
  await (await clients.ec2()).send(new TerminateInstancesCommand({ InstanceIds: [...instanceIds] }));
}

/** Gives all interfaces of an instance one security group in place of theirs. */
export async function isolateInstance(clients: Clients, instanceId: string, groupId: string): Promise<void> {
  const { ModifyInstanceAttributeCommand } = await import("@aws-sdk/client-ec2");
  const command = new ModifyInstanceAttributeCommand({ InstanceId: instanceId, Groups: [groupId] });
  await (await clients.ec2()).send(command);
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
  const volume = await describeVolume(clients, volumeId);
  const here = (volume?.Attachments ?? []).some(({ InstanceId }) => InstanceId === instanceId);
  if (volume?.State === "available") return;
  if (here) await client.send(new DetachVolumeCommand({ VolumeId: volumeId, InstanceId: instanceId }));
  await until(`volume ${volumeId} to be detached from ${instanceId}`, deadline, pause, async () =>
    (await describeVolume(clients, volumeId))?.State === "available" ? true : undefined,
  );
}

/** Attaches a free volume to a stopped instance and waits until it is attached. */
export async function attachVolume(
  clients: Clients,
  volumeId: string,
  to: { readonly instanceId: string; readonly device: string },
  deadline: Deadline,
  pause: Pause,
): Promise<void> {
  const { AttachVolumeCommand } = await import("@aws-sdk/client-ec2");
  const command = new AttachVolumeCommand({ VolumeId: volumeId, InstanceId: to.instanceId, Device: to.device });
  await (await clients.ec2()).send(command);
  await until(`volume ${volumeId} to be attached as ${to.device}`, deadline, pause, async () => {
    const attachments = (await describeVolume(clients, volumeId))?.Attachments ?? [];
    const attached = attachments.find(({ InstanceId }) => InstanceId === to.instanceId)?.State;
    return attached === "attached" ? true : undefined;
  });
}

/** How EC2 is to treat attached volumes when their instance is terminated, by device. */
export async function setDeleteOnTermination(
  clients: Clients,
  instanceId: string,
  flags: Readonly<Record<string, boolean>>,
  dryRun = false,
): Promise<void> {
  const { ModifyInstanceAttributeCommand } = await import("@aws-sdk/client-ec2");
  await (
    await clients.ec2()
  ).send(
    new ModifyInstanceAttributeCommand({
      InstanceId: instanceId,
      BlockDeviceMappings: Object.entries(flags).map(([DeviceName, DeleteOnTermination]) => ({
        DeviceName,
        Ebs: { DeleteOnTermination },
      })),
      ...(dryRun ? { DryRun: true } : {}),
    }),
  );
}

/** Asks EC2, without doing anything, whether an instance's volumes could be exchanged while it is stopped. */
export async function rehearseStates(
  clients: Clients,
  instanceId: string,
  pairs: readonly { readonly device: string; readonly old: string; readonly prepared: string | undefined }[],
): Promise<void> {
  const { AttachVolumeCommand, DetachVolumeCommand, StartInstancesCommand, StopInstancesCommand } =
    await import("@aws-sdk/client-ec2");
  const client = await clients.ec2();
  const DryRun = true;
  await rehearse(`stopping ${instanceId}`, () =>
    client.send(new StopInstancesCommand({ InstanceIds: [instanceId], DryRun })),
  );
  await rehearse(`starting ${instanceId}`, () =>
    client.send(new StartInstancesCommand({ InstanceIds: [instanceId], DryRun })),
  );
  for (const { device, old, prepared } of pairs) {
    await rehearse(`detaching ${old} from ${instanceId}`, () =>
      client.send(new DetachVolumeCommand({ VolumeId: old, InstanceId: instanceId, DryRun })),
    );
    if (prepared === undefined) continue;
    await rehearse(`attaching ${prepared} to ${instanceId}`, () =>
      client.send(new AttachVolumeCommand({ VolumeId: prepared, InstanceId: instanceId, Device: device, DryRun })),
    );
  }
}
