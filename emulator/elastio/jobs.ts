/** Background jobs: states, attempts, an abort token each. */
import { randomBytes } from "node:crypto";
import { AwsError, type Cloud } from "../core/definitions";
import { ulid } from "./ids";

export type JobKind = "backup" | "restore";
export type JobStatus = "Queued" | "Running" | "Succeeded" | "Failed";

export interface Job {
  readonly id: string;
  readonly kind: JobKind;
  /** For example `elastio:ec2-backup`. */
  readonly operation: string;
  readonly description: string;
  readonly created: Date;
  /** A credential: it is told once, when the job starts. */
  readonly abortToken: string;
  attempt: number;
  status: JobStatus;
  recoveryPointId: string | undefined;
  error: string | undefined;
}

const ATTEMPTS = 2;
/** A worker has to be started first. */
const QUEUED_MS = 50;
const KEPT_JOBS = 1_000;

export class Jobs {
  private readonly jobs = new Map<string, Job>();

  constructor(private readonly cloud: Cloud) {}

  /** Starts a job. The work gives the recovery point that it made or used. */
  start(kind: JobKind, operation: string, description: string, work: () => Promise<string>): Job {
    const created = this.cloud.clock.now();
    const job: Job = {
      id: ulid("j", created),
      kind,
      operation,
      description,
      created,
      abortToken: randomBytes(32).toString("base64"),
      attempt: 0,
      status: "Queued",
      recoveryPointId: undefined,
      error: undefined,
    };
    this.jobs.set(job.id, job);
    this.forgetOldest();
    this.cloud.background(`${operation} ${job.id}`, this.run(job, work));
    return job;
  }

  get(id: string): Job {
    const job = this.jobs.get(id);
    if (job !== undefined) return job;
    throw new AwsError("NotFound", `The job \`${id}\` was not found`, 404);
  }

  /** Those that have not ended. */
  active(kind: string | undefined): Job[] {
    const open = [...this.jobs.values()].filter(({ status }) => status === "Queued" || status === "Running");
    return open.filter((job) => (kind ?? job.kind) === job.kind);
  }

  private async run(job: Job, work: () => Promise<string>): Promise<void> {
    await this.cloud.clock.sleep(QUEUED_MS);
    job.status = "Running";
    for (job.attempt = 1; ; job.attempt++) {
      try {
        job.recoveryPointId = await work();
        job.status = "Succeeded";
        return;
      } catch (error) {
        job.error = error instanceof Error ? error.message : String(error);
        if (job.attempt < ATTEMPTS) continue;
        job.status = "Failed";
        throw error;
      }
    }
  }

  private forgetOldest(): void {
    const [oldest] = this.jobs.keys();
    if (this.jobs.size > KEPT_JOBS && oldest !== undefined) this.jobs.delete(oldest);
  }
}
