/** A client of the application, outside of everything: it asks all the time, and so measures what a client suffers. */
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "node:http";

export interface ProbeResult {
  /** Milliseconds since the epoch, when the question was asked. */
  readonly at: number;
  readonly good: boolean;
}

/** A time without one good answer: from the first failed question to the first good answer after it. */
export interface Outage {
  readonly from: number;
  /** Undefined while it lasts. */
  readonly to: number | undefined;
}

const intervalMilliseconds = 50;
const timeoutMilliseconds = 1000;

/** The outages among results, which are in order. */
export function outagesIn(results: readonly ProbeResult[]): Outage[] {
  const outages: Outage[] = [];
  let from: number | undefined;
  for (const { at, good } of results) {
    if (!good) from ??= at;
    else if (from !== undefined) {
      outages.push({ from, to: at });
      from = undefined;
    }
  }
  if (from !== undefined) outages.push({ from, to: undefined });
  return outages;
}

/** Milliseconds of outage in all; null when one is not over. */
export function totalOutage(outages: readonly Outage[]): number | null {
  let total = 0;
  for (const { from, to } of outages) {
    if (to === undefined) return null;
    total += to - from;
  }
  return total;
}

/** Asks an address until it is stopped. */
export class Prober {
  readonly results: ProbeResult[] = [];
  private readonly stopped = new AbortController();
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });
  private readonly running: Promise<void>;

  constructor(private readonly url: string) {
    this.running = this.run();
  }

  /** True when the last answer was good. */
  get good(): boolean {
    return this.results.at(-1)?.good === true;
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    await this.running;
    this.agent.destroy();
  }

  private async run(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      const at = Date.now();
      this.results.push({ at, good: await this.ask() });
      const rest = Math.max(1, intervalMilliseconds - (Date.now() - at));
      await sleep(rest, undefined, { signal }).catch(() => undefined);
    }
  }

  private ask(): Promise<boolean> {
    return new Promise((resolve) => {
      const options = { agent: this.agent, timeout: timeoutMilliseconds };
      const asked = request(this.url, options, (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode === 200));
        response.on("error", () => resolve(false));
      });
      asked.on("timeout", () => asked.destroy(new Error("timeout")));
      asked.on("error", () => resolve(false));
      asked.end();
    });
  }
}
