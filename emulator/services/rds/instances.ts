/** What happens to an instance after its call was answered: its cluster is made, changed, tended and removed. */
import { randomUUID } from "node:crypto";
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  GetRandomPasswordCommand,
  PutSecretValueCommand,
  RotateSecretCommand,
  UpdateSecretVersionStageCommand,
} from "@aws-sdk/client-secrets-manager";
import type { DBInstance } from "@aws-sdk/client-rds";
import type { Cloud } from "../../core/definitions";
import type { Secret } from "../secretsmanager/store";
import { Cluster } from "./cluster";
import { findPostgres } from "./programs";
import { rdsPrincipal, type InstanceRecord, type RdsStore } from "./store";
import { FreeSpace } from "./storage";

/** RDS does not use what its own engines could not take in a connection's address. */
const excluded = "/\"@ '\\";
const minute = 60_000;
const week = 7 * 24 * 60 * minute;
/**
 * Between the change of the password on the server and that of the secret's current version. How long it is in RDS is
 * not documented, only that it is to be expected: whoever is refused in between has to read the secret again.
 */
const rotationLag = 1_000;

export class Instances {
  constructor(
    private readonly cloud: Cloud,
    private readonly store: RdsStore,
  ) {}

  /** Makes the cluster. The record tells how that goes. */
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
      description.InstanceCreateTime = this.cloud.clock.now();
      description.Endpoint = { Address: record.hostname, Port: port, HostedZoneId: "Z2R2ITUGPM61AM" };
      await this.tend(record, cluster);
      description.DBInstanceStatus = "available";
    } catch (error) {
      this.cloud.network.release(record.hostname);
      description.DBInstanceStatus = "failed";
      description.StatusInfos = [{ StatusType: "creation", Normal: false, Message: (error as Error).message }];
      throw error;
    }
  }

  /** A random password in a secret of RDS's own, which only RDS may change. */
  async createMasterSecret(record: InstanceRecord, kmsKeyId: string | undefined): Promise<string> {
    const password = await this.randomPassword();
    const secret = await this.cloud.send(
      rdsPrincipal,
      new CreateSecretCommand({
        Name: `rds!db-${randomUUID()}`,
        Description: `The secret associated with the primary RDS DB instance: ${record.arn}`,
        SecretString: JSON.stringify({ username: record.description.MasterUsername, password }),
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

  async removeMasterSecret({ description }: InstanceRecord): Promise<void> {
    const SecretId = description.MasterUserSecret?.SecretArn;
    if (SecretId === undefined) return;
    await this.cloud.send(rdsPrincipal, new DeleteSecretCommand({ SecretId, ForceDeleteWithoutRecovery: true }));
    description.MasterUserSecret = undefined;
  }

  /** Gives the master another password on the server. */
  async setPassword({ description, cluster }: InstanceRecord, password: string): Promise<void> {
    const { escapeIdentifier, escapeLiteral } = await import("pg");
    const master = escapeIdentifier(description.MasterUsername ?? "");
    await cluster?.administer(`ALTER ROLE ${master} PASSWORD ${escapeLiteral(password)}`);
  }

  /** Asks Secrets Manager to rotate the master's secret, as RDS does by itself once a week. */
  async startRotation({ description }: InstanceRecord): Promise<void> {
    const SecretId = description.MasterUserSecret?.SecretArn;
    await this.cloud.send(rdsPrincipal, new RotateSecretCommand({ SecretId }));
  }

  /** The rotation itself: a pending version, the server's password, the current version. */
  async rotate(secret: Secret, version: string): Promise<void> {
    const record = [...this.store.instances.values()].find(
      ({ description }) => description.MasterUserSecret?.SecretArn === secret.arn,
    );
    if (record === undefined) throw new Error(`no DB instance has the secret ${secret.name}`);
    const [SecretId, username] = [secret.arn, record.description.MasterUsername];
    const status = (SecretStatus: string): void => {
      record.description.MasterUserSecret = { ...record.description.MasterUserSecret, SecretStatus };
    };
    status("rotating");
    try {
      const password = await this.randomPassword();
      await this.cloud.send(
        rdsPrincipal,
        new PutSecretValueCommand({
          SecretId,
          ClientRequestToken: version,
          SecretString: JSON.stringify({ username, password }),
          VersionStages: ["AWSPENDING"],
        }),
      );
      await this.setPassword(record, password);
      await this.cloud.clock.sleep(rotationLag);
      const { VersionIdsToStages = {} } = await this.cloud.send(rdsPrincipal, new DescribeSecretCommand({ SecretId }));
      const current = Object.keys(VersionIdsToStages).find((id) => VersionIdsToStages[id]?.includes("AWSCURRENT"));
      const move = { SecretId, VersionStage: "AWSCURRENT", MoveToVersionId: version, RemoveFromVersionId: current };
      await this.cloud.send(rdsPrincipal, new UpdateSecretVersionStageCommand(move));
      status("active");
    } catch (error) {
      status("impaired");
      throw error;
    }
  }

  /** Applies what was asked for, as far as that takes work; whoever is connected notices a change of the class. */
  async apply(record: InstanceRecord, changes: Partial<DBInstance>): Promise<void> {
    const { description, cluster } = record;
    const { DBInstanceClass: size = description.DBInstanceClass } = changes;
    description.DBInstanceStatus = "modifying";
    try {
      if (size !== description.DBInstanceClass) {
        await cluster?.stop();
        await cluster?.start();
      }
      Object.assign(description, changes, { PendingModifiedValues: {} });
    } finally {
      description.DBInstanceStatus = "available";
    }
  }

  /** Ends the server, removes its files and its secret, and forgets the instance. */
  async remove(record: InstanceRecord): Promise<void> {
    record.ended.abort();
    await record.created.catch(() => undefined);
    await record.cluster?.remove();
    await this.removeMasterSecret(record);
    this.cloud.network.release(record.hostname);
    this.store.instances.delete(record.identifier);
  }

  /** What is done to an instance time and again. The first figures are there before it is available. */
  private async tend(record: InstanceRecord, cluster: Cluster): Promise<void> {
    const space = new FreeSpace(record, cluster, this.cloud);
    await space.publish();
    this.repeat(record, "storage figures", minute, () => space.publish());
    this.repeat(record, "weekly rotation of the master's secret", week, async () => {
      if (record.description.MasterUserSecret !== undefined) await this.startRotation(record);
    });
    this.repeat(record, "weekly maintenance", week, async () => {
      const pending = record.description.PendingModifiedValues ?? {};
      if (Object.keys(pending).length > 0) await this.apply(record, pending);
    });
  }

  private repeat(record: InstanceRecord, what: string, every: number, work: () => Promise<void>): void {
    const run = async (): Promise<void> => {
      const { signal } = record.ended;
      for (;;) {
        try {
          await this.cloud.clock.sleep(every, signal);
        } catch (error) {
          if (signal.aborted) return;
          throw error;
        }
        if (record.description.DBInstanceStatus === "available") {
          this.cloud.background(`${what} of ${record.identifier}`, work());
        }
      }
    };
    this.cloud.background(`${what} of ${record.identifier}`, run());
  }

  private async randomPassword(): Promise<string> {
    const request = new GetRandomPasswordCommand({ PasswordLength: 32, ExcludeCharacters: excluded });
    return (await this.cloud.send(rdsPrincipal, request)).RandomPassword ?? "";
  }
}
