/**
 * What a drill adds to the environment that it judges: a bucket and a job of its own, which share nothing with the
 * product but the network; and, for a sabotage, a job that alters the database behind the product's back.
 */
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import { CommandProject, type ComputeType } from "../../components";
import type { DemoOutputs } from "../../components/demo-program";
import { truthScript } from "../judge/truth-script";

/** Compute types that no job of the product uses: an account's default quota is one running build per type. */
const judgeComputeType: ComputeType = "BUILD_GENERAL1_XLARGE";

/** Where the CA bundle of the database lies in the judge's bucket. */
export const caKey = "ca.pem";
/** The database of every RDS server from which the others can be administered. */
export const adminDatabase = "postgres";

export interface JudgeArgs {
  /** Prefix of names, such as `drill-1b9d6bcd`. */
  readonly name: string;
  readonly demo: DemoOutputs;
  /** The database's CA bundle, PEM. */
  readonly caBundle: string;
  /** The commands of a sabotage, to be run by the database's master. */
  readonly sabotage?: string | undefined;
}

export interface JudgeOutputs {
  readonly truthBucket: pulumi.Output<string>;
  readonly truthProject: pulumi.Output<string>;
  readonly sabotageProject: pulumi.Output<string>;
}

export function judgeProgram(args: JudgeArgs): JudgeOutputs {
  const bucket = new aws.s3.Bucket(`${args.name}-truth`, { forceDestroy: true });
  const ca = new aws.s3.BucketObjectv2(`${args.name}-truth-ca`, {
    bucket: bucket.bucket,
    key: caKey,
    content: args.caBundle,
  });
  const truth = scriptProject(args, `${args.name}-truth`, truthScript, bucket, ca);
  const sabotage =
    args.sabotage === undefined ? undefined : scriptProject(args, `${args.name}-sabotage`, args.sabotage, bucket, ca);
  return {
    truthBucket: bucket.bucket,
    truthProject: truth.projectName,
    sabotageProject: sabotage?.projectName ?? pulumi.output(""),
  };
}

/** A project that runs a script out of the judge's bucket: so its log holds what the script says, and not the script. */
function scriptProject(
  { demo }: JudgeArgs,
  name: string,
  script: string,
  bucket: aws.s3.Bucket,
  ca: aws.s3.BucketObjectv2,
): CommandProject {
  const masterSecretArn = pulumi.output(demo.masterSecretArn);
  const key = `${name}.sh`;
  const object = new aws.s3.BucketObjectv2(key, { bucket: bucket.bucket, key, content: script });
  return new CommandProject(name, {
    projectName: name,
    description: "Outside judge of a drill",
    commands: ['aws s3 cp --quiet "s3://$TRUTH_BUCKET/$SCRIPT_KEY" /tmp/script.sh && bash /tmp/script.sh'],
    installCommands: ["command -v pg_dump || dnf install -y postgresql16"],
    computeType: judgeComputeType,
    environment: {
      PGHOST: demo.databaseHost,
      PGPORT: pulumi.output(demo.databasePort).apply(String),
      DATABASE: demo.databaseName,
      ADMIN_DATABASE: adminDatabase,
      TRUTH_BUCKET: bucket.bucket,
      TRUTH_KEY: "",
      CA_KEY: ca.key,
      SCRIPT_KEY: object.key,
      EVIDENCE: "",
      RECOVERY_BUCKET: demo.recoveryBucket,
    },
    secrets: {
      PGUSER: pulumi.interpolate`${masterSecretArn}:username`,
      PGPASSWORD: pulumi.interpolate`${masterSecretArn}:password`,
    },
    network: {
      vpcId: demo.vpcId,
      subnetIds: demo.privateSubnetIds,
      securityGroupIds: [demo.jobsSecurityGroupId],
    },
    statements: pulumi.all([bucket.arn, demo.recoveryBucket]).apply(([arn, recovery]) => [
      { Effect: "Allow" as const, Action: ["s3:GetObject"], Resource: [`${arn}/${caKey}`, `${arn}/${key}`] },
      // A sabotage waits for a fact. They are no secrets.
      { Effect: "Allow" as const, Action: ["s3:GetObject"], Resource: [`arn:aws:s3:::${recovery}/runs/*`] },
      { Effect: "Allow" as const, Action: ["s3:PutObject", "s3:AbortMultipartUpload"], Resource: [`${arn}/truth/*`] },
    ]),
    timeoutMinutes: 30,
  });
}
