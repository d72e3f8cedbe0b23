/** The state of RDS: instances, each with a real cluster, and subnet groups. */
import { randomBytes } from "node:crypto";
import type { DBInstance, Subnet, Tag } from "@aws-sdk/client-rds";
import { AwsError, type Cloud, type Principal } from "../../core/definitions";
import { CertificateAuthority } from "./certificates";
import type { Cluster } from "./cluster";

declare module "../../core/definitions" {
  interface Stores {
    rds: RdsStore;
  }
}

/** RDS itself, as other services see it. */
export const rdsPrincipal: Principal = { kind: "service", arn: "rds.amazonaws.com" };

export interface SubnetGroupRecord {
  readonly name: string;
  readonly arn: string;
  readonly vpcId: string;
  description: string;
  subnets: Subnet[];
  tags: Tag[];
}

export interface InstanceRecord {
  readonly identifier: string;
  readonly arn: string;
  /** Everything that `DescribeDBInstances` tells, as of now. */
  readonly description: DBInstance;
  /** The name that clients connect to. */
  readonly hostname: string;
  deletionProtection: boolean;
  tags: Tag[];
  /** Undefined until the instance is available. */
  cluster: Cluster | undefined;
  /** Settles when the instance is available, or has failed. */
  created: Promise<void>;
  /** Aborted when the instance is deleted: what is done to it time and again ends. */
  readonly ended: AbortController;
}

export class RdsStore {
  readonly instances = new Map<string, InstanceRecord>();
  readonly subnetGroups = new Map<string, SubnetGroupRecord>();
  /** Signs the instances' certificates. */
  readonly authority = new CertificateAuthority("Amazon RDS stand-in Root CA");
  /** What is the same in all endpoints of an account in a Region. */
  private readonly zone = `c${randomBytes(4).toString("hex").slice(0, 7)}`;

  constructor(private readonly cloud: Cloud) {}

  /** The certificate that clients trust, PEM: what RDS's CA bundle is. Known before there is any instance. */
  get caCertificate(): string {
    return this.authority.certificate;
  }

  arn(kind: "db" | "subgrp", name: string): string {
    return `arn:aws:rds:${this.cloud.region}:${this.cloud.account}:${kind}:${name}`;
  }

  hostname(identifier: string): string {
    return `${identifier}.${this.zone}.${this.cloud.region}.rds.amazonaws.com`;
  }

  instance(identifier: string | undefined): InstanceRecord {
    const record = this.instances.get(identifier?.toLowerCase() ?? "");
    if (record !== undefined) return record;
    throw new AwsError("DBInstanceNotFound", `DBInstance ${identifier ?? ""} not found.`, 404);
  }

  subnetGroup(name: string | undefined): SubnetGroupRecord {
    const record = this.subnetGroups.get(name?.toLowerCase() ?? "");
    if (record !== undefined) return record;
    throw new AwsError("DBSubnetGroupNotFoundFault", `DB subnet group '${name ?? ""}' does not exist.`, 404);
  }

  /** What a tag operation's ARN is about. */
  tagged(arn: string | undefined): InstanceRecord | SubnetGroupRecord {
    const records = [...this.instances.values(), ...this.subnetGroups.values()];
    const record = records.find((each) => each.arn === arn);
    if (record !== undefined) return record;
    throw new AwsError("DBInstanceNotFound", `The resource ${arn ?? ""} was not found.`, 404);
  }
}
