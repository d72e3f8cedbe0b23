import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import { readFileSync } from "node:fs";
import * as path from "node:path";
import type { Plan } from "../run/plan";
import { DemoEnvironment, type DemoFiles } from "./demo-environment";
import type { Deadlines, Engine } from "./plan";
import { demoDeployStatements } from "./policies";
import { ProtectedPipeline } from "./protected-pipeline";
import type { ProtectionArgs } from "./protection-args";
import { currentSite } from "./site";

/** The demo's configuration: plain values, none of them secret. */
export interface DemoConfig {
  /** Begins the names of everything. */
  readonly name: string;
  readonly engine: Engine;
  readonly writes: Plan["writes"];
  /** @default false */
  readonly deployOnCreate?: boolean;
  /** @default "heal" */
  readonly mode?: Plan["mode"];
  /** @default 5 */
  readonly pollSeconds?: number;
  /** @default 60 */
  readonly soakSeconds?: number;
  /** How many probes may fail while soaking. @default 2 */
  readonly soakTolerance?: number;
  /** @default 5 */
  readonly probeIntervalSeconds?: number;
  /** @default 5 */
  readonly probeTimeoutSeconds?: number;
  readonly deadlines?: Partial<Deadlines>;
  /** Certificates that sign the database's own, as PEM text. @default RDS's own */
  readonly caBundle?: string;
  /** Folder of a release to upload at once. @default none: the pipeline waits for one */
  readonly releaseDirectory?: string;
  /** A pg_dump file that fills the database. @default the shop's data */
  readonly dataFile?: string;
  /** @default "16" */
  readonly databaseVersion?: string;
  /** @default "db.t4g.micro" */
  readonly databaseClass?: string;
  /** @default "t3.micro" */
  readonly instanceType?: string;
  /** Address ranges from which the application may be visited. @default none */
  readonly visitors?: readonly string[];
  /** @default 7 */
  readonly retentionDays?: number;
  /** Image of all builds. @default CodeBuild's Amazon Linux 2023 */
  readonly image?: string;
  readonly computeTypes?: ProtectionArgs["computeTypes"];
  /** @default "rate(15 minutes)" */
  readonly rescueSchedule?: string;
}

/** The outputs of the demo's stack. Nothing of it is secret. */
export interface DemoOutputs {
  readonly pipelineName: pulumi.Output<string>;
  readonly sourceBucket: pulumi.Output<string>;
  readonly sourceKey: string;
  readonly artifactBucket: pulumi.Output<string>;
  readonly recoveryBucket: pulumi.Output<string>;
  readonly releaseBucket: pulumi.Output<string>;
  readonly toolkitBucket: pulumi.Output<string>;
  readonly toolkitKey: string;
  readonly instanceId: pulumi.Output<string>;
  readonly applicationUrl: pulumi.Output<string>;
  readonly databaseIdentifier: pulumi.Output<string>;
  readonly databaseName: string;
  readonly databaseHost: pulumi.Output<string>;
  readonly databasePort: pulumi.Output<number>;
  readonly masterSecretArn: pulumi.Output<string>;
  readonly applicationSecretArn: pulumi.Output<string>;
  readonly projects: Plan["projects"];
  readonly vpcId: pulumi.Output<string>;
  readonly privateSubnetIds: pulumi.Output<string[]>;
  readonly jobsSecurityGroupId: pulumi.Output<string>;
}

/** The object that the pipeline deploys. */
export const releaseKey = "release.zip";

/** The demo as one function: `index.ts` runs it for `pulumi up`, the driver as an inline program. */
export function demoProgram(config: DemoConfig): DemoOutputs {
  const retentionDays = config.retentionDays ?? 7;
  const environment = new DemoEnvironment(
    config.name,
    {
      retentionDays,
      visitors: config.visitors ?? [],
      ...given({
        caBundle: config.caBundle,
        dataFile: config.dataFile,
        engineVersion: config.databaseVersion,
        databaseClass: config.databaseClass,
        instanceType: config.instanceType,
      }),
    },
    demoFiles(config),
  );
  uploadRelease(config, environment);
  const pipeline = new ProtectedPipeline(config.name, {
    environment: config.name,
    engine: config.engine,
    writes: config.writes,
    source: { type: "s3", bucket: environment.bucket, bucketArn: environment.bucketArn, key: releaseKey },
    instances: [{ instanceId: environment.instanceId, arn: environment.instanceArn, paths: environment.instancePaths }],
    databases: [
      {
        arn: environment.databaseArn,
        host: environment.databaseHost,
        port: environment.databasePort,
        database: environment.databaseName,
        secretArn: environment.masterSecretArn,
      },
    ],
    network: environment.buildNetwork,
    probes: [
      {
        url: environment.probeUrl,
        ...given({ intervalSeconds: config.probeIntervalSeconds, timeoutSeconds: config.probeTimeoutSeconds }),
      },
    ],
    soak: given({ seconds: config.soakSeconds, tolerance: config.soakTolerance }),
    retentionDays,
    forceDestroy: true,
    deploy: demoDeploy(environment),
    ...given({
      caBundle: config.caBundle,
      deployOnCreate: config.deployOnCreate,
      mode: config.mode,
      pollSeconds: config.pollSeconds,
      deadlines: config.deadlines,
      image: config.image,
      computeTypes: config.computeTypes,
      rescueSchedule: config.rescueSchedule,
    }),
  });
  const { protection } = pipeline;
  return {
    pipelineName: pipeline.pipelineName,
    sourceBucket: environment.bucket,
    sourceKey: releaseKey,
    artifactBucket: pipeline.artifactBucket,
    recoveryBucket: protection.store.bucket,
    releaseBucket: environment.bucket,
    toolkitBucket: protection.toolkit.bucket,
    toolkitKey: protection.toolkit.key,
    instanceId: environment.instanceId,
    applicationUrl: environment.applicationUrl,
    databaseIdentifier: environment.databaseIdentifier,
    databaseName: environment.databaseName,
    databaseHost: environment.databaseHost,
    databasePort: environment.databasePort,
    masterSecretArn: environment.masterSecretArn,
    applicationSecretArn: environment.applicationSecretArn,
    projects: protection.projects,
    vpcId: environment.vpcId,
    privateSubnetIds: environment.privateSubnetIds,
    jobsSecurityGroupId: environment.jobsSecurityGroupId,
  };
}

/** What a release of the demo finds in its environment, and what it may do. */
function demoDeploy(environment: DemoEnvironment) {
  return {
    commands: ['export PGSSLROOTCERT="$CODEBUILD_SRC_DIR_Toolkit/ca.pem"', "bash ./deploy.sh"],
    environment: {
      INSTANCE_ID: environment.instanceId,
      PGHOST: environment.databaseHost,
      PGPORT: pulumi.interpolate`${environment.databasePort}`,
      PGDATABASE: environment.databaseName,
      PGSSLMODE: "verify-full",
      RELEASE_BUCKET: environment.bucket,
      DATABASE_SECRET_ARN: environment.masterSecretArn,
    },
    secrets: {
      PGUSER: pulumi.interpolate`${environment.masterSecretArn}:username`,
      PGPASSWORD: pulumi.interpolate`${environment.masterSecretArn}:password`,
    },
    statements: pulumi
      .all([currentSite(environment), environment.bucketArn, environment.instanceArn])
      .apply(([site, bucketArn, instanceArn]) => demoDeployStatements(site, bucketArn, instanceArn)),
  };
}

function uploadRelease(config: DemoConfig, environment: DemoEnvironment): void {
  if (config.releaseDirectory === undefined) return;
  new aws.s3.BucketObjectv2(
    `${config.name}-release`,
    {
      // Not before there is something to protect.
      bucket: pulumi.all([environment.bucket, environment.seeded]).apply(([bucket]) => bucket),
      key: releaseKey,
      source: new pulumi.asset.FileArchive(path.resolve(config.releaseDirectory)),
    },
    { parent: environment },
  );
}

/** The members that have a value: an absent member leaves the choice to the component's default. */
function given<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}

function demoFiles(config: DemoConfig): DemoFiles {
  const root = path.dirname(require.resolve("protected-pipeline/package.json"));
  const seed = path.join(root, "demo", "seed");
  return {
    server: path.join(root, "dist", "demo-app.js"),
    seed: path.join(root, "dist", "demo-seed.js"),
    seedScript: path.join(seed, "seed.sh"),
    // The shop's pages know the shop's tables; for other data there is a page that knows any.
    firstRelease: path.join(root, "demo", "app", config.dataFile === undefined ? "shop" : "any-database"),
    sql: ["schema.sql", "data.sql"].map((file) => readFileSync(path.join(seed, file), "utf8")),
  };
}
