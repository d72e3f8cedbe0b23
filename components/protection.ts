import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import type { Plan } from "../run/plan";
import { knownInputs } from "./inputs";
import { CommandProject, type ProjectSource } from "./command-project";
import { refuseProblems } from "./errors";
import { toolCommands } from "./image-tools";
import { queueMinutes } from "./plan";
import { admitStatements, guardStatements, protectStatements, rescueStatements, waitStatements } from "./policies";
import type { JobScope, Site, Statement } from "./policies";
import type { ProtectionArgs } from "./protection-args";
import { createPlan } from "./protection-plan";
import { normalize, protectionProblems, type Job, type Settings } from "./protection-settings";
import { RecoveryStore } from "./recovery-store";
import { RescueTriggers } from "./rescue-triggers";
import { rdsCertificates } from "./rds-certificates";
import { currentSite } from "./site";
import {
  guardedProblems,
  jobAction,
  jobStage,
  s3SourceAction,
  toolkitArtifact,
  type Action,
  type Stage,
} from "./stages";

/** The CodeBuild projects of one protection, by job. */
export type JobProjects = Plan["projects"];

interface JobDefinition {
  readonly description: string;
  /**
   * Whether it runs PostgreSQL's client programs. On the healing path nothing but Node and the bundle is needed, unless
   * a database is restored as late as that.
   */
  readonly clients: "always" | "late";
  readonly statements: (scope: JobScope) => Statement[];
}

const jobDefinitions: Readonly<Record<Job, JobDefinition>> = {
  protect: { description: "Takes the lease and starts the copies", clients: "always", statements: protectStatements },
  wait: { description: "Waits for the copies and proves them", clients: "always", statements: waitStatements },
  guard: { description: "Watches the deploy, and heals when it fails", clients: "late", statements: guardStatements },
  rescue: { description: "Finishes runs whose Guard is gone", clients: "late", statements: rescueStatements },
};

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
  private readonly guard: CommandProject;

  constructor(name: string, args: ProtectionArgs, opts?: pulumi.ComponentResourceOptions) {
    // The certificates are long, and lie in the toolkit: the state need not hold them too.
    super("protected-pipeline:index:Protection", name, knownInputs({ ...args, caBundle: undefined }), opts);
    this.settings = normalize(name, args);
    refuseProblems(`Protection "${name}"`, protectionProblems(name, this.settings));
    this.projects = this.settings.projects;

    const site = currentSite(this);
    this.store = args.store ?? this.createStore(name, args);
    this.plan = createPlan(args, this.settings, site, this.store.bucket, this.createIsolation(name, args));
    this.toolkit = this.createToolkit(name, args);
    const scope = this.jobScope(args, site);
    const jobs = this.createJobs(name, args, scope);
    this.createRescueTriggers(name, jobs.rescue);

    this.admitStatements = scope.apply(admitStatements);
    this.toolkitAction = s3SourceAction(toolkitArtifact, this.toolkit.bucket, this.toolkit.key);
    this.protectStage = jobStage("Protect", jobs.protect.projectName);
    this.waitStage = jobStage("Wait", jobs.wait.projectName);
    this.guard = jobs.guard;
    this.registerOutputs({ plan: this.plan, projects: this.projects, recoveryBucket: this.store.bucket });
  }

  /**
   * The stage with the Guard beside its deploy action, which must run the deploy project, have the input
   * {@link toolkitArtifact} and pass on {@link runVariables}; the project's first command is {@link admitCommand}.
   */
  guarded(deployStage: Stage): pulumi.Output<Stage> {
    const { deployStage: stageName, deployAction, guardAction } = this.settings.pipeline;
    return pulumi.all([deployStage.name, deployStage.actions]).apply(([name, actions]) => {
      const deploy = (actions ?? []).find((action) => action.name === deployAction);
      const problems = guardedProblems({ name, stageName, deploy, deployAction, project: this.projects.deploy });
      refuseProblems(`The guarded stage "${name}"`, problems);
      const guard = jobAction(guardAction, this.guard.projectName, deploy?.runOrder);
      return { ...deployStage, name, actions: [...(actions ?? []), guard] };
    });
  }

  /** Elastio restores an instance by booting a copy of it, which must reach nothing: a group without a rule. */
  private createIsolation(name: string, args: ProtectionArgs): pulumi.Output<string> | undefined {
    if (this.settings.engine !== "elastio" || (args.instances ?? []).length === 0) return undefined;
    const group = new aws.ec2.SecurityGroup(
      `${name}-isolation`,
      {
        vpcId: args.network.vpcId,
        description: "For copies of protected instances while their volumes are taken over: nothing in, nothing out",
        ingress: [],
        egress: [],
      },
      { parent: this },
    );
    return group.id;
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
    const archive = pulumi.all([this.plan, args.caBundle]).apply(
      ([plan, certificates]) =>
        new pulumi.asset.AssetArchive({
          "jobs.js": new pulumi.asset.FileAsset(require.resolve("protected-pipeline/jobs.js")),
          "plan.json": new pulumi.asset.StringAsset(`${JSON.stringify(plan, undefined, 2)}\n`),
          "ca.pem": new pulumi.asset.StringAsset(certificates ?? rdsCertificates(plan.region)),
        }),
    );
    const object = new aws.s3.BucketObjectv2(
      `${name}-toolkit`,
      { bucket: this.store.bucket, key, source: archive },
      { parent: this },
    );
    return { bucket: object.bucket, bucketArn: this.store.arn, key };
  }

  private jobScope(args: ProtectionArgs, site: pulumi.Output<Site>): pulumi.Output<JobScope> {
    const keys = (args.instances ?? []).flatMap((instance) => instance.volumeKeyArn ?? []);
    return pulumi
      .all([site, this.plan, this.store.arn, keys])
      .apply(([at, plan, storeArn, volumeKeyArns]) => ({ site: at, plan, storeArn, volumeKeyArns }));
  }

  private createJobs(name: string, args: ProtectionArgs, scope: pulumi.Output<JobScope>) {
    const fromPipeline: ProjectSource = { type: "pipeline", artifactBucketArn: args.artifactBucketArn };
    const make = (job: Job, source: ProjectSource) => this.createJob(name, job, source, args, scope);
    return {
      protect: make("protect", fromPipeline),
      wait: make("wait", fromPipeline),
      guard: make("guard", fromPipeline),
      // Started without a pipeline, so it takes the program from where the pipeline takes it.
      rescue: make("rescue", { type: "s3", ...this.toolkit }),
    };
  }

  private createJob(
    name: string,
    job: Job,
    source: ProjectSource,
    args: ProtectionArgs,
    scope: pulumi.Output<JobScope>,
  ): CommandProject {
    const { image, engine } = this.settings;
    const { description, clients, statements } = jobDefinitions[job];
    return new CommandProject(
      `${name}-${job}`,
      {
        projectName: this.projects[job],
        description,
        commands: [`node "$CODEBUILD_SRC_DIR/jobs.js" ${job}`],
        installCommands: toolCommands({ image, engine, clients: this.settings.databaseClients[clients] }),
        source,
        network: args.network,
        image,
        computeType: this.settings.computeTypes[job],
        timeoutMinutes: this.settings.timeouts[job],
        queueMinutes,
        statements: scope.apply(statements),
        logRetentionDays: this.settings.retentionDays,
      },
      { parent: this },
    );
  }

  private createRescueTriggers(name: string, rescue: CommandProject): void {
    const { pipeline, projects, rescueSchedule: schedule } = this.settings;
    new RescueTriggers(
      name,
      { pipeline, guardProject: projects.guard, rescueProject: projects.rescue, schedule },
      rescue,
      { parent: this },
    );
  }
}
