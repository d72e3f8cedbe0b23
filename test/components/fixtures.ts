/** A plan and a scope, as the components make them. */
import type { JobScope } from "../../components/policies";
import { defaultDeadlines, defaultLimits, defaultSoak } from "../../components/plan";
import type { Plan } from "../../run/plan";

export const site = { partition: "aws", region: "us-east-1", account: "123456789012" } as const;
export const instanceArn = "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0";
export const secretArn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:master-AbCdEf";
export const storeArn = "arn:aws:s3:::shop-recovery";

export function planOf(engine: Plan["engine"]): Plan {
  return {
    version: 1,
    environment: "shop",
    region: site.region,
    account: site.account,
    engine,
    store: { bucket: "shop-recovery" },
    pipeline: { name: "shop", deployStage: "Deploy", deployAction: "Deploy", guardAction: "Guard" },
    projects: {
      protect: "shop-protect",
      wait: "shop-wait",
      deploy: "shop-deploy",
      guard: "shop-guard",
      rescue: "shop-rescue",
    },
    targets: [
      {
        kind: "instance",
        id: "instance",
        arn: instanceArn,
        instanceId: "i-0123456789abcdef0",
        paths: ["/opt/shop"],
        volumes: "root",
      },
      {
        kind: "database",
        id: "database",
        arn: "arn:aws:rds:us-east-1:123456789012:db:shop",
        host: "shop.abcdefgh.us-east-1.rds.amazonaws.com",
        port: 5432,
        database: "shop",
        adminDatabase: "postgres",
        secretArn,
        accept: [],
        sequences: "exact",
        stage: "before",
      },
    ],
    deadlines: defaultDeadlines,
    pollSeconds: 5,
    probes: [],
    alarms: ["shop-errors"],
    soak: defaultSoak,
    writes: "continue",
    healing: "always",
    limits: defaultLimits,
    mode: "heal",
    deployOnCreate: false,
    retentionDays: 35,
  };
}

export function scopeOf(engine: Plan["engine"], volumeKeyArns: readonly string[] = []): JobScope {
  return { site, plan: planOf(engine), storeArn, volumeKeyArns };
}
