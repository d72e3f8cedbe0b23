import assert from "node:assert/strict";
import { startEmulator, type Emulator } from "../../emulator/emulator";
import { IMAGE_ID } from "../../emulator/services/ec2/operations/catalog";
import { Sdk } from "./sdk";
import { Boto3, expected, type Refusal, unlessPresent } from "./support";

type Output = Readonly<Record<string, unknown>>;

const trust = (service: string): string =>
  JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { Service: service }, Action: "sts:AssumeRole" }],
  });

describe("boto3 and the official SDK for JavaScript agree on", () => {
  let emulator: Emulator;
  let boto3: Boto3;
  let sdk: Sdk;

  before(async function () {
    unlessPresent(this, "boto3");
    emulator = await startEmulator();
    boto3 = new Boto3(emulator);
    sdk = new Sdk(emulator);
  });
  after(async () => {
    boto3?.close();
    sdk?.close();
    await emulator?.close();
  });

  /** Asks both, and gives the answer that both have understood in the same way. */
  async function agree<T = Output>(service: string, operation: string, input: object = {}): Promise<T> {
    const [one, other] = [await boto3.call(service, operation, input), await sdk.try(service, operation, input)];
    assert.deepEqual(withoutEmpty(one), withoutEmpty(expected(other, operation)), `${service} ${operation}`);
    return one as T;
  }

  /** Asks both for what is refused: the code and the HTTP status are the same, and these. */
  async function refused(service: string, operation: string, input: object, code: string, status = 400): Promise<void> {
    const refusal: Refusal = { code, status };
    assert.deepEqual(await boto3.try(service, operation, input), { refusal }, `boto3 ${operation}`);
    assert.deepEqual(await sdk.try(service, operation, input), { refusal }, `SDK ${operation}`);
  }

  it("S3 (rest-xml): objects, versions, pages, waiters, transfers in parts, and errors", async () => {
    const Bucket = "conformance";
    await boto3.call("s3", "CreateBucket", { Bucket });
    await boto3.wait("s3", "bucket_exists", { Bucket });
    const VersioningConfiguration = { Status: "Enabled" };
    await boto3.call("s3", "PutBucketVersioning", { Bucket, VersioningConfiguration });
    for (const Key of ["a b/ü+&<1>.txt", "a b/2", "c", "d"]) {
      await boto3.call("s3", "PutObject", { Bucket, Key, Body: `bytes of ${Key}`, Metadata: { key: "1" } });
    }
    await boto3.wait("s3", "object_exists", { Bucket, Key: "c" });
    const got = await agree("s3", "GetObject", { Bucket, Key: "a b/ü+&<1>.txt" });
    assert.equal(Buffer.from(String(got.Body), "base64").toString(), "bytes of a b/ü+&<1>.txt");
    await agree("s3", "HeadObject", { Bucket, Key: "c" });
    await agree("s3", "GetObject", { Bucket, Key: "c", Range: "bytes=1-3" });
    await boto3.call("s3", "DeleteObject", { Bucket, Key: "d" });
    await agree("s3", "ListObjectVersions", { Bucket });
    await agree("s3", "ListObjectsV2", { Bucket, Delimiter: "/" });
    for (const operation of ["GetBucketVersioning", "GetBucketEncryption", "GetPublicAccessBlock"]) {
      await agree("s3", operation, { Bucket });
    }
    const pages = await boto3.pages<{ Contents: { Key: string }[] }>("s3", "ListObjectsV2", { Bucket }, 2);
    assert.deepEqual(
      pages.map(({ Contents }) => Contents.map(({ Key }) => Key)),
      [["a b/2", "a b/ü+&<1>.txt"], ["c"]],
    );
    const part = 5 * 1024 * 1024;
    await boto3.upload(Bucket, "big", 2 * part + 1000, part);
    const head = await agree("s3", "HeadObject", { Bucket, Key: "big" });
    assert.match(String(head.ETag), /-3"$/);
    const downloaded = await boto3.download(Bucket, "big", part);
    assert.equal(downloaded.size, 2 * part + 1000);
    await refused("s3", "GetObject", { Bucket, Key: "no" }, "NoSuchKey", 404);
    // The reply to a HEAD has no body, and so no code: each client makes up its own.
    assert.deepEqual(await boto3.try("s3", "HeadObject", { Bucket, Key: "no" }), {
      refusal: { code: "404", status: 404 },
    });
    const bare = { refusal: { code: "NotFound", status: 404 } };
    assert.deepEqual(await sdk.try("s3", "HeadObject", { Bucket, Key: "no" }), bare);
    await refused("s3", "ListObjectsV2", { Bucket: "not-here" }, "NoSuchBucket", 404);
    await refused("s3", "PutObject", { Bucket, Key: "c", Body: "x", IfNoneMatch: "*" }, "PreconditionFailed", 412);
    await refused("s3", "GetObject", { Bucket, Key: "c", Range: "bytes=100-" }, "InvalidRange", 416);
    await refused("s3", "DeleteBucket", { Bucket }, "BucketNotEmpty", 409);
    await refused("s3", "GetBucketPolicy", { Bucket }, "NoSuchBucketPolicy", 404);
  });

  it("IAM and STS (query): roles, policies, instance profiles, a waiter, and errors", async () => {
    const RoleName = "conformance";
    const role = { RoleName, AssumeRolePolicyDocument: trust("ec2.amazonaws.com"), Tags: [{ Key: "a", Value: "<&>" }] };
    await boto3.call("iam", "CreateRole", role);
    await boto3.wait("iam", "role_exists", { RoleName });
    const Statement = [{ Effect: "Allow", Action: "s3:GetObject", Resource: "*" }];
    const PolicyDocument = JSON.stringify({ Version: "2012-10-17", Statement });
    await boto3.call("iam", "PutRolePolicy", { RoleName, PolicyName: "inline", PolicyDocument });
    const PolicyArn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
    await boto3.call("iam", "AttachRolePolicy", { RoleName, PolicyArn });
    await boto3.call("iam", "CreateInstanceProfile", { InstanceProfileName: RoleName });
    await boto3.call("iam", "AddRoleToInstanceProfile", { InstanceProfileName: RoleName, RoleName });
    await boto3.wait("iam", "instance_profile_exists", { InstanceProfileName: RoleName });
    for (const operation of ["ListRolePolicies", "ListAttachedRolePolicies"]) {
      await agree("iam", operation, { RoleName });
    }
    // boto3 decodes policy documents, the SDK gives them as they come: URL-encoded.
    const one = await boto3.call<{ PolicyDocument: object }>("iam", "GetRolePolicy", {
      RoleName,
      PolicyName: "inline",
    });
    const other = expected(await sdk.try("iam", "GetRolePolicy", { RoleName, PolicyName: "inline" }), "GetRolePolicy");
    const raw = (other as { PolicyDocument: string }).PolicyDocument;
    assert.deepEqual(one.PolicyDocument, JSON.parse(decodeURIComponent(raw)));
    assert.equal((await agree("sts", "GetCallerIdentity")).Account, "123456789012");
    await refused("iam", "GetRole", { RoleName: "no" }, "NoSuchEntity", 404);
    await refused("iam", "CreateRole", role, "EntityAlreadyExists", 409);
    await refused("iam", "DeleteRole", { RoleName }, "DeleteConflict", 409);
    const malformed = { RoleName: "other", AssumeRolePolicyDocument: "{" };
    await refused("iam", "CreateRole", malformed, "MalformedPolicyDocument");
  });

  it("EC2 (ec2query): networks, an instance, volumes, filters, pages, waiters, DryRun, and errors", async function () {
    this.timeout(180_000);
    const { Vpc } = await boto3.call<{ Vpc: { VpcId: string } }>("ec2", "CreateVpc", { CidrBlock: "10.0.0.0/16" });
    const { VpcId } = Vpc;
    await boto3.wait("ec2", "vpc_available", { VpcIds: [VpcId] });
    for (const index of [1, 2, 3]) await boto3.call("ec2", "CreateSubnet", { VpcId, CidrBlock: `10.0.${index}.0/24` });
    const Filters = [{ Name: "vpc-id", Values: [VpcId] }];
    const { Subnets } = await agree<{ Subnets: { SubnetId: string }[] }>("ec2", "DescribeSubnets", { Filters });
    assert.equal(Subnets.length, 3);
    await agree("ec2", "DescribeVpcs", { VpcIds: [VpcId] });
    await agree("ec2", "DescribeSecurityGroups", { Filters });
    await agree("ec2", "DescribeRouteTables", { Filters });
    await agree("ec2", "DescribeAvailabilityZones");
    const run = {
      ImageId: IMAGE_ID,
      InstanceType: "t3.micro",
      MinCount: 1,
      MaxCount: 1,
      SubnetId: Subnets[0]?.SubnetId,
    };
    const started = await boto3.call<{ Instances: { InstanceId: string }[] }>("ec2", "RunInstances", run);
    const InstanceId = started.Instances[0]?.InstanceId ?? "";
    await boto3.wait("ec2", "instance_running", { InstanceIds: [InstanceId] });
    await agree("ec2", "DescribeInstances", { InstanceIds: [InstanceId] });
    const attached = [{ Name: "attachment.instance-id", Values: [InstanceId] }];
    await agree("ec2", "DescribeVolumes", { Filters: attached });
    const { Snapshots } = await boto3.call<{ Snapshots: { SnapshotId: string }[] }>("ec2", "CreateSnapshots", {
      InstanceSpecification: { InstanceId },
    });
    const SnapshotIds = Snapshots.map(({ SnapshotId }) => SnapshotId);
    await boto3.wait("ec2", "snapshot_completed", { SnapshotIds });
    await agree("ec2", "DescribeSnapshots", { SnapshotIds });
    await boto3.call("ec2", "StopInstances", { InstanceIds: [InstanceId] });
    await boto3.wait("ec2", "instance_stopped", { InstanceIds: [InstanceId] });
    await boto3.call("ec2", "TerminateInstances", { InstanceIds: [InstanceId] });
    await boto3.wait("ec2", "instance_terminated", { InstanceIds: [InstanceId] });
    await refused("ec2", "DescribeVpcs", { VpcIds: ["vpc-0123456789abcdef0"] }, "InvalidVpcID.NotFound");
    await refused("ec2", "DescribeInstances", { InstanceIds: ["i-0123456789abcdef0"] }, "InvalidInstanceID.NotFound");
    await refused("ec2", "RunInstances", { ...run, DryRun: true }, "DryRunOperation", 412);
    await refused("ec2", "DeleteVpc", { VpcId }, "DependencyViolation");
  });

  it("RDS (query): an instance until it is available, and errors", async function () {
    this.timeout(180_000);
    const { Vpc } = await boto3.call<{ Vpc: { VpcId: string } }>("ec2", "CreateVpc", { CidrBlock: "10.1.0.0/16" });
    const SubnetIds: string[] = [];
    for (const [index, zone] of ["us-east-1a", "us-east-1b"].entries()) {
      const input = { VpcId: Vpc.VpcId, CidrBlock: `10.1.${index}.0/24`, AvailabilityZone: zone };
      const { Subnet } = await boto3.call<{ Subnet: { SubnetId: string } }>("ec2", "CreateSubnet", input);
      SubnetIds.push(Subnet.SubnetId);
    }
    const group = { DBSubnetGroupName: "conformance", DBSubnetGroupDescription: "of the tests", SubnetIds };
    await boto3.call("rds", "CreateDBSubnetGroup", group);
    await agree("rds", "DescribeDBSubnetGroups", { DBSubnetGroupName: "conformance" });
    const DBInstanceIdentifier = "conformance";
    await boto3.call("rds", "CreateDBInstance", {
      DBInstanceIdentifier,
      DBInstanceClass: "db.t4g.micro",
      Engine: "postgres",
      AllocatedStorage: 20,
      MasterUsername: "master",
      ManageMasterUserPassword: true,
      DBSubnetGroupName: "conformance",
    });
    await boto3.wait("rds", "db_instance_available", { DBInstanceIdentifier });
    const { DBInstances } = await agree<{ DBInstances: { DBInstanceStatus: string }[] }>("rds", "DescribeDBInstances", {
      DBInstanceIdentifier,
    });
    assert.equal(DBInstances[0]?.DBInstanceStatus, "available");
    await boto3.call("rds", "DeleteDBInstance", { DBInstanceIdentifier, SkipFinalSnapshot: true });
    await boto3.wait("rds", "db_instance_deleted", { DBInstanceIdentifier });
    await refused("rds", "DescribeDBInstances", { DBInstanceIdentifier }, "DBInstanceNotFound", 404);
  });

  it("Secrets Manager, parameters and logs (JSON 1.1): values, bytes, times, pages, and errors", async () => {
    await boto3.call("secretsmanager", "CreateSecret", { Name: "conformance", SecretString: '{"a":"ü"}' });
    const secret = await agree("secretsmanager", "GetSecretValue", { SecretId: "conformance" });
    assert.equal(secret.SecretString, '{"a":"ü"}');
    await agree("secretsmanager", "DescribeSecret", { SecretId: "conformance" });
    await refused("secretsmanager", "GetSecretValue", { SecretId: "no" }, "ResourceNotFoundException");

    for (const index of [1, 2, 3]) {
      await boto3.call("ssm", "PutParameter", { Name: `/conformance/${index}`, Value: "x", Type: "String" });
    }
    await agree("ssm", "GetParameters", { Names: ["/conformance/1", "/conformance/none"] });
    const pages = await boto3.pages<{ Parameters: unknown[] }>(
      "ssm",
      "GetParametersByPath",
      { Path: "/conformance" },
      2,
    );
    assert.deepEqual(
      pages.map(({ Parameters }) => Parameters.length),
      [2, 1],
    );
    await refused("ssm", "GetParameter", { Name: "/no" }, "ParameterNotFound");
    const again = { Name: "/conformance/1", Value: "y", Type: "String" };
    await refused("ssm", "PutParameter", again, "ParameterAlreadyExists");

    const logGroupName = "/conformance";
    await boto3.call("logs", "CreateLogGroup", { logGroupName });
    await boto3.call("logs", "CreateLogStream", { logGroupName, logStreamName: "s" });
    const timestamp = emulator.cloud.clock.now().getTime();
    const logEvents = ["one", "two", "three"].map((message, index) => ({ timestamp: timestamp + index, message }));
    await boto3.call("logs", "PutLogEvents", { logGroupName, logStreamName: "s", logEvents });
    await agree("logs", "GetLogEvents", { logGroupName, logStreamName: "s", startFromHead: true });
    await agree("logs", "DescribeLogStreams", { logGroupName });
    const filtered = await boto3.pages<{ events: { message: string }[] }>(
      "logs",
      "FilterLogEvents",
      { logGroupName },
      2,
    );
    assert.deepEqual(
      filtered.flatMap(({ events }) => events.map(({ message }) => message)),
      ["one", "two", "three"],
    );
    await refused("logs", "CreateLogGroup", { logGroupName }, "ResourceAlreadyExistsException");
    await refused("logs", "GetLogEvents", { logGroupName: "/no", logStreamName: "s" }, "ResourceNotFoundException");
  });

  it("CodeBuild, CodePipeline and EventBridge (JSON 1.1): a build, a pipeline, a rule, and errors", async function () {
    this.timeout(180_000);
    const RoleName = "conformance-builds";
    await boto3.call("iam", "CreateRole", { RoleName, AssumeRolePolicyDocument: trust("codebuild.amazonaws.com") });
    const Statement = [{ Effect: "Allow", Action: "logs:*", Resource: "*" }];
    const PolicyDocument = JSON.stringify({ Version: "2012-10-17", Statement });
    await boto3.call("iam", "PutRolePolicy", { RoleName, PolicyName: "logs", PolicyDocument });
    const serviceRole = `arn:aws:iam::123456789012:role/${RoleName}`;
    const buildspec = "version: 0.2\nphases:\n  build:\n    commands: [echo built by boto3]\n";
    const environment = {
      type: "LINUX_CONTAINER",
      image: "aws/codebuild/standard:7.0",
      computeType: "BUILD_GENERAL1_SMALL",
    };
    const project = {
      name: "conformance",
      source: { type: "NO_SOURCE", buildspec },
      artifacts: { type: "NO_ARTIFACTS" },
    };
    await boto3.call("codebuild", "CreateProject", { ...project, environment, serviceRole });
    await agree("codebuild", "BatchGetProjects", { names: ["conformance", "none"] });
    const { build } = await boto3.call<{ build: { id: string } }>("codebuild", "StartBuild", {
      projectName: "conformance",
    });
    await untilEnded(build.id);
    const { builds } = await agree<{ builds: { buildStatus: string }[] }>("codebuild", "BatchGetBuilds", {
      ids: [build.id],
    });
    assert.equal(builds[0]?.buildStatus, "SUCCEEDED");
    await agree("codebuild", "ListBuildsForProject", { projectName: "conformance" });
    await refused("codebuild", "StartBuild", { projectName: "no" }, "ResourceNotFoundException");

    await refused("codepipeline", "GetPipeline", { name: "no" }, "PipelineNotFoundException");
    await refused("codepipeline", "StartPipelineExecution", { name: "no" }, "PipelineNotFoundException");

    await boto3.call("events", "PutRule", { Name: "conformance", EventPattern: '{"source":["aws.codebuild"]}' });
    await agree("events", "DescribeRule", { Name: "conformance" });
    await agree("events", "ListTargetsByRule", { Rule: "conformance" });
    await refused("events", "DescribeRule", { Name: "no" }, "ResourceNotFoundException");
  });

  async function untilEnded(id: string): Promise<void> {
    for (let look = 0; look < 600; look++) {
      const { builds } = await boto3.call<{ builds: { buildComplete: boolean }[] }>("codebuild", "BatchGetBuilds", {
        ids: [id],
      });
      if (builds[0]?.buildComplete === true) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`the build ${id} did not end`);
  }

  it("Scheduler (rest-json): a schedule in paths, queries and bodies, and errors", async () => {
    const RoleName = "conformance-scheduler";
    await boto3.call("iam", "CreateRole", { RoleName, AssumeRolePolicyDocument: trust("scheduler.amazonaws.com") });
    const Target = {
      Arn: "arn:aws:codebuild:us-east-1:123456789012:project/conformance",
      RoleArn: `arn:aws:iam::123456789012:role/${RoleName}`,
    };
    const schedule = {
      Name: "conformance",
      ScheduleExpression: "rate(1 hours)",
      FlexibleTimeWindow: { Mode: "OFF" },
      Target,
    };
    await boto3.call("scheduler", "CreateSchedule", schedule);
    await agree("scheduler", "GetSchedule", { Name: "conformance" });
    await refused("scheduler", "GetSchedule", { Name: "no" }, "ResourceNotFoundException", 404);
    await refused("scheduler", "CreateSchedule", schedule, "ConflictException", 409);
  });

  it("CloudWatch: metrics and alarms", async () => {
    const Timestamp = Math.floor(emulator.cloud.clock.now().getTime() / 1000);
    const MetricData = [{ MetricName: "Probes", Value: 3, Timestamp, Unit: "Count" }];
    await boto3.call("cloudwatch", "PutMetricData", { Namespace: "Conformance", MetricData });
    await boto3.call("cloudwatch", "PutMetricAlarm", {
      AlarmName: "conformance",
      Namespace: "Conformance",
      MetricName: "Probes",
      Statistic: "Maximum",
      Period: 60,
      EvaluationPeriods: 1,
      Threshold: 10,
      ComparisonOperator: "GreaterThanThreshold",
    });
    const { MetricAlarms } = await agree<{ MetricAlarms: unknown[] }>("cloudwatch", "DescribeAlarms", {
      AlarmNames: ["conformance"],
    });
    assert.equal(MetricAlarms.length, 1);
  });
});

/** Without what one client gives as empty and the other leaves out, and without what boto3 asks for by itself. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, each]) => [name, withoutEmpty(each)] as const);
  return Object.fromEntries(entries.filter(([name, each]) => name !== "EncodingType" && !isEmpty(each)));
}

function isEmpty(value: unknown): boolean {
  return value === null || (typeof value === "object" && Object.keys(value).length === 0);
}
