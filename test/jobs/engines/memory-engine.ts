/** The smallest engine there can be: what docs/engines.md explains, and what the contract itself is tried with. */
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { BackupEngine, Machine, StartedBackup } from "../../../jobs/engines/engine";
import type { PreparedVolume } from "../../../run/facts";

/** Volumes by their id. */
export type Disks = Map<string, string>;

export class MemoryEngine implements BackupEngine {
  readonly name = "memory";
  readonly streams = new Map<string, Buffer>();
  private readonly backups = new Map<string, { content: ReadonlyMap<string, string>; failed: boolean }>();
  private readonly prepared = new Map<string, PreparedVolume[]>();
  failNext = false;

  /** @param inUse - whether a volume is attached to anything */
  constructor(
    private readonly disks: Disks,
    private readonly inUse: (volumeId: string) => boolean,
  ) {}

  backupInstance({ volumes }: Machine): Promise<StartedBackup> {
    const job = randomUUID();
    const content = new Map(volumes.map(({ device, volumeId }) => [device, this.disks.get(volumeId) ?? ""]));
    this.backups.set(job, { content, failed: this.failNext });
    this.failNext = false;
    return Promise.resolve({ job, abort: () => Promise.resolve() });
  }

  finishInstanceBackup(job: string): Promise<string> {
    const backup = this.backups.get(job);
    if (backup === undefined) return Promise.reject(new Error(`there is no job ${job}`));
    return backup.failed ? Promise.reject(new Error(`job ${job} failed`)) : Promise.resolve(job);
  }

  prepareVolumes({ volumes }: Machine, recoveryPoint: string): Promise<PreparedVolume[]> {
    const content = this.backups.get(recoveryPoint)?.content;
    if (content === undefined) return Promise.reject(new Error(`there is no recovery point ${recoveryPoint}`));
    const made = this.prepared.get(recoveryPoint) ?? volumes.map(({ device }) => ({ device, volumeId: randomUUID() }));
    this.prepared.set(recoveryPoint, made);
    for (const { device, volumeId } of made) this.disks.set(volumeId, content.get(device) ?? "");
    return Promise.resolve(made);
  }

  volumes(_machine: Machine, _recoveryPoint: string, prepared: readonly PreparedVolume[]): Promise<PreparedVolume[]> {
    return Promise.resolve([...prepared]);
  }

  rehearse(): Promise<void> {
    return Promise.resolve();
  }

  discard(prepared: readonly PreparedVolume[]): Promise<void> {
    for (const { volumeId } of prepared) if (!this.inUse(volumeId)) this.disks.delete(volumeId);
    return Promise.resolve();
  }

  removeLeftovers(): Promise<void> {
    return Promise.resolve();
  }

  expire(recoveryPoint: string): Promise<string[]> {
    return Promise.resolve(this.backups.delete(recoveryPoint) ? [recoveryPoint] : []);
  }

  streamCommand(name: string): string {
    return `a vault in memory, under ${name}`;
  }

  async storeStream(name: string, dump: Readable): Promise<{ recoveryPoint: string }> {
    const bytes = await buffer(dump);
    const recoveryPoint = `${name}/${randomUUID()}`;
    this.streams.set(recoveryPoint, bytes);
    return { recoveryPoint };
  }

  openStream(recoveryPoint: string): Promise<Readable> {
    const bytes = this.streams.get(recoveryPoint);
    if (bytes === undefined) return Promise.reject(new Error(`there is no stream ${recoveryPoint}`));
    return Promise.resolve(Readable.from([bytes]));
  }
}
