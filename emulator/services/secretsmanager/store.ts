import { randomBytes } from "node:crypto";
import { Tag } from "@aws-sdk/client-secrets-manager";
import { AwsError, Cloud } from "../../core/definitions";

declare module "../../core/definitions" {
  interface Stores {
    secretsmanager: SecretStore;
  }
}

export interface SecretVersion {
  readonly id: string;
  readonly created: Date;
  readonly text: string | undefined;
  readonly binary: Uint8Array | undefined;
  readonly stages: Set<string>;
}

export interface Secret {
  readonly name: string;
  readonly arn: string;
  readonly created: Date;
  /** The service that manages it, for example `rds`: only that one may change it. */
  readonly owningService: string | undefined;
  description: string | undefined;
  kmsKeyId: string | undefined;
  tags: readonly Tag[];
  changed: Date;
  /** When the last rotation was complete. */
  rotated: Date | undefined;
  /** A rotation is under way. */
  rotating: boolean;
  /** Scheduled for deletion since `deleted`; gone at `deletesAt`. */
  deleted: Date | undefined;
  deletesAt: Date | undefined;
  /** The newest last. */
  readonly versions: SecretVersion[];
}

/** Versions without a stage are "deprecated" and may go away: so many stay. */
const versionLimit = 100;

/** Does the whole of one rotation: makes this version the pending one, uses it, and makes it the current one. */
export type Rotator = (secret: Secret, version: string) => Promise<void>;

export class SecretStore {
  /** By the owning service: how the secrets that it manages are rotated. */
  readonly rotators = new Map<string, Rotator>();
  private readonly secrets = new Map<string, Secret>();

  constructor(private readonly cloud: Cloud) {}

  /** Finds by name, ARN, or ARN without the suffix. A secret whose recovery window is over is gone. */
  find(id: string): Secret | undefined {
    const now = this.cloud.clock.now();
    for (const secret of this.secrets.values())
      if (secret.deletesAt && secret.deletesAt <= now) this.secrets.delete(secret.name);
    return (
      this.secrets.get(id) ??
      [...this.secrets.values()].find(({ arn }) => arn === id || arn.slice(0, arn.lastIndexOf("-")) === id)
    );
  }

  /** @throws ResourceNotFoundException */
  get(id: string | undefined): Secret {
    const secret = this.find(id ?? "");
    if (!secret)
      throw new AwsError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.", 400);
    return secret;
  }

  /** @throws InvalidRequestException when it is scheduled for deletion. */
  active(id: string | undefined): Secret {
    const secret = this.get(id);
    if (secret.deleted)
      throw new AwsError(
        "InvalidRequestException",
        "You can't perform this operation on the secret because it was marked for deletion.",
        400,
      );
    return secret;
  }

  add(secret: Secret): void {
    this.secrets.set(secret.name, secret);
  }

  remove(secret: Secret): void {
    this.secrets.delete(secret.name);
  }

  /** The ARN of a new secret: six random characters end it, so that a later one of the same name is another. */
  newArn(name: string): string {
    const suffix = randomBytes(12)
      .toString("base64")
      .replace(/[^A-Za-z0-9]/g, "")
      .padEnd(6, "x")
      .slice(0, 6);
    return `arn:aws:secretsmanager:${this.cloud.region}:${this.cloud.account}:secret:${name}-${suffix}`;
  }
}

/** Puts a stage on this version and takes it off the one that had it. Moving AWSCURRENT makes the old one AWSPREVIOUS. */
export function moveStage(secret: Secret, stage: string, to: SecretVersion): void {
  const from = secret.versions.find(({ stages }) => stages.has(stage));
  if (from === to) return;
  from?.stages.delete(stage);
  to.stages.add(stage);
  if (stage === "AWSCURRENT" && from) moveStage(secret, "AWSPREVIOUS", from);
  if (stage === "AWSCURRENT") to.stages.delete("AWSPREVIOUS");
}

export function addVersion(secret: Secret, version: SecretVersion, stages: readonly string[]): void {
  secret.versions.push(version);
  for (const stage of stages) moveStage(secret, stage, version);
  const deprecated = secret.versions.filter((each) => each.stages.size === 0);
  for (const old of deprecated.slice(0, Math.max(secret.versions.length - versionLimit, 0)))
    secret.versions.splice(secret.versions.indexOf(old), 1);
}
