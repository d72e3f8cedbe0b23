/** An instance's storage: how much of it is free, by the real cluster's size, and its growth by itself. */
import type { Cloud } from "../../core/definitions";
import type { Cluster } from "./cluster";
import type { InstanceRecord } from "./store";

export const gibibyte = 2 ** 30;

/** "Managing capacity automatically with storage autoscaling": at most 10 % free, for five minutes. */
const scarce = 0.1;
const scarceFor = 5 * 60_000;
const leastGrowth = 10;

export class FreeSpace {
  private scarceSince: number | undefined;

  constructor(
    private readonly record: InstanceRecord,
    private readonly cluster: Cluster,
    private readonly cloud: Cloud,
  ) {}

  /** Publishes what is free as CloudWatch's `FreeStorageSpace`, and lets the storage grow where it has become scarce. */
  async publish(): Promise<void> {
    const size = await this.cluster.size();
    const free = Math.max(this.allocated - size, 0);
    this.cloud.stores.cloudwatch.publish("AWS/RDS", [{ Name: "DBInstanceIdentifier", Value: this.record.identifier }], {
      MetricName: "FreeStorageSpace",
      Value: free,
      Unit: "Bytes",
    });
    this.grow(free);
  }

  private get allocated(): number {
    return (this.record.description.AllocatedStorage ?? 0) * gibibyte;
  }

  /** By 10 GiB or a tenth, whichever is more, up to the given maximum. Storage never shrinks. */
  private grow(free: number): void {
    const { description } = this.record;
    const { AllocatedStorage: allocated = 0, MaxAllocatedStorage: most } = description;
    const now = this.cloud.clock.now().getTime();
    this.scarceSince = free <= this.allocated * scarce ? (this.scarceSince ?? now) : undefined;
    if (most === undefined || this.scarceSince === undefined || now - this.scarceSince < scarceFor) return;
    description.AllocatedStorage = Math.min(allocated + Math.max(leastGrowth, Math.ceil(allocated / 10)), most);
    this.scarceSince = undefined;
  }
}
