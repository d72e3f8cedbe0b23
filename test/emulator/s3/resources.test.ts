import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import * as ssm from "@aws-sdk/client-ssm";
import * as s3 from "@aws-sdk/client-s3";
import type { Install } from "../../../emulator/core/definitions";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install as events } from "../../../emulator/services/events";
import { install as iam } from "../../../emulator/services/iam";
import { install as logs } from "../../../emulator/services/logs";
import { install as s3Install } from "../../../emulator/services/s3";
import { install as scheduler } from "../../../emulator/services/scheduler";
import { install as secretsmanager } from "../../../emulator/services/secretsmanager";
import { parameterInvokes, parameterOperations, parameterResources } from "../../../emulator/services/ssm/parameters";
import { install as sts } from "../../../emulator/services/sts";
import { withStack } from "../../support/stack";
import { trustOf } from "../iam/role";
import { clientSettings } from "../support";

const parameters: Install = (cloud) => ({
  signingName: "ssm",
  protocol: "awsJson1_1",
  model: ssm,
  operations: parameterOperations(cloud),
  resources: parameterResources,
  invokes: parameterInvokes,
});

const project = "arn:aws:codebuild:us-east-1:123456789012:project/rescue";

/** Every value that can change in place, so that one test changes them all. */
interface Values {
  readonly tag: string;
  readonly days: number;
  readonly content: string;
  readonly text: string;
  readonly on: boolean;
}

const first: Values = { tag: "1", days: 7, content: "one", text: "a", on: true };
const second: Values = { tag: "2", days: 14, content: "two", text: "b", on: false };

function storage({ tag, days, content, on }: Values): pulumi.Input<string> {
  const bucket = new aws.s3.Bucket("store", { forceDestroy: true, tags: { tag } });
  const versioning = new aws.s3.BucketVersioning("versioning", {
    bucket: bucket.id,
    versioningConfiguration: { status: on ? "Enabled" : "Suspended" },
  });
  new aws.s3.BucketServerSideEncryptionConfiguration("encryption", {
    bucket: bucket.id,
    rules: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" }, bucketKeyEnabled: on }],
  });
  new aws.s3.BucketLifecycleConfiguration("lifecycle", {
    bucket: bucket.id,
    rules: [
      {
        id: "old",
        status: "Enabled",
        filter: {},
        expiration: { days },
        noncurrentVersionExpiration: { noncurrentDays: days },
        abortIncompleteMultipartUpload: { daysAfterInitiation: 1 },
      },
    ],
  });
  new aws.s3.BucketOwnershipControls("ownership", {
    bucket: bucket.id,
    rule: { objectOwnership: on ? "BucketOwnerEnforced" : "BucketOwnerPreferred" },
  });
  new aws.s3.BucketPublicAccessBlock("access", {
    bucket: bucket.id,
    blockPublicAcls: true,
    blockPublicPolicy: true,
    ignorePublicAcls: true,
    restrictPublicBuckets: on,
  });
  new aws.s3.BucketPolicy("policy", {
    bucket: bucket.id,
    policy: pulumi.jsonStringify({
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Deny",
          Principal: "*",
          Action: on ? "s3:*" : "s3:GetObject",
          Resource: pulumi.interpolate`${bucket.arn}/*`,
          Condition: { Bool: { "aws:SecureTransport": "false" } },
        },
      ],
    }),
  });
  const source = new pulumi.asset.StringAsset(content);
  new aws.s3.BucketObjectv2("object", { bucket: bucket.id, key: "a.txt", source }, { dependsOn: versioning });
  return bucket.id;
}

function identities({ tag, text, on }: Values): aws.iam.Role {
  const assumeRolePolicy = JSON.stringify({
    Version: "2012-10-17",
    Statement: ["events", "scheduler", "ec2"].map((service) => ({
      Effect: "Allow",
      Principal: { Service: `${service}.amazonaws.com` },
      Action: "sts:AssumeRole",
      ...(on && { Sid: service }),
    })),
  });
  const role = new aws.iam.Role("role", { assumeRolePolicy, description: text, tags: { tag } });
  const statement = { Effect: "Allow", Action: on ? "codebuild:StartBuild" : "codebuild:*", Resource: "*" };
  new aws.iam.RolePolicy("inline", {
    role: role.id,
    policy: JSON.stringify({ Version: "2012-10-17", Statement: [statement] }),
  });
  new aws.iam.RolePolicyAttachment("attached", {
    role: role.name,
    policyArn: aws.iam.ManagedPolicy.AmazonSSMManagedInstanceCore,
  });
  const other = new aws.iam.Role("other", { assumeRolePolicy: trustOf("ec2.amazonaws.com") });
  new aws.iam.InstanceProfile("profile", { role: on ? role.name : other.name, tags: { tag } });
  return role;
}

function values({ tag, days, content, text }: Values): pulumi.Input<string> {
  const secret = new aws.secretsmanager.Secret("secret", { recoveryWindowInDays: 0, description: text, tags: { tag } });
  new aws.secretsmanager.SecretVersion("value", { secretId: secret.id, secretString: `hush-${content}` });
  new aws.ssm.Parameter("parameter", { type: "String", value: content, description: text, tags: { tag } });
  new aws.cloudwatch.LogGroup("logs", { retentionInDays: days, tags: { tag } });
  return secret.arn;
}

function triggers({ text, days, on }: Values, roleArn: pulumi.Output<string>): void {
  const rule = new aws.cloudwatch.EventRule("rule", {
    eventPattern: JSON.stringify({ source: [text] }),
    description: text,
    state: on ? "ENABLED" : "DISABLED",
  });
  new aws.cloudwatch.EventTarget("target", {
    rule: rule.name,
    arn: project,
    roleArn,
    inputTransformer: { inputPaths: { x: "$.detail.x" }, inputTemplate: `{"sourceVersion": <x>, "a": "${text}"}` },
  });
  new aws.scheduler.Schedule("schedule", {
    scheduleExpression: `rate(${days} hours)`,
    flexibleTimeWindow: { mode: "OFF" },
    state: on ? "ENABLED" : "DISABLED",
    description: text,
    target: { arn: project, roleArn },
  });
}

describe("The storage, identity, secret, log and event resources", () => {
  let emulator: Emulator;
  let current = first;

  before(async () => {
    const services = [iam, sts, s3Install, secretsmanager, parameters, logs, events, scheduler];
    emulator = await startEmulator({ services });
  });
  after(() => emulator.close());

  const program = async () => {
    const bucket = storage(current);
    const role = identities(current);
    const secretArn = values(current);
    triggers(current, role.arn);
    const identity = await aws.getCallerIdentity();
    const region = await aws.getRegion();
    const image = await aws.ssm.getParameter({
      name: "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
    });
    return { bucket, secretArn, account: identity.accountId, region: region.region, image: image.value };
  };

  it("go through up, preview with refresh, an update of everything, and destroy", async function () {
    this.timeout(300_000);
    current = first;
    await withStack(emulator, program, async (stack, folder) => {
      const { outputs } = await stack.up();
      const bucket = String(outputs.bucket?.value);
      assert.equal(outputs.account?.value, "123456789012");
      assert.equal(outputs.region?.value, "us-east-1");
      assert.match(String(outputs.image?.value), /^ami-/);
      assert.match(bucket, /^store-[0-9a-f]{7}$/);
      const { changeSummary } = await stack.preview({ refresh: true, expectNoChanges: true });
      assert.deepEqual(Object.keys(changeSummary), ["same"]);
      const state = readFileSync(join(folder, ".pulumi/stacks/emulated/test.json"), "utf8");
      assert.ok(state.includes("SecretVersion"));
      assert.ok(!state.includes("hush-one"), "the secret is plain in the state");

      current = second;
      const { summary } = await stack.up();
      // The secret's version is the only thing that is replaced.
      assert.deepEqual(summary.resourceChanges, { same: 3, update: 17, replace: 1 });

      const client = new s3.S3Client(clientSettings(emulator));
      const object = await client.send(new s3.GetObjectCommand({ Bucket: bucket, Key: "a.txt" }));
      assert.equal(await object.Body?.transformToString(), "two");
      client.destroy();
    });
    const { iam: identity, s3: store, events: rules, scheduler: schedules, logs: groups } = emulator.cloud.stores;
    const left = [identity.roles, identity.profiles, rules.rules, schedules.schedules, groups.groups];
    assert.deepEqual(
      left.map(({ size }) => size),
      [0, 0, 0, 0, 0],
    );
    assert.deepEqual(store.list(), []);
  });
});
