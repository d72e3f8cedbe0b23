import type { NormalizedSchema } from "@smithy/core/schema";
import { Readable } from "node:stream";
import { requiredMembers } from "./model";

/** A value that has parts which are members: neither bytes, nor a stream, nor a date. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * A copy that shares no mutable state with the original, so that callers and stores cannot reach into each other.
 * Bytes and streams are passed on as they are.
 */
export function copy<T>(value: T): T {
  if (Array.isArray(value)) return value.map((item) => copy<unknown>(item)) as T;
  if (value instanceof Date) return new Date(value) as T;
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([key, member]) => [key, copy(member)]),
  ) as T;
}

/** The dotted paths that an operation honours, as a tree; `true` is "all that is below". */
export type Honoured = true | Map<string, Honoured>;

export function honouredTree(paths: readonly string[]): Honoured {
  const root = new Map<string, Honoured>();
  for (const path of paths) addPath(root, path.split("."));
  return root;
}

function addPath(tree: Map<string, Honoured>, [head, ...rest]: readonly string[]): void {
  if (head === undefined) return;
  const below = tree.get(head);
  if (below === true) return;
  if (rest.length === 0) {
    tree.set(head, true);
    return;
  }
  const branch = below ?? new Map<string, Honoured>();
  tree.set(head, branch);
  addPath(branch, rest);
}

/**
 * The first member that is set and not honoured, as a dotted path. Lists and maps are transparent: their keys are not
 * members. Undefined when all is honoured.
 */
export function unhonoured(
  value: unknown,
  schema: NormalizedSchema | undefined,
  honoured: Honoured,
  path = "",
): string | undefined {
  if (honoured === true || value === undefined || value === null) return undefined;
  if (Array.isArray(value)) {
    const items = schema?.isListSchema() ? schema.getValueSchema() : undefined;
    return firstOf(value, (item) => unhonoured(item, items, honoured, path));
  }
  if (schema?.isMapSchema() && isPlainObject(value)) {
    const values = schema.getValueSchema();
    return firstOf(Object.values(value), (item) => unhonoured(item, values, honoured, path));
  }
  if (!isPlainObject(value)) return path;
  return firstOf(Object.entries(value), ([key, member]) => {
    if (member === undefined || member === null) return undefined;
    const below = path === "" ? key : `${path}.${key}`;
    const branch = honoured.get(key);
    return branch === undefined ? below : unhonoured(member, memberSchema(schema, key), branch, below);
  });
}

function firstOf<T, R>(items: readonly T[], find: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

export function memberSchema(schema: NormalizedSchema | undefined, name: string): NormalizedSchema | undefined {
  if (!schema?.isStructSchema()) return undefined;
  const names = (schema.getSchema() as unknown as readonly unknown[])[4] as readonly string[];
  return names.includes(name) ? schema.getMemberSchema(name) : undefined;
}

/** What is wrong with a value, by the service's own model. */
export type ShapeProblem =
  | { readonly kind: "missing"; readonly path: string }
  | { readonly kind: "type"; readonly path: string; readonly expected: string };

/** Required members that are missing and members of the wrong type. Undefined members do not count as set. */
export function shapeProblems(schema: NormalizedSchema, value: unknown, path = ""): readonly ShapeProblem[] {
  if (value === undefined || value === null || schema.isUnitSchema() || schema.isDocumentSchema()) return [];
  if (schema.isStructSchema()) return structProblems(schema, value, path);
  if (schema.isListSchema()) {
    if (!Array.isArray(value)) return [{ kind: "type", path, expected: "a list" }];
    const items = schema.getValueSchema();
    return value.flatMap((item, index) => shapeProblems(items, item, `${path}.${index + 1}.member`));
  }
  if (schema.isMapSchema()) {
    if (!isPlainObject(value)) return [{ kind: "type", path, expected: "a map" }];
    const values = schema.getValueSchema();
    return Object.entries(value).flatMap(([key, item]) => shapeProblems(values, item, `${path}.${key}`));
  }
  const expected = simpleTypeProblem(schema, value);
  return expected === undefined ? [] : [{ kind: "type", path, expected }];
}

function structProblems(schema: NormalizedSchema, value: unknown, path: string): readonly ShapeProblem[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [{ kind: "type", path, expected: "a structure" }];
  }
  const members = value as Record<string, unknown>;
  const below = (name: string): string => (path === "" ? name : `${path}.${name}`);
  const missing = requiredMembers(schema)
    .filter((name) => members[name] === undefined || members[name] === null)
    .map((name): ShapeProblem => ({ kind: "missing", path: below(name) }));
  const nested = Object.entries(members).flatMap(([name, member]): readonly ShapeProblem[] => {
    if (member === undefined) return [];
    const known = memberSchema(schema, name);
    return known
      ? shapeProblems(known, member, below(name))
      : [{ kind: "type", path: below(name), expected: "a member of the model" }];
  });
  return [...missing, ...nested];
}

function simpleTypeProblem(schema: NormalizedSchema, value: unknown): string | undefined {
  if (schema.isStringSchema()) return typeof value === "string" || value instanceof String ? undefined : "a string";
  if (schema.isBooleanSchema()) return typeof value === "boolean" ? undefined : "true or false";
  if (schema.isNumericSchema()) return typeof value === "number" && !Number.isNaN(value) ? undefined : "a number";
  if (schema.isTimestampSchema()) {
    return value instanceof Date && !Number.isNaN(value.getTime()) ? undefined : "a timestamp";
  }
  if (schema.isBlobSchema()) {
    return value instanceof Uint8Array || typeof value === "string" || value instanceof Readable ? undefined : "bytes";
  }
  return undefined;
}
