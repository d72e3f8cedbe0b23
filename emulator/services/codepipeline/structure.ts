/**
 * What a pipeline's declaration must be. Pure.
 * Sources: the API's model (patterns, lengths), "Quotas in AWS CodePipeline", "Pipeline structure reference".
 */
import type { ActionDeclaration, PipelineDeclaration, StageDeclaration } from "@aws-sdk/client-codepipeline";
import { AwsError, notImplemented } from "../../core/definitions";
import { runOrderGroups } from "./run-order";
import { checkReferences } from "./variables";

const NAME = /^[A-Za-z0-9.@\-_]{1,100}$/;
const ARTIFACT = /^[A-Za-z0-9_-]{1,100}$/;
const NAMESPACE = /^[A-Za-z0-9@\-_]{1,100}$/;
const VARIABLE = /^[A-Za-z0-9@\-_]{1,128}$/;
const STAGES = { least: 2, most: 50 };
/** The guide gives 50 in one place and 100 parallel or sequential ones in another: the smaller one is safe. */
const ACTIONS_PER_STAGE = 50;
const ACTIONS = 1_000;
const CONFIGURATION_KEY = 50;
const CONFIGURATION_VALUE = 1_000;
const RUN_ORDER = 999;
const VARIABLES = 50;
const VARIABLE_DESCRIPTION = 200;
/** Of a manual approval: the only action whose time-out can be set. */
const APPROVAL_MINUTES = { least: 5, most: 86_400 };

interface ActionKind {
  readonly required: readonly string[];
  readonly optional: readonly string[];
  /** What the service has and this emulator does not. */
  readonly lacking: readonly string[];
  readonly inputs: readonly [number, number];
  readonly outputs: readonly [number, number];
}

const codeBuild: ActionKind = {
  required: ["ProjectName"],
  optional: ["PrimarySource", "EnvironmentVariables", "BuildspecOverride"],
  lacking: ["BatchEnabled", "CombineArtifacts", "ServiceRoleArnOverride"],
  inputs: [1, 5],
  outputs: [0, 5],
};

const s3Source: ActionKind = {
  required: ["S3Bucket", "S3ObjectKey"],
  optional: ["PollForSourceChanges"],
  lacking: ["AllowOverrideForS3ObjectKey"],
  inputs: [0, 0],
  outputs: [1, 1],
};

const approval: ActionKind = {
  required: [],
  optional: ["CustomData", "ExternalEntityLink"],
  lacking: ["NotificationArn"],
  inputs: [0, 0],
  outputs: [0, 0],
};

/** By category and provider. */
const kinds: Readonly<Record<string, ActionKind>> = {
  "Source/S3": s3Source,
  "Build/CodeBuild": codeBuild,
  "Test/CodeBuild": codeBuild,
  "Approval/Manual": approval,
};

/** Whether the action is an S3 source that looks for changes by itself: it does unless it is told not to. */
export function polls({ actionTypeId, configuration }: ActionDeclaration): boolean {
  return actionTypeId?.provider === "S3" && configuration?.PollForSourceChanges !== "false";
}

/** Throws the service's error for the first thing that is wrong. */
export function checkDeclaration(pipeline: PipelineDeclaration): void {
  checkPattern("pipeline.name", pipeline.name, NAME);
  if (pipeline.pipelineType !== "V2") throw notImplemented(`pipeline.pipelineType ${pipeline.pipelineType ?? "V1"}`);
  if (pipeline.executionMode === "PARALLEL") throw notImplemented("pipeline.executionMode PARALLEL");
  if (!pipeline.artifactStore) throw invalidStructure("Pipeline should contain exactly one artifactStore");
  checkPipelineVariables(pipeline);
  const stages = pipeline.stages ?? [];
  if (stages.length < STAGES.least || stages.length > STAGES.most) {
    throw invalidStructure(
      `Pipeline has ${stages.length} stage(s). There must be at least ${STAGES.least} stages and at most ${STAGES.most}`,
    );
  }
  const actions = stages.reduce((sum, stage) => sum + (stage.actions?.length ?? 0), 0);
  if (actions > ACTIONS) throw invalidStructure(`Pipeline has ${actions} actions: at most ${ACTIONS} are allowed`);
  checkUnique(stages, (name) => invalidStructure(`Duplicate stage name ${name}: stage names must be unique`));
  stages.forEach(checkStage);
  checkArtifacts(stages);
  checkNamespaces(stages);
  checkReferences(pipeline);
}

function checkPipelineVariables({ variables = [] }: PipelineDeclaration): void {
  if (variables.length > VARIABLES) throw invalidStructure(`Pipeline has more than ${VARIABLES} variables`);
  for (const { name, defaultValue, description } of variables) {
    checkPattern("pipeline.variables.member.name", name, VARIABLE);
    checkLength("pipeline.variables.member.defaultValue", defaultValue, CONFIGURATION_VALUE);
    checkLength("pipeline.variables.member.description", description, VARIABLE_DESCRIPTION);
  }
  checkUnique(variables, (name) => invalidStructure(`Duplicate variable name ${name}`));
}

function checkStage({ name, actions = [] }: StageDeclaration, index: number): void {
  checkPattern("pipeline.stages.member.name", name, NAME);
  if (actions.length === 0 || actions.length > ACTIONS_PER_STAGE) {
    throw new AwsError(
      "InvalidStageDeclarationException",
      `Stage ${name} has ${actions.length} actions: between 1 and ${ACTIONS_PER_STAGE} are allowed`,
    );
  }
  checkUnique(actions, (action) =>
    invalidAction(`Duplicate action name ${action} in stage ${name}: action names must be unique within a stage`),
  );
  for (const action of actions) {
    checkAction(action);
    const isSource = action.actionTypeId?.category === "Source";
    if (isSource !== (index === 0)) {
      throw invalidStructure(
        index === 0
          ? `Pipeline must start with a stage that only contains source actions: ${action.name} in stage ${name} is none`
          : `Source actions are only allowed in the first stage: action ${action.name} is in stage ${name}`,
      );
    }
  }
}

function checkAction(action: ActionDeclaration): void {
  checkPattern("pipeline.stages.member.actions.member.name", action.name, NAME);
  const { category, owner, provider, version } = action.actionTypeId ?? {};
  const kind = kinds[`${category}/${provider}`];
  if (kind === undefined || owner !== "AWS") throw notImplemented(`action type ${category}/${owner}/${provider}`);
  if (version !== "1") {
    throw invalidAction(
      `ActionType (Category: '${category}', Provider: '${provider}', Owner: 'AWS', Version: '${version}') in action '${action.name}' is not available`,
    );
  }
  const { runOrder = 1 } = action;
  if (runOrder < 1 || runOrder > RUN_ORDER) throw invalidAction(`Action ${action.name} has the runOrder ${runOrder}`);
  if (action.namespace !== undefined) checkPattern("actions.member.namespace", action.namespace, NAMESPACE);
  checkTimeout(action, kind);
  checkConfiguration(action, kind);
  checkCount(action, "inputArtifacts", kind.inputs);
  checkCount(action, "outputArtifacts", kind.outputs);
}

function checkTimeout({ name, timeoutInMinutes }: ActionDeclaration, kind: ActionKind): void {
  if (timeoutInMinutes === undefined) return;
  if (kind !== approval) throw invalidAction(`Action ${name}: timeoutInMinutes is for manual approvals only`);
  const { least, most } = APPROVAL_MINUTES;
  if (timeoutInMinutes >= least && timeoutInMinutes <= most) return;
  throw validation(
    `Value '${timeoutInMinutes}' at 'pipeline.stages.member.actions.member.timeoutInMinutes' failed to satisfy ` +
      `constraint: Member must have a value between ${least} and ${most}`,
  );
}

function checkConfiguration(
  { name, configuration = {}, inputArtifacts = [] }: ActionDeclaration,
  kind: ActionKind,
): void {
  for (const [key, value] of Object.entries(configuration)) {
    checkLength("configuration key", key, CONFIGURATION_KEY);
    if (value.length > CONFIGURATION_VALUE || value.length === 0) {
      throw validation(
        `Value at 'pipeline.stages.member.actions.member.configuration' failed to satisfy constraint: Map value must ` +
          `satisfy constraint: [Member must have length less than or equal to ${CONFIGURATION_VALUE}, Member must have ` +
          `length greater than or equal to 1]`,
      );
    }
    if (kind.lacking.includes(key)) throw notImplemented(`action ${name}: configuration ${key}`);
    if (![...kind.required, ...kind.optional].includes(key)) {
      throw invalidAction(`Action configuration for action '${name}' contains unknown configuration '${key}'`);
    }
  }
  const missing = kind.required.find((key) => !configuration[key]);
  if (missing !== undefined) {
    throw invalidAction(`Action configuration for action '${name}' is missing required configuration '${missing}'`);
  }
  const polling = configuration.PollForSourceChanges ?? "true";
  if (polling !== "true" && polling !== "false") {
    throw invalidAction(`Action ${name}: PollForSourceChanges is true or false, not '${polling}'`);
  }
  checkPrimarySource(
    name,
    configuration.PrimarySource,
    inputArtifacts.map((artifact) => artifact.name ?? ""),
  );
}

function checkPrimarySource(action: string | undefined, primary: string | undefined, inputs: readonly string[]): void {
  if (primary === undefined && inputs.length > 1) {
    throw invalidAction(
      `Action configuration for action '${action}' is missing required configuration 'PrimarySource'`,
    );
  }
  if (primary !== undefined && !inputs.includes(primary)) {
    throw invalidAction(`PrimarySource '${primary}' of action '${action}' is not one of its input artifacts`);
  }
}

function checkCount(
  action: ActionDeclaration,
  what: "inputArtifacts" | "outputArtifacts",
  [least, most]: readonly [number, number],
): void {
  const count = action[what]?.length ?? 0;
  if (count >= least && count <= most) return;
  const kind = what === "inputArtifacts" ? "input" : "output";
  throw invalidAction(
    `Action '${action.name}' has ${count} ${kind} artifacts: between ${least} and ${most} are allowed`,
  );
}

/** What an action takes must have been made by one that runs before it; every artifact is made once. */
function checkArtifacts(stages: readonly StageDeclaration[]): void {
  const made = new Set<string>();
  for (const { actions = [] } of stages) {
    for (const group of runOrderGroups(actions)) {
      for (const { name, inputArtifacts = [] } of group) {
        const unknown = inputArtifacts.find((artifact) => !made.has(artifact.name ?? ""));
        if (unknown !== undefined) {
          throw invalidStructure(
            `Input artifact ${unknown.name} of action ${name} is not an output artifact of an earlier action`,
          );
        }
      }
      for (const artifact of group.flatMap(({ outputArtifacts = [] }) => outputArtifacts)) {
        const name = artifact.name ?? "";
        checkPattern("outputArtifacts.member.name", name, ARTIFACT);
        if (made.has(name)) throw invalidStructure(`Output artifact name ${name} must be unique within a pipeline`);
        made.add(name);
      }
    }
  }
}

function checkNamespaces(stages: readonly StageDeclaration[]): void {
  const actions = stages.flatMap((stage) => stage.actions ?? []);
  const namespaces = actions.map(({ namespace }) => namespace).filter((namespace) => namespace !== undefined);
  const twice = namespaces.find((namespace, index) => namespaces.indexOf(namespace) !== index);
  if (twice !== undefined) throw invalidAction(`Namespace ${twice} is used more than once: namespaces must be unique`);
  const artifacts = actions.flatMap(({ outputArtifacts = [] }) => outputArtifacts.map(({ name }) => name));
  const both = namespaces.find((namespace) => artifacts.includes(namespace));
  if (both !== undefined) throw invalidAction(`Namespace ${both} is also the name of an artifact`);
  const reserved = namespaces.find((namespace) => namespace === "codepipeline" || namespace === "variables");
  if (reserved !== undefined) throw invalidAction(`Namespace ${reserved} is reserved`);
}

function checkUnique(
  items: readonly { readonly name?: string | undefined }[],
  error: (name: string) => AwsError,
): void {
  const names = items.map(({ name }) => name ?? "");
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw error(twice);
}

function checkPattern(path: string, value: string | undefined, pattern: RegExp): void {
  if (pattern.test(value ?? "")) return;
  throw validation(
    `Value '${value ?? ""}' at '${path}' failed to satisfy constraint: Member must satisfy regular expression pattern: ${pattern.source}`,
  );
}

export function checkLength(path: string, value: string | undefined, most: number): void {
  if ((value ?? "").length <= most) return;
  throw validation(
    `Value at '${path}' failed to satisfy constraint: Member must have length less than or equal to ${most}`,
  );
}

export function validation(problem: string): AwsError {
  return new AwsError("ValidationException", `1 validation error detected: ${problem}`);
}

function invalidStructure(message: string): AwsError {
  return new AwsError("InvalidStructureException", message);
}

function invalidAction(message: string): AwsError {
  return new AwsError("InvalidActionDeclarationException", message);
}
