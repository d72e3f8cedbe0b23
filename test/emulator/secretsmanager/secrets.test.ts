import assert from "node:assert/strict";
import * as sm from "@aws-sdk/client-secrets-manager";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install as iam } from "../../../emulator/services/iam";
import { install } from "../../../emulator/services/secretsmanager";
import { credentialsFor } from "../iam/role";
import { clientSettings } from "../support";

describe("Secrets Manager", () => {
  let emulator: Emulator;
  let client: sm.SecretsManagerClient;
  let count = 0;
  let name = "";

  before(async () => {
    emulator = await startEmulator({ services: [iam, install] });
    client = new sm.SecretsManagerClient(clientSettings(emulator));
  });
  after(async () => {
    client.destroy();
    await emulator.close();
  });
  beforeEach(() => {
    name = `app/secret-${++count}`;
  });

  const create = async (SecretString?: string) =>
    (await client.send(new sm.CreateSecretCommand({ Name: name, SecretString }))).ARN ?? "";
  const value = async (more: Partial<sm.GetSecretValueCommandInput> = {}) =>
    (await client.send(new sm.GetSecretValueCommand({ SecretId: name, ...more }))).SecretString;

  it("finds a secret by name, ARN and ARN without its suffix", async () => {
    const arn = await create("s1");
    assert.match(arn, new RegExp(`^arn:aws:secretsmanager:us-east-1:123456789012:secret:${name}-[A-Za-z0-9]{6}$`));
    for (const SecretId of [name, arn, arn.slice(0, -7)]) assert.equal(await value({ SecretId }), "s1");
    await assert.rejects(value({ SecretId: "none" }), { name: "ResourceNotFoundException" });
  });

  it("moves the stages: the current value becomes the previous one", async () => {
    await create("s1");
    await client.send(new sm.PutSecretValueCommand({ SecretId: name, SecretString: "s2" }));
    assert.equal(await value(), "s2");
    assert.equal(await value({ VersionStage: "AWSPREVIOUS" }), "s1");
    const pending = await client.send(
      new sm.PutSecretValueCommand({ SecretId: name, SecretString: "s3", VersionStages: ["AWSPENDING"] }),
    );
    assert.equal(await value(), "s2");
    assert.equal(await value({ VersionStage: "AWSPENDING" }), "s3");
    const { VersionIdsToStages = {} } = await client.send(new sm.DescribeSecretCommand({ SecretId: name }));
    const current = Object.entries(VersionIdsToStages).find(([, stages]) => stages.includes("AWSCURRENT"))?.[0];
    const move = { SecretId: name, VersionStage: "AWSCURRENT", MoveToVersionId: pending.VersionId };
    await assert.rejects(client.send(new sm.UpdateSecretVersionStageCommand(move)), {
      name: "InvalidParameterException",
    });
    await client.send(new sm.UpdateSecretVersionStageCommand({ ...move, RemoveFromVersionId: current }));
    assert.equal(await value(), "s3");
    assert.equal(await value({ VersionStage: "AWSPREVIOUS" }), "s2");
  });

  it("takes the first value as the current one, and a secret without a value has none", async () => {
    await create();
    await assert.rejects(value(), { name: "ResourceNotFoundException", message: /AWSCURRENT/ });
    await client.send(
      new sm.PutSecretValueCommand({ SecretId: name, SecretString: "s1", VersionStages: ["AWSPENDING"] }),
    );
    assert.equal(await value(), "s1");
  });

  it("answers a repeated put with the same token once, and refuses another value for it", async () => {
    await create("s1");
    const ClientRequestToken = "0123456789abcdef0123456789abcdef";
    const put = (SecretString: string) =>
      client.send(new sm.PutSecretValueCommand({ SecretId: name, SecretString, ClientRequestToken }));
    const first = await put("s2");
    assert.equal((await put("s2")).VersionId, first.VersionId);
    await assert.rejects(put("s3"), { name: "ResourceExistsException" });
  });

  it("answers a repeated update with the same token once, and refuses another value for it", async () => {
    await create("s1");
    const update = (SecretString: string) =>
      client.send(new sm.UpdateSecretCommand({ SecretId: name, SecretString, ClientRequestToken: "t".repeat(32) }));
    assert.equal((await update("s2")).VersionId, (await update("s2")).VersionId);
    await assert.rejects(update("s3"), { name: "ResourceExistsException" });
    const { VersionIdsToStages = {} } = await client.send(new sm.DescribeSecretCommand({ SecretId: name }));
    assert.deepEqual(Object.values(VersionIdsToStages).flat().sort(), ["AWSCURRENT", "AWSPREVIOUS"]);
  });

  it("refuses to rotate what no service manages, and values, names and tags beyond the limits", async () => {
    await create("s1");
    await assert.rejects(client.send(new sm.RotateSecretCommand({ SecretId: name })), /No Lambda rotation function/);
    const put = (SecretString: string) => client.send(new sm.PutSecretValueCommand({ SecretId: name, SecretString }));
    await put("x".repeat(65_536));
    await assert.rejects(put("x".repeat(65_537)), { name: "InvalidParameterException" });
    await assert.rejects(client.send(new sm.CreateSecretCommand({ Name: "no spaces" })), /Invalid name/);
    const Tags = Array.from({ length: 51 }, (_, index) => ({ Key: `k${index}`, Value: "" }));
    await assert.rejects(client.send(new sm.TagResourceCommand({ SecretId: name, Tags })), /at most 50 tags/);
  });

  it("deletes at once, or after the recovery window", async () => {
    await create("s1");
    await assert.rejects(create("s1"), { name: "ResourceExistsException" });
    await client.send(new sm.DeleteSecretCommand({ SecretId: name, RecoveryWindowInDays: 7 }));
    await assert.rejects(value(), { name: "InvalidRequestException" });
    await assert.rejects(create("s1"), { name: "InvalidRequestException", message: /already scheduled for deletion/ });
    emulator.cloud.clock.advance(7 * 86_400_000 + 1000);
    await assert.rejects(value(), { name: "ResourceNotFoundException" });
    const first = await create("s2");
    await client.send(new sm.DeleteSecretCommand({ SecretId: name, ForceDeleteWithoutRecovery: true }));
    assert.notEqual(await create("s3"), first);
  });

  it("lets only the managing service change a managed secret", async () => {
    const rds = { kind: "service", arn: "rds.amazonaws.com" } as const;
    const { cloud } = emulator;
    const Name = `rds!db-${count}`;
    await assert.rejects(client.send(new sm.CreateSecretCommand({ Name, SecretString: "x" })), {
      name: "ValidationException",
    });
    const { ARN: SecretId } = await cloud.send(rds, new sm.CreateSecretCommand({ Name, SecretString: "s1" }));
    assert.equal((await client.send(new sm.DescribeSecretCommand({ SecretId }))).OwningService, "rds");
    assert.equal(await value({ SecretId }), "s1");
    const refused = { name: "InvalidRequestException" };
    await assert.rejects(client.send(new sm.PutSecretValueCommand({ SecretId, SecretString: "x" })), refused);
    await assert.rejects(client.send(new sm.DeleteSecretCommand({ SecretId })), refused);
    await cloud.send(rds, new sm.PutSecretValueCommand({ SecretId, SecretString: "s2" }));
    await cloud.send(rds, new sm.DeleteSecretCommand({ SecretId, ForceDeleteWithoutRecovery: true }));
  });

  it("gives a role the secrets that its policy names, with their suffix", async () => {
    const arn = await create("s1");
    const other = arn;
    name = `${name}-other`;
    await create("s2");
    const credentials = await credentialsFor(emulator, `reader-${count}`, [
      { Action: "secretsmanager:GetSecretValue", Resource: other },
    ]);
    const reader = new sm.SecretsManagerClient(clientSettings(emulator, credentials));
    assert.equal((await reader.send(new sm.GetSecretValueCommand({ SecretId: other }))).SecretString, "s1");
    await assert.rejects(reader.send(new sm.GetSecretValueCommand({ SecretId: name })), {
      name: "AccessDeniedException",
      message: /not authorized to perform: secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager/,
    });
    reader.destroy();
  });

  it("makes passwords as asked for", async () => {
    const make = async (input: sm.GetRandomPasswordCommandInput) =>
      (await client.send(new sm.GetRandomPasswordCommand(input))).RandomPassword ?? "";
    assert.match(await make({ PasswordLength: 20, ExcludePunctuation: true }), /^[A-Za-z0-9]{20}$/);
    const each = await make({ PasswordLength: 4 });
    for (const type of [/[a-z]/, /[A-Z]/, /[0-9]/, /[^A-Za-z0-9]/]) assert.match(each, type);
    assert.ok(!/[@/]/.test(await make({ PasswordLength: 2000, ExcludeCharacters: "@/" })));
    await assert.rejects(make({ PasswordLength: 3 }), { name: "InvalidParameterException" });
  });
});
