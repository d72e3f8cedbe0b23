import * as aws from "@pulumi/aws";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { readdirSync } from "node:fs";
import * as path from "node:path";
import { knownInputs } from "./inputs";
import type { BuildNetwork } from "./command-project";
import { DemoNetwork } from "./demo-network";
import { InvalidArgumentsError, refuseProblems } from "./errors";
import { nameProblems } from "./names";
import { demoInstanceStatements, demoSeedStatements, policy, trustPolicy } from "./policies";
import { PrivateBucket } from "./private-bucket";
import { rdsCertificates } from "./rds-certificates";
import { currentSite } from "./site";
import { applicationDirectory, applicationPort, applicationUnit, longestUserData, userData } from "./user-data";

export interface DemoEnvironmentArgs {
  /** @default a network of its own */
  readonly network?: DemoNetwork;
  /**
   * Major version of PostgreSQL.
   * @default "16"
   */
  readonly engineVersion?: string;
  /** @default "db.t4g.micro" */
  readonly databaseClass?: string;
  /** @default "shop" */
  readonly databaseName?: string;
  /** @default "t3.micro" */
  readonly instanceType?: string;
  /**
   * Address ranges from which the application may be visited.
   * @default nobody but the pipeline's own probes
   * @example ["203.0.113.7/32"]
   */
  readonly visitors?: readonly string[];
  /**
   * Certificates that sign the database's own, as PEM text.
   * @default RDS's certificate authorities of the Region
   */
  readonly caBundle?: pulumi.Input<string>;
  /**
   * A file made by pg_dump, plain or custom, that fills the database instead of the shop's own data.
   */
  readonly dataFile?: string;
  /** How long uploaded releases are kept, in days. */
  readonly retentionDays: number;
}

/** The demo's own files, built and not. */
export interface DemoFiles {
  /** The application, bundled into one file. */
  readonly server: string;
  /** The program that seeds the database, bundled into one file, and the script that it runs on the instance. */
  readonly seed: string;
  readonly seedScript: string;
  /** Folder of the release that the instance begins with. */
  readonly firstRelease: string;
  /** SQL that makes the shop's database, in order. */
  readonly sql: readonly string[];
}

/**
 * An environment to protect: a small shop on an EC2 instance, with its PostgreSQL database on RDS, in a network of its
 * own, seeded. No secret is in its arguments, in the instance's user data or in the state: RDS makes the master's
 * password, and the seeding, on the instance, makes the application's.
 */
export class DemoEnvironment extends pulumi.ComponentResource {
  /** Where builds run that protect this environment. */
  readonly buildNetwork: BuildNetwork;
  readonly vpcId: pulumi.Output<string>;
  readonly privateSubnetIds: pulumi.Output<string[]>;
  readonly jobsSecurityGroupId: pulumi.Output<string>;
  /** Bucket for the application's files, for the releases, and for what a release hands to the instance. */
  readonly bucket: pulumi.Output<string>;
  readonly bucketArn: pulumi.Output<string>;
  readonly instanceId: pulumi.Output<string>;
  readonly instanceArn: pulumi.Output<string>;
  /** Paths on the instance that a release writes to. */
  readonly instancePaths: readonly string[] = [applicationDirectory, applicationUnit];
  /** For visitors. */
  readonly applicationUrl: pulumi.Output<string>;
  /** For probes from inside of the network. */
  readonly probeUrl: pulumi.Output<string>;
  readonly databaseIdentifier: pulumi.Output<string>;
  readonly databaseArn: pulumi.Output<string>;
  readonly databaseName: string;
  readonly databaseHost: pulumi.Output<string>;
  readonly databasePort: pulumi.Output<number>;
  readonly masterSecretArn: pulumi.Output<string>;
  readonly applicationSecretArn: pulumi.Output<string>;
  /** Resolves when the database is seeded and the application answers. */
  readonly seeded: pulumi.Output<string>;

  constructor(name: string, args: DemoEnvironmentArgs, files: DemoFiles, opts?: pulumi.ComponentResourceOptions) {
    super("protected-pipeline:index:DemoEnvironment", name, knownInputs({ ...args, caBundle: undefined }), opts);
    this.databaseName = args.databaseName ?? "shop";
    refuseProblems(`DemoEnvironment "${name}"`, demoProblems(name, args, this.databaseName));

    const network = args.network ?? new DemoNetwork(name, {}, { parent: this });
    const groups = this.createSecurityGroups(name, args, network);
    const bucket = this.createBucket(name, args);
    const database = this.createDatabase(name, args, network, groups.database);
    const masterSecretArn = database.masterUserSecrets.apply(masterSecret);
    const secret = this.createApplicationSecret(name);
    const uploads = this.uploadApplication(name, args, files, bucket);
    const role = this.createInstanceRole(name);
    const profile = this.createInstanceProfile(name, role, bucket, secret);
    const instance = this.createInstance(name, args, {
      network,
      group: groups.instance,
      bucket,
      secret,
      profile,
      uploads,
    });

    this.vpcId = network.vpcId;
    this.privateSubnetIds = network.privateSubnetIds;
    this.jobsSecurityGroupId = groups.jobs.id;
    this.buildNetwork = {
      vpcId: network.vpcId,
      subnetIds: network.buildSubnetIds,
      securityGroupIds: [groups.jobs.id],
    };
    this.bucket = bucket.bucket;
    this.bucketArn = bucket.arn;
    this.instanceId = instance.id;
    this.instanceArn = instance.arn;
    this.applicationUrl = pulumi.interpolate`http://${instance.publicIp}:${applicationPort}`;
    this.probeUrl = pulumi.interpolate`http://${instance.privateDns}:${applicationPort}/health`;
    this.databaseIdentifier = database.identifier;
    this.databaseArn = database.arn;
    this.databaseHost = database.address;
    this.databasePort = database.port;
    this.masterSecretArn = masterSecretArn;
    this.applicationSecretArn = secret.arn;
    this.seeded = this.seed(name, args, files, bucket, this.allowSeeding(name, role));
    this.registerOutputs({
      instanceId: this.instanceId,
      applicationUrl: this.applicationUrl,
      databaseIdentifier: this.databaseIdentifier,
    });
  }

  /** The jobs reach the database and the application; the application reaches the database; visitors as asked. */
  private createSecurityGroups(name: string, args: DemoEnvironmentArgs, network: DemoNetwork) {
    const out = [{ protocol: "-1", fromPort: 0, toPort: 0, cidrBlocks: ["0.0.0.0/0"] }];
    const group = (part: string, description: string, ingress: aws.types.input.ec2.SecurityGroupIngress[]) =>
      new aws.ec2.SecurityGroup(
        `${name}-${part}`,
        { description, vpcId: network.vpcId, ingress, egress: out, tags: { Name: `${name}-${part}` } },
        { parent: this },
      );
    const jobs = group("jobs", "Builds that protect, deploy and heal", []);
    const visitors = args.visitors ?? [];
    const instance = group("instance", "The application", [
      {
        description: "Probes",
        protocol: "tcp",
        fromPort: applicationPort,
        toPort: applicationPort,
        securityGroups: [jobs.id],
      },
      ...(visitors.length === 0
        ? []
        : [
            {
              description: "Visitors",
              protocol: "tcp",
              fromPort: applicationPort,
              toPort: applicationPort,
              cidrBlocks: [...visitors],
            },
          ]),
    ]);
    const database = group("database", "The database", [
      {
        description: "The application and the jobs",
        protocol: "tcp",
        fromPort: 5432,
        toPort: 5432,
        securityGroups: [instance.id, jobs.id],
      },
    ]);
    return { jobs, instance, database };
  }

  private createBucket(name: string, args: DemoEnvironmentArgs): PrivateBucket {
    return new PrivateBucket(
      `${name}-releases`,
      { forceDestroy: true, expire: { "deployments/": args.retentionDays } },
      { parent: this },
    );
  }

  private createDatabase(
    name: string,
    args: DemoEnvironmentArgs,
    network: DemoNetwork,
    group: aws.ec2.SecurityGroup,
  ): aws.rds.Instance {
    const subnets = new aws.rds.SubnetGroup(
      `${name}-database`,
      { description: `Private subnets of ${name}`, subnetIds: network.privateSubnetIds },
      { parent: this },
    );
    return new aws.rds.Instance(
      `${name}-database`,
      {
        identifier: name,
        engine: "postgres",
        engineVersion: args.engineVersion ?? "16",
        instanceClass: args.databaseClass ?? "db.t4g.micro",
        allocatedStorage: 20,
        storageType: "gp3",
        storageEncrypted: true,
        dbName: this.databaseName,
        username: "master",
        manageMasterUserPassword: true,
        dbSubnetGroupName: subnets.name,
        vpcSecurityGroupIds: [group.id],
        publiclyAccessible: false,
        autoMinorVersionUpgrade: true,
        backupRetentionPeriod: 1,
        skipFinalSnapshot: true,
        deleteAutomatedBackups: true,
      },
      { parent: this },
    );
  }

  /** Without a value: the seeding puts one that nobody else has seen. */
  private createApplicationSecret(name: string): aws.secretsmanager.Secret {
    return new aws.secretsmanager.Secret(
      `${name}-application`,
      { description: `How the application of ${name} reaches its database`, recoveryWindowInDays: 0 },
      { parent: this },
    );
  }

  private uploadApplication(name: string, args: DemoEnvironmentArgs, files: DemoFiles, bucket: PrivateBucket) {
    const release = readdirSync(files.firstRelease).sort();
    const assets: Record<string, pulumi.Input<pulumi.asset.Asset>> = {
      "server.js": new pulumi.asset.FileAsset(files.server),
      "ca.pem": pulumi
        .all([args.caBundle, currentSite(this)])
        .apply(([pem, { region }]) => new pulumi.asset.StringAsset(pem ?? rdsCertificates(region))),
    };
    for (const file of release) {
      assets[`release/${file}`] = new pulumi.asset.FileAsset(path.join(files.firstRelease, file));
    }
    const objects = Object.entries(assets).map(
      ([file, source]) =>
        new aws.s3.BucketObjectv2(
          `${name}-application-${file.replaceAll("/", "-")}`,
          { bucket: bucket.bucket, key: `application/${file}`, source },
          { parent: this },
        ),
    );
    return { files: Object.keys(assets), objects };
  }

  private createInstanceRole(name: string): aws.iam.Role {
    return new aws.iam.Role(
      `${name}-instance-role`,
      {
        description: `The instance of ${name}`,
        assumeRolePolicy: JSON.stringify(trustPolicy("ec2.amazonaws.com")),
      },
      { parent: this },
    );
  }

  private createInstanceProfile(
    name: string,
    role: aws.iam.Role,
    bucket: PrivateBucket,
    secret: aws.secretsmanager.Secret,
  ): pulumi.Output<string> {
    const parent = { parent: this };
    const managed = new aws.iam.RolePolicyAttachment(
      `${name}-instance-ssm`,
      {
        role: role.name,
        policyArn: currentSite(this).apply(
          ({ partition }) => `arn:${partition}:iam::aws:policy/AmazonSSMManagedInstanceCore`,
        ),
      },
      parent,
    );
    const document = pulumi
      .all([bucket.arn, secret.arn])
      .apply(([bucketArn, secretArn]) => JSON.stringify(policy(...demoInstanceStatements(bucketArn, secretArn))));
    const attached = new aws.iam.RolePolicy(`${name}-instance-policy`, { role: role.name, policy: document }, parent);
    const profile = new aws.iam.InstanceProfile(`${name}-instance`, { role: role.name }, parent);
    return pulumi.all([profile.name, managed.id, attached.id]).apply(([profileName]) => profileName);
  }

  /** Apart from the rest, so that the instance boots while the database, which takes minutes, is being made. */
  private allowSeeding(name: string, role: aws.iam.Role): aws.iam.RolePolicy {
    const document = pulumi
      .all([this.masterSecretArn, this.applicationSecretArn])
      .apply(([master, application]) => JSON.stringify(policy(...demoSeedStatements(master, application))));
    return new aws.iam.RolePolicy(`${name}-seed-policy`, { role: role.name, policy: document }, { parent: this });
  }

  private createInstance(
    name: string,
    args: DemoEnvironmentArgs,
    parts: {
      readonly network: DemoNetwork;
      readonly group: aws.ec2.SecurityGroup;
      readonly bucket: PrivateBucket;
      readonly secret: aws.secretsmanager.Secret;
      readonly profile: pulumi.Output<string>;
      readonly uploads: { readonly files: readonly string[]; readonly objects: readonly aws.s3.BucketObjectv2[] };
    },
  ): aws.ec2.Instance {
    const image = aws.ssm.getParameterOutput(
      { name: "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64" },
      { parent: this },
    );
    const script = pulumi
      .all([currentSite(this), parts.bucket.bucket, parts.secret.arn])
      .apply(([{ region }, bucket, secretArn]) =>
        withinLimit(userData({ region, bucket, secretArn, files: parts.uploads.files })),
      );
    return new aws.ec2.Instance(
      `${name}-instance`,
      {
        ami: image.insecureValue,
        instanceType: args.instanceType ?? "t3.micro",
        subnetId: parts.network.publicSubnetIds.apply(([first]) => first ?? ""),
        associatePublicIpAddress: true,
        vpcSecurityGroupIds: [parts.group.id],
        iamInstanceProfile: parts.profile,
        metadataOptions: { httpEndpoint: "enabled", httpTokens: "required", httpPutResponseHopLimit: 1 },
        rootBlockDevice: { volumeType: "gp3", volumeSize: 8, encrypted: true, deleteOnTermination: true },
        userData: script,
        tags: { Name: name },
      },
      // A newer image is no reason to replace the instance, and its boot needs the files.
      { parent: this, ignoreChanges: ["ami"], dependsOn: [...parts.uploads.objects] },
    );
  }

  /** Fills the database from the instance, which is the only machine that reaches it, by SSM. */
  private seed(
    name: string,
    args: DemoEnvironmentArgs,
    files: DemoFiles,
    bucket: PrivateBucket,
    allowed: aws.iam.RolePolicy,
  ): pulumi.Output<string> {
    const source =
      args.dataFile !== undefined
        ? new pulumi.asset.FileAsset(path.resolve(args.dataFile))
        : new pulumi.asset.StringAsset(files.sql.join("\n"));
    const data = new aws.s3.BucketObjectv2(
      `${name}-seed`,
      { bucket: bucket.bucket, key: "seed/data", source },
      { parent: this },
    );
    const seeding = new command.local.Command(
      `${name}-seed`,
      {
        create: 'exec node "$SEED_PROGRAM"',
        environment: {
          SEED_PROGRAM: files.seed,
          SEED_SCRIPT: files.seedScript,
          AWS_REGION: currentSite(this).region,
          INSTANCE_ID: this.instanceId,
          SEED_LOCATION: pulumi.interpolate`s3://${data.bucket}/${data.key}`,
          MASTER_SECRET_ARN: this.masterSecretArn,
          APPLICATION_SECRET_ARN: this.applicationSecretArn,
          PGHOST: this.databaseHost,
          PGPORT: pulumi.interpolate`${this.databasePort}`,
          PGDATABASE: this.databaseName,
        },
        // A new database is empty; nothing else is a reason to fill it.
        triggers: [this.databaseArn],
      },
      { parent: this, dependsOn: [allowed] },
    );
    return seeding.id;
  }
}

function masterSecret(secrets: readonly { readonly secretArn: string }[]): string {
  const [secret] = secrets;
  // Unknown in a preview.
  return secret?.secretArn ?? "";
}

function withinLimit(script: string): string {
  if (Buffer.byteLength(script) <= longestUserData) return script;
  throw new InvalidArgumentsError(
    `The instance's user data has ${Buffer.byteLength(script)} bytes, and EC2 takes ${longestUserData}.`,
  );
}

const addressRange = /^(\d{1,3}\.){3}\d{1,3}\/(\d|[12]\d|3[0-2])$/;

function demoProblems(name: string, args: DemoEnvironmentArgs, databaseName: string): string[] {
  const visitors = (args.visitors ?? [])
    .filter((range) => !addressRange.test(range))
    .map((range) => `The visitor "${range}" is not an IPv4 address range such as 203.0.113.7/32.`);
  const rules: [boolean, string][] = [
    [
      /^[A-Za-z][A-Za-z0-9_]{0,62}$/.test(databaseName) && !["postgres", "rdsadmin"].includes(databaseName),
      `"${databaseName}" is not a name for the demo's database: use letters, digits and underscores, and neither ` +
        "postgres nor rdsadmin.",
    ],
    [
      /^\d+(\.\d+)?$/.test(args.engineVersion ?? "16"),
      `engineVersion is "${args.engineVersion}": give a version of PostgreSQL such as "16" or "16.4".`,
    ],
  ];
  return [...nameProblems(name), ...visitors, ...rules.filter(([holds]) => !holds).map(([, sentence]) => sentence)];
}
