/**
 * Faults on purpose: what goes wrong, where, and the how-manieth time. A fault is data; whether it strikes depends only
 * on how often its place was reached and on the seed, never on the time.
 */
import type { Breakables, FaultPoint, FaultPoints, FaultSource, Strike } from "./definitions";

/** A condition on one fact: the text itself, a pattern, or a test. */
type Wanted<T> = T | (T extends string ? RegExp : never) | ((value: T) => boolean);

/** One fault to inject. */
export type Fault<P extends FaultPoint = FaultPoint> = {
  readonly [Point in P]: {
    readonly at: Point;
    /** Which of the times that this place is reached count. Absent: all. */
    readonly when?: {
      readonly [Name in keyof FaultPoints[Point]["facts"]]?: Wanted<FaultPoints[Point]["facts"][Name]>;
    };
    /** Strikes the first time at the nth that counts. Default: 1. */
    readonly nth?: number;
    /** Strikes that often, one time after the other. Default: 1; `Infinity` for ever. */
    readonly times?: number;
    /** Of those times, strikes this share, chosen by the seed. Default: 1, all of them. */
    readonly share?: number;
    readonly effect: FaultPoints[Point]["effect"];
  };
}[P];

/** A fault that was injected. */
export interface InjectedFault {
  /** How often its place was reached under its conditions. */
  readonly seen: number;
  /** How often it struck. */
  readonly struck: number;
  /** Resolves when it strikes for the first time; rejects when the emulator closes before. */
  readonly happened: Promise<void>;
  /** Lets all that hangs by this fault go on. What it strikes later hangs again. */
  release(): void;
  /** Takes the fault away, and lets what hangs go on. */
  remove(): void;
}

/** Something that is broken now. */
export interface Breakage {
  /** Mends it before its time. Safe to call twice. */
  mend(): Promise<void>;
  /** Resolves when it is mended, by itself or by {@link Breakage.mend}. */
  readonly mended: Promise<void>;
}

type BreakIt = (which: never) => (() => void | Promise<void>) | Promise<() => void | Promise<void>>;

/** The faults of one emulator. */
export class Faults implements FaultSource {
  private readonly injected = new Map<FaultPoint, Injected[]>();
  private readonly breakers = new Map<keyof Breakables, BreakIt>();
  private readonly broken = new Set<Breakage>();
  private count = 0;

  /** The same seed and the same calls give the same faults. */
  constructor(private readonly seed = 1) {}

  inject<P extends FaultPoint>(fault: Fault<P>): InjectedFault {
    const { at: point } = fault as Fault;
    const known = this.injected.get(point) ?? [];
    const injected = new Injected(fault as Fault, this.seed * 7919 + ++this.count, () => {
      const rest = (this.injected.get(point) ?? []).filter((other) => other !== injected);
      if (rest.length === 0) this.injected.delete(point);
      else this.injected.set(point, rest);
    });
    this.injected.set(point, [...known, injected]);
    return injected;
  }

  at<P extends FaultPoint>(point: P, facts: FaultPoints[P]["facts"]): Strike<P> | undefined {
    const candidates = this.injected.get(point);
    if (!candidates) return undefined;
    // Each counts for itself; of several that strike at once the one that was injected first does.
    const strikes = candidates.map((candidate) => candidate.reached(facts));
    return strikes.find((strike) => strike !== undefined);
  }

  breakable<B extends keyof Breakables>(
    name: B,
    breakIt: (which: Breakables[B]) => (() => void | Promise<void>) | Promise<() => void | Promise<void>>,
  ): void {
    this.breakers.set(name, breakIt);
  }

  /** Breaks something for so many seconds of real time. Resolves when it is broken. Throws for what does not exist. */
  async break<B extends keyof Breakables>(name: B, which: Breakables[B], seconds: number): Promise<Breakage> {
    const breakIt = this.breakers.get(name);
    if (!breakIt) throw new Error(`Nothing here can break ${name}: the service that has it is not installed`);
    const mendIt = await breakIt(which as never);
    let mended: Promise<void> | undefined;
    let settle: (work: Promise<void>) => void = () => undefined;
    const whenMended = new Promise<void>((resolve) => (settle = resolve));
    const breakage: Breakage = {
      mended: whenMended,
      mend: () => {
        clearTimeout(timer);
        this.broken.delete(breakage);
        mended ??= Promise.resolve(mendIt());
        settle(mended);
        return mended;
      },
    };
    // Whoever waits for `mended` hears of a failure.
    const timer = setTimeout(() => void breakage.mend().catch(() => undefined), seconds * 1000);
    whenMended.catch(() => undefined);
    this.broken.add(breakage);
    return breakage;
  }

  /** Takes all faults away, and mends all that is broken. */
  async clear(): Promise<void> {
    for (const injected of [...this.injected.values()].flat()) injected.remove();
    await Promise.all([...this.broken].map((breakage) => breakage.mend()));
  }

  /** The emulator closes: what hangs is interrupted. */
  async close(): Promise<void> {
    for (const injected of [...this.injected.values()].flat()) injected.interrupt(new Error("The emulator is closing"));
    await this.clear();
  }
}

class Injected implements InjectedFault {
  seen = 0;
  struck = 0;
  readonly happened: Promise<void>;
  private hanging = new Gate();
  private readonly first = new Gate();
  private readonly chance: () => number;

  constructor(
    private readonly fault: Fault,
    seed: number,
    private readonly forget: () => void,
  ) {
    this.happened = this.first.opened;
    this.chance = random(seed);
  }

  /** Counts, and strikes when it is time. */
  reached(facts: object): Strike<FaultPoint> | undefined {
    const { when = {}, nth = 1, times = 1, share = 1, effect } = this.fault;
    if (!Object.entries(when).every(([name, wanted]) => fits((facts as Record<string, unknown>)[name], wanted))) {
      return undefined;
    }
    this.seen++;
    if (this.seen < nth || this.seen >= nth + times || this.chance() >= share) return undefined;
    this.struck++;
    this.first.open();
    return { ...effect, released: this.hanging.opened };
  }

  release(): void {
    this.hanging.open();
    this.hanging = new Gate();
  }

  remove(): void {
    this.forget();
    this.release();
  }

  interrupt(reason: Error): void {
    this.hanging.fail(reason);
    this.first.fail(reason);
  }
}

/** A promise that is settled from outside. */
class Gate {
  readonly opened: Promise<void>;
  open: () => void = () => undefined;
  fail: (reason: Error) => void = () => undefined;

  constructor() {
    this.opened = new Promise((resolve, reject) => {
      this.open = resolve;
      this.fail = reject;
    });
    // Nobody needs to wait.
    this.opened.catch(() => undefined);
  }
}

function fits(value: unknown, wanted: unknown): boolean {
  if (typeof wanted === "function") return (wanted as (value: unknown) => boolean)(value);
  if (wanted instanceof RegExp)
    return typeof value === "string" && new RegExp(wanted.source, wanted.flags.replace(/[gy]/g, "")).test(value);
  return value === wanted;
}

/** mulberry32: small, and the same everywhere. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
