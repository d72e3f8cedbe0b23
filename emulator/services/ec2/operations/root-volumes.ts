/**
 * Root volume replacement: the instance reboots on another volume and keeps its id, its addresses and its interfaces.
 * The old volume is kept unless the request says otherwise.
 */
import type * as ec2 from "@aws-sdk/client-ec2";
import { AwsError, type Cloud, type Operation } from "../../../core/definitions";
import type { Fleet } from "../runtime/fleet";
import type { Attachment, Ec2Store, InstanceRecord, VolumeRecord } from "../store";
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
  type Paging,
} from "../support";
import { checkImage } from "./catalog";
import type { Storage } from "./volumes";

const taskFilters: FilterTable<ec2.ReplaceRootVolumeTask> = {
  "instance-id": ({ InstanceId }) => InstanceId,
};

const OPEN: ReadonlySet<string | undefined> = new Set(["pending", "in-progress", "failing"]);
const PENDING_MS = 50;
const PAGING: Paging = { sizes: [1, 50] };

export function rootVolumeOperations(cloud: Cloud, storage: Storage, fleet: Fleet): Operation[] {
  const store = cloud.stores.ec2;
  const replacement = new RootVolumeReplacement(cloud, store, storage, fleet);
  return [
    ec2Operation<ec2.CreateReplaceRootVolumeTaskCommandInput, ec2.CreateReplaceRootVolumeTaskCommandOutput>({
      name: "CreateReplaceRootVolumeTask",
      honours: [
        "InstanceId",
        "SnapshotId",
        "ImageId",
        "VolumeId",
        "DeleteReplacedRootVolume",
        "TagSpecifications",
        "ClientToken",
      ],
      // Which resource types AWS asks for is not known from its documentation; all that could be meant are asked for.
      authorize: ({ InstanceId = "", SnapshotId, ImageId, VolumeId, TagSpecifications }) => [
        onResource(cloud, "CreateReplaceRootVolumeTask", "instance", InstanceId, store.instances.find(InstanceId)),
        onResource(cloud, "CreateReplaceRootVolumeTask", "volume", VolumeId ?? "*", store.volumes.find(VolumeId)),
        ...(SnapshotId === undefined
          ? []
          : [
              onResource(
                cloud,
                "CreateReplaceRootVolumeTask",
                "snapshot",
                SnapshotId,
                store.snapshots.find(SnapshotId),
              ),
            ]),
        ...(ImageId === undefined
          ? []
          : [onResource(cloud, "CreateReplaceRootVolumeTask", "image", ImageId, undefined)]),
        ...onNewResource(cloud, "CreateReplaceRootVolumeTask", "replace-root-volume-task", TagSpecifications),
      ],
      handle: (input) =>
        store.tokens.once("CreateReplaceRootVolumeTask", input, () => ({
          ReplaceRootVolumeTask: replacement.start(input),
        })),
    }),
    ec2Operation<ec2.DescribeReplaceRootVolumeTasksCommandInput, ec2.DescribeReplaceRootVolumeTasksCommandOutput>({
      name: "DescribeReplaceRootVolumeTasks",
      honours: ["ReplaceRootVolumeTaskIds", "Filters", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeReplaceRootVolumeTasks"),
      handle: (input) => {
        const selected = store.tasks.select(input.ReplaceRootVolumeTaskIds);
        const { items, NextToken } = onePage(applyFilters(selected, input.Filters, taskFilters), input, PAGING);
        return { ReplaceRootVolumeTasks: items, NextToken };
      },
    }),
  ];
}

class RootVolumeReplacement {
  constructor(
    private readonly cloud: Cloud,
    private readonly store: Ec2Store,
    private readonly storage: Storage,
    private readonly fleet: Fleet,
  ) {}

  start(input: ec2.CreateReplaceRootVolumeTaskCommandInput): ec2.ReplaceRootVolumeTask {
    const instance = this.store.instances.get(required(input.InstanceId, "InstanceId"));
    const root = this.checkInstance(instance);
    const sources = (["SnapshotId", "ImageId", "VolumeId"] as const).filter((name) => input[name] !== undefined);
    if (sources.length > 1) {
      const message = `The parameters ${sources.join(" and ")} cannot be specified together`;
      throw new AwsError("InvalidParameterCombination", message);
    }
    if (input.SnapshotId !== undefined) this.checkSnapshot(instance, root, input.SnapshotId);
    if (input.ImageId !== undefined) checkImage(input.ImageId);
    if (input.VolumeId !== undefined) this.checkVolume(instance, root, input.VolumeId);
    const id = newId("replacevol");
    const task = this.store.tasks.add(id, {
      ReplaceRootVolumeTaskId: id,
      InstanceId: instance.id,
      TaskState: "pending",
      StartTime: this.cloud.clock.now().toISOString(),
      SnapshotId: input.SnapshotId,
      ImageId: input.ImageId,
      DeleteReplacedRootVolume: input.DeleteReplacedRootVolume ?? false,
      Tags: tagsFor("replace-root-volume-task", input.TagSpecifications) ?? [],
    });
    const work = this.fleet.change(instance.id, () => this.perform(task, instance, input));
    this.cloud.background(`replace the root volume of ${instance.id}`, work);
    return task;
  }

  private checkInstance(instance: InstanceRecord): VolumeRecord {
    if (instance.state !== "running") {
      const message = `The instance '${instance.id}' is not in a valid state: it must be in the 'running' state to replace its root volume.`;
      throw new AwsError("IncorrectInstanceState", message);
    }
    const open = this.store.tasks.all().some((task) => task.InstanceId === instance.id && OPEN.has(task.TaskState));
    if (open) {
      const message = `A root volume replacement task is already in progress for instance '${instance.id}'.`;
      throw new AwsError("IncorrectInstanceState", message);
    }
    const root = instance.devices.get(instance.rootDeviceName);
    return this.store.volumes.get(root?.volumeId ?? "");
  }

  /** A snapshot of the instance's current or of an earlier root volume; a copy of a snapshot is refused by the same rule. */
  private checkSnapshot(instance: InstanceRecord, root: VolumeRecord, snapshotId: string): void {
    const snapshot = this.store.snapshots.get(snapshotId);
    const lineage = new Set([root.VolumeId, ...this.store.rootLineage(instance.id)]);
    if (!lineage.has(snapshot.VolumeId)) {
      const message = `The snapshot '${snapshotId}' was not created from a current or previous root volume of instance '${instance.id}'.`;
      throw new AwsError("InvalidParameterValue", message);
    }
    // Whether AWS accepts a pending snapshot is not documented; to refuse is what a caller must be ready for.
    if (snapshot.State !== "completed") {
      throw new AwsError("IncorrectState", `Snapshot is in invalid state - ${snapshot.State ?? "unknown"}`);
    }
  }

  private checkVolume(instance: InstanceRecord, root: VolumeRecord, volumeId: string): void {
    const volume = this.store.volumes.get(volumeId);
    if (volume.State !== "available") {
      throw new AwsError("IncorrectState", `The volume '${volumeId}' is not in the 'available' state.`);
    }
    if (volume.AvailabilityZone !== instance.zone) {
      const message = `The volume '${volumeId}' is not in the same availability zone as instance '${instance.id}'`;
      throw new AwsError("InvalidVolume.ZoneMismatch", message);
    }
    if (root.Encrypted === true && volume.Encrypted !== true) {
      const message = `The volume '${volumeId}' must be encrypted, because the root volume of instance '${instance.id}' is.`;
      throw new AwsError("InvalidParameterValue", message);
    }
    if (volume.Size < root.Size) {
      throw new AwsError("InvalidParameterValue", `The volume '${volumeId}' is smaller than the current root volume.`);
    }
  }

  private async perform(
    task: ec2.ReplaceRootVolumeTask,
    instance: InstanceRecord,
    input: ec2.CreateReplaceRootVolumeTaskCommandInput,
  ): Promise<void> {
    await this.cloud.clock.sleep(PENDING_MS);
    task.TaskState = "in-progress";
    const old = instance.devices.get(instance.rootDeviceName);
    try {
      const replacement = await this.replacementVolume(instance, old, input);
      await this.fleet.boot(instance, () => this.exchange(instance, old, replacement, input.VolumeId === undefined));
      if (input.DeleteReplacedRootVolume === true && old !== undefined) {
        await this.storage.deleteVolume(old.volumeId);
      }
      this.finish(task, "succeeded");
    } catch (error) {
      task.TaskState = "failing";
      await this.goBack(instance, old);
      this.finish(task, "failed");
      throw error;
    }
  }

  /**
   * The given volume, or a new one with the properties of the old. Without a snapshot it is as at the launch, or as the
   * image has it, which is the same here, because there is one image: a volume on which nothing has run yet.
   */
  private async replacementVolume(
    instance: InstanceRecord,
    old: Attachment | undefined,
    input: ec2.CreateReplaceRootVolumeTaskCommandInput,
  ): Promise<VolumeRecord> {
    if (input.VolumeId !== undefined) {
      const volume = this.store.volumes.get(input.VolumeId);
      if (volume.State === "available") return volume;
      throw new AwsError("IncorrectState", `The volume '${volume.VolumeId}' is not in the 'available' state.`);
    }
    const current = this.store.volumes.get(old?.volumeId ?? "");
    const { volume, ready } = this.storage.createVolume({
      zone: instance.zone,
      size: current.Size,
      snapshotId: input.SnapshotId,
      type: current.VolumeType,
      iops: current.Iops,
      throughput: current.Throughput,
      encrypted: current.Encrypted ?? false,
      kmsKeyId: current.KmsKeyId,
      tags: [...(current.Tags ?? [])],
    });
    await ready;
    return volume;
  }

  /** `DeleteOnTermination` is kept for a volume that AWS makes; a volume of the caller's comes with `false`. */
  private exchange(
    instance: InstanceRecord,
    old: Attachment | undefined,
    replacement: VolumeRecord,
    made: boolean,
  ): void {
    this.storage.detach(instance, instance.rootDeviceName);
    const deleteOnTermination = made && (old?.deleteOnTermination ?? true);
    this.storage.attach(instance, replacement, instance.rootDeviceName, deleteOnTermination);
    this.store.noteRoot(instance.id, replacement.VolumeId);
  }

  private async goBack(instance: InstanceRecord, old: Attachment | undefined): Promise<void> {
    const current = instance.devices.get(instance.rootDeviceName);
    if (old !== undefined && current?.volumeId !== old.volumeId) {
      this.storage.detach(instance, instance.rootDeviceName);
      const volume = this.store.volumes.get(old.volumeId);
      this.storage.attach(instance, volume, instance.rootDeviceName, old.deleteOnTermination);
    }
    if (this.fleet.machine(instance.id) === undefined) await this.fleet.boot(instance);
  }

  private finish(task: ec2.ReplaceRootVolumeTask, state: ec2.ReplaceRootVolumeTaskState): void {
    task.TaskState = state;
    task.CompleteTime = this.cloud.clock.now().toISOString();
  }
}
