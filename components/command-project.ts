import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import { knownInputs } from "./inputs";
import { buildspec, isCuratedImage, longestBuildspec } from "./buildspec";
import { refuseProblems } from "./errors";
import { logGroupName, policy, projectArn, projectStatements, trustPolicy, type Statement } from "./policies";
import { currentSite } from "./site";

/** Compute types of CodeBuild. An account's default quota is one running build per type. */
export type ComputeType =
  | "BUILD_GENERAL1_SMALL"
  | "BUILD_GENERAL1_MEDIUM"
  | "BUILD_GENERAL1_LARGE"
  | "BUILD_GENERAL1_XLARGE"
  | "BUILD_GENERAL1_2XLARGE";

/** The network in which builds run: private subnets with a way to AWS's endpoints, by NAT or interface endpoints. */
export interface BuildNetwork {
  readonly vpcId: pulumi.Input<string>;
  readonly subnetIds: pulumi.Input<pulumi.Input<string>[]>;
  readonly securityGroupIds: pulumi.Input<pulumi.Input<string>[]>;
}

/** Where a project's files come from. */
export type ProjectSource =
  /** Given by CodePipeline, through the pipeline's artifact bucket. */
  | { readonly type: "pipeline"; readonly artifactBucketArn: pulumi.Input<string> }
  /** A zip in a bucket: such a project can also be started alone. */
  | {
      readonly type: "s3";
      readonly bucket: pulumi.Input<string>;
      readonly bucketArn: pulumi.Input<string>;
      readonly key: string;
    }
  | { readonly type: "none" };

/** The image that runs commands when none is given: Amazon Linux 2023 as curated by CodeBuild. */
export const defaultImage = "aws/codebuild/amazonlinux-x86_64-standard:5.0";

export interface CommandProjectArgs {
  /**
   * Commands in bash, run in order; the first that fails ends the build.
   * @example ["elastio ec2 backup --instance-id i-0123456789abcdef0"]
   */
  readonly commands: pulumi.Input<pulumi.Input<string>[]>;
  /** Commands that prepare the image, in the build's install phase. */
  readonly installCommands?: readonly string[];
  /**
   * Name of the CodeBuild project, unique in account and Region.
   * @default the component's name
   */
  readonly projectName?: string;
  readonly description?: string;
  /** Environment variables in plain text: nothing secret. */
  readonly environment?: Readonly<Record<string, pulumi.Input<string>>>;
  /**
   * Environment variables whose values CodeBuild reads from Secrets Manager when a build starts:
   * `<secret ARN>[:<JSON key>]`. The role gets the right to read just these secrets.
   * @example { PGPASSWORD: pulumi.interpolate`${secret.arn}:password` }
   */
  readonly secrets?: Readonly<Record<string, pulumi.Input<string>>>;
  /** @default { type: "none" } */
  readonly source?: ProjectSource;
  /** @default none: the build runs outside of any VPC */
  readonly network?: BuildNetwork;
  /**
   * A curated image (`aws/codebuild/...`), one in ECR, or any public one.
   * @default "aws/codebuild/amazonlinux-x86_64-standard:5.0"
   */
  readonly image?: string;
  /** @default "BUILD_GENERAL1_SMALL" */
  readonly computeType?: ComputeType;
  /**
   * After how many minutes a build is ended: 5 to 2160.
   * @default 60
   */
  readonly timeoutMinutes?: number;
  /**
   * How many minutes a build may wait for its turn: 5 to 480.
   * @default 10
   */
  readonly queueMinutes?: number;
  /** What the commands may do, beyond what every build needs (logs, source, network, secrets). */
  readonly statements?: pulumi.Input<readonly Statement[]>;
  /**
   * How long logs are kept, at least: CloudWatch takes only certain numbers of days, and the next longer one is used.
   * @default 35
   */
  readonly logRetentionDays?: number;
  /** Changes the arguments of the children before they are made. */
  readonly transform?: {
    readonly project?: (args: aws.codebuild.ProjectArgs) => aws.codebuild.ProjectArgs;
    readonly role?: (args: aws.iam.RoleArgs) => aws.iam.RoleArgs;
    readonly logGroup?: (args: aws.cloudwatch.LogGroupArgs) => aws.cloudwatch.LogGroupArgs;
  };
}

/**
 * A CodeBuild project that runs commands, with a role and a log group of its own.
 *
 * @example
 * new CommandProject("list-backups", {
 *   commands: ["aws ec2 describe-snapshots --owner-ids self"],
 *   statements: [{ Effect: "Allow", Action: ["ec2:DescribeSnapshots"], Resource: ["*"] }],
 * });
 */
export class CommandProject extends pulumi.ComponentResource {
  /** The project's name; resolves when the project exists. */
  readonly projectName: pulumi.Output<string>;
  readonly projectArn: pulumi.Output<string>;
  /** The build's role; resolves only after its policy is attached. */
  readonly roleArn: pulumi.Output<string>;
  readonly roleName: pulumi.Output<string>;
  readonly logGroupName: pulumi.Output<string>;

  constructor(name: string, args: CommandProjectArgs, opts?: pulumi.ComponentResourceOptions) {
    super("protected-pipeline:index:CommandProject", name, knownInputs(args), opts);
    const projectName = args.projectName ?? name;
    refuseProblems(`CommandProject "${name}"`, commandProjectProblems(args, projectName));

    const logGroup = this.createLogGroup(name, args, projectName);
    const role = this.createRole(name, args, projectName);
    const project = this.createProject(name, args, projectName, role.ready, logGroup);

    this.projectName = project.name;
    this.projectArn = project.arn;
    this.roleArn = role.ready;
    this.roleName = role.name;
    this.logGroupName = logGroup.name;
    this.registerOutputs({
      projectName: this.projectName,
      projectArn: this.projectArn,
      roleArn: this.roleArn,
      logGroupName: this.logGroupName,
    });
  }

  private createLogGroup(name: string, args: CommandProjectArgs, project: string): aws.cloudwatch.LogGroup {
    const transform = args.transform?.logGroup ?? identity;
    return new aws.cloudwatch.LogGroup(
      `${name}-logs`,
      transform({ name: logGroupName(project), retentionInDays: logRetention(args.logRetentionDays ?? 35) }),
      { parent: this },
    );
  }

  private createRole(name: string, args: CommandProjectArgs, project: string) {
    const site = currentSite(this);
    const transform = args.transform?.role ?? identity;
    const role = new aws.iam.Role(
      `${name}-role`,
      transform({
        description: `Builds of ${project}`,
        assumeRolePolicy: site.apply((at) =>
          JSON.stringify(trustPolicy("codebuild.amazonaws.com", at, projectArn(at, project))),
        ),
      }),
      { parent: this },
    );
    const document = pulumi
      .all([
        site,
        sourceScope(args.source),
        networkScope(args.network),
        Object.values(args.secrets ?? {}),
        args.statements,
      ])
      .apply(([at, source, network, secrets, statements]) => {
        const scope = { site: at, project, source, network, secrets, image: args.image ?? defaultImage };
        return JSON.stringify(policy(...projectStatements(scope), ...(statements ?? [])));
      });
    const attached = new aws.iam.RolePolicy(`${name}-policy`, { role: role.name, policy: document }, { parent: this });
    return { name: role.name, ready: pulumi.all([role.arn, attached.id]).apply(([arn]) => arn) };
  }

  private createProject(
    name: string,
    args: CommandProjectArgs,
    projectName: string,
    roleArn: pulumi.Output<string>,
    logGroup: aws.cloudwatch.LogGroup,
  ): aws.codebuild.Project {
    const transform = args.transform?.project ?? identity;
    const image = args.image ?? defaultImage;
    const spec = pulumi
      .output(args.commands)
      .apply((commands) => buildspec({ commands, installCommands: args.installCommands ?? [], image }));
    return new aws.codebuild.Project(
      name,
      transform({
        name: projectName,
        ...(args.description !== undefined && { description: args.description }),
        serviceRole: roleArn,
        artifacts: { type: args.source?.type === "pipeline" ? "CODEPIPELINE" : "NO_ARTIFACTS" },
        source: projectSource(args.source, spec),
        environment: {
          type: "LINUX_CONTAINER",
          computeType: args.computeType ?? "BUILD_GENERAL1_SMALL",
          image,
          imagePullCredentialsType: isCuratedImage(image) ? "CODEBUILD" : "SERVICE_ROLE",
          environmentVariables: environmentVariables(args),
        },
        logsConfig: { cloudwatchLogs: { status: "ENABLED", groupName: logGroup.name } },
        buildTimeout: args.timeoutMinutes ?? 60,
        queuedTimeout: args.queueMinutes ?? 10,
        ...(args.network && {
          vpcConfig: {
            vpcId: args.network.vpcId,
            subnets: args.network.subnetIds,
            securityGroupIds: args.network.securityGroupIds,
          },
        }),
      }),
      { parent: this },
    );
  }
}

const logRetentions = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288,
];

/** The shortest retention of CloudWatch Logs that keeps that many days. */
export function logRetention(days: number): number {
  return logRetentions.find((each) => each >= days) ?? 3653;
}

function identity<T>(value: T): T {
  return value;
}

function sourceScope(source: ProjectSource | undefined) {
  switch (source?.type) {
    case "pipeline":
      return pulumi.output(source.artifactBucketArn).apply((bucketArn) => ({ bucketArn, keys: "*" }));
    case "s3":
      return pulumi.output(source.bucketArn).apply((bucketArn) => ({ bucketArn, keys: source.key }));
    default:
      return undefined;
  }
}

function networkScope(network: BuildNetwork | undefined) {
  return network && pulumi.output({ subnetIds: network.subnetIds, securityGroupIds: network.securityGroupIds });
}

function projectSource(source: ProjectSource | undefined, spec: pulumi.Output<string>) {
  switch (source?.type) {
    case "pipeline":
      return { type: "CODEPIPELINE", buildspec: spec };
    case "s3":
      return { type: "S3", location: pulumi.interpolate`${source.bucket}/${source.key}`, buildspec: spec };
    default:
      return { type: "NO_SOURCE", buildspec: spec };
  }
}

function environmentVariables(args: CommandProjectArgs) {
  const plain = Object.entries(args.environment ?? {}).map(([name, value]) => ({ name, value, type: "PLAINTEXT" }));
  const secret = Object.entries(args.secrets ?? {}).map(([name, value]) => ({ name, value, type: "SECRETS_MANAGER" }));
  return [...plain, ...secret];
}

/** Rules of CodeBuild that can be checked before anything exists, as whole sentences. */
export function commandProjectProblems(args: CommandProjectArgs, projectName: string): string[] {
  const { timeoutMinutes = 60, queueMinutes = 10, environment = {}, secrets = {} } = args;
  return [
    ...projectNameProblems(projectName),
    ...rangeProblems("timeoutMinutes", timeoutMinutes, 5, 2160),
    ...rangeProblems("queueMinutes", queueMinutes, 5, 480),
    ...[...Object.keys(environment), ...Object.keys(secrets)].flatMap(variableProblems),
    ...Object.keys(secrets)
      .filter((name) => name in environment)
      .map((name) => `The variable ${name} is given in "environment" and in "secrets". Choose one.`),
    ...commandProblems(args),
  ];
}

function projectNameProblems(name: string): string[] {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{1,149}$/.test(name)) return [];
  return [`"${name}" is not a CodeBuild project name: 2 to 150 letters, digits, hyphens and underscores.`];
}

export function rangeProblems(what: string, value: number, least: number, most: number): string[] {
  if (Number.isInteger(value) && value >= least && value <= most) return [];
  return [`${what} is ${value}: give a whole number from ${least} to ${most}.`];
}

function variableProblems(name: string): string[] {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return [`"${name}" is not a name of an environment variable.`];
  if (name.startsWith("CODEBUILD_")) return [`The variable ${name} cannot be set: CodeBuild reserves CODEBUILD_.`];
  return [];
}

function commandProblems(args: CommandProjectArgs): string[] {
  if (!Array.isArray(args.commands)) return [];
  if (args.commands.length === 0) return ["There are no commands: give at least one."];
  const known = args.commands.filter((command) => typeof command === "string");
  const length = buildspec({
    commands: known,
    installCommands: args.installCommands ?? [],
    image: args.image ?? defaultImage,
  }).length;
  if (length <= longestBuildspec) return [];
  return [
    `The commands make a buildspec of ${length} characters, and CodeBuild takes ${longestBuildspec}: ` +
      "put them into a script among the source's files.",
  ];
}
