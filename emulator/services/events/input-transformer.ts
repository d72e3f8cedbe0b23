/** What a target is given: a constant, a part of the event, or a template ("Amazon EventBridge input transformation"). */
import { AwsError } from "../../core/definitions";

type Json = Readonly<Record<string, unknown>>;

export interface TargetInput {
  readonly Input?: string | undefined;
  readonly InputPath?: string | undefined;
  readonly InputTransformer?:
    | {
        readonly InputPathsMap?: Readonly<Record<string, string>> | undefined;
        readonly InputTemplate: string | undefined;
      }
    | undefined;
}

export interface RuleIdentity {
  readonly name: string;
  readonly arn: string;
}

/** The text that the target gets. */
export function targetInput(target: TargetInput, event: Json, rule: RuleIdentity, ingested: Date): string {
  if (target.Input !== undefined) return target.Input;
  if (target.InputPath !== undefined) return JSON.stringify(jsonPath(target.InputPath)(event));
  if (!target.InputTransformer) return JSON.stringify(event);
  const { InputPathsMap: paths = {}, InputTemplate: template = "" } = target.InputTransformer;
  const variables = new Map<string, unknown>([
    ...Object.entries(paths).map(([name, path]) => [name, jsonPath(path)(event)] as const),
    ["aws.events.rule-arn", rule.arn],
    ["aws.events.rule-name", rule.name],
    ["aws.events.event.ingestion-time", ingested.toISOString()],
    ["aws.events.event", event],
    ["aws.events.event.json", event],
  ]);
  return fillTemplate(template, variables);
}

/** @throws ValidationException when the input is not what PutTargets takes. */
export function checkTargetInput(target: TargetInput): void {
  const given = [target.Input, target.InputPath, target.InputTransformer].filter((each) => each !== undefined);
  if (given.length > 1) throw invalid("Only one of Input, InputPath, or InputTransformer must be provided for target.");
  if (target.Input !== undefined) parseConstant(target.Input);
  if (target.InputPath !== undefined) jsonPath(target.InputPath);
  const { InputPathsMap: paths = {}, InputTemplate: template = "" } = target.InputTransformer ?? { InputTemplate: "" };
  if (Object.keys(paths).length > 100) throw invalid("InputPathsMap has more than 100 entries.");
  if (template.length > 8192) throw invalid("InputTemplate is longer than 8192 characters.");
  for (const [name, path] of Object.entries(paths)) {
    if (!/^[A-Za-z0-9_-]+$/.test(name) || /^aws/i.test(name)) throw invalid(`Invalid InputPathsMap key ${name}.`);
    jsonPath(path);
  }
  const unknown = placeholders(template).find((name) => !(name in paths) && !name.startsWith("aws.events."));
  if (unknown !== undefined)
    throw invalid(`InvalidInputTemplate: Invalid InputTemplate for target: [placeholder ${unknown} is not defined].`);
}

/**
 * Puts the values into a template. Outside of quotes a text gets quotes of its own, inside it does not; a variable
 * whose path found nothing leaves nothing.
 */
function fillTemplate(template: string, variables: ReadonlyMap<string, unknown>): string {
  let filled = "";
  let quoted = false;
  for (let at = 0; at < template.length; at++) {
    const character = template[at] ?? "";
    if (character === "\\") filled += character + (template[++at] ?? "");
    else if (character === "<") {
      const end = template.indexOf(">", at);
      filled += written(variables.get(template.slice(at + 1, end)), quoted);
      at = end;
    } else {
      if (character === '"') quoted = !quoted;
      filled += character;
    }
  }
  return filled;
}

function written(value: unknown, quoted: boolean): string {
  if (value === undefined) return "";
  if (!quoted) return JSON.stringify(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return JSON.stringify(text).slice(1, -1);
}

function placeholders(template: string): readonly string[] {
  return [...template.matchAll(/<([^<>]*)>/g)].map(([, name]) => name ?? "");
}

/** The part of JSONPath that EventBridge takes: members and indexes, no filters. */
function jsonPath(path: string): (event: Json) => unknown {
  const steps = [...path.matchAll(/\.([\w-]+)|\['([^']+)'\]|\[(\d+)\]/g)];
  if (!path.startsWith("$") || `$${steps.map(([step]) => step).join("")}` !== path)
    throw invalid(`Invalid JSON path ${path}.`);
  const keys = steps.map(([, dotted, named, index]) => dotted ?? named ?? Number(index));
  return (event) =>
    keys.reduce<unknown>(
      (value, key) =>
        typeof value === "object" && value !== null
          ? (value as Readonly<Record<string | number, unknown>>)[key]
          : undefined,
      event,
    );
}

function parseConstant(text: string): void {
  try {
    JSON.parse(text);
  } catch {
    throw invalid("JSON syntax error in input for target.");
  }
}

function invalid(message: string): AwsError {
  return new AwsError("ValidationException", message, 400);
}
