import { randomInt } from "node:crypto";
import { Tag } from "@aws-sdk/client-iam";
import { AwsError, RolePolicies } from "../../core/definitions";
import { managedPolicies } from "./managed-policies";

declare module "../../core/definitions" {
  interface Stores {
    iam: IamStore;
  }
}

export interface StoredRole {
  readonly name: string;
  readonly path: string;
  readonly id: string;
  readonly arn: string;
  readonly created: Date;
  trustPolicy: string;
  description: string | undefined;
  maxSessionDuration: number;
  /** The ARN of the managed policy that is the role's permissions boundary. */
  boundary: string | undefined;
  tags: readonly Tag[];
  /** Documents by policy name. */
  readonly inline: Map<string, string>;
  /** ARNs of managed policies. */
  readonly attached: Set<string>;
}

export interface StoredProfile {
  readonly name: string;
  readonly path: string;
  readonly id: string;
  readonly arn: string;
  readonly created: Date;
  tags: readonly Tag[];
  role: StoredRole | undefined;
}

/** Roles, instance profiles and managed policies. Names are unique without regard to case. */
export class IamStore implements RolePolicies {
  readonly roles = new Map<string, StoredRole>();
  readonly profiles = new Map<string, StoredProfile>();
  /** The account's own managed policies: documents by ARN. */
  readonly policies = new Map<string, string>();

  /** @throws NoSuchEntity */
  role(name: string | undefined): StoredRole {
    const found = this.roles.get((name ?? "").toLowerCase());
    if (!found) throw noSuchEntity(`The role with name ${name ?? ""} cannot be found.`);
    return found;
  }

  /** @throws NoSuchEntity */
  profile(name: string | undefined): StoredProfile {
    const found = this.profiles.get((name ?? "").toLowerCase());
    if (!found) throw noSuchEntity(`Instance Profile ${name ?? ""} cannot be found.`);
    return found;
  }

  roleByArn(arn: string): StoredRole | undefined {
    return [...this.roles.values()].find((role) => role.arn === arn);
  }

  /** The profile that this ARN names, for services that take one. */
  profileByArn(arn: string): StoredProfile | undefined {
    return [...this.profiles.values()].find((profile) => profile.arn === arn);
  }

  profilesOf(role: StoredRole): readonly StoredProfile[] {
    return [...this.profiles.values()].filter((profile) => profile.role === role);
  }

  /** The document of a managed policy of AWS's or the account's. */
  managedPolicy(arn: string): string | undefined {
    return managedPolicies.get(arn) ?? this.policies.get(arn);
  }

  policiesOf(roleArn: string): readonly string[] | undefined {
    const role = this.roleByArn(roleArn);
    if (!role) return undefined;
    const managed = [...role.attached].flatMap((arn) => this.managedPolicy(arn) ?? []);
    return [...role.inline.values(), ...managed];
  }

  boundaryOf(roleArn: string): string | undefined {
    const boundary = this.roleByArn(roleArn)?.boundary;
    return boundary === undefined ? undefined : this.managedPolicy(boundary);
  }

  trustPolicyOf(roleArn: string): string | undefined {
    return this.roleByArn(roleArn)?.trustPolicy;
  }
}

export function noSuchEntity(message: string): AwsError {
  return new AwsError("NoSuchEntity", message, 404);
}

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** A unique id, such as `AROA...` ("IAM identifiers"): the prefix says of what. */
export function uniqueId(prefix: "AROA" | "AIPA" | "ANPA"): string {
  return prefix + Array.from({ length: 17 }, () => idAlphabet[randomInt(idAlphabet.length)]).join("");
}
