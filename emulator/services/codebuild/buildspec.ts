/**
 * Buildspec 0.2: text in, checked description out. Pure.
 * Source: "Build specification reference for CodeBuild", AWS CodeBuild User Guide.
 */
import { parse, YAMLError } from "yaml";

/** The phases that run commands, in their order. */
export const commandPhases = ["install", "pre_build", "build", "post_build"] as const;
export type CommandPhase = (typeof commandPhases)[number];

export interface PhaseCommands {
  readonly commands: readonly string[];
  /** Run after `commands`, also when one of these failed. */
  readonly finally: readonly string[];
  /** Absent: the phases' own transitions. */
  readonly onFailure?: "ABORT" | "CONTINUE";
  /** Runtime to version, in `install` only. */
  readonly runtimeVersions: Readonly<Record<string, string>>;
}

export interface ArtifactFiles {
  /** Counts where the project says `overrideArtifactName`; the build's shell expands it. */
  readonly name?: string;
  /** Patterns relative to the base directory. */
  readonly files: readonly string[];
  readonly baseDirectory: string;
  readonly discardPaths: boolean;
  readonly excludePaths: readonly string[];
}

export interface Buildspec {
  readonly shell: "sh" | "bash";
  readonly variables: Readonly<Record<string, string>>;
  /** Variable to parameter name. */
  readonly parameterStore: Readonly<Record<string, string>>;
  /** Variable to `secret-id:json-key:version-stage:version-id`. */
  readonly secretsManager: Readonly<Record<string, string>>;
  readonly exportedVariables: readonly string[];
  /** Only the phases that the file has. */
  readonly phases: Readonly<Partial<Record<CommandPhase, PhaseCommands>>>;
  /** Absent where there are none, or only secondary ones. */
  readonly artifacts?: ArtifactFiles;
  readonly secondaryArtifacts: Readonly<Record<string, ArtifactFiles>>;
}

/** What is wrong with the file; the build reports it as `YAML_FILE_ERROR`. */
export class BuildspecError extends Error {
  override readonly name = "BuildspecError";
}

/** The documented members that this emulator does not have. Members that the format does not know are wrong. */
const unsupported = {
  root: ["run-as", "proxy", "batch", "reports", "cache"],
  env: ["git-credential-helper"],
  phase: ["run-as"],
  artifacts: ["enable-symlinks", "s3-prefix"],
} as const;

const supported = {
  root: ["version", "env", "phases", "artifacts"],
  env: ["shell", "variables", "parameter-store", "secrets-manager", "exported-variables"],
  phase: ["commands", "finally", "on-failure", "runtime-versions"],
  artifacts: ["files", "name", "base-directory", "discard-paths", "exclude-paths", "secondary-artifacts"],
} as const;

/** Throws {@link BuildspecError}. */
export function parseBuildspec(text: string): Buildspec {
  const root = mapping(parseYaml(text), "buildspec");
  checkMembers(root, "root", "");
  if (root.version !== "0.2") {
    throw new BuildspecError(`Expected version to be 0.2: found ${shown(root.version)}`);
  }
  const env = optionalMapping(root.env, "env");
  checkMembers(env, "env", "env.");
  return {
    shell: parseShell(env.shell),
    variables: stringMap(env.variables, "env.variables"),
    parameterStore: stringMap(env["parameter-store"], "env.parameter-store"),
    secretsManager: stringMap(env["secrets-manager"], "env.secrets-manager"),
    exportedVariables: stringList(env["exported-variables"], "env.exported-variables"),
    phases: parsePhases(root.phases),
    ...parseArtifacts(root.artifacts),
  };
}

type Mapping = Readonly<Record<string, unknown>>;

/** Every scalar is a string: `yes`, `0.2` and `1.10` stay as they were written. */
function parseYaml(text: string): unknown {
  try {
    return parse(text, { schema: "failsafe", prettyErrors: true }) as unknown;
  } catch (error) {
    if (error instanceof YAMLError) throw new BuildspecError(error.message.split("\n")[0]);
    throw error;
  }
}

function parseShell(value: unknown): Buildspec["shell"] {
  const shells: Readonly<Record<string, Buildspec["shell"]>> = { "": "sh", "/bin/sh": "sh", sh: "sh", bash: "bash" };
  const shell = shells[typeof value === "string" ? value : value === undefined ? "" : "?"];
  if (shell === undefined) throw new BuildspecError(`Expected env.shell to be bash or /bin/sh: found ${shown(value)}`);
  return shell;
}

function parsePhases(value: unknown): Buildspec["phases"] {
  const phases = mapping(value, "phases");
  const known: readonly string[] = commandPhases;
  const unknown = Object.keys(phases).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new BuildspecError(`Unknown phase ${unknown}: the phases are ${known.join(", ")}`);
  const found = commandPhases.filter((name) => phases[name] !== undefined);
  return Object.fromEntries(found.map((name) => [name, parsePhase(name, phases[name])]));
}

function parsePhase(name: CommandPhase, value: unknown): PhaseCommands {
  const at = `phases.${name}`;
  const phase = optionalMapping(value, at);
  checkMembers(phase, "phase", `${at}.`);
  const commands = commandList(phase.commands, `${at}.commands`);
  if (commands.length === 0 && name !== "install") throw new BuildspecError(`Expected ${at}.commands to be present`);
  const onFailure = parseOnFailure(phase["on-failure"], at);
  return {
    commands,
    finally: commandList(phase.finally, `${at}.finally`),
    ...(onFailure && { onFailure }),
    runtimeVersions: parseRuntimes(name, phase["runtime-versions"], `${at}.runtime-versions`),
  };
}

/** The image's only runtime is the Node.js that runs this. */
function parseRuntimes(phase: CommandPhase, value: unknown, at: string): Record<string, string> {
  const runtimes = stringMap(value, at);
  if (phase !== "install" && value !== undefined) throw new BuildspecError(`Unknown member ${at}`);
  const other = Object.keys(runtimes).find((name) => name !== "nodejs");
  if (other !== undefined) throw lacking(`${at}.${other}`);
  return runtimes;
}

function parseOnFailure(value: unknown, at: string): PhaseCommands["onFailure"] {
  if (value === undefined || value === "") return undefined;
  if (value === "ABORT" || value === "CONTINUE") return value;
  if (typeof value === "string" && value.startsWith("RETRY")) throw lacking(`${at}.on-failure ${value}`);
  throw new BuildspecError(`Expected ${at}.on-failure to be ABORT, CONTINUE or RETRY: found ${shown(value)}`);
}

function parseArtifacts(value: unknown): Pick<Buildspec, "artifacts" | "secondaryArtifacts"> {
  if (value === undefined || value === "") return { secondaryArtifacts: {} };
  const artifacts = mapping(value, "artifacts");
  const secondary = optionalMapping(artifacts["secondary-artifacts"], "artifacts.secondary-artifacts");
  const entries = Object.entries(secondary);
  const onlySecondary = Object.keys(artifacts).join() === "secondary-artifacts" && entries.length > 0;
  return {
    ...(!onlySecondary && { artifacts: parseArtifactFiles(artifacts, "artifacts") }),
    secondaryArtifacts: Object.fromEntries(
      entries.map(([name, files]) => [name, parseArtifactFiles(files, `artifacts.secondary-artifacts.${name}`)]),
    ),
  };
}

function parseArtifactFiles(value: unknown, at: string): ArtifactFiles {
  const artifacts = mapping(value, at);
  checkMembers(artifacts, "artifacts", `${at}.`);
  const files = stringList(artifacts.files, `${at}.files`);
  if (files.length === 0) throw new BuildspecError(`Expected ${at}.files to be present`);
  const name = scalar(artifacts.name, `${at}.name`);
  return {
    ...(name !== "" && { name }),
    files,
    baseDirectory: scalar(artifacts["base-directory"], `${at}.base-directory`) || ".",
    discardPaths: flag(artifacts["discard-paths"], `${at}.discard-paths`),
    excludePaths: stringList(artifacts["exclude-paths"], `${at}.exclude-paths`),
  };
}

function checkMembers(value: Mapping, kind: keyof typeof supported, prefix: string): void {
  const have: readonly string[] = supported[kind];
  const lack: readonly string[] = unsupported[kind];
  for (const name of Object.keys(value)) {
    if (lack.includes(name)) throw lacking(`${prefix}${name}`);
    if (!have.includes(name)) throw new BuildspecError(`Unknown member ${prefix}${name}: known are ${have.join(", ")}`);
  }
}

function lacking(what: string): BuildspecError {
  return new BuildspecError(`NotImplemented: buildspec ${what}`);
}

function commandList(value: unknown, at: string): string[] {
  return list(value, at).map((item, index) => {
    if (typeof item === "string") return item;
    throw new BuildspecError(`Expected ${at}[${index}] to be of string type: found ${shown(item)} instead`);
  });
}

function stringList(value: unknown, at: string): string[] {
  return commandList(value, at);
}

function stringMap(value: unknown, at: string): Record<string, string> {
  const entries = Object.entries(optionalMapping(value, at));
  return Object.fromEntries(
    entries.map(([name, item]) => {
      if (typeof item === "string") return [name, item];
      throw new BuildspecError(`Expected ${at}.${name} to be of string type: found ${shown(item)} instead`);
    }),
  );
}

/** Empty where there is none. */
function scalar(value: unknown, at: string): string {
  if (value === undefined || typeof value === "string") return value ?? "";
  throw new BuildspecError(`Expected ${at} to be of string type: found ${shown(value)} instead`);
}

function flag(value: unknown, at: string): boolean {
  const flags: Readonly<Record<string, boolean>> = { "": false, yes: true, no: false, true: true, false: false };
  const found = flags[typeof value === "string" ? value : value === undefined ? "" : "?"];
  if (found === undefined) throw new BuildspecError(`Expected ${at} to be yes or no: found ${shown(value)}`);
  return found;
}

function list(value: unknown, at: string): readonly unknown[] {
  if (value === undefined || value === "") return [];
  if (Array.isArray(value)) return value;
  throw new BuildspecError(`Expected ${at} to be a list: found ${shown(value)}`);
}

function optionalMapping(value: unknown, at: string): Mapping {
  return value === undefined || value === "" ? {} : mapping(value, at);
}

function mapping(value: unknown, at: string): Mapping {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Mapping;
  throw new BuildspecError(`Expected ${at} to be a mapping: found ${shown(value)}`);
}

/** What was found, without its contents: they may be long, or secret. */
function shown(value: unknown): string {
  if (value === undefined || value === null || value === "") return "nothing";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "subkeys" : JSON.stringify(value);
}
