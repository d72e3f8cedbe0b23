/** Volumes and snapshots. */
import type * as ec2 from "@aws-sdk/client-ec2";
import { AwsError, type Cloud, type Operation } from "../../../core/definitions";
import type { Disks } from "../runtime/disks";
import type { Fleet } from "../runtime/fleet";
import type { Attachment, Ec2Store, InstanceRecord, SnapshotRecord, VolumeRecord } from "../store";
import {
  applyFilters,
  ec2Operation,
  newId,
  onNewResource,
  onePage,
  onResource,
  required,
  tagsFor,
  userTags,
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
  "attachment.status": ({ Attachments }) => Attachments?.map(({ State }) => State),
  "attachment.delete-on-termination": ({ Attachments }) =>
    Attachments?.map(({ DeleteOnTermination }) => String(DeleteOnTermination)),
  size: ({ Size }) => String(Size),
  "create-time": ({ CreateTime }) => CreateTime?.toISOString(),
  "attachment.device": ({ Attachments }) => Attachments?.map(({ Device }) => Device),
};

const snapshotFilters: FilterTable<SnapshotRecord> = {
  "snapshot-id": ({ SnapshotId }) => SnapshotId,
  "volume-id": ({ VolumeId }) => VolumeId,
  status: ({ State }) => State,
  "owner-id": ({ OwnerId }) => OwnerId,
  "volume-size": ({ VolumeSize }) => String(VolumeSize),
  encrypted: ({ Encrypted }) => String(Encrypted),
  progress: ({ Progress }) => Progress,
  "start-time": ({ StartTime }) => StartTime?.toISOString(),
  description: ({ Description }) => Description,
};

/** How long a snapshot stays pending: its data is safe at once, and so it would not be on AWS. */
const SNAPSHOT_MS = 250;
const VOLUME_MS = 50;
/** How long a modification takes until the volume shows it; minutes on AWS. */
const MODIFICATION_MS = 1_000;

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

interface SnapshotRequest {
  readonly volume: VolumeRecord;
  readonly description: string;
  readonly tags: ec2.Tag[];
}

/** Makes volumes and snapshots, for the API and for those who make them on its behalf. */
export class Storage {
  private readonly store: Ec2Store;
  private readonly modifying = new Set<string>();

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
    const volume = this.store.volumes.add(id, {
      VolumeId: id,
      Size: options.size,
      SnapshotId: options.snapshotId ?? "",
      AvailabilityZone: options.zone,
      State: "creating",
      CreateTime: this.cloud.clock.now(),
      VolumeType: type,
      ...performanceOf(type, options.size, options),
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
      else await this.disks.createFrom(snapshotId, volume.VolumeId);
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

  /**
   * Copies the contents of all volumes before it returns; the snapshots complete later. When one fails, all of them do,
   * as those of one `CreateSnapshots` do.
   */
  async createSnapshots(requests: readonly SnapshotRequest[]): Promise<SnapshotRecord[]> {
    const snapshots = await Promise.all(requests.map((request) => this.startSnapshot(request)));
    const completed = snapshots.map((snapshot) => this.complete(snapshot));
    const work = Promise.all(completed).catch((error: unknown) => {
      for (const snapshot of snapshots) {
        snapshot.State = "error";
        snapshot.StateMessage = error instanceof Error ? error.message : String(error);
      }
      throw error;
    });
    this.cloud.background(`complete ${snapshots.map(({ SnapshotId }) => SnapshotId).join(", ")}`, work);
    return snapshots;
  }

  private async startSnapshot({ volume, description, tags }: SnapshotRequest): Promise<SnapshotRecord> {
    const id = newId("snap");
    const StartTime = this.cloud.clock.now();
    await this.disks.copy(volume.VolumeId, id);
    return this.store.snapshots.add(id, {
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
  }

  private async complete(snapshot: SnapshotRecord): Promise<void> {
    const { SnapshotId, VolumeId } = snapshot;
    const fault = this.cloud.faults.at("ec2.snapshot", { snapshot: SnapshotId, volume: VolumeId });
    if (fault?.kind === "hang") await fault.released;
    await this.cloud.clock.sleep(SNAPSHOT_MS);
    if (fault?.kind === "fail") throw new Error(fault.message);
    if (fault?.kind === "lie") await this.disks.empty(SnapshotId);
    // Another one of its set may have failed.
    if (snapshot.State !== "pending") return;
    snapshot.State = "completed";
    snapshot.Progress = "100%";
    snapshot.CompletionTime = this.cloud.clock.now();
  }

  /** Changes take a moment, and one volume one change at a time. */
  modify(volume: VolumeRecord, changes: Partial<VolumeRecord>): void {
    if (this.modifying.has(volume.VolumeId)) {
      const message = `Volume ${volume.VolumeId} cannot be modified: a modification is in progress.`;
      throw new AwsError("IncorrectModificationState", message);
    }
    this.modifying.add(volume.VolumeId);
    const work = this.cloud.clock.sleep(MODIFICATION_MS).finally(() => {
      this.modifying.delete(volume.VolumeId);
      Object.assign(volume, changes);
    });
    this.cloud.background(`modify ${volume.VolumeId}`, work);
  }

  async deleteVolume(id: string): Promise<void> {
    this.store.volumes.delete(id);
    await this.disks.remove(id);
  }

  async deleteSnapshot(id: string): Promise<void> {
    this.store.snapshots.delete(id);
    await this.disks.remove(id);
  }

  attach(
    instance: InstanceRecord,
    volume: VolumeRecord,
    device: string,
    deleteOnTermination: boolean,
    state: Attachment["state"] = "attached",
  ): void {
    const attachTime = this.cloud.clock.now();
    instance.devices.set(device, { volumeId: volume.VolumeId, attachTime, deleteOnTermination, state });
    volume.State = "in-use";
    volume.Attachments = [
      {
        VolumeId: volume.VolumeId,
        InstanceId: instance.id,
        Device: device,
        State: state,
        AttachTime: attachTime,
        DeleteOnTermination: deleteOnTermination,
      },
    ];
  }

  setAttachmentState(instance: InstanceRecord, device: string, state: Attachment["state"]): void {
    const attachment = instance.devices.get(device);
    if (attachment === undefined) return;
    attachment.state = state;
    const [described] = this.store.volumes.find(attachment.volumeId)?.Attachments ?? [];
    if (described !== undefined) described.State = state;
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

export function volumeOperations(cloud: Cloud, storage: Storage, fleet: Fleet): Operation[] {
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
        store.tokens.once("CreateVolume", input, () => storage.requestVolume(volumeOptions(cloud, input))),
    }),
    ec2Operation<ec2.DescribeVolumesCommandInput, ec2.DescribeVolumesCommandOutput>({
      name: "DescribeVolumes",
      honours: ["VolumeIds", "Filters", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeVolumes"),
      handle: (input) => {
        const found = applyFilters(store.volumes.select(input.VolumeIds), input.Filters, volumeFilters);
        const { items, NextToken } = onePage(found, input, { ids: "volumesSet", given: input.VolumeIds });
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
    ec2Operation<ec2.ModifyVolumeCommandInput, ec2.ModifyVolumeCommandOutput>({
      name: "ModifyVolume",
      honours: ["VolumeId", "Size", "VolumeType", "Iops", "Throughput"],
      authorize: ({ VolumeId = "" }) => [onVolume("ModifyVolume", VolumeId)],
      handle: (input) => ({ VolumeModification: modifyVolume(cloud, storage, input) }),
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
      handle: (input) => createSnapshots(store, storage, fleet, input),
    }),
    ec2Operation<ec2.DescribeSnapshotsCommandInput, ec2.DescribeSnapshotsCommandOutput>({
      name: "DescribeSnapshots",
      honours: ["SnapshotIds", "OwnerIds", "Filters", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeSnapshots"),
      handle: (input) => {
        const owned =
          input.OwnerIds === undefined || ["self", cloud.account].some((id) => input.OwnerIds?.includes(id));
        const selected = owned ? store.snapshots.select(input.SnapshotIds) : [];
        const found = applyFilters(selected, input.Filters, snapshotFilters);
        const { items, NextToken } = onePage(found, input, { ids: "snapshotSet", given: input.SnapshotIds });
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

/** What a request for a volume means, checked: for `CreateVolume`, and for the block devices of a launch. */
export function volumeOptions(cloud: Cloud, input: ec2.CreateVolumeCommandInput): VolumeOptions {
  const store = cloud.stores.ec2;
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
    const message = `The size of a volume must be equal to or larger than the size of its snapshot (${snapshot.VolumeSize} GiB)`;
    throw new AwsError("InvalidParameterValue", message);
  }
  const type = input.VolumeType ?? "gp2";
  checkPerformance(type, size, input);
  checkEncryption(input, snapshot);
  return {
    zone,
    size,
    snapshotId: snapshot?.SnapshotId,
    type,
    iops: input.Iops,
    throughput: input.Throughput,
    encrypted: input.Encrypted === true || snapshot?.Encrypted === true,
    kmsKeyId: keyArn(cloud, input.KmsKeyId) ?? snapshot?.KmsKeyId,
    tags: tagsFor("volume", input.TagSpecifications) ?? [],
  };
}

interface VolumeLimits {
  /** In GiB. */
  readonly size: readonly [number, number];
  readonly iops?: readonly [number, number];
  /** In MiB/s. */
  readonly throughput?: readonly [number, number];
}

/** "Amazon EBS volume types", Amazon EBS User Guide; `CreateVolume`, Amazon EC2 API Reference. */
const VOLUME_LIMITS: Readonly<Record<ec2.VolumeType, VolumeLimits>> = {
  gp2: { size: [1, 16_384] },
  gp3: { size: [1, 65_536], iops: [3_000, 80_000], throughput: [125, 2_000] },
  io1: { size: [4, 16_384], iops: [100, 64_000] },
  io2: { size: [4, 65_536], iops: [100, 256_000] },
  sc1: { size: [125, 16_384] },
  st1: { size: [125, 16_384] },
  standard: { size: [1, 1_024] },
};

function checkPerformance(type: ec2.VolumeType, size: number, input: ec2.CreateVolumeCommandInput): void {
  const limits = VOLUME_LIMITS[type];
  if (limits === undefined)
    throw new AwsError("UnknownVolumeType", `Unsupported volume type '${type}' for volume creation.`);
  if (input.Iops === undefined && (type === "io1" || type === "io2")) {
    throw new AwsError("MissingParameter", `The parameter iops must be specified for ${type} volumes.`);
  }
  const wanted = [
    ["size", size, limits.size],
    ["iops", input.Iops, limits.iops],
    ["throughput", input.Throughput, limits.throughput],
  ] as const;
  for (const [name, value, range] of wanted) {
    if (value === undefined) continue;
    if (range === undefined) {
      throw new AwsError("InvalidParameterCombination", `The parameter ${name} is not supported for ${type} volumes.`);
    }
    const [least, most] = range;
    if (value >= least && value <= most) continue;
    const message = `Volume ${name} of ${value} is not valid for ${type} volumes: it must be between ${least} and ${most}.`;
    throw new AwsError("InvalidParameterValue", message);
  }
}

function checkEncryption({ Encrypted, KmsKeyId }: ec2.CreateVolumeCommandInput, snapshot?: SnapshotRecord): void {
  if (Encrypted === false && snapshot?.Encrypted === true) {
    const message = "The encrypted flag cannot be set to false when creating a volume from an encrypted snapshot.";
    throw new AwsError("InvalidParameter", message);
  }
  if (KmsKeyId !== undefined && Encrypted !== true) {
    const message = `The parameter KmsKeyId requires the parameter Encrypted to be set.`;
    throw new AwsError("InvalidParameterDependency", message);
  }
}

/** Volumes show the ARN of their key, however it was named. */
function keyArn(cloud: Cloud, key: string | undefined): string | undefined {
  if (key === undefined || key.startsWith("arn:")) return key;
  const name = key.startsWith("alias/") ? key : `key/${key}`;
  return `arn:${cloud.partition}:kms:${cloud.region}:${cloud.account}:${name}`;
}

function modifyVolume(cloud: Cloud, storage: Storage, input: ec2.ModifyVolumeCommandInput): ec2.VolumeModification {
  const volume = cloud.stores.ec2.volumes.get(required(input.VolumeId, "VolumeId"));
  if (volume.State !== "available" && volume.State !== "in-use") {
    throw new AwsError("IncorrectState", `Volume '${volume.VolumeId}' is in the '${volume.State ?? ""}' state.`);
  }
  const { Size = volume.Size, VolumeType = volume.VolumeType ?? "gp2", Iops, Throughput } = input;
  if (Size < volume.Size) {
    const message = `New size cannot be smaller than existing size ${volume.Size} GiB`;
    throw new AwsError("InvalidParameterValue", message);
  }
  checkPerformance(VolumeType, Size, input);
  const same = VolumeType === volume.VolumeType;
  const kept = same ? { iops: volume.Iops, throughput: volume.Throughput } : {};
  const target = performanceOf(VolumeType, Size, {
    iops: Iops ?? (VolumeType === "gp2" ? undefined : kept.iops),
    throughput: Throughput ?? kept.throughput,
  });
  const { Size: OriginalSize, VolumeType: OriginalVolumeType, Iops: OriginalIops } = volume;
  const OriginalThroughput = volume.Throughput;
  storage.modify(volume, { Size, VolumeType, ...target });
  return {
    VolumeId: volume.VolumeId,
    ModificationState: "modifying",
    Progress: 0,
    StartTime: cloud.clock.now(),
    OriginalSize,
    OriginalVolumeType,
    OriginalIops,
    OriginalThroughput,
    OriginalMultiAttachEnabled: false,
    TargetSize: Size,
    TargetVolumeType: VolumeType,
    TargetIops: target.Iops,
    TargetThroughput: target.Throughput,
    TargetMultiAttachEnabled: false,
  };
}

/** What a volume of that type and size has when nothing else is said. */
function performanceOf(
  type: ec2.VolumeType,
  size: number,
  { iops, throughput }: { iops?: number | undefined; throughput?: number | undefined },
): Pick<ec2.Volume, "Iops" | "Throughput"> {
  if (type === "gp3") return { Iops: iops ?? 3_000, Throughput: throughput ?? 125 };
  if (type === "gp2") return { Iops: Math.min(16_000, Math.max(100, size * 3)), Throughput: undefined };
  return { Iops: iops, Throughput: undefined };
}

async function createSnapshots(
  store: Ec2Store,
  storage: Storage,
  fleet: Fleet,
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
  const attached = new Set([...instance.devices.values()].map(({ volumeId }) => volumeId));
  const root = instance.devices.get(instance.rootDeviceName)?.volumeId ?? "";
  const foreign = [...excluded].find((id) => !attached.has(id) || id === root);
  if (foreign !== undefined) {
    const message = `The volume '${foreign}' is not a data volume of instance '${instance.id}'.`;
    throw new AwsError("InvalidParameterValue", message);
  }
  const devices = [...instance.devices].filter(([device, { volumeId }]) =>
    device === instance.rootDeviceName ? specification.ExcludeBootVolume !== true : !excluded.has(volumeId),
  );
  const tags = tagsFor("snapshot", input.TagSpecifications) ?? [];
  const requests = devices.map(([, { volumeId }]) => {
    const volume = store.volumes.get(volumeId);
    const copied = input.CopyTagsFromSource === "volume" ? userTags(volume) : [];
    const own = copied.filter(({ Key }) => !tags.some((tag) => tag.Key === Key));
    return { volume, description: input.Description ?? "", tags: [...own, ...tags] };
  });
  // One moment for all volumes: nothing is written to one after another has been copied.
  const taken = await fleet.whileStill(instance.id, () => storage.createSnapshots(requests));
  return { Snapshots: taken.map(describeTaken) };
}

function describeTaken({ State, ...snapshot }: SnapshotRecord): ec2.SnapshotInfo {
  const { SnapshotId, VolumeId, VolumeSize, StartTime, Progress, Description, Encrypted, OwnerId, Tags } = snapshot;
  return { SnapshotId, VolumeId, VolumeSize, StartTime, Progress, Description, Encrypted, OwnerId, Tags, State };
}
