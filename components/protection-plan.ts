import * as pulumi from "@pulumi/pulumi";
import { parsePlan, type Plan, type Pooler, type Probe, type Target } from "../run/plan";
import type { Site } from "./policies";
import type { ProtectedDatabase, ProtectedInstance, ProtectionArgs, ProtectionProbe } from "./protection-args";
import { probeTimes, type Settings } from "./protection-settings";

/** The plan, once AWS has answered what it names. */
export function createPlan(
  args: ProtectionArgs,
  settings: Settings,
  site: pulumi.Output<Site>,
  bucket: pulumi.Output<string>,
  isolationGroup: pulumi.Output<string> | undefined,
): pulumi.Output<Plan> {
  const targets = pulumi.all([
    ...(args.instances ?? []).map(instanceTarget),
    ...(args.databases ?? []).map(databaseTarget),
  ]);
  const probes = pulumi.all((args.probes ?? []).map(probe));
  return pulumi.all([site, bucket, targets, probes, isolationGroup]).apply((known) => {
    const [at, storeBucket, targetList, probeList, isolationGroupId] = known;
    const made: Plan = {
      version: 1,
      environment: settings.environment,
      region: at.region,
      account: at.account,
      engine: settings.engine,
      store: { bucket: storeBucket },
      pipeline: settings.pipeline,
      projects: settings.projects,
      targets: targetList,
      deadlines: settings.deadlines,
      pollSeconds: settings.pollSeconds,
      probes: probeList,
      alarms: [...(args.alarms ?? [])],
      soak: settings.soak,
      writes: args.writes,
      healing: settings.healing,
      limits: settings.limits,
      ...(settings.engine === "elastio" && {
        elastio: {
          abortOnFailure: args.elastio?.abortOnFailure ?? false,
          ...(isolationGroupId !== undefined && { isolationGroupId }),
        },
      }),
      mode: args.mode ?? "heal",
      deployOnCreate: args.deployOnCreate ?? false,
      retentionDays: settings.retentionDays,
    };
    // The jobs parse it with the same schema: what they would refuse is refused here.
    return parsePlan(JSON.stringify(made));
  });
}

function instanceTarget(instance: ProtectedInstance): pulumi.Output<Target> {
  return pulumi.all([instance.arn, instance.instanceId]).apply(([arn, instanceId]): Target => ({
    kind: "instance",
    id: instance.id ?? "instance",
    arn,
    instanceId,
    paths: [...instance.paths],
    volumes: instance.volumes ?? "all",
    ...(instance.freeze !== undefined && { freeze: instance.freeze }),
  }));
}

function databaseTarget(given: ProtectedDatabase): pulumi.Output<Target> {
  return pulumi
    .all([given.arn, given.host, given.port ?? 5432, given.database, given.secretArn, pooler(given)])
    .apply(([arn, host, port, database, secretArn, front]): Target => ({
      kind: "database",
      id: given.id ?? "database",
      arn,
      host,
      port,
      database,
      adminDatabase: given.adminDatabase ?? "postgres",
      secretArn,
      accept: [...(given.accept ?? [])],
      sequences: given.sequences ?? "exact",
      stage: given.stage ?? "before",
      ...(front !== undefined && { pooler: front }),
    }));
}

function pooler({ pooler: given, database }: ProtectedDatabase): pulumi.Output<Pooler | undefined> {
  if (given === undefined) return pulumi.output(undefined);
  return pulumi
    .all([given.host, given.port ?? 6432, given.database ?? database, given.secretArn])
    .apply(([host, port, name, secretArn]) => ({ host, port, database: name, secretArn, tls: given.tls ?? true }));
}

function probe(given: ProtectionProbe): pulumi.Output<Probe> {
  return pulumi.output(given.url).apply((url) => ({ ...probeTimes(given), url, status: given.status ?? 200 }));
}
