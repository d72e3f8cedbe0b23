import { Readable } from "node:stream";
import type { Machine } from "../../../jobs/engines/engine";
import { liveVolume } from "../world";
import { engineContract, type EngineWorld } from "./contract";
import { type Disks, MemoryEngine } from "./memory-engine";

engineContract("of the documentation", (): Promise<EngineWorld> => {
  const disks: Disks = new Map();
  const attached = new Map([
    ["/dev/xvda", "vol-root"],
    ["/dev/sdf", "vol-data"],
  ]);
  const engine = new MemoryEngine(disks, (volumeId) => [...attached.values()].includes(volumeId));
  const machine = (): Promise<Machine> => {
    const volumes = [...attached].map(([device, volumeId]) => ({
      ...liveVolume,
      device,
      volumeId,
      root: device === "/dev/xvda",
    }));
    return Promise.resolve({ instanceId: "i-0", zone: "us-east-1a", volumes, others: [] });
  };
  return Promise.resolve({
    engine,
    machine,
    write: (text) => {
      for (const volumeId of attached.values()) disks.set(volumeId, text);
      return Promise.resolve();
    },
    read: () => Promise.resolve([...attached.values()].map((volumeId) => disks.get(volumeId) ?? "")),
    exchange: (_machine, volumes) => {
      for (const { device, volumeId } of volumes) attached.set(device, volumeId);
      return Promise.resolve();
    },
    storeDamaged: async (bytes) => {
      const { recoveryPoint } = await engine.storeStream("shop", Readable.from([bytes]));
      engine.streams.set(recoveryPoint, bytes.subarray(0, bytes.length / 2));
      return recoveryPoint;
    },
    failNextBackup: () => {
      engine.failNext = true;
    },
    close: () => Promise.resolve(),
  });
});
