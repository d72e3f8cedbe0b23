import type { Clock } from "./definitions";

interface Sleeper {
  readonly due: number;
  readonly wake: () => void;
  readonly cancel: (reason: Error) => void;
}

/** Real time plus what tests have added to it. */
export class EmulatorClock implements Clock {
  private offset = 0;
  private closed = false;
  private readonly sleepers = new Set<Sleeper>();
  private timer: NodeJS.Timeout | undefined;

  now(): Date {
    return new Date(Date.now() + this.offset);
  }

  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (this.closed) throw closing();
    signal?.throwIfAborted();
    const due = Date.now() + this.offset + milliseconds;
    await new Promise<void>((resolve, reject) => {
      const finish = (settle: () => void): void => {
        this.sleepers.delete(sleeper);
        signal?.removeEventListener("abort", onAbort);
        settle();
      };
      const sleeper: Sleeper = {
        due,
        wake: () => finish(resolve),
        cancel: (reason) => finish(() => reject(reason)),
      };
      const onAbort = (): void => sleeper.cancel(signal?.reason as Error);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.sleepers.add(sleeper);
      this.arm();
    });
  }

  /** Moves the clock: whoever sleeps until then wakes up. */
  advance(milliseconds: number): void {
    this.offset += milliseconds;
    this.wakeDue();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    for (const sleeper of [...this.sleepers]) sleeper.cancel(closing());
  }

  private wakeDue(): void {
    const now = Date.now() + this.offset;
    for (const sleeper of [...this.sleepers]) {
      if (sleeper.due <= now) sleeper.wake();
    }
    this.arm();
  }

  private arm(): void {
    clearTimeout(this.timer);
    if (this.sleepers.size === 0 || this.closed) return;
    const next = Math.min(...[...this.sleepers].map(({ due }) => due));
    // A timer takes 31 bits of milliseconds; a longer sleep is armed again when it ends.
    const wait = Math.min(Math.max(next - Date.now() - this.offset, 0), 2 ** 31 - 1);
    this.timer = setTimeout(() => this.wakeDue(), wait);
  }
}

function closing(): Error {
  return new Error("The emulator is closing");
}
