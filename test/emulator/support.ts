import { type Emulator, type EmulatorOptions, startEmulator } from "../../emulator/emulator";

/** Runs a test against an emulator of its own and closes it whatever happens. */
export async function withEmulator<T>(
  work: (emulator: Emulator) => Promise<T>,
  options: EmulatorOptions = {},
): Promise<T> {
  const emulator = await startEmulator(options);
  try {
    return await work(emulator);
  } finally {
    await emulator.close();
  }
}

/** The settings of a client that calls the emulator. */
export interface ClientSettings {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
  readonly maxAttempts: number;
}

/** Settings for the account's administrator, or for other credentials. One attempt: a test sees the first answer. */
export function clientSettings(
  emulator: Emulator,
  credentials: ClientSettings["credentials"] = {
    accessKeyId: emulator.environment.AWS_ACCESS_KEY_ID ?? "",
    secretAccessKey: emulator.environment.AWS_SECRET_ACCESS_KEY ?? "",
  },
): ClientSettings {
  return { endpoint: emulator.endpoint, region: emulator.cloud.region, credentials, maxAttempts: 1 };
}

/** An official SDK client for the emulator: `client(emulator, S3Client)`. */
export function client<C>(
  emulator: Emulator,
  Client: new (settings: ClientSettings) => C,
  credentials?: ClientSettings["credentials"],
): C {
  return new Client(clientSettings(emulator, credentials));
}
