/** HTTP probes: they tell whether the application is well, and measure for how long it was not. */
import { request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import type { Probe } from "../run/plan";
import { reasonOf } from "./failure";
import { type Deadline, type Pause, sleep, until } from "./time";

/** One answer, or the lack of it. Times are milliseconds since 1970. */
export interface Sample {
  readonly started: number;
  readonly ended: number;
  readonly ok: boolean;
  /** What was wrong, for people. */
  readonly detail: string;
}

/** Asks once. Never throws: no answer is an answer. */
export async function ask(probe: Probe): Promise<Sample> {
  const started = Date.now();
  try {
    const status = await statusOf(probe);
    const ok = status === probe.status;
    return { started, ended: Date.now(), ok, detail: `HTTP ${status}` };
  } catch (error) {
    return { started, ended: Date.now(), ok: false, detail: reasonOf(error) };
  }
}

/** Every question on a connection of its own: a kept one may lead to a process that is going away. */
function statusOf(probe: Probe): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = probe.url.startsWith("https:") ? secureRequest : plainRequest;
    const signal = AbortSignal.timeout(probe.timeoutSeconds * 1000);
    const sent = request(
      probe.url,
      { agent: false, signal, headers: { "user-agent": "protected-pipeline" } },
      (answer) => {
        answer.resume();
        answer.once("end", () => resolve(answer.statusCode ?? 0));
        answer.once("error", reject);
      },
    );
    sent.once("error", (error) =>
      reject(signal.aborted ? new Error(`no answer within ${probe.timeoutSeconds} s`) : error),
    );
    sent.end();
  });
}

/** Asks all probes again and again, until it is stopped. */
export class Watch {
  private readonly samples = new Map<string, Sample[]>();
  private readonly stopping = new AbortController();
  private readonly loops: Promise<void>[];

  constructor(
    private readonly probes: readonly Probe[],
    private readonly question: (probe: Probe) => Promise<Sample> = ask,
  ) {
    this.loops = probes.map((probe) => this.loop(probe));
  }

  private async loop(probe: Probe): Promise<void> {
    const samples: Sample[] = [];
    this.samples.set(probe.id, samples);
    while (!this.stopping.signal.aborted) {
      const started = Date.now();
      samples.push(await this.question(probe));
      // From start to start, so that a slow answer does not stretch the measure.
      const rest = Math.max(0, started + probe.intervalSeconds * 1000 - Date.now());
      await sleep(rest, undefined, { signal: this.stopping.signal }).catch(() => undefined);
    }
  }

  /** All samples of each probe so far, by its id. */
  all(): ReadonlyMap<string, readonly Sample[]> {
    return this.samples;
  }

  /** The samples of each probe whose question was put at that time or later. */
  since(time: number): Sample[][] {
    return this.probes.map(({ id }) => (this.samples.get(id) ?? []).filter(({ started }) => started >= time));
  }

  /** Waits until each probe was answered well by a question put after that time. @returns when the last one was */
  async green(since: number, deadline: Deadline, pause: Pause): Promise<number> {
    let missing = "";
    const look = (): Promise<number | undefined> => {
      const goods = this.probes.map(({ id }) =>
        (this.samples.get(id) ?? []).find((sample) => sample.ok && sample.started >= since),
      );
      missing = this.probes
        .filter((_, index) => goods[index] === undefined)
        .map(({ id, url }) => `${id} (${url}): ${this.samples.get(id)?.at(-1)?.detail ?? "not asked yet"}`)
        .join(", ");
      if (missing !== "") return Promise.resolve(undefined);
      return Promise.resolve(Math.max(since, ...goods.map((sample) => sample?.ended ?? since)));
    };
    try {
      return await until("the probes to be well", deadline, pause, look);
    } catch (error) {
      throw new Error(`${reasonOf(error)}: ${missing}`, { cause: error });
    }
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.loops);
  }
}

/**
 * For how long at least one probe failed: from the start of a question that was not answered well to the next good
 * answer of that probe. Times in which several failed count once.
 *
 * @param until - where a failure that still lasts is cut
 * @returns milliseconds
 */
export function outage(samples: readonly (readonly Sample[])[], until: number): number {
  const spans = samples.flatMap((each) => failingSpans(each, until)).sort(([a], [b]) => a - b);
  let total = 0;
  let reached = Number.NEGATIVE_INFINITY;
  for (const [from, to] of spans) {
    total += Math.max(0, to - Math.max(from, reached));
    reached = Math.max(reached, to);
  }
  return total;
}

function failingSpans(samples: readonly Sample[], until: number): [number, number][] {
  const spans: [number, number][] = [];
  let from: number | undefined;
  for (const sample of samples) {
    if (!sample.ok) from ??= sample.started;
    else if (from !== undefined) {
      spans.push([from, Math.min(sample.ended, until)]);
      from = undefined;
    }
  }
  if (from !== undefined) spans.push([from, until]);
  return spans.filter(([start, end]) => end > start);
}
