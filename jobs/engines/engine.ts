/** What the jobs ask of a backup engine. It answers with ids and states; the jobs decide. */
import type { Readable } from "node:stream";
import type { Instance } from "../instance/instances";
import type { Deadline } from "../time";

/** What is written on everything that an engine makes, so that it can be found, paid for and removed. */
export type Tags = Readonly<Record<string, string>>;

/** The answer to the start of a background job. */
export interface StartedBackup {
  /** The job to wait for. */
  readonly job: string;
  /** Ends the job early. A credential where the engine gives one: it stays in this process. */
  readonly abort: () => Promise<void>;
}

/** A root volume that a healing puts in place. */
export interface RootVolume {
  readonly volumeId: string;
  /** What to fall back on where the volume itself is not accepted. */
  readonly snapshotId?: string | undefined;
}

export interface BackupEngine {
  readonly name: "elastio" | "aws";

  /** Starts the backup of an instance in the background. */
  backupInstance(instance: Instance, tags: Tags): Promise<StartedBackup>;
  /** Waits for that job. @returns the recovery point */
  finishInstanceBackup(job: string, deadline: Deadline): Promise<string>;
  /**
   * Makes, before the deploy, the volume that a healing would need; undefined where the engine can only do it by booting
   * a copy of the instance. Can be repeated: the same volume comes back.
   */
  prepareRootVolume(
    instance: Instance,
    recoveryPoint: string,
    tags: Tags,
    deadline: Deadline,
  ): Promise<string | undefined>;
  /**
   * The volume to put in place, free to be attached. Can be repeated after an interruption.
   *
   * @param prepared - what {@link prepareRootVolume} made
   */
  rootVolume(
    instance: Instance,
    recoveryPoint: string,
    prepared: string | undefined,
    deadline: Deadline,
  ): Promise<RootVolume>;
  /** Asks AWS whether the calls that {@link rootVolume} makes would be allowed. Changes nothing. */
  rehearse(instance: Instance, recoveryPoint: string, prepared: string | undefined): Promise<void>;
  /** Removes what {@link prepareRootVolume} made, for a run that needs no healing. Never touches a volume in use. */
  discard(prepared: string | undefined): Promise<void>;
  /** Removes what {@link rootVolume} needed to make the volume. Runs after the replacement; can be repeated. */
  removeLeftovers(recoveryPoint: string): Promise<void>;

  /** How the vault's end of the pipe reads in the log. */
  streamCommand(name: string, tags: Tags): string;
  /**
   * Stores a stream. Resolves when the recovery point exists. When the stream fails, what was stored until then does
   * not become a recovery point.
   */
  storeStream(name: string, dump: Readable, tags: Tags): Promise<{ readonly recoveryPoint: string }>;
  /** Opens a stored stream. An early end is an error of the stream, never a short stream. */
  openStream(recoveryPoint: string): Promise<Readable>;
}
