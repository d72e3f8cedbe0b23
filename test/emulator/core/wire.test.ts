import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import * as codepipeline from "@aws-sdk/client-codepipeline";
import * as ec2 from "@aws-sdk/client-ec2";
import * as iam from "@aws-sdk/client-iam";
import * as s3 from "@aws-sdk/client-s3";
import * as scheduler from "@aws-sdk/client-scheduler";
import {
  AwsError,
  type Install,
  type Operation,
  type Protocol,
  type Service,
} from "../../../emulator/core/definitions";
import { type Emulator } from "../../../emulator/emulator";
import { client, rawRequest, withEmulator } from "../support";

type Handle = (input: Record<string, unknown>) => object | Promise<object>;

/** A service whose operations do what the test says, honouring everything. */
function service(
  signingName: string,
  protocol: Protocol,
  model: object,
  handlers: Readonly<Record<string, Handle>>,
): Install {
  const operations = Object.entries(handlers).map(([name, handle]): Operation => ({
    name,
    honours: memberNames(model, name),
    authorize: () => [],
    handle: (input) => handle(input as Record<string, unknown>),
  }));
  return (): Service => ({ signingName, protocol, model, operations, resources: [], invokes: [] });
}

function memberNames(model: object, operation: string): readonly string[] {
  const schema = (model as Record<string, readonly unknown[]>)[`${operation}$`];
  const input = schema?.[4];
  const struct = (typeof input === "function" ? (input as () => unknown)() : input) as readonly unknown[];
  return (struct[4] as readonly string[] | undefined) ?? [];
}

/** Runs with one service; `seen` are the inputs that its handlers got. */
async function withService(
  install: Parameters<typeof service>,
  work: (emulator: Emulator, seen: Record<string, unknown>[]) => Promise<void>,
): Promise<void> {
  const [signingName, protocol, model, handlers] = install;
  const seen: Record<string, unknown>[] = [];
  const watched = Object.fromEntries(
    Object.entries(handlers).map(([name, handle]): [string, Handle] => [
      name,
      (input) => {
        seen.push(input);
        return handle(input);
      },
    ]),
  );
  await withEmulator((emulator) => work(emulator, seen), {
    services: [service(signingName, protocol, model, watched)],
  });
}

const moment = new Date("2024-05-06T07:08:09.250Z");

describe("awsJson", () => {
  it("carries nested structures, maps, enums and timestamps both ways [B9.1]", async () => {
    const output = {
      pipelineExecutionSummaries: [{ pipelineExecutionId: "e", status: "Failed" as const, startTime: moment }],
    };
    await withService(
      ["codepipeline", "awsJson1_1", codepipeline, { ListPipelineExecutions: () => output }],
      async (emulator, seen) => {
        const input = {
          pipelineName: "päris <&>",
          filter: { succeededInStage: { stageName: "Deploy" } },
          maxResults: 5,
        };
        const pipelines = client(emulator, codepipeline.CodePipelineClient);
        const { $metadata, ...answer } = await pipelines.send(new codepipeline.ListPipelineExecutionsCommand(input));
        assert.deepEqual(seen, [input]);
        assert.deepEqual(answer, output);
        assert.equal($metadata.httpStatusCode, 200);
      },
    );
  });

  it("becomes the SDK's modelled exception [B9.1]", async () => {
    const fail = (): never => {
      throw new AwsError("PipelineNotFoundException", "The account has no pipeline named 'x'");
    };
    await withService(["codepipeline", "awsJson1_1", codepipeline, { GetPipeline: fail }], async (emulator) => {
      await assert.rejects(
        client(emulator, codepipeline.CodePipelineClient).send(new codepipeline.GetPipelineCommand({ name: "x" })),
        (error: unknown) =>
          error instanceof codepipeline.PipelineNotFoundException &&
          error.message === "The account has no pipeline named 'x'",
      );
    });
  });

  it("refuses a member that the model does not know, instead of dropping it", async () => {
    await withService(["codepipeline", "awsJson1_1", codepipeline, { GetPipeline: () => ({}) }], async (emulator) => {
      const answer = await rawRequest(emulator, {
        method: "POST",
        path: "/",
        headers: { "x-amz-target": "CodePipeline_20150709.GetPipeline", "content-type": "application/x-amz-json-1.1" },
        body: JSON.stringify({ name: "x", flavour: "sweet" }),
        service: "codepipeline",
      });
      assert.equal(answer.status, 501);
      assert.match(answer.body, /NotImplemented: GetPipeline\.flavour/);
    });
  });
});

describe("ec2Query", () => {
  it("carries lists, structures in lists, tokens and numbers", async () => {
    const output = {
      ReservationId: "r-1",
      Instances: [
        {
          InstanceId: "i-1",
          LaunchTime: moment,
          Tags: [{ Key: "Name", Value: 'a "quoted" <name> & more' }],
          SecurityGroups: [{ GroupId: "sg-1" }, { GroupId: "sg-2" }],
          State: { Code: 16, Name: "running" as const },
          EbsOptimized: false,
        },
      ],
    };
    await withService(["ec2", "ec2Query", ec2, { RunInstances: () => output }], async (emulator, seen) => {
      const input: ec2.RunInstancesCommandInput = {
        ImageId: "ami-1",
        MinCount: 1,
        MaxCount: 1,
        SecurityGroupIds: ["sg-1", "sg-2"],
        BlockDeviceMappings: [{ DeviceName: "/dev/xvda", Ebs: { VolumeSize: 8, Encrypted: true } }],
        TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "Name", Value: "x" }] }],
        UserData: Buffer.from("#!/bin/bash\n").toString("base64"),
        ClientToken: "token",
      };
      const { $metadata: _, ...answer } = await client(emulator, ec2.EC2Client).send(
        new ec2.RunInstancesCommand(input),
      );
      assert.deepEqual(seen, [input]);
      assert.deepEqual(answer, output);
    });
  });

  it("reads each of a hundred filters' values in order", async () => {
    await withService(
      ["ec2", "ec2Query", ec2, { DescribeVolumes: () => ({ Volumes: [] }) }],
      async (emulator, seen) => {
        const values = Array.from({ length: 100 }, (_, index) => `v${index}`);
        const answer = await client(emulator, ec2.EC2Client).send(
          new ec2.DescribeVolumesCommand({ Filters: [{ Name: "volume-id", Values: values }] }),
        );
        assert.deepEqual(seen, [{ Filters: [{ Name: "volume-id", Values: values }] }]);
        assert.deepEqual(answer.Volumes, []);
      },
    );
  });

  it("answers errors with their code", async () => {
    const fail = (): never => {
      throw new AwsError("InvalidVolume.NotFound", "The volume 'vol-1' does not exist.");
    };
    await withService(["ec2", "ec2Query", ec2, { DescribeVolumes: fail }], async (emulator) => {
      await assert.rejects(client(emulator, ec2.EC2Client).send(new ec2.DescribeVolumesCommand({})), {
        name: "InvalidVolume.NotFound",
        message: "The volume 'vol-1' does not exist.",
      });
    });
  });
});

describe("awsQuery", () => {
  it("carries lists of structures, empty results and policies", async () => {
    const output = {
      Role: {
        Path: "/",
        RoleName: "r",
        RoleId: "AROA1",
        Arn: "arn:aws:iam::123456789012:role/r",
        CreateDate: moment,
        AssumeRolePolicyDocument: "%7B%7D",
        Tags: [{ Key: "k", Value: "v" }],
      },
    };
    await withService(
      ["iam", "awsQuery", iam, { CreateRole: () => output, PutRolePolicy: () => ({}) }],
      async (emulator, seen) => {
        const roles = client(emulator, iam.IAMClient);
        const input = { RoleName: "r", AssumeRolePolicyDocument: '{"a":"<&>"}', Tags: [{ Key: "k", Value: "v" }] };
        const { $metadata: _, ...answer } = await roles.send(new iam.CreateRoleCommand(input));
        assert.deepEqual(answer, output);
        const policy = { RoleName: "r", PolicyName: "p", PolicyDocument: "{}" };
        await roles.send(new iam.PutRolePolicyCommand(policy));
        assert.deepEqual(seen, [input, policy]);
      },
    );
  });

  it("becomes the SDK's modelled exception by its query code", async () => {
    const fail = (): never => {
      throw new AwsError("NoSuchEntity", "The role with name x cannot be found.", 404);
    };
    await withService(["iam", "awsQuery", iam, { GetRole: fail }], async (emulator) => {
      await assert.rejects(
        client(emulator, iam.IAMClient).send(new iam.GetRoleCommand({ RoleName: "x" })),
        iam.NoSuchEntityException,
      );
    });
  });

  it("refuses a call without a required member in the service's words", async () => {
    await withService(["iam", "awsQuery", iam, { GetRole: () => ({}) }], async (emulator) => {
      const answer = await rawRequest(emulator, {
        method: "POST",
        path: "/",
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: "Action=GetRole&Version=2010-05-08",
        service: "iam",
      });
      assert.equal(answer.status, 400);
      assert.match(answer.body, /<Code>ValidationError<\/Code>.*Value null at 'RoleName'/);
    });
  });
});

describe("restJson1", () => {
  it("carries labels, query parameters and a body", async () => {
    const schedule = {
      ScheduleExpression: "rate(1 minute)",
      FlexibleTimeWindow: { Mode: "OFF" as const },
      Target: { Arn: "arn:x", RoleArn: "arn:y", Input: "{}" },
    };
    await withService(
      [
        "scheduler",
        "restJson1",
        scheduler,
        {
          CreateSchedule: () => ({ ScheduleArn: "arn:schedule" }),
          ListSchedules: () => ({ Schedules: [{ Name: "n", CreationDate: moment }] }),
        },
      ],
      async (emulator, seen) => {
        const schedules = client(emulator, scheduler.SchedulerClient);
        const created = await schedules.send(
          new scheduler.CreateScheduleCommand({ Name: "a name/with more", ClientToken: "t", ...schedule }),
        );
        assert.equal(created.ScheduleArn, "arn:schedule");
        const listed = await schedules.send(new scheduler.ListSchedulesCommand({ NamePrefix: "n", MaxResults: 3 }));
        assert.deepEqual(listed.Schedules, [{ Name: "n", CreationDate: moment }]);
        assert.deepEqual(seen, [
          { Name: "a name/with more", ClientToken: "t", ...schedule },
          { NamePrefix: "n", MaxResults: 3 },
        ]);
      },
    );
  });
});

describe("restXml", () => {
  it("tells S3's operations apart by method, path and parameters", async () => {
    const names = [
      "ListBuckets",
      "CreateBucket",
      "HeadBucket",
      "ListObjectsV2",
      "ListObjectVersions",
      "GetObject",
      "HeadObject",
      "DeleteObject",
      "CopyObject",
      "CreateMultipartUpload",
      "UploadPart",
      "ListParts",
      "AbortMultipartUpload",
      "GetBucketVersioning",
      "GetBucketPolicy",
      "PutBucketVersioning",
      "DeleteObjects",
    ];
    const called: string[] = [];
    const handlers = Object.fromEntries(
      names.map((name): [string, Handle] => [
        name,
        () => {
          called.push(name);
          return name === "CopyObject" ? { CopyObjectResult: { ETag: "e" } } : {};
        },
      ]),
    );
    await withService(["s3", "restXml", s3, handlers], async (emulator) => {
      const buckets = client(emulator, s3.S3Client);
      const object = { Bucket: "b", Key: "a/b c/ü+&?.txt" };
      await buckets.send(new s3.ListBucketsCommand({}));
      await buckets.send(new s3.CreateBucketCommand({ Bucket: "b" }));
      await buckets.send(new s3.HeadBucketCommand({ Bucket: "b" }));
      await buckets.send(new s3.ListObjectsV2Command({ Bucket: "b", Prefix: "x" }));
      await buckets.send(new s3.ListObjectVersionsCommand({ Bucket: "b" }));
      await buckets.send(new s3.GetObjectCommand(object));
      await buckets.send(new s3.HeadObjectCommand(object));
      await buckets.send(new s3.DeleteObjectCommand(object));
      await buckets.send(new s3.CopyObjectCommand({ ...object, CopySource: "b/c" }));
      await buckets.send(new s3.CreateMultipartUploadCommand(object));
      await buckets.send(new s3.UploadPartCommand({ ...object, UploadId: "u", PartNumber: 1, Body: "x" }));
      await buckets.send(new s3.ListPartsCommand({ ...object, UploadId: "u" }));
      await buckets.send(new s3.AbortMultipartUploadCommand({ ...object, UploadId: "u" }));
      await buckets.send(new s3.GetBucketVersioningCommand({ Bucket: "b" }));
      await buckets.send(new s3.GetBucketPolicyCommand({ Bucket: "b" }));
      await buckets.send(
        new s3.PutBucketVersioningCommand({ Bucket: "b", VersioningConfiguration: { Status: "Enabled" } }),
      );
      await buckets.send(new s3.DeleteObjectsCommand({ Bucket: "b", Delete: { Objects: [{ Key: "k" }] } }));
      assert.deepEqual(called, names);
      const calls = emulator.recorder.calls.map(({ input }) => input as { Key?: string });
      assert.equal(calls[5]?.Key, object.Key);
    });
  });

  it("takes an upload of unknown length apart and verifies its trailing checksum", async () => {
    const bytes = randomBytes(300_000);
    let stored = Buffer.alloc(0);
    const put: Handle = async (input) => {
      stored = await buffer(input.Body as Readable);
      return { ETag: '"e"' };
    };
    await withService(["s3", "restXml", s3, { PutObject: put, UploadPart: put }], async (emulator, seen) => {
      const body = Readable.from([bytes.subarray(0, 100_000), bytes.subarray(100_000)]);
      const answer = await client(emulator, s3.S3Client).send(
        new s3.PutObjectCommand({
          Bucket: "b",
          Key: "k",
          Body: body,
          ContentLength: bytes.length,
          Metadata: { Who: "me" },
          IfNoneMatch: "*",
        }),
      );
      assert.equal(answer.ETag, '"e"');
      assert.deepEqual(stored, bytes);
      const [input] = seen;
      assert.equal(input?.ContentLength, bytes.length);
      assert.equal(input?.ContentEncoding, undefined);
      assert.deepEqual(input?.Metadata, { who: "me" });
      assert.equal(input?.IfNoneMatch, "*");
    });
  });

  for (const algorithm of ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"] as const) {
    it(`verifies the checksum ${algorithm} as the SDK computes it`, async () => {
      const put: Handle = async (input) => {
        await buffer(input.Body as Readable);
        return {};
      };
      await withService(["s3", "restXml", s3, { PutObject: put }], async (emulator) => {
        await client(emulator, s3.S3Client).send(
          new s3.PutObjectCommand({ Bucket: "b", Key: "k", Body: "some text", ChecksumAlgorithm: algorithm }),
        );
      });
    });
  }

  it("fails an upload whose bytes do not have the checksum that it names", async () => {
    const put: Handle = async (input) => {
      await buffer(input.Body as Readable);
      return {};
    };
    await withService(["s3", "restXml", s3, { PutObject: put }], async (emulator) => {
      for (const body of ["3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "9\r\nabc\r\n"]) {
        const answer = await rawRequest(emulator, {
          method: "PUT",
          path: "/b/k",
          headers: {
            "content-encoding": "aws-chunked",
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-decoded-content-length": "3",
          },
          body,
          service: "s3",
        });
        assert.equal(answer.status, 400);
        assert.match(answer.body, /<Code>(BadDigest|IncompleteBody)<\/Code>/);
      }
    });
  });

  it("answers a caller that is still sending what nobody reads, or what is refused half way", async () => {
    const bytes = randomBytes(20_000_000);
    const refuse = (): never => {
      throw new AwsError("AccessDenied", "no", 403);
    };
    const readSome: Handle = async (input) => {
      for await (const _chunk of input.Body as Readable) break;
      return refuse();
    };
    for (const handler of [refuse, readSome]) {
      await withService(["s3", "restXml", s3, { PutObject: handler }], async (emulator) => {
        for (const body of [bytes, Readable.from([bytes.subarray(0, 9_000_000), bytes.subarray(9_000_000)])]) {
          const put = { Bucket: "b", Key: "k", Body: body, ContentLength: bytes.length };
          await assert.rejects(client(emulator, s3.S3Client).send(new s3.PutObjectCommand(put)), {
            name: "AccessDenied",
          });
        }
      });
    }
  });

  it("refuses headers and parameters that the model does not know, instead of dropping them", async () => {
    await withService(["s3", "restXml", s3, { GetObject: () => ({}) }], async (emulator) => {
      const get = { method: "GET", headers: {}, body: "", service: "s3" };
      const parameter = await rawRequest(emulator, { ...get, path: "/b/k?flavour=sweet" });
      assert.match(parameter.body, /NotImplemented: GetObject\.flavour \(query parameter\)/);
      const header = await rawRequest(emulator, { ...get, path: "/b/k", headers: { "x-amz-flavour": "sweet" } });
      assert.match(header.body, /NotImplemented: GetObject\.x-amz-flavour \(header\)/);
    });
  });

  it("streams a reply with its headers, and a range as 206", async () => {
    const bytes = randomBytes(200_000);
    const get: Handle = () => ({
      Body: Readable.from([bytes]),
      ContentLength: bytes.length,
      ContentType: "application/zip",
      LastModified: new Date("2024-05-06T07:08:09Z"),
      ETag: '"e"',
      ContentRange: "bytes 0-199999/400000",
      Metadata: { who: "me" },
    });
    await withService(["s3", "restXml", s3, { GetObject: get }], async (emulator) => {
      const answer = await client(emulator, s3.S3Client).send(new s3.GetObjectCommand({ Bucket: "b", Key: "k" }));
      assert.deepEqual(Buffer.from((await answer.Body?.transformToByteArray()) ?? []), bytes);
      assert.equal(answer.ContentType, "application/zip");
      assert.equal(answer.LastModified?.toISOString(), "2024-05-06T07:08:09.000Z");
      assert.deepEqual(answer.Metadata, { who: "me" });
      assert.equal(answer.$metadata.httpStatusCode, 206);
    });
  });

  it("reads and writes XML bodies", async () => {
    const output = {
      Contents: [{ Key: "a&b", Size: 3, LastModified: moment, ETag: '"e"', StorageClass: "STANDARD" as const }],
      CommonPrefixes: [{ Prefix: "p/" }],
      IsTruncated: false,
      KeyCount: 1,
      Name: "b",
    };
    await withService(
      ["s3", "restXml", s3, { ListObjectsV2: () => output, PutBucketLifecycleConfiguration: () => ({}) }],
      async (emulator, seen) => {
        const buckets = client(emulator, s3.S3Client);
        const { $metadata: _, ...answer } = await buckets.send(new s3.ListObjectsV2Command({ Bucket: "b" }));
        assert.deepEqual(answer, output);
        const rules: s3.LifecycleRule[] = [
          { ID: "one", Status: "Enabled", Filter: { Prefix: "runs/" }, Expiration: { Days: 3 } },
        ];
        await buckets.send(
          new s3.PutBucketLifecycleConfigurationCommand({ Bucket: "b", LifecycleConfiguration: { Rules: rules } }),
        );
        assert.deepEqual((seen[1] as { LifecycleConfiguration: object }).LifecycleConfiguration, { Rules: rules });
      },
    );
  });

  it("answers errors with their code, and a HEAD without a body", async () => {
    const missing = (): never => {
      throw new AwsError("NoSuchKey", "The specified key does not exist.", 404, { Key: "k" });
    };
    await withService(["s3", "restXml", s3, { GetObject: missing, HeadObject: missing }], async (emulator) => {
      const buckets = client(emulator, s3.S3Client);
      await assert.rejects(buckets.send(new s3.GetObjectCommand({ Bucket: "b", Key: "k" })), s3.NoSuchKey);
      await assert.rejects(buckets.send(new s3.HeadObjectCommand({ Bucket: "b", Key: "k" })), { name: "NotFound" });
    });
  });
});

describe("Callers", () => {
  const install: Parameters<typeof service> = ["iam", "awsQuery", iam, { GetRole: () => ({}) }];

  it("are refused with keys that the emulator did not issue", async () => {
    await withService(install, async (emulator) => {
      const stranger = client(emulator, iam.IAMClient, { accessKeyId: "AKIANOBODY", secretAccessKey: "x" });
      await assert.rejects(stranger.send(new iam.GetRoleCommand({ RoleName: "x" })), {
        name: "InvalidClientTokenId",
      });
    });
  });

  it("lose their session when it expires", async () => {
    await withService(install, async (emulator) => {
      const { cloud } = emulator;
      const issued = cloud.issueCredentials({ kind: "service", arn: "test.amazonaws.com" }, 900);
      const session = client(emulator, iam.IAMClient, issued);
      await session.send(new iam.GetRoleCommand({ RoleName: "x" }));
      cloud.clock.advance(901_000);
      await assert.rejects(session.send(new iam.GetRoleCommand({ RoleName: "x" })), { name: "ExpiredToken" });
    });
  });

  it("fetch their credentials as containers do, with the token of their own endpoint", async () => {
    await withService(install, async (emulator) => {
      const container = emulator.cloud.credentialsEndpoint({ kind: "service", arn: "test.amazonaws.com" });
      const url = container.AWS_CONTAINER_CREDENTIALS_FULL_URI;
      const answer = await fetch(url, { headers: { authorization: container.AWS_CONTAINER_AUTHORIZATION_TOKEN } });
      const keys = (await answer.json()) as { AccessKeyId: string; SecretAccessKey: string; Token: string };
      assert.equal(emulator.cloud.principalOf(keys.AccessKeyId)?.arn, "test.amazonaws.com");
      const stranger = await fetch(url, { headers: { authorization: "guess" } });
      assert.equal(stranger.status, 403);
      container.end();
      const late = await fetch(url, { headers: { authorization: container.AWS_CONTAINER_AUTHORIZATION_TOKEN } });
      assert.equal(late.status, 403);
    });
  });

  it("get NotImplemented, by name, for a service that is not there [D3.1]", async () => {
    await withService(install, async (emulator) => {
      await assert.rejects(
        client(emulator, ec2.EC2Client).send(new ec2.DescribeVpcsCommand({})),
        (error: unknown) => String((error as { $responseBodyText?: string; message: string }).message).length > 0,
      );
      const answer = await rawRequest(emulator, { method: "POST", path: "/", headers: {}, body: "", service: "ec2" });
      assert.equal(answer.status, 501);
      assert.match(answer.body, /NotImplemented: the service ec2/);
    });
    await withEmulator(async (emulator) => {
      const answer = await rawRequest(emulator, { path: "/backup-vaults/", service: "backup" });
      assert.match(`${answer.status} ${answer.body}`, /^501 .*NotImplemented: the service backup/);
    });
  });
});
