/** Instances. */
import type * as ec2 from "@aws-sdk/client-ec2";
import { GetInstanceProfileCommand } from "@aws-sdk/client-iam";
import {
  AwsError,
  type Access,
  type Call,
  type Cloud,
  type Operation,
  type Principal,
} from "../../../core/definitions";
import type { Instances, LaunchSpecification, LaunchVolume } from "../runtime/instances";
import type { Ec2Store, InstanceRecord, MetadataOptions } from "../store";
import {
  applyFilters,
  ec2Arn,
  ec2Operation,
  newId,
  onNewResource,
  onePage,
  onResource,
  required,
  tagsFor,
  withoutResource,
  type FilterTable,
} from "../support";
import { amazonLinux, checkImage, IMAGE_ID, IMAGE_SIZE, ROOT_DEVICE } from "./catalog";
import { checkDataDevice } from "./attachments";
import { type Storage, volumeOptions } from "./volumes";

export const EC2_SERVICE: Principal = { kind: "service", arn: "ec2.amazonaws.com" };

const STATE_CODES: Readonly<Record<ec2.InstanceStateName, number>> = {
  pending: 0,
  running: 16,
  "shutting-down": 32,
  terminated: 48,
  stopping: 64,
  stopped: 80,
};

const instanceFilters: FilterTable<InstanceRecord> = {
  "instance-id": ({ id }) => id,
  "instance-state-name": ({ state }) => state,
  "instance-state-code": ({ state }) => String(STATE_CODES[state]),
  "vpc-id": ({ vpcId }) => vpcId,
  "subnet-id": ({ subnetId }) => subnetId,
  "image-id": ({ imageId }) => imageId,
  "instance-type": ({ instanceType }) => instanceType,
  "availability-zone": ({ zone }) => zone,
  "private-ip-address": ({ privateIp }) => privateIp,
  "private-dns-name": ({ privateDnsName }) => privateDnsName,
  "ip-address": ({ hasPublicIp, address }) => (hasPublicIp ? address : undefined),
  "instance.group-id": ({ securityGroupIds }) => securityGroupIds,
  "iam-instance-profile.arn": ({ profile }) => profile?.arn,
  "block-device-mapping.volume-id": ({ devices }) => [...devices.values()].map(({ volumeId }) => volumeId),
  "client-token": ({ clientToken }) => clientToken,
};

const RUN_HONOURS = [
  "ImageId",
  "InstanceType",
  "MinCount",
  "MaxCount",
  "SubnetId",
  "SecurityGroupIds",
  "NetworkInterfaces.DeviceIndex",
  "NetworkInterfaces.SubnetId",
  "NetworkInterfaces.Groups",
  "NetworkInterfaces.AssociatePublicIpAddress",
  "UserData",
  "IamInstanceProfile",
  "BlockDeviceMappings.DeviceName",
  "BlockDeviceMappings.Ebs.SnapshotId",
  "BlockDeviceMappings.Ebs.VolumeSize",
  "BlockDeviceMappings.Ebs.VolumeType",
  "BlockDeviceMappings.Ebs.Iops",
  "BlockDeviceMappings.Ebs.Throughput",
  "BlockDeviceMappings.Ebs.Encrypted",
  "BlockDeviceMappings.Ebs.KmsKeyId",
  "BlockDeviceMappings.Ebs.DeleteOnTermination",
  "MetadataOptions.HttpTokens",
  "MetadataOptions.HttpPutResponseHopLimit",
  "MetadataOptions.HttpEndpoint",
  "DisableApiTermination",
  "TagSpecifications",
  "ClientToken",
];

export function instanceOperations(cloud: Cloud, storage: Storage, instances: Instances): Operation[] {
  const store = cloud.stores.ec2;
  const onInstances = (action: string) => (input: { InstanceIds?: string[] | undefined }) =>
    (input.InstanceIds ?? []).map((id) => onResource(cloud, action, "instance", id, store.instances.find(id)));
  /** Does something to each instance, and tells the state before and after. All are looked up before any is changed. */
  const change = (ids: string[] | undefined, act: (instance: InstanceRecord) => void): ec2.InstanceStateChange[] => {
    const selected = required(ids, "InstanceId").map((id) => store.instances.get(id));
    return selected.map((instance) => {
      const PreviousState = describeState(instance.state);
      act(instance);
      return { InstanceId: instance.id, PreviousState, CurrentState: describeState(instance.state) };
    });
  };
  return [
    ec2Operation<ec2.RunInstancesCommandInput, ec2.RunInstancesCommandOutput>({
      name: "RunInstances",
      honours: RUN_HONOURS,
      authorize: (input, call) => runAccess(input, call),
      handle: (input) => store.tokens.once("RunInstances", input, () => runInstances(cloud, storage, instances, input)),
    }),
    ec2Operation<ec2.DescribeInstancesCommandInput, ec2.DescribeInstancesCommandOutput>({
      name: "DescribeInstances",
      honours: ["InstanceIds", "Filters", "MaxResults", "NextToken"],
      authorize: withoutResource("DescribeInstances"),
      handle: (input) => {
        const found = applyFilters(store.instances.select(input.InstanceIds), input.Filters, instanceFilters);
        const { items, NextToken } = onePage(found, input, { ids: "instancesSet", given: input.InstanceIds });
        return { Reservations: items.map((instance) => describeReservation(cloud, instance)), NextToken };
      },
    }),
    ec2Operation<ec2.DescribeInstanceAttributeCommandInput, ec2.DescribeInstanceAttributeCommandOutput>({
      name: "DescribeInstanceAttribute",
      honours: ["InstanceId", "Attribute"],
      authorize: ({ InstanceId = "" }) => [
        onResource(cloud, "DescribeInstanceAttribute", "instance", InstanceId, store.instances.find(InstanceId)),
      ],
      handle: ({ InstanceId, Attribute }) =>
        describeAttribute(
          store,
          store.instances.get(required(InstanceId, "InstanceId")),
          required(Attribute, "Attribute"),
        ),
    }),
    ec2Operation<ec2.ModifyInstanceAttributeCommandInput, ec2.ModifyInstanceAttributeCommandOutput>({
      name: "ModifyInstanceAttribute",
      honours: [
        "InstanceId",
        "Groups",
        "DisableApiTermination",
        "BlockDeviceMappings.DeviceName",
        "BlockDeviceMappings.Ebs.DeleteOnTermination",
        "BlockDeviceMappings.Ebs.VolumeId",
      ],
      authorize: ({ InstanceId = "", Groups = [] }) => [
        onResource(cloud, "ModifyInstanceAttribute", "instance", InstanceId, store.instances.find(InstanceId)),
        ...Groups.map((id) =>
          onResource(cloud, "ModifyInstanceAttribute", "security-group", id, store.securityGroups.find(id)),
        ),
      ],
      handle: (input) => modifyAttribute(store, input),
    }),
    ec2Operation<ec2.StopInstancesCommandInput, ec2.StopInstancesCommandOutput>({
      name: "StopInstances",
      // Stopping ends the processes at once, so there is nothing more that force could do.
      honours: ["InstanceIds", "Force"],
      authorize: onInstances("StopInstances"),
      handle: ({ InstanceIds }) => ({ StoppingInstances: change(InstanceIds, (instance) => instances.stop(instance)) }),
    }),
    ec2Operation<ec2.StartInstancesCommandInput, ec2.StartInstancesCommandOutput>({
      name: "StartInstances",
      honours: ["InstanceIds"],
      authorize: onInstances("StartInstances"),
      handle: ({ InstanceIds }) => ({
        StartingInstances: change(InstanceIds, (instance) => instances.start(instance)),
      }),
    }),
    ec2Operation<ec2.RebootInstancesCommandInput, ec2.RebootInstancesCommandOutput>({
      name: "RebootInstances",
      honours: ["InstanceIds"],
      authorize: onInstances("RebootInstances"),
      handle: ({ InstanceIds }) => {
        change(InstanceIds, (instance) => instances.reboot(instance));
        return {};
      },
    }),
    ec2Operation<ec2.TerminateInstancesCommandInput, ec2.TerminateInstancesCommandOutput>({
      name: "TerminateInstances",
      honours: ["InstanceIds"],
      authorize: onInstances("TerminateInstances"),
      handle: ({ InstanceIds }) => {
        for (const id of InstanceIds ?? []) refuseProtected(store.instances.get(id));
        return { TerminatingInstances: change(InstanceIds, (instance) => instances.terminate(instance)) };
      },
    }),
  ];
}

async function runAccess(input: ec2.RunInstancesCommandInput, { cloud }: Call): Promise<Access[]> {
  const store = cloud.stores.ec2;
  const [card] = input.NetworkInterfaces ?? [];
  const subnetId = card?.SubnetId ?? input.SubnetId ?? "*";
  const groups = card?.Groups ?? input.SecurityGroupIds ?? [];
  const profile = await findProfile(cloud, input.IamInstanceProfile);
  return [
    { action: "ec2:RunInstances", resource: ec2Arn(cloud, "image", input.ImageId ?? "*") },
    ...onNewResource(cloud, "RunInstances", "instance", input.TagSpecifications),
    ...onNewResource(cloud, "RunInstances", "volume", input.TagSpecifications),
    ...onNewResource(cloud, "RunInstances", "network-interface", input.TagSpecifications),
    onResource(cloud, "RunInstances", "subnet", subnetId, store.subnets.find(subnetId)),
    ...groups.map((id) => onResource(cloud, "RunInstances", "security-group", id, store.securityGroups.find(id))),
    ...(profile === undefined
      ? []
      : [{ action: "iam:PassRole", resource: profile.roleArn, context: { "iam:PassedToService": EC2_SERVICE.arn } }]),
  ];
}

async function findProfile(
  cloud: Cloud,
  given: ec2.IamInstanceProfileSpecification | undefined,
): Promise<InstanceRecord["profile"]> {
  const name = given?.Name ?? given?.Arn?.split("/").at(-1);
  if (name === undefined) return undefined;
  try {
    const command = new GetInstanceProfileCommand({ InstanceProfileName: name });
    const { InstanceProfile } = await cloud.send(EC2_SERVICE, command);
    const [role] = InstanceProfile?.Roles ?? [];
    if (role?.Arn === undefined || InstanceProfile?.Arn === undefined) throw new Error("a profile without a role");
    return { arn: InstanceProfile.Arn, id: InstanceProfile.InstanceProfileId ?? "", roleArn: role.Arn };
  } catch {
    const message = `Value (${name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name`;
    throw new AwsError("InvalidParameterValue", message);
  }
}

async function runInstances(
  cloud: Cloud,
  storage: Storage,
  instances: Instances,
  input: ec2.RunInstancesCommandInput,
): Promise<ec2.Reservation> {
  const count = required(input.MaxCount, "MaxCount");
  if (count < 1 || required(input.MinCount, "MinCount") > count) {
    throw new AwsError(
      "InvalidParameterValue",
      "MinCount must not be greater than MaxCount, and both must be positive",
    );
  }
  const specification = await launchSpecification(cloud, storage, input);
  const reservationId = newId("r");
  const launched = Array.from({ length: count }, () => instances.launch(specification, reservationId));
  const Instances = launched.map((instance) => describeInstance(cloud, instance));
  return { ReservationId: reservationId, OwnerId: cloud.account, Groups: [], Instances };
}

async function launchSpecification(
  cloud: Cloud,
  storage: Storage,
  input: ec2.RunInstancesCommandInput,
): Promise<LaunchSpecification> {
  const store = cloud.stores.ec2;
  checkImage(required(input.ImageId, "ImageId"));
  const [card] = input.NetworkInterfaces ?? [];
  if (card !== undefined && (input.SubnetId !== undefined || input.SecurityGroupIds !== undefined)) {
    const message =
      "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request";
    throw new AwsError("InvalidParameterCombination", message);
  }
  const subnetId = card?.SubnetId ?? input.SubnetId;
  if (subnetId === undefined)
    throw new AwsError("MissingInput", "No subnets found for the default VPC. Please specify a subnet.");
  const subnet = store.subnets.get(subnetId);
  const groups = (card?.Groups ?? input.SecurityGroupIds ?? [defaultGroup(store, subnet.VpcId)]).map((id) => {
    const group = store.securityGroups.get(id);
    if (group.VpcId === subnet.VpcId) return group.GroupId;
    throw new AwsError("InvalidParameter", `Security group ${id} and subnet ${subnetId} belong to different networks.`);
  });
  return {
    imageId: IMAGE_ID,
    instanceType: checkedType(input.InstanceType ?? "m1.small"),
    subnet,
    securityGroupIds: groups,
    publicIp: card?.AssociatePublicIpAddress ?? subnet.MapPublicIpOnLaunch ?? false,
    profile: await findProfile(cloud, input.IamInstanceProfile),
    userData: input.UserData,
    ...metadataOptions(input.MetadataOptions),
    disableApiTermination: input.DisableApiTermination ?? false,
    tags: tagsFor("instance", input.TagSpecifications) ?? [],
    clientToken: input.ClientToken,
    rootDeviceName: ROOT_DEVICE,
    volumes: launchVolumes(cloud, storage, subnet.AvailabilityZone, input),
  };
}

/** Without a word about it, as images of Amazon Linux 2023 say: a token is required, and two hops are enough. */
function metadataOptions({
  HttpEndpoint = "enabled",
  HttpTokens = "required",
  HttpPutResponseHopLimit = 2,
}: ec2.InstanceMetadataOptionsRequest = {}): MetadataOptions {
  const hops = HttpPutResponseHopLimit;
  const wrong = [
    ["HttpEndpoint", HttpEndpoint, ["enabled", "disabled"].includes(HttpEndpoint)],
    ["HttpTokens", HttpTokens, ["required", "optional"].includes(HttpTokens)],
    ["HttpPutResponseHopLimit", hops, Number.isInteger(hops) && hops >= 1 && hops <= 64],
  ].find(([, , valid]) => valid === false);
  if (wrong !== undefined) {
    const [name, value] = wrong;
    throw new AwsError("InvalidParameterValue", `Value ( ${value} ) for parameter ${name} is invalid.`);
  }
  return { metadataEndpoint: HttpEndpoint, metadataTokens: HttpTokens, metadataHopLimit: hops };
}

function launchVolumes(
  cloud: Cloud,
  storage: Storage,
  zone: string,
  input: ec2.RunInstancesCommandInput,
): LaunchVolume[] {
  const mappings = input.BlockDeviceMappings ?? [];
  const devices = mappings.map(({ DeviceName }) => required(DeviceName, "BlockDeviceMapping.DeviceName"));
  const twice = devices.find((device, index) => devices.indexOf(device) !== index);
  if (twice !== undefined) {
    throw new AwsError(
      "InvalidBlockDeviceMapping",
      `The device '${twice}' is used in more than one block-device mapping`,
    );
  }
  const root = mappings.find(({ DeviceName }) => DeviceName === ROOT_DEVICE) ?? { DeviceName: ROOT_DEVICE };
  const data = mappings.filter((mapping) => mapping !== root);
  for (const { DeviceName = "" } of data) checkDataDevice(DeviceName);
  return [rootVolume(root), ...data].map((mapping) => launchVolume(cloud, storage, zone, mapping, input));
}

/** What the image says of its root volume, with what the request says over it. */
function rootVolume({ Ebs = {} }: ec2.BlockDeviceMapping): ec2.BlockDeviceMapping {
  const { VolumeSize = IMAGE_SIZE, VolumeType = "gp3", DeleteOnTermination = true } = Ebs;
  if (VolumeSize < IMAGE_SIZE) {
    const message = `Volume of size ${VolumeSize}GB is smaller than snapshot '${amazonLinux.BlockDeviceMappings?.[0]?.Ebs?.SnapshotId ?? ""}', expect size>= ${IMAGE_SIZE}GB`;
    throw new AwsError("InvalidBlockDeviceMapping", message);
  }
  if (Ebs.SnapshotId !== undefined) {
    const message = `snapshotId cannot be modified on root device`;
    throw new AwsError("InvalidBlockDeviceMapping", message);
  }
  return { DeviceName: ROOT_DEVICE, Ebs: { ...Ebs, VolumeSize, VolumeType, DeleteOnTermination } };
}

/** Data volumes outlive their instance unless the request says otherwise. */
function launchVolume(
  cloud: Cloud,
  storage: Storage,
  zone: string,
  { DeviceName, Ebs = {} }: ec2.BlockDeviceMapping,
  { TagSpecifications }: ec2.RunInstancesCommandInput,
): LaunchVolume {
  const { VolumeSize, DeleteOnTermination = false, ...rest } = Ebs;
  const options = volumeOptions(cloud, { AvailabilityZone: zone, Size: VolumeSize, TagSpecifications, ...rest });
  return {
    device: DeviceName ?? "",
    deleteOnTermination: DeleteOnTermination,
    make: () => storage.createVolume(options),
  };
}

function defaultGroup(store: Ec2Store, vpcId: string): string {
  const group = store.securityGroups.all().find(({ VpcId, GroupName }) => VpcId === vpcId && GroupName === "default");
  return group?.GroupId ?? "";
}

function checkedType(type: string): string {
  if (!/^[a-z][a-z0-9-]*\.(nano|micro|small|medium|large|metal|\d*xlarge|metal-\d+xl)$/.test(type)) {
    throw new AwsError("InvalidParameterValue", `Invalid value '${type}' for InstanceType.`);
  }
  // Families of Graviton processors have a g after the generation.
  if (/^[a-z]+\d+g/.test(type)) {
    const message =
      "The architecture 'arm64' of the specified instance type does not match the architecture 'x86_64' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.";
    throw new AwsError("InvalidParameterValue", message);
  }
  return type;
}

function refuseProtected({ id, disableApiTermination }: InstanceRecord): void {
  if (!disableApiTermination) return;
  const message = `The instance '${id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.`;
  throw new AwsError("OperationNotPermitted", message);
}

function modifyAttribute(store: Ec2Store, input: ec2.ModifyInstanceAttributeCommandInput): Record<string, never> {
  const instance = store.instances.get(required(input.InstanceId, "InstanceId"));
  const given = [input.Groups, input.DisableApiTermination, input.BlockDeviceMappings].filter(
    (value) => value !== undefined,
  );
  if (given.length > 1) {
    throw new AwsError("InvalidParameterCombination", "Fields for multiple attribute types specified.");
  }
  if (given.length === 0) throw new AwsError("InvalidParameterCombination", "No attributes specified.");
  if (input.Groups !== undefined) {
    const groups = input.Groups.map((id) => store.securityGroups.get(id).GroupId);
    if (groups.length === 0)
      throw new AwsError("InvalidParameterValue", "An instance must have at least one security group");
    instance.securityGroupIds = groups;
  }
  instance.disableApiTermination = input.DisableApiTermination?.Value ?? instance.disableApiTermination;
  for (const mapping of input.BlockDeviceMappings ?? []) modifyMapping(store, instance, mapping);
  return {};
}

function modifyMapping(
  store: Ec2Store,
  instance: InstanceRecord,
  { DeviceName, Ebs }: ec2.InstanceBlockDeviceMappingSpecification,
): void {
  const attachment = instance.devices.get(required(DeviceName, "DeviceName"));
  if (attachment === undefined || (Ebs?.VolumeId ?? attachment.volumeId) !== attachment.volumeId) {
    const message = `No device is currently mapped at ${DeviceName ?? ""}`;
    throw new AwsError("InvalidInstanceAttributeValue", message);
  }
  if (Ebs?.DeleteOnTermination === undefined) return;
  attachment.deleteOnTermination = Ebs.DeleteOnTermination;
  const [described] = store.volumes.get(attachment.volumeId).Attachments ?? [];
  if (described !== undefined) described.DeleteOnTermination = Ebs.DeleteOnTermination;
}

function describeAttribute(
  store: Ec2Store,
  instance: InstanceRecord,
  attribute: ec2.InstanceAttributeName,
): Omit<ec2.DescribeInstanceAttributeCommandOutput, "$metadata"> {
  const InstanceId = instance.id;
  switch (attribute) {
    case "disableApiTermination":
      return { InstanceId, DisableApiTermination: { Value: instance.disableApiTermination } };
    case "userData":
      return { InstanceId, UserData: { Value: instance.userData } };
    case "instanceType":
      return { InstanceId, InstanceType: { Value: instance.instanceType } };
    case "rootDeviceName":
      return { InstanceId, RootDeviceName: { Value: instance.rootDeviceName } };
    case "groupSet":
      return { InstanceId, Groups: describeGroups(store, instance) };
    case "blockDeviceMapping":
      return { InstanceId, BlockDeviceMappings: describeDevices(instance) };
    default:
      throw new AwsError("NotImplemented", `NotImplemented: DescribeInstanceAttribute of ${attribute}`, 501);
  }
}

function describeState(state: ec2.InstanceStateName): ec2.InstanceState {
  return { Code: STATE_CODES[state], Name: state };
}

function describeGroups(store: Ec2Store, { securityGroupIds }: InstanceRecord): ec2.GroupIdentifier[] {
  return securityGroupIds.map((id) => ({ GroupId: id, GroupName: store.securityGroups.find(id)?.GroupName }));
}

function describeDevices({ devices }: InstanceRecord): ec2.InstanceBlockDeviceMapping[] {
  return [...devices].map(([DeviceName, { volumeId, attachTime, deleteOnTermination, state }]) => ({
    DeviceName,
    Ebs: {
      VolumeId: volumeId,
      AttachTime: attachTime,
      DeleteOnTermination: deleteOnTermination,
      // This description has no word for a device that is busy.
      Status: state === "busy" ? "detaching" : state,
    },
  }));
}

function describeReservation(cloud: Cloud, instance: InstanceRecord): ec2.Reservation {
  const Instances = [describeInstance(cloud, instance)];
  return { ReservationId: instance.reservationId, OwnerId: cloud.account, Groups: [], Instances };
}

/** The instance as `DescribeInstances` shows it. A stopped instance has no public address, a terminated one none at all. */
export function describeInstance(cloud: Cloud, instance: InstanceRecord): ec2.Instance {
  const gone = instance.state === "terminated";
  const shownPublicIp = instance.hasPublicIp && !gone && instance.state !== "stopped" ? instance.address : undefined;
  return {
    InstanceId: instance.id,
    ImageId: instance.imageId,
    InstanceType: instance.instanceType as ec2._InstanceType,
    State: describeState(instance.state),
    StateReason: instance.stateReason,
    StateTransitionReason: instance.stateTransitionReason,
    LaunchTime: instance.launchTime,
    Placement: { AvailabilityZone: instance.zone, GroupName: "", Tenancy: "default" },
    Monitoring: { State: "disabled" },
    Architecture: "x86_64",
    PlatformDetails: "Linux/UNIX",
    VirtualizationType: "hvm",
    Hypervisor: "xen",
    RootDeviceName: instance.rootDeviceName,
    RootDeviceType: "ebs",
    EbsOptimized: false,
    EnaSupport: true,
    SourceDestCheck: true,
    AmiLaunchIndex: 0,
    ClientToken: instance.clientToken ?? "",
    PrivateDnsName: gone ? "" : instance.privateDnsName,
    PublicDnsName: "",
    ...(gone
      ? { BlockDeviceMappings: [], SecurityGroups: [], NetworkInterfaces: [] }
      : {
          VpcId: instance.vpcId,
          SubnetId: instance.subnetId,
          PrivateIpAddress: instance.privateIp,
          PublicIpAddress: shownPublicIp,
          BlockDeviceMappings: describeDevices(instance),
          SecurityGroups: describeGroups(cloud.stores.ec2, instance),
          NetworkInterfaces: [describeInterface(cloud, instance)],
          IamInstanceProfile: instance.profile && { Arn: instance.profile.arn, Id: instance.profile.id },
          MetadataOptions: {
            State: "applied",
            HttpTokens: instance.metadataTokens,
            HttpPutResponseHopLimit: instance.metadataHopLimit,
            HttpEndpoint: instance.metadataEndpoint,
            HttpProtocolIpv6: "disabled",
            InstanceMetadataTags: "disabled",
          },
        }),
    Tags: instance.Tags,
  };
}

function describeInterface(cloud: Cloud, instance: InstanceRecord): ec2.InstanceNetworkInterface {
  const shownPublicIp = instance.hasPublicIp && instance.state !== "stopped" ? instance.address : undefined;
  const association = shownPublicIp === undefined ? undefined : { PublicIp: shownPublicIp, IpOwnerId: "amazon" };
  const address = { PrivateIpAddress: instance.privateIp, PrivateDnsName: instance.privateDnsName };
  return {
    NetworkInterfaceId: instance.networkInterfaceId,
    ...address,
    SubnetId: instance.subnetId,
    VpcId: instance.vpcId,
    OwnerId: cloud.account,
    Status: "in-use",
    InterfaceType: "interface",
    SourceDestCheck: true,
    Description: "",
    Groups: describeGroups(cloud.stores.ec2, instance),
    Association: association,
    PrivateIpAddresses: [{ ...address, Primary: true, Association: association }],
    Attachment: {
      AttachmentId: instance.networkAttachmentId,
      DeviceIndex: 0,
      Status: "attached",
      AttachTime: instance.launchTime,
      DeleteOnTermination: true,
    },
  };
}
