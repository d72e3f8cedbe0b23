import type * as pulumi from "@pulumi/pulumi";
import type { DatabaseTarget, InstanceTarget, Plan } from "../run/plan";
import type { BuildNetwork, ComputeType } from "./command-project";
import type { Deadlines, Engine, LimitsArgs, Soak } from "./plan";
import type { RecoveryStore } from "./recovery-store";

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
  /**
   * Which of its volumes are protected and healed. `all`: an instance with more than its root is stopped and started
   * by a healing, one with a root only reboots. `root`: other volumes stay as a failed deploy leaves them.
   * @default "all"
   */
  readonly volumes?: InstanceTarget["volumes"];
  /**
   * Shell commands that are run on the instance by SSM right before and right after the moment of its backup, for an
   * application that must be asked to write out what it holds. The thaw runs by itself after `thawSeconds`, should
   * the job not come to it. Without them the backup is as after a loss of power.
   * @example { freeze: "fsfreeze --freeze /data", thaw: "fsfreeze --unfreeze /data", thawSeconds: 60 }
   */
  readonly freeze?: InstanceTarget["freeze"];
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
  /**
   * Codes of what the preflight finds and you accept: it is told, and stops no run. docs/exactness.md lists the codes.
   * @default none: whatever could not be brought back exactly stops the run before the deploy
   */
  readonly accept?: readonly string[];
  /**
   * Where a healing puts the sequences: `exact`, where they were; `advance`, never back, so that a number that was
   * given out is not given out again.
   * @default "exact"
   */
  readonly sequences?: DatabaseTarget["sequences"];
  /**
   * What a healing puts in place, and when it is made. `before`: restored from the vault and compared, before the
   * deploy. `clone`: an exact copy of the live database, made before the deploy while the database is closed to its
   * users; the vault's dump is proven beside it. `on-failure`: restored when the deploy has failed, for a server
   * without room for a second database; the healing then takes as long as the restore.
   * @default "before"
   */
  readonly stage?: DatabaseTarget["stage"];
  /** PgBouncer in front of it, which a healing pauses for the exchange, so that its clients see no error. */
  readonly pooler?: ProtectedPooler;
}

export interface ProtectedPooler {
  readonly host: pulumi.Input<string>;
  /** @default 6432 */
  readonly port?: pulumi.Input<number>;
  /**
   * The database's name in PgBouncer.
   * @default the database's own name
   */
  readonly database?: pulumi.Input<string>;
  /** Secret of a user in PgBouncer's `admin_users`: a JSON object with `username` and `password`. */
  readonly secretArn: pulumi.Input<string>;
  /** @default true */
  readonly tls?: boolean;
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
   * out of the live database (they stay in the evidence, and the report counts them); with `freeze` the database
   * refuses their writes in that time (docs/healing.md says how far). There is no default: this is the owner's decision.
   */
  readonly writes: Plan["writes"];
  /**
   * `when-changed` leaves an instance alone whose files in its declared paths are as they were: a failed migration then
   * costs no reboot.
   * @default "always"
   */
  readonly healing?: Plan["healing"];
  /**
   * Bounds of the load that protection and healing put on the environment: targets at the same time, connections that
   * restore one database, bytes of the dump per second that are read or restored (or "unbounded").
   * @default { parallelTargets: 4, stageWorkers: 1, maxRate: 20_000_000 }
   */
  readonly limits?: LimitsArgs;
  /** Settings of the engine `elastio`. */
  readonly elastio?: {
    /**
     * Ask Elastio to end a background backup whose run has failed. Elastio documents no command for it: try it with
     * your version of the CLI first.
     * @default false
     */
    readonly abortOnFailure?: boolean;
  };
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
   * @default RDS's certificate authorities of the Region
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
