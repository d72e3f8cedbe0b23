/** Event patterns ("Creating Amazon EventBridge event patterns"), compiled to a test. */
import { AwsError } from "../../core/definitions";

type Json = Readonly<Record<string, unknown>>;
type Leaf = string | number | boolean | null;
/** Tests the values found at one place of an event; none when the place does not exist. */
type Matcher = (values: readonly Leaf[]) => boolean;

export type EventTest = (event: Json) => boolean;

/** @throws InvalidEventPatternException naming what is not understood. */
export function eventPattern(text: string): EventTest {
  let pattern: unknown;
  try {
    pattern = JSON.parse(text);
  } catch {
    throw invalid("Filter is not an object");
  }
  if (!isObject(pattern)) throw invalid("Filter is not an object");
  if (Object.keys(pattern).length === 0) throw invalid("Empty objects are not allowed");
  const test = compileObject(pattern, []);
  return (event) => test(event);
}

function compileObject(pattern: Json, path: readonly string[]): EventTest {
  const tests = Object.entries(pattern).map(([key, value]) => {
    if (key === "$or") return compileOr(value, path);
    const place = [...path, key];
    if (isObject(value)) {
      if (Object.keys(value).length === 0) throw invalid("Empty objects are not allowed");
      return compileObject(value, place);
    }
    if (!Array.isArray(value)) throw invalid(`"${key}" must be an object or an array`);
    if (value.length === 0) throw invalid("Empty arrays are not allowed");
    const matchers = (value as readonly unknown[]).map(compileMatcher);
    return (event: Json): boolean => {
      const values = valuesAt(event, place);
      return matchers.some((matches) => matches(values));
    };
  });
  return (event) => tests.every((test) => test(event));
}

function compileOr(alternatives: unknown, path: readonly string[]): EventTest {
  if (!Array.isArray(alternatives) || alternatives.length < 2 || !alternatives.every(isObject))
    throw invalid('"$or" must be an array of at least two objects');
  const tests = alternatives.map((each: Json) => compileObject(each, path));
  return (event) => tests.some((test) => test(event));
}

function compileMatcher(matcher: unknown): Matcher {
  if (isLeaf(matcher)) return (values) => values.includes(matcher);
  if (!isObject(matcher)) throw invalid("A match value must be a string, number, boolean, null or object");
  const [[type, argument] = ["", undefined], ...others] = Object.entries(matcher);
  if (others.length > 0) throw invalid("Only one key allowed in match expression");
  const compile = matchTypes[type];
  if (!compile) throw invalid(`Unrecognized match type ${type}`);
  return compile(argument);
}

const matchTypes: Readonly<Record<string, (argument: unknown) => Matcher>> = {
  prefix: (argument) => textMatcher(argument, (text, prefix) => text.startsWith(prefix), "prefix"),
  suffix: (argument) => textMatcher(argument, (text, suffix) => text.endsWith(suffix), "suffix"),
  "equals-ignore-case": (argument) => {
    const wanted = textOf(argument, "equals-ignore-case").toLowerCase();
    return (values) => values.some((value) => typeof value === "string" && value.toLowerCase() === wanted);
  },
  wildcard: (argument) => {
    const pattern = wildcard(textOf(argument, "wildcard"));
    return (values) => values.some((value) => typeof value === "string" && pattern.test(value));
  },
  exists: (argument) => {
    if (typeof argument !== "boolean") throw invalid("exists match pattern must be either true or false");
    return (values) => values.length > 0 === argument;
  },
  numeric: (argument) => {
    const compare = numeric(argument);
    return (values) => values.some((value) => typeof value === "number" && compare(value));
  },
  "anything-but": (argument) => {
    const excluded = anythingBut(argument);
    // The place must exist, and what is there must be something else.
    return (values) => values.length > 0 && !values.some((value) => excluded([value]));
  },
};

function anythingBut(argument: unknown): Matcher {
  if (isObject(argument)) return compileMatcher(argument);
  const list: readonly unknown[] = Array.isArray(argument) ? argument : [argument];
  const excluded = list.filter((each) => typeof each === "string" || typeof each === "number");
  if (list.length === 0 || excluded.length < list.length)
    throw invalid("anything-but must have a value, or a list of values");
  return (values) => values.some((value) => excluded.some((each) => each === value));
}

function textMatcher(argument: unknown, test: (text: string, part: string) => boolean, type: string): Matcher {
  const ignoringCase = isObject(argument) && "equals-ignore-case" in argument;
  const list: readonly unknown[] = Array.isArray(argument)
    ? argument
    : [ignoringCase ? argument["equals-ignore-case"] : argument];
  const parts = list.map((part) => textOf(part, type));
  const fold = (text: string): string => (ignoringCase ? text.toLowerCase() : text);
  return (values) =>
    values.some((value) => typeof value === "string" && parts.some((part) => test(fold(value), fold(part))));
}

function textOf(argument: unknown, type: string): string {
  if (typeof argument === "string" && argument !== "") return argument;
  throw invalid(`${type} match pattern must be a non-empty string`);
}

function wildcard(text: string): RegExp {
  const source = text
    .split("*")
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^${source}$`, "s");
}

const comparisons: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  "=": (a, b) => a === b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

function numeric(argument: unknown): (value: number) => boolean {
  const list: readonly unknown[] = Array.isArray(argument) ? argument : [];
  const tests: ((value: number) => boolean)[] = [];
  for (let index = 0; index < list.length; index += 2) {
    const [operator, bound] = [comparisons[String(list[index])], list[index + 1]];
    if (!operator || typeof bound !== "number") throw invalid("Invalid numeric range");
    tests.push((value) => operator(value, bound));
  }
  if (tests.length === 0 || tests.length > 2) throw invalid("Invalid numeric range");
  return (value) => tests.every((test) => test(value));
}

/** What is at a place of the event; arrays count as each of their members. */
function valuesAt(value: unknown, path: readonly string[]): readonly Leaf[] {
  if (Array.isArray(value)) return value.flatMap((each) => valuesAt(each, path));
  const [key, ...rest] = path;
  if (key === undefined) return isLeaf(value) ? [value] : [];
  return isObject(value) && key in value ? valuesAt(value[key], rest) : [];
}

function isLeaf(value: unknown): value is Leaf {
  return value === null || ["string", "number", "boolean"].includes(typeof value);
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(reason: string): AwsError {
  return new AwsError("InvalidEventPatternException", `Event pattern is not valid. Reason: ${reason}`, 400);
}
