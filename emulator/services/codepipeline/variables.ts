/**
 * Variables of executions: `#{namespace.key}`. Pure.
 * Source: "Variables reference", AWS CodePipeline User Guide.
 */
import type { ActionDeclaration, PipelineDeclaration } from "@aws-sdk/client-codepipeline";
import { AwsError } from "../../core/definitions";
import { runOrderGroups } from "./run-order";

const REFERENCE = /#\{([^}]*)\}/g;
const WELL_FORMED = /^([A-Za-z0-9@\-_]+)\.([A-Za-z0-9@\-_]+)$/;
const FORMAT_RULE =
  "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.).";

/** Values by namespace and key. */
export type Scope = Readonly<Record<string, Readonly<Record<string, string>>>>;

interface Reference {
  readonly text: string;
  readonly namespace: string | undefined;
  readonly key: string | undefined;
}

function referencesIn(text: string): Reference[] {
  return [...text.matchAll(REFERENCE)].map((match) => {
    const parts = WELL_FORMED.exec(match[1] ?? "");
    return { text: match[0], namespace: parts?.[1], key: parts?.[2] };
  });
}

/** At create and update: every reference names something that an earlier action, or the pipeline, will have. */
export function checkReferences(pipeline: PipelineDeclaration): void {
  const earlier = new Set<string>(["codepipeline"]);
  for (const { name: stage = "", actions = [] } of pipeline.stages ?? []) {
    for (const group of runOrderGroups(actions)) {
      for (const action of group) checkAction(pipeline, stage, action, earlier);
      for (const { namespace } of group) if (namespace !== undefined) earlier.add(namespace);
    }
  }
}

function checkAction(
  pipeline: PipelineDeclaration,
  stage: string,
  action: ActionDeclaration,
  earlier: ReadonlySet<string>,
): void {
  for (const [key, value] of Object.entries(action.configuration ?? {})) {
    for (const reference of referencesIn(value)) {
      const problem = referenceProblem(pipeline, action, reference, earlier);
      if (problem !== undefined) {
        throw new AwsError(
          "InvalidActionDeclarationException",
          `${FORMAT_RULE} The following pipeline execution variables are ${problem}. StageName=[${stage}], ` +
            `ActionName=[${action.name}], ActionConfigurationKey=[${key}], VariableReferenceText=[${reference.text}]`,
        );
      }
    }
  }
}

function referenceProblem(
  pipeline: PipelineDeclaration,
  action: ActionDeclaration,
  { namespace, key }: Reference,
  earlier: ReadonlySet<string>,
): string | undefined {
  if (namespace === undefined) return "not in this format";
  if (namespace === "variables") {
    if (action.actionTypeId?.category === "Source") return "not allowed in source actions";
    const declared = pipeline.variables?.some(({ name }) => name === key);
    return declared ? undefined : "referencing a variable that the pipeline does not declare";
  }
  if (namespace === "codepipeline" && key !== "PipelineExecutionId") return "referencing a key that does not exist";
  return earlier.has(namespace) ? undefined : "referencing a namespace that does not exist";
}

/** A reference to something that no action has produced, or to too much. */
export class UnresolvedVariableError extends Error {
  override readonly name = "UnresolvedVariableError";
}

/** "Quotas in AWS CodePipeline": all values of an action together, resolved. */
const RESOLVED_BYTES = 100 * 1024;

/**
 * Right before the action starts. Values go in as they are, also inside the JSON of `EnvironmentVariables`: whether the
 * service escapes them there is not documented, and text that is not JSON any more fails the action.
 * Throws {@link UnresolvedVariableError}.
 */
export function resolveConfiguration(action: ActionDeclaration, stage: string, scope: Scope): Record<string, string> {
  const resolved = resolveEach(action, stage, scope);
  const bytes = Buffer.byteLength(Object.values(resolved).join(""));
  if (bytes <= RESOLVED_BYTES) return resolved;
  const most = `${RESOLVED_BYTES} bytes are allowed`;
  throw new UnresolvedVariableError(`The resolved configuration of action ${action.name} has ${bytes} bytes: ${most}`);
}

function resolveEach(action: ActionDeclaration, stage: string, scope: Scope): Record<string, string> {
  const entries = Object.entries(action.configuration ?? {});
  return Object.fromEntries(
    entries.map(([key, value]) => [
      key,
      value.replace(REFERENCE, (text, inner: string) => {
        const [, namespace = "", name = ""] = WELL_FORMED.exec(inner) ?? [];
        const found = scope[namespace]?.[name];
        if (found !== undefined) return found;
        throw new UnresolvedVariableError(
          "An action in this pipeline failed because one or more variables could not be resolved: " +
            `Action name=${action.name}. This can result when a variable is referenced that does not exist. ` +
            `Validate the pipeline action configuration. StageName=[${stage}], ActionName=[${action.name}], ` +
            `ActionConfigurationKey=[${key}], VariableReferenceText=[${text}]`,
        );
      }),
    ]),
  );
}
