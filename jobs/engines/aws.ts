/** The engine `aws`: EBS snapshots and volumes, and dumps in the recovery store under `vault/`. */
import { createHash, randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import { Failure } from "../failure";
import { type Instance, rootOf } from "../instance/instances";
import { deleteFreeVolume, describeVolume, rehearse, requireVolume } from "../instance/volumes";
import type { Job } from "../job";
import { type Deadline, type Pause, until } from "../time";
import type { BackupEngine, RootVolume, StartedBackup, Tags } from "./engine";

/** Part size of the upload. S3 takes 10,000 parts: dumps up to 156 GiB; two parts are in memory at a time. */
const partBytes = 16 * 1024 * 1024;

export class AwsEngine implements BackupEngine {
  readonly name = "aws";

  constructor(private readonly job: Pick<Job, "clients" | "log" | "plan" | "run">) {}

  async backupInstance(instance: Instance, tags: Tags): Promise<StartedBackup> {
    const { CreateSnapshotsCommand } = await import("@aws-sdk/client-ec2");
    const { clients, log } = this.job;
    log.command(`aws ec2 create-snapshots --instance-specification InstanceId=${instance.instanceId}`);
    const answer = await (
      await clients.ec2()
    ).send(
      new CreateSnapshotsCommand({
        Description: `protected-pipeline run ${this.job.run}`,
        InstanceSpecification: { InstanceId: instance.instanceId },
        TagSpecifications: [{ ResourceType: "snapshot", Tags: tagList(tags) }],
      }),
    );
    const root = answer.Snapshots?.find(({ VolumeId }) => VolumeId === rootOf(instance).volumeId);
    if (root?.SnapshotId === undefined) throw new Failure(`EC2 made no snapshot of the root of ${instance.instanceId}`);
    log(`snapshot ${root.SnapshotId} is being made in the background`);
    const abort = (): Promise<void> => Promise.resolve(log(`snapshot ${root.SnapshotId} is left to end by itself`));
    return { job: root.SnapshotId, abort };
  }

  async finishInstanceBackup(job: string, deadline: Deadline): Promise<string> {
    const { DescribeSnapshotsCommand } = await import("@aws-sdk/client-ec2");
    const client = await this.job.clients.ec2();
    this.job.log.command(`aws ec2 describe-snapshots --snapshot-ids ${job}`);
    await until(`snapshot ${job} to be complete`, deadline, this.pause, async () => {
      const answer = await client.send(new DescribeSnapshotsCommand({ SnapshotIds: [job] }));
      const state = answer.Snapshots?.[0]?.State;
      if (state === "completed") return true;
      if (state === "pending") return undefined;
      throw new Failure(`snapshot ${job} is in state "${state ?? "unknown"}"; it never becomes a recovery point`);
    });
    this.job.log(`snapshot ${job} is complete`);
    return job;
  }

  async prepareRootVolume(instance: Instance, recoveryPoint: string, tags: Tags, deadline: Deadline): Promise<string> {
    const { CreateVolumeCommand } = await import("@aws-sdk/client-ec2");
    const { clients, log } = this.job;
    const input = await this.volumeInput(instance, recoveryPoint);
    log.command(`aws ec2 create-volume --snapshot-id ${recoveryPoint} --availability-zone ${instance.zone}`);
    const volume = await (
      await clients.ec2()
    ).send(
      new CreateVolumeCommand({
        ...input,
        // The same run gets the same volume, however often this is tried.
        ClientToken: token(this.job.run, instance.instanceId, recoveryPoint),
        TagSpecifications: [{ ResourceType: "volume", Tags: tagList(tags) }],
      }),
    );
    const volumeId = volume.VolumeId;
    if (volumeId === undefined) throw new Failure(`EC2 did not name the volume that it makes of ${recoveryPoint}`);
    await until(`volume ${volumeId} to be available`, deadline, this.pause, async () => {
      const state = (await describeVolume(clients, volumeId))?.State;
      if (state === "available") return true;
      if (state === "creating") return undefined;
      throw new Failure(
        `volume ${volumeId} of snapshot ${recoveryPoint} is ${state ?? "gone"}; ` +
          `a volume that vanishes is a missing permission on its KMS key, above all kms:CreateGrant`,
      );
    });
    return volumeId;
  }

  /** The new volume is as the old one: kind, figures, encryption and key. */
  private async volumeInput(instance: Instance, snapshotId: string) {
    const old = await requireVolume(this.job.clients, rootOf(instance).volumeId);
    return {
      AvailabilityZone: instance.zone,
      SnapshotId: snapshotId,
      ...(old.VolumeType === undefined ? {} : { VolumeType: old.VolumeType }),
      ...(old.Size === undefined ? {} : { Size: old.Size }),
      // EC2 gives figures for every type, but accepts them only where they can be chosen.
      ...(old.Iops !== undefined && ["gp3", "io1", "io2"].includes(old.VolumeType ?? "") ? { Iops: old.Iops } : {}),
      ...(old.Throughput !== undefined && old.VolumeType === "gp3" ? { Throughput: old.Throughput } : {}),
      ...(old.Encrypted === true ? { Encrypted: true } : {}),
      ...(old.KmsKeyId === undefined ? {} : { KmsKeyId: old.KmsKeyId }),
    };
  }

  async rootVolume(
    _instance: Instance,
    recoveryPoint: string,
    prepared: string | undefined,
    deadline: Deadline,
  ): Promise<RootVolume> {
    if (prepared === undefined) throw new Failure(`no volume was prepared of snapshot ${recoveryPoint}`);
    await until(`volume ${prepared} to be available`, deadline, this.pause, async () => {
      const state = (await describeVolume(this.job.clients, prepared))?.State;
      return state === "available" ? true : undefined;
    });
    return { volumeId: prepared, snapshotId: recoveryPoint };
  }

  async rehearse(instance: Instance, recoveryPoint: string): Promise<void> {
    const { CreateVolumeCommand } = await import("@aws-sdk/client-ec2");
    const client = await this.job.clients.ec2();
    const input = await this.volumeInput(instance, recoveryPoint);
    await rehearse(`making a volume of ${recoveryPoint}`, () =>
      client.send(new CreateVolumeCommand({ ...input, DryRun: true })),
    );
  }

  async discard(prepared: string | undefined): Promise<void> {
    if (prepared !== undefined) await deleteFreeVolume(this.job.clients, prepared);
  }

  async removeLeftovers(): Promise<void> {
    // The volume was made before the deploy, and is the root now.
  }

  streamCommand(name: string): string {
    return `aws s3 cp - s3://${this.job.plan.store.bucket}/${this.vaultPrefix(name)}`;
  }

  /**
   * A multipart upload becomes an object only when it is completed, so a stream that fails leaves none. Each attempt
   * has a key of its own; the fact names the one that counts.
   */
  async storeStream(name: string, dump: Readable, tags: Tags): Promise<{ recoveryPoint: string }> {
    const { Upload } = await import("@aws-sdk/lib-storage");
    const key = `${this.vaultPrefix(name)}${randomUUID()}`;
    const upload = new Upload({
      client: await this.job.clients.s3(),
      params: {
        Bucket: this.job.plan.store.bucket,
        Key: key,
        Body: dump,
        ContentType: "application/octet-stream",
        Metadata: Object.fromEntries(Object.entries(tags).map(([tag, value]) => [tag.replace(":", "-"), value])),
      },
      partSize: partBytes,
      queueSize: 2,
      leavePartsOnError: false,
    });
    await upload.done();
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

function tagList(tags: Tags): { Key: string; Value: string }[] {
  return Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
}

/** A client token: at most 64 characters, the same for the same words. */
export function token(...words: string[]): string {
  return createHash("sha256").update(words.join("\n")).digest("hex");
}
