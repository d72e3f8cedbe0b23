/** What the operations of IAM have in common. */
import { Access, AwsError, Call } from "../../core/definitions";
import { parsePolicy } from "../../core/iam";
import { PolicyKind, policyProblem } from "./policy-document";
import { IamStore } from "./store";

export function storeOf(call: Call): IamStore {
  return call.cloud.stores.iam;
}

export function arnOf(account: string, type: "role" | "instance-profile" | "policy", path = "/", name = ""): string {
  return `arn:aws:iam::${account}:${type}${path}${name}`;
}

/** What a call needs on a role. Its conditions can ask for the role's permissions boundary. */
export function onRole(
  call: Call,
  { RoleName }: { readonly RoleName?: string | undefined },
  action: string,
  context: NonNullable<Access["context"]> = {},
): readonly Access[] {
  const found = storeOf(call).roles.get((RoleName ?? "").toLowerCase());
  // A caller without the permission is not told whether the role exists.
  const resource = found?.arn ?? arnOf(call.cloud.account, "role", "/", RoleName);
  return [{ action: `iam:${action}`, resource, context: { ...boundaryKey(found?.boundary), ...context } }];
}

/** Delegated administrators may create roles and give them policies only within a boundary. */
export function boundaryKey(arn: string | undefined): NonNullable<Access["context"]> {
  return arn === undefined ? {} : { "iam:PermissionsBoundary": arn };
}

export function validName(name: string | undefined, member: string, maxLength: number): string {
  if (name === undefined || !/^[\w+=,.@-]+$/.test(name) || /[^\x21-\x7e]/.test(name))
    throw invalid(
      `The specified value for ${member} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-`,
    );
  if (name.length > maxLength)
    throw invalid(
      `1 validation error detected: Value '${name}' at '${member}' failed to satisfy constraint: Member must have length less than or equal to ${maxLength}`,
    );
  return name;
}

export function validPath(path = "/"): string {
  if (path.length > 512 || !/^(\/|\/[\x21-\x7e]+\/)$/.test(path))
    throw invalid(
      "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
    );
  return path;
}

/** @throws MalformedPolicyDocument, also for what could not be evaluated: it is refused when put, not when first used. */
export function validPolicy(text: string | undefined, kind: PolicyKind, maxLength: number): string {
  const document = text ?? "";
  const problem = policyProblem(document, kind);
  if (problem !== undefined) throw new AwsError("MalformedPolicyDocument", problem, 400);
  // White space does not count.
  if (document.replace(/\s/g, "").length > maxLength)
    throw new AwsError("LimitExceeded", `Cannot exceed quota for ACLSizePerRole: ${maxLength}`, 409);
  parsePolicy(document);
  return document;
}

export function invalid(message: string): AwsError {
  return new AwsError("ValidationError", message, 400);
}

export function exists(message: string): AwsError {
  return new AwsError("EntityAlreadyExists", message, 409);
}

export function conflict(message: string): AwsError {
  return new AwsError("DeleteConflict", message, 409);
}
