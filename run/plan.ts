/**
 * The plan: what a pipeline protects, how, and within which deadlines. The components write it, the jobs read it.
 * It holds no secret and no state of any run. A run stores its own copy as its first fact, and every later reader
 * uses that one.
 */
import * as z from "zod/mini";

const name = z.string().check(z.minLength(1));
const seconds = z.number().check(z.positive());
const count = z.int().check(z.positive());

/** PgBouncer in front of a database: a healing pauses it before the exchange and resumes it after. */
export const pooler = z.strictObject({
  host: name,
  port: z.number(),
  /** The database's name in PgBouncer. */
  database: name,
  /** ARN of the secret of a user in PgBouncer's `admin_users`, a JSON object with `username` and `password`. */
  secretArn: name,
  tls: z.boolean(),
});

/** A PostgreSQL database on an RDS instance. */
export const databaseTarget = z.strictObject({
  kind: z.literal("database"),
  /** Unique in the plan; names the target's facts and reports. */
  id: name.check(z.regex(/^[a-z0-9][a-z0-9-]*$/)),
  /** ARN of the RDS instance; the lease is taken under its hash. */
  arn: name,
  host: name,
  port: z.number(),
  /** The database to protect. */
  database: name,
  /** Where the Guard's admin connection goes: one cannot close the database that one is connected to. */
  adminDatabase: name,
  /** ARN of the master's secret, a JSON object with `username` and `password`. */
  secretArn: name,
  /** Codes of findings of the preflight that the owner accepts: what would stop the run is only told. */
  accept: z.array(name),
  /** `exact`: sequences as they were. `advance`: never back, so that no number is given out twice. */
  sequences: z.enum(["exact", "advance"]),
  /**
   * What a healing puts in place, and when it is made. `before`: restored from the vault before the deploy. `clone`: an
   * exact copy of the live database by `CREATE DATABASE ... TEMPLATE`, before the deploy, for which the database is
   * closed for as long as the copy takes; the vault's dump is proven beside it. `on-failure`: restored from the vault
   * when the deploy has failed; the recovery point is only read and verified before.
   */
  stage: z.enum(["before", "clone", "on-failure"]),
  pooler: z.optional(pooler),
});

/** An EC2 instance with an EBS root volume. */
export const instanceTarget = z.strictObject({
  kind: z.literal("instance"),
  id: name.check(z.regex(/^[a-z0-9][a-z0-9-]*$/)),
  arn: name,
  instanceId: name.check(z.regex(/^i-[0-9a-f]+$/)),
  /** Absolute paths whose files are fingerprinted before and after. */
  paths: z.array(name),
  /** Which volumes are protected and healed; with `root`, others stay as a failed deploy leaves them. */
  volumes: z.enum(["all", "root"]),
  /**
   * Shell commands that SSM runs on the instance right before and right after the moment of its backup. `thaw` runs on
   * the instance by itself after `thawSeconds`, whatever became of the job.
   */
  freeze: z.optional(z.strictObject({ freeze: name, thaw: name, thawSeconds: seconds })),
});

export const target = z.discriminatedUnion("kind", [databaseTarget, instanceTarget]);

/** An HTTP address that tells whether the application is well. */
export const probe = z.strictObject({
  id: name,
  url: name,
  /** The status that means well. */
  status: z.number(),
  intervalSeconds: seconds,
  timeoutSeconds: seconds,
});

export const plan = z.strictObject({
  version: z.literal(1),
  /** What is protected, in the words of its owner, for example `shop-production`. */
  environment: name,
  region: name,
  account: name,
  engine: z.enum(["elastio", "aws"]),
  /** The recovery store: facts under `runs/`, and for the engine `aws` the dumps under `vault/`. */
  store: z.strictObject({ bucket: name }),
  pipeline: z.strictObject({
    name,
    deployStage: name,
    deployAction: name,
    guardAction: name,
  }),
  /** CodeBuild projects by job. */
  projects: z.strictObject({ protect: name, wait: name, deploy: name, guard: name, rescue: name }),
  targets: z.array(target).check(z.minLength(1)),
  deadlines: z.strictObject({
    /** For a lease that another run holds. */
    leaseSeconds: seconds,
    protectSeconds: seconds,
    waitSeconds: seconds,
    /** How long `admit` waits for the ticket, and the Guard for an admission, before failing closed. */
    admitSeconds: seconds,
    /** From the ticket to the end of the deploy build. */
    deploySeconds: seconds,
    healSeconds: seconds,
    /** How old a proven protection may be when the ticket is signed. */
    freshSeconds: seconds,
  }),
  /** Pause between two looks at a state that nobody announces, before jitter. */
  pollSeconds: seconds,
  probes: z.array(probe),
  /** Names of CloudWatch alarms that must be OK. */
  alarms: z.array(name),
  /** How long the probes must hold after a successful deploy, and how many of them may fail in that time. */
  soak: z.strictObject({ seconds: z.number().check(z.nonnegative()), tolerance: z.number().check(z.nonnegative()) }),
  /** What users write between the snapshot and the verdict: `continue` loses it from the live database on a healing. */
  writes: z.enum(["freeze", "continue"]),
  /** `when-changed`: an instance whose files are as they were is left alone. */
  healing: z.enum(["always", "when-changed"]),
  limits: z.strictObject({
    /** How many targets are worked on at the same time. */
    parallelTargets: count,
    /** How many connections restore one database. */
    stageWorkers: count,
    /** Bytes per second for reading a live database, and for restoring beside it. Unbounded when absent. */
    maxRate: z.optional(z.number().check(z.positive())),
  }),
  /** Settings of the engine `elastio`. */
  elastio: z.optional(
    z.strictObject({
      /** Ask Elastio to end a background backup whose run has failed. */
      abortOnFailure: z.boolean(),
      /** A security group without any rule, which a restored copy of an instance gets until it is gone. */
      isolationGroupId: z.optional(name),
    }),
  ),
  /** `observe` does everything but heal. */
  mode: z.enum(["heal", "observe"]),
  /** Whether the execution that the creation of a pipeline starts may deploy. */
  deployOnCreate: z.boolean(),
  /** How long evidence (the failed database, the old volume) is kept. */
  retentionDays: z.number().check(z.positive()),
});

export type Plan = z.infer<typeof plan>;
export type Target = z.infer<typeof target>;
export type DatabaseTarget = z.infer<typeof databaseTarget>;
export type InstanceTarget = z.infer<typeof instanceTarget>;
export type Pooler = z.infer<typeof pooler>;
export type Limits = Plan["limits"];
export type Probe = z.infer<typeof probe>;

/** Parses a plan. Throws an error that names every member that is wrong. */
export function parsePlan(text: string): Plan {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`the protection plan is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const result = z.safeParse(plan, value);
  if (!result.success) throw new Error(`the protection plan is not valid: ${z.prettifyError(result.error)}`);
  const ids = result.data.targets.map((each) => each.id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new Error(`the protection plan names the target "${twice}" twice; ids are unique`);
  return result.data;
}
