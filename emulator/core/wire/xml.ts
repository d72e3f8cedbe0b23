import type { NormalizedSchema } from "@smithy/core/schema";
import { memberSchema } from "../shapes";
import { writeText } from "./text";

export function xmlHeaders(requestId: string, contentType: string): Record<string, string> {
  return { "content-type": contentType, "x-amzn-requestid": requestId };
}

/** Characters that XML cannot carry as they are; a carriage return would be read back as a line feed. */
const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\r": "&#xD;",
};

export function escapeXml(value: string): string {
  return value.replace(/[&<>"\r]/g, (character) => escapes[character] ?? character);
}

/** The elements of a structure's members, without an element around them. */
export function writeXmlMembers(
  schema: NormalizedSchema,
  value: object,
  include: (member: NormalizedSchema) => boolean = () => true,
): string {
  refuseUnknown(schema, value);
  const members = value as Record<string, unknown>;
  let xml = "";
  for (const [name, member] of schema.structIterator()) {
    const content = members[name];
    const traits = member.getMergedTraits();
    if (content === undefined || content === null || traits.xmlAttribute || !include(member)) continue;
    xml += writeElement(member, content, String(traits.xmlName ?? name));
  }
  return xml;
}

function refuseUnknown(schema: NormalizedSchema, value: object): void {
  const unknown = Object.entries(value).find(
    ([name, member]) => member !== undefined && memberSchema(schema, name) === undefined,
  );
  if (unknown) throw new Error(`The reply has a member ${unknown[0]} that ${schema.getName() ?? "its shape"} has not`);
}

/** One member as its element or, for flattened lists and maps, as several. */
export function writeElement(schema: NormalizedSchema, value: unknown, name: string): string {
  const traits = schema.getMergedTraits();
  if (schema.isListSchema() && Array.isArray(value)) {
    const items = schema.getValueSchema();
    if (traits.xmlFlattened) return value.map((item) => writeElement(items, item, name)).join("");
    const itemName = String(items.getMergedTraits().xmlName ?? "member");
    return `<${name}>${value.map((item) => writeElement(items, item, itemName)).join("")}</${name}>`;
  }
  if (schema.isMapSchema() && typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    if (traits.xmlFlattened) return entries.map((entry) => writeEntry(schema, entry, name)).join("");
    return `<${name}>${entries.map((entry) => writeEntry(schema, entry, "entry")).join("")}</${name}>`;
  }
  if (schema.isStructSchema() && typeof value === "object" && value !== null) {
    return `<${name}${attributes(schema, value)}>${writeXmlMembers(schema, value)}</${name}>`;
  }
  return `<${name}>${escapeXml(writeText(schema, value, "date-time"))}</${name}>`;
}

function writeEntry(schema: NormalizedSchema, [key, value]: [string, unknown], name: string): string {
  const keyName = String(schema.getKeySchema().getMergedTraits().xmlName ?? "key");
  const valueSchema = schema.getValueSchema();
  const valueName = String(valueSchema.getMergedTraits().xmlName ?? "value");
  return `<${name}><${keyName}>${escapeXml(key)}</${keyName}>${writeElement(valueSchema, value, valueName)}</${name}>`;
}

/** The namespace and the attributes of a structure's element; S3's grantees have both. */
function attributes(schema: NormalizedSchema, value: object): string {
  const [prefix, uri] = (schema.getMergedTraits() as { xmlNamespace?: readonly [string, string] }).xmlNamespace ?? [];
  let text = uri ? ` xmlns${prefix ? `:${prefix}` : ""}="${escapeXml(uri)}"` : "";
  for (const [name, member] of schema.structIterator()) {
    const traits = member.getMergedTraits();
    const content = (value as Record<string, unknown>)[name];
    if (!traits.xmlAttribute || content === undefined) continue;
    text += ` ${String(traits.xmlName ?? name)}="${escapeXml(writeText(member, content, "date-time"))}"`;
  }
  return text;
}
