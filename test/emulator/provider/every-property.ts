/**
 * One case for each resource type: what it is made with, and a new value for each property that the emulator honours,
 * with what the provider's documentation says of a change.
 */
import type { DirectProvider, Kept, Values } from "./direct-provider";
import { IMAGE_ID } from "../../../emulator/services/ec2/operations/catalog";

/**
 * - `update`: in place; afterwards the API shows the new value.
 * - `one way`: the same, and the service does not take it back.
 * - `unseen`: in place, and known to the provider alone.
 * - `replace`: by a new resource, which has the new value.
 * - `must replace`: the same, only looked up: making the new resource would cost seconds, or the value has no other.
 * - `fixed`: the service changes it in place, and the emulator refuses that by name at preview.
 * - `refused`: the emulator has one value only, and its operation refuses another by name.
 */
export type Behaviour = "update" | "one way" | "unseen" | "replace" | "must replace" | "fixed" | "refused";

export interface Change {
  readonly to: unknown;
  readonly is: Behaviour;
  /** Inputs instead of the case's own, where the property excludes another. */
  readonly from?: Values;
  /** What has to change along with it. */
  readonly along?: Values;
}

export interface Case {
  readonly type: string;
  readonly inputs: Values;
  readonly changes: Readonly<Record<string, Change>>;
  /** Outputs that identify the resource, beside its id, when its real state is read. */
  readonly identity?: readonly string[];
}

const account = "123456789012";
const update = (to: unknown, from?: Values): Change => ({ to, is: "update", ...(from && { from }) });
const unseen = (to: unknown, from?: Values, along?: Values): Change => ({
  ...{ to, is: "unseen" as const },
  ...(from && { from }),
  ...(along && { along }),
});
const replace = (to: unknown, from?: Values): Change => ({ to, is: "replace", ...(from && { from }) });
const mustReplace = (to: unknown): Change => ({ to, is: "must replace" });
const fixed = (to: unknown): Change => ({ to, is: "fixed" });
const refused = (to: unknown): Change => ({ to, is: "refused" });
const oneWay = (to: unknown): Change => ({ to, is: "one way" });
const tags = update({ team: "b", more: "c" });
const tagged = { tags: { team: "a" } };

function trust(service: string): string {
  const Statement = [{ Effect: "Allow", Principal: { Service: `${service}.amazonaws.com` }, Action: "sts:AssumeRole" }];
  return JSON.stringify({ Version: "2012-10-17", Statement });
}

function allow(Action: string, Resource = "*", more: Values = {}): string {
  return JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Action, Resource, ...more }] });
}

/** What cases refer to. */
export type Fixtures = Readonly<
  Record<
    | ("role" | "otherRole" | "bucket" | "otherBucket" | "secret" | "otherSecret" | "rule" | "otherRule")
    | (
        | "vpc"
        | "otherVpc"
        | "thirdVpc"
        | "subnet"
        | "otherSubnet"
        | "gateway"
        | "table"
        | "otherTable"
        | "address"
        | "otherAddress"
      )
    | ("group" | "otherGroup" | "profile" | "otherProfile" | "nat"),
    Kept
  >
>;

export async function makeFixtures(provider: DirectProvider): Promise<Fixtures> {
  const make = (type: string, inputs: Values): Promise<Kept> => provider.create(type, inputs);
  const all = {
    Version: "2012-10-17",
    Statement: ["ec2", "codebuild", "codepipeline", "scheduler", "events"].map((service) => ({
      Effect: "Allow",
      Principal: { Service: `${service}.amazonaws.com` },
      Action: "sts:AssumeRole",
    })),
  };
  const role = (name: string) => make("aws:iam/role:Role", { name, assumeRolePolicy: JSON.stringify(all) });
  const bucket = (name: string) => make("aws:s3/bucket:Bucket", { bucket: name, forceDestroy: true });
  const secret = (name: string) => make("aws:secretsmanager/secret:Secret", { name, recoveryWindowInDays: 0 });
  const rule = (name: string) =>
    make("aws:cloudwatch/eventRule:EventRule", { name, eventPattern: '{"source":["aws.codebuild"]}' });
  const [vpc, otherVpc, thirdVpc] = [
    await make("aws:ec2/vpc:Vpc", { cidrBlock: "10.0.0.0/16" }),
    await make("aws:ec2/vpc:Vpc", { cidrBlock: "10.1.0.0/16" }),
    await make("aws:ec2/vpc:Vpc", { cidrBlock: "10.2.0.0/16" }),
  ];
  const subnet = (cidrBlock: string, availabilityZone: string) =>
    make("aws:ec2/subnet:Subnet", { vpcId: vpc.id, cidrBlock, availabilityZone });
  const group = (name: string) => make("aws:ec2/securityGroup:SecurityGroup", { name, vpcId: vpc.id });
  const address = () => make("aws:ec2/eip:Eip", { domain: "vpc" });
  const table = () => make("aws:ec2/routeTable:RouteTable", { vpcId: vpc.id });
  const profile = (name: string) => make("aws:iam/instanceProfile:InstanceProfile", { name, role: "one" });
  const [one, two] = [await role("one"), await role("two")];
  const gateway = await make("aws:ec2/internetGateway:InternetGateway", { vpcId: vpc.id });
  const [first, second] = [await subnet("10.0.0.0/24", "us-east-1a"), await subnet("10.0.1.0/24", "us-east-1b")];
  const spare = await address();
  return {
    role: one,
    otherRole: two,
    bucket: await bucket("fixture-one"),
    otherBucket: await bucket("fixture-two"),
    secret: await secret("one"),
    otherSecret: await secret("two"),
    rule: await rule("one"),
    otherRule: await rule("two"),
    vpc,
    otherVpc,
    thirdVpc,
    subnet: first,
    otherSubnet: second,
    gateway,
    table: await table(),
    otherTable: await table(),
    address: await address(),
    otherAddress: await address(),
    group: await group("one"),
    otherGroup: await group("two"),
    profile: await profile("one"),
    otherProfile: await profile("two"),
    nat: await make("aws:ec2/natGateway:NatGateway", { allocationId: spare.id, subnetId: first.id }),
  };
}

export function casesWith(f: Fixtures): readonly Case[] {
  return [
    ...identityCases(f),
    ...storageCases(f),
    ...valueCases(f),
    ...networkCases(f),
    ...machineCases(f),
    ...deliveryCases(f),
  ];
}

function arnOf(kept: Kept): string {
  return String(kept.outputs.arn);
}

function identityCases(f: Fixtures): readonly Case[] {
  return [
    {
      type: "aws:iam/role:Role",
      inputs: { name: "r", assumeRolePolicy: trust("ec2"), description: "a", maxSessionDuration: 3600, ...tagged },
      changes: {
        name: replace("r2"),
        path: replace("/teams/"),
        assumeRolePolicy: update(trust("ssm")),
        description: update("b"),
        maxSessionDuration: update(7200),
        forceDetachPolicies: unseen(true),
        permissionsBoundary: update("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"),
        tags,
      },
    },
    {
      type: "aws:iam/rolePolicy:RolePolicy",
      inputs: { name: "p", role: f.role.id, policy: allow("s3:GetObject") },
      changes: { name: replace("p2"), role: replace(f.otherRole.id), policy: update(allow("s3:PutObject")) },
    },
    {
      type: "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
      inputs: { role: f.role.id, policyArn: "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore" },
      changes: { role: replace(f.otherRole.id), policyArn: mustReplace("arn:aws:iam::aws:policy/ReadOnlyAccess") },
    },
    {
      type: "aws:iam/instanceProfile:InstanceProfile",
      inputs: { name: "p", role: f.role.id, ...tagged },
      changes: { name: replace("p2"), path: replace("/teams/"), role: update(f.otherRole.id), tags },
    },
  ];
}

function storageCases(f: Fixtures): readonly Case[] {
  const bucket = f.bucket.id;
  const moved = replace(f.otherBucket.id);
  const blocked = {
    blockPublicAcls: true,
    blockPublicPolicy: true,
    ignorePublicAcls: true,
    restrictPublicBuckets: true,
  };
  const lifecycle = (days: number) => [
    { id: "old", status: "Enabled", filter: { prefix: "x/" }, expiration: { days } },
  ];
  const encrypted = (sseAlgorithm: string) => [{ applyServerSideEncryptionByDefault: { sseAlgorithm } }];
  const denied = (name: string, Action: string) =>
    allow(Action, `arn:aws:s3:::${name}/*`, {
      Effect: "Deny",
      Principal: "*",
      Condition: { Bool: { "aws:SecureTransport": "false" } },
    });
  const asset = (text: string, hash: string) => ({
    "4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17",
    text,
    hash,
  });
  return [
    {
      type: "aws:s3/bucket:Bucket",
      inputs: { bucket: "a-bucket", ...tagged },
      changes: { bucket: replace("another-bucket"), forceDestroy: unseen(true), tags },
    },
    {
      type: "aws:s3/bucketVersioning:BucketVersioning",
      inputs: { bucket, versioningConfiguration: { status: "Enabled" } },
      changes: { bucket: moved, versioningConfiguration: update({ status: "Suspended" }) },
    },
    {
      type: "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
      inputs: { bucket, rules: encrypted("AES256") },
      changes: { bucket: moved, rules: update(encrypted("aws:kms")) },
    },
    {
      type: "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
      inputs: { bucket, rules: lifecycle(7) },
      changes: { bucket: moved, rules: update(lifecycle(14)) },
    },
    {
      type: "aws:s3/bucketPolicy:BucketPolicy",
      inputs: { bucket, policy: denied(bucket, "s3:GetObject") },
      changes: { bucket: mustReplace(f.otherBucket.id), policy: update(denied(bucket, "s3:PutObject")) },
    },
    {
      type: "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
      inputs: { bucket, rule: { objectOwnership: "BucketOwnerEnforced" } },
      changes: { bucket: moved, rule: update({ objectOwnership: "BucketOwnerPreferred" }) },
    },
    {
      type: "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
      inputs: { bucket, ...blocked },
      changes: {
        bucket: moved,
        ...Object.fromEntries(Object.keys(blocked).map((name) => [name, update(false)])),
      },
    },
    {
      type: "aws:s3/bucketObjectv2:BucketObjectv2",
      inputs: { bucket, key: "k", content: "one", ...tagged },
      changes: {
        bucket: moved,
        key: replace("k2"),
        // The body itself is looked at by a test of its own.
        source: unseen(asset("three", "3"), { bucket, key: "k", source: asset("two", "2") }),
        content: unseen("two"),
        contentBase64: unseen("dHdv", { bucket, key: "k", contentBase64: "b25l" }),
        sourceHash: unseen("2"),
        contentType: update("text/plain"),
        contentEncoding: update("identity"),
        contentDisposition: update("inline"),
        contentLanguage: update("en"),
        cacheControl: update("no-cache"),
        metadata: update({ a: "1" }),
        serverSideEncryption: update("aws:kms"),
        kmsKeyId: update("alias/k", { bucket, key: "k", content: "one", serverSideEncryption: "aws:kms" }),
        bucketKeyEnabled: update(true),
        forceDestroy: unseen(true),
        tags,
      },
    },
  ];
}

function valueCases(f: Fixtures): readonly Case[] {
  const value = { secretId: f.secret.id, secretString: "one" };
  const parameter = { name: "/p", type: "String", value: "one", description: "a", allowedPattern: ".+", ...tagged };
  const alarm = {
    name: "alarm",
    alarmDescription: "a",
    actionsEnabled: true,
    namespace: "Shop",
    metricName: "Errors",
    dimensions: { service: "a" },
    statistic: "Sum",
    period: 60,
    unit: "Count",
    evaluationPeriods: 3,
    datapointsToAlarm: 2,
    threshold: 5,
    comparisonOperator: "GreaterThanThreshold",
    treatMissingData: "missing",
    ...tagged,
  };
  const project = (name: string) => `arn:aws:codebuild:us-east-1:${account}:project/${name}`;
  const target = { arn: project("a"), roleArn: arnOf(f.role) };
  const schedule = { name: "s", scheduleExpression: "rate(1 hours)", flexibleTimeWindow: { mode: "OFF" }, target };
  return [
    {
      type: "aws:secretsmanager/secret:Secret",
      inputs: { name: "s", recoveryWindowInDays: 0, description: "a", ...tagged },
      changes: {
        name: replace("s2"),
        description: update("b"),
        // Without one it keeps the one that it has.
        kmsKeyId: update("alias/k", { name: "s3", recoveryWindowInDays: 0, kmsKeyId: "alias/j" }),
        recoveryWindowInDays: unseen(7),
        tags,
      },
    },
    {
      type: "aws:secretsmanager/secretVersion:SecretVersion",
      inputs: value,
      changes: {
        secretId: replace(f.otherSecret.id),
        secretString: replace("two"),
        secretBinary: replace("dHdv", { secretId: f.secret.id, secretBinary: "b25l" }),
        // Without another version number a new write-only value is not even looked at.
        secretStringWo: unseen("two", { secretId: f.secret.id, secretStringWo: "one", secretStringWoVersion: 1 }),
        secretStringWoVersion: mustReplace(2),
        versionStages: update(["AWSCURRENT", "extra"]),
      },
    },
    {
      type: "aws:ssm/parameter:Parameter",
      inputs: parameter,
      changes: {
        name: replace("/p2"),
        type: update("StringList"),
        value: update("two"),
        insecureValue: unseen("two", { name: "/q", type: "String", insecureValue: "one" }),
        description: update("b"),
        allowedPattern: update("^[a-z]+$"),
        keyId: update("alias/k", { ...parameter, name: "/q", type: "SecureString", keyId: "alias/j" }),
        tier: oneWay("Advanced"),
        dataType: unseen("text"),
        overwrite: unseen(true),
        tags,
      },
    },
    {
      type: "aws:cloudwatch/logGroup:LogGroup",
      inputs: { name: "/g", retentionInDays: 7, ...tagged },
      changes: { name: replace("/g2"), retentionInDays: update(14), skipDestroy: unseen(true), tags },
    },
    {
      type: "aws:cloudwatch/metricAlarm:MetricAlarm",
      inputs: alarm,
      changes: {
        name: replace("alarm2"),
        alarmDescription: update("b"),
        actionsEnabled: update(false),
        namespace: update("Store"),
        metricName: update("Faults"),
        dimensions: update({ service: "b" }),
        statistic: update("Average"),
        period: update(120),
        unit: update("Percent"),
        evaluationPeriods: update(4),
        datapointsToAlarm: update(3),
        threshold: update(6),
        comparisonOperator: update("LessThanThreshold"),
        treatMissingData: update("breaching"),
        tags,
      },
    },
    {
      type: "aws:cloudwatch/eventRule:EventRule",
      inputs: { name: "r", eventPattern: '{"source":["aws.codebuild"]}', description: "a", ...tagged },
      changes: {
        name: replace("r2"),
        eventPattern: update('{"source":["aws.codepipeline"]}'),
        description: update("b"),
        state: update("DISABLED"),
        forceDestroy: unseen(true),
        tags,
      },
    },
    {
      type: "aws:cloudwatch/eventTarget:EventTarget",
      identity: ["rule", "targetId"],
      inputs: { rule: f.rule.id, targetId: "t", arn: project("a"), roleArn: arnOf(f.role) },
      changes: {
        rule: replace(f.otherRule.id),
        targetId: replace("t2"),
        arn: update(project("b")),
        roleArn: update(arnOf(f.otherRole)),
        input: update('{"sourceVersion":"x"}'),
        inputPath: update("$.detail"),
        inputTransformer: update({ inputPaths: { x: "$.detail.x" }, inputTemplate: '{"sourceVersion":<x>}' }),
        retryPolicy: update({ maximumEventAgeInSeconds: 600, maximumRetryAttempts: 3 }),
      },
    },
    {
      type: "aws:scheduler/schedule:Schedule",
      inputs: schedule,
      changes: {
        name: replace("s2"),
        groupName: mustReplace("another"),
        scheduleExpression: update("rate(2 hours)"),
        scheduleExpressionTimezone: refused("Europe/Berlin"),
        startDate: update("2030-01-01T00:00:00.000Z"),
        endDate: update("2031-01-01T00:00:00.000Z"),
        description: update("b"),
        state: update("DISABLED"),
        flexibleTimeWindow: update({ mode: "FLEXIBLE", maximumWindowInMinutes: 5 }),
        target: update({ ...target, arn: project("b") }),
        actionAfterCompletion: update("DELETE"),
      },
    },
  ];
}

function networkCases(f: Fixtures): readonly Case[] {
  const vpcId = f.vpc.id;
  const route = (cidrBlock: string) => ({ cidrBlock, gatewayId: f.gateway.id });
  const rule = (port: number) => [{ protocol: "tcp", fromPort: port, toPort: port, cidrBlocks: ["10.0.0.0/8"] }];
  const ruleOf = (type: string): Case => ({
    type,
    inputs: {
      securityGroupId: f.group.id,
      ipProtocol: "tcp",
      fromPort: 22,
      toPort: 22,
      cidrIpv4: "10.0.0.0/8",
      ...tagged,
    },
    changes: {
      securityGroupId: replace(f.otherGroup.id),
      description: fixed("b"),
      ipProtocol: fixed("udp"),
      fromPort: fixed(21),
      toPort: fixed(23),
      cidrIpv4: fixed("10.0.0.0/16"),
      cidrIpv6: fixed("::/0"),
      prefixListId: fixed("pl-1"),
      referencedSecurityGroupId: fixed(f.otherGroup.id),
      tags,
    },
  });
  return [
    {
      type: "aws:ec2/vpc:Vpc",
      inputs: { cidrBlock: "10.9.0.0/16", enableDnsHostnames: true, ...tagged },
      changes: {
        cidrBlock: replace("10.8.0.0/16"),
        instanceTenancy: fixed("dedicated"),
        enableDnsSupport: update(false),
        enableDnsHostnames: update(false),
        tags,
      },
    },
    {
      type: "aws:ec2/subnet:Subnet",
      inputs: { vpcId, cidrBlock: "10.0.9.0/24", availabilityZone: "us-east-1a", mapPublicIpOnLaunch: true, ...tagged },
      changes: {
        vpcId: mustReplace(f.otherVpc.id),
        cidrBlock: replace("10.0.8.0/24"),
        availabilityZone: replace("us-east-1b"),
        mapPublicIpOnLaunch: update(false),
        tags,
      },
    },
    {
      type: "aws:ec2/internetGateway:InternetGateway",
      inputs: { vpcId: f.otherVpc.id, ...tagged },
      changes: { vpcId: update(f.thirdVpc.id), tags },
    },
    {
      type: "aws:ec2/eip:Eip",
      inputs: { domain: "vpc", ...tagged },
      changes: { domain: mustReplace("standard"), tags },
    },
    {
      type: "aws:ec2/natGateway:NatGateway",
      inputs: { allocationId: f.address.id, subnetId: f.subnet.id, ...tagged },
      changes: {
        allocationId: replace(f.otherAddress.id),
        subnetId: replace(f.otherSubnet.id),
        connectivityType: mustReplace("private"),
        tags,
      },
    },
    {
      type: "aws:ec2/routeTable:RouteTable",
      inputs: { vpcId, routes: [route("11.0.0.0/8")], ...tagged },
      changes: {
        vpcId: mustReplace(f.otherVpc.id),
        routes: update([route("0.0.0.0/0")]),
        tags,
      },
    },
    {
      type: "aws:ec2/route:Route",
      identity: ["routeTableId", "destinationCidrBlock"],
      inputs: { routeTableId: f.table.id, destinationCidrBlock: "0.0.0.0/0", gatewayId: f.gateway.id },
      changes: {
        routeTableId: replace(f.otherTable.id),
        destinationCidrBlock: replace("11.0.0.0/8"),
        gatewayId: fixed("igw-2"),
        natGatewayId: fixed(f.nat.id),
      },
    },
    {
      type: "aws:ec2/routeTableAssociation:RouteTableAssociation",
      inputs: { routeTableId: f.table.id, subnetId: f.subnet.id },
      changes: { routeTableId: fixed(f.otherTable.id), subnetId: replace(f.otherSubnet.id) },
    },
    {
      type: "aws:ec2/vpcEndpoint:VpcEndpoint",
      inputs: { vpcId, serviceName: "com.amazonaws.us-east-1.s3", ...tagged },
      changes: {
        vpcId: replace(f.otherVpc.id),
        serviceName: mustReplace("com.amazonaws.us-east-1.dynamodb"),
        vpcEndpointType: mustReplace("Interface"),
        routeTableIds: update([f.table.id]),
        policy: update(allow("s3:GetObject", "*", { Principal: "*" }), {
          vpcId,
          serviceName: "com.amazonaws.us-east-1.s3",
          policy: allow("s3:*", "*", { Principal: "*" }),
        }),
        tags,
      },
    },
    {
      type: "aws:ec2/securityGroup:SecurityGroup",
      inputs: { name: "g", description: "a", vpcId, ingress: rule(80), egress: rule(81), ...tagged },
      changes: {
        name: replace("g2"),
        description: replace("b"),
        vpcId: replace(f.otherVpc.id),
        ingress: update(rule(90)),
        egress: update(rule(91)),
        revokeRulesOnDelete: unseen(true),
        tags,
      },
    },
    ruleOf("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"),
    ruleOf("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"),
  ];
}

function machineCases(f: Fixtures): readonly Case[] {
  return [
    {
      type: "aws:ec2/instance:Instance",
      inputs: {
        ami: IMAGE_ID,
        instanceType: "t3.micro",
        subnetId: f.subnet.id,
        vpcSecurityGroupIds: [f.group.id],
        iamInstanceProfile: f.profile.id,
        ...tagged,
      },
      changes: {
        ami: mustReplace("ami-2"),
        instanceType: fixed("t3.small"),
        subnetId: replace(f.otherSubnet.id),
        associatePublicIpAddress: replace(true),
        vpcSecurityGroupIds: update([f.otherGroup.id]),
        iamInstanceProfile: fixed(f.otherProfile.id),
        metadataOptions: fixed({ httpTokens: "required" }),
        rootBlockDevice: fixed({ volumeSize: 20 }),
        userData: fixed("#!/bin/sh"),
        userDataBase64: fixed("IyEvYmluL3No"),
        userDataReplaceOnChange: unseen(true),
        disableApiTermination: update(true),
        tags,
        volumeTags: fixed({ a: "b" }),
      },
    },
    {
      type: "aws:rds/instance:Instance",
      identity: ["identifier"],
      inputs: {
        identifier: "db",
        engine: "postgres",
        instanceClass: "db.t4g.micro",
        allocatedStorage: 20,
        dbName: "shop",
        username: "master",
        manageMasterUserPassword: true,
        dbSubnetGroupName: "fixture",
        skipFinalSnapshot: true,
        applyImmediately: true,
        maxAllocatedStorage: 50,
        storageType: "gp2",
        vpcSecurityGroupIds: [f.group.id],
        publiclyAccessible: false,
        multiAz: false,
        backupRetentionPeriod: 1,
        autoMinorVersionUpgrade: true,
        copyTagsToSnapshot: false,
        deletionProtection: false,
        ...tagged,
      },
      changes: {
        identifier: fixed("db2"),
        engine: mustReplace("mysql"),
        engineVersion: fixed("14"),
        instanceClass: update("db.t4g.small"),
        allocatedStorage: oneWay(30),
        maxAllocatedStorage: update(100),
        storageType: update("gp3"),
        storageEncrypted: mustReplace(true),
        dbName: mustReplace("store"),
        username: mustReplace("owner"),
        // Whether it can be logged in with is shown by the tests of the database server.
        password: unseen("a-password", undefined, { manageMasterUserPassword: false }),
        manageMasterUserPassword: unseen(false, undefined, { password: "a-password" }),
        masterUserSecretKmsKeyId: unseen("alias/k"),
        dbSubnetGroupName: fixed("another"),
        vpcSecurityGroupIds: update([f.otherGroup.id]),
        port: fixed(5433),
        publiclyAccessible: update(true),
        multiAz: update(true),
        backupRetentionPeriod: update(3),
        autoMinorVersionUpgrade: update(false),
        copyTagsToSnapshot: update(true),
        deletionProtection: update(true),
        applyImmediately: unseen(false),
        skipFinalSnapshot: unseen(false),
        deleteAutomatedBackups: unseen(false),
        tags,
      },
    },
    {
      type: "aws:rds/subnetGroup:SubnetGroup",
      inputs: { name: "g", description: "a", subnetIds: [f.subnet.id, f.otherSubnet.id], ...tagged },
      changes: {
        name: replace("g2"),
        description: update("b"),
        subnetIds: update([f.otherSubnet.id, f.subnet.id]),
        tags,
      },
    },
  ];
}

function deliveryCases(f: Fixtures): readonly Case[] {
  const buildspec = (command: string) => `version: 0.2\nphases:\n  build:\n    commands: [${command}]\n`;
  const environment = (computeType: string) => ({
    type: "LINUX_CONTAINER",
    image: "aws/codebuild/standard:7.0",
    computeType,
  });
  const source = {
    category: "Source",
    owner: "AWS",
    provider: "S3",
    version: "1",
    name: "App",
    outputArtifacts: ["App"],
  };
  const approval = { category: "Approval", owner: "AWS", provider: "Manual", version: "1", name: "Approve" };
  const stages = (name: string) => [
    {
      name: "Source",
      actions: [
        { ...source, configuration: { S3Bucket: f.bucket.id, S3ObjectKey: "a.zip", PollForSourceChanges: "false" } },
      ],
    },
    { name, actions: [approval] },
  ];
  const pipeline = {
    name: "p",
    pipelineType: "V2",
    executionMode: "QUEUED",
    roleArn: arnOf(f.role),
    artifactStores: [{ type: "S3", location: f.bucket.id }],
    stages: stages("Approve"),
    ...tagged,
  };
  return [
    {
      type: "aws:codebuild/project:Project",
      inputs: {
        name: "project",
        description: "a",
        serviceRole: arnOf(f.role),
        source: { type: "NO_SOURCE", buildspec: buildspec("one") },
        artifacts: { type: "NO_ARTIFACTS" },
        environment: environment("BUILD_GENERAL1_SMALL"),
        ...tagged,
      },
      changes: {
        name: replace("project2"),
        description: update("b"),
        artifacts: update({ type: "S3", location: f.bucket.id, packaging: "ZIP" }),
        badgeEnabled: refused(true),
        cache: refused({ type: "LOCAL", modes: ["LOCAL_SOURCE_CACHE"] }),
        buildTimeout: update(30),
        concurrentBuildLimit: update(1),
        environment: update(environment("BUILD_GENERAL1_MEDIUM")),
        logsConfig: update({ cloudwatchLogs: { groupName: "/g" } }),
        queuedTimeout: update(60),
        serviceRole: update(arnOf(f.otherRole)),
        source: update({ type: "NO_SOURCE", buildspec: buildspec("two") }),
        sourceVersion: update("v2", {
          name: "versioned",
          sourceVersion: "v1",
          serviceRole: arnOf(f.role),
          source: { type: "S3", location: `${f.bucket.id}/a.zip`, buildspec: buildspec("one") },
          artifacts: { type: "NO_ARTIFACTS" },
          environment: environment("BUILD_GENERAL1_SMALL"),
        }),
        tags,
        vpcConfig: update({ vpcId: f.vpc.id, subnets: [f.subnet.id], securityGroupIds: [f.group.id] }),
      },
    },
    {
      type: "aws:codepipeline/pipeline:Pipeline",
      inputs: pipeline,
      changes: {
        name: replace("p2"),
        artifactStores: update([{ type: "S3", location: f.otherBucket.id }]),
        executionMode: refused("PARALLEL"),
        pipelineType: refused("V1"),
        roleArn: update(arnOf(f.otherRole)),
        stages: update(stages("Confirm")),
        tags,
        variables: update([{ name: "Version", defaultValue: "1" }]),
      },
    },
  ];
}
