/**
 * The plan: what a pipeline protects, how, and within which deadlines. The components write it, the jobs read it.
 * It holds no secret and no state of any run. A run stores its own copy as its first fact, and every later reader
 * uses that one.
 */
import * as z from "zod/mini";

const name = z.string().check(z.minLength(1));
const seconds = z.number().check(z.positive());

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
});

/** An EC2 instance with an EBS root volume. */
export const instanceTarget = z.strictObject({
  kind: z.literal("instance"),
  id: name.check(z.regex(/^[a-z0-9][a-z0-9-]*$/)),
  arn: name,
  instanceId: name.check(z.regex(/^i-[0-9a-f]+$/)),
  /** Absolute paths whose files are fingerprinted before and after. */
  paths: z.array(name),
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
