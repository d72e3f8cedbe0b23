/** How much of a server a job may take, as the work on databases is told. */
import type { Plan } from "../run/plan";
import type { Limits } from "./database";

export function limitsOf({ limits: { stageWorkers, maxRate } }: Plan): Limits {
  return { workers: stageWorkers, maxRate };
}
