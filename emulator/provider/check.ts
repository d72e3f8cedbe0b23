import type { InputRule, Properties, ResourceDefinition } from "../core/definitions";
import { defaultsKey, diffInputs } from "./diff";
import { hasUnknown, same } from "./values";

export interface CheckedInputs {
  readonly inputs: Properties;
  readonly failures: readonly { readonly property: string; readonly reason: string }[];
}

export interface CheckOptions {
  /** The resource's name in the program. */
  readonly name: string;
  readonly randomSeed: Uint8Array;
  readonly region: string;
  readonly account: string;
}

/** What every resource of a provider may be given. */
const common = ["region"];

/** The provider's check: refuses inputs that are not honoured, fills in defaults and unique names. */
export function checkInputs(
  definition: ResourceDefinition,
  news: Properties,
  olds: Properties,
  options: CheckOptions,
): CheckedInputs {
  const given = Object.fromEntries(Object.entries(news).filter(([name]) => name !== defaultsKey));
  const failures = [...unknownInputs(definition, given), ...otherRegion(given, options.region)];
  const filled: [string, unknown][] = Object.entries(definition.inputs).flatMap(([name, rule]) => {
    if (given[name] !== undefined) return [];
    const value = defaultOf(name, rule, olds, options);
    return value === undefined ? [] : [[name, value] as [string, unknown]];
  });
  const inputs = {
    ...given,
    ...Object.fromEntries(filled),
    [defaultsKey]: filled.map(([name]) => name).sort(),
  };
  return { inputs, failures: [...failures, ...fixedInputs(definition, inputs, olds)] };
}

/** Changes that the emulator cannot make. What is replaced anyway is made anew with the new value. */
function fixedInputs(definition: ResourceDefinition, news: Properties, olds: Properties): CheckedInputs["failures"] {
  if (Object.keys(olds).length === 0 || diffInputs(definition, olds, news).replaces.length > 0) return [];
  return Object.entries(definition.inputs).flatMap(([property, { fixed }]) => {
    if (fixed === undefined || same(olds[property], news[property])) return [];
    const what = `NotImplemented: the emulator does not change "${property}" of ${definition.type} in place (${fixed})`;
    return [{ property, reason: `${what}. Replace the resource, or leave it as it is.` }];
  });
}

function unknownInputs(definition: ResourceDefinition, given: Properties): CheckedInputs["failures"] {
  return Object.keys(given)
    .filter((name) => definition.inputs[name] === undefined && !common.includes(name))
    .map((name) => ({
      property: name,
      reason: `NotImplemented: the emulator does not honour the input "${name}" of ${definition.type}`,
    }));
}

function otherRegion(given: Properties, region: string): CheckedInputs["failures"] {
  if (given.region === undefined || given.region === region || hasUnknown(given.region)) return [];
  return [{ property: "region", reason: `NotImplemented: the emulator has the Region ${region} only` }];
}

function defaultOf(name: string, rule: InputRule, olds: Properties, options: CheckOptions): unknown {
  if (rule.default !== undefined) return rule.default;
  if (!rule.autoname) return undefined;
  // A resource keeps the name that it got; its replacement is checked without olds and gets a new one.
  return isAutonamed(name, olds) ? olds[name] : autoname(rule.autoname, options);
}

function isAutonamed(name: string, olds: Properties): boolean {
  const defaults = olds[defaultsKey];
  return olds[name] !== undefined && Array.isArray(defaults) && defaults.includes(name);
}

/** Hexadecimal digits that the provider adds to make a name unique. */
const randomDigits = 7;

/** The resource's name, a separator and seven random hexadecimal digits, as the provider makes them. */
export function autoname(rule: NonNullable<InputRule["autoname"]>, options: CheckOptions): string {
  const separator = rule.separator ?? "-";
  const digits = [...options.randomSeed].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const suffix = separator + digits.padEnd(randomDigits, "0").slice(0, randomDigits);
  const stem = rule.lowerCase ? options.name.toLowerCase() : options.name;
  if (stem.length + suffix.length > rule.maxLength) {
    throw new Error(
      `The name ${stem} is too long to be made unique: with ${suffix} it must not exceed ${rule.maxLength} characters. ` +
        "Give the resource a shorter or an explicit name.",
    );
  }
  return stem + suffix;
}
