/** What happens to an instance after its call was answered: its cluster is made, changed and removed. */
import { randomUUID } from "node:crypto";
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  GetRandomPasswordCommand,
  PutSecretValueCommand,
} from "@aws-sdk/client-secrets-manager";
import { escapeIdentifier, escapeLiteral } from "pg";
import type { Cloud } from "../../core/definitions";
import { Cluster } from "./cluster";
import { findPostgres } from "./programs";
import { rdsPrincipal, type InstanceRecord, type RdsStore } from "./store";

/** RDS does not use what its own engines could not take in a connection's address. */
const excluded = "/\"@ '\\";

export class Instances {
  constructor(
    private readonly cloud: Cloud,
    private readonly store: RdsStore,
  ) {}

  /** Makes the cluster. The record tells how that goes; this never rejects. */
  async create(record: InstanceRecord, password: string): Promise<void> {
    const { description } = record;
    const port = description.Endpoint?.Port ?? 5432;
    try {
      const address = this.cloud.network.allocate(record.hostname);
      const cluster = await Cluster.create({
        programs: findPostgres(),
        address,
        port,
        certificate: this.store.authority.issue([record.hostname, address]),
        master: { user: description.MasterUsername ?? "", password },
        database: description.DBName,
      });
      record.cluster = cluster;
      description.DBInstanceStatus = "available";
      description.InstanceCreateTime = this.cloud.clock.now();
      description.Endpoint = { Address: record.hostname, Port: port, HostedZoneId: "Z2R2ITUGPM61AM" };
    } catch (error) {
      this.cloud.network.release(record.hostname);
      description.DBInstanceStatus = "failed";
      description.StatusInfos = [{ StatusType: "creation", Normal: false, Message: (error as Error).message }];
      throw error;
    }
  }

  /** A random password in a secret of RDS's own, which only RDS may change. */
  async createMasterSecret(record: InstanceRecord, username: string, kmsKeyId: string | undefined): Promise<string> {
    const password = await this.randomPassword();
    const secret = await this.cloud.send(
      rdsPrincipal,
      new CreateSecretCommand({
        Name: `rds!db-${randomUUID()}`,
        Description: `The secret associated with the primary RDS DB instance: ${record.arn}`,
        SecretString: JSON.stringify({ username, password }),
        ...(kmsKeyId !== undefined && { KmsKeyId: kmsKeyId }),
        Tags: [
          { Key: "aws:rds:primaryDBInstanceArn", Value: record.arn },
          { Key: "aws:secretsmanager:owningService", Value: "rds" },
        ],
      }),
    );
    record.description.MasterUserSecret = {
      SecretArn: secret.ARN,
      SecretStatus: "active",
      KmsKeyId: kmsKeyId ?? `arn:aws:kms:${this.cloud.region}:${this.cloud.account}:key/aws-secretsmanager`,
    };
    return password;
  }

  /** Gives the master another password, first on the server: the secret never says what the server does not take. */
  async changePassword(record: InstanceRecord, given?: string): Promise<void> {
    const { description } = record;
    const password = given ?? (await this.randomPassword());
    const username = description.MasterUsername ?? "";
    await record.cluster?.administer(`ALTER ROLE ${escapeIdentifier(username)} PASSWORD ${escapeLiteral(password)}`);
    const SecretId = description.MasterUserSecret?.SecretArn;
    if (SecretId === undefined) return;
    const SecretString = JSON.stringify({ username, password });
    await this.cloud.send(rdsPrincipal, new PutSecretValueCommand({ SecretId, SecretString }));
  }

  /** Ends the server, removes its files and its secret, and forgets the instance. */
  async remove(record: InstanceRecord): Promise<void> {
    await record.created.catch(() => undefined);
    await record.cluster?.remove();
    const SecretId = record.description.MasterUserSecret?.SecretArn;
    if (SecretId !== undefined) {
      await this.cloud.send(rdsPrincipal, new DeleteSecretCommand({ SecretId, ForceDeleteWithoutRecovery: true }));
    }
    this.cloud.network.release(record.hostname);
    this.store.instances.delete(record.identifier);
  }

  private async randomPassword(): Promise<string> {
    const request = new GetRandomPasswordCommand({ PasswordLength: 32, ExcludeCharacters: excluded });
    return (await this.cloud.send(rdsPrincipal, request)).RandomPassword ?? "";
  }
}
