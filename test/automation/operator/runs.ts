/** Facts of runs as the jobs write them, for what an operator does with them. */
import * as facts from "../../../run/facts";
import { type RunId, runId } from "../../../run/ids";
import { type Plan, plan as planSchema } from "../../../run/plan";
import type { RunFacts } from "../../../run/state";

export const run = runId("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
export const build = "guard:7c9e6679-7425-40de-944b-e07fc1f90ae7";
const instanceId = "i-0123456789abcdef0";

export interface Server {
  readonly host: string;
  readonly port: number;
  readonly secretArn: string;
}

export function planOf(server: Partial<Server> = {}): Plan {
  const {
    host = "db.example",
    port = 5432,
    secretArn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s",
  } = server;
  const deadlines = ["lease", "protect", "wait", "admit", "deploy", "heal", "fresh"].map(
    (name) => [`${name}Seconds`, 60] as const,
  );
  return planSchema.parse({
    version: 1,
    environment: "shop-production",
    region: "us-east-1",
    account: "123456789012",
    engine: "elastio",
    store: { bucket: "recovery" },
    pipeline: { name: "shop", deployStage: "Deploy", deployAction: "Deploy", guardAction: "Guard" },
    projects: { protect: "protect", wait: "wait", deploy: "deploy", guard: "guard", rescue: "rescue" },
    targets: [
      {
        kind: "database",
        id: "orders",
        arn: "arn:aws:rds:us-east-1:123456789012:db:shop",
        host,
        port,
        database: "shop",
        adminDatabase: "postgres",
        secretArn,
        accept: [],
        sequences: "exact",
        stage: "before",
      },
      {
        kind: "instance",
        id: "web",
        arn: `arn:aws:ec2:us-east-1:123456789012:instance/${instanceId}`,
        instanceId,
        paths: ["/opt/shop"],
        volumes: "root",
      },
    ],
    deadlines: Object.fromEntries(deadlines),
    pollSeconds: 1,
    probes: [],
    alarms: [],
    soak: { seconds: 0, tolerance: 0 },
    writes: "continue",
    mode: "heal",
    healing: "always",
    limits: { parallelTargets: 2, stageWorkers: 1 },
    deployOnCreate: false,
    retentionDays: 14,
  });
}

export interface Healed {
  readonly plan?: Plan;
  readonly verdict?: "healed" | "heal-failed" | "none";
  readonly failedOid?: number;
  readonly liveOid?: number;
  readonly volumeId?: string;
  /** When the run began; its facts follow a minute apart. */
  readonly began?: Date;
}

/** A run that was deployed, failed and was healed, or was to be. */
export function healedRun(options: Healed = {}): RunFacts {
  const { plan = planOf(), verdict = "healed", failedOid = 16384, liveOid = 16999 } = options;
  const began = options.began ?? new Date("2026-11-20T10:00:00Z");
  let minutes = 0;
  const at = () => new Date(began.getTime() + minutes++ * 60_000).toISOString();
  const none = { rows: "0", hash: "0" };
  const fingerprint = { relations: {}, sequences: {}, largeObjects: none, schema: "s", properties: "p" };
  const cutOver = verdict === "healed";
  const volumeId = options.volumeId ?? "vol-0bad";
  const volume = { device: "/dev/xvda", volumeId, root: true, deleteOnTermination: true, type: "gp3", size: 8 };
  const opened = { at: at(), run, build, plan };
  const orders = {
    protected: {
      at: at(),
      kind: "database" as const,
      recoveryPoint: "rp-1",
      snapshotAt: began.toISOString(),
      bytes: 10,
      sha256: "x",
      oid: failedOid,
      serverVersion: 150018,
      fingerprint,
      milliseconds: 10,
    },
    staged: { at: at(), kind: "database" as const, database: "shop_staged_1b9d6bcd", oid: liveOid, milliseconds: 10 },
    proven: { at: at(), kind: "database" as const, compared: "3 tables, 12 rows", sealedAt: at(), seal: "seal" },
  };
  const web = {
    protected: {
      at: at(),
      kind: "instance" as const,
      job: "j-2",
      volumes: [{ ...volume, encrypted: true, tags: {} }],
      snapshotAt: began.toISOString(),
      files: "f",
    },
    staged: {
      at: at(),
      kind: "instance" as const,
      recoveryPoint: "rp-2",
      volumes: [{ device: "/dev/xvda", volumeId: "vol-0good" }],
    },
    proven: { at: at(), kind: "instance" as const, compared: "a volume" },
  };
  const ticket = { at: at(), build, deadline: at() };
  const admitted = { at: at(), build: "deploy:1" };
  const decided = { at: at(), build, decision: "failed" as const, reason: "build deploy:1 FAILED", detectedAt: at() };
  const claims = [{ at: at(), build }];
  const fenced = { at: at(), sessionsEnded: 3 };
  const databaseCutOver = {
    at: at(),
    kind: "database" as const,
    evidence: "shop_failed_1b9d6bcd",
    failedOid,
    liveOid,
    milliseconds: 20,
  };
  const instanceCutOver = {
    at: at(),
    kind: "instance" as const,
    volumes: [{ device: "/dev/xvda", volumeId: "vol-0good", evidence: volumeId }],
    skipped: false,
    milliseconds: 900,
  };
  return {
    opened,
    ticket,
    admitted,
    decided,
    claims,
    fenced,
    ...(verdict === "none" ? {} : { verdict: { at: at(), build, verdict, reason: "the deploy failed" } }),
    targets: {
      orders: { ...orders, ...(cutOver ? { cutOver: databaseCutOver } : {}) },
      web: { ...web, ...(cutOver ? { cutOver: instanceCutOver } : {}) },
    },
  };
}

/** The objects of the recovery store that say this. */
export function objectsOf(id: RunId, { claims, targets, ...about }: RunFacts): Map<string, string> {
  const objects = new Map<string, string>();
  for (const [name, schema] of Object.entries(facts.runFacts)) {
    const fact = about[name as keyof typeof about];
    if (fact !== undefined)
      objects.set(facts.runFactKey(id, name as facts.RunFactName), JSON.stringify(schema.parse(fact)));
  }
  claims.forEach((each, index) => objects.set(facts.claimKey(id, index + 1), JSON.stringify(each)));
  for (const [target, known] of Object.entries(targets)) {
    for (const [name, schema] of Object.entries(facts.targetFacts)) {
      const fact = known[(name === "cut-over" ? "cutOver" : name) as keyof typeof known];
      if (fact === undefined) continue;
      const key = facts.targetFactKey(id, target, name as facts.TargetFactName);
      objects.set(key, JSON.stringify(schema.parse(fact)));
    }
  }
  return objects;
}
