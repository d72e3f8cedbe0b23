/** Which volume is attached where. In a running instance the device comes and goes; see `emulator/machines`. */
import type * as ec2 from "@aws-sdk/client-ec2";
import { AwsError, type Cloud, type Operation } from "../../../core/definitions";
import type { Fleet } from "../runtime/fleet";
import type { InstanceRecord, VolumeRecord } from "../store";
import { ec2Operation, onResource, required } from "../support";
import type { Storage } from "./volumes";

/** "Available device names", Amazon EBS User Guide; names with a number or a second letter are not emulated. */
const DATA_DEVICE = /^\/dev\/(sd|xvd)[b-z]$/;

/** Fails for what cannot be the name of a data volume's device. */
export function checkDataDevice(device: string): void {
  if (DATA_DEVICE.test(device)) return;
  const message = `Value (${device}) for parameter device is invalid. ${device} is not a valid EBS device name.`;
  throw new AwsError("InvalidParameterValue", message);
}

export function attachmentOperations(cloud: Cloud, storage: Storage, fleet: Fleet): Operation[] {
  const store = cloud.stores.ec2;
  const attachments = new Attachments(cloud, storage, fleet);
  const onVolume = (action: string, id: string) => onResource(cloud, action, "volume", id, store.volumes.find(id));
  const onInstance = (action: string, id: string) =>
    onResource(cloud, action, "instance", id, store.instances.find(id));
  return [
    ec2Operation<ec2.AttachVolumeCommandInput, ec2.AttachVolumeCommandOutput>({
      name: "AttachVolume",
      honours: ["VolumeId", "InstanceId", "Device"],
      authorize: ({ VolumeId = "", InstanceId = "" }) => [
        onInstance("AttachVolume", InstanceId),
        onVolume("AttachVolume", VolumeId),
      ],
      handle: (input) => attachments.attach(input),
    }),
    ec2Operation<ec2.DetachVolumeCommandInput, ec2.DetachVolumeCommandOutput>({
      name: "DetachVolume",
      honours: ["VolumeId", "InstanceId", "Device", "Force"],
      authorize: ({ VolumeId = "" }) => {
        const instanceId = store.volumes.find(VolumeId)?.Attachments?.[0]?.InstanceId;
        return [
          ...(instanceId === undefined ? [] : [onInstance("DetachVolume", instanceId)]),
          onVolume("DetachVolume", VolumeId),
        ];
      },
      handle: (input) => attachments.detach(input),
    }),
  ];
}

class Attachments {
  constructor(
    private readonly cloud: Cloud,
    private readonly storage: Storage,
    private readonly fleet: Fleet,
  ) {}

  attach(input: ec2.AttachVolumeCommandInput): ec2.VolumeAttachment {
    const { volumes, instances } = this.cloud.stores.ec2;
    const volume = volumes.get(required(input.VolumeId, "VolumeId"));
    const instance = instances.get(required(input.InstanceId, "InstanceId"));
    const device = required(input.Device, "Device");
    checkAttach(instance, volume, device);
    this.storage.attach(instance, volume, device, false, "attaching");
    const answer = { ...volume.Attachments?.[0] };
    if (device === instance.rootDeviceName) this.cloud.stores.ec2.noteRoot(instance.id, volume.VolumeId);
    const work = this.fleet.change(instance.id, async () => {
      await this.fleet.attachDevice(instance.id, device, volume.VolumeId);
      this.storage.setAttachmentState(instance, device, "attached");
    });
    this.cloud.background(`attach ${volume.VolumeId}`, work);
    return answer;
  }

  detach(input: ec2.DetachVolumeCommandInput): ec2.VolumeAttachment {
    const { volumes, instances } = this.cloud.stores.ec2;
    const volume = volumes.get(required(input.VolumeId, "VolumeId"));
    const [attachment] = volume.Attachments ?? [];
    if (attachment === undefined) {
      throw new AwsError("IncorrectState", `Volume '${volume.VolumeId}' is in the 'available' state.`);
    }
    const { InstanceId = "", Device = "" } = attachment;
    if ((input.InstanceId ?? InstanceId) !== InstanceId || (input.Device ?? Device) !== Device) {
      const message = `The volume '${volume.VolumeId}' is not attached to instance '${input.InstanceId ?? InstanceId}' as device ${input.Device ?? Device}`;
      throw new AwsError("InvalidAttachment.NotFound", message);
    }
    const instance = instances.get(InstanceId);
    if (Device === instance.rootDeviceName && instance.state !== "stopped") {
      const message = `Unable to detach root volume '${volume.VolumeId}' from instance '${instance.id}'`;
      throw new AwsError("OperationNotPermitted", message);
    }
    this.storage.setAttachmentState(instance, Device, "detaching");
    const answer = { ...volume.Attachments?.[0] };
    const work = this.finishDetaching(instance, volume, Device, input.Force === true);
    this.cloud.background(`detach ${volume.VolumeId}`, work);
    return answer;
  }

  /** A volume that is mounted stays busy until it is unmounted, or the instance stops. */
  private async finishDetaching(
    instance: InstanceRecord,
    volume: VolumeRecord,
    device: string,
    force: boolean,
  ): Promise<void> {
    if (!force && this.fleet.isMounted(instance.id, device)) {
      this.storage.setAttachmentState(instance, device, "busy");
      await this.fleet.untilUnmounted(instance.id, device);
    }
    await this.fleet.change(instance.id, async () => {
      // Something else may have taken it away meanwhile: another request, by force, or the end of the instance.
      if (instance.devices.get(device)?.volumeId !== volume.VolumeId) return;
      await this.fleet.detachDevice(instance.id, device);
      this.storage.detach(instance, device);
    });
  }
}

function checkAttach(instance: InstanceRecord, volume: VolumeRecord, device: string): void {
  if (volume.State === "in-use") {
    const owner = volume.Attachments?.[0]?.InstanceId ?? "";
    throw new AwsError("VolumeInUse", `${volume.VolumeId} is already attached to an instance (${owner})`);
  }
  if (volume.State !== "available") {
    throw new AwsError("IncorrectState", `${volume.VolumeId} is not 'available'.`);
  }
  if (volume.AvailabilityZone !== instance.zone) {
    const message = `The volume '${volume.VolumeId}' is not in the same availability zone as instance '${instance.id}'`;
    throw new AwsError("InvalidVolume.ZoneMismatch", message);
  }
  if (instance.state !== "running" && instance.state !== "stopped") {
    throw new AwsError("IncorrectState", `Instance '${instance.id}' is not 'running'.`);
  }
  if (instance.devices.has(device)) {
    const message = `Invalid value '${device}' for unixDevice. Attachment point ${device} is already in use`;
    throw new AwsError("InvalidParameterValue", message);
  }
  if (device !== instance.rootDeviceName) checkDataDevice(device);
}
