import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { CodePipelineClient, ListPipelinesCommand } from "@aws-sdk/client-codepipeline";
import * as ec2 from "@aws-sdk/client-ec2";
import * as s3 from "@aws-sdk/client-s3";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";
import * as fc from "fast-check";
import { expectedSignature, parseAuthorization } from "../../../emulator/core/signature";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { client, clientSettings, type RawRequest, rawRequest } from "../support";

describe("The signature of a request", () => {
  /** "Examples: Signature calculations" and "Create a signed request" of AWS's documentation. */
  const published = [
    {
      name: "GET Object of the S3 API reference",
      request: {
        method: "GET",
        path: "/test.txt",
        search: "",
        headers: {
          host: "examplebucket.s3.amazonaws.com",
          range: "bytes=0-9",
          "x-amz-content-sha256": sha256(""),
          "x-amz-date": "20130524T000000Z",
        },
      },
      authorization:
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
      secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
      encoding: "once" as const,
    },
    {
      name: "ListUsers of the general reference",
      request: {
        method: "GET",
        path: "/",
        search: "Action=ListUsers&Version=2010-05-08",
        headers: {
          "content-type": "application/x-www-form-urlencoded; charset=utf-8",
          host: "iam.amazonaws.com",
          "x-amz-date": "20150830T123600Z",
        },
      },
      authorization:
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, " +
        "SignedHeaders=content-type;host;x-amz-date, " +
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
      secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      encoding: "twice" as const,
    },
  ];
  for (const { name, request, authorization, secret, encoding } of published) {
    it(`is the one that AWS publishes for ${name}`, () => {
      const parsed = parseAuthorization(authorization);
      assert.ok(typeof parsed === "object");
      const time = request.headers["x-amz-date"];
      const { signature } = expectedSignature(request, parsed, secret, time, sha256(""), encoding);
      assert.equal(signature, parsed.signature);
    });
  }

  it("is the official signer's, for any path, query, headers and body", async () => {
    const text = fc.string({ unit: fc.constantFrom(..."aZ0-_.~ /?#%&+=*'(){}ä€") });
    const header = fc.string({ unit: fc.constantFrom(..."aZ0 ;,=/") });
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          text.filter((part) => !/^[./]*$/.test(part)),
          { maxLength: 3 },
        ),
        fc.dictionary(
          text.filter((name) => name !== ""),
          text,
          { maxKeys: 3 },
        ),
        header,
        text,
        fc.boolean(),
        async (parts, query, value, body, once) => {
          const escape = (each: string): string =>
            encodeURIComponent(each).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
          const path = `/${parts.map(escape).join("/")}`;
          const signer = new SignatureV4({
            service: once ? "s3" : "scheduler",
            region: "us-east-1",
            credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" },
            sha256: Sha256,
            uriEscapePath: !once,
          });
          const signed = await signer.sign({
            method: "POST",
            protocol: "http:",
            hostname: "localhost",
            path,
            query,
            headers: { host: "localhost", "x-amz-meta-note": value },
            body,
          });
          const authorization = parseAuthorization(signed.headers.authorization ?? "");
          assert.ok(typeof authorization === "object");
          const search = Object.entries(query)
            .map(([key, each]) => `${escape(key)}=${escape(each)}`)
            .join("&");
          const { signature } = expectedSignature(
            { method: "POST", path, search, headers: signed.headers },
            authorization,
            "secret",
            signed.headers["x-amz-date"] ?? "",
            sha256(body),
            once ? "once" : "twice",
          );
          assert.equal(signature, authorization.signature);
        },
      ),
      { numRuns: 150, seed: 4 },
    );
  });
});

describe("A request", () => {
  let emulator: Emulator;

  before(async () => {
    emulator = await startEmulator();
    const storage = client(emulator, s3.S3Client);
    await storage.send(new s3.CreateBucketCommand({ Bucket: "signed" }));
    await storage.send(new s3.PutObjectCommand({ Bucket: "signed", Key: "a b/ü+(1).txt", Body: "hello" }));
    storage.destroy();
  });
  after(() => emulator.close());

  const json: RawRequest = {
    method: "POST",
    path: "/",
    headers: {
      "x-amz-target": "CodePipeline_20150709.ListPipelineExecutions",
      "content-type": "application/x-amz-json-1.1",
    },
    body: '{"pipelineName":"absent"}',
    service: "codepipeline",
  };
  const query: RawRequest = {
    method: "POST",
    path: "/",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: "Action=GetCallerIdentity&Version=2011-06-15",
    service: "sts",
  };
  const form: RawRequest = { ...query, body: "Action=DescribeVpcs&Version=2016-11-15", service: "ec2" };
  const object: RawRequest = {
    path: "/signed/a%20b/%C3%BC%2B%281%29.txt?x-id=GetObject",
    service: "s3",
    headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" },
  };
  const kinds = { json, query, form, object };

  it("that is signed well is answered at one endpoint, by each protocol [B9.2]", async () => {
    const answers = await Promise.all(Object.values(kinds).map((each) => rawRequest(emulator, each)));
    assert.deepEqual(
      answers.map(({ status, body }) => [status, /PipelineNotFoundException|<Account>|<vpcSet|hello/.test(body)]),
      [
        [400, true],
        [200, true],
        [200, true],
        [200, true],
      ],
    );
  });

  const other = { accessKeyId: "", secretAccessKey: "another" };
  const long = new Date(Date.now() - 20 * 60_000);
  const soon = new Date(Date.now() + 20 * 60_000);
  const refused: readonly (readonly [string, Partial<RawRequest>, Readonly<Record<keyof typeof kinds, RegExp>>])[] = [
    [
      "with another secret",
      { signed: { credentials: other } },
      {
        json: /^400 .*InvalidSignatureException.*does not match the signature you provided/,
        query: /^403 .*<Code>SignatureDoesNotMatch</,
        form: /^401 .*<Code>AuthFailure<.*not able to validate the provided access credentials/,
        object: /^403 .*<Code>SignatureDoesNotMatch<.*<StringToSign>AWS4-HMAC-SHA256/s,
      },
    ],
    [
      "by an unknown key",
      { signed: { credentials: { accessKeyId: "AKIAUNKNOWN", secretAccessKey: "x" } } },
      {
        json: /^400 .*UnrecognizedClientException.*security token included in the request is invalid/,
        query: /^403 .*<Code>InvalidClientTokenId</,
        form: /^401 .*<Code>AuthFailure</,
        object: /^403 .*<Code>InvalidAccessKeyId<.*does not exist in our records/,
      },
    ],
    [
      "twenty minutes ago",
      { signed: { date: long } },
      {
        json: /^400 .*InvalidSignatureException.*Signature expired: \d{8}T\d{6}Z is now earlier than/,
        query: /^403 .*<Code>SignatureDoesNotMatch<.*Signature expired/,
        form: /^400 .*<Code>RequestExpired</,
        object: /^403 .*<Code>RequestTimeTooSkewed</,
      },
    ],
    [
      "in twenty minutes",
      { signed: { date: soon } },
      {
        json: /^400 .*InvalidSignatureException.*Signature not yet current/,
        query: /^403 .*<Code>SignatureDoesNotMatch<.*not yet current/,
        form: /^400 .*<Code>RequestExpired</,
        object: /^403 .*<Code>RequestTimeTooSkewed</,
      },
    ],
    [
      "for another Region",
      { signed: { region: "eu-west-1" } },
      {
        json: /^400 .*InvalidSignatureException.*valid region, not 'eu-west-1'/,
        query: /^403 .*<Code>SignatureDoesNotMatch<.*valid region/,
        form: /^401 .*<Code>AuthFailure<.*valid region/,
        object: /^400 .*<Code>AuthorizationHeaderMalformed<.*expecting .*us-east-1/,
      },
    ],
    [
      "whose path was changed on the way",
      { signed: { path: "/elsewhere" } },
      {
        json: /InvalidSignatureException/,
        query: /SignatureDoesNotMatch/,
        form: /AuthFailure/,
        object: /SignatureDoesNotMatch/,
      },
    ],
    [
      "without a signature",
      { tamper: (headers) => delete headers.authorization },
      {
        json: /^403 .*MissingAuthenticationToken/,
        query: /^403 .*MissingAuthenticationToken/,
        form: /^403 .*MissingAuthenticationToken/,
        object: /^403 .*MissingAuthenticationToken/,
      },
    ],
    [
      "with half a signature",
      { tamper: (headers) => (headers.authorization = (headers.authorization ?? "").replace(/, Signature=.*/, "")) },
      {
        json: /^400 .*IncompleteSignature.*requires 'Signature' parameter/,
        query: /^400 .*IncompleteSignature/,
        form: /^400 .*IncompleteSignature/,
        object: /^400 .*IncompleteSignature/,
      },
    ],
  ];
  for (const [how, change, expected] of refused) {
    it(`${how} is refused in each service's own words [E10]`, async () => {
      for (const [kind, raw] of Object.entries(kinds) as [keyof typeof kinds, RawRequest][]) {
        const { signed } = change;
        const { accessKeyId } = clientSettings(emulator).credentials;
        const credentials = signed?.credentials === other ? { ...other, accessKeyId } : signed?.credentials;
        const answer = await rawRequest(emulator, {
          ...raw,
          ...change,
          signed: { ...signed, ...(credentials && { credentials }) },
        });
        assert.match(`${answer.status} ${answer.body.replaceAll("\n", " ")}`, expected[kind], kind);
      }
    });
  }

  it("whose body was changed on the way is refused", async () => {
    for (const raw of [json, query, form]) {
      const answer = await rawRequest(emulator, { ...raw, signed: { body: "something else" } });
      assert.match(answer.body, /InvalidSignatureException|SignatureDoesNotMatch|AuthFailure/);
    }
    const put: RawRequest = { method: "PUT", path: "/signed/x", service: "s3", body: "good" };
    const hash = (text: string) => ({ "x-amz-content-sha256": sha256(text) });
    const changed = await rawRequest(emulator, { ...put, headers: hash("bad"), signed: { body: "bad" } });
    assert.match(changed.body, /XAmzContentSHA256Mismatch/);
    assert.equal((await rawRequest(emulator, { ...put, headers: hash("good") })).status, 200);
  });

  it("to S3 says what its payload is, and signs every header of AWS's", async () => {
    const without = await rawRequest(emulator, {
      ...object,
      headers: {},
      tamper: (headers) => delete headers["x-amz-content-sha256"],
    });
    assert.match(without.body, /Missing required header for this request: x-amz-content-sha256/);
    const added = await rawRequest(emulator, {
      ...object,
      tamper: (headers) => (headers["x-amz-expected-bucket-owner"] = "123456789012"),
    });
    assert.match(
      `${added.status} ${added.body}`,
      /^403 .*<Code>AccessDenied<.*headers present in the request which were not signed/s,
    );
  });

  it("in a form of signing that is not here is NotImplemented by name", async () => {
    const chunks = await rawRequest(emulator, {
      ...object,
      headers: { "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" },
    });
    assert.match(`${chunks.status} ${chunks.body}`, /^501 .*NotImplemented: signed chunks/s);
    const presigned = await fetch(`${emulator.endpoint}/signed/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00`);
    assert.match(`${presigned.status} ${await presigned.text()}`, /^501 .*NotImplemented: presigned URLs/);
    const basic = await fetch(`${emulator.endpoint}/`, { headers: { authorization: "Basic eDp5" } });
    assert.match(`${basic.status} ${await basic.text()}`, /^400 .*Unsupported AWS 'algorithm': 'Basic'/);
  });

  it("of a session needs its token, as long as the session lasts", async () => {
    const keys = emulator.cloud.issueCredentials({ kind: "service", arn: "test.amazonaws.com" }, 900);
    const { accessKeyId, secretAccessKey } = keys;
    const sts = new STSClient(clientSettings(emulator, keys));
    await sts.send(new GetCallerIdentityCommand({}));
    for (const sessionToken of [undefined, "another"]) {
      const wrong = { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
      const send = <T>(call: (settings: ReturnType<typeof clientSettings>) => Promise<T>): Promise<T> =>
        call(clientSettings(emulator, wrong));
      await assert.rejects(
        send((settings) => new STSClient(settings).send(new GetCallerIdentityCommand({}))),
        { name: "InvalidClientTokenId" },
      );
      await assert.rejects(
        send((settings) => new CodePipelineClient(settings).send(new ListPipelinesCommand({}))),
        { name: "UnrecognizedClientException" },
      );
      await assert.rejects(
        send((settings) => new ec2.EC2Client(settings).send(new ec2.DescribeVpcsCommand({}))),
        { name: "AuthFailure" },
      );
      await assert.rejects(
        send((settings) => new s3.S3Client({ ...settings, forcePathStyle: true }).send(new s3.ListBucketsCommand({}))),
        { name: "InvalidToken" },
      );
    }
    sts.destroy();
  });
});

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
