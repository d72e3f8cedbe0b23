/**
 * Validates the input of an AWS operation against AWS's own model: required members, types, lengths, ranges, patterns
 * and enums. The models in test/models are extracts (`scripts/extract-models.py` makes them).
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Shape {
  readonly type: string;
  readonly required?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly pattern?: string;
  readonly enum?: readonly string[];
  readonly members?: Readonly<Record<string, string>>;
  readonly member?: string;
  readonly key?: string;
  readonly value?: string;
}

interface Model {
  readonly operations: Readonly<Record<string, string | null>>;
  readonly shapes: Readonly<Record<string, Shape>>;
}

/**
 * Members that are newer than the extracts, by structure. Each is in the model of the pinned SDK client:
 * `VolumeId` in @aws-sdk/client-ec2 3.1169.0.
 */
const newer: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  CreateReplaceRootVolumeTaskRequest: { VolumeId: "VolumeId" },
};

const folder = join(__dirname, "..", "models");
const models = new Map<string, Model>();

function modelOf(service: string): Model | undefined {
  const known = models.get(service);
  if (known) return known;
  const file = join(folder, `${service}.json`);
  if (!existsSync(file)) return undefined;
  const model = JSON.parse(readFileSync(file, "utf8")) as Model;
  models.set(service, model);
  return model;
}

/** What AWS would refuse in this input, one sentence each; empty when the input is valid. */
export function violations(service: string, operation: string, input: unknown): string[] {
  const model = modelOf(service);
  const root = model?.operations[operation];
  if (!model || root === undefined)
    return [`${service} ${operation}: there is no model; run scripts/extract-models.py`];
  const found: string[] = [];
  if (root !== null) visit(model, root, input ?? {}, "", found);
  return found.map((each) => `${service} ${operation}: ${each}`);
}

function visit(model: Model, name: string, value: unknown, path: string, found: string[]): void {
  if (value === undefined || value === null) return;
  const shape = model.shapes[name];
  if (!shape) return;
  const here = path === "" ? "input" : path;
  const visitor = visitors[shape.type];
  if (visitor) visitor({ model, shape: withNewer(name, shape), value, path, here, found });
}

function withNewer(name: string, shape: Shape): Shape {
  const added = newer[name];
  return added === undefined ? shape : { ...shape, members: { ...shape.members, ...added } };
}

interface Visit {
  readonly model: Model;
  readonly shape: Shape;
  readonly value: unknown;
  readonly path: string;
  readonly here: string;
  readonly found: string[];
}

const visitors: Readonly<Record<string, (visit: Visit) => void>> = {
  structure: visitStructure,
  list: visitList,
  map: visitMap,
  string: visitString,
  integer: visitNumber,
  long: visitNumber,
  float: visitNumber,
  double: visitNumber,
  boolean: ({ value, here, found }) => {
    if (typeof value !== "boolean") found.push(`${here} is not a boolean`);
  },
};

function visitStructure({ model, shape, value, path, here, found }: Visit): void {
  if (typeof value !== "object") {
    found.push(`${here} is not a structure`);
    return;
  }
  const given = value as Record<string, unknown>;
  for (const member of shape.required ?? []) {
    if (given[member] === undefined || given[member] === null) found.push(`${here} lacks the required ${member}`);
  }
  for (const [member, child] of Object.entries(given)) {
    if (child === undefined) continue;
    const childShape = shape.members?.[member];
    if (childShape === undefined) found.push(`${here} has no member ${member}`);
    else visit(model, childShape, child, path === "" ? member : `${path}.${member}`, found);
  }
}

function visitList({ model, shape, value, path, here, found }: Visit): void {
  if (!Array.isArray(value)) {
    found.push(`${here} is not a list`);
    return;
  }
  checkSize(shape, value.length, `${here} has ${value.length} members`, found);
  value.forEach((each, index) => visit(model, shape.member ?? "", each, `${path}[${index}]`, found));
}

function visitMap({ model, shape, value, path, here, found }: Visit): void {
  if (typeof value !== "object" || value === null) {
    found.push(`${here} is not a map`);
    return;
  }
  const entries = Object.entries(value);
  checkSize(shape, entries.length, `${here} has ${entries.length} entries`, found);
  for (const [key, each] of entries) {
    visit(model, shape.key ?? "", key, `${path}.${key} (key)`, found);
    visit(model, shape.value ?? "", each, `${path}.${key}`, found);
  }
}

function visitString({ shape, value, here, found }: Visit): void {
  if (typeof value !== "string") {
    found.push(`${here} is not a string`);
    return;
  }
  checkSize(shape, value.length, `${here} has ${value.length} characters`, found);
  if (shape.enum && !shape.enum.includes(value)) found.push(`${here} is "${value}", which is none of the enum's`);
  const pattern = shape.pattern === undefined ? undefined : javaPattern(shape.pattern);
  if (pattern && !pattern.test(value)) found.push(`${here} does not match ${shape.pattern ?? ""}`);
}

function visitNumber({ shape, value, here, found }: Visit): void {
  if (typeof value !== "number") {
    found.push(`${here} is not a number`);
    return;
  }
  checkSize(shape, value, `${here} is ${value}`, found);
}

function checkSize({ min, max }: Shape, size: number, what: string, found: string[]): void {
  if (min !== undefined && size < min) found.push(`${what}, fewer than ${min}`);
  if (max !== undefined && size > max) found.push(`${what}, more than ${max}`);
}

/** The models' patterns are Java's and match the whole string. A pattern that JavaScript cannot read is skipped. */
function javaPattern(source: string): RegExp | undefined {
  const translated = source.replace(/\\p\{ASCII\}/g, "[\\x00-\\x7F]").replace(/\\p\{Graph\}/g, "[\\x21-\\x7E]");
  for (const flags of ["u", ""]) {
    try {
      return new RegExp(`^(?:${translated})$`, flags);
    } catch {
      // Try the next.
    }
  }
  return undefined;
}
