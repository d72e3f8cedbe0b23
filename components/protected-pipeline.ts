import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import { knownInputs } from "./inputs";
import { CommandProject, defaultImage, type ComputeType } from "./command-project";
import { refuseProblems } from "./errors";
import { clientPrograms } from "./image-tools";
import { nameProblems } from "./names";
import { buildTimeouts, defaultDeadlines, defaultSoak, queueMinutes } from "./plan";
import { pipelineStatements, policy, trustPolicy, type Statement } from "./policies";
import { PrivateBucket } from "./private-bucket";
import { Protection } from "./protection";
import type { ProtectionArgs } from "./protection-args";
import { currentSite } from "./site";
import { admitCommand, runVariables, s3SourceAction, toolkitArtifact, type Action, type Stage } from "./stages";

/** Where releases come from. */
export type ReleaseSource =
  /** A zip in a versioned bucket. The pipeline never polls it: start an execution after each upload. */
  | {
      readonly type: "s3";
      readonly bucket: pulumi.Input<string>;
      readonly bucketArn: pulumi.Input<string>;
      readonly key: string;
    }
  /** A repository at GitHub, GitLab or Bitbucket, by a connection that was confirmed in the console. */
  | {
      readonly type: "connection";
      readonly connectionArn: pulumi.Input<string>;
      /** @example "acme/shop" */
      readonly repository: string;
      /** @example "main" */
      readonly branch: string;
    };

export interface DeployArgs {
  /**
   * Commands that deploy the release, in bash, in the release's folder. Any of them failing is a failed deploy.
   * @default ["bash ./deploy.sh"]
   */
  readonly commands?: readonly string[];
  /** Commands that prepare the image. */
  readonly installCommands?: readonly string[];
  /** Environment variables in plain text. RUN_ID is always there: the id of the pipeline execution. */
  readonly environment?: Readonly<Record<string, pulumi.Input<string>>>;
  /** Environment variables from Secrets Manager: `<secret ARN>[:<JSON key>]`. */
  readonly secrets?: Readonly<Record<string, pulumi.Input<string>>>;
  /** What the commands may do. They need no right to restore, nor to read the vault: the Guard has these. */
  readonly statements?: pulumi.Input<readonly Statement[]>;
  /** @default CodeBuild's Amazon Linux 2023 */
  readonly image?: string;
  /** @default "BUILD_GENERAL1_SMALL" */
  readonly computeType?: ComputeType;
}

export interface ProtectedPipelineArgs extends Omit<
  ProtectionArgs,
  "pipeline" | "deployProject" | "artifactBucketArn"
> {
  readonly source: ReleaseSource;
  readonly deploy?: DeployArgs;
  /** Changes the pipeline's arguments before it is made. */
  readonly transform?: { readonly pipeline?: (args: aws.codepipeline.PipelineArgs) => aws.codepipeline.PipelineArgs };
}

/**
 * A pipeline with the stages Source, Protect, Wait and Deploy, in which a failed deploy is undone: the instance's
 * disk and the databases are as they were before it.
 *
 * @example
 * new ProtectedPipeline("shop", {
 *   source: { type: "s3", bucket: releases.bucket, bucketArn: releases.arn, key: "release.zip" },
 *   instances: [{ instanceId: server.id, arn: server.arn, paths: ["/opt/shop"] }],
 *   databases: [{ arn: db.arn, host: db.address, database: "shop", secretArn: masterSecretArn }],
 *   network: { vpcId, subnetIds: privateSubnetIds, securityGroupIds: [jobs.id] },
 *   probes: [{ url: "http://shop.internal:8080/health" }],
 *   writes: "continue",
 * });
 */
export class ProtectedPipeline extends pulumi.ComponentResource {
  readonly protection: Protection;
  readonly pipelineName: pulumi.Output<string>;
  readonly pipelineArn: pulumi.Output<string>;
  readonly artifactBucket: pulumi.Output<string>;
  readonly deployProject: CommandProject;

  constructor(name: string, args: ProtectedPipelineArgs, opts?: pulumi.ComponentResourceOptions) {
    super("protected-pipeline:index:ProtectedPipeline", name, knownInputs({ ...args, caBundle: undefined }), opts);
    refuseProblems(`ProtectedPipeline "${name}"`, nameProblems(name));

    const artifacts = this.createArtifactBucket(name, args);
    this.protection = this.createProtection(name, args, artifacts);
    this.deployProject = this.createDeployProject(name, args, artifacts);
    const roleArn = this.createRole(name, args, artifacts);
    const pipeline = this.createPipeline(name, args, artifacts, roleArn);

    this.artifactBucket = artifacts.bucket;
    this.pipelineName = pipeline.name;
    this.pipelineArn = pipeline.arn;
    this.registerOutputs({
      pipelineName: this.pipelineName,
      pipelineArn: this.pipelineArn,
      artifactBucket: this.artifactBucket,
    });
  }

  private createArtifactBucket(name: string, args: ProtectedPipelineArgs): PrivateBucket {
    return new PrivateBucket(
      `${name}-artifacts`,
      { forceDestroy: args.forceDestroy ?? false, expire: { "": args.retentionDays ?? 35 } },
      { parent: this },
    );
  }

  private createProtection(name: string, args: ProtectedPipelineArgs, artifacts: PrivateBucket): Protection {
    const { source: _source, deploy: _deploy, transform: _transform, ...protection } = args;
    return new Protection(
      name,
      {
        ...protection,
        pipeline: { name },
        deployProject: `${name}-deploy`,
        artifactBucketArn: artifacts.arn,
      },
      { parent: this },
    );
  }

  private createDeployProject(name: string, args: ProtectedPipelineArgs, artifacts: PrivateBucket): CommandProject {
    const deploy = args.deploy ?? {};
    const image = deploy.image ?? args.image ?? defaultImage;
    const timeouts = buildTimeouts({ ...defaultDeadlines, ...args.deadlines }, { ...defaultSoak, ...args.soak });
    const statements = pulumi
      .all([this.protection.admitStatements, deploy.statements])
      .apply(([admit, own]) => [...admit, ...(own ?? [])]);
    return new CommandProject(
      `${name}-deploy`,
      {
        description: `Deploys a release, once the Guard of ${name} is on watch`,
        commands: [admitCommand, ...(deploy.commands ?? ["bash ./deploy.sh"])],
        installCommands: [...(deploy.installCommands ?? clientPrograms(image))],
        environment: deploy.environment ?? {},
        secrets: deploy.secrets ?? {},
        source: { type: "pipeline", artifactBucketArn: artifacts.arn },
        network: args.network,
        image,
        computeType: deploy.computeType ?? "BUILD_GENERAL1_SMALL",
        timeoutMinutes: timeouts.deploy,
        queueMinutes,
        statements,
      },
      { parent: this },
    );
  }

  private createRole(name: string, args: ProtectedPipelineArgs, artifacts: PrivateBucket): pulumi.Output<string> {
    const { toolkit, projects } = this.protection;
    const site = currentSite(this);
    const role = new aws.iam.Role(
      `${name}-pipeline-role`,
      {
        description: `Executions of ${name}`,
        // AWS's own page on CodePipeline's role shows no condition, so none is known to hold.
        assumeRolePolicy: JSON.stringify(trustPolicy("codepipeline.amazonaws.com")),
      },
      { parent: this },
    );
    const source = args.source;
    const document = pulumi
      .all([
        site,
        artifacts.arn,
        toolkit.bucketArn,
        source.type === "s3" ? source.bucketArn : undefined,
        source.type === "connection" ? source.connectionArn : undefined,
      ])
      .apply(([at, artifactBucketArn, toolkitBucketArn, sourceBucketArn, connectionArn]) =>
        JSON.stringify(
          policy(
            ...pipelineStatements({
              site: at,
              artifactBucketArn,
              sources: [
                { bucketArn: toolkitBucketArn, key: toolkit.key },
                ...(source.type === "s3" && sourceBucketArn ? [{ bucketArn: sourceBucketArn, key: source.key }] : []),
              ],
              connectionArns: connectionArn ? [connectionArn] : [],
              projects: [projects.protect, projects.wait, projects.deploy, projects.guard],
            }),
          ),
        ),
      );
    const attached = new aws.iam.RolePolicy(
      `${name}-pipeline-policy`,
      { role: role.name, policy: document },
      { parent: this },
    );
    return pulumi.all([role.arn, attached.id]).apply(([arn]) => arn);
  }

  private createPipeline(
    name: string,
    args: ProtectedPipelineArgs,
    artifacts: PrivateBucket,
    roleArn: pulumi.Output<string>,
  ): aws.codepipeline.Pipeline {
    const transform = args.transform?.pipeline ?? ((given: aws.codepipeline.PipelineArgs) => given);
    return new aws.codepipeline.Pipeline(
      name,
      transform({
        name,
        pipelineType: "V2",
        executionMode: "QUEUED",
        roleArn,
        artifactStores: [{ type: "S3", location: artifacts.bucket }],
        stages: [
          { name: "Source", actions: [sourceAction(args.source), this.protection.toolkitAction] },
          this.protection.protectStage,
          this.protection.waitStage,
          this.protection.guarded(this.deployStage()),
        ],
      }),
      { parent: this },
    );
  }

  private deployStage(): Stage {
    return {
      name: "Deploy",
      actions: [
        {
          name: "Deploy",
          category: "Build",
          owner: "AWS",
          provider: "CodeBuild",
          version: "1",
          configuration: {
            ProjectName: this.deployProject.projectName,
            PrimarySource: releaseArtifact,
            EnvironmentVariables: runVariables,
          },
          inputArtifacts: [releaseArtifact, toolkitArtifact],
        },
      ],
    };
  }
}

/** Name of the artifact that holds the release. */
export const releaseArtifact = "App";

function sourceAction(source: ReleaseSource): Action {
  if (source.type === "s3") return s3SourceAction(releaseArtifact, source.bucket, source.key);
  return {
    name: releaseArtifact,
    category: "Source",
    owner: "AWS",
    provider: "CodeStarSourceConnection",
    version: "1",
    configuration: {
      ConnectionArn: source.connectionArn,
      FullRepositoryId: source.repository,
      BranchName: source.branch,
    },
    outputArtifacts: [releaseArtifact],
  };
}
