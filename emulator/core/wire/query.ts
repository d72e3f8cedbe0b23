import type { NormalizedSchema } from "@smithy/core/schema";
import { AwsError, notImplemented } from "../definitions";
import type { ServiceModel } from "../model";
import { wholeBody } from "./body";
import { readText } from "./text";
import { ec2Refusals, queryRefusals } from "./refusals";
import type { Wire, WireCall, WireRequest } from "./wire";
import { escapeXml, writeXmlMembers, xmlHeaders } from "./xml";

/** A form's dotted keys as a tree: `Filter.1.Name=x` is Filter -> 1 -> Name = x. */
interface FormNode {
  value?: string;
  readonly children: Map<string, FormNode>;
}

/** The differences between the two form protocols. */
interface Dialect {
  readonly key: (schema: NormalizedSchema, member: string) => string;
  /** The items of a list, in order. */
  readonly items: (schema: NormalizedSchema, node: FormNode) => readonly FormNode[];
}

/** IAM, STS, RDS: `Action=...`, lists as `Key.member.N`. */
export function awsQuery(namespace: string): Wire {
  return {
    read: (model, request) => readForm(model, request, queryDialect),
    write(operation, output, requestId) {
      const { name } = operation;
      const members = operation.output.isUnitSchema() ? "" : writeXmlMembers(operation.output, output);
      const result = operation.output.isUnitSchema() ? "" : `<${name}Result>${members}</${name}Result>`;
      const metadata = `<ResponseMetadata><RequestId>${requestId}</RequestId></ResponseMetadata>`;
      const body = `<${name}Response xmlns="${namespace}">${result}${metadata}</${name}Response>`;
      return { status: 200, headers: xmlHeaders(requestId, "text/xml"), body };
    },
    error(error, requestId) {
      const type = error.status < 500 ? "Sender" : "Receiver";
      const inner =
        `<Type>${type}</Type><Code>${escapeXml(error.code)}</Code>` + `<Message>${escapeXml(error.message)}</Message>`;
      const body = `<ErrorResponse xmlns="${namespace}"><Error>${inner}</Error><RequestId>${requestId}</RequestId></ErrorResponse>`;
      return { status: error.status, headers: xmlHeaders(requestId, "text/xml"), body };
    },
    missingMember: {
      code: "ValidationError",
      message: (path) =>
        `1 validation error detected: Value null at '${path}' failed to satisfy constraint: Member must not be null`,
    },
    denied: { code: "AccessDenied", status: 403 },
    throttled: { code: "Throttling", status: 400, message: "Rate exceeded" },
    refused: queryRefusals,
    streams: false,
  };
}

/** EC2: `Action=...`, lists as `Key.N`, replies without a result element. */
export function ec2Query(namespace: string): Wire {
  return {
    read: (model, request) => readForm(model, request, ec2Dialect),
    write(operation, output, requestId) {
      const { name } = operation;
      // An operation without output answers with `return`, which its callers do not read.
      const members = operation.output.isUnitSchema()
        ? "<return>true</return>"
        : writeXmlMembers(operation.output, output);
      const body = `<${name}Response xmlns="${namespace}"><requestId>${requestId}</requestId>${members}</${name}Response>`;
      return { status: 200, headers: xmlHeaders(requestId, "text/xml"), body };
    },
    error(error, requestId) {
      const inner = `<Code>${escapeXml(error.code)}</Code><Message>${escapeXml(error.message)}</Message>`;
      const body = `<Response><Errors><Error>${inner}</Error></Errors><RequestID>${requestId}</RequestID></Response>`;
      return { status: error.status, headers: xmlHeaders(requestId, "text/xml"), body };
    },
    missingMember: {
      code: "MissingParameter",
      message: (path) => `The request must contain the parameter ${path}`,
    },
    denied: { code: "UnauthorizedOperation", status: 403 },
    throttled: { code: "RequestLimitExceeded", status: 503, message: "Request limit exceeded." },
    refused: ec2Refusals,
    streams: false,
  };
}

const queryDialect: Dialect = {
  key: (schema, member) => String(schema.getMergedTraits().xmlName ?? member),
  items(schema, node) {
    const traits = schema.getMergedTraits();
    if (traits.xmlFlattened) return numbered(node);
    const item = String(schema.getValueSchema().getMergedTraits().xmlName ?? "member");
    const list = node.children.get(item);
    refuseOthers(node, [item]);
    return list ? numbered(list) : [];
  },
};

const ec2Dialect: Dialect = {
  key(schema, member) {
    const traits = schema.getMergedTraits() as { ec2QueryName?: string; xmlName?: string };
    if (traits.ec2QueryName) return traits.ec2QueryName;
    const name = traits.xmlName ?? member;
    return name.charAt(0).toUpperCase() + name.slice(1);
  },
  items: (_schema, node) => numbered(node),
};

function numbered(node: FormNode): readonly FormNode[] {
  const keys = [...node.children.keys()];
  const odd = keys.find((key) => !/^\d+$/.test(key));
  if (odd !== undefined) throw new AwsError("MalformedInput", `A list has an item number ${odd}`);
  return keys.sort((a, b) => Number(a) - Number(b)).map((key) => node.children.get(key) ?? { children: new Map() });
}

function readForm(model: ServiceModel, request: WireRequest, dialect: Dialect): WireCall {
  const form = new URLSearchParams(wholeBody(request).toString("utf8"));
  for (const [key, value] of request.query) form.append(key, value);
  const name = form.get("Action");
  if (!name) throw new AwsError("MissingAction", "The request must contain the parameter Action");
  const operation = model.operations.get(name);
  if (!operation) throw new AwsError("InvalidAction", `The action ${name} is not valid for this web service.`);
  form.delete("Action");
  form.delete("Version");
  const root = formTree(form);
  if (operation.input.isUnitSchema()) {
    refuseOthers(root, [], name);
    return { operation, input: {} };
  }
  return { operation, input: readStruct(operation.input, root, dialect, name) };
}

function formTree(form: URLSearchParams): FormNode {
  const root: FormNode = { children: new Map() };
  for (const [path, value] of form) {
    let node = root;
    for (const key of path.split(".")) {
      const next = node.children.get(key) ?? { children: new Map() };
      node.children.set(key, next);
      node = next;
    }
    node.value = value;
  }
  return root;
}

function readStruct(
  schema: NormalizedSchema,
  node: FormNode,
  dialect: Dialect,
  where: string,
): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const keys: string[] = [];
  for (const [member, memberSchema] of schema.structIterator()) {
    const key = dialect.key(memberSchema, member);
    keys.push(key);
    const child = node.children.get(key);
    if (child) result[member] = readNode(memberSchema, child, dialect, `${where}.${member}`);
  }
  refuseOthers(node, keys, where);
  return result;
}

/** What the model does not know is refused: ignoring it would hide it. */
function refuseOthers(node: FormNode, known: readonly string[], where = "list"): void {
  const other = [...node.children.keys()].find((key) => !known.includes(key));
  if (other !== undefined) throw notImplemented(`${where}.${other}`);
}

function readNode(schema: NormalizedSchema, node: FormNode, dialect: Dialect, where: string): unknown {
  if (schema.isStructSchema()) return readStruct(schema, node, dialect, where);
  if (schema.isListSchema()) {
    const items = schema.getValueSchema();
    // `Key=` is the empty list.
    if (node.children.size === 0) return [];
    return dialect.items(schema, node).map((item) => readNode(items, item, dialect, where));
  }
  if (schema.isMapSchema()) return readMap(schema, node, dialect, where);
  return readText(schema, node.value ?? "");
}

function readMap(schema: NormalizedSchema, node: FormNode, dialect: Dialect, where: string): Record<string, unknown> {
  const keyName = String(schema.getKeySchema().getMergedTraits().xmlName ?? "key");
  const valueSchema = schema.getValueSchema();
  const valueName = String(valueSchema.getMergedTraits().xmlName ?? "value");
  const entries = schema.getMergedTraits().xmlFlattened ? node : node.children.get("entry");
  if (!entries) return {};
  return Object.fromEntries(
    numbered(entries).map((entry) => [
      entry.children.get(keyName)?.value ?? "",
      readNode(valueSchema, entry.children.get(valueName) ?? { children: new Map() }, dialect, where),
    ]),
  );
}
