/** Stages and actions of a protected pipeline, as `aws.codepipeline.Pipeline` takes them. */
import type * as aws from "@pulumi/aws";
import type * as pulumi from "@pulumi/pulumi";

export type Stage = aws.types.input.codepipeline.PipelineStage;
export type Action = aws.types.input.codepipeline.PipelineStageAction;

/** Name of the artifact that holds the jobs' program. */
export const toolkitArtifact = "Toolkit";

/** The first command of every deploy project: waits for the Guard's ticket, and consumes the protection. */
export const admitCommand = `node "$CODEBUILD_SRC_DIR_${toolkitArtifact}/jobs.js" admit`;

/** Value of a CodeBuild action's `EnvironmentVariables`: which run a build belongs to. */
export const runVariables = JSON.stringify([
  { name: "RUN_ID", value: "#{codepipeline.PipelineExecutionId}", type: "PLAINTEXT" },
]);

/** A source action that takes one object of a versioned bucket, and never polls. */
export function s3SourceAction(artifact: string, bucket: pulumi.Input<string>, key: string): Action {
  return {
    name: artifact,
    category: "Source",
    owner: "AWS",
    provider: "S3",
    version: "1",
    configuration: { S3Bucket: bucket, S3ObjectKey: key, PollForSourceChanges: "false" },
    outputArtifacts: [artifact],
  };
}

/** A stage of one job. */
export function jobStage(name: string, project: pulumi.Input<string>): Stage {
  return { name, actions: [jobAction(name, project)] };
}

export function jobAction(name: string, project: pulumi.Input<string>, runOrder?: number): Action {
  return {
    name,
    category: "Build",
    owner: "AWS",
    provider: "CodeBuild",
    version: "1",
    ...(runOrder !== undefined && { runOrder }),
    configuration: { ProjectName: project, EnvironmentVariables: runVariables },
    inputArtifacts: [toolkitArtifact],
  };
}

interface GuardedCheck {
  readonly name: string;
  readonly stageName: string;
  readonly deploy:
    | {
        readonly configuration?: Readonly<Record<string, string>> | undefined;
        readonly inputArtifacts?: readonly string[] | undefined;
      }
    | undefined;
  readonly deployAction: string;
  readonly project: string;
}

/** What keeps a stage from being guarded, as whole sentences. */
export function guardedProblems(check: GuardedCheck): string[] {
  const { deploy } = check;
  if (check.name !== check.stageName) {
    return [`Its name differs from the protection's pipeline.deployStage, "${check.stageName}".`];
  }
  if (deploy === undefined)
    return [`It has no action "${check.deployAction}", the protection's pipeline.deployAction.`];
  const rules: [boolean, string][] = [
    [
      deploy.configuration?.ProjectName === check.project,
      `Its action "${check.deployAction}" must run the project "${check.project}", the protection's deployProject.`,
    ],
    [
      (deploy.inputArtifacts ?? []).includes(toolkitArtifact),
      `Its action "${check.deployAction}" must have the input artifact "${toolkitArtifact}": it brings the command admit.`,
    ],
    [
      (deploy.configuration?.EnvironmentVariables ?? "").includes("RUN_ID"),
      `Its action "${check.deployAction}" must pass the variable RUN_ID: merge runVariables into EnvironmentVariables.`,
    ],
  ];
  return rules.filter(([holds]) => !holds).map(([, sentence]) => sentence);
}
