/**
 * IAM documents, as pure functions. One role per job, and each role holds just the calls that the job makes on just
 * the resources that it touches. `*` stands only where AWS knows no resource for an action (its `Describe` calls and
 * the like): {@link unscopedActions} is the complete list.
 */
import type { Plan, Target } from "../run/plan";

/** Values of one condition operator, by condition key. */
export type Conditions = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

export interface Statement {
  readonly Sid?: string;
  readonly Effect: "Allow" | "Deny";
  readonly Principal?: "*" | Readonly<Record<string, string | readonly string[]>>;
  readonly Action: readonly string[];
  readonly Resource?: readonly string[];
  readonly Condition?: Conditions;
}

export interface PolicyDocument {
  readonly Version: "2012-10-17";
  readonly Statement: readonly Statement[];
}

/** Where resources live. */
export interface Site {
  readonly partition: string;
  readonly region: string;
  readonly account: string;
}

/** Actions that IAM cannot limit to a resource, from AWS's service authorization reference. */
export const unscopedActions: ReadonlySet<string> = new Set([
  // It knows metric alarms, and answers about composite ones only to who may ask about all.
  "cloudwatch:DescribeAlarms",
  "cloudwatch:GetMetricStatistics",
  "ec2:DescribeDhcpOptions",
  "ec2:DescribeInstances",
  "ec2:DescribeNetworkInterfaces",
  "ec2:DescribeReplaceRootVolumeTasks",
  "ec2:DescribeSecurityGroups",
  "ec2:DescribeSnapshots",
  "ec2:DescribeSubnets",
  "ec2:DescribeVolumes",
  "ec2:DescribeVpcs",
  "ecr:GetAuthorizationToken",
  "ssm:CancelCommand",
  "ssm:GetCommandInvocation",
  "ssm:ListCommands",
]);

export function policy(...statements: readonly Statement[]): PolicyDocument {
  return { Version: "2012-10-17", Statement: statements };
}

export function allow(actions: readonly string[], resources: readonly string[], condition?: Conditions): Statement {
  return { Effect: "Allow", Action: actions, Resource: resources, ...(condition && { Condition: condition }) };
}

function allowUnscoped(...actions: readonly string[]): Statement {
  return allow(actions, ["*"]);
}

export function projectArn(site: Site, project: string): string {
  return `arn:${site.partition}:codebuild:${site.region}:${site.account}:project/${project}`;
}

export function pipelineArn(site: Site, pipeline: string): string {
  return `arn:${site.partition}:codepipeline:${site.region}:${site.account}:${pipeline}`;
}

export function logGroupName(project: string): string {
  return `/aws/codebuild/${project}`;
}

function ec2Arn(site: Site, resource: string): string {
  return `arn:${site.partition}:ec2:${site.region}:${site.account}:${resource}`;
}

/** Any snapshot: their ARNs hold no account. */
function snapshotArn(site: Site): string {
  return `arn:${site.partition}:ec2:${site.region}::snapshot/*`;
}

// Trust ---------------------------------------------------------------------------------------------------------------

/**
 * Who may take the role: one AWS service, on behalf of this account and, where the service says on whose behalf it
 * calls, of that one resource (the confused deputy's cure).
 */
export function trustPolicy(service: string, site?: Site, sourceArn?: string): PolicyDocument {
  const condition: Conditions | undefined = site && {
    StringEquals: { "aws:SourceAccount": site.account },
    ...(sourceArn !== undefined && { ArnLike: { "aws:SourceArn": sourceArn } }),
  };
  return policy({
    Effect: "Allow",
    Principal: { Service: service },
    Action: ["sts:AssumeRole"],
    ...(condition && { Condition: condition }),
  });
}

// Buckets -------------------------------------------------------------------------------------------------------------

function denyEverybody(
  sid: string,
  actions: readonly string[],
  resources: readonly string[],
  condition?: Conditions,
): Statement {
  const statement = { Sid: sid, Effect: "Deny", Principal: "*", Action: actions, Resource: resources } as const;
  return condition ? { ...statement, Condition: condition } : statement;
}

/** For every bucket: no plain HTTP. */
export function denyPlainHttp(bucketArn: string): Statement {
  return denyEverybody("DenyPlainHttp", ["s3:*"], [bucketArn, `${bucketArn}/*`], {
    Bool: { "aws:SecureTransport": "false" },
  });
}

/** For every bucket: nobody of another account, whatever their own account allows them. */
export function denyOtherAccounts(bucketArn: string, account: string): Statement {
  return denyEverybody("DenyOtherAccounts", ["s3:*"], [bucketArn, `${bucketArn}/*`], {
    StringNotEquals: { "aws:PrincipalAccount": account },
  });
}

/**
 * For the recovery store: a fact is written once, with `If-None-Match`, and neither facts nor dumps are deleted by
 * anybody (lifecycle rules, which no policy governs, delete them when their retention ends).
 */
export function writeOnce(bucketArn: string): Statement[] {
  return [
    denyEverybody("DenyUnconditionalFacts", ["s3:PutObject"], [`${bucketArn}/runs/*`], {
      Null: { "s3:if-none-match": "true" },
    }),
    denyEverybody(
      "DenyDeletes",
      ["s3:DeleteObject", "s3:DeleteObjectVersion"],
      [`${bucketArn}/runs/*`, `${bucketArn}/vault/*`],
    ),
  ];
}

// What every CodeBuild project needs -----------------------------------------------------------------------------------

export interface ProjectScope {
  readonly site: Site;
  readonly project: string;
  /** Bucket from which the source or the pipeline's artifacts come. */
  readonly source?: { readonly bucketArn: string; readonly keys: string } | undefined;
  readonly network?:
    { readonly subnetIds: readonly string[]; readonly securityGroupIds: readonly string[] } | undefined;
  /** References as CodeBuild takes them: `<secret ARN>[:<JSON key>[:<stage>[:<version>]]]`. */
  readonly secrets: readonly string[];
  /** Private registry image in ECR, when one is used. */
  readonly image: string;
}

/** What any build does before its first own command: logs, source, network, secrets, image. */
export function projectStatements(scope: ProjectScope): Statement[] {
  return [
    ...logStatements(scope.site, scope.project),
    ...sourceStatements(scope.source),
    ...networkStatements(scope.site, scope.network),
    ...secretStatements(scope.secrets.map(secretOfReference)),
    ...imageStatements(scope.image),
  ];
}

function logStatements(site: Site, project: string): Statement[] {
  const group = `arn:${site.partition}:logs:${site.region}:${site.account}:log-group:${logGroupName(project)}`;
  return [allow(["logs:CreateLogStream", "logs:PutLogEvents"], [group, `${group}:*`])];
}

function sourceStatements(source: ProjectScope["source"]): Statement[] {
  if (source === undefined) return [];
  return [
    allow(["s3:GetObject", "s3:GetObjectVersion"], [`${source.bucketArn}/${source.keys}`]),
    allow(["s3:GetBucketAcl", "s3:GetBucketLocation"], [source.bucketArn]),
  ];
}

/** A build in a VPC makes its own network interface, which only CodeBuild may attach, and only in these subnets. */
function networkStatements(site: Site, network: ProjectScope["network"]): Statement[] {
  if (network === undefined) return [];
  const subnets = network.subnetIds.map((id) => ec2Arn(site, `subnet/${id}`));
  const groups = network.securityGroupIds.map((id) => ec2Arn(site, `security-group/${id}`));
  const interfaces = ec2Arn(site, "network-interface/*");
  return [
    allowUnscoped(
      "ec2:DescribeDhcpOptions",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcs",
    ),
    allow(["ec2:CreateNetworkInterface"], [interfaces, ...subnets, ...groups]),
    allow(["ec2:DeleteNetworkInterface"], [interfaces]),
    allow(["ec2:CreateNetworkInterfacePermission"], [interfaces], {
      ArnEquals: { "ec2:Subnet": subnets },
      StringEquals: { "ec2:AuthorizedService": "codebuild.amazonaws.com" },
    }),
  ];
}

function secretStatements(arns: readonly string[]): Statement[] {
  return arns.length === 0 ? [] : [allow(["secretsmanager:GetSecretValue"], [...new Set(arns)])];
}

/** The secret's ARN in a CodeBuild reference: an ARN's own six colons come first. */
export function secretOfReference(reference: string): string {
  return reference.split(":").slice(0, 7).join(":");
}

const registryImage = /^(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?\/([^:@]+)/;

function imageStatements(image: string): Statement[] {
  const [, account, region, repository] = registryImage.exec(image) ?? [];
  if (account === undefined) return [];
  return [
    allowUnscoped("ecr:GetAuthorizationToken"),
    allow(
      ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
      [`arn:aws:ecr:${region}:${account}:repository/${repository}`],
    ),
  ];
}

// The jobs -------------------------------------------------------------------------------------------------------------

/** What the jobs' policies are made of: the plan, and where the recovery store is. */
export interface JobScope {
  readonly site: Site;
  readonly plan: Plan;
  readonly storeArn: string;
  /** KMS keys of the instances' volumes, where they are the customer's own. */
  readonly volumeKeyArns: readonly string[];
}

type InstanceOf = Extract<Target, { kind: "instance" }>;
type DatabaseOf = Extract<Target, { kind: "database" }>;

function instances(scope: JobScope): InstanceOf[] {
  return scope.plan.targets.filter((target) => target.kind === "instance");
}

function databases(scope: JobScope): DatabaseOf[] {
  return scope.plan.targets.filter((target) => target.kind === "database");
}

/** Protect: leases, the dump into the vault, the instance's backup, the files' fingerprint. */
export function protectStatements(scope: JobScope): Statement[] {
  return [
    ...factStatements(scope, ["opened.json", "*/frozen.json", "*/protected.json"]),
    ...leaseStatements(scope, ["ssm:DeleteParameter", "ssm:GetParametersByPath", "ssm:PutParameter"]),
    // The holder of a lease may be another pipeline of this account: whether it still lives must be seen.
    ...executionStatements(scope.site, "*", ["*"]),
    ...databaseStatements(scope),
    ...spaceStatements(scope),
    ...shellStatements(scope),
    ...instanceStatements(scope),
    ...elastioStatements(scope),
    ...vaultStatements(scope, ["s3:AbortMultipartUpload", "s3:PutObject"]),
    ...snapshotStatements(scope),
  ];
}

/** Wait: the background jobs, the staged database, the prepared volume. */
export function waitStatements(scope: JobScope): Statement[] {
  return [
    ...factStatements(scope, ["*/staged.json", "*/proven.json"]),
    // Who held the lease before: how long the last run took.
    ...leaseStatements(scope, ["ssm:GetParametersByPath"]),
    ...databaseStatements(scope),
    ...instanceStatements(scope),
    ...elastioStatements(scope),
    ...vaultStatements(scope, ["s3:GetObject"]),
    ...volumeStatements(scope),
  ];
}

/** The deploy build: reads the ticket, creates `admitted`, and nothing else of the store. */
export function admitStatements(scope: JobScope): Statement[] {
  const facts = `${scope.storeArn}/runs/*`;
  return [
    allow(["s3:GetObject"], [`${facts}/ticket.json`, `${facts}/admitted.json`]),
    allow(["s3:PutObject"], [`${facts}/admitted.json`]),
    listStatement(scope),
  ];
}

/** Guard: watches the deploy, decides, fences, cuts over. */
export function guardStatements(scope: JobScope): Statement[] {
  const { site, plan } = scope;
  return [
    ...factStatements(scope, guardFacts),
    ...leaseStatements(scope, ["ssm:GetParametersByPath", "ssm:PutParameter"]),
    ...executionStatements(site, plan.pipeline.name, Object.values(plan.projects)),
    allow(["codebuild:StopBuild"], [projectArn(site, plan.projects.deploy)]),
    ...alarmStatements(scope),
    ...databaseStatements(scope),
    ...poolerStatements(scope),
    ...lateStatements(scope),
    ...shellStatements(scope),
    ...fenceStatements(scope),
    ...instanceStatements(scope),
    ...elastioStatements(scope),
    ...volumeStatements(scope),
    ...cutOverStatements(scope),
    ...removalStatements(scope),
  ];
}

/** Rescue takes over any run without a verdict, so it may do what the Guard may. */
export function rescueStatements(scope: JobScope): Statement[] {
  return guardStatements(scope);
}

const guardFacts = [
  "ticket.json",
  // To close the admission: a deploy that comes too late finds the place taken.
  "admitted.json",
  "decided.json",
  "claims/*",
  "fenced.json",
  "*/restored.json",
  "*/cut-over.json",
  "verdict.json",
  "cleared.json",
];

function factStatements(scope: JobScope, written: readonly string[]): Statement[] {
  const facts = `${scope.storeArn}/runs/*`;
  return [
    allow(["s3:GetObject"], [facts]),
    allow(
      ["s3:PutObject"],
      written.map((fact) => `${facts}/${fact}`),
    ),
    listStatement(scope),
  ];
}

/**
 * Without it S3 answers 403 instead of 404 for an object that is not there, and absence is information. A condition
 * on the prefix would undo that: `GetObject` carries none.
 */
function listStatement(scope: JobScope): Statement {
  return allow(["s3:ListBucket"], [scope.storeArn]);
}

function leaseStatements(scope: JobScope, actions: readonly string[]): Statement[] {
  const { partition, region, account } = scope.site;
  const path = `arn:${partition}:ssm:${region}:${account}:parameter/protected-pipeline/lease`;
  return [allow(actions, [path, `${path}/*`])];
}

/** How an execution and its builds are. */
function executionStatements(site: Site, pipeline: string, projects: readonly string[]): Statement[] {
  return [
    allow(["codepipeline:GetPipelineExecution", "codepipeline:ListActionExecutions"], [pipelineArn(site, pipeline)]),
    allow(
      ["codebuild:BatchGetBuilds"],
      projects.map((project) => projectArn(site, project)),
    ),
  ];
}

function alarmStatements({ plan }: JobScope): Statement[] {
  return plan.alarms.length === 0 ? [] : [allowUnscoped("cloudwatch:DescribeAlarms")];
}

/** Whether a server has room for what is to be staged. */
function spaceStatements(scope: JobScope): Statement[] {
  const staged = databases(scope).some(({ stage }) => stage !== "on-failure");
  return staged ? [allowUnscoped("cloudwatch:GetMetricStatistics")] : [];
}

function databaseStatements(scope: JobScope): Statement[] {
  return secretStatements(databases(scope).map((database) => database.secretArn));
}

/** The poolers in front of the databases, which a healing pauses. */
function poolerStatements(scope: JobScope): Statement[] {
  return secretStatements(databases(scope).flatMap(({ pooler }) => pooler?.secretArn ?? []));
}

/** Files are fingerprinted by a shell command on the instance. */
function shellStatements(scope: JobScope): Statement[] {
  const { partition, region } = scope.site;
  const found = instances(scope);
  if (found.length === 0) return [];
  const document = `arn:${partition}:ssm:${region}::document/AWS-RunShellScript`;
  return [
    allow(["ssm:SendCommand"], [document, ...found.map((instance) => instance.arn)]),
    allowUnscoped("ssm:GetCommandInvocation"),
  ];
}

/** The fence ends the commands that a deploy started on the instance. */
function fenceStatements(scope: JobScope): Statement[] {
  if (instances(scope).length === 0) return [];
  return [allowUnscoped("ssm:CancelCommand", "ssm:ListCommands")];
}

function instanceStatements(scope: JobScope): Statement[] {
  if (instances(scope).length === 0) return [];
  return [allowUnscoped("ec2:DescribeInstances", "ec2:DescribeVolumes")];
}

/** Elastio's CLI talks to its functions, which it finds by parameters that carry Elastio's tag. */
function elastioStatements({ site, plan }: JobScope): Statement[] {
  if (plan.engine !== "elastio") return [];
  const { partition, region, account } = site;
  return [
    allow(["lambda:InvokeFunction"], [`arn:${partition}:lambda:${region}:${account}:function:elastio-*`]),
    allow(["ssm:GetParameter"], [`arn:${partition}:ssm:${region}:${account}:parameter/*`], {
      Null: { "aws:ResourceTag/elastio:resource": "false" },
    }),
  ];
}

/** With the engine `aws` the recovery store is the vault of the database dumps. */
function vaultStatements(scope: JobScope, actions: readonly string[]): Statement[] {
  if (scope.plan.engine !== "aws" || databases(scope).length === 0) return [];
  return [allow(actions, [`${scope.storeArn}/vault/*`])];
}

function snapshotStatements(scope: JobScope): Statement[] {
  const { site, plan } = scope;
  const found = instances(scope).map((instance) => instance.arn);
  if (plan.engine !== "aws" || found.length === 0) return [];
  const snapshots = snapshotArn(site);
  return [
    allowUnscoped("ec2:DescribeSnapshots"),
    allow(["ec2:CreateSnapshots"], [...found, ec2Arn(site, "volume/*"), snapshots]),
    allow(["ec2:CreateTags"], [snapshots], { StringEquals: { "ec2:CreateAction": "CreateSnapshots" } }),
    ...keyStatements(scope),
  ];
}

/** What is restored only when the deploy has failed is read from the vault by the healer. */
function lateStatements(scope: JobScope): Statement[] {
  const late = databases(scope).some(({ stage }) => stage === "on-failure");
  return late ? vaultStatements(scope, ["s3:GetObject"]) : [];
}

/** The volumes that a healing will put in place, made of snapshots; the Guard only rehearses the call. */
function volumeStatements(scope: JobScope): Statement[] {
  const { site, plan } = scope;
  if (plan.engine !== "aws" || instances(scope).length === 0) return [];
  const volumes = ec2Arn(site, "volume/*");
  return [
    allowUnscoped("ec2:DescribeSnapshots"),
    allow(["ec2:CreateVolume"], [volumes, snapshotArn(site)]),
    allow(["ec2:CreateTags"], [volumes], { StringEquals: { "ec2:CreateAction": "CreateVolume" } }),
    ...keyStatements(scope),
  ];
}

function cutOverStatements(scope: JobScope): Statement[] {
  const { site } = scope;
  const found = instances(scope);
  if (found.length === 0) return [];
  const arns = found.map((instance) => instance.arn);
  const whole = found.filter((instance) => instance.volumes === "all").map((instance) => instance.arn);
  const volumes = ec2Arn(site, "volume/*");
  const tasks = ec2Arn(site, "replace-root-volume-task/*");
  return [
    allowUnscoped("ec2:DescribeReplaceRootVolumeTasks"),
    allow(["ec2:CreateReplaceRootVolumeTask"], [...arns, volumes, snapshotArn(site), tasks]),
    allow(["ec2:ModifyInstanceAttribute"], [...arns, volumes]),
    allow(["ec2:ModifyVolume"], [volumes], ownVolumes),
    // With data volumes the exchange is made while the instance is stopped.
    ...(whole.length === 0
      ? []
      : [
          allow(["ec2:StartInstances", "ec2:StopInstances"], whole),
          allow(["ec2:AttachVolume", "ec2:DetachVolume"], [...whole, volumes]),
        ]),
    // No more than this product's own tags: others decide over access elsewhere.
    allow(["ec2:CreateTags"], [volumes, tasks], {
      "ForAllValues:StringLike": { "aws:TagKeys": "protected-pipeline:*" },
    }),
    ...copyStatements(scope),
  ];
}

/** Of a run: made by it, taken over by it, or kept by it as evidence. */
const ownVolumes: Conditions = { Null: { "ec2:ResourceTag/protected-pipeline:run": "false" } };

/** What a run made for a healing that is not needed, and what is kept until its retention has passed. */
function removalStatements(scope: JobScope): Statement[] {
  const { site, plan } = scope;
  if (instances(scope).length === 0) return [];
  return [
    allow(["ec2:DeleteVolume"], [ec2Arn(site, "volume/*")], ownVolumes),
    ...(plan.engine === "aws" ? [allow(["ec2:DeleteSnapshot"], [snapshotArn(site)], ownVolumes)] : []),
  ];
}

/** Elastio restores an instance by booting a copy; it is isolated and stopped, its volumes taken over, and then ended. */
function copyStatements({ site, plan }: JobScope): Statement[] {
  if (plan.engine !== "elastio") return [];
  const copies = { Null: { "ec2:ResourceTag/elastio:restored-from-rp": "false" } };
  const group = plan.elastio?.isolationGroupId;
  return [
    allow(["ec2:DetachVolume", "ec2:StopInstances", "ec2:TerminateInstances"], [ec2Arn(site, "instance/*")], copies),
    allow(["ec2:DetachVolume"], [ec2Arn(site, "volume/*")]),
    ...(group === undefined
      ? []
      : [
          allow(["ec2:ModifyInstanceAttribute"], [ec2Arn(site, "instance/*")], copies),
          allow(["ec2:ModifyInstanceAttribute"], [ec2Arn(site, `security-group/${group}`)]),
        ]),
  ];
}

/** EC2 uses a customer's key on the caller's behalf; without these a volume gets an id and then vanishes. */
function keyStatements({ volumeKeyArns }: JobScope): Statement[] {
  if (volumeKeyArns.length === 0) return [];
  return [
    allow(
      ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"],
      volumeKeyArns,
    ),
    allow(["kms:CreateGrant"], volumeKeyArns, { Bool: { "kms:GrantIsForAWSResource": "true" } }),
  ];
}

// The pipeline, and what starts Rescue ---------------------------------------------------------------------------------

export interface PipelineScope {
  readonly site: Site;
  readonly artifactBucketArn: string;
  /** Objects that source actions read. */
  readonly sources: readonly { readonly bucketArn: string; readonly key: string }[];
  readonly connectionArns: readonly string[];
  /** Names of the CodeBuild projects that the pipeline starts. */
  readonly projects: readonly string[];
}

export function pipelineStatements(scope: PipelineScope): Statement[] {
  const buckets = [...new Set([scope.artifactBucketArn, ...scope.sources.map((source) => source.bucketArn)])];
  return [
    allow(["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"], buckets),
    allow(
      ["s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectVersion", "s3:GetObjectVersionTagging"],
      scope.sources.map((source) => `${source.bucketArn}/${source.key}`),
    ),
    allow(["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], [`${scope.artifactBucketArn}/*`]),
    allow(
      ["codebuild:BatchGetBuilds", "codebuild:StartBuild"],
      scope.projects.map((project) => projectArn(scope.site, project)),
    ),
    // The service moved its name; the documentation asks for both.
    ...(scope.connectionArns.length === 0
      ? []
      : [allow(["codeconnections:UseConnection", "codestar-connections:UseConnection"], scope.connectionArns)]),
  ];
}

/** For EventBridge and its Scheduler: start that one project. */
export function startBuildStatements(site: Site, project: string): Statement[] {
  return [allow(["codebuild:StartBuild"], [projectArn(site, project)])];
}

// The demo's instance --------------------------------------------------------------------------------------------------

/** The application's host: its files, and where its database is. */
export function demoInstanceStatements(bucketArn: string, applicationSecretArn: string): Statement[] {
  return [
    allow(
      ["s3:GetObject"],
      ["application", "seed", "deployments"].map((prefix) => `${bucketArn}/${prefix}/*`),
    ),
    allow(["secretsmanager:GetSecretValue"], [applicationSecretArn]),
  ];
}

/** The seeding, on the instance: as the master it makes the application's role, and leaves its password. */
export function demoSeedStatements(masterSecretArn: string, applicationSecretArn: string): Statement[] {
  return [
    allow(["secretsmanager:GetSecretValue"], [masterSecretArn]),
    allow(["secretsmanager:PutSecretValue"], [applicationSecretArn]),
  ];
}

/** What the demo's releases call: their files into the bucket, a command on the instance. */
export function demoDeployStatements(site: Site, bucketArn: string, instanceArn: string): Statement[] {
  const document = `arn:${site.partition}:ssm:${site.region}::document/AWS-RunShellScript`;
  return [
    allow(["s3:GetObject", "s3:PutObject"], [`${bucketArn}/deployments/*`]),
    allow(["ssm:SendCommand"], [document, instanceArn]),
    allowUnscoped("ssm:GetCommandInvocation"),
  ];
}
