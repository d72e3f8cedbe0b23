/**
 * Places for builds of one kind: so many run, so many more wait for their turn, first come, first served.
 */

/** What an account may have at a time, of one environment and compute type. */
export interface Quota {
  readonly running: number;
  /** Builds that may wait beyond those. */
  readonly queued: number;
}

/** A build's place, from StartBuild to its end. */
export interface Place {
  /** Resolves when the build may run. */
  readonly entered: Promise<void>;
  /** Gives the place, running or waiting, to the next one. */
  leave(): void;
}

interface Waiter {
  readonly place: Place;
  readonly enter: () => void;
}

export class BuildQueue {
  private readonly running = new Set<Place>();
  private waiting: Waiter[] = [];

  constructor(public quota: Quota) {}

  /** Undefined when there is no place left, not even to wait. */
  join(): Place | undefined {
    if (this.running.size >= this.quota.running && this.waiting.length >= this.quota.queued) return undefined;
    let enter: () => void = () => undefined;
    const entered = new Promise<void>((resolve) => (enter = resolve));
    const place: Place = { entered, leave: () => this.leave(place) };
    this.waiting.push({ place, enter });
    this.advance();
    return place;
  }

  private leave(place: Place): void {
    this.running.delete(place);
    this.waiting = this.waiting.filter((waiter) => waiter.place !== place);
    this.advance();
  }

  private advance(): void {
    while (this.running.size < this.quota.running) {
      const next = this.waiting.shift();
      if (next === undefined) return;
      this.running.add(next.place);
      next.enter();
    }
  }
}
