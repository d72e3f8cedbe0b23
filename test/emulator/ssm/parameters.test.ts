import assert from "node:assert/strict";
import * as ssm from "@aws-sdk/client-ssm";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import type { Install } from "../../../emulator/core/definitions";
import { install as iam } from "../../../emulator/services/iam";
import { parameterOperations } from "../../../emulator/services/ssm/parameters";
import { credentialsFor } from "../iam/role";
import { clientSettings } from "../support";

const install: Install = (cloud) => ({
  signingName: "ssm",
  protocol: "awsJson1_1",
  model: ssm,
  operations: parameterOperations(cloud),
  resources: [],
  invokes: [],
});

describe("Parameter Store", () => {
  let emulator: Emulator;
  let client: ssm.SSMClient;
  let count = 0;
  let path = "";

  before(async () => {
    emulator = await startEmulator({ services: [iam, install] });
    client = new ssm.SSMClient(clientSettings(emulator));
  });
  after(async () => {
    client.destroy();
    await emulator.close();
  });
  beforeEach(() => {
    path = `/leases/${++count}`;
  });

  const put = (name: string, Value: string, more: Partial<ssm.PutParameterCommandInput> = {}) =>
    client.send(new ssm.PutParameterCommand({ Name: `${path}/${name}`, Value, Type: "String", ...more }));
  const get = async (name: string, more: Partial<ssm.GetParameterCommandInput> = {}) =>
    (await client.send(new ssm.GetParameterCommand({ Name: `${path}/${name}`, ...more }))).Parameter;

  it("creates a parameter once: a second put needs Overwrite", async () => {
    assert.equal((await put("1", "a")).Version, 1);
    await assert.rejects(put("1", "b"), { name: "ParameterAlreadyExists" });
    assert.equal((await put("1", "c", { Overwrite: true })).Version, 2);
    assert.equal((await get("1"))?.Value, "c");
    assert.equal((await get("1:1"))?.Value, "a");
    await assert.rejects(get("1:9"), { name: "ParameterVersionNotFound" });
  });

  it("lets one of many creators win", async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, (_, at) => put("race", String(at))));
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  });

  it("keeps to the tiers' sizes, and never goes back from the advanced one", async () => {
    await put("large", "x".repeat(4096));
    await assert.rejects(put("larger", "x".repeat(4097)), /maximum parameter value of 4096/);
    assert.equal((await put("tiered", "x".repeat(4097), { Tier: "Intelligent-Tiering" })).Tier, "Advanced");
    await assert.rejects(put("advanced", "x".repeat(8193), { Tier: "Advanced" }), /maximum parameter value of 8192/);
    await assert.rejects(put("tiered", "x", { Tier: "Standard", Overwrite: true }), /can't downgrade/);
  });

  it("holds a value against its allowed pattern, also against an older one, and keeps what it refuses out", async () => {
    await put("number", "1", { AllowedPattern: "^[0-9]+$" });
    await assert.rejects(put("number", "x", { Overwrite: true }), { name: "ParameterPatternMismatchException" });
    assert.equal((await get("number"))?.Version, 1);
    await assert.rejects(put("broken", "x", { AllowedPattern: "(" }), { name: "InvalidAllowedPatternException" });
    await assert.rejects(get("broken"), { name: "ParameterNotFound" });
  });

  it("shows a SecureString only to those who ask for it decrypted", async () => {
    await put("s", "plain", { Type: "SecureString" });
    assert.notEqual((await get("s"))?.Value, "plain");
    assert.equal((await get("s", { WithDecryption: true }))?.Value, "plain");
  });

  it("lists below a path, in pages", async () => {
    for (const name of ["b", "a", "deep/c"]) await put(name, name);
    const list = async (more: Partial<ssm.GetParametersByPathCommandInput>) =>
      client.send(new ssm.GetParametersByPathCommand({ Path: path, ...more }));
    const names = (reply: ssm.GetParametersByPathCommandOutput) =>
      reply.Parameters?.map(({ Name }) => Name?.slice(path.length + 1));
    assert.deepEqual(names(await list({})), ["a", "b"]);
    const first = await list({ Recursive: true, MaxResults: 2 });
    assert.deepEqual(names(first), ["a", "b"]);
    assert.deepEqual(names(await list({ Recursive: true, MaxResults: 2, NextToken: first.NextToken })), ["deep/c"]);
  });

  it("answers to several names at once which it does not know", async () => {
    await put("a", "1");
    const Names = [`${path}/a`, `${path}/none`];
    const found = await client.send(new ssm.GetParametersCommand({ Names }));
    assert.deepEqual(found.InvalidParameters, [`${path}/none`]);
    assert.deepEqual(
      found.Parameters?.map(({ Name }) => Name),
      [`${path}/a`],
    );
  });

  it("knows the published image, which nobody can change", async () => {
    const Name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    const { Parameter } = await client.send(new ssm.GetParameterCommand({ Name }));
    assert.match(Parameter?.Value ?? "", /^ami-[0-9a-f]{17}$/);
    await assert.rejects(client.send(new ssm.PutParameterCommand({ Name, Value: "x", Overwrite: true })), {
      name: "AccessDeniedException",
    });
    await assert.rejects(client.send(new ssm.DeleteParameterCommand({ Name })), { name: "ParameterNotFound" });
  });

  it("refuses names and values that AWS refuses", async () => {
    const refused = { name: "ValidationException" };
    await assert.rejects(put("a b", "x"), refused);
    await assert.rejects(put("a", "x".repeat(4097)), refused);
    await assert.rejects(put("p", "x", { AllowedPattern: "^\\d+$" }), { name: "ParameterPatternMismatchException" });
    await assert.rejects(put("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15", "x"), {
      name: "HierarchyLevelLimitExceededException",
    });
  });

  it("gives a role the parameters that its policy names, without the leading slash", async () => {
    await put("a", "1");
    const credentials = await credentialsFor(emulator, `reader-${count}`, [
      { Action: "ssm:GetParameter", Resource: `arn:aws:ssm:us-east-1:123456789012:parameter${path}/a` },
    ]);
    const reader = new ssm.SSMClient(clientSettings(emulator, credentials));
    const read = (name: string) => reader.send(new ssm.GetParameterCommand({ Name: `${path}/${name}` }));
    assert.equal((await read("a")).Parameter?.Value, "1");
    await assert.rejects(read("b"), { name: "AccessDeniedException" });
    reader.destroy();
  });
});
