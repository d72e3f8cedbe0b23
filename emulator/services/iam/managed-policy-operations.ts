/** Managed policies: those of the account, attaching them to roles, and permissions boundaries. */
import {
  AttachRolePolicyCommandInput,
  AttachRolePolicyCommandOutput,
  CreatePolicyCommandInput,
  CreatePolicyCommandOutput,
  DeletePolicyCommandInput,
  DeletePolicyCommandOutput,
  DeleteRolePermissionsBoundaryCommandInput,
  DeleteRolePermissionsBoundaryCommandOutput,
  DetachRolePolicyCommandInput,
  DetachRolePolicyCommandOutput,
  ListAttachedRolePoliciesCommandInput,
  ListAttachedRolePoliciesCommandOutput,
  PutRolePermissionsBoundaryCommandInput,
  PutRolePermissionsBoundaryCommandOutput,
} from "@aws-sdk/client-iam";
import { Call, Operation, operation } from "../../core/definitions";
import { noSuchEntity, uniqueId } from "./store";
import { arnOf, boundaryKey, conflict, exists, onRole, storeOf, validName, validPath, validPolicy } from "./support";

/** As long as IAM lets a managed policy be, white space not counted. */
const longestManagedPolicy = 6_144;

const createPolicy = operation<CreatePolicyCommandInput, CreatePolicyCommandOutput>({
  name: "CreatePolicy",
  honours: ["PolicyName", "Path", "PolicyDocument", "Description"],
  authorize: ({ Path, PolicyName }, { cloud }) => [
    { action: "iam:CreatePolicy", resource: arnOf(cloud.account, "policy", Path, PolicyName) },
  ],
  handle: (input, call) => {
    const name = validName(input.PolicyName, "policyName", 128);
    const path = validPath(input.Path);
    const { policies } = storeOf(call);
    const arn = arnOf(call.cloud.account, "policy", path, name);
    if ([...policies.keys()].some((known) => sameName(known, arn)))
      throw exists(`A policy called ${name} already exists. Duplicate names are not allowed.`);
    policies.set(arn, validPolicy(input.PolicyDocument, "identity", longestManagedPolicy));
    const now = call.cloud.clock.now();
    return {
      Policy: {
        PolicyName: name,
        PolicyId: uniqueId("ANPA"),
        Arn: arn,
        Path: path,
        DefaultVersionId: "v1",
        AttachmentCount: 0,
        PermissionsBoundaryUsageCount: 0,
        IsAttachable: true,
        ...(input.Description !== undefined && { Description: input.Description }),
        CreateDate: now,
        UpdateDate: now,
      },
    };
  },
});

function sameName(arn: string, other: string): boolean {
  const name = (each: string): string => each.slice(each.lastIndexOf("/") + 1).toLowerCase();
  return name(arn) === name(other);
}

const deletePolicy = operation<DeletePolicyCommandInput, DeletePolicyCommandOutput>({
  name: "DeletePolicy",
  honours: ["PolicyArn"],
  authorize: ({ PolicyArn = "" }) => [{ action: "iam:DeletePolicy", resource: PolicyArn }],
  handle: ({ PolicyArn = "" }, call) => {
    const { policies, roles } = storeOf(call);
    if ([...roles.values()].some(({ attached, boundary }) => attached.has(PolicyArn) || boundary === PolicyArn))
      throw conflict("Cannot delete a policy attached to entities.");
    if (!policies.delete(PolicyArn)) throw noSuchEntity(`Policy ${PolicyArn} was not found.`);
    return {};
  },
});

const attachRolePolicy = operation<AttachRolePolicyCommandInput, AttachRolePolicyCommandOutput>({
  name: "AttachRolePolicy",
  honours: ["RoleName", "PolicyArn"],
  authorize: (input, call) => onRole(call, input, "AttachRolePolicy", { "iam:PolicyARN": input.PolicyArn ?? "" }),
  handle: (input, call) => {
    const role = storeOf(call).role(input.RoleName);
    const arn = input.PolicyArn ?? "";
    if (storeOf(call).managedPolicy(arn) === undefined)
      throw noSuchEntity(`Policy ${arn} does not exist or is not attachable.`);
    role.attached.add(arn);
    return {};
  },
});

const detachRolePolicy = operation<DetachRolePolicyCommandInput, DetachRolePolicyCommandOutput>({
  name: "DetachRolePolicy",
  honours: ["RoleName", "PolicyArn"],
  authorize: (input, call) => onRole(call, input, "DetachRolePolicy", { "iam:PolicyARN": input.PolicyArn ?? "" }),
  handle: (input, call) => {
    if (
      !storeOf(call)
        .role(input.RoleName)
        .attached.delete(input.PolicyArn ?? "")
    )
      throw noSuchEntity(`Policy ${input.PolicyArn ?? ""} was not found.`);
    return {};
  },
});

const listAttachedRolePolicies = operation<ListAttachedRolePoliciesCommandInput, ListAttachedRolePoliciesCommandOutput>(
  {
    name: "ListAttachedRolePolicies",
    honours: ["RoleName"],
    authorize: (input, call) => onRole(call, input, "ListAttachedRolePolicies"),
    handle: (input, call) => ({
      AttachedPolicies: [...storeOf(call).role(input.RoleName).attached].map((PolicyArn) => ({
        PolicyArn,
        PolicyName: PolicyArn.slice(PolicyArn.lastIndexOf("/") + 1),
      })),
      IsTruncated: false,
    }),
  },
);

const putRolePermissionsBoundary = operation<
  PutRolePermissionsBoundaryCommandInput,
  PutRolePermissionsBoundaryCommandOutput
>({
  name: "PutRolePermissionsBoundary",
  honours: ["RoleName", "PermissionsBoundary"],
  authorize: (input, call) => onRole(call, input, "PutRolePermissionsBoundary", boundaryKey(input.PermissionsBoundary)),
  handle: ({ RoleName, PermissionsBoundary }, call) => {
    const role = storeOf(call).role(RoleName);
    role.boundary = validBoundary(call, PermissionsBoundary);
    return {};
  },
});

const deleteRolePermissionsBoundary = operation<
  DeleteRolePermissionsBoundaryCommandInput,
  DeleteRolePermissionsBoundaryCommandOutput
>({
  name: "DeleteRolePermissionsBoundary",
  honours: ["RoleName"],
  authorize: (input, call) => onRole(call, input, "DeleteRolePermissionsBoundary"),
  handle: ({ RoleName }, call) => {
    const role = storeOf(call).role(RoleName);
    if (role.boundary === undefined)
      throw noSuchEntity(`The role with name ${role.name} does not have a permissions boundary.`);
    role.boundary = undefined;
    return {};
  },
});

/** The ARN of a policy that can be a boundary. @throws NoSuchEntity */
export function validBoundary(call: Call, arn: string | undefined): string | undefined {
  if (arn !== undefined && storeOf(call).managedPolicy(arn) === undefined)
    throw noSuchEntity(`Scope ARN: ${arn} does not exist or is not attachable.`);
  return arn;
}

export const managedPolicyOperations: readonly Operation[] = [
  createPolicy,
  deletePolicy,
  attachRolePolicy,
  detachRolePolicy,
  listAttachedRolePolicies,
  putRolePermissionsBoundary,
  deleteRolePermissionsBoundary,
];
