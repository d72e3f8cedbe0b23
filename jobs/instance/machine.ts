/** An instance as the engines are told of it. */
import type { AttachedVolume } from "../../run/facts";
import type { InstanceTarget } from "../../run/plan";
import type { Clients } from "../clients";
import type { Machine } from "../engines/engine";
import { coveredVolumes, describeInstance } from "./instances";
import { readVolumes } from "./volumes";

/** @param volumes - its volumes as they were protected; as they are now when it is protected only now */
export async function machineOf(
  clients: Clients,
  { instanceId, volumes: covered }: Pick<InstanceTarget, "instanceId" | "volumes">,
  volumes?: readonly AttachedVolume[],
): Promise<Machine> {
  const instance = await describeInstance(clients, instanceId);
  const { zone, dataVolumes } = instance;
  return {
    instanceId,
    zone,
    volumes: volumes ?? (await readVolumes(clients, coveredVolumes(instance, covered))),
    others: covered === "all" ? [] : dataVolumes.map(({ volumeId }) => volumeId),
  };
}
