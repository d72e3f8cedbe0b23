/** The report of a drill: what `report.json` holds. Durations are milliseconds. */
import * as z from "zod/mini";
import { undoneTable, verdictKinds } from "./facts";

const duration = z.nullable(z.number().check(z.nonnegative()));

/** One thing that had to be true. A check that could not be made did not hold. */
export const check = z.strictObject({ name: z.string(), held: z.boolean(), detail: z.string() });

export const report = z.strictObject({
  version: z.literal(1),
  passed: z.boolean(),
  /** For example `bad`, `good`, `break`, `sabotage-heal`. */
  scenario: z.string(),
  engine: z.enum(["elastio", "aws"]),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  /** Null when the run has none. */
  verdict: z.nullable(z.enum(verdictKinds)),
  execution: z.nullable(
    z.strictObject({
      id: z.string(),
      status: z.string(),
      stages: z.array(
        z.strictObject({
          name: z.string(),
          status: z.string(),
          actions: z.array(
            z.strictObject({ name: z.string(), status: z.string(), milliseconds: duration, summary: z.string() }),
          ),
        }),
      ),
    }),
  ),
  /** From the detection to green; null when nothing was healed. */
  rto: z.nullable(z.strictObject({ total: duration, decision: duration, database: duration, instance: duration })),
  /** Age of the snapshot at the failure. */
  rpo: duration,
  /** How long a client of the application got no good answer during the healing, by the probes. */
  outage: duration,
  /** The same by a client outside of everything, from the first bad answer on; null when it is not over or not known. */
  clientOutage: z.optional(duration),
  undone: z.array(undoneTable),
  /** Schema objects that differed in the failed database, one line each. */
  undoneObjects: z.array(z.string()),
  /** What differs still, because a healing cannot undo it, such as roles. */
  notUndone: z.array(z.string()),
  checks: z.array(check),
});

export type Report = z.infer<typeof report>;
export type Check = z.infer<typeof check>;
