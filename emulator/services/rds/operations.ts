import { randomBytes } from "node:crypto";
import { DescribeSubnetsCommand } from "@aws-sdk/client-ec2";
import type * as rds from "@aws-sdk/client-rds";
import { AwsError, notImplemented, operation, type Access, type Cloud, type Operation } from "../../core/definitions";
import type { Instances } from "./instances";
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

export function rdsOperations(cloud: Cloud, store: RdsStore, instances: Instances): Operation[] {
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
        "MaxAllocatedStorage",
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
          ? await instances.createMasterSecret(record, input.MasterUserSecretKmsKeyId)
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
      handle: ({ DBInstanceIdentifier, MaxRecords, Marker }) => {
        if (DBInstanceIdentifier !== undefined)
          return { DBInstances: [describe(store.instance(DBInstanceIdentifier))] };
        const page = pageOf([...store.instances.values()], MaxRecords ?? 100, Marker);
        return { DBInstances: page.items.map(describe), Marker: page.next };
      },
    }),
    operation<rds.ModifyDBInstanceCommandInput, rds.ModifyDBInstanceCommandOutput>({
      name: "ModifyDBInstance",
      honours: [
        "DBInstanceIdentifier",
        "ApplyImmediately",
        "DBInstanceClass",
        "AllocatedStorage",
        "MaxAllocatedStorage",
        "StorageType",
        "VpcSecurityGroupIds",
        "BackupRetentionPeriod",
        "AutoMinorVersionUpgrade",
        "CopyTagsToSnapshot",
        "DeletionProtection",
        "PubliclyAccessible",
        "MultiAZ",
        "MasterUserPassword",
        "ManageMasterUserPassword",
        "MasterUserSecretKmsKeyId",
        "RotateMasterUserPassword",
      ],
      authorize: ({ DBInstanceIdentifier }) => onInstance("ModifyDBInstance", DBInstanceIdentifier),
      handle: async (input) => {
        const record = available(store.instance(input.DBInstanceIdentifier));
        checkStorage(input, record.description);
        checkMasterChange(input, record);
        if (input.DeletionProtection !== undefined) record.deletionProtection = input.DeletionProtection;
        Object.assign(record.description, immediateChanges(input));
        forgetIdleMaximum(record.description);
        await changeMaster(instances, record, input);
        const pending = { ...record.description.PendingModifiedValues, ...deferredChanges(input, record.description) };
        record.description.PendingModifiedValues = pending;
        if (input.ApplyImmediately === true && Object.keys(pending).length > 0) {
          cloud.background(
            `the modification of the DB instance ${record.identifier}`,
            instances.apply(record, pending),
          );
        }
        return { DBInstance: describe(record) };
      },
    }),
    operation<rds.DeleteDBInstanceCommandInput, rds.DeleteDBInstanceCommandOutput>({
      name: "DeleteDBInstance",
      // Without a final snapshot only: FinalDBSnapshotIdentifier is not honoured.
      honours: ["DBInstanceIdentifier", "SkipFinalSnapshot", "DeleteAutomatedBackups"],
      authorize: ({ DBInstanceIdentifier }) => onInstance("DeleteDBInstance", DBInstanceIdentifier),
      handle: (input) => {
        const record = store.instance(input.DBInstanceIdentifier);
        if (record.deletionProtection) {
          const message = "Cannot delete protected DB Instance, please disable deletion protection and try again.";
          throw new AwsError("InvalidParameterCombination", message);
        }
        if (input.SkipFinalSnapshot !== true) {
          const message = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.";
          throw new AwsError("InvalidParameterCombination", message);
        }
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

/** Markers are identifiers: the page begins after that one. */
function pageOf(records: readonly InstanceRecord[], size: number, marker: string | undefined) {
  if (!(size >= 20 && size <= 100)) {
    throw new AwsError("InvalidParameterValue", `Invalid value ${size} for MaxRecords. Must be between 20 and 100`);
  }
  const sorted = [...records].sort((a, b) => (a.identifier < b.identifier ? -1 : 1));
  const rest = sorted.filter(({ identifier }) => marker === undefined || identifier > marker);
  const items = rest.slice(0, size);
  return { items, next: rest.length > size ? items.at(-1)?.identifier : undefined };
}

function newInstance(cloud: Cloud, store: RdsStore, input: rds.CreateDBInstanceCommandInput): InstanceRecord {
  const identifier = nameOf(input.DBInstanceIdentifier, "DBInstanceIdentifier");
  if (input.Engine !== "postgres") throw notImplemented(`CreateDBInstance with the engine ${input.Engine ?? ""}`);
  if (store.instances.has(identifier)) {
    throw new AwsError("DBInstanceAlreadyExists", "DB Instance already exists");
  }
  requireMaster(input);
  checkStorage(input, {});
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
    ended: new AbortController(),
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
      MaxAllocatedStorage: input.MaxAllocatedStorage,
      StorageType: input.StorageType ?? "gp2",
      PendingModifiedValues: {},
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
  if (!managed) requirePassword(password);
}

function requirePassword(password = ""): void {
  if (password.length < 8) {
    const message = "The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters.";
    throw new AwsError("InvalidParameterValue", message);
  }
  if (password.length > 128 || !/^[\x21-\x7e]+$/.test(password) || /[/@"]/.test(password)) {
    const message =
      "The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides " +
      "'/', '@', '\"', ' ' may be used.";
    throw new AwsError("InvalidParameterValue", message);
  }
}

function available(record: InstanceRecord): InstanceRecord {
  if (record.description.DBInstanceStatus === "available") return record;
  throw new AwsError("InvalidDBInstanceState", `Database instance is not in available state.`);
}

/** What is set as soon as it is asked for, "regardless of the ApplyImmediately parameter". */
function immediateChanges(input: rds.ModifyDBInstanceCommandInput): Partial<rds.DBInstance> {
  return given({
    MaxAllocatedStorage: input.MaxAllocatedStorage,
    BackupRetentionPeriod: input.BackupRetentionPeriod,
    AutoMinorVersionUpgrade: input.AutoMinorVersionUpgrade,
    CopyTagsToSnapshot: input.CopyTagsToSnapshot,
    PubliclyAccessible: input.PubliclyAccessible,
    VpcSecurityGroups: input.VpcSecurityGroupIds && securityGroups(input.VpcSecurityGroupIds),
  });
}

/** A maximum that is the allocated storage itself switches the storage's growing off. */
function forgetIdleMaximum(description: rds.DBInstance): void {
  if (description.MaxAllocatedStorage === description.AllocatedStorage) description.MaxAllocatedStorage = undefined;
}

/** What waits for the weekly maintenance, or for a modification that is to be applied immediately. */
function deferredChanges(input: rds.ModifyDBInstanceCommandInput, now: rds.DBInstance): rds.PendingModifiedValues {
  const changes = {
    DBInstanceClass: input.DBInstanceClass,
    AllocatedStorage: input.AllocatedStorage,
    StorageType: input.StorageType,
    MultiAZ: input.MultiAZ,
  };
  return given(
    Object.fromEntries(Object.entries(changes).filter(([name, value]) => value !== now[name as keyof typeof changes])),
  );
}

function given<T extends object>(members: T): Partial<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** Storage from 20 GiB; it never shrinks, and grows by a tenth at least. */
function checkStorage(
  {
    AllocatedStorage: asked,
    MaxAllocatedStorage: most,
  }: Pick<rds.DBInstance, "AllocatedStorage" | "MaxAllocatedStorage">,
  { AllocatedStorage: now }: rds.DBInstance,
): void {
  const combination = (message: string): AwsError => new AwsError("InvalidParameterCombination", message);
  if (asked !== undefined && !(asked >= 20 && asked <= 65_536)) {
    throw combination(`Invalid storage size for engine name postgres and storage type: ${asked}`);
  }
  if (asked !== undefined && now !== undefined && asked < now) {
    throw combination(`Requested storage size (${asked}) cannot be less than the current storage size (${now}).`);
  }
  if (asked !== undefined && now !== undefined && asked > now && asked < Math.ceil(now * 1.1)) {
    throw combination(`Storage size must increase by at least 10 percent. Minimum: ${Math.ceil(now * 1.1)}`);
  }
  const allocated = asked ?? now ?? 0;
  if (most !== undefined && most !== allocated && most < Math.ceil(allocated * 1.1)) {
    throw combination(
      `Max storage size must be at least 10 percent greater than the current allocated storage (${allocated}).`,
    );
  }
}

function checkMasterChange(input: rds.ModifyDBInstanceCommandInput, { description }: InstanceRecord): void {
  const { MasterUserPassword: password, ManageMasterUserPassword: managed, RotateMasterUserPassword: rotated } = input;
  const combination = (message: string): AwsError => new AwsError("InvalidParameterCombination", message);
  const isManaged = description.MasterUserSecret !== undefined;
  if (managed === true && password !== undefined) {
    throw combination("You can't specify MasterUserPassword when you specify ManageMasterUserPassword.");
  }
  if (password !== undefined && isManaged && managed !== false) {
    throw combination("You can't specify MasterUserPassword for an instance whose master user password is managed.");
  }
  if (managed === false && isManaged && password === undefined) {
    throw combination("You must specify MasterUserPassword when you stop managing the master user password.");
  }
  if (rotated === true && !isManaged) throw combination("The master user password is not managed by RDS.");
  if (rotated === true && input.ApplyImmediately !== true) {
    throw combination("You must apply the change immediately when you rotate the master user password.");
  }
  if (password !== undefined) requirePassword(password);
}

/** Each of these changes is "applied as soon as possible", whenever others are. */
async function changeMaster(
  instances: Instances,
  record: InstanceRecord,
  input: rds.ModifyDBInstanceCommandInput,
): Promise<void> {
  if (input.ManageMasterUserPassword === true && record.description.MasterUserSecret === undefined) {
    await instances.setPassword(record, await instances.createMasterSecret(record, input.MasterUserSecretKmsKeyId));
  }
  if (input.ManageMasterUserPassword === false) await instances.removeMasterSecret(record);
  if (input.MasterUserPassword !== undefined) await instances.setPassword(record, input.MasterUserPassword);
  if (input.RotateMasterUserPassword === true) await instances.startRotation(record);
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
