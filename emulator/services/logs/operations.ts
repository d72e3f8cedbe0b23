import {
  CreateLogGroupCommandInput,
  CreateLogGroupCommandOutput,
  CreateLogStreamCommandInput,
  CreateLogStreamCommandOutput,
  DeleteLogGroupCommandInput,
  DeleteLogGroupCommandOutput,
  DeleteRetentionPolicyCommandInput,
  DeleteRetentionPolicyCommandOutput,
  DescribeLogGroupsCommandInput,
  DescribeLogGroupsCommandOutput,
  DescribeLogStreamsCommandInput,
  DescribeLogStreamsCommandOutput,
  FilteredLogEvent,
  FilterLogEventsCommandInput,
  FilterLogEventsCommandOutput,
  GetLogEventsCommandInput,
  GetLogEventsCommandOutput,
  ListTagsForResourceCommandInput,
  ListTagsForResourceCommandOutput,
  PutLogEventsCommandInput,
  PutLogEventsCommandOutput,
  PutRetentionPolicyCommandInput,
  PutRetentionPolicyCommandOutput,
  TagResourceCommandInput,
  TagResourceCommandOutput,
  UntagResourceCommandInput,
  UntagResourceCommandOutput,
} from "@aws-sdk/client-cloudwatch-logs";
import { Access, AwsError, Call, Operation, operation } from "../../core/definitions";
import { filterPattern } from "./filter-pattern";
import { eventOverhead, LogEvent, LogGroup, LogStore, LogStream } from "./store";

/** Limits of one reply: so many events and so many bytes (GetLogEvents). */
const replyEvents = 10_000;
const replyBytes = 1024 * 1024;

const day = 86_400_000;
const retentions = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

const createLogGroup = operation<CreateLogGroupCommandInput, CreateLogGroupCommandOutput>({
  name: "CreateLogGroup",
  honours: ["logGroupName", "tags"],
  authorize: (input, call) => [
    ...onGroup(call, input.logGroupName, "CreateLogGroup"),
    ...(input.tags ? onGroup(call, input.logGroupName, "TagResource") : []),
  ],
  handle: (input, call) => {
    const store = storeOf(call);
    const name = validName(input.logGroupName, /^[.\-_/#A-Za-z0-9]{1,512}$/, "logGroupName");
    if (store.groups.has(name)) throw alreadyExists("The specified log group already exists");
    store.addGroup(name, input.tags ?? {});
    return {};
  },
});

const deleteLogGroup = operation<DeleteLogGroupCommandInput, DeleteLogGroupCommandOutput>({
  name: "DeleteLogGroup",
  honours: ["logGroupName"],
  authorize: (input, call) => onGroup(call, input.logGroupName, "DeleteLogGroup"),
  handle: (input, call) => {
    const store = storeOf(call);
    store.removeGroup(store.group(input.logGroupName));
    return {};
  },
});

const createLogStream = operation<CreateLogStreamCommandInput, CreateLogStreamCommandOutput>({
  name: "CreateLogStream",
  honours: ["logGroupName", "logStreamName"],
  authorize: (input, call) => onStream(call, input, "CreateLogStream"),
  handle: (input, call) => {
    const store = storeOf(call);
    const group = store.group(input.logGroupName);
    const name = validName(input.logStreamName, /^[^:*]{1,512}$/, "logStreamName");
    if (group.streams.has(name)) throw alreadyExists("The specified log stream already exists");
    store.addStream(group, name);
    return {};
  },
});

const putLogEvents = operation<PutLogEventsCommandInput, PutLogEventsCommandOutput>({
  name: "PutLogEvents",
  // The sequence token is accepted and ignored, as documented since 2023.
  honours: ["logGroupName", "logStreamName", "logEvents", "sequenceToken"],
  authorize: (input, call) => onStream(call, input, "PutLogEvents"),
  handle: (input, call) => {
    const store = storeOf(call);
    const stream = store.stream(input.logGroupName, input.logStreamName);
    const now = store.now();
    const events = (input.logEvents ?? []).map(({ timestamp = 0, message = "" }) => ({
      timestamp: Number(timestamp),
      message,
      ingestionTime: now,
    }));
    checkBatch(events);
    const group = store.group(input.logGroupName);
    // "None of the log events in the batch can be more than 2 hours in the future" nor older than 14 days.
    const oldest = now - Math.min(14, group.retentionInDays ?? 14) * day;
    const accepted = events.filter(({ timestamp }) => timestamp >= oldest && timestamp <= now + 2 * 3_600_000);
    if (accepted.length > 0) stream.append(accepted);
    return accepted.length < events.length ? { rejectedLogEventsInfo: rejected(events, oldest, now) } : {};
  },
});

const getLogEvents = operation<GetLogEventsCommandInput, GetLogEventsCommandOutput>({
  name: "GetLogEvents",
  honours: [
    "logGroupName",
    "logGroupIdentifier",
    "logStreamName",
    "startTime",
    "endTime",
    "nextToken",
    "limit",
    "startFromHead",
  ],
  authorize: (input, call) => onStream(call, { ...input, logGroupName: groupName(input) }, "GetLogEvents"),
  handle: (input, call) => {
    const group = storeOf(call).group(groupName(input));
    const stream = storeOf(call).stream(group.name, input.logStreamName);
    const within = timeRange(input, group, storeOf(call).now());
    const { direction, position } = startOf(input, stream);
    const forwards = direction === "f";
    const source = forwards ? stream.forwards(position) : stream.backwards(position);
    const taken = take(source, ({ event }) => within(event), limitOf(input.limit));
    if (!forwards) taken.reverse();
    const first = taken[0]?.index ?? position;
    const next = (taken.at(-1)?.index ?? position - 1) + 1;
    return {
      events: taken.map(({ event }) => ({ ...event })),
      // At the end of the stream it returns the token that was passed in.
      nextForwardToken: token("f", next),
      nextBackwardToken: token("b", first),
    };
  },
});

const filterLogEvents = operation<FilterLogEventsCommandInput, FilterLogEventsCommandOutput>({
  name: "FilterLogEvents",
  honours: [
    "logGroupName",
    "logGroupIdentifier",
    "logStreamNames",
    "logStreamNamePrefix",
    "startTime",
    "endTime",
    "filterPattern",
    "nextToken",
    "limit",
  ],
  authorize: (input, call) => onGroup(call, groupName(input), "FilterLogEvents"),
  handle: (input, call) => {
    const group = storeOf(call).group(groupName(input));
    const within = timeRange(input, group, storeOf(call).now());
    const matches = filterPattern(input.filterPattern ?? "");
    const positions = parsePositions(input.nextToken);
    const merged = merge(chosenStreams(group, input), positions);
    const taken = take(merged, ({ event }) => within(event) && matches(event.message), limitOf(input.limit));
    for (const { stream, index } of taken) positions.set(stream.name, index + 1);
    // Another page is offered whenever this one is full; it may be empty.
    const more = taken.length >= limitOf(input.limit) || bytesOf(taken) > replyBytes / 2;
    return {
      events: taken.map(filtered),
      searchedLogStreams: [],
      ...(more && { nextToken: formatPositions(positions) }),
    };
  },
});

const describeLogGroups = operation<DescribeLogGroupsCommandInput, DescribeLogGroupsCommandOutput>({
  name: "DescribeLogGroups",
  honours: ["logGroupNamePrefix", "logGroupNamePattern", "limit", "nextToken"],
  authorize: (_input, call) => onGroup(call, "", "DescribeLogGroups"),
  handle: (input, call) => {
    const pattern = input.logGroupNamePattern?.toLowerCase() ?? "";
    const groups = [...storeOf(call).groups.values()]
      .filter(({ name }) => name.startsWith(input.logGroupNamePrefix ?? "") && name.toLowerCase().includes(pattern))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const page = pageOf(groups, input.nextToken, input.limit);
    return {
      logGroups: page.items.map((group) => ({
        logGroupName: group.name,
        creationTime: group.created,
        retentionInDays: group.retentionInDays,
        metricFilterCount: 0,
        arn: `${group.arn}:*`,
        logGroupArn: group.arn,
        logGroupClass: "STANDARD",
        storedBytes: [...group.streams.values()].reduce((sum, { bytes }) => sum + bytes, 0),
      })),
      ...(page.next !== undefined && { nextToken: page.next }),
    };
  },
});

const describeLogStreams = operation<DescribeLogStreamsCommandInput, DescribeLogStreamsCommandOutput>({
  name: "DescribeLogStreams",
  honours: ["logGroupName", "logGroupIdentifier", "logStreamNamePrefix", "orderBy", "descending", "limit", "nextToken"],
  authorize: (input, call) => onGroup(call, groupName(input), "DescribeLogStreams"),
  handle: (input, call) => {
    const group = storeOf(call).group(groupName(input));
    const byTime = input.orderBy === "LastEventTime";
    if (byTime && input.logStreamNamePrefix !== undefined)
      throw invalid("Cannot order by LastEventTime with a logStreamNamePrefix.");
    const sign = input.descending === true ? -1 : 1;
    const order = (a: LogStream, b: LogStream): number =>
      byTime ? (a.lastTimestamp ?? 0) - (b.lastTimestamp ?? 0) : a.name < b.name ? -1 : 1;
    const streams = [...group.streams.values()]
      .filter(({ name }) => name.startsWith(input.logStreamNamePrefix ?? ""))
      .sort((a, b) => sign * order(a, b));
    const page = pageOf(streams, input.nextToken, input.limit);
    return {
      logStreams: page.items.map((stream) => ({
        logStreamName: stream.name,
        creationTime: stream.created,
        firstEventTimestamp: stream.firstTimestamp,
        lastEventTimestamp: stream.lastTimestamp,
        lastIngestionTime: stream.lastIngestion,
        arn: stream.arn,
        storedBytes: 0,
      })),
      ...(page.next !== undefined && { nextToken: page.next }),
    };
  },
});

const putRetentionPolicy = operation<PutRetentionPolicyCommandInput, PutRetentionPolicyCommandOutput>({
  name: "PutRetentionPolicy",
  honours: ["logGroupName", "retentionInDays"],
  authorize: (input, call) => onGroup(call, input.logGroupName, "PutRetentionPolicy"),
  handle: (input, call) => {
    const group = storeOf(call).group(input.logGroupName);
    const days = Number(input.retentionInDays);
    if (!retentions.includes(days))
      throw invalid(
        `1 validation error detected: Value '${days}' at 'retentionInDays' is not one of ${retentions.join(", ")}`,
      );
    group.retentionInDays = days;
    return {};
  },
});

const deleteRetentionPolicy = operation<DeleteRetentionPolicyCommandInput, DeleteRetentionPolicyCommandOutput>({
  name: "DeleteRetentionPolicy",
  honours: ["logGroupName"],
  authorize: (input, call) => onGroup(call, input.logGroupName, "DeleteRetentionPolicy"),
  handle: (input, call) => {
    storeOf(call).group(input.logGroupName).retentionInDays = undefined;
    return {};
  },
});

const tagResource = operation<TagResourceCommandInput, TagResourceCommandOutput>({
  name: "TagResource",
  honours: ["resourceArn", "tags"],
  authorize: (input) => [{ action: "logs:TagResource", resource: input.resourceArn ?? "" }],
  handle: (input, call) => {
    const group = groupByArn(call, input.resourceArn);
    group.tags = { ...group.tags, ...input.tags };
    return {};
  },
});

const untagResource = operation<UntagResourceCommandInput, UntagResourceCommandOutput>({
  name: "UntagResource",
  honours: ["resourceArn", "tagKeys"],
  authorize: (input) => [{ action: "logs:UntagResource", resource: input.resourceArn ?? "" }],
  handle: (input, call) => {
    const group = groupByArn(call, input.resourceArn);
    const kept = Object.entries(group.tags).filter(([key]) => !(input.tagKeys ?? []).includes(key));
    group.tags = Object.fromEntries(kept);
    return {};
  },
});

const listTagsForResource = operation<ListTagsForResourceCommandInput, ListTagsForResourceCommandOutput>({
  name: "ListTagsForResource",
  honours: ["resourceArn"],
  authorize: (input) => [{ action: "logs:ListTagsForResource", resource: input.resourceArn ?? "" }],
  handle: (input, call) => ({ tags: { ...groupByArn(call, input.resourceArn).tags } }),
});

export const operations: readonly Operation[] = [
  createLogGroup,
  deleteLogGroup,
  createLogStream,
  putLogEvents,
  getLogEvents,
  filterLogEvents,
  describeLogGroups,
  describeLogStreams,
  putRetentionPolicy,
  deleteRetentionPolicy,
  tagResource,
  untagResource,
  listTagsForResource,
];

function storeOf(call: Call): LogStore {
  return call.cloud.stores.logs;
}

/**
 * A log group's ARN in policies ends in `:*` for all actions but those on tags ("Log group ARNs"), because what is
 * matched goes on with the stream.
 */
function onGroup(call: Call, name: string | undefined, action: string): readonly Access[] {
  const arn = storeOf(call).arnOf(name ?? "");
  return [{ action: `logs:${action}`, resource: action === "TagResource" ? arn : `${arn}:log-stream:` }];
}

function onStream(
  call: Call,
  input: { readonly logGroupName?: string | undefined; readonly logStreamName?: string | undefined },
  action: string,
): readonly Access[] {
  const arn = storeOf(call).arnOf(input.logGroupName ?? "");
  return [{ action: `logs:${action}`, resource: `${arn}:log-stream:${input.logStreamName ?? ""}` }];
}

/** The name, also when the group is given by its ARN. */
function groupName(input: {
  readonly logGroupName?: string | undefined;
  readonly logGroupIdentifier?: string | undefined;
}): string {
  const identifier = input.logGroupName ?? input.logGroupIdentifier ?? "";
  return /^arn:[^:]+:logs:[^:]*:[^:]*:log-group:([^:]+)(?::\*)?$/.exec(identifier)?.[1] ?? identifier;
}

function groupByArn(call: Call, arn: string | undefined): LogGroup {
  return storeOf(call).group(groupName({ logGroupIdentifier: arn }));
}

function checkBatch(events: readonly LogEvent[]): void {
  if (events.length === 0 || events.length > 10_000)
    throw invalid("1 validation error detected: Value at 'logEvents' must have between 1 and 10000 members");
  if (events.some(({ message }) => message === ""))
    throw invalid(
      "1 validation error detected: Value '' at 'logEvents.message' must have length greater than or equal to 1",
    );
  const bytes = events.reduce((sum, { message }) => sum + Buffer.byteLength(message) + eventOverhead, 0);
  if (bytes > replyBytes) throw invalid(`Upload too large: ${bytes} bytes exceeds limit of ${replyBytes}`);
  const disordered = events.some(({ timestamp }, index) => timestamp < (events[index - 1]?.timestamp ?? 0));
  if (disordered) throw invalid("Log events in a single PutLogEvents request must be in chronological order.");
  if ((events.at(-1)?.timestamp ?? 0) - (events[0]?.timestamp ?? 0) > day)
    throw invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.");
}

function rejected(events: readonly LogEvent[], oldest: number, now: number) {
  const old = events.findLastIndex(({ timestamp }) => timestamp < oldest);
  const early = events.findIndex(({ timestamp }) => timestamp > now + 2 * 3_600_000);
  return {
    ...(old >= 0 && { tooOldLogEventEndIndex: old + 1 }),
    ...(early >= 0 && { tooNewLogEventStartIndex: early }),
  };
}

/** From the request's times and the group's retention. */
function timeRange(
  { startTime, endTime }: { readonly startTime?: number | undefined; readonly endTime?: number | undefined },
  { retentionInDays }: LogGroup,
  now: number,
): (event: LogEvent) => boolean {
  const from = Math.max(Number(startTime ?? 0), retentionInDays === undefined ? 0 : now - retentionInDays * day);
  const to = endTime === undefined ? Infinity : Number(endTime);
  // The start is inclusive, the end is not.
  return ({ timestamp }) => timestamp >= from && timestamp < to;
}

function limitOf(limit: number | undefined): number {
  const given = limit ?? replyEvents;
  if (given < 1 || given > replyEvents) throw invalid(`The limit must be between 1 and ${replyEvents}.`);
  return given;
}

/** Up to `limit` items, and about as many bytes as one reply holds. */
function take<T extends { readonly event: LogEvent }>(
  source: Iterable<T>,
  wanted: (item: T) => boolean,
  limit: number,
): T[] {
  const taken: T[] = [];
  let bytes = 0;
  for (const item of source) {
    if (!wanted(item)) continue;
    bytes += Buffer.byteLength(item.event.message) + eventOverhead;
    if (taken.length > 0 && bytes > replyBytes) break;
    taken.push(item);
    if (taken.length >= limit) break;
  }
  return taken;
}

function bytesOf(items: readonly { readonly event: LogEvent }[]): number {
  return items.reduce((sum, { event }) => sum + Buffer.byteLength(event.message) + eventOverhead, 0);
}

function token(direction: "f" | "b", position: number): string {
  return `${direction}/${String(position).padStart(56, "0")}/s`;
}

function startOf(
  input: GetLogEventsCommandInput,
  stream: LogStream,
): { readonly direction: "f" | "b"; readonly position: number } {
  if (input.nextToken !== undefined) {
    const match = /^([fb])\/(\d{56})\/s$/.exec(input.nextToken);
    if (!match) throw invalid("The specified nextToken is invalid.");
    return { direction: match[1] === "f" ? "f" : "b", position: Number(match[2]) };
  }
  return input.startFromHead === true ? { direction: "f", position: 0 } : { direction: "b", position: stream.count };
}

interface Located {
  readonly stream: LogStream;
  readonly index: number;
  readonly event: LogEvent;
}

function chosenStreams(group: LogGroup, input: FilterLogEventsCommandInput): readonly LogStream[] {
  const { logStreamNames: names, logStreamNamePrefix: prefix } = input;
  if (names && prefix !== undefined) throw invalid("You can't specify both logStreamNames and logStreamNamePrefix.");
  if (!names) return [...group.streams.values()].filter(({ name }) => name.startsWith(prefix ?? ""));
  return names.map((name) => {
    const stream = group.streams.get(name);
    if (!stream) throw new AwsError("ResourceNotFoundException", "The specified log stream does not exist.", 400);
    return stream;
  });
}

/** The events of several streams in the order of their times. */
function* merge(streams: readonly LogStream[], positions: ReadonlyMap<string, number>): Generator<Located> {
  const heads = streams.flatMap((stream) => {
    const source = stream.forwards(positions.get(stream.name) ?? 0);
    const first = source.next();
    return first.done ? [] : [{ stream, source, head: first.value }];
  });
  while (heads.length > 0) {
    const earliest = heads.reduce((a, b) => (b.head.event.timestamp < a.head.event.timestamp ? b : a));
    yield { stream: earliest.stream, ...earliest.head };
    const next = earliest.source.next();
    if (next.done) heads.splice(heads.indexOf(earliest), 1);
    else earliest.head = next.value;
  }
}

function filtered({ stream, index, event }: Located): FilteredLogEvent {
  return { logStreamName: stream.name, eventId: `${stream.created}${String(index).padStart(40, "0")}`, ...event };
}

function parsePositions(nextToken: string | undefined): Map<string, number> {
  if (nextToken === undefined) return new Map();
  try {
    return new Map(
      Object.entries(JSON.parse(Buffer.from(nextToken, "base64url").toString()) as Record<string, number>),
    );
  } catch {
    throw invalid("The specified nextToken is invalid.");
  }
}

function formatPositions(positions: ReadonlyMap<string, number>): string {
  return Buffer.from(JSON.stringify(Object.fromEntries(positions))).toString("base64url");
}

function pageOf<T>(items: readonly T[], nextToken: string | undefined, limit = 50) {
  if (limit < 1 || limit > 50) throw invalid("The limit must be between 1 and 50.");
  const start = nextToken === undefined ? 0 : Number(nextToken);
  if (!Number.isInteger(start) || start < 0) throw invalid("The specified nextToken is invalid.");
  const next = start + limit < items.length ? String(start + limit) : undefined;
  return { items: items.slice(start, start + limit), next };
}

function validName(name: string | undefined, pattern: RegExp, member: string): string {
  if (name !== undefined && pattern.test(name)) return name;
  throw invalid(
    `1 validation error detected: Value '${name ?? ""}' at '${member}' failed to satisfy constraint: Member must satisfy regular expression pattern: ${pattern.source}`,
  );
}

function alreadyExists(message: string): AwsError {
  return new AwsError("ResourceAlreadyExistsException", message, 400);
}

function invalid(message: string): AwsError {
  return new AwsError("InvalidParameterException", message, 400);
}
