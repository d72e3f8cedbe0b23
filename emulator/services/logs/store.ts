/** Log groups and streams. Events are lines of a file; in memory is only where each batch begins. */
import { appendFileSync, closeSync, mkdirSync, openSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { AwsError, Cloud } from "../../core/definitions";

declare module "../../core/definitions" {
  interface Stores {
    logs: LogStore;
  }
}

export interface LogEvent {
  readonly timestamp: number;
  readonly message: string;
  readonly ingestionTime: number;
}

interface Batch {
  /** Number of the batch's first event in the stream. */
  readonly first: number;
  /** Where it begins in the file. */
  readonly offset: number;
  readonly length: number;
}

export class LogStream {
  readonly created: number;
  firstTimestamp: number | undefined;
  lastTimestamp: number | undefined;
  lastIngestion: number | undefined;
  bytes = 0;
  count = 0;
  private readonly batches: Batch[] = [];
  private readonly file: string;
  private size = 0;

  constructor(
    readonly name: string,
    readonly arn: string,
    directory: string,
    now: number,
  ) {
    this.created = now;
    this.file = join(directory, `${randomUUID()}.jsonl`);
  }

  append(events: readonly LogEvent[]): void {
    const lines = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    appendFileSync(this.file, lines);
    this.batches.push({ first: this.count, offset: this.size, length: lines.length });
    this.size += lines.length;
    this.count += events.length;
    for (const { timestamp, message, ingestionTime } of events) {
      this.firstTimestamp = Math.min(this.firstTimestamp ?? timestamp, timestamp);
      this.lastTimestamp = Math.max(this.lastTimestamp ?? timestamp, timestamp);
      this.lastIngestion = ingestionTime;
      this.bytes += Buffer.byteLength(message) + eventOverhead;
    }
  }

  /** The events from this position on, one batch in memory at a time. */
  *forwards(position: number): Generator<{ readonly index: number; readonly event: LogEvent }> {
    const start = this.batchAt(position);
    for (const batch of this.batches.slice(start)) {
      for (const [at, event] of this.read(batch).entries()) {
        const index = batch.first + at;
        if (index >= position) yield { index, event };
      }
    }
  }

  /** The events before this position, the latest first. */
  *backwards(position: number): Generator<{ readonly index: number; readonly event: LogEvent }> {
    const end = this.batchAt(position) + 1;
    for (const batch of this.batches.slice(0, end).reverse()) {
      const events = this.read(batch);
      for (let at = events.length - 1; at >= 0; at--) {
        const event = events[at];
        const index = batch.first + at;
        if (event && index < position) yield { index, event };
      }
    }
  }

  remove(): void {
    rmSync(this.file, { force: true });
  }

  /** Index of the batch that holds this position. */
  private batchAt(position: number): number {
    let [low, high] = [0, this.batches.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.batches[middle]?.first ?? 0) <= position) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, 0);
  }

  private read({ offset, length }: Batch): readonly LogEvent[] {
    const bytes = Buffer.alloc(length);
    const file = openSync(this.file, "r");
    try {
      readSync(file, bytes, 0, length, offset);
    } finally {
      closeSync(file);
    }
    return bytes
      .toString()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as LogEvent);
  }
}

/** What an event counts beside its message (PutLogEvents). */
export const eventOverhead = 26;

export class LogGroup {
  readonly streams = new Map<string, LogStream>();
  retentionInDays: number | undefined;
  tags: Readonly<Record<string, string>>;

  constructor(
    readonly name: string,
    /** Without the `:*` that some APIs add. */
    readonly arn: string,
    readonly created: number,
    tags: Readonly<Record<string, string>>,
  ) {
    this.tags = tags;
  }
}

export class LogStore {
  readonly groups = new Map<string, LogGroup>();
  private readonly directory: string;

  constructor(private readonly cloud: Cloud) {
    this.directory = join(cloud.directory, "logs");
    mkdirSync(this.directory, { recursive: true });
  }

  /** @throws ResourceNotFoundException */
  group(name: string | undefined): LogGroup {
    const group = this.groups.get(name ?? "");
    if (!group) throw new AwsError("ResourceNotFoundException", "The specified log group does not exist.", 400);
    return group;
  }

  /** @throws ResourceNotFoundException */
  stream(groupName: string | undefined, name: string | undefined): LogStream {
    const stream = this.group(groupName).streams.get(name ?? "");
    if (!stream) throw new AwsError("ResourceNotFoundException", "The specified log stream does not exist.", 400);
    return stream;
  }

  arnOf(name: string): string {
    return `arn:aws:logs:${this.cloud.region}:${this.cloud.account}:log-group:${name}`;
  }

  addGroup(name: string, tags: Readonly<Record<string, string>>): void {
    this.groups.set(name, new LogGroup(name, this.arnOf(name), this.now(), tags));
  }

  addStream(group: LogGroup, name: string): void {
    const arn = `${group.arn}:log-stream:${name}`;
    group.streams.set(name, new LogStream(name, arn, this.directory, this.now()));
  }

  removeGroup(group: LogGroup): void {
    for (const stream of group.streams.values()) stream.remove();
    this.groups.delete(group.name);
  }

  /** Milliseconds since 1970. */
  now(): number {
    return this.cloud.clock.now().getTime();
  }
}
