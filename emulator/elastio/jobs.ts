/** Background jobs: states, attempts, an abort token each. */
import { randomBytes } from "node:crypto";
import { AwsError, type Cloud } from "../core/definitions";
import { ulid } from "./ids";

export type JobKind = "backup" | "restore";
export type JobStatus = "Queued" | "Running" | "Succeeded" | "Failed" | "Aborted";

/**
 * What a job does. Gives the recovery point that it made or used. `lie`: it is to say that it has succeeded and to have
 * kept nothing of what it was to keep.
 */
export type Work = (lie: boolean) => Promise<string>;

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
const QUEUED_MS = 50;
const KEPT_JOBS = 1_000;

export class Jobs {
  private readonly jobs = new Map<string, Job>();

  constructor(private readonly cloud: Cloud) {}

  /** Starts a job in the background: a worker has to be started first, and may try again. */
  start(kind: JobKind, operation: string, description: string, work: Work): Job {
    const job = this.add(kind, operation, description);
    const run = async (): Promise<void> => {
      await this.cloud.clock.sleep(QUEUED_MS);
      await this.perform(job, work, ATTEMPTS);
    };
    this.cloud.background(`${operation} ${job.id}`, run());
    return job;
  }

  /** Does a job at once, on behalf of whoever waits for it. Throws when it fails. */
  async run(kind: JobKind, operation: string, description: string, work: Work): Promise<Job> {
    const job = this.add(kind, operation, description);
    await this.perform(job, work, 1);
    return job;
  }

  /** Ends a job that has not ended, for whoever has its token. Its worker may hear of it late, and leave what it made. */
  abort(id: string, token: string | undefined): Job {
    const job = this.get(id);
    if (token !== job.abortToken)
      throw new AwsError("AccessDenied", `The abort token of \`${id}\` is another one`, 403);
    if (isOpen(job)) job.status = "Aborted";
    return job;
  }

  private add(kind: JobKind, operation: string, description: string): Job {
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
    return job;
  }

  get(id: string): Job {
    const job = this.jobs.get(id);
    if (job !== undefined) return job;
    throw new AwsError("NotFound", `The job \`${id}\` was not found`, 404);
  }

  /** Those that have not ended. */
  active(kind: string | undefined): Job[] {
    const open = [...this.jobs.values()].filter(isOpen);
    return open.filter((job) => (kind ?? job.kind) === job.kind);
  }

  private async perform(job: Job, work: Work, attempts: number): Promise<void> {
    for (job.attempt = 1; isOpen(job); job.attempt++) {
      job.status = "Running";
      try {
        const point = await this.attempt(job, work);
        if (!isOpen(job)) return;
        job.recoveryPointId = point;
        job.status = "Succeeded";
        return;
      } catch (error) {
        job.error = error instanceof Error ? error.message : String(error);
        if (job.attempt < attempts) continue;
        if (isOpen(job)) job.status = "Failed";
        throw error;
      }
    }
  }

  private async attempt(job: Job, work: Work): Promise<string> {
    const { id, operation, description } = job;
    const fault = this.cloud.faults.at("elastio.job", { job: id, operation, description });
    if (fault?.kind === "fail") throw new Error(fault.message);
    if (fault?.kind === "hang") await fault.released;
    return work(fault?.kind === "lie");
  }

  private forgetOldest(): void {
    const [oldest] = this.jobs.keys();
    if (this.jobs.size > KEPT_JOBS && oldest !== undefined) this.jobs.delete(oldest);
  }
}

function isOpen({ status }: Job): boolean {
  return status === "Queued" || status === "Running";
}
