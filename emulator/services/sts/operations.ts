import { GetCallerIdentityCommandInput, GetCallerIdentityCommandOutput } from "@aws-sdk/client-sts";
import { Call, Operation, operation } from "../../core/definitions";

const getCallerIdentity = operation<GetCallerIdentityCommandInput, GetCallerIdentityCommandOutput>({
  name: "GetCallerIdentity",
  honours: [],
  // "No permissions are required to perform this operation."
  authorize: () => [],
  handle: (_input, call) => ({ Account: call.cloud.account, Arn: call.principal.arn, UserId: userId(call) }),
});

export const operations: readonly Operation[] = [getCallerIdentity];

/** The account for root, `<role id>:<session>` for a role ("Principal key values"). */
export function userId({ principal, cloud }: Pick<Call, "principal" | "cloud">): string {
  if (principal.roleArn === undefined) return cloud.account;
  const role = cloud.stores.iam.roleByArn(principal.roleArn);
  return `${role?.id ?? "AROA"}:${principal.arn.slice(principal.arn.lastIndexOf("/") + 1)}`;
}
