import type { NormalizedSchema } from "@smithy/core/schema";
import { gunzipSync } from "node:zlib";
import { AwsError, notImplemented } from "../definitions";
import type { OperationModel, ServiceModel } from "../model";
import { isPlainObject, memberSchema } from "../shapes";
import { wholeBody } from "./body";
import { readTimestamp, timestampFormat, writeTimestamp } from "./text";
import { jsonRefusals } from "./refusals";
import type { Wire, WireReply, WireRequest } from "./wire";

/** awsJson 1.0 and 1.1: `X-Amz-Target: <service>.<operation>` and a JSON body. */
export function awsJson(version: "1.0" | "1.1"): Wire {
  const headers = (requestId: string): Record<string, string> => ({
    "content-type": `application/x-amz-json-${version}`,
    "x-amzn-requestid": requestId,
  });
  return {
    read(model, request) {
      const operation = targetOf(model, request);
      const body = readJsonBody(request);
      return { operation, input: readStruct(operation.input, body, operation.name) };
    },
    write(operation, output, requestId) {
      const body = operation.output.isUnitSchema() ? {} : writeStruct(operation.output, output);
      return { status: 200, headers: headers(requestId), body: JSON.stringify(body) };
    },
    error: (error, requestId) => jsonError(error, headers(requestId)),
    missingMember: validationException,
    denied: { code: "AccessDeniedException", status: 400 },
    throttled: rateExceeded,
    refused: jsonRefusals,
    streams: false,
  };
}

export const rateExceeded = { code: "ThrottlingException", status: 400, message: "Rate exceeded" };

/** The words of services whose front end checks input against the model. */
export const validationException = {
  code: "ValidationException",
  message: (path: string): string =>
    `1 validation error detected: Value null at '${path}' failed to satisfy constraint: Member must not be null`,
};

export function jsonError(error: AwsError, headers: Record<string, string>): WireReply {
  return {
    status: error.status,
    headers: { ...headers, "x-amzn-errortype": error.code },
    body: JSON.stringify({ __type: error.code, message: error.message, ...error.members }),
  };
}

function targetOf(model: ServiceModel, request: WireRequest): OperationModel {
  const target = String(request.headers["x-amz-target"] ?? "");
  const name = target.slice(target.lastIndexOf(".") + 1);
  const operation = model.operations.get(name);
  if (!operation) throw new AwsError("UnknownOperationException", `Unknown operation: ${target || "no X-Amz-Target"}`);
  return operation;
}

export function readJsonBody(request: WireRequest): unknown {
  const sent = wholeBody(request);
  // Clients compress what is large, where the model of the operation allows it (PutMetricData).
  const bytes = request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent;
  if (bytes.length === 0) return {};
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    throw new AwsError("SerializationException", "The request's body is not valid JSON");
  }
}

/** Reads a structure. A member that the model does not know is refused: ignoring it would hide it. */
export function readStruct(schema: NormalizedSchema, value: unknown, where: string): Record<string, unknown> {
  if (!isPlainObject(value)) throw new AwsError("SerializationException", `${where} is not a structure`);
  const members = Object.entries(value).filter(([, member]) => member !== null && member !== undefined);
  return Object.fromEntries(
    members.map(([name, member]) => {
      const known = memberSchema(schema, name);
      if (!known) throw notImplemented(`${where}.${name}`);
      return [name, readValue(known, member, `${where}.${name}`)];
    }),
  );
}

function readValue(schema: NormalizedSchema, value: unknown, where: string): unknown {
  if (value === null) return undefined;
  if (schema.isStructSchema()) return readStruct(schema, value, where);
  if (schema.isListSchema()) {
    if (!Array.isArray(value)) throw new AwsError("SerializationException", `${where} is not a list`);
    const items = schema.getValueSchema();
    return value.map((item) => readValue(items, item, where));
  }
  if (schema.isMapSchema()) {
    if (!isPlainObject(value)) throw new AwsError("SerializationException", `${where} is not a map`);
    const values = schema.getValueSchema();
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, readValue(values, item, where)]));
  }
  if (schema.isBlobSchema() && typeof value === "string") return Buffer.from(value, "base64");
  if (schema.isTimestampSchema() && (typeof value === "number" || typeof value === "string")) {
    return readTimestamp(value);
  }
  return value;
}

/** Writes a structure. A member that the model does not know is a fault of the handler. */
export function writeStruct(schema: NormalizedSchema, value: object): Record<string, unknown> {
  const members = Object.entries(value).filter(([, member]) => member !== undefined && member !== null);
  return Object.fromEntries(
    members.map(([name, member]) => {
      const known = memberSchema(schema, name);
      if (!known) throw new Error(`The reply has a member ${name} that ${schema.getName() ?? "its shape"} has not`);
      return [name, writeValue(known, member)];
    }),
  );
}

function writeValue(schema: NormalizedSchema, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (value instanceof Date) return jsonTimestamp(schema, value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (typeof value !== "object" || schema.isDocumentSchema()) return value;
  if (schema.isListSchema() && Array.isArray(value)) {
    const items = schema.getValueSchema();
    return value.map((item) => writeValue(items, item));
  }
  if (schema.isMapSchema()) {
    const values = schema.getValueSchema();
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    return Object.fromEntries(entries.map(([key, item]) => [key, writeValue(values, item)]));
  }
  return writeStruct(schema, value);
}

function jsonTimestamp(schema: NormalizedSchema, value: Date): string | number {
  const format = timestampFormat(schema, "epoch-seconds");
  return format === "epoch-seconds" ? value.getTime() / 1000 : writeTimestamp(value, format);
}
