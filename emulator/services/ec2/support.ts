/**
 * What all operations of EC2 share: ids, tags, filters, pages, dry runs, client tokens, and what IAM is asked.
 */
import { randomBytes } from "node:crypto";
import type { Filter, Tag, TagSpecification } from "@aws-sdk/client-ec2";
import { AwsError, operation, type Access, type Cloud, type Operation } from "../../core/definitions";

const MAX_TAGS = 50;
const MAX_KEY = 127;
const MAX_VALUE = 255;
const MAX_FILTER_VALUES = 200;

/** An id as EC2 makes them: the prefix and 17 hexadecimal digits. */
export function newId(prefix: string): string {
  return `${prefix}-0${randomBytes(8).toString("hex")}`;
}

/** An operation of EC2: all of them take `DryRun`, which is answered after IAM has decided. */
export function ec2Operation<I extends object, O extends object>(
  definition: Operation<I, Omit<O, "$metadata">>,
): Operation {
  return operation<I, O>({
    ...definition,
    honours: [...definition.honours, "DryRun"],
    handle: (input, call) => {
      if ((input as { DryRun?: boolean }).DryRun !== true) return definition.handle(input, call);
      throw new AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412);
    },
  });
}

/** For actions that IAM knows without a resource, such as every `Describe`. */
export function withoutResource(action: string): () => readonly Access[] {
  return () => [{ action: `ec2:${action}`, resource: "*" }];
}

export interface Tagged {
  Tags?: Tag[] | undefined;
}

/** The ARN of something in EC2. Snapshots and images of AWS have no account in theirs. */
export function ec2Arn(cloud: Cloud, type: string, id: string): string {
  const account = type === "snapshot" || type === "image" ? "" : cloud.account;
  return `arn:${cloud.partition}:ec2:${cloud.region}:${account}:${type}/${id}`;
}

/** What IAM is asked for one existing resource, with its tags as condition keys. */
export function onResource(cloud: Cloud, action: string, type: string, id: string, record: Tagged | undefined): Access {
  const tags = (record?.Tags ?? []).flatMap(({ Key = "", Value = "" }) => [
    [`aws:ResourceTag/${Key}`, Value] as const,
    [`ec2:ResourceTag/${Key}`, Value] as const,
  ]);
  return { action: `ec2:${action}`, resource: ec2Arn(cloud, type, id), context: Object.fromEntries(tags) };
}

/** What IAM is asked for a resource that the call would make: the action itself, and tagging it. */
export function onNewResource(
  cloud: Cloud,
  action: string,
  type: string,
  specifications: readonly TagSpecification[] | undefined,
): Access[] {
  const tags = tagsFor(type, specifications) ?? [];
  const resource = ec2Arn(cloud, type, "*");
  const requested = {
    ...Object.fromEntries(tags.map(({ Key = "", Value = "" }) => [`aws:RequestTag/${Key}`, Value])),
    ...(tags.length > 0 ? { "aws:TagKeys": tags.map(({ Key = "" }) => Key) } : {}),
  };
  const making = { action: `ec2:${action}`, resource, context: requested };
  if (tags.length === 0) return [making];
  return [making, { action: "ec2:CreateTags", resource, context: { ...requested, "ec2:CreateAction": action } }];
}

/** Tags that a copy may have: not those that AWS sets. */
export function userTags({ Tags }: Tagged): Tag[] {
  return (Tags ?? []).filter(({ Key = "" }) => !isReserved(Key));
}

export function isReserved(key: string): boolean {
  return /^aws:/i.test(key);
}

/** The tags that a request gives to that type of resource. */
export function tagsFor(type: string, specifications: readonly TagSpecification[] | undefined): Tag[] | undefined {
  const tags = (specifications ?? [])
    .filter(({ ResourceType }) => ResourceType === type)
    .flatMap(({ Tags }) => Tags ?? []);
  return tags.length === 0 ? undefined : withTags([], tags);
}

/** The tags with others over them: "Tag restrictions", Amazon EC2 User Guide. */
export function withTags(olds: readonly Tag[], added: readonly Tag[]): Tag[] {
  const checked = added.map(checkedTag);
  const keys = checked.map(({ Key }) => Key);
  const twice = keys.find((key, index) => keys.indexOf(key) !== index);
  if (twice !== undefined) throw new AwsError("InvalidParameterValue", `Duplicate tag key '${twice}' specified.`);
  const tags = [...olds.filter(({ Key }) => !keys.includes(Key)), ...checked];
  if (tags.filter(({ Key = "" }) => !isReserved(Key)).length > MAX_TAGS) {
    throw new AwsError("TagLimitExceeded", `More than ${MAX_TAGS} tags specified`);
  }
  return tags;
}

function checkedTag({ Key, Value = "" }: Tag): Tag {
  if (Key === undefined || Key === "" || Key.length > MAX_KEY) {
    throw new AwsError("InvalidParameterValue", `Tag key must have between 1 and ${MAX_KEY} characters`);
  }
  if (Value.length > MAX_VALUE) {
    throw new AwsError("InvalidParameterValue", `Tag value exceeds the maximum length of ${MAX_VALUE} characters`);
  }
  if (isReserved(Key)) {
    throw new AwsError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use");
  }
  return { Key, Value };
}

export type FilterTable<T> = Readonly<
  Record<string, (record: T) => string | readonly (string | undefined)[] | undefined>
>;

/** Applies filters as EC2 does: all filters must match, one of a filter's values must; `*` and `?` are wildcards. */
export function applyFilters<T extends Tagged>(
  records: readonly T[],
  filters: readonly Filter[] | undefined,
  table: FilterTable<T>,
): T[] {
  const values = (filters ?? []).flatMap(({ Values = [] }) => Values);
  if (values.length > MAX_FILTER_VALUES) {
    throw new AwsError(
      "FilterLimitExceeded",
      `The maximum number of filter values specified on a single call is ${MAX_FILTER_VALUES}`,
    );
  }
  const tests = (filters ?? []).map((filter) => filterTest(filter, table));
  return records.filter((record) => tests.every((test) => test(record)));
}

function filterTest<T extends Tagged>(
  { Name = "", Values = [] }: Filter,
  table: FilterTable<T>,
): (record: T) => boolean {
  const read = filterReader(Name, table);
  const patterns = Values.map(wildcardPattern);
  return (record) => read(record).some((value) => patterns.some((pattern) => pattern.test(value)));
}

function filterReader<T extends Tagged>(name: string, table: FilterTable<T>): (record: T) => string[] {
  if (name.startsWith("tag:")) {
    const key = name.slice("tag:".length);
    return ({ Tags = [] }) => (Tags ?? []).filter((tag) => tag.Key === key).map((tag) => tag.Value ?? "");
  }
  if (name === "tag-key") return ({ Tags = [] }) => (Tags ?? []).map((tag) => tag.Key ?? "");
  const read = table[name];
  if (read === undefined) throw new AwsError("InvalidParameterValue", `The filter '${name}' is invalid`);
  return (record) => [read(record)].flat().filter((value) => value !== undefined);
}

function wildcardPattern(value: string): RegExp {
  const source = value
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  return new RegExp(`^${source}$`, "s");
}

/** How an operation pages, where it is not as most do. */
export interface Paging {
  /** The ids that the request names, which rule out `MaxResults`, and what their parameter is called in the message. */
  readonly ids?: string;
  readonly given?: readonly string[] | undefined;
  /** The least and the largest page. */
  readonly sizes?: readonly [number, number];
}

/** One page; the token holds the offset. Without `MaxResults` all that there is, as it is never more than 1,000. */
export function onePage<T>(
  items: readonly T[],
  { MaxResults, NextToken }: { MaxResults?: number | undefined; NextToken?: string | undefined },
  { ids, given = [], sizes: [least, most] = [5, 1_000] }: Paging = {},
): { items: T[]; NextToken: string | undefined } {
  if (MaxResults !== undefined && given.length > 0) {
    const message = `The parameter ${ids ?? ""} cannot be used with the parameter maxResults`;
    throw new AwsError("InvalidParameterCombination", message);
  }
  if (MaxResults !== undefined && (MaxResults < least || MaxResults > most)) {
    const message = `Value ( ${MaxResults} ) for parameter maxResults is invalid. Expecting a value between ${least} and ${most}.`;
    throw new AwsError("InvalidParameterValue", message);
  }
  const start = NextToken === undefined ? 0 : Number(Buffer.from(NextToken, "base64url").toString());
  if (!Number.isInteger(start)) throw new AwsError("InvalidNextToken", "The specified token is not valid.");
  const end = MaxResults === undefined ? items.length : start + MaxResults;
  const token = end < items.length ? Buffer.from(String(end)).toString("base64url") : undefined;
  return { items: items.slice(start, end), NextToken: token };
}

interface Answered {
  readonly parameters: string;
  readonly answer: unknown;
}

const KEPT_TOKENS = 1_000;
const MAX_TOKEN = 64;

/** Answers a repeated request with the answer of the first, as `ClientToken` promises. Forgets the oldest. */
export class ClientTokens {
  private readonly answers = new Map<string, Answered>();

  /** Tokens of different operations have nothing to do with one another. */
  once<O>(operation: string, input: { ClientToken?: string | undefined }, action: () => O): O {
    const { ClientToken: token } = input;
    if (token === undefined) return action();
    if (token.length > MAX_TOKEN) {
      const message = `Value (${token}) for parameter clientToken is invalid. It has more than ${MAX_TOKEN} characters.`;
      throw new AwsError("InvalidParameterValue", message);
    }
    const key = `${operation} ${token}`;
    const parameters = JSON.stringify(input);
    const known = this.answers.get(key);
    if (known === undefined) return this.keep(key, parameters, action());
    if (known.parameters === parameters) return known.answer as O;
    const message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
    throw new AwsError("IdempotentParameterMismatch", message);
  }

  private keep<O>(key: string, parameters: string, answer: O): O {
    this.answers.set(key, { parameters, answer });
    // A failed request may be sent again under the same token.
    if (answer instanceof Promise) answer.catch(() => this.answers.delete(key));
    const [oldest] = this.answers.keys();
    if (this.answers.size > KEPT_TOKENS && oldest !== undefined) this.answers.delete(oldest);
    return answer;
  }
}

/** What EC2 answers when a required parameter is absent. */
export function required<T>(value: T | undefined, name: string): T {
  if (value !== undefined && value !== null && (value as unknown) !== "") return value;
  throw new AwsError("MissingParameter", `The request must contain the parameter ${name}`);
}
