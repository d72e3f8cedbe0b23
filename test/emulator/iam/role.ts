import { CreateRoleCommand, PutRolePolicyCommand } from "@aws-sdk/client-iam";
import type { Principal } from "../../../emulator/core/definitions";
import type { Emulator } from "../../../emulator/emulator";

export interface Statement {
  readonly Effect?: "Allow" | "Deny";
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: object;
}

export function trustOf(service: string, condition?: object): string {
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: [
      {
        Effect: "Allow",
        Principal: { Service: service },
        Action: "sts:AssumeRole",
        ...(condition && { Condition: condition }),
      },
    ],
  });
}

export function policyOf(statements: readonly Statement[]): string {
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: statements.map((statement) => ({ Effect: "Allow", ...statement })),
  });
}

/** Makes a role with one inline policy and gives its ARN. */
export async function createRole(
  { cloud }: Emulator,
  name: string,
  statements: readonly Statement[],
  trust: string = trustOf("ec2.amazonaws.com"),
): Promise<string> {
  const root: Principal = { kind: "root", arn: `arn:aws:iam::${cloud.account}:root` };
  const { Role } = await cloud.send(root, new CreateRoleCommand({ RoleName: name, AssumeRolePolicyDocument: trust }));
  if (statements.length > 0)
    await cloud.send(
      root,
      new PutRolePolicyCommand({ RoleName: name, PolicyName: "test", PolicyDocument: policyOf(statements) }),
    );
  return Role?.Arn ?? "";
}

/** Credentials of a new role that may do just this. */
export async function credentialsFor(emulator: Emulator, name: string, statements: readonly Statement[]) {
  const arn = await createRole(emulator, name, statements);
  const { cloud } = emulator;
  return cloud.issueCredentials(cloud.assumeRole(arn, "test", "ec2.amazonaws.com"), 3600);
}
