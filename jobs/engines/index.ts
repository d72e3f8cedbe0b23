/** The engine that a plan names. */
import type { Job } from "../job";
import { AwsEngine } from "./aws";
import { ElastioEngine } from "./elastio";
import type { BackupEngine } from "./engine";

export function engineOf(job: Job): BackupEngine {
  return job.plan.engine === "elastio" ? new ElastioEngine(job) : new AwsEngine(job);
}

/** What everything that a run makes is tagged with. */
export function tagsOf(job: Job, target: string): Record<string, string> {
  return {
    "protected-pipeline:run": job.run,
    "protected-pipeline:target": target,
    "protected-pipeline:environment": job.plan.environment,
  };
}
