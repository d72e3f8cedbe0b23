/** Backup and restore of whole instances. */
import { spawn } from "node:child_process";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import ec2 = require("@aws-sdk/client-ec2");
import { AwsError, type Cloud, type Principal } from "../core/definitions";
import type { LaunchVolume } from "../services/ec2/runtime/instances";
import type { Runtime } from "../services/ec2/store";
import { newId } from "../services/ec2/support";
import {
  type InstancePoint,
  type RecoveryPoint,
  type RecoveryPoints,
  restoredTags,
  type StoredVolume,
  type Tags,
} from "./recovery-points";
import type { StoredStream, Vault } from "./vault";

/** Elastio works in the account with roles of its own. */
const ELASTIO: Principal = { kind: "service", arn: "elastio" };
const POLL_MS = 25;
const SNAPSHOT_DEADLINE_MS = 60_000;
const EARLY_ENDS = new Set(["EPIPE", "ECONNRESET", "ERR_STREAM_PREMATURE_CLOSE", "ERR_STREAM_DESTROYED"]);

export class InstanceBackups {
  constructor(
    private readonly cloud: Cloud,
    private readonly vault: Vault,
    private readonly points: RecoveryPoints,
  ) {}

  /** Fails at once for an instance that is not there. */
  check(instanceId: string): void {
    if (this.cloud.stores.ec2.liveInstance(instanceId) !== undefined) return;
    throw new AwsError("NotFound", `The instance \`${instanceId}\` was not found`, 404);
  }

  /**
   * Takes snapshots of all volumes at one moment, moves their contents to the vault, and removes the snapshots. Keeps
   * volumes without contents when told to `lie`.
   */
  async backup(instanceId: string, tags: Tags, lie: boolean): Promise<string> {
    const instance = this.cloud.stores.ec2.instances.get(instanceId);
    const described = { ...instance, devices: new Map(instance.devices) };
    const request = { InstanceSpecification: { InstanceId: instanceId }, Description: "Elastio" };
    const { Snapshots = [] } = await this.cloud.send(ELASTIO, new ec2.CreateSnapshotsCommand(request));
    const ids = Snapshots.map(({ SnapshotId = "" }) => SnapshotId);
    try {
      await this.untilComplete(ids);
      const volumes: StoredVolume[] = [];
      for (const { SnapshotId = "", VolumeId = "" } of Snapshots) {
        const [device = "", attachment] =
          [...described.devices].find(([, { volumeId }]) => volumeId === VolumeId) ?? [];
        volumes.push({
          device,
          deleteOnTermination: attachment?.deleteOnTermination ?? true,
          volume: { ...this.cloud.stores.ec2.volumes.get(VolumeId) },
          contents: await this.pack(this.runtime.disks.folder(SnapshotId), lie ? ["--files-from", "/dev/null"] : ["."]),
        });
      }
      const { account, region } = this.cloud;
      const assetId = `elastio:asset:aws-ec2:i:${account}:${region}:${instanceId}`;
      return this.points.add({ kind: "EC2", assetId, tags, instance: described, volumes }).id;
    } finally {
      for (const SnapshotId of ids) await this.cloud.send(ELASTIO, new ec2.DeleteSnapshotCommand({ SnapshotId }));
    }
  }

  /** Boots a copy: a new instance in the same subnet, with the same groups and role, on volumes of its own. */
  async restore(recoveryPointId: string): Promise<string> {
    const point = this.points.get(recoveryPointId);
    if (point.kind !== "EC2")
      throw new AwsError("InvalidRequest", `The recovery point \`${point.id}\` is not of an instance`);
    const { instance } = point;
    if (!point.volumes.some(({ device }) => device === instance.rootDeviceName))
      throw new AwsError("InvalidRequest", `The recovery point \`${point.id}\` has no root volume`);
    const subnet = this.cloud.stores.ec2.subnets.get(instance.subnetId);
    const volumes = await Promise.all(point.volumes.map((stored) => this.restoreVolume(point, stored)));
    this.runtime.instances.launch(
      {
        imageId: instance.imageId,
        instanceType: instance.instanceType,
        subnet,
        securityGroupIds: instance.securityGroupIds,
        publicIp: instance.hasPublicIp,
        profile: instance.profile,
        // What the instance was started with has done its work; a copy does not do it again.
        userData: undefined,
        metadataEndpoint: instance.metadataEndpoint,
        metadataTokens: instance.metadataTokens,
        metadataHopLimit: instance.metadataHopLimit,
        disableApiTermination: false,
        tags: restoredTags(point),
        clientToken: undefined,
        rootDeviceName: instance.rootDeviceName,
        volumes,
      },
      newId("r"),
    );
    return point.id;
  }

  private async restoreVolume(
    point: InstancePoint,
    { device, deleteOnTermination, volume: old, contents }: StoredVolume,
  ): Promise<LaunchVolume> {
    const { volume, ready } = this.runtime.storage.createVolume({
      zone: old.AvailabilityZone,
      size: old.Size,
      snapshotId: undefined,
      type: old.VolumeType,
      iops: old.Iops,
      throughput: old.Throughput,
      encrypted: old.Encrypted ?? false,
      kmsKeyId: old.KmsKeyId,
      tags: restoredTags(point),
    });
    await ready;
    try {
      await this.unpack(contents.id, this.runtime.disks.folder(volume.VolumeId));
    } catch (error) {
      await this.runtime.storage.deleteVolume(volume.VolumeId);
      throw error;
    }
    return { device, deleteOnTermination, make: () => ({ volume, ready: Promise.resolve() }) };
  }

  private async untilComplete(SnapshotIds: string[]): Promise<void> {
    const deadline = this.cloud.clock.now().getTime() + SNAPSHOT_DEADLINE_MS;
    for (;;) {
      const { Snapshots = [] } = await this.cloud.send(ELASTIO, new ec2.DescribeSnapshotsCommand({ SnapshotIds }));
      if (Snapshots.every(({ State }) => State === "completed")) return;
      const bad = Snapshots.find(({ State }) => State === "error");
      if (bad !== undefined) throw new Error(`Snapshot ${bad.SnapshotId ?? ""} failed: ${bad.StateMessage ?? ""}`);
      if (this.cloud.clock.now().getTime() > deadline)
        throw new Error(`Snapshots ${SnapshotIds.join(", ")} do not complete`);
      await this.cloud.clock.sleep(POLL_MS);
    }
  }

  private async pack(folder: string, what: readonly string[]): Promise<StoredStream> {
    // Sorted by name, so that equal folders give equal archives.
    const tar = spawn("tar", ["--create", "--sort=name", "--numeric-owner", "--directory", folder, ...what], {
      stdio: ["ignore", "pipe", "pipe"],
      // A terminal's Ctrl-C goes to a whole process group, and would end it half-way.
      detached: true,
    });
    const ended = problemOf(tar);
    // Read from the start: what a program that has ended wrote and nobody reads yet, Node throws away.
    const stored = await this.vault.store(tar.stdout.pipe(new PassThrough()));
    const problem = await ended;
    if (problem !== undefined) throw new Error(problem);
    return stored;
  }

  private async unpack(stream: string, folder: string): Promise<void> {
    const args = ["--extract", "--preserve-permissions", "--numeric-owner", "--directory", folder];
    const tar = spawn("tar", args, { stdio: ["pipe", "ignore", "pipe"], detached: true });
    const ended = problemOf(tar);
    // tar knows by itself where the archive ends, and may have gone before the last bytes are written.
    const fed = pipeline(this.vault.read(stream), tar.stdin).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => (EARLY_ENDS.has(error.code ?? "") ? undefined : error),
    );
    const [unread, problem] = await Promise.all([fed, ended]);
    if (unread !== undefined) throw unread;
    if (problem !== undefined) throw new Error(problem);
  }

  private get runtime(): Runtime {
    const { runtime } = this.cloud.stores.ec2;
    if (runtime === undefined) throw new Error("EC2 is not installed");
    return runtime;
  }
}

/** Why it failed, or undefined when it did not. */
function problemOf(child: ReturnType<typeof spawn>): Promise<string | undefined> {
  let complaint = "";
  child.stderr?.on("data", (data: Buffer) => (complaint = (complaint + data.toString()).slice(-1_000)));
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code) =>
      resolve(code === 0 ? undefined : `tar ended with ${code ?? "a signal"}: ${complaint.trim()}`),
    );
  });
}

/** What can be restored as a stream. */
export function streamOf(point: RecoveryPoint): string {
  if (point.kind === "Stream") return point.stream.id;
  throw new AwsError("InvalidRequest", `The recovery point \`${point.id}\` is not of a stream`);
}
