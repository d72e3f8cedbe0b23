/**
 * What the jobs ask of a backup engine. It answers with ids and states; the jobs decide. docs/engines.md says how to
 * write one, and test/jobs/engines/contract.ts is the suite that every engine passes.
 */
import type { Readable } from "node:stream";
import type { AttachedVolume, PreparedVolume } from "../../run/facts";
import type { Deadline } from "../time";

/** What is written on everything that an engine makes, so that it can be found, paid for and removed. */
export type Tags = Readonly<Record<string, string>>;

/** An instance as a run protects it. */
export interface Machine {
  readonly instanceId: string;
  readonly zone: string;
  /** Its protected volumes, the root first. */
  readonly volumes: readonly AttachedVolume[];
  /** Volumes that are attached and not protected. */
  readonly others: readonly string[];
}

/** The answer to the start of a background job. */
export interface StartedBackup {
  /** The job to wait for. */
  readonly job: string;
  /** Ends the job early. A credential where the engine gives one: it stays in this process. */
  readonly abort: () => Promise<void>;
}

export interface BackupEngine {
  readonly name: string;
  /** The longest stream that can be stored, in bytes. Absent: nobody will reach the end. */
  readonly longestStream?: number;

  /** Starts the backup of an instance's protected volumes, all of one moment, in the background. */
  backupInstance(machine: Machine, tags: Tags): Promise<StartedBackup>;
  /**
   * Waits for that job. Whatever is not understood is a failure.
   *
   * @returns the recovery point
   */
  finishInstanceBackup(job: string, machine: Machine, deadline: Deadline): Promise<string>;
  /**
   * Makes, before the deploy, the volumes that a healing would need, one for each protected one; none where the engine
   * can only do it by booting a copy of the instance. Can be repeated: the same volumes come back.
   */
  prepareVolumes(machine: Machine, recoveryPoint: string, tags: Tags, deadline: Deadline): Promise<PreparedVolume[]>;
  /**
   * The volumes to put in place, one for each protected one: free, or attached to the machine already by an earlier,
   * interrupted healing. Can be repeated.
   *
   * @param prepared - what {@link prepareVolumes} made
   */
  volumes(
    machine: Machine,
    recoveryPoint: string,
    prepared: readonly PreparedVolume[],
    deadline: Deadline,
  ): Promise<PreparedVolume[]>;
  /** Asks AWS whether the calls that {@link volumes} makes would be allowed. Changes nothing. */
  rehearse(machine: Machine, recoveryPoint: string): Promise<void>;
  /** Removes what {@link prepareVolumes} made, for a run that needs no healing. Never touches a volume in use. */
  discard(prepared: readonly PreparedVolume[]): Promise<void>;
  /** Removes what {@link volumes} needed to make the volumes. Runs after the exchange; can be repeated. */
  removeLeftovers(recoveryPoint: string): Promise<void>;
  /**
   * Removes an instance's recovery point when its retention has passed; can be repeated. An engine that keeps
   * retentions of its own does nothing.
   *
   * @returns what was removed, one line each
   */
  expire(recoveryPoint: string): Promise<string[]>;

  /** How the vault's end of the pipe reads in the log. */
  streamCommand(name: string, tags: Tags): string;
  /**
   * Stores a stream. Resolves when the recovery point exists. When the stream fails, what was stored until then does
   * not become a recovery point.
   */
  storeStream(name: string, dump: Readable, tags: Tags): Promise<{ readonly recoveryPoint: string }>;
  /**
   * Opens a stored stream, also while it is being read already. An early end is an error of the stream, never a short
   * stream.
   */
  openStream(recoveryPoint: string): Promise<Readable>;
}
