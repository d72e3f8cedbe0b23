/** Puts a volume in the place of an instance's root. The instance keeps its id, its addresses and its interfaces. */
import type { EC2Client, ReplaceRootVolumeTask } from "@aws-sdk/client-ec2";
import { type Clients, codeOf } from "../clients";
import type { RootVolume, Tags } from "../engines/engine";
import { Failure, reasonOf } from "../failure";
import type { Log } from "../log";
import { type Deadline, type Pause, until } from "../time";
import { type Instance, describeInstance, rootOf } from "./instances";
import { rehearse, tagResource } from "./volumes";

export interface ReplaceOptions {
  readonly clients: Clients;
  readonly instance: Instance;
  /** Identifies the replacement: the run and the target. */
  readonly tags: Tags;
  /** At most 60 characters, the same for the same run and target. */
  readonly token: string;
  /** Called when no earlier attempt has done it: the volume to put in place. */
  readonly volume: () => Promise<RootVolume>;
  readonly deadline: Deadline;
  readonly pause: Pause;
  readonly log: Log;
}

const ended: ReadonlySet<string> = new Set(["succeeded", "failed", "failed-detached"]);

/**
 * Replaces the root volume, or goes on with the replacement that an earlier healer of the same run began.
 *
 * @throws Failure that says what EC2 answered; the instance then runs on its old root again, unless it says otherwise
 */
export async function replaceRoot(options: ReplaceOptions): Promise<void> {
  const { clients, instance, log } = options;
  const client = await clients.ec2();
  let task = await findTask(client, instance.instanceId, options.tags);
  if (task === undefined) {
    const volume = await options.volume();
    log.command(
      `aws ec2 create-replace-root-volume-task --instance-id ${instance.instanceId} --volume-id ${volume.volumeId}`,
    );
    task = await startWithFallback(client, options, volume);
  }
  await waitForTask(client, options, task);
  await keepDeleteOnTermination(options);
}

/** The task of this run that did not fail. EC2 cannot look for tags of tasks, so all of the instance's are looked at. */
async function findTask(client: EC2Client, instanceId: string, tags: Tags): Promise<ReplaceRootVolumeTask | undefined> {
  const { DescribeReplaceRootVolumeTasksCommand } = await import("@aws-sdk/client-ec2");
  const filters = [{ Name: "instance-id", Values: [instanceId] }];
  const tasks: ReplaceRootVolumeTask[] = [];
  let token: string | undefined;
  do {
    const input = { Filters: filters, ...(token === undefined ? {} : { NextToken: token }) };
    const page = await client.send(new DescribeReplaceRootVolumeTasksCommand(input));
    tasks.push(...(page.ReplaceRootVolumeTasks ?? []));
    token = page.NextToken;
  } while (token !== undefined && token !== "");
  return tasks.find((task) => isOurs(task, tags) && !["failed", "failed-detached"].includes(task.TaskState ?? ""));
}

function isOurs({ Tags: list = [] }: ReplaceRootVolumeTask, tags: Tags): boolean {
  return Object.entries(tags).every(([name, value]) => list.some(({ Key, Value }) => Key === name && Value === value));
}

/**
 * Gives the volume itself; where EC2 does not take a volume (an older endpoint, a product code), the snapshot that it
 * was made of, which is the long-documented way.
 */
async function startWithFallback(
  client: EC2Client,
  options: ReplaceOptions,
  volume: RootVolume,
): Promise<ReplaceRootVolumeTask> {
  try {
    return await start(client, options, { VolumeId: volume.volumeId });
  } catch (error) {
    if (volume.snapshotId === undefined || !refusesVolume(codeOf(error))) throw error;
    options.log(
      `EC2 does not take volume ${volume.volumeId} (${reasonOf(error)}); giving snapshot ${volume.snapshotId}`,
    );
    return start(client, options, { SnapshotId: volume.snapshotId });
  }
}

/** Codes that say that the parameter, not the caller or the moment, is the matter. */
export function refusesVolume(code: string): boolean {
  return /^(UnknownParameter|InvalidParameter|UnsupportedOperation|Unsupported|InvalidRequest|MissingParameter)/.test(
    code,
  );
}

async function start(
  client: EC2Client,
  options: ReplaceOptions,
  source: { VolumeId: string } | { SnapshotId: string },
): Promise<ReplaceRootVolumeTask> {
  const { CreateReplaceRootVolumeTaskCommand } = await import("@aws-sdk/client-ec2");
  const kind = "VolumeId" in source ? "v" : "s";
  const answer = await client.send(
    new CreateReplaceRootVolumeTaskCommand({
      InstanceId: options.instance.instanceId,
      ...source,
      // The old volume is evidence.
      DeleteReplacedRootVolume: false,
      ClientToken: `${kind}-${options.token}`.slice(0, 64),
      TagSpecifications: [
        {
          ResourceType: "replace-root-volume-task",
          Tags: Object.entries(options.tags).map(([Key, Value]) => ({ Key, Value })),
        },
      ],
    }),
  );
  if (answer.ReplaceRootVolumeTask === undefined) throw new Failure("EC2 did not name the replacement task");
  return answer.ReplaceRootVolumeTask;
}

async function waitForTask(client: EC2Client, options: ReplaceOptions, task: ReplaceRootVolumeTask): Promise<void> {
  const id = task.ReplaceRootVolumeTaskId;
  const { instanceId } = options.instance;
  if (id === undefined) throw new Failure(`EC2's replacement task for ${instanceId} has no id`);
  const { DescribeReplaceRootVolumeTasksCommand } = await import("@aws-sdk/client-ec2");
  const state = await until(
    `task ${id} to replace the root of ${instanceId}`,
    options.deadline,
    options.pause,
    async () => {
      const command = new DescribeReplaceRootVolumeTasksCommand({ ReplaceRootVolumeTaskIds: [id] });
      const answer = await client.send(command).catch((error: unknown) => {
        // A task that was just made may not be known everywhere yet.
        if (/NotFound$/.test(codeOf(error))) return undefined;
        throw error;
      });
      const current = answer?.ReplaceRootVolumeTasks?.[0]?.TaskState;
      return current !== undefined && ended.has(current) ? current : undefined;
    },
  );
  if (state === "succeeded") return;
  const left = state === "failed" ? "it runs on its old root again" : "IT HAS NO ROOT VOLUME NOW: attach one by hand";
  throw new Failure(`replacing the root of ${instanceId} ended as "${state}" (task ${id}); ${left}`);
}

/** A replacement by volume does not carry this flag over. */
async function keepDeleteOnTermination(options: ReplaceOptions): Promise<void> {
  const { clients, instance } = options;
  const wanted = rootOf(instance).deleteOnTermination;
  const current = await describeInstance(clients, instance.instanceId);
  if (current.root === undefined || current.root.deleteOnTermination === wanted) return;
  await setDeleteOnTermination(clients, current, wanted);
}

async function setDeleteOnTermination(
  clients: Clients,
  instance: Instance,
  value: boolean,
  dryRun = false,
): Promise<void> {
  const { ModifyInstanceAttributeCommand } = await import("@aws-sdk/client-ec2");
  await (
    await clients.ec2()
  ).send(
    new ModifyInstanceAttributeCommand({
      InstanceId: instance.instanceId,
      BlockDeviceMappings: [{ DeviceName: instance.rootDevice, Ebs: { DeleteOnTermination: value } }],
      ...(dryRun ? { DryRun: true } : {}),
    }),
  );
}

/** Asks EC2, without doing anything, whether the healing's own calls would be allowed. */
export async function rehearseReplacement(
  clients: Clients,
  instance: Instance,
  volumeId: string | undefined,
): Promise<void> {
  const { CreateReplaceRootVolumeTaskCommand } = await import("@aws-sdk/client-ec2");
  const client = await clients.ec2();
  await rehearse(`replacing the root volume of ${instance.instanceId}`, () =>
    client.send(
      new CreateReplaceRootVolumeTaskCommand({
        InstanceId: instance.instanceId,
        ...(volumeId === undefined ? {} : { VolumeId: volumeId }),
        DryRun: true,
      }),
    ),
  );
  await rehearse(`setting DeleteOnTermination on ${instance.instanceId}`, () =>
    setDeleteOnTermination(clients, instance, rootOf(instance).deleteOnTermination, true),
  );
}

/** Marks the failed root volume, so that nobody takes it for waste, and says until when it is kept. */
export async function keepAsEvidence(clients: Clients, volumeId: string, tags: Tags, until: Date): Promise<void> {
  await tagResource(clients, volumeId, {
    ...tags,
    "protected-pipeline:evidence": "failed-root-volume",
    "protected-pipeline:keep-until": until.toISOString(),
  });
}
