/** Bounds how fast a stream goes, so that what makes or takes it leaves a server to others. */
import { Transform, type TransformCallback } from "node:stream";

/**
 * How many milliseconds' worth of bytes may come at once: at the beginning, and after the stream has waited for something
 * else. A small database is through before anybody feels it; of the time of a big one it is less than a hundredth.
 */
const burst = 1000;

/** A budget of bytes that fills up with time. */
export class Budget {
  /** When everything that was spent is paid for. */
  private paid = -Infinity;

  /** @param rate - bytes per second; undefined: there is no bound */
  constructor(private readonly rate: number | undefined) {}

  /** Spends bytes. @returns how many milliseconds to wait for them */
  spend(bytes: number, now = performance.now()): number {
    if (this.rate === undefined) return 0;
    this.paid = Math.max(this.paid, now - burst) + (bytes / this.rate) * 1000;
    return Math.max(0, this.paid - now);
  }
}

export class Throttle extends Transform {
  private readonly budget: Budget;

  constructor(rate: number | undefined) {
    super();
    this.budget = new Budget(rate);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const wait = this.budget.spend(chunk.length);
    if (wait < 1) done(null, chunk);
    else setTimeout(done, wait, null, chunk);
  }
}
