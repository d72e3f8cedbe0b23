import type { Properties } from "../core/definitions";
import { isPlainObject } from "../core/shapes";
import { decodeAsset, DecodedAsset } from "./assets";

/** Signatures by which the engine marks what JSON cannot say: sdk/go/common/resource/plugin of pulumi/pulumi. */
const signatureKey = "4dabf18193072939515e22adb298388d";
const secretSignature = "1b47061264138c4ac30d75fd1eb44270";
const assetSignature = "c44067f5952c0a294b673a41bacd8c17";
const archiveSignature = "0def7320c3a5731c473e5ecbe6d01bc7";
/** Stands for a value that a preview does not know yet; one for each type of value. */
const unknownSignatures: ReadonlySet<string> = new Set([
  "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
  "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
  "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
  "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
  "030794c1-ac77-496b-92df-f27374a8bd58",
  "e48ece36-62e2-4504-bad9-02848725956a",
  "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
]);

export class Unknown {
  static readonly value = new Unknown("04da6b54-80e4-46f7-96ec-b56ff0331ba9");
  private constructor(readonly signature: string) {}
}

/** The way to a value: names of members and indexes of lists. */
export type Path = readonly (string | number)[];

/** Properties without their wrapping, and what the wrapping said. */
export interface Decoded {
  readonly values: Properties;
  readonly secrets: readonly Path[];
}

/** Reads properties as the engine sends them, relative paths of assets from `directory`. */
export function decode(wire: Readonly<Record<string, unknown>>, directory: string): Decoded {
  const secrets: Path[] = [];
  const values = decodeMembers(wire, [], secrets, directory);
  return { values, secrets };
}

function decodeMembers(
  wire: Readonly<Record<string, unknown>>,
  path: Path,
  secrets: Path[],
  directory: string,
): Properties {
  const members: Properties = {};
  for (const [name, value] of Object.entries(wire)) {
    // An absent value and null are the same to a resource.
    if (value === null || value === undefined) continue;
    members[name] = decodeValue(value, [...path, name], secrets, directory);
  }
  return members;
}

function decodeValue(value: unknown, path: Path, secrets: Path[], directory: string): unknown {
  if (typeof value === "string") return unknownSignatures.has(value) ? Unknown.value : value;
  if (Array.isArray(value)) {
    return value.map((item, index) => decodeValue(item, [...path, index], secrets, directory));
  }
  if (!isPlainObject(value)) return value;
  switch (value[signatureKey]) {
    case undefined:
      return decodeMembers(value, path, secrets, directory);
    case secretSignature:
      secrets.push(path);
      return decodeValue(value.value, path, secrets, directory);
    case assetSignature:
    case archiveSignature:
      return decodeAsset(value, directory, (item) => item[signatureKey] === archiveSignature);
    default:
      throw new Error(`The emulator's provider does not take values with the signature ${String(value[signatureKey])}`);
  }
}

/** Writes properties as the engine takes them, wrapping what is at the paths as secret. */
export function encode(values: Properties, secrets: readonly Path[]): Record<string, unknown> {
  return encodeMembers(values, secrets);
}

function encodeMembers(values: Properties, secrets: readonly Path[]): Record<string, unknown> {
  const members = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(members.map(([name, value]) => [name, encodeValue(value, below(secrets, name, value))]));
}

/**
 * The paths below a member. A path that leads nowhere in this value makes all of it secret: rather too much than what
 * a secret was given for in plain text.
 */
function below(secrets: readonly Path[], key: string | number, value: unknown): readonly Path[] {
  return secrets.filter((path) => path[0] === key).map((path) => reachable(path.slice(1), value));
}

function reachable(path: Path, value: unknown): Path {
  let current = value;
  for (const key of path) {
    const members = current as Readonly<Record<string | number, unknown>>;
    if (typeof current !== "object" || current === null || members[key] === undefined) return [];
    current = members[key];
  }
  return path;
}

function encodeValue(value: unknown, secrets: readonly Path[]): unknown {
  const encoded = encodeInner(value, secrets);
  return secrets.some((path) => path.length === 0) ? { [signatureKey]: secretSignature, value: encoded } : encoded;
}

function encodeInner(value: unknown, secrets: readonly Path[]): unknown {
  if (value instanceof Unknown) return value.signature;
  if (value instanceof DecodedAsset) return value.wire;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) =>
      item === undefined ? null : encodeValue(item, below(secrets, index, item)),
    );
  }
  if (isPlainObject(value)) return encodeMembers(value, secrets);
  if (typeof value === "object") throw new Error("A resource gave an output that is neither data nor an asset");
  return value;
}

/** Whether anything in a value is not known yet. */
export function hasUnknown(value: unknown): boolean {
  if (value instanceof Unknown) return true;
  if (Array.isArray(value)) return value.some(hasUnknown);
  return isPlainObject(value) && Object.values(value).some(hasUnknown);
}

/** Whether two values mean the same. Texts that are JSON documents, such as policies, compare by what they say. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof DecodedAsset && b instanceof DecodedAsset) return a.hash === b.hash;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => same(item, b[index]));
  }
  if (isPlainObject(a) && isPlainObject(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].every((key) => same(a[key], b[key]));
  }
  const [left, right] = [document(a), document(b)];
  return left !== undefined && right !== undefined && same(left, right);
}

/** What a text says as a JSON document; a structure as it is. */
function document(value: unknown): unknown {
  if (isPlainObject(value) || Array.isArray(value)) return value;
  if (typeof value !== "string" || !/^\s*[{[]/.test(value)) return undefined;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return undefined;
  }
}
