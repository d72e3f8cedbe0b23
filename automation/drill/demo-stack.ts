/** The inline program of a drill: the demo that `index.ts` runs, and beside it what the outside judge needs. */
import type { DemoConfig } from "../../components/demo-program";
import type { Engine } from "./options";
import type { DataFile } from "./preflight";
import { saboteurs } from "./sabotage";
import type { Scenario } from "./scenario";
import type { Target } from "./target";

/** What the driver reads of the stack's outputs. */
export interface DrillOutputs {
  readonly pipelineName: string;
  readonly sourceBucket: string;
  readonly sourceKey: string;
  readonly artifactBucket: string;
  readonly recoveryBucket: string;
  readonly releaseBucket: string;
  readonly toolkitBucket: string;
  readonly vpcId: string;
  readonly instanceId: string;
  readonly applicationUrl: string;
  readonly databaseName: string;
  readonly masterSecretArn: string;
  readonly applicationSecretArn: string;
  readonly projects: Readonly<Record<"protect" | "wait" | "deploy" | "guard" | "rescue", string>>;
  readonly truthBucket: string;
  readonly truthProject: string;
  readonly sabotageProject: string;
}

export interface DemoStackArgs {
  readonly name: string;
  readonly engine: Engine;
  readonly target: Target;
  readonly scenario: Scenario;
  readonly data?: DataFile | undefined;
}

/** Deadlines of a drill: its data is small, so an answer that takes longer will not come. Seconds. */
const deadlines = {
  leaseSeconds: 60,
  protectSeconds: 600,
  waitSeconds: 600,
  admitSeconds: 90,
  deploySeconds: 600,
  healSeconds: 300,
};
/** With `--hold` a release waits for a person. */
const heldDeploySeconds = 4 * 3600;

/** Loaded when they are needed, or before: they bring Pulumi's SDK of AWS. */
export function loadPrograms() {
  /* eslint-disable @typescript-eslint/no-require-imports -- loaded when they are needed, and not before */
  const { demoProgram } = require("../../components/demo-program") as typeof import("../../components/demo-program");
  const { judgeProgram } = require("./judge-program") as typeof import("./judge-program");
  /* eslint-enable */
  return { demoProgram, judgeProgram };
}

export function demoStack(args: DemoStackArgs): () => Promise<Record<string, unknown>> {
  return async () => {
    const { target, scenario, name } = args;
    const { demoProgram, judgeProgram } = loadPrograms();
    const demo = demoProgram(demoConfig(args));
    const sabotage = scenario.sabotage === undefined ? undefined : saboteurs[scenario.sabotage].commands;
    return { ...demo, ...judgeProgram({ name, demo, caBundle: target.caBundle, sabotage }) };
  };
}

function demoConfig({ name, engine, target, scenario, data }: DemoStackArgs): DemoConfig {
  return {
    name,
    engine,
    writes: "continue",
    caBundle: target.caBundle,
    databaseVersion: target.databaseVersion,
    visitors: [...target.visitors],
    pollSeconds: target.pollMilliseconds / 1000,
    soakSeconds: 2,
    soakTolerance: 0,
    probeIntervalSeconds: 0.1,
    probeTimeoutSeconds: 1,
    deadlines: { ...deadlines, ...(scenario.held ? { deploySeconds: heldDeploySeconds } : {}) },
    ...(data === undefined ? {} : { dataFile: data.file }),
  };
}
