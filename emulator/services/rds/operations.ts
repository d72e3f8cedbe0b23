import { randomBytes } from "node:crypto";
import { DescribeSubnetsCommand } from "@aws-sdk/client-ec2";
import type * as rds from "@aws-sdk/client-rds";
import { AwsError, notImplemented, operation, type Access, type Cloud, type Operation } from "../../core/definitions";
import { Instances } from "./instances";
import { findPostgres } from "./programs";
import { rdsPrincipal, type InstanceRecord, type RdsStore, type SubnetGroupRecord } from "./store";

/** Names of DB instances and subnet groups are kept in lower case. */
function nameOf(value: string | undefined, member: string): string {
  const name = (value ?? "").toLowerCase();
  if (/^[a-z][a-z0-9-]*$/.test(name) && !/--|-$/.test(name) && name.length <= 63) return name;
  throw new AwsError(
    "InvalidParameterValue",
    `The parameter ${member} is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII ` +
      "letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.",
  );
}

/** The version that is served: what was asked for must be this machine's. */
function engineVersion(asked: string | undefined): string {
  const { version, major } = findPostgres();
  if (asked === undefined || asked === version || asked === String(major)) return version;
  throw new AwsError(
    "InvalidParameterCombination",
    `Cannot find version ${asked} for postgres: the server on this machine is ${version}. Ask for version ${major}, ` +
      "or set PROTECTED_PIPELINE_POSTGRES_BIN to the folder of another server.",
  );
}

export function rdsOperations(cloud: Cloud, store: RdsStore): Operation[] {
  const instances = new Instances(cloud, store);
  return [
    ...instanceOperations(cloud, store, instances),
    ...subnetGroupOperations(cloud, store),
    ...tagOperations(store),
  ];
}

function instanceOperations(cloud: Cloud, store: RdsStore, instances: Instances): Operation[] {
  const onInstance = (action: string, identifier: string | undefined): Access[] => {
    const name = identifier?.toLowerCase() ?? "*";
    return [
      { action: `rds:${action}`, resource: store.arn("db", name), context: tagContext(store.instances.get(name)) },
    ];
  };
  return [
    operation<rds.CreateDBInstanceCommandInput, rds.CreateDBInstanceCommandOutput>({
      name: "CreateDBInstance",
      honours: [
        "DBInstanceIdentifier",
        "DBName",
        "Engine",
        "EngineVersion",
        "DBInstanceClass",
        "AllocatedStorage",
        "StorageType",
        "StorageEncrypted",
        "MasterUsername",
        "MasterUserPassword",
        "ManageMasterUserPassword",
        "MasterUserSecretKmsKeyId",
        "VpcSecurityGroupIds",
        "DBSubnetGroupName",
        "Port",
        "PubliclyAccessible",
        "MultiAZ",
        "BackupRetentionPeriod",
        "AutoMinorVersionUpgrade",
        "CopyTagsToSnapshot",
        "DeletionProtection",
        "Tags",
      ],
      authorize: ({ DBInstanceIdentifier }) => onInstance("CreateDBInstance", DBInstanceIdentifier),
      handle: async (input) => {
        const record = newInstance(cloud, store, input);
        const password = input.ManageMasterUserPassword
          ? await instances.createMasterSecret(record, input.MasterUsername ?? "", input.MasterUserSecretKmsKeyId)
          : (input.MasterUserPassword ?? "");
        store.instances.set(record.identifier, record);
        record.created = instances.create(record, password);
        cloud.background(`the creation of the DB instance ${record.identifier}`, record.created);
        return { DBInstance: describe(record) };
      },
    }),
    operation<rds.DescribeDBInstancesCommandInput, rds.DescribeDBInstancesCommandOutput>({
      name: "DescribeDBInstances",
      honours: ["DBInstanceIdentifier", "MaxRecords", "Marker"],
      authorize: ({ DBInstanceIdentifier }) => onInstance("DescribeDBInstances", DBInstanceIdentifier),
      handle: ({ DBInstanceIdentifier }) => {
        const found =
          DBInstanceIdentifier === undefined ? [...store.instances.values()] : [store.instance(DBInstanceIdentifier)];
        return { DBInstances: found.map(describe) };
      },
    }),
    operation<rds.ModifyDBInstanceCommandInput, rds.ModifyDBInstanceCommandOutput>({
      name: "ModifyDBInstance",
      honours: [
        "DBInstanceIdentifier",
        "ApplyImmediately",
        "DBInstanceClass",
        "AllocatedStorage",
        "StorageType",
        "VpcSecurityGroupIds",
        "BackupRetentionPeriod",
        "AutoMinorVersionUpgrade",
        "CopyTagsToSnapshot",
        "DeletionProtection",
        "PubliclyAccessible",
        "MultiAZ",
        "MasterUserPassword",
        "RotateMasterUserPassword",
      ],
      authorize: ({ DBInstanceIdentifier }) => onInstance("ModifyDBInstance", DBInstanceIdentifier),
      handle: async (input) => {
        const record = available(store.instance(input.DBInstanceIdentifier));
        if (input.DeletionProtection !== undefined) record.deletionProtection = input.DeletionProtection;
        Object.assign(record.description, changed(input));
        if (input.MasterUserPassword !== undefined || input.RotateMasterUserPassword) {
          await instances.changePassword(record, input.MasterUserPassword);
        }
        return { DBInstance: describe(record) };
      },
    }),
    operation<rds.DeleteDBInstanceCommandInput, rds.DeleteDBInstanceCommandOutput>({
      name: "DeleteDBInstance",
      honours: ["DBInstanceIdentifier", "SkipFinalSnapshot", "DeleteAutomatedBackups"],
      authorize: ({ DBInstanceIdentifier }) => onInstance("DeleteDBInstance", DBInstanceIdentifier),
      handle: (input) => {
        const record = store.instance(input.DBInstanceIdentifier);
        if (record.deletionProtection) {
          const message = "Cannot delete protected DB Instance, please disable deletion protection and try again.";
          throw new AwsError("InvalidParameterCombination", message);
        }
        if (input.SkipFinalSnapshot !== true) throw notImplemented("DeleteDBInstance with a final snapshot");
        if (record.description.DBInstanceStatus === "deleting") {
          const message = `Instance ${record.identifier} is already being deleted.`;
          throw new AwsError("InvalidDBInstanceState", message);
        }
        record.description.DBInstanceStatus = "deleting";
        cloud.background(`the deletion of the DB instance ${record.identifier}`, instances.remove(record));
        return { DBInstance: describe(record) };
      },
    }),
  ];
}

function newInstance(cloud: Cloud, store: RdsStore, input: rds.CreateDBInstanceCommandInput): InstanceRecord {
  const identifier = nameOf(input.DBInstanceIdentifier, "DBInstanceIdentifier");
  if (input.Engine !== "postgres") throw notImplemented(`CreateDBInstance with the engine ${input.Engine ?? ""}`);
  if (store.instances.has(identifier)) {
    throw new AwsError("DBInstanceAlreadyExists", "DB Instance already exists");
  }
  requireMaster(input);
  const group = input.DBSubnetGroupName === undefined ? undefined : store.subnetGroup(input.DBSubnetGroupName);
  const arn = store.arn("db", identifier);
  return {
    identifier,
    arn,
    hostname: store.hostname(identifier),
    deletionProtection: input.DeletionProtection ?? false,
    tags: input.Tags ?? [],
    cluster: undefined,
    created: Promise.resolve(),
    description: {
      DBInstanceIdentifier: identifier,
      DBInstanceArn: arn,
      DbiResourceId: `db-${randomBytes(16).toString("hex").slice(0, 26).toUpperCase()}`,
      DBInstanceStatus: "creating",
      Engine: "postgres",
      EngineVersion: engineVersion(input.EngineVersion),
      DBInstanceClass: input.DBInstanceClass,
      DBName: input.DBName,
      MasterUsername: input.MasterUsername,
      AllocatedStorage: input.AllocatedStorage,
      StorageType: input.StorageType ?? "gp2",
      StorageEncrypted: input.StorageEncrypted ?? false,
      // The address is known once the instance is available.
      Endpoint: { Port: input.Port ?? 5432 },
      DBSubnetGroup: group === undefined ? undefined : describeGroup(group),
      AvailabilityZone: group?.subnets[0]?.SubnetAvailabilityZone?.Name ?? `${cloud.region}a`,
      VpcSecurityGroups: securityGroups(input.VpcSecurityGroupIds),
      PubliclyAccessible: input.PubliclyAccessible ?? false,
      MultiAZ: input.MultiAZ ?? false,
      BackupRetentionPeriod: input.BackupRetentionPeriod ?? 1,
      AutoMinorVersionUpgrade: input.AutoMinorVersionUpgrade ?? true,
      CopyTagsToSnapshot: input.CopyTagsToSnapshot ?? false,
      LicenseModel: "postgresql-license",
      CACertificateIdentifier: "rds-ca-rsa2048-g1",
    },
  };
}

function requireMaster(input: rds.CreateDBInstanceCommandInput): void {
  const { MasterUsername: user = "", MasterUserPassword: password, ManageMasterUserPassword: managed } = input;
  if (!/^[a-z][a-z0-9_]{0,62}$/i.test(user) || /^(rdsadmin|admin|pg_.*)$/.test(user)) {
    throw new AwsError(
      "InvalidParameterValue",
      `MasterUsername ${user} cannot be used as it is a reserved word or not valid`,
    );
  }
  if (managed && password !== undefined) {
    const message = "You can't specify MasterUserPassword when you specify ManageMasterUserPassword.";
    throw new AwsError("InvalidParameterCombination", message);
  }
  if (!managed && (password === undefined || password.length < 8)) {
    const message = "The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters.";
    throw new AwsError("InvalidParameterValue", message);
  }
}

function available(record: InstanceRecord): InstanceRecord {
  if (record.description.DBInstanceStatus === "available") return record;
  throw new AwsError("InvalidDBInstanceState", `Database instance is not in available state.`);
}

/** Plain members that a modification sets as they are. Here every change is immediate. */
function changed(input: rds.ModifyDBInstanceCommandInput): Partial<rds.DBInstance> {
  const members = {
    DBInstanceClass: input.DBInstanceClass,
    AllocatedStorage: input.AllocatedStorage,
    StorageType: input.StorageType,
    BackupRetentionPeriod: input.BackupRetentionPeriod,
    AutoMinorVersionUpgrade: input.AutoMinorVersionUpgrade,
    CopyTagsToSnapshot: input.CopyTagsToSnapshot,
    PubliclyAccessible: input.PubliclyAccessible,
    MultiAZ: input.MultiAZ,
    VpcSecurityGroups: input.VpcSecurityGroupIds && securityGroups(input.VpcSecurityGroupIds),
  };
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

function securityGroups(ids: readonly string[] = []): rds.VpcSecurityGroupMembership[] {
  return ids.map((VpcSecurityGroupId) => ({ VpcSecurityGroupId, Status: "active" }));
}

function describe(record: InstanceRecord): rds.DBInstance {
  return { ...record.description, DeletionProtection: record.deletionProtection, TagList: record.tags };
}

function subnetGroupOperations(cloud: Cloud, store: RdsStore): Operation[] {
  const onGroup = (action: string, name: string | undefined): Access[] => [
    { action: `rds:${action}`, resource: store.arn("subgrp", name?.toLowerCase() ?? "*") },
  ];
  const subnets = async (ids: readonly string[] = []): Promise<{ vpcId: string; subnets: rds.Subnet[] }> => {
    const { Subnets = [] } = await cloud.send(rdsPrincipal, new DescribeSubnetsCommand({ SubnetIds: [...ids] }));
    const zones = new Set(Subnets.map(({ AvailabilityZone }) => AvailabilityZone));
    if (zones.size < 2) {
      throw new AwsError(
        "DBSubnetGroupDoesNotCoverEnoughAZs",
        "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: " +
          `${[...zones].join(", ")}. Add subnets to cover at least 2 AZs.`,
      );
    }
    return {
      vpcId: Subnets[0]?.VpcId ?? "",
      subnets: Subnets.map(({ SubnetId, AvailabilityZone }) => ({
        SubnetIdentifier: SubnetId,
        SubnetAvailabilityZone: { Name: AvailabilityZone },
        SubnetStatus: "Active",
      })),
    };
  };
  return [
    operation<rds.CreateDBSubnetGroupCommandInput, rds.CreateDBSubnetGroupCommandOutput>({
      name: "CreateDBSubnetGroup",
      honours: ["DBSubnetGroupName", "DBSubnetGroupDescription", "SubnetIds", "Tags"],
      authorize: ({ DBSubnetGroupName }) => onGroup("CreateDBSubnetGroup", DBSubnetGroupName),
      handle: async (input) => {
        const name = (input.DBSubnetGroupName ?? "").toLowerCase();
        if (store.subnetGroups.has(name)) {
          throw new AwsError("DBSubnetGroupAlreadyExists", `The DB subnet group '${name}' already exists.`);
        }
        const record: SubnetGroupRecord = {
          name,
          arn: store.arn("subgrp", name),
          description: input.DBSubnetGroupDescription ?? "",
          tags: input.Tags ?? [],
          ...(await subnets(input.SubnetIds)),
        };
        store.subnetGroups.set(name, record);
        return { DBSubnetGroup: describeGroup(record) };
      },
    }),
    operation<rds.DescribeDBSubnetGroupsCommandInput, rds.DescribeDBSubnetGroupsCommandOutput>({
      name: "DescribeDBSubnetGroups",
      honours: ["DBSubnetGroupName"],
      authorize: ({ DBSubnetGroupName }) => onGroup("DescribeDBSubnetGroups", DBSubnetGroupName),
      handle: ({ DBSubnetGroupName }) => {
        const found =
          DBSubnetGroupName === undefined ? [...store.subnetGroups.values()] : [store.subnetGroup(DBSubnetGroupName)];
        return { DBSubnetGroups: found.map(describeGroup) };
      },
    }),
    operation<rds.ModifyDBSubnetGroupCommandInput, rds.ModifyDBSubnetGroupCommandOutput>({
      name: "ModifyDBSubnetGroup",
      honours: ["DBSubnetGroupName", "DBSubnetGroupDescription", "SubnetIds"],
      authorize: ({ DBSubnetGroupName }) => onGroup("ModifyDBSubnetGroup", DBSubnetGroupName),
      handle: async (input) => {
        const record = store.subnetGroup(input.DBSubnetGroupName);
        record.subnets = (await subnets(input.SubnetIds)).subnets;
        record.description = input.DBSubnetGroupDescription ?? record.description;
        return { DBSubnetGroup: describeGroup(record) };
      },
    }),
    operation<rds.DeleteDBSubnetGroupCommandInput, object>({
      name: "DeleteDBSubnetGroup",
      honours: ["DBSubnetGroupName"],
      authorize: ({ DBSubnetGroupName }) => onGroup("DeleteDBSubnetGroup", DBSubnetGroupName),
      handle: ({ DBSubnetGroupName }) => {
        const { name } = store.subnetGroup(DBSubnetGroupName);
        const user = [...store.instances.values()].find(
          ({ description }) => description.DBSubnetGroup?.DBSubnetGroupName === name,
        );
        if (user !== undefined) {
          throw new AwsError(
            "InvalidDBSubnetGroupStateFault",
            `Cannot delete the subnet group '${name}' because at least one database instance: ${user.identifier} ` +
              "is still using it.",
          );
        }
        store.subnetGroups.delete(name);
        return {};
      },
    }),
  ];
}

function describeGroup(record: SubnetGroupRecord): rds.DBSubnetGroup {
  return {
    DBSubnetGroupName: record.name,
    DBSubnetGroupArn: record.arn,
    DBSubnetGroupDescription: record.description,
    VpcId: record.vpcId,
    SubnetGroupStatus: "Complete",
    Subnets: record.subnets,
    SupportedNetworkTypes: ["IPV4"],
  };
}

function tagOperations(store: RdsStore): Operation[] {
  const onArn = (action: string, arn: string | undefined): Access[] => [
    { action: `rds:${action}`, resource: arn ?? "*", context: tagContext(store.tagged(arn)) },
  ];
  return [
    operation<rds.AddTagsToResourceCommandInput, object>({
      name: "AddTagsToResource",
      honours: ["ResourceName", "Tags"],
      authorize: ({ ResourceName }) => onArn("AddTagsToResource", ResourceName),
      handle: ({ ResourceName, Tags = [] }) => {
        const record = store.tagged(ResourceName);
        const keys = new Set(Tags.map(({ Key }) => Key));
        record.tags = [...record.tags.filter(({ Key }) => !keys.has(Key)), ...Tags];
        return {};
      },
    }),
    operation<rds.RemoveTagsFromResourceCommandInput, object>({
      name: "RemoveTagsFromResource",
      honours: ["ResourceName", "TagKeys"],
      authorize: ({ ResourceName }) => onArn("RemoveTagsFromResource", ResourceName),
      handle: ({ ResourceName, TagKeys = [] }) => {
        const record = store.tagged(ResourceName);
        record.tags = record.tags.filter(({ Key }) => !TagKeys.includes(Key ?? ""));
        return {};
      },
    }),
    operation<rds.ListTagsForResourceCommandInput, rds.ListTagsForResourceCommandOutput>({
      name: "ListTagsForResource",
      honours: ["ResourceName"],
      authorize: ({ ResourceName }) => onArn("ListTagsForResource", ResourceName),
      handle: ({ ResourceName }) => ({ TagList: store.tagged(ResourceName).tags }),
    }),
  ];
}

function tagContext(record: { readonly tags: readonly rds.Tag[] } | undefined): Record<string, string> {
  return Object.fromEntries((record?.tags ?? []).map(({ Key, Value }) => [`aws:ResourceTag/${Key}`, Value ?? ""]));
}
