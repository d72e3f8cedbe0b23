/**
 * Facts: write-once objects in the recovery store, one per assertion. The state of a run is the set of its facts.
 *
 * | key | written by | says |
 * |---|---|---|
 * | `runs/<run>/opened.json` | protect | the run exists; its own plan |
 * | `runs/<run>/<target>/frozen.json` | protect | its users' writes are being refused, from here to the verdict |
 * | `runs/<run>/<target>/protected.json` | protect | a recovery point exists (or is being made), with its fingerprint |
 * | `runs/<run>/<target>/staged.json` | wait | what a healing will put in place exists |
 * | `runs/<run>/<target>/proven.json` | wait | it was compared with the fingerprint, equal, and sealed |
 * | `runs/<run>/ticket.json` | guard | protection is complete, proven and fresh; the Guard is on watch |
 * | `runs/<run>/admitted.json` | admit, or guard and rescue to close it | the deploy build that consumed the protection |
 * | `runs/<run>/decided.json` | guard, rescue | healthy, failed or not deployed, and why |
 * | `runs/<run>/claims/<n>.json` | guard, rescue | the build that heals; n+1 takes over when n's build is over |
 * | `runs/<run>/fenced.json` | guard, rescue | nobody writes to the live environment any more |
 * | `runs/<run>/<target>/restored.json` | guard, rescue | with `stage: "on-failure"`: it was restored, compared, sealed |
 * | `runs/<run>/<target>/cut-over.json` | guard, rescue | the target is healed |
 * | `runs/<run>/verdict.json` | guard, rescue | how the run ended |
 * | `runs/<run>/resolution.json` | an operator | the run was settled by hand; nobody heals it any more |
 * | `runs/<run>/cleared.json` | guard, rescue, an operator | nothing is left of what the run made: its evidence is gone |
 */
import * as z from "zod/mini";
import { plan } from "./plan";

const at = z.iso.datetime();
const text = z.string().check(z.minLength(1));
const milliseconds = z.number().check(z.nonnegative());

/** Equality of one relation's rows: their number, and a sum of the hashes of their text. */
export const relationFingerprint = z.strictObject({ rows: text, hash: text });

/** What proves that two databases are equal. Equal fingerprints mean equal contents; see docs/exactness.md. */
export const databaseFingerprint = z.strictObject({
  /** By qualified, quoted name; partitions add up under their root. */
  relations: z.record(z.string(), relationFingerprint),
  /** By qualified, quoted name: `last_value,is_called`. */
  sequences: z.record(z.string(), z.string()),
  largeObjects: relationFingerprint,
  /** sha256 of the schema's canonical text (`docs/exactness.md`). */
  schema: text,
  /** sha256 over what a dump does not carry: settings, ACL, owner, extension versions. */
  properties: text,
});

export const opened = z.strictObject({ at, run: text, build: text, plan });

/** Written before anything is refused, so that whoever ends the run knows to allow it again. */
export const frozen = z.strictObject({ at });

export const databaseProtected = z.strictObject({
  at,
  kind: z.literal("database"),
  recoveryPoint: text,
  /** When the exported snapshot was taken: what a healing goes back to. */
  snapshotAt: at,
  bytes: z.number(),
  sha256: text,
  /** OID of the live database. Names change hands at the cut-over, OIDs do not. */
  oid: z.number(),
  serverVersion: z.number(),
  fingerprint: databaseFingerprint,
  /** Roles of the whole server, which no healing of a database undoes: name to a hash of all that is known of it. */
  roles: z.optional(z.record(z.string(), z.string())),
  /** What a restore has to know and a dump does not carry, as JSON; see jobs/database/origin.ts. */
  origin: z.optional(text),
  /** What the schema had at the snapshot: an object's kind and name to a hash of its owner and definition. */
  objects: z.optional(z.record(z.string(), z.string())),
  /** How long it took: what the next run goes by. */
  milliseconds,
});

/** A volume of an instance as it was attached, and what one that takes its place must be like. */
export const attachedVolume = z.strictObject({
  /** The name under which EC2 attaches it, for example `/dev/xvda`. */
  device: text,
  volumeId: text,
  root: z.boolean(),
  deleteOnTermination: z.boolean(),
  type: text,
  /** GiB. */
  size: z.number(),
  iops: z.optional(z.number()),
  throughput: z.optional(z.number()),
  encrypted: z.boolean(),
  kmsKeyId: z.optional(text),
  /** The volume's own tags, without AWS's. */
  tags: z.record(z.string(), z.string()),
});

export const instanceProtected = z.strictObject({
  at,
  kind: z.literal("instance"),
  /** The engine's background job. */
  job: text,
  /** The protected volumes, the root first. */
  volumes: z.array(attachedVolume).check(z.minLength(1)),
  snapshotAt: at,
  /** sha256 over the declared paths' files. */
  files: text,
});

export const protectedFact = z.discriminatedUnion("kind", [databaseProtected, instanceProtected]);

export const databaseStaged = z.strictObject({
  at,
  kind: z.literal("database"),
  database: text,
  oid: z.number(),
  /** How long it took: what the next run goes by. */
  milliseconds,
});

/** `stage: "on-failure"`: the recovery point was read whole and is what was stored; the healer restores it. */
export const recoveryPointStaged = z.strictObject({
  at,
  kind: z.literal("recovery-point"),
  recoveryPoint: text,
  milliseconds,
});

/** A volume that a healing puts in the place of the one that is attached as `device`. */
export const preparedVolume = z.strictObject({
  device: text,
  volumeId: text,
  /** What it was made of, where EC2 knows that. */
  snapshotId: z.optional(text),
});

export const instanceStaged = z.strictObject({
  at,
  kind: z.literal("instance"),
  recoveryPoint: text,
  /** Empty where the engine makes them on failure only. */
  volumes: z.array(preparedVolume),
});

export const staged = z.discriminatedUnion("kind", [databaseStaged, recoveryPointStaged, instanceStaged]);

/** What the healer has restored of a target whose `staged` is a `recovery-point`, compared and sealed. */
export const restored = z.strictObject({
  at,
  database: text,
  oid: z.number(),
  compared: text,
  sealedAt: at,
  seal: text,
  milliseconds,
});

export const proven = z.strictObject({
  at,
  kind: z.enum(["database", "instance"]),
  /** What was compared, for the report, for example `14 tables, 231,004 rows`. */
  compared: text,
  /** For a database: when it was closed to connections after the comparison. */
  sealedAt: z.optional(at),
  /** For a database: what any change to it since then would change; see jobs/database/seal.ts. */
  seal: z.optional(text),
  /** How long it took: what the next run goes by. */
  milliseconds: z.optional(milliseconds),
});

export const ticket = z.strictObject({
  at,
  /** The Guard's own build: only that one may say `healthy`. */
  build: text,
  deadline: at,
});

export const admitted = z.strictObject({
  at,
  build: text,
  /** The Guard or Rescue took the deploy build's place: nothing can be deployed in this run any more. */
  closed: z.optional(z.literal(true)),
});

export const decided = z.strictObject({
  at,
  build: text,
  decision: z.enum(["healthy", "failed", "not-deployed"]),
  reason: text,
  /** When the first sign of the failure was seen. */
  detectedAt: at,
});

export const claim = z.strictObject({ at, build: text });

export const fenced = z.strictObject({ at, sessionsEnded: z.number() });

export const databaseCutOver = z.strictObject({
  at,
  kind: z.literal("database"),
  /** Name of the failed database, kept. */
  evidence: text,
  failedOid: z.number(),
  liveOid: z.number(),
  /** From the fence of the database to the commit of the swap. */
  milliseconds: z.number(),
});

export const instanceCutOver = z.strictObject({
  at,
  kind: z.literal("instance"),
  /** What was exchanged: the volume that is attached now, and the failed one, kept as evidence. Empty when skipped. */
  volumes: z.array(z.strictObject({ device: text, volumeId: text, evidence: text })),
  /** True when the file fingerprint showed that nothing had changed. */
  skipped: z.boolean(),
  milliseconds: z.number(),
});

export const cutOver = z.discriminatedUnion("kind", [databaseCutOver, instanceCutOver]);

/** Rows that the healing took out of the live database, per table; see docs/healing.md. */
export const undoneTable = z.strictObject({
  /** Id of the database target. */
  target: z.optional(text),
  table: text,
  before: z.nullable(z.number()),
  failed: z.nullable(z.number()),
  /** What became of it: the table appeared, vanished, or its rows or columns changed. */
  change: z.enum(["added", "removed", "changed"]),
  /**
   * How many rows the failed database had that the snapshot has not, the snapshot had that it has not, and had with
   * other values. Absent where that was not found out.
   */
  rows: z.optional(
    z.strictObject({
      added: z.number(),
      removed: z.number(),
      changed: z.number(),
      /** Rows that users of the healed database had changed before they could be compared: the counts may be off by so many. */
      uncertain: z.optional(z.number()),
    }),
  ),
});

export const verdictKinds = ["healthy", "healed", "heal-failed", "would-heal", "not-deployed"] as const;

export const verdict = z.strictObject({
  at,
  build: text,
  verdict: z.enum(verdictKinds),
  reason: text,
  /** Milliseconds from the detection to green, and its parts; only after a healing. */
  rto: z.optional(
    z.strictObject({ total: z.number(), decision: z.number(), database: z.number(), instance: z.number() }),
  ),
  /** Age of the snapshot at the failure, in milliseconds. */
  rpo: z.optional(z.number()),
  /** Sum of the milliseconds in which the probes failed, from the first failure to green. */
  outage: z.optional(z.number()),
  undone: z.optional(z.array(undoneTable)),
  /** Schema objects that differed in the failed database, one line each. */
  undoneObjects: z.optional(z.array(text)),
  /** What a healing cannot undo and was seen to differ, such as roles. */
  notUndone: z.optional(z.array(text)),
});

/** An operator has settled a run by hand: one that has no verdict, or whose healing failed. */
export const resolution = z.strictObject({
  at,
  /** ARN of the caller. */
  by: text,
  /** How the environment is now. */
  as: z.enum(["healthy", "healed", "abandoned"]),
  reason: text,
});

export const cleared = z.strictObject({
  at,
  /** The build that found that nothing is left, or the ARN of the operator who removed it. */
  by: text,
  /** What was removed, one line each. */
  removed: z.array(text),
});

export type DatabaseFingerprint = z.infer<typeof databaseFingerprint>;
export type Opened = z.infer<typeof opened>;
export type Frozen = z.infer<typeof frozen>;
export type Protected = z.infer<typeof protectedFact>;
export type DatabaseProtected = z.infer<typeof databaseProtected>;
export type AttachedVolume = z.infer<typeof attachedVolume>;
export type PreparedVolume = z.infer<typeof preparedVolume>;
export type InstanceProtected = z.infer<typeof instanceProtected>;
export type Staged = z.infer<typeof staged>;
export type DatabaseStaged = z.infer<typeof databaseStaged>;
export type InstanceStaged = z.infer<typeof instanceStaged>;
export type Restored = z.infer<typeof restored>;
export type Proven = z.infer<typeof proven>;
export type Ticket = z.infer<typeof ticket>;
export type Admitted = z.infer<typeof admitted>;
export type Decided = z.infer<typeof decided>;
export type Claim = z.infer<typeof claim>;
export type Fenced = z.infer<typeof fenced>;
export type CutOver = z.infer<typeof cutOver>;
export type DatabaseCutOver = z.infer<typeof databaseCutOver>;
export type InstanceCutOver = z.infer<typeof instanceCutOver>;
export type UndoneTable = z.infer<typeof undoneTable>;
export type Resolution = z.infer<typeof resolution>;
export type Cleared = z.infer<typeof cleared>;
export type Verdict = z.infer<typeof verdict>;

/** Schemas of the facts about a whole run, by the name in their key. */
export const runFacts = { opened, ticket, admitted, decided, fenced, verdict, resolution, cleared } as const;
/** Schemas of the facts about one target, by the name in their key. */
export const targetFacts = {
  frozen,
  protected: protectedFact,
  staged,
  proven,
  restored,
  "cut-over": cutOver,
} as const;

export type RunFactName = keyof typeof runFacts;
export type TargetFactName = keyof typeof targetFacts;

/** Where the fact lies in the recovery store. */
export function runFactKey(run: string, fact: RunFactName): string {
  return `runs/${run}/${fact}.json`;
}

export function targetFactKey(run: string, target: string, fact: TargetFactName): string {
  return `runs/${run}/${target}/${fact}.json`;
}

export function claimKey(run: string, number: number): string {
  return `runs/${run}/claims/${number}.json`;
}
