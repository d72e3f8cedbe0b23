/**
 * A stage holds one execution at a time; others wait before it, first come, first served. In SUPERSEDED mode whoever
 * comes takes the place of the one that waits.
 */
import type { Execution } from "./store";

interface Waiter {
  readonly execution: Execution;
  readonly decide: (entered: boolean) => void;
}

export class StageLock {
  private holder: Execution | undefined;
  private readonly queue: Waiter[] = [];

  /** Resolves with true when the execution is in the stage, with false when it was withdrawn before. */
  enter(execution: Execution): Promise<boolean> {
    if (this.holder === undefined) {
      this.holder = execution;
      return Promise.resolve(true);
    }
    return new Promise((decide) => this.queue.push({ execution, decide }));
  }

  /** The execution leaves the stage, or the queue before it. */
  leave(execution: Execution): void {
    const index = this.queue.findIndex((waiter) => waiter.execution === execution);
    if (index >= 0) this.queue.splice(index, 1)[0]?.decide(false);
    if (this.holder !== execution) return;
    const next = this.queue.shift();
    this.holder = next?.execution;
    next?.decide(true);
  }

  get waiting(): readonly Execution[] {
    return this.queue.map(({ execution }) => execution);
  }
}
