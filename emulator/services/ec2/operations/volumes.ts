/** Volumes and snapshots. */
import type * as ec2 from "@aws-sdk/client-ec2";
import { AwsError, type Cloud, type Operation } from "../../../core/definitions";
import type { Disks } from "../runtime/disks";
import type { Ec2Store, InstanceRecord, SnapshotRecord, VolumeRecord } from "../store";
import {
  applyFilters,
  ec2Operation,
  newId,
  onNewResource,
  onePage,
  onResource,
  required,
  tagsFor,
  withoutResource,
  type FilterTable,
} from "../support";
import { zones } from "./network";

const volumeFilters: FilterTable<VolumeRecord> = {
  "volume-id": ({ VolumeId }) => VolumeId,
  status: ({ State }) => State,
  "snapshot-id": ({ SnapshotId }) => SnapshotId,
  "availability-zone": ({ AvailabilityZone }) => AvailabilityZone,
  "volume-type": ({ VolumeType }) => VolumeType,
  encrypted: ({ Encrypted }) => String(Encrypted),
  "attachment.instance-id": ({ Attachments }) => Attachments?.map(({ InstanceId }) => InstanceId),
  "attachment.device": ({ Attachments }) => Attachments?.map(({ Device }) => Device),
};

const snapshotFilters: FilterTable<SnapshotRecord> = {
  "snapshot-id": ({ SnapshotId }) => SnapshotId,
  "volume-id": ({ VolumeId }) => VolumeId,
  status: ({ State }) => State,
  "owner-id": ({ OwnerId }) => OwnerId,
  description: ({ Description }) => Description,
};

/** How long a snapshot stays pending: its data is safe at once, and so it would not be on AWS. */
const SNAPSHOT_MS = 250;
const VOLUME_MS = 50;

export interface VolumeOptions {
  readonly zone: string;
  readonly size: number;
  readonly snapshotId: string | undefined;
  readonly type?: ec2.VolumeType | undefined;
  readonly iops?: number | undefined;
  readonly throughput?: number | undefined;
  readonly encrypted: boolean;
  readonly kmsKeyId?: string | undefined;
  readonly tags: ec2.Tag[];
}

/** Makes volumes and snapshots, for the API and for those who make them on its behalf. */
export class Storage {
  private readonly store: Ec2Store;

  constructor(
    private readonly cloud: Cloud,
    private readonly disks: Disks,
  ) {
    this.store = cloud.stores.ec2;
  }

  /** A volume in state `creating`; `ready` settles when it is available. */
  createVolume(options: VolumeOptions, delayMs = 0): { readonly volume: VolumeRecord; readonly ready: Promise<void> } {
    const id = newId("vol");
    const type = options.type ?? "gp2";
    const gp3 = type === "gp3";
    const volume = this.store.volumes.add(id, {
      VolumeId: id,
      Size: options.size,
      SnapshotId: options.snapshotId ?? "",
      AvailabilityZone: options.zone,
      State: "creating",
      CreateTime: this.cloud.clock.now(),
      VolumeType: type,
      Iops: options.iops ?? (gp3 ? 3000 : Math.max(100, options.size * 3)),
      Throughput: gp3 ? (options.throughput ?? 125) : undefined,
      Encrypted: options.encrypted,
      KmsKeyId: options.encrypted ? (options.kmsKeyId ?? this.defaultKey()) : undefined,
      MultiAttachEnabled: false,
      Attachments: [],
      Tags: options.tags,
    });
    return { volume, ready: this.fillVolume(volume, options.snapshotId, delayMs) };
  }

  private async fillVolume(volume: VolumeRecord, snapshotId: string | undefined, delayMs: number): Promise<void> {
    try {
      if (snapshotId === undefined) await this.disks.create(volume.VolumeId);
      else await this.disks.copy(snapshotId, volume.VolumeId);
      if (delayMs > 0) await this.cloud.clock.sleep(delayMs);
      volume.State = "available";
    } catch (error) {
      volume.State = "error";
      throw error;
    }
  }

  /** A volume of the API's: it stays `creating` for a moment. */
  requestVolume(options: VolumeOptions): VolumeRecord {
    const { volume, ready } = this.createVolume(options, VOLUME_MS);
    this.cloud.background(`create ${volume.VolumeId}`, ready);
    return volume;
  }

  /** Copies the volume's contents before it returns; the snapshot completes later. */
  async createSnapshot(volume: VolumeRecord, description: string, tags: ec2.Tag[]): Promise<SnapshotRecord> {
    const id = newId("snap");
    const StartTime = this.cloud.clock.now();
    await this.disks.copy(volume.VolumeId, id);
    const snapshot = this.store.snapshots.add(id, {
      SnapshotId: id,
      VolumeId: volume.VolumeId,
      VolumeSize: volume.Size,
      StartTime,
      State: "pending",
      Progress: "0%",
      Description: description,
      Encrypted: volume.Encrypted,
      KmsKeyId: volume.KmsKeyId,
      OwnerId: this.cloud.account,
      StorageTier: "standard",
      Tags: tags,
    });
    this.cloud.background(`complete ${id}`, this.complete(snapshot));
    return snapshot;
  }

  private async complete(snapshot: SnapshotRecord): Promise<void> {
    await this.cloud.clock.sleep(SNAPSHOT_MS);
    snapshot.State = "completed";
    snapshot.Progress = "100%";
    snapshot.CompletionTime = this.cloud.clock.now();
  }

  async deleteVolume(id: string): Promise<void> {
    this.store.volumes.delete(id);
    await this.disks.remove(id);
  }

  async deleteSnapshot(id: string): Promise<void> {
    this.store.snapshots.delete(id);
    await this.disks.remove(id);
  }

  attach(instance: InstanceRecord, volume: VolumeRecord, device: string, deleteOnTermination: boolean): void {
    const attachTime = this.cloud.clock.now();
    instance.devices.set(device, { volumeId: volume.VolumeId, attachTime, deleteOnTermination });
    volume.State = "in-use";
    volume.Attachments = [
      {
        VolumeId: volume.VolumeId,
        InstanceId: instance.id,
        Device: device,
        State: "attached",
        AttachTime: attachTime,
        DeleteOnTermination: deleteOnTermination,
      },
    ];
  }

  detach(instance: InstanceRecord, device: string): VolumeRecord | undefined {
    const attachment = instance.devices.get(device);
    instance.devices.delete(device);
    const volume = this.store.volumes.find(attachment?.volumeId);
    if (volume === undefined) return undefined;
    volume.State = "available";
    volume.Attachments = [];
    return volume;
  }

  private defaultKey(): string {
    return `arn:${this.cloud.partition}:kms:${this.cloud.region}:${this.cloud.account}:key/0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9`;
  }
}

export function volumeOperations(cloud: Cloud, storage: Storage): Operation[] {
  const store = cloud.stores.ec2;
  const onVolume = (action: string, id: string) => onResource(cloud, action, "volume", id, store.volumes.find(id));
  const onInstance = (action: string, id: string) =>
    onResource(cloud, action, "instance", id, store.instances.find(id));
  const onSnapshot = (action: string, id: string) =>
    onResource(cloud, action, "snapshot", id, store.snapshots.find(id));
  return [
    ec2Operation<ec2.CreateVolumeCommandInput, ec2.CreateVolumeCommandOutput>({
      name: "CreateVolume",
      honours: [
        "AvailabilityZone",
        "Size",
        "SnapshotId",
        "VolumeType",
        "Iops",
        "Throughput",
        "Encrypted",
        "KmsKeyId",
        "TagSpecifications",
        "ClientToken",
      ],
      authorize: ({ SnapshotId, TagSpecifications }) => [
        ...onNewResource(cloud, "CreateVolume", "volume", TagSpecifications),
        ...(SnapshotId === undefined ? [] : [onSnapshot("CreateVolume", SnapshotId)]),
      ],
      handle: (input) =>
        store.tokens.once(input.ClientToken, input, () => storage.requestVolume(volumeOptions(cloud, store, input))),
    }),
    ec2Operation<ec2.DescribeVolumesCommandInput, ec2.DescribeVolumesCommandOutput>({
      name: "DescribeVolumes",
      honours: ["VolumeIds", "Filters", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeVolumes"),
      handle: (input) => {
        const found = applyFilters(store.volumes.select(input.VolumeIds), input.Filters, volumeFilters);
        const { items, NextToken } = onePage(found, input);
        return { Volumes: items, NextToken };
      },
    }),
    ec2Operation<ec2.DeleteVolumeCommandInput, ec2.DeleteVolumeCommandOutput>({
      name: "DeleteVolume",
      honours: ["VolumeId"],
      authorize: ({ VolumeId = "" }) => [onVolume("DeleteVolume", VolumeId)],
      handle: async ({ VolumeId }) => {
        const volume = store.volumes.get(required(VolumeId, "VolumeId"));
        const [attachment] = volume.Attachments ?? [];
        if (attachment !== undefined) {
          const message = `Volume ${volume.VolumeId} is currently attached to ${attachment.InstanceId ?? ""}`;
          throw new AwsError("VolumeInUse", message);
        }
        await storage.deleteVolume(volume.VolumeId);
        return {};
      },
    }),
    ec2Operation<ec2.AttachVolumeCommandInput, ec2.AttachVolumeCommandOutput>({
      name: "AttachVolume",
      honours: ["VolumeId", "InstanceId", "Device"],
      authorize: ({ VolumeId = "", InstanceId = "" }) => [
        onInstance("AttachVolume", InstanceId),
        onVolume("AttachVolume", VolumeId),
      ],
      handle: (input) => attachVolume(store, storage, input),
    }),
    ec2Operation<ec2.DetachVolumeCommandInput, ec2.DetachVolumeCommandOutput>({
      name: "DetachVolume",
      honours: ["VolumeId", "InstanceId", "Device"],
      authorize: ({ VolumeId = "", InstanceId }) => [
        ...(InstanceId === undefined ? [] : [onInstance("DetachVolume", InstanceId)]),
        onVolume("DetachVolume", VolumeId),
      ],
      handle: (input) => detachVolume(store, storage, input),
    }),
    ec2Operation<ec2.CreateSnapshotCommandInput, ec2.CreateSnapshotCommandOutput>({
      name: "CreateSnapshot",
      honours: ["VolumeId", "Description", "TagSpecifications"],
      authorize: ({ VolumeId = "", TagSpecifications }) => [
        onVolume("CreateSnapshot", VolumeId),
        ...onNewResource(cloud, "CreateSnapshot", "snapshot", TagSpecifications),
      ],
      handle: async ({ VolumeId, Description, TagSpecifications }) => {
        const volume = store.volumes.get(required(VolumeId, "VolumeId"));
        return storage.createSnapshot(volume, Description ?? "", tagsFor("snapshot", TagSpecifications) ?? []);
      },
    }),
    ec2Operation<ec2.CreateSnapshotsCommandInput, ec2.CreateSnapshotsCommandOutput>({
      name: "CreateSnapshots",
      honours: [
        "InstanceSpecification.InstanceId",
        "InstanceSpecification.ExcludeBootVolume",
        "InstanceSpecification.ExcludeDataVolumeIds",
        "Description",
        "TagSpecifications",
        "CopyTagsFromSource",
      ],
      authorize: ({ InstanceSpecification, TagSpecifications }) => {
        const id = InstanceSpecification?.InstanceId ?? "";
        const devices = [...(store.instances.find(id)?.devices.values() ?? [])];
        return [
          onInstance("CreateSnapshots", id),
          ...devices.map(({ volumeId }) => onVolume("CreateSnapshots", volumeId)),
          ...onNewResource(cloud, "CreateSnapshots", "snapshot", TagSpecifications),
        ];
      },
      handle: (input) => createSnapshots(store, storage, input),
    }),
    ec2Operation<ec2.DescribeSnapshotsCommandInput, ec2.DescribeSnapshotsCommandOutput>({
      name: "DescribeSnapshots",
      honours: ["SnapshotIds", "OwnerIds", "Filters", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeSnapshots"),
      handle: (input) => {
        const owned =
          input.OwnerIds === undefined || ["self", cloud.account].some((id) => input.OwnerIds?.includes(id));
        const selected = owned ? store.snapshots.select(input.SnapshotIds) : [];
        const { items, NextToken } = onePage(applyFilters(selected, input.Filters, snapshotFilters), input);
        return { Snapshots: items, NextToken };
      },
    }),
    ec2Operation<ec2.DeleteSnapshotCommandInput, ec2.DeleteSnapshotCommandOutput>({
      name: "DeleteSnapshot",
      honours: ["SnapshotId"],
      authorize: ({ SnapshotId = "" }) => [onSnapshot("DeleteSnapshot", SnapshotId)],
      handle: async ({ SnapshotId }) => {
        await storage.deleteSnapshot(store.snapshots.get(required(SnapshotId, "SnapshotId")).SnapshotId);
        return {};
      },
    }),
  ];
}

function volumeOptions(cloud: Cloud, store: Ec2Store, input: ec2.CreateVolumeCommandInput): VolumeOptions {
  const zone = required(input.AvailabilityZone, "AvailabilityZone");
  if (!zones(cloud).includes(zone)) {
    throw new AwsError("InvalidZone.NotFound", `The zone '${zone}' does not exist.`);
  }
  const snapshot = input.SnapshotId === undefined ? undefined : store.snapshots.get(input.SnapshotId);
  if (snapshot !== undefined && snapshot.State !== "completed") {
    throw new AwsError("IncorrectState", `Snapshot is in invalid state - ${snapshot.State}`);
  }
  const size = input.Size ?? snapshot?.VolumeSize;
  if (size === undefined)
    throw new AwsError("MissingParameter", "The request must contain the parameter size or snapshotId");
  if (snapshot !== undefined && size < snapshot.VolumeSize) {
    throw new AwsError(
      "InvalidParameterValue",
      `The volume size ${size} is smaller than the snapshot's ${snapshot.VolumeSize}`,
    );
  }
  return {
    zone,
    size,
    snapshotId: snapshot?.SnapshotId,
    type: input.VolumeType,
    iops: input.Iops,
    throughput: input.Throughput,
    encrypted: input.Encrypted === true || snapshot?.Encrypted === true,
    kmsKeyId: input.KmsKeyId ?? snapshot?.KmsKeyId,
    tags: tagsFor("volume", input.TagSpecifications) ?? [],
  };
}

function attachVolume(store: Ec2Store, storage: Storage, input: ec2.AttachVolumeCommandInput): ec2.VolumeAttachment {
  const volume = store.volumes.get(required(input.VolumeId, "VolumeId"));
  const instance = store.instances.get(required(input.InstanceId, "InstanceId"));
  const device = required(input.Device, "Device");
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
  storage.attach(instance, volume, device, false);
  return { ...volume.Attachments?.[0], State: "attaching" };
}

function detachVolume(store: Ec2Store, storage: Storage, input: ec2.DetachVolumeCommandInput): ec2.VolumeAttachment {
  const volume = store.volumes.get(required(input.VolumeId, "VolumeId"));
  const [attachment] = volume.Attachments ?? [];
  if (attachment === undefined || (input.InstanceId ?? attachment.InstanceId) !== attachment.InstanceId) {
    throw new AwsError("IncorrectState", `Volume '${volume.VolumeId}' is in the 'available' state.`);
  }
  const instance = store.instances.get(attachment.InstanceId ?? "");
  const device = attachment.Device ?? "";
  if (device === instance.rootDeviceName && instance.state !== "stopped") {
    const message = `Unable to detach root volume '${volume.VolumeId}' from instance '${instance.id}'`;
    throw new AwsError("OperationNotPermitted", message);
  }
  storage.detach(instance, device);
  return { ...attachment, State: "detaching" };
}

async function createSnapshots(
  store: Ec2Store,
  storage: Storage,
  input: ec2.CreateSnapshotsCommandInput,
): Promise<{ Snapshots: ec2.SnapshotInfo[] }> {
  const specification = required(input.InstanceSpecification, "InstanceSpecification");
  const instance = store.instances.get(required(specification.InstanceId, "InstanceSpecification.InstanceId"));
  if (instance.state !== "running" && instance.state !== "stopped") {
    throw new AwsError(
      "IncorrectInstanceState",
      `The instance '${instance.id}' is not in a state from which snapshots can be taken.`,
    );
  }
  const excluded = new Set(specification.ExcludeDataVolumeIds ?? []);
  const devices = [...instance.devices].filter(([device, { volumeId }]) =>
    device === instance.rootDeviceName ? specification.ExcludeBootVolume !== true : !excluded.has(volumeId),
  );
  const tags = tagsFor("snapshot", input.TagSpecifications) ?? [];
  const taken = await Promise.all(
    devices.map(async ([, { volumeId }]) => {
      const volume = store.volumes.get(volumeId);
      const copied = input.CopyTagsFromSource === "volume" ? (volume.Tags ?? []) : [];
      return storage.createSnapshot(volume, input.Description ?? "", [...copied, ...tags]);
    }),
  );
  return { Snapshots: taken.map(describeTaken) };
}

function describeTaken({ State, ...snapshot }: SnapshotRecord): ec2.SnapshotInfo {
  const { SnapshotId, VolumeId, VolumeSize, StartTime, Progress, Description, Encrypted, OwnerId, Tags } = snapshot;
  return { SnapshotId, VolumeId, VolumeSize, StartTime, Progress, Description, Encrypted, OwnerId, Tags, State };
}
