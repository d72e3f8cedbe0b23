/** The `aws:iam` resource types. */
import {
  AddRoleToInstanceProfileCommand,
  AttachRolePolicyCommand,
  CreateInstanceProfileCommand,
  CreateRoleCommand,
  DeleteInstanceProfileCommand,
  DeleteRoleCommand,
  DeleteRolePermissionsBoundaryCommand,
  DeleteRolePolicyCommand,
  DetachRolePolicyCommand,
  GetInstanceProfileCommand,
  GetRoleCommand,
  GetRolePolicyCommand,
  InstanceProfile,
  ListAttachedRolePoliciesCommand,
  ListInstanceProfilesForRoleCommand,
  ListRolePoliciesCommand,
  PutRolePermissionsBoundaryCommand,
  PutRolePolicyCommand,
  RemoveRoleFromInstanceProfileCommand,
  Role,
  TagInstanceProfileCommand,
  TagRoleCommand,
  UntagInstanceProfileCommand,
  UntagRoleCommand,
  UpdateAssumeRolePolicyCommand,
  UpdateRoleCommand,
} from "@aws-sdk/client-iam";
import { Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import { amount, flag, policyText, required, tagChanges, tagOutputs, tagPairs, text, unless } from "../properties";

const gone = ["NoSuchEntity"];

const role: ResourceDefinition = {
  type: "aws:iam/role:Role",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_iam_role: name, Forces new resource",
      autoname: { maxLength: 64 },
    },
    path: { replaceOn: "terraform-provider-aws, aws_iam_role: path (there is no operation that moves a role)" },
    assumeRolePolicy: {},
    description: {},
    maxSessionDuration: {},
    forceDetachPolicies: {},
    permissionsBoundary: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const { Role: created } = await context.send(
      new CreateRoleCommand({
        RoleName: required(inputs, "name"),
        Path: text(inputs, "path") ?? "/",
        AssumeRolePolicyDocument: policyText(inputs, "assumeRolePolicy"),
        Description: text(inputs, "description"),
        MaxSessionDuration: amount(inputs, "maxSessionDuration"),
        PermissionsBoundary: text(inputs, "permissionsBoundary"),
        Tags: tagPairs(inputs),
      }),
    );
    return roleState(inputs, created);
  },
  read: async (id, state, context) => {
    const found = await unless(gone, context.send(new GetRoleCommand({ RoleName: id })));
    return found && roleState({ ...state, ...roleProperties(state, found.Role) }, found.Role);
  },
  update: async (id, news, olds, context) => {
    const RoleName = id;
    if (news.assumeRolePolicy !== olds.assumeRolePolicy) {
      const PolicyDocument = policyText(news, "assumeRolePolicy");
      await context.send(new UpdateAssumeRolePolicyCommand({ RoleName, PolicyDocument }));
    }
    const [Description, MaxSessionDuration] = [text(news, "description"), amount(news, "maxSessionDuration")];
    await context.send(new UpdateRoleCommand({ RoleName, Description, MaxSessionDuration }));
    if (news.permissionsBoundary !== olds.permissionsBoundary) {
      const PermissionsBoundary = text(news, "permissionsBoundary");
      await context.send(
        PermissionsBoundary === undefined
          ? new DeleteRolePermissionsBoundaryCommand({ RoleName })
          : new PutRolePermissionsBoundaryCommand({ RoleName, PermissionsBoundary }),
      );
    }
    const { set, removed } = tagChanges(olds, news);
    if (removed.length > 0) await context.send(new UntagRoleCommand({ RoleName, TagKeys: removed }));
    if (set.length > 0) await context.send(new TagRoleCommand({ RoleName, Tags: set }));
    const found = await context.send(new GetRoleCommand({ RoleName }));
    return roleState(news, found.Role);
  },
  delete: async (id, state, context) => {
    await unless(gone, removeRole(id, flag(state, "forceDetachPolicies") === true, context));
  },
};

/** The provider takes a role out of its instance profiles, and with `forceDetachPolicies` takes its policies away. */
async function removeRole(RoleName: string, force: boolean, context: ResourceContext): Promise<void> {
  const { InstanceProfiles = [] } = await context.send(new ListInstanceProfilesForRoleCommand({ RoleName }));
  for (const { InstanceProfileName } of InstanceProfiles)
    await context.send(new RemoveRoleFromInstanceProfileCommand({ InstanceProfileName, RoleName }));
  if (force) {
    const { AttachedPolicies = [] } = await context.send(new ListAttachedRolePoliciesCommand({ RoleName }));
    for (const { PolicyArn } of AttachedPolicies)
      await context.send(new DetachRolePolicyCommand({ RoleName, PolicyArn }));
    const { PolicyNames = [] } = await context.send(new ListRolePoliciesCommand({ RoleName }));
    for (const PolicyName of PolicyNames) await context.send(new DeleteRolePolicyCommand({ RoleName, PolicyName }));
  }
  await context.send(new DeleteRoleCommand({ RoleName }));
}

/** What a refresh finds in the place of inputs. Policies are compared by meaning: equal ones keep their text. */
function roleProperties(state: Properties, found: Role | undefined): Properties {
  const policy = decodeURIComponent(found?.AssumeRolePolicyDocument ?? "");
  return {
    name: found?.RoleName,
    assumeRolePolicy: sameJson(state.assumeRolePolicy, policy) ? state.assumeRolePolicy : policy,
    description: found?.Description,
    maxSessionDuration: found?.MaxSessionDuration,
    permissionsBoundary: found?.PermissionsBoundary?.PermissionsBoundaryArn,
  };
}

function roleState(state: Properties, found: Role | undefined) {
  return {
    id: found?.RoleName ?? required(state, "name"),
    outputs: {
      maxSessionDuration: 3600,
      forceDetachPolicies: false,
      ...state,
      ...tagOutputs(state, found?.Tags),
      path: found?.Path,
      arn: found?.Arn,
      createDate: found?.CreateDate?.toISOString(),
      uniqueId: found?.RoleId,
    },
  };
}

const rolePolicy: ResourceDefinition = {
  type: "aws:iam/rolePolicy:RolePolicy",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_iam_role_policy: name, Forces new resource",
      autoname: { maxLength: 128 },
    },
    role: { replaceOn: "terraform-provider-aws, aws_iam_role_policy: role, Forces new resource" },
    policy: {},
  },
  create: putRolePolicy,
  read: async (id, state, context) => {
    const [RoleName, PolicyName] = splitId(id);
    const found = await unless(gone, context.send(new GetRolePolicyCommand({ RoleName, PolicyName })));
    if (!found) return undefined;
    const actual = decodeURIComponent(found.PolicyDocument ?? "");
    const policy = sameJson(state.policy, actual) ? state.policy : actual;
    return { id, outputs: { ...state, role: RoleName, name: PolicyName, policy } };
  },
  update: async (_id, news, _olds, context) => putRolePolicy(news, context),
  delete: async (id, _state, context) => {
    const [RoleName, PolicyName] = splitId(id);
    await unless(gone, context.send(new DeleteRolePolicyCommand({ RoleName, PolicyName })));
  },
};

async function putRolePolicy(inputs: Properties, context: ResourceContext) {
  const [RoleName, PolicyName] = [required(inputs, "role"), required(inputs, "name")];
  const PolicyDocument = policyText(inputs, "policy");
  await context.send(new PutRolePolicyCommand({ RoleName, PolicyName, PolicyDocument }));
  return { id: `${RoleName}:${PolicyName}`, outputs: { ...inputs } };
}

const rolePolicyAttachment: ResourceDefinition = {
  type: "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
  inputs: {
    role: { replaceOn: "terraform-provider-aws, aws_iam_role_policy_attachment: role, Forces new resource" },
    policyArn: { replaceOn: "terraform-provider-aws, aws_iam_role_policy_attachment: policy_arn, Forces new resource" },
  },
  create: async (inputs, context) => {
    const [RoleName, PolicyArn] = [required(inputs, "role"), required(inputs, "policyArn")];
    await context.send(new AttachRolePolicyCommand({ RoleName, PolicyArn }));
    return { id: `${RoleName}/${PolicyArn}`, outputs: { ...inputs } };
  },
  read: async (id, _state, context) => {
    const [RoleName, PolicyArn] = splitAttachment(id);
    const found = await unless(gone, context.send(new ListAttachedRolePoliciesCommand({ RoleName })));
    const attached = found?.AttachedPolicies?.some((policy) => policy.PolicyArn === PolicyArn);
    return attached ? { id, outputs: { role: RoleName, policyArn: PolicyArn } } : undefined;
  },
  delete: async (id, _state, context) => {
    const [RoleName, PolicyArn] = splitAttachment(id);
    await unless(gone, context.send(new DetachRolePolicyCommand({ RoleName, PolicyArn })));
  },
};

const instanceProfile: ResourceDefinition = {
  type: "aws:iam/instanceProfile:InstanceProfile",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_iam_instance_profile: name, Forces new resource",
      autoname: { maxLength: 128 },
    },
    path: {
      replaceOn: "terraform-provider-aws, aws_iam_instance_profile: path (there is no operation that moves one)",
    },
    role: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const InstanceProfileName = required(inputs, "name");
    const created = await context.send(
      new CreateInstanceProfileCommand({
        InstanceProfileName,
        Path: text(inputs, "path") ?? "/",
        Tags: tagPairs(inputs),
      }),
    );
    context.made(InstanceProfileName);
    const RoleName = text(inputs, "role");
    if (RoleName !== undefined)
      await context.send(new AddRoleToInstanceProfileCommand({ InstanceProfileName, RoleName }));
    return profileState(inputs, created.InstanceProfile);
  },
  read: async (id, state, context) => {
    const found = await unless(gone, context.send(new GetInstanceProfileCommand({ InstanceProfileName: id })));
    const actual = found?.InstanceProfile;
    return actual && profileState({ ...state, name: id, role: actual.Roles?.[0]?.RoleName }, actual);
  },
  update: async (id, news, olds, context) => {
    const InstanceProfileName = id;
    const [before, after] = [text(olds, "role"), text(news, "role")];
    if (before !== after) {
      if (before !== undefined)
        await unless(
          gone,
          context.send(new RemoveRoleFromInstanceProfileCommand({ InstanceProfileName, RoleName: before })),
        );
      if (after !== undefined)
        await context.send(new AddRoleToInstanceProfileCommand({ InstanceProfileName, RoleName: after }));
    }
    const { set, removed } = tagChanges(olds, news);
    if (removed.length > 0)
      await context.send(new UntagInstanceProfileCommand({ InstanceProfileName, TagKeys: removed }));
    if (set.length > 0) await context.send(new TagInstanceProfileCommand({ InstanceProfileName, Tags: set }));
    const found = await context.send(new GetInstanceProfileCommand({ InstanceProfileName }));
    return profileState(news, found.InstanceProfile);
  },
  delete: async (id, _state, context) => {
    await unless(gone, removeProfile(id, context));
  },
};

async function removeProfile(InstanceProfileName: string, context: ResourceContext): Promise<void> {
  const { InstanceProfile: found } = await context.send(new GetInstanceProfileCommand({ InstanceProfileName }));
  for (const { RoleName } of found?.Roles ?? [])
    await context.send(new RemoveRoleFromInstanceProfileCommand({ InstanceProfileName, RoleName }));
  await context.send(new DeleteInstanceProfileCommand({ InstanceProfileName }));
}

function profileState(state: Properties, found: InstanceProfile | undefined) {
  return {
    id: found?.InstanceProfileName ?? required(state, "name"),
    outputs: {
      ...state,
      ...tagOutputs(state, found?.Tags),
      path: found?.Path,
      arn: found?.Arn,
      createDate: found?.CreateDate?.toISOString(),
      uniqueId: found?.InstanceProfileId,
    },
  };
}

export const resources: readonly ResourceDefinition[] = [role, rolePolicy, rolePolicyAttachment, instanceProfile];

function splitId(id: string): readonly [string, string] {
  const at = id.indexOf(":");
  return [id.slice(0, at), id.slice(at + 1)];
}

function splitAttachment(id: string): readonly [string, string] {
  const at = id.indexOf("/");
  return [id.slice(0, at), id.slice(at + 1)];
}

function sameJson(a: unknown, b: string): boolean {
  try {
    return JSON.stringify(typeof a === "string" ? JSON.parse(a) : a) === JSON.stringify(JSON.parse(b));
  } catch {
    return false;
  }
}
