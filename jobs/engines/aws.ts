/** The engine `aws`: EBS snapshots and volumes, and dumps in the recovery store under `vault/`. */
import type { Snapshot } from "@aws-sdk/client-ec2";
import { createHash, randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import type { AttachedVolume, PreparedVolume } from "../../run/facts";
import { codeOf } from "../clients";
import { Failure } from "../failure";
import { deleteFreeVolume, describeVolume, likeVolume, rehearse, tagList } from "../instance/volumes";
import type { Job } from "../job";
import { type Deadline, type Pause, until } from "../time";
import type { BackupEngine, Machine, StartedBackup, Tags } from "./engine";
import { runTag } from "./tags";
import { longestUpload, upload } from "./upload";

/** Between the ids of the snapshots that are one recovery point: one of each volume, all of one moment. */
const separator = ",";

export class AwsEngine implements BackupEngine {
  readonly name = "aws";
  readonly longestStream = longestUpload;

  constructor(private readonly job: Pick<Job, "clients" | "log" | "plan" | "run">) {}

  async backupInstance({ instanceId, volumes, others }: Machine, tags: Tags): Promise<StartedBackup> {
    const { CreateSnapshotsCommand } = await import("@aws-sdk/client-ec2");
    const { clients, log } = this.job;
    log.command(`aws ec2 create-snapshots --instance-specification InstanceId=${instanceId}`);
    const answer = await (
      await clients.ec2()
    ).send(
      new CreateSnapshotsCommand({
        Description: `protected-pipeline run ${this.job.run}`,
        InstanceSpecification: {
          InstanceId: instanceId,
          ...(others.length === 0 ? {} : { ExcludeDataVolumeIds: [...others] }),
        },
        TagSpecifications: [{ ResourceType: "snapshot", Tags: tagList(tags) }],
      }),
    );
    const snapshots = volumes.map(({ volumeId }) => {
      const id = answer.Snapshots?.find(({ VolumeId }) => VolumeId === volumeId)?.SnapshotId;
      if (id === undefined) throw new Failure(`EC2 made no snapshot of volume ${volumeId} of ${instanceId}`);
      return id;
    });
    const job = snapshots.join(separator);
    log(`snapshot ${job} is being made in the background`);
    const abort = async (): Promise<void> => {
      for (const line of await this.expire(job)) log(line);
    };
    return { job, abort };
  }

  async finishInstanceBackup(job: string, machine: Machine, deadline: Deadline): Promise<string> {
    this.job.log.command(`aws ec2 describe-snapshots --snapshot-ids ${job.replaceAll(separator, " ")}`);
    await until(`snapshot ${job} to be complete`, deadline, this.pause, async () => {
      const snapshots = await this.describe(job);
      for (const { SnapshotId, State } of snapshots) {
        if (State === "completed" || State === "pending") continue;
        throw new Failure(
          `snapshot ${SnapshotId ?? "?"} is in state "${State ?? "unknown"}"; it never becomes a recovery point`,
        );
      }
      return snapshots.every(({ State }) => State === "completed") ? true : undefined;
    });
    await this.snapshotsOf(machine, job);
    this.job.log(`snapshot ${job} is complete`);
    return job;
  }

  private async describe(recoveryPoint: string): Promise<Snapshot[]> {
    const { DescribeSnapshotsCommand } = await import("@aws-sdk/client-ec2");
    const ids = recoveryPoint.split(separator);
    const answer = await (await this.job.clients.ec2()).send(new DescribeSnapshotsCommand({ SnapshotIds: ids }));
    const found = answer.Snapshots ?? [];
    if (found.length !== ids.length) throw new Failure(`EC2 knows ${found.length} of the snapshots ${recoveryPoint}`);
    return found;
  }

  /** The snapshot of each protected volume. Only those count that this very run has made of that very volume. */
  private async snapshotsOf(machine: Machine, recoveryPoint: string): Promise<Map<AttachedVolume, string>> {
    const snapshots = await this.describe(recoveryPoint);
    return new Map(
      machine.volumes.map((volume) => {
        const { volumeId, device, size } = volume;
        const made = snapshots.find(({ VolumeId }) => VolumeId === volumeId);
        if (made?.SnapshotId === undefined) {
          throw new Failure(`none of the snapshots ${recoveryPoint} is of volume ${volumeId} (${device})`);
        }
        const run = made.Tags?.find(({ Key }) => Key === runTag)?.Value;
        if (run !== this.job.run) {
          throw new Failure(`snapshot ${made.SnapshotId} was made by ${run ?? "somebody else"}, not by this run`);
        }
        if (made.State !== "completed" || made.VolumeSize !== size) {
          throw new Failure(
            `snapshot ${made.SnapshotId} is ${made.State ?? "unknown"} with ${made.VolumeSize ?? 0} GiB, and volume ` +
              `${volumeId} has ${size}`,
          );
        }
        return [volume, made.SnapshotId];
      }),
    );
  }

  async prepareVolumes(
    machine: Machine,
    recoveryPoint: string,
    tags: Tags,
    deadline: Deadline,
  ): Promise<PreparedVolume[]> {
    const made: PreparedVolume[] = [];
    for (const [volume, snapshotId] of await this.snapshotsOf(machine, recoveryPoint)) {
      made.push({ device: volume.device, volumeId: await this.create(machine, volume, snapshotId, tags), snapshotId });
    }
    for (const each of made) await this.available(machine, each, deadline);
    return made;
  }

  private async create(machine: Machine, volume: AttachedVolume, snapshotId: string, tags: Tags): Promise<string> {
    const { CreateVolumeCommand } = await import("@aws-sdk/client-ec2");
    const { clients, log, run } = this.job;
    log.command(`aws ec2 create-volume --snapshot-id ${snapshotId} --availability-zone ${machine.zone}`);
    const answer = await (
      await clients.ec2()
    ).send(
      new CreateVolumeCommand({
        ...volumeInput(machine, volume, snapshotId),
        // The same run gets the same volume, however often this is tried.
        ClientToken: token(run, machine.instanceId, snapshotId),
        TagSpecifications: [{ ResourceType: "volume", Tags: tagList({ ...volume.tags, ...tags }) }],
      }),
    );
    if (answer.VolumeId === undefined) {
      throw new Failure(`EC2 did not name the volume that it makes of ${snapshotId}`);
    }
    return answer.VolumeId;
  }

  /** Waits until a volume can be attached, or is attached where it belongs by an earlier healing. */
  private async available(machine: Machine, { volumeId, snapshotId }: PreparedVolume, deadline: Deadline) {
    await until(`volume ${volumeId} to be available`, deadline, this.pause, async () => {
      const volume = await describeVolume(this.job.clients, volumeId);
      if (volume?.State === "available") return true;
      if (volume?.State === "creating") return undefined;
      if (volume?.Attachments?.some(({ InstanceId }) => InstanceId === machine.instanceId) === true) return true;
      throw new Failure(
        `volume ${volumeId} of snapshot ${snapshotId ?? "?"} is ${volume?.State ?? "gone"}; ` +
          `a volume that vanishes is a missing permission on its KMS key, above all kms:CreateGrant`,
      );
    });
  }

  async volumes(
    machine: Machine,
    recoveryPoint: string,
    prepared: readonly PreparedVolume[],
    deadline: Deadline,
  ): Promise<PreparedVolume[]> {
    if (prepared.length === 0) throw new Failure(`no volume was prepared of snapshot ${recoveryPoint}`);
    for (const each of prepared) await this.available(machine, each, deadline);
    return [...prepared];
  }

  async rehearse(machine: Machine, recoveryPoint: string): Promise<void> {
    const { CreateVolumeCommand } = await import("@aws-sdk/client-ec2");
    const client = await this.job.clients.ec2();
    for (const [volume, snapshotId] of await this.snapshotsOf(machine, recoveryPoint)) {
      await rehearse(`making a volume of ${snapshotId}`, () =>
        client.send(new CreateVolumeCommand({ ...volumeInput(machine, volume, snapshotId), DryRun: true })),
      );
    }
  }

  async discard(prepared: readonly PreparedVolume[]): Promise<void> {
    for (const { volumeId } of prepared) await deleteFreeVolume(this.job.clients, volumeId);
  }

  async removeLeftovers(): Promise<void> {
    // The volumes were made before the deploy, and are in place now.
  }

  async expire(recoveryPoint: string): Promise<string[]> {
    const { DeleteSnapshotCommand } = await import("@aws-sdk/client-ec2");
    const client = await this.job.clients.ec2();
    const removed: string[] = [];
    for (const SnapshotId of recoveryPoint.split(separator)) {
      try {
        await client.send(new DeleteSnapshotCommand({ SnapshotId }));
        removed.push(`snapshot ${SnapshotId}`);
      } catch (error) {
        if (codeOf(error) !== "InvalidSnapshot.NotFound") throw error;
      }
    }
    return removed;
  }

  streamCommand(name: string): string {
    return `aws s3 cp - s3://${this.job.plan.store.bucket}/${this.vaultPrefix(name)}`;
  }

  /**
   * Each attempt has a key of its own; the fact names the one that counts.
   */
  async storeStream(name: string, dump: Readable, tags: Tags): Promise<{ recoveryPoint: string }> {
    const key = `${this.vaultPrefix(name)}${randomUUID()}`;
    const to = {
      Bucket: this.job.plan.store.bucket,
      Key: key,
      Metadata: Object.fromEntries(Object.entries(tags).map(([tag, value]) => [tag.replace(":", "-"), value])),
    };
    await upload(await this.job.clients.s3(), to, dump);
    return { recoveryPoint: key };
  }

  private vaultPrefix(name: string): string {
    return `vault/${this.job.run}/${name}/`;
  }

  async openStream(recoveryPoint: string): Promise<Readable> {
    const { GetObjectCommand } = await import("@aws-sdk/client-s3");
    const { bucket } = this.job.plan.store;
    this.job.log.command(`aws s3 cp s3://${bucket}/${recoveryPoint} -`);
    const answer = await (
      await this.job.clients.s3()
    ).send(new GetObjectCommand({ Bucket: bucket, Key: recoveryPoint }));
    if (answer.Body === undefined) throw new Failure(`s3://${bucket}/${recoveryPoint} has no body`);
    return answer.Body as Readable;
  }

  private get pause(): Pause {
    const seconds = this.job.plan.pollSeconds;
    return { seconds, factor: 1.5, cap: Math.max(seconds, 15) };
  }
}

function volumeInput({ zone }: Machine, volume: AttachedVolume, snapshotId: string) {
  return { AvailabilityZone: zone, SnapshotId: snapshotId, ...likeVolume(volume) };
}

/** A client token: at most 64 characters, the same for the same words. */
export function token(...words: string[]): string {
  return createHash("sha256").update(words.join("\n")).digest("hex");
}
