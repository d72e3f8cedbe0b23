/**
 * The log of one build: lines in the service's form, secrets masked, written in small batches so that a reader can
 * follow.
 */
import {
  CreateLogGroupCommand,
  CreateLogStreamCommand,
  PutLogEventsCommand,
  type InputLogEvent,
} from "@aws-sdk/client-cloudwatch-logs";
import { AwsError, type Cloud, type Principal } from "../../core/definitions";

/** Longest time that a line waits before it is written. */
const FLUSH_MS = 100;
/** PutLogEvents takes 10,000 events and 1 MiB (26 bytes counted for each event on top), and 256 KiB in one event. */
const EVENTS_PER_CALL = 1_000;
const BYTES_PER_CALL = 512 * 1024;
const LINE_LENGTH = 60_000;
const ACCESS_KEY_IDS = /\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b/g;
const MASK = "***";

export interface LogTarget {
  readonly group: string;
  readonly stream: string;
}

export class BuildLog {
  private waiting: InputLogEvent[] = [];
  private timer: NodeJS.Timeout | undefined;
  private written: Promise<void> = Promise.resolve();
  private masked: readonly string[] = [];
  private failure: Error | undefined;
  /** There is a stream to write to. */
  private isOpen = false;

  /** @param target undefined where the project has no log */
  constructor(
    private readonly cloud: Cloud,
    private readonly role: Principal,
    private readonly target: LogTarget | undefined,
  ) {}

  /** Makes the stream, and the group where there is none, as the build's role. */
  async open(): Promise<void> {
    if (this.target === undefined) return;
    const { group: logGroupName, stream: logStreamName } = this.target;
    const makeStream = new CreateLogStreamCommand({ logGroupName, logStreamName });
    try {
      await this.cloud.send(this.role, makeStream);
    } catch (error) {
      if (!(error instanceof AwsError && error.code === "ResourceNotFoundException")) throw error;
      await this.cloud.send(this.role, new CreateLogGroupCommand({ logGroupName }));
      await this.cloud.send(this.role, makeStream);
    }
    this.isOpen = true;
  }

  /** From now on these values appear as `***`. Of a value with several lines, each line does. */
  mask(secrets: readonly string[]): void {
    const parts = secrets.flatMap((secret) => [secret, ...secret.split(/\r?\n/).filter((line) => line.length >= 8)]);
    // Longest first: a secret may contain another one.
    this.masked = [...new Set(parts.filter((part) => part !== ""))].sort((a, b) => b.length - a.length);
  }

  /** A line of the service's own. */
  container(text: string): void {
    const time = this.cloud.clock.now().toISOString();
    const stamp = `${time.slice(0, 10).replaceAll("-", "/")} ${time.slice(11, 23)}000`;
    this.line(`[Container] ${stamp} ${text}`);
  }

  /** One line, without its line end. */
  line(text: string): void {
    this.push(this.withoutSecrets(text));
  }

  private push(masked: string): void {
    if (!this.isOpen) return;
    this.waiting.push({ timestamp: this.cloud.clock.now().getTime(), message: `${masked}\n` });
    if (this.waiting.length >= EVENTS_PER_CALL) this.write();
    else this.timer ??= setTimeout(() => this.write(), FLUSH_MS);
  }

  /** Takes the output of one process; call `end` when it is over. `onLine` hears each line, secrets masked. */
  stream(onLine: (line: string) => void): { readonly write: (text: string) => void; readonly end: () => void } {
    let rest = "";
    const take = (text: string): void => {
      const lines = (rest + text).split(/\r?\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) onLine(this.long(line));
      // What is held back for the next part could be the beginning of a secret.
      if (rest.length > 2 * LINE_LENGTH) {
        const keep = this.masked[0]?.length ?? 0;
        const whole = this.withoutSecrets(rest);
        this.long(whole.slice(0, whole.length - keep));
        rest = whole.slice(whole.length - keep);
      }
    };
    const end = (): void => {
      if (rest !== "") onLine(this.long(rest));
      rest = "";
    };
    return { write: take, end };
  }

  withoutSecrets(text: string): string {
    let named = text;
    for (const secret of this.masked) if (named.includes(secret)) named = named.replaceAll(secret, MASK);
    return named.replace(ACCESS_KEY_IDS, MASK);
  }

  /** Waits until everything is written. Throws what writing has failed with. */
  async close(): Promise<void> {
    this.write();
    await this.written;
    if (this.failure !== undefined) throw this.failure;
  }

  /** As many lines of the log as it takes. Returns it with its secrets masked. */
  private long(line: string): string {
    const masked = this.withoutSecrets(line);
    for (let start = 0; start === 0 || start < masked.length; start += LINE_LENGTH) {
      this.push(masked.slice(start, start + LINE_LENGTH));
    }
    return masked;
  }

  private write(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const batch = this.waiting;
    this.waiting = [];
    for (const logEvents of batches(batch)) {
      this.written = this.written
        .then(() => this.put(logEvents))
        .catch((error: unknown) => {
          this.failure ??= error instanceof Error ? error : new Error(String(error));
        });
    }
  }

  private async put(logEvents: InputLogEvent[]): Promise<void> {
    if (this.target === undefined) return;
    const { group: logGroupName, stream: logStreamName } = this.target;
    await this.cloud.send(this.role, new PutLogEventsCommand({ logGroupName, logStreamName, logEvents }));
  }
}

/** Parts that PutLogEvents takes. */
export function batches(events: readonly InputLogEvent[]): InputLogEvent[][] {
  const parts: InputLogEvent[][] = [];
  let bytes = 0;
  for (const event of events) {
    const size = Buffer.byteLength(event.message ?? "") + 26;
    const last = parts.at(-1);
    if (last === undefined || last.length >= EVENTS_PER_CALL || bytes + size > BYTES_PER_CALL) {
      parts.push([event]);
      bytes = size;
    } else {
      last.push(event);
      bytes += size;
    }
  }
  return parts;
}
