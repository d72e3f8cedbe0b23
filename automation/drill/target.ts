/** Where a drill runs: the embedded AWS, made for it and gone with it. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { startEmulator, type Emulator } from "../../emulator/emulator";
import type { RecordedCall } from "../../emulator/core/recorder";
import type { Setup } from "../setup";
import type { Scratch } from "./scratch";

export interface Target {
  /** How often something that nobody announces is looked at. */
  readonly pollMilliseconds: number;
  /** What the Pulumi engine needs to find the providers. */
  readonly pulumiEnvironment: Readonly<Record<string, string>>;
  /** The CA bundle of the database servers, PEM. */
  readonly caBundle: string;
  readonly databaseVersion: string;
  /** From where the driver reaches the application. */
  readonly visitors: readonly string[];
  /** With what the operator's commands reach the databases from this machine. */
  operatorOptions(): Promise<string>;
  /** Every AWS call that was made, by whom it was made and with which input. Inputs hold secrets. */
  calls(): readonly RecordedCall[];
  /** Gets ready for the first calls. */
  warmUp(): Promise<void>;
  close(): Promise<void>;
}

/** Variables that would lead the official clients, the engine or PostgreSQL's programs elsewhere. */
const foreign = /^(AWS_|PULUMI_|PG[A-Z]+$|ELASTIO_)/;

/**
 * Makes this process, and what it starts, see nothing but the target: an ambient profile or backend must not leak
 * into a drill, and a drill must not leak into an account.
 */
export function enterEnvironment(environment: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(process.env)) if (foreign.test(name)) delete process.env[name];
  Object.assign(process.env, environment, {
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
  });
}

export async function startLocalTarget(setup: Setup, scratch: Scratch): Promise<Target> {
  // Whatever makes a temporary folder makes it in the drill's own.
  process.env.TMPDIR = scratch.directory;
  process.env.PROTECTED_PIPELINE_POSTGRES_BIN = setup.postgresBin;
  const emulator = await startEmulator({ directory: scratch.directory });
  enterEnvironment(emulator.environment);
  return localTarget(emulator, setup, scratch);
}

/**
 * The engine writes its whole state after every step: 5 of a drill's 50 seconds of processor time. A state that was
 * written once, at the end of an update or of its cancellation, is enough where everything dies with the driver.
 */
const stateAtTheEnd = { PULUMI_EXPERIMENTAL: "true", PULUMI_SKIP_CHECKPOINTS: "true" };

function localTarget(emulator: Emulator, setup: Setup, scratch: Scratch): Target {
  return {
    pollMilliseconds: 100,
    pulumiEnvironment: { ...emulator.environment, ...emulator.pulumiEnvironment, ...stateAtTheEnd },
    caBundle: emulator.cloud.stores.rds.caCertificate,
    databaseVersion: String(setup.postgresMajor),
    visitors: ["127.0.0.1/32"],
    operatorOptions: async () => {
      const authorities = path.join(await scratch.folder("operator"), "database-ca.pem");
      await fs.writeFile(authorities, emulator.cloud.stores.rds.caCertificate);
      const hosts = Object.entries(emulator.cloud.network.hosts());
      const [, address] = hosts.find(([name]) => name.endsWith(".rds.amazonaws.com")) ?? [];
      return `${address === undefined ? "" : `--host ${address} `}--ca ${authorities}`;
    },
    calls: () => emulator.recorder.calls,
    warmUp: () => emulator.warmUp(),
    close: () => emulator.close(),
  };
}
