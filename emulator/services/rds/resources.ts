/** The `aws:rds` resource types. */
import rds = require("@aws-sdk/client-rds");
import type { InputRule, Properties, ResourceContext, ResourceDefinition } from "../../core/definitions";
import { amount, compact, flag, required, tagChanges, tagOutputs, tagPairs, text, unless } from "../properties";

const gone = ["DBInstanceNotFound"];
/** As the provider's own default for creating a DB instance. */
const patience = 40 * 60_000;
const pollPause = 50;

function replaces(resource: string, argument: string): InputRule {
  return { replaceOn: `terraform-provider-aws, ${resource}: ${argument}, Forces new resource` };
}

const instance: ResourceDefinition = {
  type: "aws:rds/instance:Instance",
  inputs: {
    identifier: { fixed: "ModifyDBInstance.NewDBInstanceIdentifier", autoname: { maxLength: 63, lowerCase: true } },
    engine: replaces("aws_db_instance", "engine"),
    engineVersion: { fixed: "ModifyDBInstance.EngineVersion" },
    instanceClass: {},
    allocatedStorage: {},
    maxAllocatedStorage: {},
    storageType: {},
    storageEncrypted: replaces("aws_db_instance", "storage_encrypted"),
    dbName: replaces("aws_db_instance", "db_name"),
    username: replaces("aws_db_instance", "username"),
    password: { secret: true },
    manageMasterUserPassword: {},
    masterUserSecretKmsKeyId: {},
    dbSubnetGroupName: { fixed: "ModifyDBInstance.DBSubnetGroupName" },
    vpcSecurityGroupIds: {},
    port: { fixed: "ModifyDBInstance.DBPortNumber" },
    // With the provider's defaults: no longer given, they go back to them. Those without one keep their last value.
    publiclyAccessible: { default: false },
    multiAz: {},
    backupRetentionPeriod: {},
    autoMinorVersionUpgrade: { default: true },
    copyTagsToSnapshot: { default: false },
    deletionProtection: {},
    applyImmediately: {},
    skipFinalSnapshot: {},
    deleteAutomatedBackups: {},
    tags: {},
  },
  secretOutputs: ["password"],
  create: async (inputs, context) => {
    const identifier = required(inputs, "identifier");
    const { DBInstance } = await context.send(
      new rds.CreateDBInstanceCommand({
        DBInstanceIdentifier: identifier,
        DBName: text(inputs, "dbName"),
        Engine: text(inputs, "engine"),
        EngineVersion: text(inputs, "engineVersion"),
        StorageEncrypted: flag(inputs, "storageEncrypted"),
        MasterUsername: text(inputs, "username"),
        MasterUserPassword: text(inputs, "password"),
        ManageMasterUserPassword: flag(inputs, "manageMasterUserPassword"),
        MasterUserSecretKmsKeyId: text(inputs, "masterUserSecretKmsKeyId"),
        DBSubnetGroupName: text(inputs, "dbSubnetGroupName"),
        Port: amount(inputs, "port"),
        ...changeable(inputs),
        DBInstanceClass: required(inputs, "instanceClass"),
        Tags: tagPairs(inputs),
      }),
    );
    context.made(DBInstance?.DbiResourceId ?? "");
    const created = await untilAvailable(identifier, context);
    return instanceState(inputs, created);
  },
  read: async (_id, state, context) => {
    const found = await describe(required(state, "identifier"), context);
    return found === undefined ? undefined : instanceState(state, found);
  },
  update: async (_id, news, olds, context) => {
    const identifier = required(olds, "identifier");
    const password = text(news, "password");
    // It may still be on its way when the update that made it was broken off.
    if ((await describe(identifier, context))?.DBInstanceStatus === "creating")
      await untilAvailable(identifier, context);
    await context.send(
      new rds.ModifyDBInstanceCommand({
        DBInstanceIdentifier: identifier,
        ApplyImmediately: flag(news, "applyImmediately"),
        ...changeable(news),
        // No longer given, it is false: the provider sends it whenever it changes, and knows no other nothing.
        DeletionProtection: flag(news, "deletionProtection") ?? false,
        ...(password !== undefined && password !== olds.password && { MasterUserPassword: password }),
        ...managementChange(news, olds),
        // The provider's 0, or nothing any more, switches autoscaling off.
        ...(!amount(news, "maxAllocatedStorage") &&
          amount(olds, "maxAllocatedStorage") && { MaxAllocatedStorage: amount(news, "allocatedStorage") }),
      }),
    );
    await updateTags(olds, news, context);
    return instanceState(news, await untilAvailable(identifier, context));
  },
  delete: async (_id, state, context) => {
    const identifier = required(state, "identifier");
    const request = {
      DBInstanceIdentifier: identifier,
      SkipFinalSnapshot: flag(state, "skipFinalSnapshot"),
      DeleteAutomatedBackups: flag(state, "deleteAutomatedBackups"),
    };
    await unless(gone, context.send(new rds.DeleteDBInstanceCommand(request)));
    await until(context, `the deletion of ${identifier}`, async () =>
      (await describe(identifier, context)) === undefined ? true : undefined,
    );
  },
};

/** The provider says whether RDS manages the password only when that changes. */
function managementChange(news: Properties, olds: Properties) {
  const [managed, before] = [flag(news, "manageMasterUserPassword"), flag(olds, "manageMasterUserPassword")];
  if ((managed ?? false) === (before ?? false)) return {};
  const MasterUserSecretKmsKeyId = text(news, "masterUserSecretKmsKeyId");
  return { ManageMasterUserPassword: managed ?? false, ...(managed && { MasterUserSecretKmsKeyId }) };
}

/** What may change without a new instance. */
function changeable(inputs: Properties) {
  return {
    DBInstanceClass: text(inputs, "instanceClass"),
    AllocatedStorage: amount(inputs, "allocatedStorage"),
    MaxAllocatedStorage: amount(inputs, "maxAllocatedStorage") || undefined,
    StorageType: text(inputs, "storageType"),
    VpcSecurityGroupIds: texts(inputs, "vpcSecurityGroupIds"),
    PubliclyAccessible: flag(inputs, "publiclyAccessible"),
    MultiAZ: flag(inputs, "multiAz"),
    BackupRetentionPeriod: amount(inputs, "backupRetentionPeriod"),
    AutoMinorVersionUpgrade: flag(inputs, "autoMinorVersionUpgrade"),
    CopyTagsToSnapshot: flag(inputs, "copyTagsToSnapshot"),
    DeletionProtection: flag(inputs, "deletionProtection"),
  };
}

async function describe(identifier: string, context: ResourceContext): Promise<rds.DBInstance | undefined> {
  const request = new rds.DescribeDBInstancesCommand({ DBInstanceIdentifier: identifier });
  return (await unless(gone, context.send(request)))?.DBInstances?.[0];
}

async function untilAvailable(identifier: string, context: ResourceContext): Promise<rds.DBInstance> {
  return until(context, `the DB instance ${identifier}`, async () => {
    const found = await describe(identifier, context);
    if (found === undefined) throw new Error(`the DB instance ${identifier} is gone`);
    if (found.DBInstanceStatus === "failed") {
      throw new Error(`the DB instance ${identifier} could not be made: ${found.StatusInfos?.[0]?.Message ?? "?"}`);
    }
    return found.DBInstanceStatus === "available" ? found : undefined;
  });
}

async function until<T>(context: ResourceContext, what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = context.cloud.clock.now().getTime() + patience;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (context.cloud.clock.now().getTime() > deadline) throw new Error(`gave up waiting for ${what}`);
    await context.cloud.clock.sleep(pollPause);
  }
}

function instanceState(state: Properties, found: rds.DBInstance) {
  const { Address: address, Port: port } = found.Endpoint ?? {};
  const secret = found.MasterUserSecret;
  return {
    id: found.DbiResourceId ?? "",
    outputs: compact({
      ...state,
      identifier: found.DBInstanceIdentifier,
      arn: found.DBInstanceArn,
      resourceId: found.DbiResourceId,
      address,
      port,
      endpoint: `${address}:${port}`,
      hostedZoneId: found.Endpoint?.HostedZoneId,
      status: found.DBInstanceStatus,
      engine: found.Engine,
      // What was asked for stays: `15` means any 15.
      engineVersion: text(state, "engineVersion") ?? found.EngineVersion,
      engineVersionActual: found.EngineVersion,
      instanceClass: found.DBInstanceClass,
      allocatedStorage: found.AllocatedStorage,
      // The provider's 0: no autoscaling.
      maxAllocatedStorage: found.MaxAllocatedStorage ?? (state.maxAllocatedStorage === undefined ? undefined : 0),
      storageType: found.StorageType,
      storageEncrypted: found.StorageEncrypted,
      dbName: found.DBName,
      username: found.MasterUsername,
      dbSubnetGroupName: found.DBSubnetGroup?.DBSubnetGroupName,
      vpcSecurityGroupIds: found.VpcSecurityGroups?.map(({ VpcSecurityGroupId }) => VpcSecurityGroupId),
      availabilityZone: found.AvailabilityZone,
      publiclyAccessible: found.PubliclyAccessible,
      multiAz: found.MultiAZ,
      backupRetentionPeriod: found.BackupRetentionPeriod,
      autoMinorVersionUpgrade: found.AutoMinorVersionUpgrade,
      copyTagsToSnapshot: found.CopyTagsToSnapshot,
      deletionProtection: found.DeletionProtection,
      licenseModel: found.LicenseModel,
      caCertIdentifier: found.CACertificateIdentifier,
      masterUserSecrets:
        secret === undefined
          ? []
          : [{ secretArn: secret.SecretArn, secretStatus: secret.SecretStatus, kmsKeyId: secret.KmsKeyId }],
      ...tagOutputs(state, found.TagList),
    }),
  };
}

const subnetGroup: ResourceDefinition = {
  type: "aws:rds/subnetGroup:SubnetGroup",
  inputs: {
    name: {
      ...replaces("aws_db_subnet_group", "name"),
      autoname: { maxLength: 255, lowerCase: true },
    },
    description: { default: "Managed by Pulumi" },
    subnetIds: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const { DBSubnetGroup } = await context.send(
      new rds.CreateDBSubnetGroupCommand({
        DBSubnetGroupName: required(inputs, "name"),
        DBSubnetGroupDescription: required(inputs, "description"),
        SubnetIds: texts(inputs, "subnetIds"),
        Tags: tagPairs(inputs),
      }),
    );
    return groupState(inputs, DBSubnetGroup ?? {});
  },
  read: async (id, state, context) => {
    const request = new rds.DescribeDBSubnetGroupsCommand({ DBSubnetGroupName: id });
    const found = (await unless(["DBSubnetGroupNotFoundFault"], context.send(request)))?.DBSubnetGroups?.[0];
    if (found === undefined) return undefined;
    const listed = new rds.ListTagsForResourceCommand({ ResourceName: found.DBSubnetGroupArn });
    return groupState(state, found, (await context.send(listed)).TagList);
  },
  update: async (id, news, olds, context) => {
    const { DBSubnetGroup } = await context.send(
      new rds.ModifyDBSubnetGroupCommand({
        DBSubnetGroupName: id,
        DBSubnetGroupDescription: text(news, "description"),
        SubnetIds: texts(news, "subnetIds"),
      }),
    );
    await updateTags(olds, news, context);
    return groupState(news, DBSubnetGroup ?? {});
  },
  delete: async (id, _state, context) => {
    const request = new rds.DeleteDBSubnetGroupCommand({ DBSubnetGroupName: id });
    await unless(["DBSubnetGroupNotFoundFault"], context.send(request));
  },
};

function groupState(state: Properties, found: rds.DBSubnetGroup, tags: readonly rds.Tag[] = tagPairs(state)) {
  return {
    id: found.DBSubnetGroupName ?? "",
    outputs: compact({
      ...state,
      name: found.DBSubnetGroupName,
      arn: found.DBSubnetGroupArn,
      description: found.DBSubnetGroupDescription,
      subnetIds: found.Subnets?.map(({ SubnetIdentifier }) => SubnetIdentifier),
      supportedNetworkTypes: found.SupportedNetworkTypes,
      vpcId: found.VpcId,
      ...tagOutputs(state, tags),
    }),
  };
}

async function updateTags(olds: Properties, news: Properties, context: ResourceContext): Promise<void> {
  const ResourceName = required(olds, "arn");
  const { set, removed } = tagChanges(olds, news);
  if (removed.length > 0) await context.send(new rds.RemoveTagsFromResourceCommand({ ResourceName, TagKeys: removed }));
  if (set.length > 0) await context.send(new rds.AddTagsToResourceCommand({ ResourceName, Tags: set }));
}

function texts(properties: Properties, name: string): string[] | undefined {
  const value = properties[name];
  return Array.isArray(value) ? value.map(String) : undefined;
}

export const resources: readonly ResourceDefinition[] = [instance, subnetGroup];
