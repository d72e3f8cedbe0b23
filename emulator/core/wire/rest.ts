import type { NormalizedSchema } from "@smithy/core/schema";
import { AwsError, notImplemented } from "../definitions";
import { type OperationModel, type PathSegment, type ServiceModel, requiredMembers } from "../model";
import { readText, writeText } from "./text";
import type { WireRequest } from "./wire";

interface Match {
  readonly operation: OperationModel;
  readonly labels: ReadonlyMap<string, string>;
  /** How many things of the request are particular to this operation. */
  readonly weight: number;
}

/**
 * The operation that a REST request means: method, path and fixed query parameters must fit, and so must the members
 * that the operation requires in the query and the headers. Of several, the most particular one.
 */
export function findRestOperation(model: ServiceModel, request: WireRequest): Match {
  let best: Match | undefined;
  for (const operation of model.operations.values()) {
    const match = matchOperation(operation, request);
    if (match && (!best || match.weight > best.weight)) best = match;
  }
  if (!best) throw notImplemented(`${model.namespace}: ${request.method} ${request.path}`);
  return best;
}

function matchOperation(operation: OperationModel, request: WireRequest): Match | undefined {
  const { http } = operation;
  if (!http || http.method !== request.method) return undefined;
  let weight = 0;
  for (const [name, value] of http.query) {
    const given = request.query.get(name);
    // SDKs send the operation's name as x-id, boto3 and the CLI do not.
    if (given === undefined && name === "x-id") continue;
    if (given === undefined || (value !== "" && given !== value)) return undefined;
    weight += name === "x-id" ? 100 : 10;
  }
  const labels = matchPath(pathOf(operation), request.path);
  if (!labels) return undefined;
  const bound = requiredBindings(operation.input);
  if (!bound.query.every((name) => request.query.has(name))) return undefined;
  if (!bound.headers.every((name) => request.headers[name] !== undefined)) return undefined;
  return { operation, labels, weight: weight + bound.query.length + bound.headers.length };
}

/** S3's model leaves the bucket to the host name; with path style it is the first segment. */
function pathOf(operation: OperationModel): readonly PathSegment[] {
  const path = operation.http?.path ?? [];
  const bound = new Set(path.flatMap((segment) => ("label" in segment ? [segment.label] : [])));
  const hostLabel = [...labelMembers(operation.input)].find((name) => !bound.has(name));
  return hostLabel === undefined ? path : [{ label: hostLabel, greedy: false }, ...path];
}

function* labelMembers(input: NormalizedSchema): Generator<string> {
  if (input.isUnitSchema()) return;
  for (const [name, member] of input.structIterator()) {
    if (member.getMergedTraits().httpLabel) yield name;
  }
}

function matchPath(pattern: readonly PathSegment[], path: string): ReadonlyMap<string, string> | undefined {
  const parts = path.replace(/^\//, "").split("/");
  const labels = new Map<string, string>();
  // `/bucket/` is the bucket itself, not the object with the empty key.
  if (parts.at(-1) === "" && parts.length === pattern.length + 1) parts.pop();
  if (parts.length === 1 && parts[0] === "") parts.pop();
  for (const [index, segment] of pattern.entries()) {
    if ("literal" in segment) {
      if (parts[index] !== segment.literal) return undefined;
      continue;
    }
    const value = segment.greedy ? parts.slice(index).join("/") : parts[index];
    if (value === undefined || value === "") return undefined;
    labels.set(segment.label, decode(value));
    if (segment.greedy) return labels;
  }
  return parts.length === pattern.length ? labels : undefined;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new AwsError("InvalidURI", "Couldn't parse the specified URI.");
  }
}

const bindings = new WeakMap<NormalizedSchema, { query: readonly string[]; headers: readonly string[] }>();

function requiredBindings(input: NormalizedSchema): { query: readonly string[]; headers: readonly string[] } {
  const known = bindings.get(input);
  if (known) return known;
  const names = input.isUnitSchema() ? [] : requiredMembers(input);
  const traits = names.map((name) => input.getMemberSchema(name).getMergedTraits());
  const result = {
    query: traits.flatMap(({ httpQuery }) => (typeof httpQuery === "string" ? [httpQuery] : [])),
    headers: traits.flatMap(({ httpHeader }) => (typeof httpHeader === "string" ? [httpHeader.toLowerCase()] : [])),
  };
  bindings.set(input, result);
  return result;
}

/** Where a member travels. */
export type Place = "label" | "query" | "query-map" | "header" | "prefix-headers" | "payload" | "status" | "body";

export function placeOf(member: NormalizedSchema): Place {
  const traits = member.getMergedTraits() as Record<string, unknown>;
  if (traits.httpLabel) return "label";
  if (traits.httpQuery) return "query";
  if (traits.httpQueryParams) return "query-map";
  if (traits.httpHeader) return "header";
  if (traits.httpPrefixHeaders) return "prefix-headers";
  if (traits.httpPayload) return "payload";
  if (traits.httpResponseCode) return "status";
  return "body";
}

/** Reads the members that travel in path, query and headers. */
export function readBindings(
  operation: OperationModel,
  labels: ReadonlyMap<string, string>,
  request: WireRequest,
): Record<string, unknown> {
  const input: Record<string, unknown> = {};
  if (operation.input.isUnitSchema()) return input;
  for (const [name, member] of operation.input.structIterator()) {
    const value = readBinding(name, member, labels, request);
    if (value !== undefined) input[name] = value;
  }
  refuseUnknownQuery(operation, request);
  refuseUnknownHeaders(operation, request);
  return input;
}

function readBinding(
  name: string,
  member: NormalizedSchema,
  labels: ReadonlyMap<string, string>,
  request: WireRequest,
): unknown {
  const traits = member.getMergedTraits() as Record<string, unknown>;
  switch (placeOf(member)) {
    case "label":
      return readMember(member, labels.get(name));
    case "query":
      return readMember(member, request.query.get(String(traits.httpQuery)));
    case "header":
      return readMember(member, headerOf(request, String(traits.httpHeader)));
    case "prefix-headers":
      return readPrefixed(String(traits.httpPrefixHeaders), request);
    default:
      return undefined;
  }
}

function headerOf(request: WireRequest, name: string): string | undefined {
  const value = request.headers[name.toLowerCase()];
  return Array.isArray(value) ? value.join(",") : value;
}

function readMember(member: NormalizedSchema, text: string | undefined): unknown {
  if (text === undefined) return undefined;
  if (!member.isListSchema()) return readText(member, text);
  const items = member.getValueSchema();
  return text.split(",").map((item) => readText(items, item.trim()));
}

function readPrefixed(prefix: string, request: WireRequest): Record<string, string> | undefined {
  const lower = prefix.toLowerCase();
  const found = Object.entries(request.headers).filter(([name]) => name.startsWith(lower));
  if (found.length === 0) return undefined;
  return Object.fromEntries(found.map(([name, value]) => [name.slice(lower.length), String(value)]));
}

/** Parameters that belong to the signature or the SDK, not to the operation. */
const commonQuery =
  /^(x-id|x-amz-(algorithm|credential|date|expires|signedheaders|signature|security-token|content-sha256|sdk-.*))$/i;

function refuseUnknownQuery(operation: OperationModel, request: WireRequest): void {
  const known = new Set(operation.http?.query.keys());
  for (const [, member] of operation.input.structIterator()) {
    const { httpQuery } = member.getMergedTraits();
    if (typeof httpQuery === "string") known.add(httpQuery);
  }
  const other = [...request.query.keys()].find((name) => !known.has(name) && !commonQuery.test(name));
  if (other !== undefined) throw notImplemented(`${operation.name}.${other} (query parameter)`);
}

/** Headers of the signature, of the payload's framing and checksums, and of the SDK's own bookkeeping. */
const commonHeaders =
  /^x-amz-(date|content-sha256|security-token|user-agent|decoded-content-length|trailer|te|checksum-\w+|sdk-.*)$/;

function refuseUnknownHeaders(operation: OperationModel, request: WireRequest): void {
  const known: string[] = [];
  const prefixes: string[] = [];
  for (const [, member] of operation.input.structIterator()) {
    const { httpHeader, httpPrefixHeaders } = member.getMergedTraits();
    if (typeof httpHeader === "string") known.push(httpHeader.toLowerCase());
    if (typeof httpPrefixHeaders === "string") prefixes.push(httpPrefixHeaders.toLowerCase());
  }
  const other = Object.keys(request.headers).find(
    (name) =>
      name.startsWith("x-amz-") &&
      !known.includes(name) &&
      !commonHeaders.test(name) &&
      !prefixes.some((prefix) => name.startsWith(prefix)),
  );
  if (other !== undefined) throw notImplemented(`${operation.name}.${other} (header)`);
}

/** The headers and the status that an output sets, and the names of its members that remain for the body. */
export interface OutputBindings {
  readonly headers: Record<string, string>;
  readonly status: number | undefined;
  readonly payload: { readonly schema: NormalizedSchema; readonly value: unknown } | undefined;
}

export function writeBindings(operation: OperationModel, output: Record<string, unknown>): OutputBindings {
  const headers: Record<string, string> = {};
  let status: number | undefined;
  let payload: OutputBindings["payload"];
  if (operation.output.isUnitSchema()) return { headers, status, payload };
  for (const [name, member] of operation.output.structIterator()) {
    const value = output[name];
    const place = placeOf(member);
    if (place === "payload") payload = { schema: member, value };
    if (value === undefined || value === null) continue;
    const traits = member.getMergedTraits() as Record<string, unknown>;
    if (place === "header") headers[String(traits.httpHeader).toLowerCase()] = headerText(member, value);
    if (place === "status") status = Number(value);
    if (place === "prefix-headers") {
      for (const [key, text] of Object.entries(value)) {
        headers[`${String(traits.httpPrefixHeaders)}${key}`.toLowerCase()] = String(text);
      }
    }
  }
  return { headers, status, payload };
}

function headerText(member: NormalizedSchema, value: unknown): string {
  if (!Array.isArray(value)) return writeText(member, value, "http-date");
  const items = member.getValueSchema();
  return value.map((item) => writeText(items, item, "http-date")).join(",");
}
