import assert from "node:assert/strict";
import * as iam from "@aws-sdk/client-iam";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { install } from "../../../emulator/services/iam";
import { install as sts } from "../../../emulator/services/sts";
import { clientSettings } from "../support";
import { createRole, policyOf, trustOf } from "./role";

describe("IAM", () => {
  let emulator: Emulator;
  let client: iam.IAMClient;
  let count = 0;
  let name = "";

  before(async () => {
    emulator = await startEmulator({ services: [install, sts] });
    client = new iam.IAMClient(clientSettings(emulator));
  });
  after(async () => {
    client.destroy();
    await emulator.close();
  });
  beforeEach(() => {
    name = `role-${++count}`;
  });

  const create = (trust = trustOf("ec2.amazonaws.com")) =>
    client.send(new iam.CreateRoleCommand({ RoleName: name, AssumeRolePolicyDocument: trust, Description: "d" }));
  const managed = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";

  it("gives a role back with its policy URL-encoded", async () => {
    const { Role: created } = await create();
    assert.equal(created?.Arn, `arn:aws:iam::123456789012:role/${name}`);
    assert.match(created?.RoleId ?? "", /^AROA[A-Z2-7]{17}$/);
    const { Role: found } = await client.send(new iam.GetRoleCommand({ RoleName: name }));
    assert.equal(decodeURIComponent(found?.AssumeRolePolicyDocument ?? ""), trustOf("ec2.amazonaws.com"));
    assert.equal(found?.MaxSessionDuration, 3600);
    assert.equal(found?.Description, "d");
  });

  it("has names once, whatever their case", async () => {
    await create();
    name = name.toUpperCase();
    await assert.rejects(create(), { name: "EntityAlreadyExistsException" });
  });

  it("refuses policies that are malformed, by the kind of policy", async () => {
    const identity = policyOf([{ Action: "s3:GetObject", Resource: "*" }]);
    for (const trust of ["not json", "{}", identity])
      await assert.rejects(create(trust), { name: "MalformedPolicyDocumentException" }, trust);
    await create();
    const put = (PolicyDocument: string) =>
      client.send(new iam.PutRolePolicyCommand({ RoleName: name, PolicyName: "p", PolicyDocument }));
    for (const document of [
      trustOf("ec2.amazonaws.com"),
      policyOf([{ Action: "GetObject", Resource: "*" }]),
      policyOf([{ Action: "s3:GetObject", Resource: "bucket" }]),
      policyOf([{ Action: "s3:GetObject", Resource: "*", Condition: { StringEquals: { "s3:unheard-of": "x" } } }]),
      policyOf([{ Action: "s3:GetObject", Resource: "*", Condition: { StringMatches: { "aws:userid": "x" } } }]),
    ])
      await assert.rejects(put(document), { name: "MalformedPolicyDocumentException" }, document);
    await put(identity);
    const found = await client.send(new iam.GetRolePolicyCommand({ RoleName: name, PolicyName: "p" }));
    assert.equal(decodeURIComponent(found.PolicyDocument ?? ""), identity);
  });

  it("deletes a role only when nothing hangs on it", async () => {
    await create();
    const RoleName = name;
    const remove = () => client.send(new iam.DeleteRoleCommand({ RoleName }));
    const PolicyDocument = policyOf([{ Action: "s3:*", Resource: "*" }]);
    await client.send(new iam.PutRolePolicyCommand({ RoleName, PolicyName: "p", PolicyDocument }));
    await client.send(new iam.AttachRolePolicyCommand({ RoleName, PolicyArn: managed }));
    const InstanceProfileName = `${name}-profile`;
    await client.send(new iam.CreateInstanceProfileCommand({ InstanceProfileName }));
    await client.send(new iam.AddRoleToInstanceProfileCommand({ InstanceProfileName, RoleName }));
    await assert.rejects(remove(), { name: "DeleteConflictException", message: /instance profile first/ });
    await client.send(new iam.RemoveRoleFromInstanceProfileCommand({ InstanceProfileName, RoleName }));
    await assert.rejects(remove(), { name: "DeleteConflictException", message: /detach all policies/ });
    await client.send(new iam.DetachRolePolicyCommand({ RoleName, PolicyArn: managed }));
    await assert.rejects(remove(), { name: "DeleteConflictException", message: /delete policies/ });
    await client.send(new iam.DeleteRolePolicyCommand({ RoleName, PolicyName: "p" }));
    await remove();
    await assert.rejects(client.send(new iam.GetRoleCommand({ RoleName })), { name: "NoSuchEntityException" });
  });

  it("knows one managed policy, and says that others do not exist", async () => {
    await create();
    const attach = (PolicyArn: string) => client.send(new iam.AttachRolePolicyCommand({ RoleName: name, PolicyArn }));
    await assert.rejects(attach("arn:aws:iam::aws:policy/AdministratorAccess"), { name: "NoSuchEntityException" });
    await attach(managed);
    const texts = emulator.cloud.stores.iam.policiesOf(`arn:aws:iam::123456789012:role/${name}`) ?? [];
    assert.match(texts.join(), /ssm:UpdateInstanceInformation/);
  });

  it("takes one role per instance profile", async () => {
    await create();
    const InstanceProfileName = `${name}-profile`;
    await client.send(new iam.CreateInstanceProfileCommand({ InstanceProfileName }));
    const add = () => client.send(new iam.AddRoleToInstanceProfileCommand({ InstanceProfileName, RoleName: name }));
    await add();
    await assert.rejects(add(), { name: "LimitExceededException" });
    const { InstanceProfiles } = await client.send(new iam.ListInstanceProfilesForRoleCommand({ RoleName: name }));
    assert.deepEqual(
      InstanceProfiles?.map((profile) => profile.Roles?.[0]?.RoleName),
      [name],
    );
  });

  it("tells STS who is calling", async () => {
    const settings = clientSettings(emulator);
    const asRoot = new STSClient(settings);
    const identity = await asRoot.send(new GetCallerIdentityCommand({}));
    assert.deepEqual(
      [identity.Account, identity.Arn, identity.UserId],
      ["123456789012", "arn:aws:iam::123456789012:root", "123456789012"],
    );
    const arn = await createRole(emulator, name, []);
    const session = emulator.cloud.assumeRole(arn, "job", "ec2.amazonaws.com");
    const asRole = new STSClient(clientSettings(emulator, emulator.cloud.issueCredentials(session, 900)));
    const called = await asRole.send(new GetCallerIdentityCommand({}));
    assert.equal(called.Arn, `arn:aws:sts::123456789012:assumed-role/${name}/job`);
    assert.match(called.UserId ?? "", /^AROA[A-Z2-7]{17}:job$/);
    asRoot.destroy();
    asRole.destroy();
  });

  it("lets only those services assume a role that its trust policy names, under its conditions", async () => {
    const condition = { StringEquals: { "aws:SourceAccount": "999999999999" } };
    const arn = await createRole(emulator, name, [], trustOf("codebuild.amazonaws.com", condition));
    const assume = (service: string, account: string) =>
      emulator.cloud.assumeRole(arn, "s", service, { "aws:SourceAccount": account });
    assume("codebuild.amazonaws.com", "999999999999");
    assert.throws(() => assume("codebuild.amazonaws.com", "123456789012"), { code: "AccessDenied" });
    assert.throws(() => assume("ec2.amazonaws.com", "999999999999"), { code: "AccessDenied" });
  });
});
