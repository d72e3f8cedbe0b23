/** What a Guard or Rescue keeps open while it works on a run; each thing is opened when it is first used. */
import { engineOf } from "./engines";
import type { BackupEngine } from "./engines/engine";
import type { Job } from "./job";
import { Watch } from "./probes";
import { type Server, openServers } from "./servers";

export class Context {
  private opened: Promise<Server[]> | undefined;
  private watching: Watch | undefined;
  readonly engine: BackupEngine;

  constructor(readonly job: Job) {
    this.engine = engineOf(job);
  }

  /** Admin sessions to every database server. */
  async servers(): Promise<Server[]> {
    this.opened ??= openServers(this.job);
    try {
      return await this.opened;
    } catch (error) {
      this.opened = undefined;
      throw error;
    }
  }

  /** The probes; they ask from the first call of this on. */
  get watch(): Watch {
    return (this.watching ??= new Watch(this.job.plan.probes));
  }

  async close(): Promise<void> {
    await this.watching?.stop();
    const servers = await this.opened?.catch(() => []);
    await Promise.allSettled((servers ?? []).map(({ session }) => session.close()));
  }
}
