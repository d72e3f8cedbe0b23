import assert from "node:assert/strict";
import * as iam from "@aws-sdk/client-iam";
import { AssumeRoleCommand, GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
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

  it("refuses policies that are malformed or not understood, by the kind of policy [E13]", async () => {
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

  it("has sessions of roles only for services: nobody asks for one", async () => {
    const arn = await createRole(emulator, name, []);
    const asRoot = new STSClient(clientSettings(emulator));
    const asked = new AssumeRoleCommand({ RoleArn: arn, RoleSessionName: "s", Policy: "{}" });
    await assert.rejects(asRoot.send(asked), { message: "NotImplemented: sts: AssumeRole" });
    asRoot.destroy();
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

  describe("with a permissions boundary", () => {
    const boundaryOf = async (...statements: Parameters<typeof policyOf>[0]) => {
      const PolicyDocument = policyOf(statements);
      const created = await client.send(new iam.CreatePolicyCommand({ PolicyName: `${name}-limit`, PolicyDocument }));
      return created.Policy?.Arn ?? "";
    };
    const roleWithin = async (PermissionsBoundary: string) => {
      await createRole(emulator, name, [{ Action: "iam:*", Resource: "*" }]);
      await client.send(new iam.PutRolePermissionsBoundaryCommand({ RoleName: name, PermissionsBoundary }));
      const arn = `arn:aws:iam::123456789012:role/${name}`;
      const session = emulator.cloud.assumeRole(arn, "job", "ec2.amazonaws.com");
      return {
        send: <T>(call: (cloud: Emulator["cloud"], as: typeof session) => Promise<T>) => call(emulator.cloud, session),
      };
    };

    it("does what both its policies and the boundary allow, and is told which of them does not [E11] [E12]", async () => {
      const boundary = await boundaryOf(
        { Action: ["iam:Get*", "iam:List*"], Resource: "*" },
        { Effect: "Deny", Action: "iam:ListRolePolicies", Resource: "*" },
      );
      const RoleName = name;
      const { send } = await roleWithin(boundary);
      await send((cloud, as) => cloud.send(as, new iam.GetRoleCommand({ RoleName })));
      const user = `User: arn:aws:sts::123456789012:assumed-role/${RoleName}/job is not authorized to perform:`;
      const on = `on resource: arn:aws:iam::123456789012:role/${RoleName}`;
      await assert.rejects(
        send((cloud, as) => cloud.send(as, new iam.DeleteRoleCommand({ RoleName }))),
        {
          name: "AccessDenied",
          message: `${user} iam:DeleteRole ${on} because no permissions boundary allows the iam:DeleteRole action`,
        },
      );
      await assert.rejects(
        send((cloud, as) => cloud.send(as, new iam.ListRolePoliciesCommand({ RoleName }))),
        { message: `${user} iam:ListRolePolicies ${on} with an explicit deny in a permissions boundary` },
      );
      await client.send(new iam.DeleteRolePermissionsBoundaryCommand({ RoleName }));
      await send((cloud, as) => cloud.send(as, new iam.ListRolePoliciesCommand({ RoleName })));
    });

    it("creates roles only within the boundary that its policy asks for", async () => {
      const boundary = await boundaryOf({ Action: "iam:*", Resource: "*" });
      const delegate = await createRole(emulator, `${name}-delegate`, [
        {
          Action: "iam:CreateRole",
          Resource: "*",
          Condition: { StringEquals: { "iam:PermissionsBoundary": boundary } },
        },
      ]);
      const session = emulator.cloud.assumeRole(delegate, "s", "ec2.amazonaws.com");
      const make = (PermissionsBoundary?: string) =>
        emulator.cloud.send(
          session,
          new iam.CreateRoleCommand({
            RoleName: name,
            AssumeRolePolicyDocument: trustOf("ec2.amazonaws.com"),
            PermissionsBoundary,
          }),
        );
      await assert.rejects(make(), { name: "AccessDenied" });
      await assert.rejects(make(managed), { name: "AccessDenied" });
      const { Role } = await make(boundary);
      assert.equal(Role?.PermissionsBoundary?.PermissionsBoundaryArn, boundary);
    });

    it("keeps the boundary's policy, and takes none that there is not", async () => {
      const boundary = await boundaryOf({ Action: "s3:*", Resource: "*" });
      await roleWithin(boundary);
      const remove = () => client.send(new iam.DeletePolicyCommand({ PolicyArn: boundary }));
      await assert.rejects(remove(), { name: "DeleteConflictException" });
      const none = { RoleName: name, PermissionsBoundary: `${boundary}-not` };
      await assert.rejects(client.send(new iam.PutRolePermissionsBoundaryCommand(none)), {
        name: "NoSuchEntityException",
      });
      await client.send(new iam.DeleteRolePermissionsBoundaryCommand({ RoleName: name }));
      await remove();
      await assert.rejects(remove(), { name: "NoSuchEntityException" });
    });
  });
});
