/** The instance as a resource. */
import ec2 = require("@aws-sdk/client-ec2");
import type {
  InputRule,
  Properties,
  ResourceContext,
  ResourceDefinition,
  ResourceState,
} from "../../../core/definitions";
import { amount, block, compact, flag, required, text, unless } from "../../properties";
import { eventually, listChanges, resourceState, tagSpecification, texts, updateTags } from "./support";

const NOT_FOUND = ["InvalidInstanceID.NotFound"];

function replaces(argument: string): InputRule {
  return { replaceOn: `terraform-provider-aws, aws_instance: ${argument}, Forces new resource` };
}

const instance: ResourceDefinition = {
  type: "aws:ec2/instance:Instance",
  inputs: {
    ami: replaces("ami"),
    instanceType: { fixed: "ModifyInstanceAttribute.InstanceType" },
    subnetId: replaces("subnet_id"),
    associatePublicIpAddress: replaces("associate_public_ip_address"),
    vpcSecurityGroupIds: {},
    iamInstanceProfile: { fixed: "ReplaceIamInstanceProfileAssociation" },
    metadataOptions: { fixed: "ModifyInstanceMetadataOptions" },
    rootBlockDevice: { fixed: "ModifyVolume" },
    userData: { fixed: "ModifyInstanceAttribute.UserData" },
    userDataBase64: { fixed: "ModifyInstanceAttribute.UserData" },
    userDataReplaceOnChange: {},
    disableApiTermination: {},
    tags: {},
    volumeTags: { fixed: "CreateTags on its volumes" },
  },
  create: async (inputs, context) => {
    const { Instances = [] } = await context.send(new ec2.RunInstancesCommand(runRequest(inputs)));
    const id = Instances[0]?.InstanceId ?? "";
    context.made(id);
    await eventually(context, `The start of ${id}`, async () => {
      const found = await describe(id, context);
      if (found?.State?.Name === "terminated") {
        throw new Error(`Instance ${id} did not start: ${found.StateReason?.Message ?? "no reason given"}`);
      }
      return found?.State?.Name === "running";
    });
    const state = await instanceState(id, inputs, context);
    if (state === undefined) throw new Error(`Instance ${id} is gone`);
    return state;
  },
  read: (id, state, context) => instanceState(id, state, context),
  update: async (id, news, olds, context) => {
    await updateGroups(id, news, olds, context);
    const protect = flag(news, "disableApiTermination") ?? false;
    if (protect !== (flag(olds, "disableApiTermination") ?? false)) {
      const DisableApiTermination = { Value: protect };
      await context.send(new ec2.ModifyInstanceAttributeCommand({ InstanceId: id, DisableApiTermination }));
    }
    await updateTags(id, news, olds, context);
    const state = await instanceState(id, news, context);
    if (state === undefined) throw new Error(`Instance ${id} is gone`);
    return state;
  },
  delete: async (id, _state, context) => {
    const ended = await unless(NOT_FOUND, context.send(new ec2.TerminateInstancesCommand({ InstanceIds: [id] })));
    if (ended === undefined) return;
    await eventually(
      context,
      `The end of ${id}`,
      async () => (await describe(id, context))?.State?.Name === "terminated",
    );
  },
};

function runRequest(inputs: Properties): ec2.RunInstancesCommandInput {
  const publicIp = flag(inputs, "associatePublicIpAddress");
  const groups = texts(inputs, "vpcSecurityGroupIds");
  const SubnetId = text(inputs, "subnetId");
  const Groups = groups.length === 0 ? undefined : groups;
  const network =
    publicIp === undefined
      ? { SubnetId, SecurityGroupIds: Groups }
      : { NetworkInterfaces: [{ DeviceIndex: 0, SubnetId, Groups, AssociatePublicIpAddress: publicIp }] };
  const profile = text(inputs, "iamInstanceProfile");
  const options = block(inputs, "metadataOptions");
  return compact({
    ImageId: required(inputs, "ami"),
    InstanceType: text(inputs, "instanceType"),
    MinCount: 1,
    MaxCount: 1,
    ...network,
    UserData: encodedUserData(inputs),
    IamInstanceProfile: profile === undefined ? undefined : { Name: profile },
    MetadataOptions: options && {
      HttpEndpoint: text(options, "httpEndpoint"),
      HttpTokens: text(options, "httpTokens"),
      HttpPutResponseHopLimit: amount(options, "httpPutResponseHopLimit"),
    },
    BlockDeviceMappings: rootMapping(block(inputs, "rootBlockDevice")),
    DisableApiTermination: flag(inputs, "disableApiTermination"),
    TagSpecifications: [
      ...(tagSpecification("instance", inputs) ?? []),
      ...(tagSpecification("volume", { tags: inputs.volumeTags }) ?? []),
    ],
  }) as unknown as ec2.RunInstancesCommandInput;
}

function encodedUserData(inputs: Properties): string | undefined {
  const plain = text(inputs, "userData");
  return plain === undefined ? text(inputs, "userDataBase64") : Buffer.from(plain).toString("base64");
}

function rootMapping(root: Properties | undefined): ec2.BlockDeviceMapping[] | undefined {
  if (root === undefined) return undefined;
  const Ebs = compact({
    VolumeSize: amount(root, "volumeSize"),
    VolumeType: text(root, "volumeType"),
    Iops: amount(root, "iops"),
    Throughput: amount(root, "throughput"),
    Encrypted: flag(root, "encrypted"),
    KmsKeyId: text(root, "kmsKeyId"),
    DeleteOnTermination: flag(root, "deleteOnTermination"),
  });
  return [{ DeviceName: "/dev/xvda", Ebs }];
}

async function updateGroups(id: string, news: Properties, olds: Properties, context: ResourceContext): Promise<void> {
  const Groups = texts(news, "vpcSecurityGroupIds");
  const { added, removed } = listChanges(texts(olds, "vpcSecurityGroupIds"), Groups);
  if (added.length + removed.length === 0 || Groups.length === 0) return;
  await context.send(new ec2.ModifyInstanceAttributeCommand({ InstanceId: id, Groups }));
}

async function describe(id: string, context: ResourceContext): Promise<ec2.Instance | undefined> {
  const found = await unless(NOT_FOUND, context.send(new ec2.DescribeInstancesCommand({ InstanceIds: [id] })));
  return found?.Reservations?.[0]?.Instances?.[0];
}

async function instanceState(
  id: string,
  inputs: Properties,
  context: ResourceContext,
): Promise<ResourceState | undefined> {
  const found = await describe(id, context);
  if (found === undefined || found.State?.Name === "terminated") return undefined;
  const groups = (found.SecurityGroups ?? []).map(({ GroupId }) => GroupId ?? "");
  const listed = texts(inputs, "vpcSecurityGroupIds");
  const { added, removed } = listChanges(listed, groups);
  const publicIp = found.PublicIpAddress;
  const described = compact({
    ami: found.ImageId,
    instanceType: found.InstanceType,
    instanceState: found.State?.Name,
    subnetId: found.SubnetId,
    availabilityZone: found.Placement?.AvailabilityZone,
    privateIp: found.PrivateIpAddress,
    privateDns: found.PrivateDnsName,
    publicIp: publicIp ?? "",
    publicDns: found.PublicDnsName ?? "",
    associatePublicIpAddress: flag(inputs, "associatePublicIpAddress") ?? publicIp !== undefined,
    // A set: its order says nothing.
    vpcSecurityGroupIds: added.length + removed.length === 0 ? listed : groups,
    securityGroups: [],
    iamInstanceProfile: found.IamInstanceProfile?.Arn?.split("/").at(-1) ?? "",
    metadataOptions: {
      httpEndpoint: found.MetadataOptions?.HttpEndpoint,
      httpTokens: found.MetadataOptions?.HttpTokens,
      httpPutResponseHopLimit: found.MetadataOptions?.HttpPutResponseHopLimit,
      httpProtocolIpv6: "disabled",
      instanceMetadataTags: "disabled",
    },
    rootBlockDevice: await rootState(found, context),
    ebsBlockDevices: [],
    primaryNetworkInterfaceId: found.NetworkInterfaces?.[0]?.NetworkInterfaceId,
    disableApiTermination: await isProtected(id, context),
    ebsOptimized: false,
    monitoring: false,
    tenancy: "default",
    sourceDestCheck: true,
  });
  return resourceState(context, { id, type: "instance", tags: found.Tags }, inputs, described);
}

async function rootState(found: ec2.Instance, context: ResourceContext): Promise<Properties> {
  const root = found.BlockDeviceMappings?.find(({ DeviceName }) => DeviceName === found.RootDeviceName);
  const VolumeIds = root?.Ebs?.VolumeId === undefined ? [] : [root.Ebs.VolumeId];
  if (VolumeIds.length === 0) return {};
  const { Volumes = [] } = await context.send(new ec2.DescribeVolumesCommand({ VolumeIds }));
  const [volume = {}] = Volumes;
  return compact({
    deviceName: found.RootDeviceName,
    volumeId: volume.VolumeId,
    volumeType: volume.VolumeType,
    volumeSize: volume.Size,
    iops: volume.Iops,
    throughput: volume.Throughput,
    encrypted: volume.Encrypted,
    kmsKeyId: volume.KmsKeyId ?? "",
    deleteOnTermination: root?.Ebs?.DeleteOnTermination,
  });
}

async function isProtected(id: string, context: ResourceContext): Promise<boolean> {
  const command = new ec2.DescribeInstanceAttributeCommand({ InstanceId: id, Attribute: "disableApiTermination" });
  const { DisableApiTermination } = await context.send(command);
  return DisableApiTermination?.Value ?? false;
}

export const instanceResources: readonly ResourceDefinition[] = [instance];
