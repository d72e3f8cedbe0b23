/** Puts a volume in the place of a running instance's root: one reboot. The instance keeps its id and addresses. */
import type { EC2Client, ReplaceRootVolumeTask } from "@aws-sdk/client-ec2";
import type { PreparedVolume } from "../../run/facts";
import { type Clients, codeOf } from "../clients";
import type { Tags } from "../engines/engine";
import { Failure, reasonOf } from "../failure";
import type { Log } from "../log";
import { type Deadline, type Pause, until } from "../time";
import { rehearse } from "./volumes";

export interface ReplaceOptions {
  readonly clients: Clients;
  readonly instanceId: string;
  /** Identifies the replacement: the run and the target. */
  readonly tags: Tags;
  /** At most 60 characters, the same for the same run and target. */
  readonly token: string;
  readonly volume: PreparedVolume;
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
  const { clients, instanceId, log, volume } = options;
  const client = await clients.ec2();
  let task = await findTask(client, instanceId, options.tags);
  if (task === undefined) {
    log.command(`aws ec2 create-replace-root-volume-task --instance-id ${instanceId} --volume-id ${volume.volumeId}`);
    task = await startWithFallback(client, options, volume);
  }
  await waitForTask(client, options, task);
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
  volume: PreparedVolume,
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
      InstanceId: options.instanceId,
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
  const { instanceId } = options;
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

/** Asks EC2, without doing anything, whether the root could be replaced. */
export async function rehearseReplacement(
  clients: Clients,
  instanceId: string,
  volumeId: string | undefined,
): Promise<void> {
  const { CreateReplaceRootVolumeTaskCommand } = await import("@aws-sdk/client-ec2");
  const client = await clients.ec2();
  await rehearse(`replacing the root volume of ${instanceId}`, () =>
    client.send(
      new CreateReplaceRootVolumeTaskCommand({
        InstanceId: instanceId,
        ...(volumeId === undefined ? {} : { VolumeId: volumeId }),
        DryRun: true,
      }),
    ),
  );
}
