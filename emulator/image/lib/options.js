/** Command lines as the AWS CLI takes them. */
"use strict";
const fs = require("node:fs");

/** Thrown for a command line that cannot be understood. */
class UsageError extends Error {}

/**
 * Splits `--name value value --flag` into a map of lists; what comes before the first option are the words.
 * `--name=value` is taken too.
 */
function parseArguments(args, valueless = []) {
  const words = [];
  const options = new Map();
  let current;
  for (const arg of args) {
    if (!/^--[a-z]/.test(arg)) {
      (current ?? words).push(arg);
      continue;
    }
    const at = arg.indexOf("=");
    const name = at < 0 ? arg.slice(2) : arg.slice(2, at);
    const values = options.get(name) ?? [];
    options.set(name, values);
    if (at >= 0) values.push(arg.slice(at + 1));
    current = at >= 0 || valueless.includes(name) ? undefined : values;
  }
  return { words, options };
}

/** The single value of an option. */
function single(options, name) {
  const values = options.get(name);
  if (values === undefined) return undefined;
  if (values.length === 1) return values[0];
  throw new UsageError(`argument --${name}: expected one argument`);
}

/** `file://` and `fileb://` name a file that holds the value. */
function resolved(value) {
  if (value.startsWith("file://")) return fs.readFileSync(value.slice("file://".length), "utf8");
  if (value.startsWith("fileb://")) return fs.readFileSync(value.slice("fileb://".length));
  return value;
}

/** The member of the API that an option stands for: `instance-ids` is `InstanceIds`. */
function memberName(option, candidates) {
  const plain = option.replaceAll("-", "").toLowerCase();
  return candidates.find((name) => name.toLowerCase() === plain);
}

/**
 * A value of a type: "string", "number", "boolean", { list: type }, { map: type } or { structure: { name: type } }.
 * Structures, maps and lists are given as JSON or in the CLI's shorthand.
 */
function valueOf(values, type, name) {
  if (type === "boolean") return values.length === 0 || values[0] === "true";
  if (type.list !== undefined) return listOf(values.map(resolved), type.list, name);
  if (values.length === 1) return scalarOrBlock(resolved(values[0]), type, name);
  // The shell may have split a shorthand at its spaces; a map or structure takes its members from all words.
  if (typeof type === "object")
    return Object.assign({}, ...values.map((value) => scalarOrBlock(resolved(value), type, name)));
  throw new UsageError(`argument --${name}: expected one argument`);
}

function listOf(values, type, name) {
  if (values.length === 1 && values[0].trimStart().startsWith("[")) return json(values[0], name);
  return values.map((value) => scalarOrBlock(value, type, name));
}

function scalarOrBlock(value, type, name) {
  if (type === "number") return number(value, name);
  if (type === "boolean") return value === "true";
  if (typeof type === "string") return value;
  if (/^\s*[[{]/.test(value)) return json(value, name);
  return shorthand(value, type, name);
}

function number(value, name) {
  const parsed = Number(value);
  if (Number.isNaN(parsed)) throw new UsageError(`argument --${name}: invalid number '${value}'`);
  return parsed;
}

function json(value, name) {
  try {
    return JSON.parse(value);
  } catch (error) {
    throw new UsageError(`Error parsing parameter '--${name}': Invalid JSON: ${error.message}`);
  }
}

/** `Name=a,Values=b,c` and `commands=["a","b"]`; a value without a key continues the list before it. */
function shorthand(value, type, name) {
  const result = {};
  let key;
  for (const part of splitAtCommas(value)) {
    const at = /^[\w-]+=/.exec(part)?.[0].length ?? 0;
    if (at > 0) key = part.slice(0, at - 1);
    if (key === undefined)
      throw new UsageError(`Error parsing parameter '--${name}': Expected: '=', received: '${part}'`);
    const memberType = type.map ?? type.structure?.[key] ?? "string";
    result[key] = added(result[key], part.slice(at), memberType, name);
  }
  return result;
}

function added(previous, word, type, name) {
  const text = /^(["']).*\1$/s.test(word) ? word.slice(1, -1) : word;
  if (type.list === undefined) return scalarOrBlock(text, type, name);
  const items = text.startsWith("[") ? bracketed(text, name) : [scalarOrBlock(text, type.list, name)];
  return [...(previous ?? []), ...items];
}

function bracketed(text, name) {
  try {
    return JSON.parse(text);
  } catch {
    if (!text.endsWith("]")) throw new UsageError(`Error parsing parameter '--${name}': Expected: ']'`);
    return splitAtCommas(text.slice(1, -1)).map((item) => item.trim().replace(/^(["'])(.*)\1$/s, "$2"));
  }
}

/** At commas that are in no quotes and no brackets. */
function splitAtCommas(text) {
  const parts = [""];
  let depth = 0;
  let quote = "";
  let escaped = false;
  for (const character of text) {
    if (character === "," && depth === 0 && quote === "") {
      parts.push("");
      continue;
    }
    parts[parts.length - 1] += character;
    if (escaped) escaped = false;
    else if (character === "\\") escaped = true;
    else if (quote !== "") quote = character === quote ? "" : quote;
    else if (character === '"' || character === "'") quote = character;
    else if ("[{".includes(character)) depth++;
    else if ("]}".includes(character)) depth--;
  }
  return parts;
}

module.exports = { parseArguments, single, resolved, memberName, valueOf, UsageError };
