import * as assert from "node:assert/strict";
import type { MetricDatum } from "@aws-sdk/client-cloudwatch";
import type { Cloud } from "../../../emulator/core/definitions";
import type { Cluster } from "../../../emulator/services/rds/cluster";
import { FreeSpace, gibibyte } from "../../../emulator/services/rds/storage";
import type { InstanceRecord } from "../../../emulator/services/rds/store";

describe("the storage of a DB instance", () => {
  function storageOf(description: { AllocatedStorage: number; MaxAllocatedStorage?: number }) {
    const place = { now: 0, used: 0, published: [] as number[] };
    const cloud = {
      clock: { now: () => new Date(place.now) },
      stores: {
        cloudwatch: {
          publish: (_space: string, _of: object, { Value = -1 }: MetricDatum) => place.published.push(Value),
        },
      },
    } as unknown as Cloud;
    const cluster = { size: () => Promise.resolve(place.used) } as Cluster;
    const record = { identifier: "shop", description } as unknown as InstanceRecord;
    const space = new FreeSpace(record, cluster, cloud);
    const minutes = async (count: number): Promise<void> => {
      for (let minute = 0; minute < count; minute++) {
        place.now += 60_000;
        await space.publish();
      }
    };
    return { place, description, minutes };
  }

  it("grows by 10 GiB when at most a tenth has been free for five minutes, and not before", async () => {
    const { place, description, minutes } = storageOf({ AllocatedStorage: 20, MaxAllocatedStorage: 100 });
    place.used = 18 * gibibyte;
    await minutes(5);
    assert.equal(description.AllocatedStorage, 20);
    await minutes(1);
    assert.equal(description.AllocatedStorage, 30);
    assert.deepEqual(place.published.slice(0, 1), [2 * gibibyte]);
  });

  it("begins to count anew when there was room in between", async () => {
    const { place, description, minutes } = storageOf({ AllocatedStorage: 20, MaxAllocatedStorage: 100 });
    place.used = 19 * gibibyte;
    await minutes(4);
    place.used = 10 * gibibyte;
    await minutes(1);
    place.used = 19 * gibibyte;
    await minutes(5);
    assert.equal(description.AllocatedStorage, 20);
  });

  it("grows to its maximum at most, and by itself only when it has one", async () => {
    const bounded = storageOf({ AllocatedStorage: 20, MaxAllocatedStorage: 25 });
    const fixed = storageOf({ AllocatedStorage: 20 });
    for (const { place, minutes } of [bounded, fixed]) {
      place.used = 20 * gibibyte;
      await minutes(20);
    }
    assert.deepEqual([bounded.description.AllocatedStorage, fixed.description.AllocatedStorage], [25, 20]);
    assert.equal(fixed.place.published.at(-1), 0);
  });
});
