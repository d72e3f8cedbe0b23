/** The engine that a plan names. */
import type { Plan } from "../../run/plan";
import type { Job } from "../job";
import { AwsEngine } from "./aws";
import { ElastioEngine } from "./elastio";
import type { BackupEngine } from "./engine";

const engines: Readonly<Record<Plan["engine"], new (job: Job) => BackupEngine>> = {
  aws: AwsEngine,
  elastio: ElastioEngine,
};

export function engineOf(job: Job): BackupEngine {
  return new engines[job.plan.engine](job);
}

export { tagsOf } from "./tags";
