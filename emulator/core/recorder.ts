import { Readable } from "node:stream";
import type { Principal } from "./definitions";
import { isPlainObject } from "./shapes";

/** One call, as it was made. */
export interface RecordedCall {
  /** The service's signing name. */
  readonly service: string;
  readonly operation: string;
  readonly input: object;
  readonly principal: Principal;
  readonly at: Date;
  /** The code and message of the error with which the call was answered. */
  readonly error?: { readonly code: string; readonly message: string };
}

/** Remembers calls: the newest ones, so that memory does not grow with history. */
export class Recorder {
  private readonly kept: RecordedCall[] = [];
  private dropped = 0;

  constructor(private readonly limit = 20_000) {}

  add(call: RecordedCall): void {
    if (this.kept.length >= this.limit) {
      const half = Math.floor(this.limit / 2);
      this.kept.splice(0, half);
      this.dropped += half;
    }
    this.kept.push({ ...call, input: remembered(call.input) as object });
  }

  /** The calls, oldest first. */
  get calls(): readonly RecordedCall[] {
    return this.kept;
  }

  /** How many older calls are no longer remembered. */
  get forgotten(): number {
    return this.dropped;
  }
}

/** Payloads are not kept: a dump of a database may be one. */
function remembered(value: unknown): unknown {
  if (value instanceof Readable) return "(stream)";
  if (value instanceof Uint8Array) return value.length <= 4096 ? value : `(${value.length} bytes)`;
  if (Array.isArray(value)) return value.map(remembered);
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, remembered(member)]));
}
