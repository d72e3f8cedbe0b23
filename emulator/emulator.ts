import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddedCloud } from "./core/cloud";
import type { Cloud, Install } from "./core/definitions";
import type { Faults } from "./core/faults";
import { LoopbackNetwork } from "./core/network";
import type { Recorder } from "./core/recorder";
import { installElastio } from "./elastio";
import { type Providers, startProviders } from "./provider/providers";
import { installs } from "./services";

export interface EmulatorOptions {
  /** Where the emulator's own folder is made. Default: the system's temporary folder. */
  readonly directory?: string;
  /** The port of the endpoint on 127.0.0.1. Default: a free one. */
  readonly port?: number;
  /** Default: `123456789012`. */
  readonly account?: string;
  /** Default: `us-east-1`. */
  readonly region?: string;
  /** Decides which of many calls a fault with a `share` strikes. Default: 1. */
  readonly seed?: number;
  /** Which services there are. Default: all. */
  readonly services?: readonly Install[];
}

/** A running emulator. */
export interface Emulator {
  readonly cloud: Cloud & { readonly clock: { advance(milliseconds: number): void } };
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string;
  /** What a process needs to find the emulator as the account's administrator: `AWS_ENDPOINT_URL`, `AWS_REGION`, keys. */
  readonly environment: Readonly<Record<string, string>>;
  /** Ports of the Pulumi providers, on 127.0.0.1. */
  readonly providerPorts: { readonly aws: number; readonly command: number };
  /** What the Pulumi engine needs to find the providers, and to look for nothing elsewhere. */
  readonly pulumiEnvironment: Readonly<Record<string, string>>;
  /** Calls that were made, newest bounded. */
  readonly recorder: Recorder;
  /** Makes things go wrong on purpose. */
  readonly faults: Faults;
  /** Failures of work in the background, which nobody waited for. */
  readonly failures: EmbeddedCloud["failures"];
  /** Loads what the services' first calls would have to load, a service at a time. */
  warmUp(): Promise<void>;
  /** Ends every process, port and folder of the emulator. Safe to call twice. */
  close(): Promise<void>;
}

/** Starts the embedded cloud in this process. Nothing of it outlives {@link Emulator.close} or the process. */
export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const directory = await mkdtemp(join(options.directory ?? tmpdir(), "protected-pipeline-emulator-"));
  const removeDirectory = (): Promise<void> => rm(directory, { recursive: true, force: true });
  try {
    const network = await LoopbackNetwork.open();
    const cloud = new EmbeddedCloud(
      options.account ?? "123456789012",
      options.region ?? "us-east-1",
      directory,
      network,
      options.seed,
    );
    try {
      await cloud.open(options.port ?? 0);
      for (const install of options.services ?? installs) cloud.install(install(cloud));
      installElastio(cloud);
      const environment = environmentOf(cloud);
      const { services } = cloud.dispatcher;
      const providers = await startProviders(cloud, cloud.administrator, services, () => environment);
      return emulatorOf(cloud, environment, providers);
    } catch (error) {
      await cloud.close();
      throw error;
    }
  } catch (error) {
    await removeDirectory();
    throw explained(error, options.port);
  }
}

function environmentOf(cloud: EmbeddedCloud): Readonly<Record<string, string>> {
  const keys = cloud.administratorKeys();
  return {
    AWS_ENDPOINT_URL: cloud.endpoint,
    AWS_REGION: cloud.region,
    AWS_DEFAULT_REGION: cloud.region,
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
  };
}

function emulatorOf(
  cloud: EmbeddedCloud,
  environment: Readonly<Record<string, string>>,
  { ports }: Providers,
): Emulator {
  let closed: Promise<void> | undefined;
  return {
    cloud,
    endpoint: cloud.endpoint,
    environment,
    providerPorts: ports,
    pulumiEnvironment: {
      PULUMI_DEBUG_PROVIDERS: `aws:${ports.aws},command:${ports.command}`,
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
      PULUMI_SKIP_UPDATE_CHECK: "true",
    },
    recorder: cloud.recorder,
    faults: cloud.faults,
    failures: cloud.failures,
    warmUp: () => cloud.dispatcher.warmUp(),
    close: () => (closed ??= cloud.close()),
  };
}

function explained(error: unknown, port: number | undefined): unknown {
  if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || port === undefined) return error;
  return new Error(`Port ${port} of 127.0.0.1 is in use. Give another port, or 0 for a free one.`, { cause: error });
}
