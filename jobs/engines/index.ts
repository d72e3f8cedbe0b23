/** The engine that a plan names. */
import type { Job } from "../job";
import { AwsEngine } from "./aws";
import { ElastioEngine } from "./elastio";
import type { BackupEngine } from "./engine";

export function engineOf(job: Job): BackupEngine {
  return job.plan.engine === "elastio" ? new ElastioEngine(job) : new AwsEngine(job);
}

export { tagsOf } from "./tags";
