/** What everything that a run makes is tagged with. */
import type { Job } from "../job";
import type { Tags } from "./engine";

export const runTag = "protected-pipeline:run";
export const targetTag = "protected-pipeline:target";

export function tagsOf(job: Pick<Job, "plan" | "run">, target: string): Tags {
  return { [runTag]: job.run, [targetTag]: target, "protected-pipeline:environment": job.plan.environment };
}
