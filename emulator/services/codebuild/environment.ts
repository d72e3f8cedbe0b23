/**
 * The environment variables of a build: three layers, two kinds of references.
 * "StartBuild" wins over the project, the project over the buildspec; values are literal, nothing is expanded.
 */
import { GetSecretValueCommand } from "@aws-sdk/client-secrets-manager";
import { GetParametersCommand } from "@aws-sdk/client-ssm";
import { AwsError, type Cloud, type Principal } from "../../core/definitions";
import type { Buildspec } from "./buildspec";

export interface Variable {
  readonly name: string;
  readonly value: string;
  readonly type: "PLAINTEXT" | "PARAMETER_STORE" | "SECRETS_MANAGER";
}

export interface ResolvedEnvironment {
  readonly values: Readonly<Record<string, string>>;
  /** What the log must not show. */
  readonly secrets: readonly string[];
  /** References given by the project or StartBuild: a build cannot export them. */
  readonly private: ReadonlySet<string>;
}

/** A reference that could not be read; `message` is what the build's phase context says. */
export class VariableError extends Error {
  override readonly name = "VariableError";
  constructor(
    readonly statusCode: "Secrets Manager Error" | "Decrypted Variables Error",
    message: string,
  ) {
    super(message);
  }
}

export interface SecretReference {
  readonly secretId: string;
  /** Absent: the whole secret string. */
  readonly jsonKey?: string;
  readonly versionStage?: string;
  readonly versionId?: string;
}

/** `secret-id:json-key:version-stage:version-id`; the first seven fields of an ARN are its id. */
export function parseSecretReference(reference: string): SecretReference {
  const fields = reference.split(":");
  const idLength = reference.startsWith("arn:") ? 7 : 1;
  const secretId = fields.slice(0, idLength).join(":");
  const [jsonKey, versionStage, versionId, ...rest] = fields.slice(idLength);
  if (secretId === "" || rest.length > 0) {
    throw new VariableError("Secrets Manager Error", `Invalid secret reference: ${reference}`);
  }
  if (versionStage && versionId) {
    const message = `Invalid secret reference: ${reference} has a version stage and a version id, give only one`;
    throw new VariableError("Secrets Manager Error", message);
  }
  return {
    secretId,
    ...(jsonKey && { jsonKey }),
    ...(versionStage && { versionStage }),
    ...(versionId && { versionId }),
  };
}

/** The variables that count, each from its highest layer. */
export function layeredVariables(spec: Buildspec, ...higher: readonly (readonly Variable[])[]): Variable[] {
  const variables = new Map<string, Variable>();
  const lowest = [
    ...typed(spec.variables, "PLAINTEXT"),
    ...typed(spec.parameterStore, "PARAMETER_STORE"),
    ...typed(spec.secretsManager, "SECRETS_MANAGER"),
  ];
  for (const variable of [lowest, ...higher].flat()) variables.set(variable.name, variable);
  return [...variables.values()];
}

function typed(values: Readonly<Record<string, string>>, type: Variable["type"]): Variable[] {
  return Object.entries(values).map(([name, value]) => ({ name, value, type }));
}

/**
 * Reads every reference as the build's role. Throws {@link VariableError}.
 * @param project names of the variables that the project or StartBuild gives
 */
export async function resolveEnvironment(
  cloud: Cloud,
  role: Principal,
  variables: readonly Variable[],
  project: ReadonlySet<string>,
): Promise<ResolvedEnvironment> {
  const references = variables.filter(({ type }) => type !== "PLAINTEXT");
  const [parameters, secrets] = await Promise.all([
    readParameters(cloud, role, ofType(variables, "PARAMETER_STORE")),
    readSecrets(cloud, role, ofType(variables, "SECRETS_MANAGER")),
  ]);
  const read = { ...parameters, ...secrets };
  return {
    values: Object.fromEntries(variables.map(({ name, value }) => [name, read[name] ?? value])),
    secrets: references.map(({ name }) => read[name] ?? ""),
    private: new Set(references.map(({ name }) => name).filter((name) => project.has(name))),
  };
}

function ofType(variables: readonly Variable[], type: Variable["type"]): Variable[] {
  return variables.filter((variable) => variable.type === type);
}

const PARAMETERS_PER_CALL = 10;

async function readParameters(cloud: Cloud, role: Principal, wanted: readonly Variable[]): Promise<Values> {
  const names = [...new Set(wanted.map(({ value }) => value))];
  const found = new Map<string, string>();
  for (let start = 0; start < names.length; start += PARAMETERS_PER_CALL) {
    const Names = names.slice(start, start + PARAMETERS_PER_CALL);
    const answer = await asReference("Decrypted Variables Error", () =>
      cloud.send(role, new GetParametersCommand({ Names, WithDecryption: true })),
    );
    for (const { Name, Selector, Value } of answer.Parameters ?? []) found.set(`${Name}${Selector ?? ""}`, Value ?? "");
  }
  const missing = names.find((name) => !found.has(name));
  if (missing !== undefined) {
    throw new VariableError("Decrypted Variables Error", `parameter does not exist: ${missing}`);
  }
  return Object.fromEntries(wanted.map(({ name, value }) => [name, found.get(value) ?? ""]));
}

type Values = Record<string, string>;

/** One call for each secret version, however many of its keys are wanted. */
async function readSecrets(cloud: Cloud, role: Principal, wanted: readonly Variable[]): Promise<Values> {
  const texts = new Map<string, Promise<string>>();
  const values: Values = {};
  for (const { name, value } of wanted) {
    const reference = parseSecretReference(value);
    const { secretId, versionStage, versionId } = reference;
    const key = [secretId, versionStage, versionId].join("\n");
    const text = texts.get(key) ?? readSecret(cloud, role, reference);
    texts.set(key, text);
    values[name] = secretValue(await text, reference);
  }
  return values;
}

async function readSecret(cloud: Cloud, role: Principal, reference: SecretReference): Promise<string> {
  const { secretId: SecretId, versionStage: VersionStage, versionId: VersionId } = reference;
  const command = new GetSecretValueCommand({
    SecretId,
    ...(VersionStage && { VersionStage }),
    ...(VersionId && { VersionId }),
  });
  const secret = await asReference("Secrets Manager Error", () => cloud.send(role, command));
  return secret.SecretString ?? "";
}

function secretValue(text: string, { jsonKey, secretId }: SecretReference): string {
  if (jsonKey === undefined) return text;
  const value = parseJson(text)[jsonKey];
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new VariableError("Secrets Manager Error", `secret ${secretId} has no key ${jsonKey}`);
}

function parseJson(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

async function asReference<T>(statusCode: VariableError["statusCode"], read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof AwsError) throw new VariableError(statusCode, `${error.name}: ${error.message}`);
    throw error;
  }
}
