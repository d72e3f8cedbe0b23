import { randomUUID } from "node:crypto";
import {
  CreateSecretCommandInput,
  CreateSecretCommandOutput,
  DeleteSecretCommandInput,
  DeleteSecretCommandOutput,
  DescribeSecretCommandInput,
  DescribeSecretCommandOutput,
  GetRandomPasswordCommandInput,
  GetRandomPasswordCommandOutput,
  GetSecretValueCommandInput,
  GetSecretValueCommandOutput,
  PutSecretValueCommandInput,
  PutSecretValueCommandOutput,
  RotateSecretCommandInput,
  RotateSecretCommandOutput,
  Tag,
  TagResourceCommandInput,
  TagResourceCommandOutput,
  UntagResourceCommandInput,
  UntagResourceCommandOutput,
  UpdateSecretCommandInput,
  UpdateSecretCommandOutput,
  UpdateSecretVersionStageCommandInput,
  UpdateSecretVersionStageCommandOutput,
} from "@aws-sdk/client-secrets-manager";
import { Access, AwsError, Call, Operation, operation } from "../../core/definitions";
import { randomPassword } from "./password";
import { addVersion, moveStage, Secret, SecretStore, SecretVersion } from "./store";

const createSecret = operation<CreateSecretCommandInput, CreateSecretCommandOutput>({
  name: "CreateSecret",
  honours: ["Name", "ClientRequestToken", "Description", "KmsKeyId", "SecretString", "SecretBinary", "Tags"],
  authorize: (input, { cloud }) => {
    // The suffix is not known yet: policies on a new secret end in `-??????` or `*`.
    const resource = `arn:aws:secretsmanager:${cloud.region}:${cloud.account}:secret:${input.Name ?? ""}-??????`;
    const context = { "secretsmanager:Name": input.Name ?? "" };
    const tags = (input.Tags ?? []).length > 0;
    return [
      { action: "secretsmanager:CreateSecret", resource, context },
      ...(tags ? [{ action: "secretsmanager:TagResource", resource }] : []),
    ];
  },
  handle: (input, call) => {
    const store = storeOf(call);
    const name = validName(input.Name, call);
    checkDescription(input.Description);
    checkTags(input.Tags?.length ?? 0);
    const existing = store.find(name);
    if (existing?.deleted)
      throw invalidRequest(
        "You can't create this secret because a secret with this name is already scheduled for deletion.",
      );
    if (existing) {
      const retried = existing.versions.find(({ id }) => id === input.ClientRequestToken);
      if (retried && sameValue(retried, input)) return { ARN: existing.arn, Name: name, VersionId: retried.id };
      throw new AwsError(
        "ResourceExistsException",
        `The operation failed because the secret ${name} already exists.`,
        400,
      );
    }
    const now = call.cloud.clock.now();
    const secret: Secret = {
      name,
      arn: store.newArn(name),
      created: now,
      owningService: call.principal.kind === "service" ? call.principal.arn.split(".")[0] : undefined,
      description: input.Description,
      kmsKeyId: input.KmsKeyId,
      tags: input.Tags ?? [],
      changed: now,
      rotated: undefined,
      rotating: false,
      deleted: undefined,
      deletesAt: undefined,
      versions: [],
    };
    const version = newVersion(input, call);
    if (version) addVersion(secret, version, ["AWSCURRENT"]);
    store.add(secret);
    return { ARN: secret.arn, Name: name, ...(version && { VersionId: version.id }) };
  },
});

const putSecretValue = operation<PutSecretValueCommandInput, PutSecretValueCommandOutput>({
  name: "PutSecretValue",
  honours: ["SecretId", "ClientRequestToken", "SecretString", "SecretBinary", "VersionStages"],
  authorize: (input, call) => onSecret(call, input, "PutSecretValue"),
  handle: (input, call) => {
    const secret = changeable(storeOf(call).active(input.SecretId), call);
    if ((input.VersionStages ?? []).length > 20) throw invalidParameter("A version has at most 20 staging labels.");
    const existing = repeated(secret, input);
    const version = existing ?? newVersion(input, call);
    if (!version) throw invalidParameter("You must provide either SecretString or SecretBinary.");
    const stages = input.VersionStages ?? ["AWSCURRENT"];
    if (existing) for (const stage of stages) moveStage(secret, stage, existing);
    // The very first value is the current one, whatever stage it is given.
    else addVersion(secret, version, secret.versions.length === 0 ? [...stages, "AWSCURRENT"] : stages);
    secret.changed = call.cloud.clock.now();
    return { ARN: secret.arn, Name: secret.name, VersionId: version.id, VersionStages: [...version.stages] };
  },
});

const getSecretValue = operation<GetSecretValueCommandInput, GetSecretValueCommandOutput>({
  name: "GetSecretValue",
  honours: ["SecretId", "VersionId", "VersionStage"],
  authorize: (input, call) =>
    onSecret(call, input, "GetSecretValue", {
      "secretsmanager:VersionStage": input.VersionStage ?? "AWSCURRENT",
      ...(input.VersionId !== undefined && { "secretsmanager:VersionId": input.VersionId }),
    }),
  handle: (input, call) => {
    const secret = storeOf(call).active(input.SecretId);
    const version = chosenVersion(secret, input);
    return {
      ARN: secret.arn,
      Name: secret.name,
      VersionId: version.id,
      SecretString: version.text,
      SecretBinary: version.binary,
      VersionStages: [...version.stages],
      CreatedDate: version.created,
    };
  },
});

const describeSecret = operation<DescribeSecretCommandInput, DescribeSecretCommandOutput>({
  name: "DescribeSecret",
  honours: ["SecretId"],
  authorize: (input, call) => onSecret(call, input, "DescribeSecret"),
  handle: (input, call) => {
    const secret = storeOf(call).get(input.SecretId);
    return {
      ARN: secret.arn,
      Name: secret.name,
      Description: secret.description,
      KmsKeyId: secret.kmsKeyId,
      CreatedDate: secret.created,
      LastChangedDate: secret.changed,
      DeletedDate: secret.deleted,
      OwningService: secret.owningService,
      ...(secret.owningService !== undefined && rotationOf(secret)),
      Tags: [...secret.tags],
      VersionIdsToStages: Object.fromEntries(
        secret.versions.filter(({ stages }) => stages.size > 0).map(({ id, stages }) => [id, [...stages]]),
      ),
    };
  },
});

const updateSecret = operation<UpdateSecretCommandInput, UpdateSecretCommandOutput>({
  name: "UpdateSecret",
  honours: ["SecretId", "ClientRequestToken", "Description", "KmsKeyId", "SecretString", "SecretBinary"],
  authorize: (input, call) => onSecret(call, input, "UpdateSecret"),
  handle: (input, call) => {
    const secret = changeable(storeOf(call).active(input.SecretId), call);
    checkDescription(input.Description);
    const existing = repeated(secret, input);
    const version = existing ?? newVersion(input, call);
    if (input.Description !== undefined) secret.description = input.Description;
    if (input.KmsKeyId !== undefined) secret.kmsKeyId = input.KmsKeyId;
    if (existing) moveStage(secret, "AWSCURRENT", existing);
    else if (version) addVersion(secret, version, ["AWSCURRENT"]);
    secret.changed = call.cloud.clock.now();
    return { ARN: secret.arn, Name: secret.name, ...(version && { VersionId: version.id }) };
  },
});

const updateSecretVersionStage = operation<UpdateSecretVersionStageCommandInput, UpdateSecretVersionStageCommandOutput>(
  {
    name: "UpdateSecretVersionStage",
    honours: ["SecretId", "VersionStage", "RemoveFromVersionId", "MoveToVersionId"],
    authorize: (input, call) => onSecret(call, input, "UpdateSecretVersionStage"),
    handle: (input, call) => {
      const secret = changeable(storeOf(call).active(input.SecretId), call);
      const stage = input.VersionStage ?? "";
      const holder = secret.versions.find(({ stages }) => stages.has(stage));
      if (holder && holder.id !== input.RemoveFromVersionId && holder.id !== input.MoveToVersionId)
        throw invalidParameter(
          `The parameter RemoveFromVersionId can't be empty or wrong. Staging label ${stage} is currently attached to version ${holder.id}, so you must explicitly reference that version in RemoveFromVersionId.`,
        );
      if (input.MoveToVersionId !== undefined) moveStage(secret, stage, versionNamed(secret, input.MoveToVersionId));
      else if (stage === "AWSCURRENT")
        throw invalidParameter("You can only move staging label AWSCURRENT to a different secret version.");
      else holder?.stages.delete(stage);
      secret.changed = call.cloud.clock.now();
      return { ARN: secret.arn, Name: secret.name };
    },
  },
);

const rotateSecret = operation<RotateSecretCommandInput, RotateSecretCommandOutput>({
  name: "RotateSecret",
  honours: ["SecretId", "ClientRequestToken"],
  authorize: (input, call) => onSecret(call, input, "RotateSecret"),
  handle: (input, call) => {
    const { cloud } = call;
    const secret = storeOf(call).active(input.SecretId);
    const rotate = storeOf(call).rotators.get(secret.owningService ?? "");
    // There are no functions here: only what a service manages can be rotated.
    if (rotate === undefined) throw invalidRequest("No Lambda rotation function ARN is associated with this secret.");
    const pending = secret.versions.find(({ stages }) => stages.has("AWSPENDING"));
    if (secret.rotating || (pending && !pending.stages.has("AWSCURRENT")))
      throw invalidRequest("A previous rotation isn't complete. That rotation will be reattempted.");
    const version = validToken(input.ClientRequestToken) ?? randomUUID();
    secret.rotating = true;
    const rotation = rotate(secret, version)
      .then(() => {
        secret.rotated = cloud.clock.now();
      })
      .finally(() => {
        secret.rotating = false;
      });
    cloud.background(`the rotation of the secret ${secret.name}`, rotation);
    return { ARN: secret.arn, Name: secret.name, VersionId: version };
  },
});

const deleteSecret = operation<DeleteSecretCommandInput, DeleteSecretCommandOutput>({
  name: "DeleteSecret",
  honours: ["SecretId", "RecoveryWindowInDays", "ForceDeleteWithoutRecovery"],
  authorize: (input, call) =>
    onSecret(call, input, "DeleteSecret", {
      "secretsmanager:ForceDeleteWithoutRecovery": String(input.ForceDeleteWithoutRecovery ?? false),
    }),
  handle: (input, call) => {
    const store = storeOf(call);
    const { RecoveryWindowInDays: days, ForceDeleteWithoutRecovery: force } = input;
    if (force === true && days !== undefined)
      throw invalidParameter("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.");
    if (days !== undefined && (days < 7 || days > 30))
      throw invalidParameter("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).");
    const secret = changeable(force === true ? store.get(input.SecretId) : store.active(input.SecretId), call);
    const now = call.cloud.clock.now();
    if (force === true) {
      store.remove(secret);
      return { ARN: secret.arn, Name: secret.name, DeletionDate: now };
    }
    secret.deleted = now;
    secret.deletesAt = new Date(now.getTime() + (days ?? 30) * 86_400_000);
    return { ARN: secret.arn, Name: secret.name, DeletionDate: secret.deletesAt };
  },
});

const tagResource = operation<TagResourceCommandInput, TagResourceCommandOutput>({
  name: "TagResource",
  honours: ["SecretId", "Tags"],
  authorize: (input, call) => onSecret(call, input, "TagResource"),
  handle: (input, call) => {
    const secret = storeOf(call).active(input.SecretId);
    const added = input.Tags ?? [];
    const keys = added.map(({ Key }) => Key);
    const tags = [...secret.tags.filter(({ Key }) => !keys.includes(Key)), ...added];
    checkTags(tags.length);
    secret.tags = tags;
    return {};
  },
});

const untagResource = operation<UntagResourceCommandInput, UntagResourceCommandOutput>({
  name: "UntagResource",
  honours: ["SecretId", "TagKeys"],
  authorize: (input, call) => onSecret(call, input, "UntagResource"),
  handle: (input, call) => {
    const secret = storeOf(call).active(input.SecretId);
    secret.tags = secret.tags.filter(({ Key }: Tag) => !(input.TagKeys ?? []).includes(Key ?? ""));
    return {};
  },
});

const getRandomPassword = operation<GetRandomPasswordCommandInput, GetRandomPasswordCommandOutput>({
  name: "GetRandomPassword",
  honours: [
    "PasswordLength",
    "ExcludeCharacters",
    "ExcludeNumbers",
    "ExcludePunctuation",
    "ExcludeUppercase",
    "ExcludeLowercase",
    "IncludeSpace",
    "RequireEachIncludedType",
  ],
  authorize: () => [{ action: "secretsmanager:GetRandomPassword", resource: "*" }],
  handle: (input) => ({
    RandomPassword: randomPassword({
      length: input.PasswordLength === undefined ? undefined : Number(input.PasswordLength),
      excludeCharacters: input.ExcludeCharacters,
      excludeNumbers: input.ExcludeNumbers,
      excludePunctuation: input.ExcludePunctuation,
      excludeUppercase: input.ExcludeUppercase,
      excludeLowercase: input.ExcludeLowercase,
      includeSpace: input.IncludeSpace,
      requireEachIncludedType: input.RequireEachIncludedType,
    }),
  }),
});

export const operations: readonly Operation[] = [
  createSecret,
  putSecretValue,
  getSecretValue,
  describeSecret,
  updateSecret,
  updateSecretVersionStage,
  rotateSecret,
  deleteSecret,
  tagResource,
  untagResource,
  getRandomPassword,
];

function storeOf(call: Call): SecretStore {
  return call.cloud.stores.secretsmanager;
}

/** For a secret that does not exist the message names what was asked for, as the service does. */
function onSecret(
  call: Call,
  { SecretId = "" }: { readonly SecretId?: string | undefined },
  action: string,
  context: NonNullable<Access["context"]> = {},
): readonly Access[] {
  const { cloud } = call;
  const found = storeOf(call).find(SecretId);
  const prefix = `arn:aws:secretsmanager:${cloud.region}:${cloud.account}:secret:`;
  const resource = found?.arn ?? (SecretId.startsWith("arn:") ? SecretId : prefix + SecretId);
  const tags = (found?.tags ?? []).flatMap(({ Key, Value }) =>
    ["secretsmanager", "aws"].map((prefix) => [`${prefix}:ResourceTag/${Key}`, Value ?? ""] as const),
  );
  return [
    {
      action: `secretsmanager:${action}`,
      resource,
      context: { "secretsmanager:SecretId": resource, ...Object.fromEntries(tags), ...context },
    },
  ];
}

/** A secret that a service manages can be changed and deleted by that service only. */
function changeable(secret: Secret, { principal }: Call): Secret {
  if (secret.owningService === undefined || principal.arn === `${secret.owningService}.amazonaws.com`) return secret;
  throw invalidRequest(
    `You can't perform this operation on the secret because it is managed by the service ${secret.owningService}.`,
  );
}

function chosenVersion(
  secret: Secret,
  { VersionId, VersionStage }: Pick<GetSecretValueCommandInput, "VersionId" | "VersionStage">,
): SecretVersion {
  if (VersionId !== undefined) {
    const version = versionNamed(secret, VersionId);
    if (VersionStage !== undefined && !version.stages.has(VersionStage))
      throw invalidRequest("You provided a VersionStage that is not associated to the provided VersionId.");
    return version;
  }
  const stage = VersionStage ?? "AWSCURRENT";
  const version = secret.versions.find(({ stages }) => stages.has(stage));
  if (!version)
    throw new AwsError(
      "ResourceNotFoundException",
      `Secrets Manager can't find the specified secret value for staging label: ${stage}`,
      400,
    );
  return version;
}

function versionNamed(secret: Secret, id: string): SecretVersion {
  const version = secret.versions.find((each) => each.id === id);
  if (!version)
    throw new AwsError(
      "ResourceNotFoundException",
      `Secrets Manager can't find the specified secret value for VersionId: ${id}`,
      400,
    );
  return version;
}

/** The version that an earlier request with this token has made. @throws when that had another value */
function repeated(secret: Secret, input: Value): SecretVersion | undefined {
  const { ClientRequestToken: token, SecretString: text, SecretBinary: binary } = input;
  const existing = token === undefined ? undefined : secret.versions.find(({ id }) => id === token);
  if (existing === undefined || (text === undefined && binary === undefined)) return existing;
  if (sameValue(existing, input)) return existing;
  throw new AwsError(
    "ResourceExistsException",
    "A resource with the ID you requested already exists: a version's value can't be changed.",
    400,
  );
}

function checkDescription(description = ""): void {
  if (description.length > 2048) throw invalidParameter("Description must have at most 2048 characters.");
}

function checkTags(count: number): void {
  if (count > 50) throw invalidParameter("A secret has at most 50 tags.");
}

interface Value {
  readonly ClientRequestToken?: string | undefined;
  readonly SecretString?: string | undefined;
  readonly SecretBinary?: Uint8Array | undefined;
}

function newVersion(input: Value, call: Call): SecretVersion | undefined {
  const { SecretString: text, SecretBinary: binary, ClientRequestToken: token } = input;
  if (text !== undefined && binary !== undefined)
    throw invalidParameter("You can't specify both SecretString and SecretBinary.");
  if (text === undefined && binary === undefined) return undefined;
  if ((text === undefined ? (binary?.length ?? 0) : Buffer.byteLength(text)) > 65_536)
    throw invalidParameter("The secret value is longer than 65536 bytes.");
  return { id: validToken(token) ?? randomUUID(), created: call.cloud.clock.now(), text, binary, stages: new Set() };
}

function validToken(token: string | undefined): string | undefined {
  if (token !== undefined && (token.length < 32 || token.length > 64))
    throw invalidParameter("ClientRequestToken must have 32 to 64 characters.");
  return token;
}

/** A service rotates what it manages every seven days ("Managed rotation"). */
function rotationOf({ created, rotated }: Secret) {
  const days = 7;
  return {
    RotationEnabled: true,
    RotationRules: { AutomaticallyAfterDays: days },
    LastRotatedDate: rotated,
    NextRotationDate: new Date((rotated ?? created).getTime() + days * 86_400_000),
  };
}

function sameValue(version: SecretVersion, input: Value): boolean {
  const binary = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("hex");
  return version.text === input.SecretString && binary(version.binary) === binary(input.SecretBinary);
}

function validName(name: string | undefined, { principal }: Call): string {
  // Names with an exclamation mark are those of services, such as `rds!db-...`.
  const pattern = principal.kind === "service" ? /^[\w/+=.@!-]{1,512}$/ : /^[\w/+=.@-]{1,512}$/;
  if (name === undefined || !pattern.test(name))
    throw new AwsError(
      "ValidationException",
      "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
      400,
    );
  return name;
}

function invalidParameter(message: string): AwsError {
  return new AwsError("InvalidParameterException", message, 400);
}

function invalidRequest(message: string): AwsError {
  return new AwsError("InvalidRequestException", message, 400);
}
