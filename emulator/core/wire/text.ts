import type { NormalizedSchema } from "@smithy/core/schema";
import { AwsError } from "../definitions";

/** How AWS writes a moment: the numbers are those of the SDK's schemas. */
export type TimestampFormat = "date-time" | "http-date" | "epoch-seconds";

const declaredFormats: Readonly<Record<number, TimestampFormat>> = {
  5: "date-time",
  6: "http-date",
  7: "epoch-seconds",
};

/** The format that the model declares, or the protocol's for this place. */
export function timestampFormat(schema: NormalizedSchema, fallback: TimestampFormat): TimestampFormat {
  const declared = schema.getSchema();
  return (typeof declared === "number" ? declaredFormats[declared] : undefined) ?? fallback;
}

export function writeTimestamp(value: Date, format: TimestampFormat): string {
  switch (format) {
    case "date-time":
      return value.toISOString().replace(".000Z", "Z");
    case "http-date":
      return value.toUTCString();
    case "epoch-seconds":
      return String(value.getTime() / 1000);
  }
}

/** Reads any of the formats: which one it is shows in the text. */
export function readTimestamp(text: string | number): Date {
  const date =
    typeof text === "number" || /^-?\d+(\.\d+)?$/.test(text) ? new Date(Number(text) * 1000) : new Date(text);
  if (Number.isNaN(date.getTime())) throw new AwsError("SerializationException", `Not a timestamp: ${String(text)}`);
  return date;
}

/** Reads a simple value from its text: in a form, a label, a query parameter or a header. */
export function readText(schema: NormalizedSchema, text: string): unknown {
  if (schema.isBooleanSchema()) return readBoolean(text);
  if (schema.isNumericSchema()) return readNumber(text);
  if (schema.isTimestampSchema()) return readTimestamp(text);
  if (schema.isBlobSchema()) return Buffer.from(text, "base64");
  return text;
}

function readBoolean(text: string): boolean {
  const lower = text.toLowerCase();
  if (lower === "true") return true;
  if (lower === "false") return false;
  throw new AwsError("MalformedInput", `Neither true nor false: ${text}`);
}

function readNumber(text: string): number {
  const number = Number(text);
  if (text.trim() === "" || Number.isNaN(number)) throw new AwsError("MalformedInput", `Not a number: ${text}`);
  return number;
}

/** Writes a simple value as text. */
export function writeText(schema: NormalizedSchema, value: unknown, format: TimestampFormat): string {
  if (value instanceof Date) return writeTimestamp(value, timestampFormat(schema, format));
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return String(value);
  throw new Error(`${schema.getName() ?? "A member"} is no simple value`);
}
