/**
 * What StartBuild says instead of the project, for one build. Pure.
 */
import type { Project, StartBuildCommandInput } from "@aws-sdk/client-codebuild";
import { AwsError } from "../../core/definitions";
import { checkBuildspec, checkProject, checkRange, checkVariables } from "./project";

/** The project as this one build sees it. Throws the service's error for what it would refuse. */
export function overridden(project: Project, input: StartBuildCommandInput): Project {
  checkRange("timeoutInMinutesOverride", input.timeoutInMinutesOverride, 5, 2_160);
  checkRange("queuedTimeoutInMinutesOverride", input.queuedTimeoutInMinutesOverride, 5, 480);
  checkVariables(input.environmentVariablesOverride ?? []);
  checkBuildspec(input.buildspecOverride);
  const chosen = merged(project, input);
  checkProject(chosen);
  return chosen;
}

function merged(project: Project, input: StartBuildCommandInput): Project {
  const source = { type: input.sourceTypeOverride, location: input.sourceLocationOverride };
  const environment = {
    type: input.environmentTypeOverride,
    image: input.imageOverride,
    computeType: input.computeTypeOverride,
  };
  return {
    ...project,
    source: { ...project.source, type: project.source?.type, ...given(source), ...buildspecOf(input) },
    ...(project.environment && { environment: { ...project.environment, ...given(environment) } }),
    ...given({
      sourceVersion: input.sourceVersion,
      secondarySources: input.secondarySourcesOverride,
      secondarySourceVersions: input.secondarySourcesVersionOverride,
      artifacts: input.artifactsOverride,
      secondaryArtifacts: input.secondaryArtifactsOverride,
      serviceRole: input.serviceRoleOverride,
      timeoutInMinutes: input.timeoutInMinutesOverride,
      queuedTimeoutInMinutes: input.queuedTimeoutInMinutesOverride,
      logsConfig: input.logsConfigOverride,
    }),
  };
}

function buildspecOf({ buildspecOverride }: StartBuildCommandInput): { readonly buildspec?: string } {
  return buildspecOverride === undefined ? {} : { buildspec: buildspecOverride };
}

function given<T extends object>(members: T): Partial<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** A project whose source is CodePipeline gets it from there alone. The service's own words are not known. */
export function checkStartedAlone({ name, source }: Project): void {
  if (source?.type !== "CODEPIPELINE") return;
  throw new AwsError("InvalidInputException", `Project ${name} takes its source from CodePipeline only`);
}
