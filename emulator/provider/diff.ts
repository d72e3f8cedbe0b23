import type { Properties, ResourceDefinition } from "../core/definitions";
import { isPlainObject } from "../core/shapes";
import { hasUnknown, same } from "./values";

export type ChangeKind = "add" | "delete" | "update";

export interface PropertyChange {
  /** For example `stages[1].name`. */
  readonly path: string;
  readonly kind: ChangeKind;
  readonly replace: boolean;
}

export interface ResourceDiff {
  readonly changes: readonly PropertyChange[];
  /** Top-level names of the inputs that changed. */
  readonly changed: readonly string[];
  readonly replaces: readonly string[];
  readonly deleteBeforeReplace: boolean;
}

/** The name under which the provider remembers which inputs it filled in itself. */
export const defaultsKey = "__defaults";

/** What changes between two sets of inputs, and whether that can be done in place. */
export function diffInputs(definition: ResourceDefinition, olds: Properties, news: Properties): ResourceDiff {
  const names = [...new Set([...Object.keys(olds), ...Object.keys(news)])].filter((name) => name !== defaultsKey);
  const changed = names.filter((name) => hasUnknown(news[name]) || !same(olds[name], news[name]));
  const replaces = changed.filter((name) => mustReplace(definition, name));
  return {
    changed,
    replaces,
    changes: changed.flatMap((name) => detailedChanges(olds[name], news[name], name, replaces.includes(name))),
    deleteBeforeReplace: replaces.length > 0 && keepsGivenName(definition, olds, news),
  };
}

function mustReplace(definition: ResourceDefinition, name: string): boolean {
  return definition.inputs[name]?.replaceOn !== undefined;
}

/**
 * Whether old and new would have the same name: two of a name cannot be at a time. As the real provider does: it
 * deletes first where the program, not the provider, chose the name and keeps it.
 */
function keepsGivenName(definition: ResourceDefinition, olds: Properties, news: Properties): boolean {
  const defaults = Array.isArray(news[defaultsKey]) ? (news[defaultsKey] as readonly unknown[]) : [];
  return Object.entries(definition.inputs).some(
    ([name, rule]) =>
      rule.autoname !== undefined &&
      news[name] !== undefined &&
      !defaults.includes(name) &&
      same(olds[name], news[name]),
  );
}

function detailedChanges(old: unknown, now: unknown, path: string, replace: boolean): readonly PropertyChange[] {
  if (same(old, now)) return [];
  if (old === undefined) return [{ path, kind: "add", replace }];
  if (now === undefined) return [{ path, kind: "delete", replace }];
  if (isPlainObject(old) && isPlainObject(now)) {
    const keys = [...new Set([...Object.keys(old), ...Object.keys(now)])];
    return keys.flatMap((key) => detailedChanges(old[key], now[key], `${path}${memberPath(key)}`, replace));
  }
  if (Array.isArray(old) && Array.isArray(now)) {
    const [before, after] = [old as readonly unknown[], now as readonly unknown[]];
    const indexes = Array.from({ length: Math.max(before.length, after.length) }, (_, index) => index);
    return indexes.flatMap((index) => detailedChanges(before[index], after[index], `${path}[${index}]`, replace));
  }
  return [{ path, kind: "update", replace }];
}

function memberPath(key: string): string {
  return /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/**
 * The inputs of a resource as it really is: what was given, where reality agrees, and reality's value where not.
 * A nested block is compared by the members that were given, because the service adds its own; tags are compared whole.
 */
export function observedInputs(definition: ResourceDefinition, inputs: Properties, outputs: Properties): Properties {
  const observed: Properties = {};
  for (const [name, given] of Object.entries(inputs)) {
    const real = outputs[name];
    const known = name === defaultsKey || definition.inputs[name]?.writeOnly === true;
    const agrees = known || (name === "tags" ? same(given, real) : covers(given, real));
    observed[name] = agrees || (real === undefined && !isData(given)) ? given : real;
    if (observed[name] === undefined) delete observed[name];
  }
  if (Object.keys(inputs).length > 0) return observed;
  // An imported resource has no inputs yet: all that it could have been given.
  const names = Object.keys(definition.inputs).filter((name) => outputs[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, outputs[name]]));
}

/** Assets are not read back. */
function isData(value: unknown): boolean {
  return typeof value !== "object" || isPlainObject(value) || Array.isArray(value);
}

function covers(given: unknown, real: unknown): boolean {
  if (isPlainObject(given) && isPlainObject(real)) {
    return Object.entries(given).every(([name, value]) => covers(value, real[name]));
  }
  if (Array.isArray(given) && Array.isArray(real)) {
    return given.length === real.length && given.every((item, index) => covers(item, real[index]));
  }
  return same(given, real);
}
