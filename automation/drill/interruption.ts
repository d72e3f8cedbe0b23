/**
 * Signals. The Pulumi CLI runs in a session of its own, so that a Ctrl-C of the terminal reaches the driver alone, and
 * the driver decides: the first signal aborts what is running and begins the clean-up; the second says that it is
 * being cleaned up; the third gives up on an orderly destruction and only ends what runs on this machine.
 */

type Signal = "SIGINT" | "SIGTERM" | "SIGHUP";
const signals: readonly Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** Where signals come from; `process`, or a test's own emitter. */
export interface SignalSource {
  on(signal: Signal, listener: (signal: Signal) => void): unknown;
  off(signal: Signal, listener: (signal: Signal) => void): unknown;
}

export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

export class Interruption {
  private readonly first = new AbortController();
  private readonly last = new AbortController();
  private count = 0;
  private readonly listener = (signal: Signal) => this.hear(signal);

  constructor(
    private readonly say: (line: string) => void,
    private readonly source: SignalSource = process,
  ) {
    for (const signal of signals) source.on(signal, this.listener);
  }

  /** Aborts on the first signal. Its reason is an {@link Interrupted}. */
  get signal(): AbortSignal {
    return this.first.signal;
  }

  /** Aborts when the user insists: the clean-up is cut short. */
  get insisted(): AbortSignal {
    return this.last.signal;
  }

  close(): void {
    for (const signal of signals) this.source.off(signal, this.listener);
  }

  private hear(signal: Signal): void {
    this.count += 1;
    if (this.count === 1) {
      this.say(`${signal}: stopping, then destroying what was made`);
      this.first.abort(new Interrupted(`interrupted by ${signal}`));
    } else if (this.count === 2) {
      this.say("still destroying; once more cuts that short");
    } else {
      this.last.abort(new Interrupted(`interrupted by ${signal}, three times`));
    }
  }
}

/** Resolves when the signal aborts, and keeps the process until then: a timer does, an event listener does not. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const alive = setInterval(() => undefined, 1 << 30);
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  clearInterval(alive);
}

/** Rejects with the signal's reason as soon as it aborts, whatever the work does. */
export async function unless<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  signal.throwIfAborted();
  let listener: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    listener = () => reject(signal.reason as Error);
    signal.addEventListener("abort", listener, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (listener !== undefined) signal.removeEventListener("abort", listener);
  }
}
