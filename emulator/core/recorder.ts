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

/** How much is remembered: more than a drill does, which makes some 1,400 calls. */
export interface RecorderLimits {
  readonly calls: number;
  /** Of all inputs together. */
  readonly characters: number;
}

const usualLimits: RecorderLimits = { calls: 20_000, characters: 32_000_000 };

/** Remembers calls: the newest ones, so that memory does not grow with history. */
export class Recorder {
  private readonly kept: RecordedCall[] = [];
  private readonly sizes: number[] = [];
  private size = 0;
  private dropped = 0;

  constructor(private readonly limits = usualLimits) {}

  add(call: RecordedCall): void {
    const input = remembered(call.input) as object;
    const size = charactersIn(input);
    this.kept.push({ ...call, input });
    this.sizes.push(size);
    this.size += size;
    if (this.kept.length > this.limits.calls || this.size > this.limits.characters) this.forgetOldest();
  }

  /** The calls, oldest first. */
  get calls(): readonly RecordedCall[] {
    return this.kept;
  }

  /** How many older calls are no longer remembered. */
  get forgotten(): number {
    return this.dropped;
  }

  /** Down to half of the limits, so that it is seldom necessary. The newest call stays. */
  private forgetOldest(): void {
    let count = 0;
    let left = this.size;
    const tooMuch = (): boolean =>
      this.kept.length - count > this.limits.calls / 2 || left > this.limits.characters / 2;
    while (count < this.kept.length - 1 && tooMuch()) left -= this.sizes[count++] ?? 0;
    this.kept.splice(0, count);
    this.sizes.splice(0, count);
    this.size = left;
    this.dropped += count;
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

/** Roughly: anything but text and bytes counts as ten. */
function charactersIn(value: unknown): number {
  if (typeof value === "string" || value instanceof Uint8Array) return value.length;
  if (Array.isArray(value)) return value.reduce<number>((sum, each) => sum + charactersIn(each), 10);
  return isPlainObject(value) ? charactersIn(Object.values(value)) : 10;
}
