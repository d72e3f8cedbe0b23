import * as pulumi from "@pulumi/pulumi";
import type { DemoConfig } from "./demo-program";
import { InvalidArgumentsError } from "./errors";
import type { ComputeType } from "./command-project";
import type { Deadlines } from "./plan";

type Job = "protect" | "wait" | "guard" | "rescue";

/** Reads the stack's configuration (`Pulumi.<stack>.yaml`). Throws one error that names the first wrong value. */
export function configOf(config: pulumi.Config): DemoConfig {
  const members: { [K in keyof DemoConfig]: DemoConfig[K] | undefined } = {
    name: config.get("name") ?? `${pulumi.getProject()}-${pulumi.getStack()}`,
    engine: oneOf(config, "engine", ["aws", "elastio"]) ?? "aws",
    writes: required(config, "writes", oneOf(config, "writes", ["freeze", "continue"])),
    mode: oneOf(config, "mode", ["heal", "observe"]),
    deployOnCreate: config.getBoolean("deployOnCreate"),
    pollSeconds: config.getNumber("pollSeconds"),
    soakSeconds: config.getNumber("soakSeconds"),
    soakTolerance: config.getNumber("soakTolerance"),
    probeIntervalSeconds: config.getNumber("probeIntervalSeconds"),
    probeTimeoutSeconds: config.getNumber("probeTimeoutSeconds"),
    deadlines: config.getObject<Partial<Deadlines>>("deadlines"),
    caBundle: config.get("caBundle"),
    releaseDirectory: config.get("releaseDirectory"),
    dataFile: config.get("dataFile"),
    databaseVersion: config.get("databaseVersion"),
    databaseClass: config.get("databaseClass"),
    instanceType: config.get("instanceType"),
    visitors: config.getObject<string[]>("visitors"),
    retentionDays: config.getNumber("retentionDays"),
    image: config.get("image"),
    computeTypes: config.getObject<Partial<Record<Job, ComputeType>>>("computeTypes"),
    rescueSchedule: config.get("rescueSchedule"),
  };
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== undefined),
  ) as unknown as DemoConfig;
}

function oneOf<T extends string>(config: pulumi.Config, key: string, allowed: readonly T[]): T | undefined {
  const value = config.get(key);
  if (value === undefined) return undefined;
  const found = allowed.find((each) => each === value);
  if (found === undefined) {
    throw new InvalidArgumentsError(`The configuration "${key}" is "${value}": give ${allowed.join(" or ")}.`);
  }
  return found;
}

function required<T>(config: pulumi.Config, key: string, value: T | undefined): T {
  if (value !== undefined) return value;
  throw new InvalidArgumentsError(
    `The configuration "${key}" is missing: set it with "pulumi config set ${config.name}:${key} <value>".`,
  );
}
