/** The `aws:secretsmanager` resource types and invokes. */
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  DescribeSecretCommandOutput,
  GetRandomPasswordCommand,
  GetSecretValueCommand,
  GetSecretValueCommandOutput,
  PutSecretValueCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateSecretCommand,
  UpdateSecretVersionStageCommand,
} from "@aws-sdk/client-secrets-manager";
import { InvokeDefinition, Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import { amount, compact, flag, required, tagChanges, tagOutputs, tagPairs, text, unless } from "../properties";

const gone = ["ResourceNotFoundException"];

const secret: ResourceDefinition = {
  type: "aws:secretsmanager/secret:Secret",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_secretsmanager_secret: name, Forces new resource",
      autoname: { maxLength: 512 },
    },
    description: {},
    kmsKeyId: {},
    recoveryWindowInDays: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const created = await context.send(
      new CreateSecretCommand({
        Name: required(inputs, "name"),
        Description: text(inputs, "description"),
        KmsKeyId: text(inputs, "kmsKeyId"),
        Tags: tagPairs(inputs),
      }),
    );
    return secretState(inputs, created.ARN ?? "", context);
  },
  read: async (id, state, context) => {
    const found = await unless(gone, context.send(new DescribeSecretCommand({ SecretId: id })));
    // A secret that is scheduled for deletion is gone for the provider.
    if (!found || found.DeletedDate) return undefined;
    return secretState({ ...state, ...secretProperties(state, found) }, id, context, found);
  },
  update: async (id, news, olds, context) => {
    const SecretId = id;
    if (news.description !== olds.description || news.kmsKeyId !== olds.kmsKeyId)
      await context.send(
        new UpdateSecretCommand({
          SecretId,
          Description: text(news, "description") ?? "",
          KmsKeyId: text(news, "kmsKeyId"),
        }),
      );
    const { set, removed } = tagChanges(olds, news);
    if (removed.length > 0) await context.send(new UntagResourceCommand({ SecretId, TagKeys: removed }));
    if (set.length > 0) await context.send(new TagResourceCommand({ SecretId, Tags: set }));
    return secretState(news, id, context);
  },
  delete: async (id, state, context) => {
    const days = amount(state, "recoveryWindowInDays") ?? 30;
    const how = days === 0 ? { ForceDeleteWithoutRecovery: true } : { RecoveryWindowInDays: days };
    await unless(gone, context.send(new DeleteSecretCommand({ SecretId: id, ...how })));
  },
};

function secretProperties(state: Properties, found: DescribeSecretCommandOutput): Properties {
  const described = found.Description ?? "";
  return {
    name: found.Name,
    ...(described !== "" || state.description !== undefined ? { description: described } : {}),
    ...(found.KmsKeyId !== undefined && { kmsKeyId: found.KmsKeyId }),
  };
}

function secretState(state: Properties, arn: string, { cloud }: ResourceContext, found?: DescribeSecretCommandOutput) {
  return {
    id: arn,
    outputs: {
      recoveryWindowInDays: 30,
      forceOverwriteReplicaSecret: false,
      replicas: [],
      policy: "",
      ...state,
      ...tagOutputs(state, found?.Tags),
      arn,
      region: cloud.region,
    },
  };
}

const secretVersion: ResourceDefinition = {
  type: "aws:secretsmanager/secretVersion:SecretVersion",
  inputs: {
    secretId: {
      replaceOn: "terraform-provider-aws, aws_secretsmanager_secret_version: secret_id, Forces new resource",
    },
    secretString: {
      secret: true,
      replaceOn: "terraform-provider-aws, aws_secretsmanager_secret_version: secret_string, Forces new resource",
    },
    secretBinary: {
      secret: true,
      replaceOn: "terraform-provider-aws, aws_secretsmanager_secret_version: secret_binary, Forces new resource",
    },
    secretStringWo: { secret: true, writeOnly: true },
    secretStringWoVersion: {
      replaceOn:
        "terraform-provider-aws, aws_secretsmanager_secret_version: secret_string_wo_version, Forces new resource",
    },
    versionStages: {},
  },
  create: async (inputs, context) => {
    const binary = text(inputs, "secretBinary");
    const put = await context.send(
      new PutSecretValueCommand({
        SecretId: required(inputs, "secretId"),
        SecretString: text(inputs, "secretString") ?? text(inputs, "secretStringWo"),
        ...(binary !== undefined && { SecretBinary: Buffer.from(binary, "base64") }),
        ...(Array.isArray(inputs.versionStages) && { VersionStages: inputs.versionStages.map(String) }),
      }),
    );
    return versionState(inputs, put.ARN ?? "", put.VersionId ?? "", put.VersionStages ?? [], context);
  },
  read: async (id, state, context) => {
    const [SecretId, VersionId] = splitId(id);
    const found = await unless(
      [...gone, "InvalidRequestException"],
      context.send(new GetSecretValueCommand({ SecretId, VersionId })),
    );
    if (!found) return undefined;
    const news = { secretId: SecretId, ...state, ...valueOf(state, found) };
    return versionState(news, SecretId, VersionId, found.VersionStages ?? [], context);
  },
  update: async (id, news, olds, context) => {
    const [SecretId, VersionId] = splitId(id);
    const after = Array.isArray(news.versionStages) ? news.versionStages.map(String) : ["AWSCURRENT"];
    const before = Array.isArray(olds.versionStages) ? olds.versionStages.map(String) : [];
    const { VersionIdsToStages = {} } = await context.send(new DescribeSecretCommand({ SecretId }));
    for (const VersionStage of after) {
      const holder = Object.entries(VersionIdsToStages).find(([, stages]) => stages.includes(VersionStage))?.[0];
      await context.send(
        new UpdateSecretVersionStageCommand({
          SecretId,
          VersionStage,
          MoveToVersionId: VersionId,
          ...(holder !== undefined && { RemoveFromVersionId: holder }),
        }),
      );
    }
    for (const VersionStage of before.filter((stage) => !after.includes(stage) && stage !== "AWSCURRENT"))
      await context.send(
        new UpdateSecretVersionStageCommand({ SecretId, VersionStage, RemoveFromVersionId: VersionId }),
      );
    return versionState(news, SecretId, VersionId, after, context);
  },
  // A version cannot be deleted, only deprecated by taking its stages; AWSCURRENT cannot be taken.
  delete: async (id, state, context) => {
    const [SecretId, VersionId] = splitId(id);
    const stages = Array.isArray(state.versionStages) ? state.versionStages.map(String) : [];
    for (const VersionStage of stages.filter((stage) => stage !== "AWSCURRENT"))
      await unless(
        [...gone, "InvalidRequestException", "InvalidParameterException"],
        context.send(new UpdateSecretVersionStageCommand({ SecretId, VersionStage, RemoveFromVersionId: VersionId })),
      );
  },
};

/** What is write-only is not read, either. */
function valueOf(state: Properties, found: GetSecretValueCommandOutput): Properties {
  if (flag(state, "hasSecretStringWo") === true) return {};
  const binary = found.SecretBinary && Buffer.from(found.SecretBinary).toString("base64");
  return compact({ secretString: found.SecretString, secretBinary: binary });
}

function versionState(
  state: Properties,
  arn: string,
  versionId: string,
  versionStages: readonly string[],
  { cloud }: ResourceContext,
) {
  const { secretStringWo, ...kept } = state;
  return {
    id: `${arn}|${versionId}`,
    outputs: {
      ...kept,
      // Write-only: never in the state.
      hasSecretStringWo: secretStringWo !== undefined || flag(state, "hasSecretStringWo") === true,
      arn,
      secretArn: arn,
      versionId,
      versionStages: [...versionStages],
      region: cloud.region,
    },
  };
}

function splitId(id: string): readonly [string, string] {
  const at = id.lastIndexOf("|");
  return [id.slice(0, at), id.slice(at + 1)];
}

const getRandomPassword: InvokeDefinition = {
  token: "aws:secretsmanager/getRandomPassword:getRandomPassword",
  invoke: async (args, context) => {
    const { RandomPassword } = await context.send(
      new GetRandomPasswordCommand({
        PasswordLength: amount(args, "passwordLength"),
        ExcludeCharacters: text(args, "excludeCharacters"),
        ExcludeLowercase: flag(args, "excludeLowercase"),
        ExcludeNumbers: flag(args, "excludeNumbers"),
        ExcludePunctuation: flag(args, "excludePunctuation"),
        ExcludeUppercase: flag(args, "excludeUppercase"),
        IncludeSpace: flag(args, "includeSpace"),
        RequireEachIncludedType: flag(args, "requireEachIncludedType"),
      }),
    );
    return { ...args, id: context.cloud.region, region: context.cloud.region, randomPassword: RandomPassword };
  },
};

export const resources: readonly ResourceDefinition[] = [secret, secretVersion];
export const invokes: readonly InvokeDefinition[] = [getRandomPassword];
