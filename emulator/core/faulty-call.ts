/** What a fault makes of one call. */
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { AwsError, type Clock, type Strike } from "./definitions";
import type { Wire } from "./wire/wire";

export interface FaultyCall {
  readonly wire: Wire;
  readonly clock: Clock;
  readonly input: Record<string, unknown>;
  /** Does what the call asks for. */
  readonly handle: () => Promise<Record<string, unknown>>;
  /** Resolves when nobody waits for the answer any more. */
  readonly gone: () => Promise<void>;
}

export async function faulty(fault: Strike<"call">, call: FaultyCall): Promise<Record<string, unknown>> {
  switch (fault.kind) {
    case "error":
      throw new AwsError(fault.code, fault.message ?? "A fault was injected here.", fault.status ?? 400);
    case "throttle": {
      const { code, message, status } = call.wire.throttled;
      throw new AwsError(code, message, status);
    }
    case "hang":
      await waitForRelease(fault, call.gone());
      return call.handle();
    case "slow":
      await call.clock.sleep(fault.milliseconds);
      return call.handle();
    case "twice":
      await keepBody(call.input);
      await call.handle();
      return call.handle();
    case "lost":
      await call.handle();
      throw new AwsError("InternalFailure", "A fault was injected here: the call was done, its answer is lost.", 500);
  }
}

/** A caller that gives up takes its request with it. */
async function waitForRelease(fault: Strike<"call">, gone: Promise<void>): Promise<void> {
  const left = gone.then(() => {
    throw new AwsError("RequestTimeout", "The caller left before a fault was released.");
  });
  await Promise.race([fault.released, left]);
}

/** A stream can be read only once. */
async function keepBody(input: Record<string, unknown>): Promise<void> {
  for (const [name, value] of Object.entries(input)) {
    if (value instanceof Readable) input[name] = await buffer(value);
  }
}
