/** Roles, their inline policies, and instance profiles. */
import {
  AddRoleToInstanceProfileCommandInput,
  AddRoleToInstanceProfileCommandOutput,
  CreateInstanceProfileCommandInput,
  CreateInstanceProfileCommandOutput,
  CreateRoleCommandInput,
  CreateRoleCommandOutput,
  DeleteInstanceProfileCommandInput,
  DeleteInstanceProfileCommandOutput,
  DeleteRoleCommandInput,
  DeleteRoleCommandOutput,
  DeleteRolePolicyCommandInput,
  DeleteRolePolicyCommandOutput,
  GetInstanceProfileCommandInput,
  GetInstanceProfileCommandOutput,
  GetRoleCommandInput,
  GetRoleCommandOutput,
  GetRolePolicyCommandInput,
  GetRolePolicyCommandOutput,
  InstanceProfile,
  ListInstanceProfilesForRoleCommandInput,
  ListInstanceProfilesForRoleCommandOutput,
  ListRolePoliciesCommandInput,
  ListRolePoliciesCommandOutput,
  PutRolePolicyCommandInput,
  PutRolePolicyCommandOutput,
  RemoveRoleFromInstanceProfileCommandInput,
  RemoveRoleFromInstanceProfileCommandOutput,
  Role,
  Tag,
  TagInstanceProfileCommandInput,
  TagInstanceProfileCommandOutput,
  TagRoleCommandInput,
  TagRoleCommandOutput,
  UntagInstanceProfileCommandInput,
  UntagInstanceProfileCommandOutput,
  UntagRoleCommandInput,
  UntagRoleCommandOutput,
  UpdateAssumeRolePolicyCommandInput,
  UpdateAssumeRolePolicyCommandOutput,
  UpdateRoleCommandInput,
  UpdateRoleCommandOutput,
} from "@aws-sdk/client-iam";
import { Access, AwsError, Call, Operation, operation } from "../../core/definitions";
import { managedPolicyOperations, validBoundary } from "./managed-policy-operations";
import { noSuchEntity, StoredProfile, StoredRole, uniqueId } from "./store";
import {
  arnOf,
  boundaryKey,
  conflict,
  exists,
  invalid,
  onRole,
  storeOf,
  validName,
  validPath,
  validPolicy,
} from "./support";

const createRole = operation<CreateRoleCommandInput, CreateRoleCommandOutput>({
  name: "CreateRole",
  honours: [
    "RoleName",
    "Path",
    "AssumeRolePolicyDocument",
    "Description",
    "MaxSessionDuration",
    "PermissionsBoundary",
    "Tags",
  ],
  authorize: (input, { cloud }) => {
    const resource = arnOf(cloud.account, "role", input.Path, input.RoleName);
    return [
      { action: "iam:CreateRole", resource, context: boundaryKey(input.PermissionsBoundary) },
      ...tagging(input.Tags, "iam:TagRole", resource),
    ];
  },
  handle: (input, call) => {
    const name = validName(input.RoleName, "roleName", 64);
    const path = validPath(input.Path);
    const { roles } = storeOf(call);
    if (roles.has(name.toLowerCase())) throw exists(`Role with name ${name} already exists.`);
    const role: StoredRole = {
      name,
      path,
      id: uniqueId("AROA"),
      arn: arnOf(call.cloud.account, "role", path, name),
      created: call.cloud.clock.now(),
      trustPolicy: validPolicy(input.AssumeRolePolicyDocument, "trust", 2048),
      description: input.Description,
      maxSessionDuration: validDuration(input.MaxSessionDuration ?? 3600),
      boundary: validBoundary(call, input.PermissionsBoundary),
      tags: validTags(input.Tags ?? []),
      inline: new Map(),
      attached: new Set(),
    };
    roles.set(name.toLowerCase(), role);
    return { Role: roleReply(role) };
  },
});

const getRole = operation<GetRoleCommandInput, GetRoleCommandOutput>({
  name: "GetRole",
  honours: ["RoleName"],
  authorize: (input, call) => onRole(call, input, "GetRole"),
  handle: (input, call) => ({ Role: roleReply(storeOf(call).role(input.RoleName)) }),
});

const deleteRole = operation<DeleteRoleCommandInput, DeleteRoleCommandOutput>({
  name: "DeleteRole",
  honours: ["RoleName"],
  authorize: (input, call) => onRole(call, input, "DeleteRole"),
  handle: (input, call) => {
    const store = storeOf(call);
    const role = store.role(input.RoleName);
    if (store.profilesOf(role).length > 0)
      throw conflict("Cannot delete entity, must remove roles from instance profile first.");
    if (role.attached.size > 0) throw conflict("Cannot delete entity, must detach all policies first.");
    if (role.inline.size > 0) throw conflict("Cannot delete entity, must delete policies first.");
    store.roles.delete(role.name.toLowerCase());
    return {};
  },
});

const updateRole = operation<UpdateRoleCommandInput, UpdateRoleCommandOutput>({
  name: "UpdateRole",
  honours: ["RoleName", "Description", "MaxSessionDuration"],
  authorize: (input, call) => onRole(call, input, "UpdateRole"),
  handle: (input, call) => {
    const role = storeOf(call).role(input.RoleName);
    // "If this parameter is not specified, the value is changed": the description to none, the duration to an hour.
    role.description = input.Description;
    role.maxSessionDuration = validDuration(input.MaxSessionDuration ?? 3600);
    return {};
  },
});

const updateAssumeRolePolicy = operation<UpdateAssumeRolePolicyCommandInput, UpdateAssumeRolePolicyCommandOutput>({
  name: "UpdateAssumeRolePolicy",
  honours: ["RoleName", "PolicyDocument"],
  authorize: (input, call) => onRole(call, input, "UpdateAssumeRolePolicy"),
  handle: (input, call) => {
    storeOf(call).role(input.RoleName).trustPolicy = validPolicy(input.PolicyDocument, "trust", 2048);
    return {};
  },
});

const tagRole = operation<TagRoleCommandInput, TagRoleCommandOutput>({
  name: "TagRole",
  honours: ["RoleName", "Tags"],
  authorize: (input, call) => onRole(call, input, "TagRole"),
  handle: (input, call) => {
    const role = storeOf(call).role(input.RoleName);
    role.tags = withTags(role.tags, input.Tags ?? []);
    return {};
  },
});

const untagRole = operation<UntagRoleCommandInput, UntagRoleCommandOutput>({
  name: "UntagRole",
  honours: ["RoleName", "TagKeys"],
  authorize: (input, call) => onRole(call, input, "UntagRole"),
  handle: (input, call) => {
    const role = storeOf(call).role(input.RoleName);
    role.tags = role.tags.filter(({ Key }) => !(input.TagKeys ?? []).includes(Key ?? ""));
    return {};
  },
});

const putRolePolicy = operation<PutRolePolicyCommandInput, PutRolePolicyCommandOutput>({
  name: "PutRolePolicy",
  honours: ["RoleName", "PolicyName", "PolicyDocument"],
  authorize: (input, call) => onRole(call, input, "PutRolePolicy"),
  handle: (input, call) => {
    const role = storeOf(call).role(input.RoleName);
    const name = validName(input.PolicyName, "policyName", 128);
    const document = validPolicy(input.PolicyDocument, "identity", 131_072);
    const others = [...role.inline].filter(([other]) => other !== name).map(([, text]) => text);
    checkInlineSize(role.name, [...others, document]);
    role.inline.set(name, document);
    return {};
  },
});

const getRolePolicy = operation<GetRolePolicyCommandInput, GetRolePolicyCommandOutput>({
  name: "GetRolePolicy",
  honours: ["RoleName", "PolicyName"],
  authorize: (input, call) => onRole(call, input, "GetRolePolicy"),
  handle: (input, call) => {
    const role = storeOf(call).role(input.RoleName);
    const document = role.inline.get(input.PolicyName ?? "");
    if (document === undefined) throw noSuchPolicy(input.PolicyName);
    return { RoleName: role.name, PolicyName: input.PolicyName, PolicyDocument: encodeURIComponent(document) };
  },
});

const deleteRolePolicy = operation<DeleteRolePolicyCommandInput, DeleteRolePolicyCommandOutput>({
  name: "DeleteRolePolicy",
  honours: ["RoleName", "PolicyName"],
  authorize: (input, call) => onRole(call, input, "DeleteRolePolicy"),
  handle: (input, call) => {
    if (
      !storeOf(call)
        .role(input.RoleName)
        .inline.delete(input.PolicyName ?? "")
    )
      throw noSuchPolicy(input.PolicyName);
    return {};
  },
});

const listRolePolicies = operation<ListRolePoliciesCommandInput, ListRolePoliciesCommandOutput>({
  name: "ListRolePolicies",
  honours: ["RoleName"],
  authorize: (input, call) => onRole(call, input, "ListRolePolicies"),
  handle: (input, call) => ({
    PolicyNames: [...storeOf(call).role(input.RoleName).inline.keys()].sort(),
    IsTruncated: false,
  }),
});

const createInstanceProfile = operation<CreateInstanceProfileCommandInput, CreateInstanceProfileCommandOutput>({
  name: "CreateInstanceProfile",
  honours: ["InstanceProfileName", "Path", "Tags"],
  authorize: (input, { cloud }) => {
    const resource = arnOf(cloud.account, "instance-profile", input.Path, input.InstanceProfileName);
    return [
      { action: "iam:CreateInstanceProfile", resource },
      ...tagging(input.Tags, "iam:TagInstanceProfile", resource),
    ];
  },
  handle: (input, call) => {
    const name = validName(input.InstanceProfileName, "instanceProfileName", 128);
    const path = validPath(input.Path);
    const { profiles } = storeOf(call);
    if (profiles.has(name.toLowerCase())) throw exists(`Instance Profile ${name} already exists.`);
    const profile: StoredProfile = {
      name,
      path,
      id: uniqueId("AIPA"),
      arn: arnOf(call.cloud.account, "instance-profile", path, name),
      created: call.cloud.clock.now(),
      tags: validTags(input.Tags ?? []),
      role: undefined,
    };
    profiles.set(name.toLowerCase(), profile);
    return { InstanceProfile: profileReply(profile) };
  },
});

const getInstanceProfile = operation<GetInstanceProfileCommandInput, GetInstanceProfileCommandOutput>({
  name: "GetInstanceProfile",
  honours: ["InstanceProfileName"],
  authorize: (input, call) => onProfile(call, input, "GetInstanceProfile"),
  handle: (input, call) => ({ InstanceProfile: profileReply(storeOf(call).profile(input.InstanceProfileName)) }),
});

const deleteInstanceProfile = operation<DeleteInstanceProfileCommandInput, DeleteInstanceProfileCommandOutput>({
  name: "DeleteInstanceProfile",
  honours: ["InstanceProfileName"],
  authorize: (input, call) => onProfile(call, input, "DeleteInstanceProfile"),
  handle: (input, call) => {
    const store = storeOf(call);
    const profile = store.profile(input.InstanceProfileName);
    if (profile.role) throw conflict("Cannot delete entity, must remove roles from instance profile first.");
    store.profiles.delete(profile.name.toLowerCase());
    return {};
  },
});

const addRoleToInstanceProfile = operation<AddRoleToInstanceProfileCommandInput, AddRoleToInstanceProfileCommandOutput>(
  {
    name: "AddRoleToInstanceProfile",
    honours: ["InstanceProfileName", "RoleName"],
    authorize: (input, call) => [
      ...onProfile(call, input, "AddRoleToInstanceProfile"),
      {
        action: "iam:PassRole",
        resource: storeOf(call).role(input.RoleName).arn,
        context: { "iam:PassedToService": "ec2.amazonaws.com" },
      },
    ],
    handle: (input, call) => {
      const store = storeOf(call);
      const profile = store.profile(input.InstanceProfileName);
      if (profile.role)
        throw new AwsError("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1", 409);
      profile.role = store.role(input.RoleName);
      return {};
    },
  },
);

const removeRoleFromInstanceProfile = operation<
  RemoveRoleFromInstanceProfileCommandInput,
  RemoveRoleFromInstanceProfileCommandOutput
>({
  name: "RemoveRoleFromInstanceProfile",
  honours: ["InstanceProfileName", "RoleName"],
  authorize: (input, call) => onProfile(call, input, "RemoveRoleFromInstanceProfile"),
  handle: (input, call) => {
    const profile = storeOf(call).profile(input.InstanceProfileName);
    if (profile.role?.name.toLowerCase() !== input.RoleName?.toLowerCase())
      throw noSuchEntity(`Role ${input.RoleName ?? ""} in instance profile ${profile.name} cannot be found.`);
    profile.role = undefined;
    return {};
  },
});

const listInstanceProfilesForRole = operation<
  ListInstanceProfilesForRoleCommandInput,
  ListInstanceProfilesForRoleCommandOutput
>({
  name: "ListInstanceProfilesForRole",
  honours: ["RoleName"],
  authorize: (input, call) => onRole(call, input, "ListInstanceProfilesForRole"),
  handle: (input, call) => {
    const store = storeOf(call);
    return {
      InstanceProfiles: store.profilesOf(store.role(input.RoleName)).map(profileReply),
      IsTruncated: false,
    };
  },
});

const tagInstanceProfile = operation<TagInstanceProfileCommandInput, TagInstanceProfileCommandOutput>({
  name: "TagInstanceProfile",
  honours: ["InstanceProfileName", "Tags"],
  authorize: (input, call) => onProfile(call, input, "TagInstanceProfile"),
  handle: (input, call) => {
    const profile = storeOf(call).profile(input.InstanceProfileName);
    profile.tags = withTags(profile.tags, input.Tags ?? []);
    return {};
  },
});

const untagInstanceProfile = operation<UntagInstanceProfileCommandInput, UntagInstanceProfileCommandOutput>({
  name: "UntagInstanceProfile",
  honours: ["InstanceProfileName", "TagKeys"],
  authorize: (input, call) => onProfile(call, input, "UntagInstanceProfile"),
  handle: (input, call) => {
    const profile = storeOf(call).profile(input.InstanceProfileName);
    profile.tags = profile.tags.filter(({ Key }) => !(input.TagKeys ?? []).includes(Key ?? ""));
    return {};
  },
});

export const operations: readonly Operation[] = [
  createRole,
  getRole,
  deleteRole,
  updateRole,
  updateAssumeRolePolicy,
  tagRole,
  untagRole,
  putRolePolicy,
  getRolePolicy,
  deleteRolePolicy,
  listRolePolicies,
  createInstanceProfile,
  getInstanceProfile,
  deleteInstanceProfile,
  addRoleToInstanceProfile,
  removeRoleFromInstanceProfile,
  listInstanceProfilesForRole,
  tagInstanceProfile,
  untagInstanceProfile,
  ...managedPolicyOperations,
];

function onProfile(
  call: Call,
  { InstanceProfileName: name }: { readonly InstanceProfileName?: string | undefined },
  action: string,
): readonly Access[] {
  const found = storeOf(call).profiles.get((name ?? "").toLowerCase());
  const resource = found?.arn ?? arnOf(call.cloud.account, "instance-profile", "/", name);
  return [{ action: `iam:${action}`, resource }];
}

/** Creating with tags needs the permission to tag. */
function tagging(tags: readonly Tag[] | undefined, action: string, resource: string): readonly Access[] {
  return (tags ?? []).length === 0 ? [] : [{ action, resource }];
}

function roleReply(role: StoredRole): Role {
  return {
    Path: role.path,
    RoleName: role.name,
    RoleId: role.id,
    Arn: role.arn,
    CreateDate: role.created,
    // URL-encoded as RFC 3986 says (GetRole).
    AssumeRolePolicyDocument: encodeURIComponent(role.trustPolicy),
    Description: role.description,
    MaxSessionDuration: role.maxSessionDuration,
    ...(role.boundary !== undefined && {
      PermissionsBoundary: {
        PermissionsBoundaryType: "PermissionsBoundaryPolicy",
        PermissionsBoundaryArn: role.boundary,
      },
    }),
    Tags: [...role.tags],
  };
}

function profileReply(profile: StoredProfile): InstanceProfile {
  return {
    Path: profile.path,
    InstanceProfileName: profile.name,
    InstanceProfileId: profile.id,
    Arn: profile.arn,
    CreateDate: profile.created,
    Roles: profile.role ? [roleReply(profile.role)] : [],
    Tags: [...profile.tags],
  };
}

function validDuration(seconds: number): number {
  if (seconds < 3600 || seconds > 43_200)
    throw invalid(
      `1 validation error detected: Value '${seconds}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200`,
    );
  return seconds;
}

function validTags(tags: readonly Tag[]): readonly Tag[] {
  const keys = tags.map(({ Key }) => (Key ?? "").toLowerCase());
  if (new Set(keys).size < keys.length)
    throw new AwsError(
      "InvalidInput",
      "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
      400,
    );
  if (tags.length > 50) throw new AwsError("LimitExceeded", "The number of tags has reached the maximum limit.", 409);
  return tags;
}

function withTags(before: readonly Tag[], added: readonly Tag[]): readonly Tag[] {
  const keys = validTags(added).map(({ Key }) => Key);
  return validTags([...before.filter(({ Key }) => !keys.includes(Key)), ...added]);
}

/** All inline policies of a role together: 10,240 characters ("IAM and AWS STS quotas"). */
function checkInlineSize(role: string, documents: readonly string[]): void {
  const size = documents.reduce((sum, document) => sum + document.replace(/\s/g, "").length, 0);
  if (size > 10_240)
    throw new AwsError("LimitExceeded", `Maximum policy size of 10240 bytes exceeded for role ${role}`, 409);
}

function noSuchPolicy(name: string | undefined): AwsError {
  return noSuchEntity(`The role policy with name ${name ?? ""} cannot be found.`);
}
