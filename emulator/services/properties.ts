/** How resources read the values that Pulumi gives them, and what they all do in the same way. */
import { AwsError, Properties } from "../core/definitions";

/** A text; undefined when there is none. */
export function text(properties: Properties, name: string): string | undefined {
  const value = properties[name];
  return typeof value === "string" ? value : undefined;
}

/** @throws When the program left it out: the provider refuses that in the same way. */
export function required(properties: Properties, name: string): string {
  const value = text(properties, name);
  if (value === undefined) throw new Error(`Missing required property '${name}'`);
  return value;
}

export function amount(properties: Properties, name: string): number | undefined {
  const value = properties[name];
  return typeof value === "number" ? value : undefined;
}

export function flag(properties: Properties, name: string): boolean | undefined {
  const value = properties[name];
  return typeof value === "boolean" ? value : undefined;
}

/** A nested block. */
export function block(properties: Properties, name: string): Properties | undefined {
  const value = properties[name];
  return isProperties(value) ? value : undefined;
}

/** A list of nested blocks. */
export function blocks(properties: Properties, name: string): readonly Properties[] {
  const value = properties[name];
  return Array.isArray(value) ? value.filter(isProperties) : [];
}

/** A map of texts, such as tags. */
export function map(properties: Properties, name: string): Readonly<Record<string, string>> {
  const entries = Object.entries(block(properties, name) ?? {});
  return Object.fromEntries(entries.map(([key, value]) => [key, String(value)]));
}

/** Without the members that are undefined: an absent member and an undefined one are the same to Pulumi. */
export function compact(properties: Properties): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

export interface TagPair {
  readonly Key: string;
  readonly Value: string;
}

/** A resource's tags as the APIs take them. */
export function tagPairs(properties: Properties): TagPair[] {
  return Object.entries(map(properties, "tags")).map(([Key, Value]) => ({ Key, Value }));
}

/** What turns one set of tags into the other. */
export function tagChanges(
  olds: Properties,
  news: Properties,
): { readonly set: TagPair[]; readonly removed: string[] } {
  const before = map(olds, "tags");
  const after = map(news, "tags");
  return {
    set: tagPairs(news).filter(({ Key, Value }) => before[Key] !== Value),
    removed: Object.keys(before).filter((key) => !(key in after)),
  };
}

/** `tags` as far as the program set any, and `tagsAll`. */
export function tagOutputs(
  state: Properties,
  actual: readonly { readonly Key?: string | undefined; readonly Value?: string | undefined }[] = tagPairs(state),
): Properties {
  const tags = Object.fromEntries(actual.map(({ Key, Value }) => [Key ?? "", Value ?? ""]));
  return { ...(actual.length > 0 || state.tags !== undefined ? { tags } : {}), tagsAll: tags };
}

/** The result of a call, or undefined when it is answered with one of these errors: what is gone need not be removed. */
export async function unless<T>(codes: readonly string[], call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof AwsError && codes.includes(error.code)) return undefined;
    throw error;
  }
}

/** A policy may be given as text or as an object. */
export function policyText(properties: Properties, name: string): string {
  const value = properties[name];
  if (typeof value === "string") return value;
  if (isProperties(value)) return JSON.stringify(value);
  throw new Error(`Missing required property '${name}'`);
}

function isProperties(value: unknown): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
