/** Waiting with a deadline: for everything that nobody announces. */
import { setTimeout as sleep } from "node:timers/promises";

export interface WaitOptions {
  /** What is waited for, in the words of the error: `the pipeline's first execution to end`. */
  readonly what: string;
  readonly deadlineSeconds: number;
  readonly pollMilliseconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** Resolves with the first answer that is not undefined. Rejects at the deadline, and when the signal aborts. */
export async function waitFor<T>(look: () => Promise<T | undefined>, options: WaitOptions): Promise<T> {
  const deadline = performance.now() + options.deadlineSeconds * 1000;
  for (;;) {
    options.signal?.throwIfAborted();
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) {
      throw new Error(`waited ${options.deadlineSeconds} s for ${options.what}, in vain`);
    }
    await sleep(options.pollMilliseconds, undefined, { signal: options.signal });
  }
}
