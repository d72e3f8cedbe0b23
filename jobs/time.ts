/** Waiting, always with an end. */
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "./failure";
import { duration } from "./log";

export interface Deadline {
  readonly at: Date;
  /** Milliseconds that are left, never negative. */
  left(): number;
  passed(): boolean;
  /** The earlier of this one and that many seconds from now. */
  within(seconds: number): Deadline;
}

export function deadlineAt(at: Date): Deadline {
  return {
    at,
    left: () => Math.max(0, at.getTime() - Date.now()),
    passed: () => Date.now() >= at.getTime(),
    within: (seconds) => deadlineAt(new Date(Math.min(at.getTime(), Date.now() + seconds * 1000))),
  };
}

export function deadlineIn(seconds: number): Deadline {
  return deadlineAt(new Date(Date.now() + seconds * 1000));
}

/** Spreads many waiters apart: between 80 and 120 percent. */
export function jitter(milliseconds: number, random: () => number = Math.random): number {
  return milliseconds * (0.8 + 0.4 * random());
}

export interface Pause {
  /** The first pause, in seconds. */
  readonly seconds: number;
  /** Each pause is that much longer than the one before. Default 1. */
  readonly factor?: number;
  /** No pause is longer, in seconds. */
  readonly cap?: number;
}

/** The pauses between looks, in milliseconds: growing, capped, jittered. */
export function* pauses(pause: Pause, random: () => number = Math.random): Generator<number, never> {
  let seconds = pause.seconds;
  const cap = pause.cap ?? Number.POSITIVE_INFINITY;
  for (;;) {
    yield jitter(Math.min(seconds, cap) * 1000, random);
    seconds = Math.min(seconds * (pause.factor ?? 1), cap);
  }
}

/**
 * Looks until there is an answer. The last look is made at the deadline, not before it.
 *
 * @param what - what is waited for, for the error: `the snapshot snap-1 to be complete`
 * @throws Failure when the deadline passes; whatever `look` throws at once
 */
export async function until<T>(
  what: string,
  deadline: Deadline,
  pause: Pause,
  look: () => Promise<T | undefined>,
): Promise<T> {
  const started = Date.now();
  for (const wait of pauses(pause)) {
    const last = deadline.passed();
    const answer = await look();
    if (answer !== undefined) return answer;
    if (last) break;
    await sleep(Math.min(wait, deadline.left()));
  }
  throw new Failure(`gave up waiting for ${what} after ${duration(Date.now() - started)}`);
}

export { sleep };

/** Now, as facts write it. */
export function now(): string {
  return new Date().toISOString();
}
