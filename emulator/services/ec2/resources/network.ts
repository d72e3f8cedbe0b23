/** The network's resource types, and what programs look up about zones and images. */
import ec2 = require("@aws-sdk/client-ec2");
import type {
  InputRule,
  InvokeDefinition,
  Properties,
  ResourceContext,
  ResourceDefinition,
  ResourceState,
} from "../../../core/definitions";
import { blocks, compact, flag, required, text, unless } from "../../properties";
import { listChanges, resourceState, tagSpecification, texts, updateTags } from "./support";

/** Where the provider's documentation says that a change makes a new resource. */
function replaces(resource: string, argument: string): InputRule {
  return { replaceOn: `terraform-provider-aws, aws_${resource}: ${argument}, Forces new resource` };
}

const vpc: ResourceDefinition = {
  type: "aws:ec2/vpc:Vpc",
  inputs: {
    cidrBlock: replaces("vpc", "cidr_block"),
    instanceTenancy: { default: "default", fixed: "ModifyVpcTenancy" },
    enableDnsSupport: { default: true },
    enableDnsHostnames: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const { Vpc } = await context.send(
      new ec2.CreateVpcCommand({
        CidrBlock: required(inputs, "cidrBlock"),
        InstanceTenancy: text(inputs, "instanceTenancy") as ec2.Tenancy | undefined,
        TagSpecifications: tagSpecification("vpc", inputs),
      }),
    );
    const id = Vpc?.VpcId ?? "";
    context.made(id);
    await setDns(id, inputs, {}, context);
    return vpcState(id, inputs, context);
  },
  read: (id, state, context) => unless(["InvalidVpcID.NotFound"], vpcState(id, state, context)),
  update: async (id, news, olds, context) => {
    await setDns(id, news, olds, context);
    await updateTags(id, news, olds, context);
    return vpcState(id, news, context);
  },
  delete: async (id, _state, context) => {
    await unless(["InvalidVpcID.NotFound"], context.send(new ec2.DeleteVpcCommand({ VpcId: id })));
  },
};

async function setDns(VpcId: string, news: Properties, olds: Properties, context: ResourceContext): Promise<void> {
  const support = flag(news, "enableDnsSupport") ?? true;
  const hostnames = flag(news, "enableDnsHostnames") ?? false;
  if (support !== (flag(olds, "enableDnsSupport") ?? true)) {
    await context.send(new ec2.ModifyVpcAttributeCommand({ VpcId, EnableDnsSupport: { Value: support } }));
  }
  if (hostnames !== (flag(olds, "enableDnsHostnames") ?? false)) {
    await context.send(new ec2.ModifyVpcAttributeCommand({ VpcId, EnableDnsHostnames: { Value: hostnames } }));
  }
}

async function vpcState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState> {
  const { Vpcs = [] } = await context.send(new ec2.DescribeVpcsCommand({ VpcIds: [id] }));
  const attribute = (Attribute: ec2.VpcAttributeName) =>
    context.send(new ec2.DescribeVpcAttributeCommand({ VpcId: id, Attribute }));
  const [support, hostnames] = await Promise.all([attribute("enableDnsSupport"), attribute("enableDnsHostnames")]);
  const inVpc = [{ Name: "vpc-id", Values: [id] }];
  const tables = await context.send(new ec2.DescribeRouteTablesCommand({ Filters: inVpc }));
  const groups = await context.send(new ec2.DescribeSecurityGroupsCommand({ Filters: inVpc }));
  const main = tables.RouteTables?.find((table) => table.Associations?.some(({ Main }) => Main === true));
  const described = {
    cidrBlock: Vpcs[0]?.CidrBlock,
    instanceTenancy: Vpcs[0]?.InstanceTenancy,
    enableDnsSupport: support.EnableDnsSupport?.Value,
    enableDnsHostnames: hostnames.EnableDnsHostnames?.Value,
    mainRouteTableId: main?.RouteTableId,
    defaultRouteTableId: main?.RouteTableId,
    defaultSecurityGroupId: groups.SecurityGroups?.find(({ GroupName }) => GroupName === "default")?.GroupId,
    dhcpOptionsId: Vpcs[0]?.DhcpOptionsId,
  };
  return resourceState(context, { id, type: "vpc", tags: Vpcs[0]?.Tags }, given, described);
}

const subnet: ResourceDefinition = {
  type: "aws:ec2/subnet:Subnet",
  inputs: {
    vpcId: replaces("subnet", "vpc_id"),
    cidrBlock: replaces("subnet", "cidr_block"),
    availabilityZone: replaces("subnet", "availability_zone"),
    mapPublicIpOnLaunch: { default: false },
    tags: {},
  },
  create: async (inputs, context) => {
    const { Subnet } = await context.send(
      new ec2.CreateSubnetCommand({
        VpcId: required(inputs, "vpcId"),
        CidrBlock: required(inputs, "cidrBlock"),
        AvailabilityZone: text(inputs, "availabilityZone"),
        TagSpecifications: tagSpecification("subnet", inputs),
      }),
    );
    const id = Subnet?.SubnetId ?? "";
    context.made(id);
    await setPublicIp(id, inputs, {}, context);
    return subnetState(id, inputs, context);
  },
  read: (id, state, context) => unless(["InvalidSubnetID.NotFound"], subnetState(id, state, context)),
  update: async (id, news, olds, context) => {
    await setPublicIp(id, news, olds, context);
    await updateTags(id, news, olds, context);
    return subnetState(id, news, context);
  },
  delete: async (id, _state, context) => {
    await unless(["InvalidSubnetID.NotFound"], context.send(new ec2.DeleteSubnetCommand({ SubnetId: id })));
  },
};

async function setPublicIp(
  SubnetId: string,
  news: Properties,
  olds: Properties,
  context: ResourceContext,
): Promise<void> {
  const Value = flag(news, "mapPublicIpOnLaunch") ?? false;
  if (Value === (flag(olds, "mapPublicIpOnLaunch") ?? false)) return;
  await context.send(new ec2.ModifySubnetAttributeCommand({ SubnetId, MapPublicIpOnLaunch: { Value } }));
}

async function subnetState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState> {
  const { Subnets = [] } = await context.send(new ec2.DescribeSubnetsCommand({ SubnetIds: [id] }));
  const [found = {}] = Subnets;
  const described = {
    vpcId: found.VpcId,
    cidrBlock: found.CidrBlock,
    availabilityZone: found.AvailabilityZone,
    availabilityZoneId: found.AvailabilityZoneId,
    mapPublicIpOnLaunch: found.MapPublicIpOnLaunch,
    assignIpv6AddressOnCreation: false,
    privateDnsHostnameTypeOnLaunch: "ip-name",
  };
  return resourceState(context, { id, type: "subnet", tags: found.Tags }, given, described);
}

const internetGateway: ResourceDefinition = {
  type: "aws:ec2/internetGateway:InternetGateway",
  inputs: { vpcId: {}, tags: {} },
  create: async (inputs, context) => {
    const TagSpecifications = tagSpecification("internet-gateway", inputs);
    const { InternetGateway } = await context.send(new ec2.CreateInternetGatewayCommand({ TagSpecifications }));
    const id = InternetGateway?.InternetGatewayId ?? "";
    context.made(id);
    await moveGateway(id, undefined, text(inputs, "vpcId"), context);
    return gatewayState(id, inputs, context);
  },
  read: (id, state, context) => unless(["InvalidInternetGatewayID.NotFound"], gatewayState(id, state, context)),
  update: async (id, news, olds, context) => {
    // A gateway that is attached to none has an empty one.
    await moveGateway(id, text(olds, "vpcId") || undefined, text(news, "vpcId"), context);
    await updateTags(id, news, olds, context);
    return gatewayState(id, news, context);
  },
  delete: async (id, state, context) => {
    await unless(
      ["Gateway.NotAttached", "InvalidInternetGatewayID.NotFound"],
      moveGateway(id, text(state, "vpcId") || undefined, undefined, context),
    );
    const command = new ec2.DeleteInternetGatewayCommand({ InternetGatewayId: id });
    await unless(["InvalidInternetGatewayID.NotFound"], context.send(command));
  },
};

async function moveGateway(
  InternetGatewayId: string,
  from: string | undefined,
  to: string | undefined,
  context: ResourceContext,
): Promise<void> {
  if (from === to) return;
  if (from !== undefined) await context.send(new ec2.DetachInternetGatewayCommand({ InternetGatewayId, VpcId: from }));
  if (to !== undefined) await context.send(new ec2.AttachInternetGatewayCommand({ InternetGatewayId, VpcId: to }));
}

async function gatewayState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState> {
  const command = new ec2.DescribeInternetGatewaysCommand({ InternetGatewayIds: [id] });
  const { InternetGateways = [] } = await context.send(command);
  const [found = {}] = InternetGateways;
  const described = { vpcId: found.Attachments?.[0]?.VpcId ?? "" };
  return resourceState(context, { id, type: "internet-gateway", tags: found.Tags }, given, described);
}

const eip: ResourceDefinition = {
  type: "aws:ec2/eip:Eip",
  inputs: { domain: replaces("eip", "domain"), tags: {} },
  create: async (inputs, context) => {
    const TagSpecifications = tagSpecification("elastic-ip", inputs);
    const { AllocationId = "" } = await context.send(
      new ec2.AllocateAddressCommand({ Domain: "vpc", TagSpecifications }),
    );
    context.made(AllocationId);
    return addressState(AllocationId, inputs, context);
  },
  read: (id, state, context) => unless(["InvalidAllocationID.NotFound"], addressState(id, state, context)),
  update: async (id, news, olds, context) => {
    await updateTags(id, news, olds, context);
    return addressState(id, news, context);
  },
  delete: async (id, _state, context) => {
    await unless(["InvalidAllocationID.NotFound"], context.send(new ec2.ReleaseAddressCommand({ AllocationId: id })));
  },
};

async function addressState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState> {
  const { Addresses = [] } = await context.send(new ec2.DescribeAddressesCommand({ AllocationIds: [id] }));
  const [found = {}] = Addresses;
  const described = {
    allocationId: id,
    associationId: found.AssociationId ?? "",
    domain: "vpc",
    publicIp: found.PublicIp,
    publicIpv4Pool: "amazon",
    networkBorderGroup: found.NetworkBorderGroup,
    instance: "",
    networkInterface: "",
    privateIp: "",
  };
  return resourceState(context, { id, type: "elastic-ip", tags: found.Tags }, given, described);
}

const natGateway: ResourceDefinition = {
  type: "aws:ec2/natGateway:NatGateway",
  inputs: {
    allocationId: replaces("nat_gateway", "allocation_id"),
    subnetId: replaces("nat_gateway", "subnet_id"),
    connectivityType: { ...replaces("nat_gateway", "connectivity_type"), default: "public" },
    tags: {},
  },
  create: async (inputs, context) => {
    const { NatGateway } = await context.send(
      new ec2.CreateNatGatewayCommand({
        SubnetId: required(inputs, "subnetId"),
        AllocationId: text(inputs, "allocationId"),
        ConnectivityType: text(inputs, "connectivityType") as ec2.ConnectivityType | undefined,
        TagSpecifications: tagSpecification("natgateway", inputs),
      }),
    );
    const id = NatGateway?.NatGatewayId ?? "";
    context.made(id);
    const state = await natState(id, inputs, context);
    if (state === undefined) throw new Error(`NAT gateway ${id} is gone`);
    return state;
  },
  read: (id, state, context) => natState(id, state, context),
  update: async (id, news, olds, context) => {
    await updateTags(id, news, olds, context);
    const state = await natState(id, news, context);
    if (state === undefined) throw new Error(`NAT gateway ${id} is gone`);
    return state;
  },
  delete: async (id, _state, context) => {
    await unless(["NatGatewayNotFound"], context.send(new ec2.DeleteNatGatewayCommand({ NatGatewayId: id })));
  },
};

async function natState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState | undefined> {
  const command = context.send(new ec2.DescribeNatGatewaysCommand({ NatGatewayIds: [id] }));
  const found = (await unless(["NatGatewayNotFound"], command))?.NatGateways?.[0];
  if (found === undefined || found.State === "deleted") return undefined;
  const [address = {}] = found.NatGatewayAddresses ?? [];
  const described = compact({
    allocationId: address.AllocationId,
    associationId: address.AssociationId,
    subnetId: found.SubnetId,
    vpcId: found.VpcId,
    connectivityType: found.ConnectivityType,
    networkInterfaceId: address.NetworkInterfaceId,
    privateIp: address.PrivateIp,
    publicIp: address.PublicIp,
    secondaryAllocationIds: [],
    secondaryPrivateIpAddresses: [],
    secondaryPrivateIpAddressCount: 0,
  });
  return resourceState(context, { id, tags: found.Tags }, given, described);
}

const routeTable: ResourceDefinition = {
  type: "aws:ec2/routeTable:RouteTable",
  inputs: { vpcId: replaces("route_table", "vpc_id"), routes: {}, tags: {} },
  create: async (inputs, context) => {
    const { RouteTable } = await context.send(
      new ec2.CreateRouteTableCommand({
        VpcId: required(inputs, "vpcId"),
        TagSpecifications: tagSpecification("route-table", inputs),
      }),
    );
    const id = RouteTable?.RouteTableId ?? "";
    context.made(id);
    await changeRoutes(id, [], blocks(inputs, "routes"), context);
    return routeTableState(id, inputs, context);
  },
  read: (id, state, context) => unless(["InvalidRouteTableID.NotFound"], routeTableState(id, state, context)),
  update: async (id, news, olds, context) => {
    // Routes that the program never mentioned, such as those of Route resources, are not this resource's.
    if (news.routes !== undefined) await changeRoutes(id, blocks(olds, "routes"), blocks(news, "routes"), context);
    await updateTags(id, news, olds, context);
    return routeTableState(id, news, context);
  },
  delete: async (id, _state, context) => {
    await unless(["InvalidRouteTableID.NotFound"], context.send(new ec2.DeleteRouteTableCommand({ RouteTableId: id })));
  },
};

async function changeRoutes(
  RouteTableId: string,
  olds: readonly Properties[],
  news: readonly Properties[],
  context: ResourceContext,
): Promise<void> {
  const key = (route: Properties): string => JSON.stringify([route.cidrBlock, route.gatewayId, route.natGatewayId]);
  const { added, removed } = listChanges(olds.map(key), news.map(key));
  for (const route of olds.filter((old) => removed.includes(key(old)))) {
    const DestinationCidrBlock = text(route, "cidrBlock");
    await context.send(new ec2.DeleteRouteCommand({ RouteTableId, DestinationCidrBlock }));
  }
  for (const route of news.filter((wanted) => added.includes(key(wanted)))) {
    await context.send(
      new ec2.CreateRouteCommand({
        RouteTableId,
        DestinationCidrBlock: required(route, "cidrBlock"),
        GatewayId: text(route, "gatewayId") || undefined,
        NatGatewayId: text(route, "natGatewayId") || undefined,
      }),
    );
  }
}

async function routeTableState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState> {
  const { RouteTables = [] } = await context.send(new ec2.DescribeRouteTablesCommand({ RouteTableIds: [id] }));
  const [found = {}] = RouteTables;
  const routes = (found.Routes ?? [])
    .filter(({ GatewayId }) => GatewayId !== "local" && !GatewayId?.startsWith("vpce-"))
    .map(({ DestinationCidrBlock, GatewayId = "", NatGatewayId = "" }) => ({
      cidrBlock: DestinationCidrBlock,
      gatewayId: GatewayId,
      natGatewayId: NatGatewayId,
    }));
  const described = { vpcId: found.VpcId, routes, propagatingVgws: [] };
  return resourceState(context, { id, type: "route-table", tags: found.Tags }, given, described);
}

const route: ResourceDefinition = {
  type: "aws:ec2/route:Route",
  inputs: {
    routeTableId: replaces("route", "route_table_id"),
    destinationCidrBlock: replaces("route", "destination_cidr_block"),
    gatewayId: { fixed: "ReplaceRoute" },
    natGatewayId: { fixed: "ReplaceRoute" },
  },
  create: async (inputs, context) => {
    const RouteTableId = required(inputs, "routeTableId");
    const DestinationCidrBlock = required(inputs, "destinationCidrBlock");
    const target = { GatewayId: text(inputs, "gatewayId"), NatGatewayId: text(inputs, "natGatewayId") };
    await context.send(new ec2.CreateRouteCommand({ RouteTableId, DestinationCidrBlock, ...target }));
    context.made(routeId(RouteTableId, DestinationCidrBlock));
    const state = await routeState(inputs, context);
    if (state === undefined) throw new Error(`The route to ${DestinationCidrBlock} is gone`);
    return state;
  },
  read: (_id, state, context) => routeState(state, context),
  delete: async (_id, state, context) => {
    const RouteTableId = required(state, "routeTableId");
    const DestinationCidrBlock = required(state, "destinationCidrBlock");
    const command = new ec2.DeleteRouteCommand({ RouteTableId, DestinationCidrBlock });
    await unless(["InvalidRoute.NotFound", "InvalidRouteTableID.NotFound"], context.send(command));
  },
};

async function routeState(given: Properties, context: ResourceContext): Promise<ResourceState | undefined> {
  const tableId = required(given, "routeTableId");
  const destination = required(given, "destinationCidrBlock");
  const command = context.send(new ec2.DescribeRouteTablesCommand({ RouteTableIds: [tableId] }));
  const tables = await unless(["InvalidRouteTableID.NotFound"], command);
  const found = tables?.RouteTables?.[0]?.Routes?.find((other) => other.DestinationCidrBlock === destination);
  if (found === undefined) return undefined;
  const described = compact({
    gatewayId: found.GatewayId,
    natGatewayId: found.NatGatewayId,
    origin: found.Origin,
    state: found.State,
    instanceId: "",
    instanceOwnerId: "",
    networkInterfaceId: "",
  });
  return { id: routeId(tableId, destination), outputs: { ...given, ...described, region: context.cloud.region } };
}

function routeId(tableId: string, destination: string): string {
  return `r-${tableId}${checksum(destination)}`;
}

/** The provider's id of a route ends with a checksum of its destination; any function of it will do. */
function checksum(destination: string): number {
  return [...destination].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) >>> 0, 0);
}

const routeTableAssociation: ResourceDefinition = {
  type: "aws:ec2/routeTableAssociation:RouteTableAssociation",
  inputs: {
    routeTableId: { fixed: "ReplaceRouteTableAssociation" },
    subnetId: replaces("route_table_association", "subnet_id"),
  },
  create: async (inputs, context) => {
    const RouteTableId = required(inputs, "routeTableId");
    const SubnetId = required(inputs, "subnetId");
    const { AssociationId = "" } = await context.send(new ec2.AssociateRouteTableCommand({ RouteTableId, SubnetId }));
    return { id: AssociationId, outputs: { ...inputs, region: context.cloud.region } };
  },
  read: async (id, state, context) => {
    const Filters = [{ Name: "association.route-table-association-id", Values: [id] }];
    const { RouteTables = [] } = await context.send(new ec2.DescribeRouteTablesCommand({ Filters }));
    const [found] = RouteTables;
    if (found === undefined) return undefined;
    const association = found.Associations?.find(({ RouteTableAssociationId }) => RouteTableAssociationId === id);
    const described = { routeTableId: found.RouteTableId, subnetId: association?.SubnetId };
    return { id, outputs: { ...state, ...described, region: context.cloud.region } };
  },
  delete: async (id, _state, context) => {
    const command = new ec2.DisassociateRouteTableCommand({ AssociationId: id });
    await unless(["InvalidAssociationID.NotFound"], context.send(command));
  },
};

const vpcEndpoint: ResourceDefinition = {
  type: "aws:ec2/vpcEndpoint:VpcEndpoint",
  inputs: {
    vpcId: replaces("vpc_endpoint", "vpc_id"),
    serviceName: replaces("vpc_endpoint", "service_name"),
    vpcEndpointType: { ...replaces("vpc_endpoint", "vpc_endpoint_type"), default: "Gateway" },
    routeTableIds: {},
    policy: {},
    tags: {},
  },
  create: async (inputs, context) => {
    const { VpcEndpoint } = await context.send(
      new ec2.CreateVpcEndpointCommand({
        VpcId: required(inputs, "vpcId"),
        ServiceName: required(inputs, "serviceName"),
        VpcEndpointType: text(inputs, "vpcEndpointType") as ec2.VpcEndpointType | undefined,
        RouteTableIds: texts(inputs, "routeTableIds"),
        PolicyDocument: text(inputs, "policy"),
        TagSpecifications: tagSpecification("vpc-endpoint", inputs),
      }),
    );
    const id = VpcEndpoint?.VpcEndpointId ?? "";
    context.made(id);
    return endpointState(id, inputs, context);
  },
  read: (id, state, context) => unless(["InvalidVpcEndpointId.NotFound"], endpointState(id, state, context)),
  update: async (id, news, olds, context) => {
    const { added, removed } = listChanges(texts(olds, "routeTableIds"), texts(news, "routeTableIds"));
    const policy = text(news, "policy");
    const changedPolicy = policy !== text(olds, "policy") && policy !== undefined;
    if (added.length + removed.length > 0 || changedPolicy) {
      await context.send(
        new ec2.ModifyVpcEndpointCommand({
          VpcEndpointId: id,
          AddRouteTableIds: added,
          RemoveRouteTableIds: removed,
          ...(changedPolicy ? { PolicyDocument: policy } : {}),
        }),
      );
    }
    await updateTags(id, news, olds, context);
    return endpointState(id, news, context);
  },
  delete: async (id, _state, context) => {
    const command = new ec2.DeleteVpcEndpointsCommand({ VpcEndpointIds: [id] });
    await unless(["InvalidVpcEndpointId.NotFound"], context.send(command));
  },
};

async function endpointState(id: string, given: Properties, context: ResourceContext): Promise<ResourceState> {
  const { VpcEndpoints = [] } = await context.send(new ec2.DescribeVpcEndpointsCommand({ VpcEndpointIds: [id] }));
  const [found = {}] = VpcEndpoints;
  const actual = found.RouteTableIds ?? [];
  const listed = texts(given, "routeTableIds");
  const same = listed.length === actual.length && listed.every((table) => actual.includes(table));
  const described = {
    vpcId: found.VpcId,
    serviceName: found.ServiceName,
    vpcEndpointType: found.VpcEndpointType,
    // A set: its order says nothing.
    routeTableIds: same ? listed : actual,
    policy: found.PolicyDocument,
    state: found.State,
    prefixListId: `pl-63a5400a`,
    cidrBlocks: [],
    dnsEntries: [],
    networkInterfaceIds: [],
    securityGroupIds: [],
    subnetIds: [],
    privateDnsEnabled: false,
    requesterManaged: false,
    ipAddressType: "",
    serviceRegion: context.cloud.region,
  };
  return resourceState(context, { id, type: "vpc-endpoint", tags: found.Tags }, given, described);
}

const getAvailabilityZones: InvokeDefinition = {
  token: "aws:index/getAvailabilityZones:getAvailabilityZones",
  invoke: async (args, context) => {
    const filters = blocks(args, "filters").map((filter) => ({
      Name: text(filter, "name"),
      Values: texts(filter, "values"),
    }));
    const state = text(args, "state");
    const Filters = [...filters, ...(state === undefined ? [] : [{ Name: "state", Values: [state] }])];
    const { AvailabilityZones = [] } = await context.send(new ec2.DescribeAvailabilityZonesCommand({ Filters }));
    const [names, ids] = [texts(args, "excludeNames"), texts(args, "excludeZoneIds")];
    const zones = AvailabilityZones.filter(
      ({ ZoneName = "", ZoneId = "" }) => !names.includes(ZoneName) && !ids.includes(ZoneId),
    );
    const { region } = context.cloud;
    return {
      ...args,
      id: region,
      region,
      names: zones.map(({ ZoneName }) => ZoneName),
      zoneIds: zones.map(({ ZoneId }) => ZoneId),
      groupNames: [...new Set(zones.map(({ GroupName }) => GroupName))],
    };
  },
};

const getAmi: InvokeDefinition = {
  token: "aws:ec2/getAmi:getAmi",
  invoke: async (args, context) => {
    const Filters = blocks(args, "filters").map((filter) => ({
      Name: text(filter, "name"),
      Values: texts(filter, "values"),
    }));
    const owners = texts(args, "owners");
    const Owners = owners.length === 0 ? undefined : owners;
    const { Images = [] } = await context.send(new ec2.DescribeImagesCommand({ Filters, Owners }));
    const pattern = text(args, "nameRegex");
    const [image] = Images.filter(({ Name = "" }) => pattern === undefined || new RegExp(pattern).test(Name));
    if (image === undefined)
      throw new Error("Your query returned no results. Please change your search criteria and try again.");
    return {
      ...args,
      id: image.ImageId,
      imageId: image.ImageId,
      name: image.Name,
      description: image.Description,
      architecture: image.Architecture,
      creationDate: image.CreationDate,
      ownerId: image.OwnerId,
      rootDeviceName: image.RootDeviceName,
      rootDeviceType: image.RootDeviceType,
      virtualizationType: image.VirtualizationType,
      state: image.State,
      region: context.cloud.region,
    };
  },
};

export const networkResources: readonly ResourceDefinition[] = [
  vpc,
  subnet,
  internetGateway,
  eip,
  natGateway,
  routeTable,
  route,
  routeTableAssociation,
  vpcEndpoint,
];
export const networkInvokes: readonly InvokeDefinition[] = [getAvailabilityZones, getAmi];
