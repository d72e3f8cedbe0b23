/**
 * The state of EC2. Records are kept in the shape in which the API describes them, where it has one; instances and
 * volumes have records of their own, because their descriptions draw on one another.
 */
import type {
  Address,
  InstanceStateName,
  InternetGateway,
  NatGateway,
  ReplaceRootVolumeTask,
  RouteTable,
  SecurityGroup,
  SecurityGroupRule,
  Snapshot,
  Subnet,
  Tag,
  Volume,
  Vpc,
  VpcEndpoint,
} from "@aws-sdk/client-ec2";
import { AwsError } from "../../core/definitions";
import type { Storage } from "./operations/volumes";
import type { Disks } from "./runtime/disks";
import type { Fleet } from "./runtime/fleet";
import type { Instances } from "./runtime/instances";
import { ClientTokens, type Tagged } from "./support";

export interface Runtime {
  readonly disks: Disks;
  readonly fleet: Fleet;
  readonly storage: Storage;
  readonly instances: Instances;
}

declare module "../../core/definitions" {
  interface Stores {
    ec2: Ec2Store;
  }
}

export interface VpcRecord extends Vpc {
  VpcId: string;
  CidrBlock: string;
  enableDnsSupport: boolean;
  enableDnsHostnames: boolean;
}

export interface SubnetRecord extends Subnet {
  SubnetId: string;
  VpcId: string;
  CidrBlock: string;
  AvailabilityZone: string;
}

export interface RouteTableRecord extends RouteTable {
  RouteTableId: string;
  VpcId: string;
}

export interface SecurityGroupRecord extends SecurityGroup {
  GroupId: string;
  GroupName: string;
  VpcId: string;
}

export interface VolumeRecord extends Volume {
  VolumeId: string;
  Size: number;
  AvailabilityZone: string;
}

export interface SnapshotRecord extends Snapshot {
  SnapshotId: string;
  VolumeId: string;
  VolumeSize: number;
}

/** A block device of an instance: what `BlockDeviceMappings` tells of it. */
export interface Attachment {
  readonly volumeId: string;
  readonly attachTime: Date;
  deleteOnTermination: boolean;
  /** `busy`: to be detached, and still mounted. */
  state: "attaching" | "attached" | "detaching" | "busy";
}

export interface MetadataOptions {
  readonly metadataEndpoint: "enabled" | "disabled";
  readonly metadataTokens: "required" | "optional";
  readonly metadataHopLimit: number;
}

export interface InstanceRecord extends Tagged, MetadataOptions {
  readonly id: string;
  readonly reservationId: string;
  readonly imageId: string;
  readonly instanceType: string;
  readonly subnetId: string;
  readonly vpcId: string;
  readonly zone: string;
  readonly privateIp: string;
  readonly privateDnsName: string;
  /** The loopback address that stands for all of the instance's addresses. */
  readonly address: string;
  readonly hasPublicIp: boolean;
  readonly networkInterfaceId: string;
  readonly networkAttachmentId: string;
  readonly profile: { readonly arn: string; readonly id: string; readonly roleArn: string } | undefined;
  readonly profileAssociationTime: Date;
  /** Base64, as given. */
  readonly userData: string | undefined;
  readonly rootDeviceName: string;
  readonly devices: Map<string, Attachment>;
  readonly clientToken: string | undefined;
  launchTime: Date;
  state: InstanceStateName;
  stateReason: { Code: string; Message: string } | undefined;
  stateTransitionReason: string;
  securityGroupIds: string[];
  disableApiTermination: boolean;
  Tags: Tag[];
}

/** Resources of one type, with the error that EC2 gives for an unknown id. */
export class Table<T extends object> {
  private readonly records = new Map<string, T>();

  constructor(
    private readonly code: string,
    private readonly noun: string,
  ) {}

  add(id: string, record: T): T {
    this.records.set(id, record);
    return record;
  }

  find(id: string | undefined): T | undefined {
    return id === undefined ? undefined : this.records.get(id);
  }

  get(id: string): T {
    const record = this.records.get(id);
    if (record !== undefined) return record;
    throw new AwsError(this.code, `The ${this.noun} ID '${id}' does not exist`);
  }

  delete(id: string): void {
    this.get(id);
    this.records.delete(id);
  }

  all(): T[] {
    return [...this.records.values()];
  }

  /** Those with the given ids, or all where none are given. */
  select(ids: readonly string[] | undefined): T[] {
    return ids === undefined || ids.length === 0 ? this.all() : ids.map((id) => this.get(id));
  }
}

const TERMINATED: ReadonlySet<string> = new Set(["shutting-down", "terminated"]);

export class Ec2Store {
  /** What carries the records: set when the service is installed. For services that act on EC2's behalf. */
  runtime: Runtime | undefined;
  readonly tokens = new ClientTokens();
  readonly vpcs = new Table<VpcRecord>("InvalidVpcID.NotFound", "vpc");
  readonly subnets = new Table<SubnetRecord>("InvalidSubnetID.NotFound", "subnet");
  readonly internetGateways = new Table<InternetGateway>("InvalidInternetGatewayID.NotFound", "internetGateway");
  readonly addresses = new Table<Address>("InvalidAllocationID.NotFound", "allocation");
  readonly natGateways = new Table<NatGateway>("NatGatewayNotFound", "NAT gateway");
  readonly routeTables = new Table<RouteTableRecord>("InvalidRouteTableID.NotFound", "routeTable");
  readonly endpoints = new Table<VpcEndpoint>("InvalidVpcEndpointId.NotFound", "VPC endpoint");
  readonly securityGroups = new Table<SecurityGroupRecord>("InvalidGroup.NotFound", "security group");
  readonly rules = new Table<SecurityGroupRule>("InvalidSecurityGroupRuleId.NotFound", "security group rule");
  readonly instances = new Table<InstanceRecord>("InvalidInstanceID.NotFound", "instance");
  readonly volumes = new Table<VolumeRecord>("InvalidVolume.NotFound", "volume");
  readonly snapshots = new Table<SnapshotRecord>("InvalidSnapshot.NotFound", "snapshot");
  readonly tasks = new Table<ReplaceRootVolumeTask>("InvalidReplaceRootVolumeTaskId.NotFound", "replaceRootVolumeTask");

  private readonly roots = new Map<string, string[]>();

  /** The volumes that have been the instance's root, the present one last. */
  rootLineage(instanceId: string): readonly string[] {
    return this.roots.get(instanceId) ?? [];
  }

  noteRoot(instanceId: string, volumeId: string): void {
    this.roots.set(instanceId, [...this.rootLineage(instanceId), volumeId]);
  }

  /** Everything that can carry tags, by id. */
  tagged(id: string): Tagged | undefined {
    const tables = [
      this.vpcs,
      this.subnets,
      this.internetGateways,
      this.addresses,
      this.natGateways,
      this.routeTables,
      this.endpoints,
      this.securityGroups,
      this.rules,
      this.instances,
      this.volumes,
      this.snapshots,
      this.tasks,
    ];
    return tables
      .map((table: Table<object>) => table.find(id) as Tagged | undefined)
      .find((record) => record !== undefined);
  }

  /**
   * Puts an instance into an Auto Scaling group, as that service does. There is no API for it here; what shows is the
   * tag that only AWS can set.
   */
  joinAutoScalingGroup(instanceId: string, group: string): void {
    const instance = this.instances.get(instanceId);
    instance.Tags = [...instance.Tags, { Key: "aws:autoscaling:groupName", Value: group }];
  }

  /** The instance, if it has not been terminated. */
  liveInstance(id: string): InstanceRecord | undefined {
    const instance = this.instances.find(id);
    return instance === undefined || TERMINATED.has(instance.state) ? undefined : instance;
  }

  liveInstances(): InstanceRecord[] {
    return this.instances.all().filter(({ state }) => !TERMINATED.has(state));
  }

  rulesOf(groupId: string): SecurityGroupRule[] {
    return this.rules.all().filter((rule) => rule.GroupId === groupId);
  }

  /** The table that decides for a subnet: its own, or its VPC's main one. */
  routeTableOf(subnetId: string): RouteTableRecord | undefined {
    const { VpcId } = this.subnets.get(subnetId);
    const tables = this.routeTables.all().filter((table) => table.VpcId === VpcId);
    const own = tables.find((table) => table.Associations?.some((association) => association.SubnetId === subnetId));
    return own ?? tables.find((table) => table.Associations?.some((association) => association.Main === true));
  }

  /** Whether anything in the subnet could reach AWS's public endpoints: its route table has a default route. */
  reachesInternet(subnetId: string): boolean {
    const routes = this.routeTableOf(subnetId)?.Routes ?? [];
    return routes.some(
      ({ DestinationCidrBlock, State, NatGatewayId, GatewayId }) =>
        DestinationCidrBlock === "0.0.0.0/0" && State === "active" && (NatGatewayId ?? GatewayId) !== undefined,
    );
  }
}
