import { XmlShapeDeserializer } from "@aws-sdk/core/protocols";
import type { NormalizedSchema } from "@smithy/core/schema";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { AwsError } from "../definitions";
import type { OperationModel } from "../model";
import { bodyOf } from "./payload";
import { findRestOperation, placeOf, readBindings, writeBindings } from "./rest";
import { s3Refusals } from "./refusals";
import type { Wire, WireReply, WireRequest } from "./wire";
import { escapeXml, writeElement, writeXmlMembers } from "./xml";

const declaration = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** restXml, as S3 speaks it: path style, streams both ways. */
export function restXml(namespace: string): Wire {
  const headers = (requestId: string): Record<string, string> => ({
    "x-amz-request-id": requestId,
    "x-amz-id-2": requestId,
  });
  return {
    async read(model, request) {
      const { operation, labels } = findRestOperation(model, request);
      const input = readBindings(operation, labels, request);
      await readPayload(operation, request, input);
      return { operation, input };
    },
    write(operation, output, requestId) {
      const bound = writeBindings(operation, output);
      const reply = writePayload(operation, output, bound.payload, namespace);
      return {
        status: bound.status ?? (output.ContentRange === undefined ? (operation.http?.status ?? 200) : 206),
        headers: { ...headers(requestId), ...reply.headers, ...bound.headers },
        body: reply.body,
      };
    },
    error(error, requestId) {
      const members = Object.entries(error.members)
        .map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`)
        .join("");
      const body =
        `${declaration}<Error><Code>${escapeXml(error.code)}</Code><Message>${escapeXml(error.message)}</Message>` +
        `${members}<RequestId>${requestId}</RequestId><HostId>${requestId}</HostId></Error>`;
      return {
        status: error.status,
        headers: { ...headers(requestId), "content-type": "application/xml" },
        body: error.status === 304 ? "" : body,
      };
    },
    missingMember: {
      code: "InvalidRequest",
      message: (path) => `Missing required parameter for this request: ${path}`,
    },
    denied: { code: "AccessDenied", status: 403 },
    throttled: { code: "SlowDown", status: 503, message: "Please reduce your request rate." },
    refused: s3Refusals,
    streams: true,
  };
}

const xmlReader = new XmlShapeDeserializer({
  xmlNamespace: "",
  serviceNamespace: "",
  timestampFormat: { useTrait: true, default: 5 },
  httpBindings: true,
});

async function readPayload(
  operation: OperationModel,
  request: WireRequest,
  input: Record<string, unknown>,
): Promise<void> {
  const members = operation.input.isUnitSchema() ? [] : [...operation.input.structIterator()];
  const payload = members.find(([, member]) => placeOf(member) === "payload");
  const body = bodyOf(operation, request, input);
  if (payload) {
    const [name, member] = payload;
    if (member.isStreaming() || member.isBlobSchema()) {
      input[name] = body;
      return;
    }
    const bytes = await buffer(body);
    if (bytes.length > 0) input[name] = member.isStringSchema() ? bytes.toString("utf8") : readXml(member, bytes);
    return;
  }
  const bytes = await buffer(body);
  if (bytes.length === 0) return;
  if (!members.some(([, member]) => placeOf(member) === "body")) return;
  Object.assign(input, readXml(operation.input, bytes));
}

function readXml(schema: NormalizedSchema, bytes: Buffer): unknown {
  try {
    return xmlReader.read(schema, bytes);
  } catch {
    throw new AwsError(
      "MalformedXML",
      "The XML you provided was not well-formed or did not validate against our published schema",
    );
  }
}

function writePayload(
  operation: OperationModel,
  output: Record<string, unknown>,
  payload: { readonly schema: NormalizedSchema; readonly value: unknown } | undefined,
  namespace: string,
): Pick<WireReply, "headers" | "body"> {
  if (payload) return writeMember(payload.schema, payload.value, namespace);
  if (operation.output.isUnitSchema()) return { headers: {}, body: "" };
  const bodyMembers = [...operation.output.structIterator()].some(([, member]) => placeOf(member) === "body");
  if (!bodyMembers) return { headers: {}, body: "" };
  const name = String(operation.output.getMergedTraits().xmlName ?? operation.output.getName());
  const members = writeXmlMembers(operation.output, output, (member) => placeOf(member) === "body");
  return {
    headers: { "content-type": "application/xml" },
    body: `${declaration}<${name} xmlns="${namespace}">${members}</${name}>`,
  };
}

function writeMember(schema: NormalizedSchema, value: unknown, namespace: string): Pick<WireReply, "headers" | "body"> {
  if (value === undefined || value === null) return { headers: {}, body: "" };
  if (value instanceof Readable || value instanceof Uint8Array) {
    return { headers: { "content-type": "application/octet-stream" }, body: value };
  }
  if (typeof value === "string") return { headers: { "content-type": "application/json" }, body: value };
  const name = String(schema.getMergedTraits().xmlName ?? schema.getName());
  const element = writeElement(schema, value, name);
  return {
    headers: { "content-type": "application/xml" },
    body: declaration + element.replace(/^<([^\s/>]+)/, (start) => `${start} xmlns="${namespace}"`),
  };
}
