/**
 * Puts prepared volumes in the place of an instance's own. The instance keeps its id, its interfaces and its addresses.
 *
 * A root alone is replaced by EC2's own task, which reboots the instance. With data volumes all of them, the root
 * included, are exchanged while the instance is stopped: so nothing ever runs that sees one volume from before the
 * deploy and another from after it, and no mounted volume is taken away.
 */
import type { AttachedVolume, PreparedVolume } from "../../run/facts";
import type { Clients } from "../clients";
import type { Tags } from "../engines/engine";
import { Failure } from "../failure";
import type { Log } from "../log";
import type { Deadline, Pause } from "../time";
import { type Attachment, type Instance, describeInstance } from "./instances";
import { rehearseReplacement, replaceRoot } from "./replacement";
import {
  attachVolume,
  detachVolume,
  rehearseStates,
  setDeleteOnTermination,
  startInstance,
  stopInstance,
} from "./states";
import { makeAlike, rehearse } from "./volumes";

export interface ExchangeOptions {
  readonly clients: Clients;
  readonly instanceId: string;
  /** The volumes as they were protected, the root first. */
  readonly protected: readonly AttachedVolume[];
  /** One for each of them. */
  readonly prepared: readonly PreparedVolume[];
  /** Identifies the exchange: the run and the target. */
  readonly tags: Tags;
  /** At most 60 characters, the same for the same run and target. */
  readonly token: string;
  readonly deadline: Deadline;
  readonly pause: Pause;
  readonly log: Log;
}

/** A protected volume, and the one that takes its place. */
interface Pair {
  readonly old: AttachedVolume;
  readonly prepared: PreparedVolume;
}

/** @returns what was exchanged: by device, the volume that is attached now and the one that was */
export type Exchanged = readonly { readonly device: string; readonly volumeId: string; readonly evidence: string }[];

/**
 * Exchanges the volumes, or goes on with what an earlier healer of the same run began: what is done already is found
 * by looking at the instance.
 */
export async function exchangeVolumes(options: ExchangeOptions): Promise<Exchanged> {
  const { clients, instanceId } = options;
  const pairs = pairsOf(options.protected, options.prepared);
  const [root] = pairs;
  if (root === undefined) throw new Failure(`no volume of ${instanceId} was protected`);
  if (pairs.length === 1) await replaceRoot({ ...options, volume: root.prepared });
  else await exchangeStopped(options, pairs);
  await setDeleteOnTermination(clients, instanceId, flagsOf(pairs));
  const now = await describeInstance(clients, instanceId);
  return pairs.map(({ old }) => exchanged(now, old));
}

/** Fails while nothing has been done yet, if a prepared volume is not as the one that it replaces. */
export async function checkAlike(
  clients: Clients,
  protectedVolumes: readonly AttachedVolume[],
  prepared: readonly PreparedVolume[],
): Promise<void> {
  for (const pair of pairsOf(protectedVolumes, prepared)) await makeAlike(clients, pair.prepared.volumeId, pair.old);
}

function pairsOf(protectedVolumes: readonly AttachedVolume[], volumes: readonly PreparedVolume[]): Pair[] {
  return protectedVolumes.map((old) => {
    const prepared = volumes.find(({ device }) => device === old.device);
    if (prepared === undefined) throw new Failure(`there is no volume to put in the place of ${old.device}`);
    return { old, prepared };
  });
}

async function exchangeStopped(options: ExchangeOptions, pairs: readonly Pair[]): Promise<void> {
  const { clients, instanceId, deadline, pause, log } = options;
  const attached = await describeInstance(clients, instanceId);
  const missing = pairs.filter(({ prepared }) => at(attached, prepared.device)?.volumeId !== prepared.volumeId);
  if (missing.length > 0) {
    log.command(`aws ec2 stop-instances --instance-ids ${instanceId}`);
    await stopInstance(clients, instanceId, deadline, pause);
    for (const { prepared } of missing) await exchangeOne(options, prepared);
  }
  log.command(`aws ec2 start-instances --instance-ids ${instanceId}`);
  await startInstance(clients, instanceId, deadline, pause);
}

async function exchangeOne(options: ExchangeOptions, { device, volumeId }: PreparedVolume): Promise<void> {
  const { clients, instanceId, deadline, pause, log } = options;
  const old = at(await describeInstance(clients, instanceId), device);
  if (old !== undefined) await detachVolume(clients, old.volumeId, instanceId, deadline, pause);
  await attachVolume(clients, volumeId, { instanceId, device }, deadline, pause);
  log(`${device} is ${volumeId} now, in the place of ${old?.volumeId ?? "nothing"}`);
}

function exchanged(now: Instance, old: AttachedVolume): Exchanged[number] {
  const attachment = at(now, old.device);
  if (attachment === undefined || attachment.volumeId === old.volumeId) {
    throw new Failure(`${old.device} of ${now.instanceId} is still ${attachment?.volumeId ?? "without a volume"}`);
  }
  return { device: old.device, volumeId: attachment.volumeId, evidence: old.volumeId };
}

function at({ root, dataVolumes }: Instance, device: string): Attachment | undefined {
  return [...(root === undefined ? [] : [root]), ...dataVolumes].find((each) => each.device === device);
}

function flagsOf(pairs: readonly Pair[]): Record<string, boolean> {
  return Object.fromEntries(pairs.map(({ old }) => [old.device, old.deleteOnTermination]));
}

/** Asks EC2, without doing anything, whether the exchange's own calls would be allowed. */
export async function rehearseExchange(
  clients: Clients,
  instanceId: string,
  protectedVolumes: readonly AttachedVolume[],
  prepared: readonly PreparedVolume[],
): Promise<void> {
  const known = new Map(prepared.map(({ device, volumeId }) => [device, volumeId]));
  const [root] = protectedVolumes;
  if (protectedVolumes.length === 1) {
    await rehearseReplacement(clients, instanceId, known.get(root?.device ?? ""));
  } else {
    const pairs = protectedVolumes.map(({ device, volumeId }) => ({
      device,
      old: volumeId,
      prepared: known.get(device),
    }));
    await rehearseStates(clients, instanceId, pairs);
  }
  const flags = Object.fromEntries(protectedVolumes.map((each) => [each.device, each.deleteOnTermination]));
  await rehearse(`setting DeleteOnTermination on ${instanceId}`, () =>
    setDeleteOnTermination(clients, instanceId, flags, true),
  );
}
