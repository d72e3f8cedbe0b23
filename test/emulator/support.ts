import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";
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

/** A request of which a test says what it is, byte by byte. */
export interface RawRequest {
  readonly method?: string;
  /** With its query, as it is to be sent. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly service: string;
  /** What the signature says of it, where that differs. */
  readonly signed?: Partial<{
    readonly credentials: ClientSettings["credentials"];
    readonly date: Date;
    readonly region: string;
    readonly path: string;
    readonly body: string;
  }>;
  /** Changes the headers after they have been signed. */
  readonly tamper?: (headers: Record<string, string>) => void;
}

/** Sends a request that the official signer has signed as the account's administrator. */
export async function rawRequest(
  emulator: Emulator,
  { method = "GET", path, headers = {}, body = "", service, signed = {}, tamper }: RawRequest,
): Promise<{ readonly status: number; readonly body: string; readonly headers: Headers }> {
  const url = new URL(emulator.endpoint + path);
  const wanted = new URL(emulator.endpoint + (signed.path ?? path));
  const settings = clientSettings(emulator);
  const signer = new SignatureV4({
    service,
    region: signed.region ?? settings.region,
    credentials: signed.credentials ?? settings.credentials,
    sha256: Sha256,
    uriEscapePath: service !== "s3",
  });
  const request = await signer.sign(
    {
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      port: Number(url.port),
      path: wanted.pathname,
      query: Object.fromEntries(wanted.searchParams),
      headers: { ...headers, host: url.host },
      body: signed.body ?? body,
    },
    { signingDate: signed.date ?? new Date() },
  );
  tamper?.(request.headers);
  const answer = await fetch(url, { method, headers: request.headers, ...(method === "GET" ? {} : { body }) });
  return { status: answer.status, body: await answer.text(), headers: answer.headers };
}

/** An official SDK client for the emulator: `client(emulator, S3Client)`. */
export function client<C>(
  emulator: Emulator,
  Client: new (settings: ClientSettings) => C,
  credentials?: ClientSettings["credentials"],
): C {
  return new Client(clientSettings(emulator, credentials));
}
