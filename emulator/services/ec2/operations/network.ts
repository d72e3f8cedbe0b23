/** The network: VPCs, subnets, gateways, addresses, routes, endpoints. */
import type * as ec2 from "@aws-sdk/client-ec2";
import { AwsError, type Call, type Cloud, type Operation, operation } from "../../../core/definitions";
import { contains, parseCidr } from "../cidr";
import { newGroup } from "./security-groups";
import type { Ec2Store, RouteTableRecord, SubnetRecord, VpcRecord } from "../store";
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

const PAGE = ["MaxResults", "NextToken"];

const vpcFilters: FilterTable<VpcRecord> = {
  "vpc-id": ({ VpcId }) => VpcId,
  cidr: ({ CidrBlock }) => CidrBlock,
  "is-default": ({ IsDefault }) => String(IsDefault ?? false),
  state: ({ State }) => State,
};

const subnetFilters: FilterTable<SubnetRecord> = {
  "subnet-id": ({ SubnetId }) => SubnetId,
  "vpc-id": ({ VpcId }) => VpcId,
  "availability-zone": ({ AvailabilityZone }) => AvailabilityZone,
  "cidr-block": ({ CidrBlock }) => CidrBlock,
  state: ({ State }) => State,
};

const gatewayFilters: FilterTable<ec2.InternetGateway> = {
  "internet-gateway-id": ({ InternetGatewayId }) => InternetGatewayId,
  "attachment.vpc-id": ({ Attachments }) => Attachments?.map(({ VpcId }) => VpcId),
};

const natFilters: FilterTable<ec2.NatGateway> = {
  "nat-gateway-id": ({ NatGatewayId }) => NatGatewayId,
  "subnet-id": ({ SubnetId }) => SubnetId,
  "vpc-id": ({ VpcId }) => VpcId,
  state: ({ State }) => State,
};

const routeTableFilters: FilterTable<RouteTableRecord> = {
  "route-table-id": ({ RouteTableId }) => RouteTableId,
  "vpc-id": ({ VpcId }) => VpcId,
  "association.subnet-id": ({ Associations }) => Associations?.map(({ SubnetId }) => SubnetId),
  "association.main": ({ Associations }) => Associations?.map(({ Main }) => String(Main)),
  "association.route-table-association-id": ({ Associations }) =>
    Associations?.map(({ RouteTableAssociationId }) => RouteTableAssociationId),
};

const endpointFilters: FilterTable<ec2.VpcEndpoint> = {
  "vpc-endpoint-id": ({ VpcEndpointId }) => VpcEndpointId,
  "vpc-id": ({ VpcId }) => VpcId,
  "service-name": ({ ServiceName }) => ServiceName,
};

const addressFilters: FilterTable<ec2.Address> = {
  "allocation-id": ({ AllocationId }) => AllocationId,
  "public-ip": ({ PublicIp }) => PublicIp,
  domain: ({ Domain }) => Domain,
};

/** Refuses to delete what something else still uses. */
function refuseInUse(used: boolean, type: string, id: string): void {
  if (used) throw new AwsError("DependencyViolation", `The ${type} '${id}' has dependencies and cannot be deleted.`);
}

export function networkOperations(cloud: Cloud): Operation[] {
  const store = cloud.stores.ec2;
  return [
    ...vpcOperations(cloud, store),
    ...subnetOperations(cloud, store),
    ...gatewayOperations(cloud, store),
    ...addressOperations(cloud, store),
    ...routeOperations(cloud, store),
    ...endpointOperations(cloud, store),
  ];
}

function vpcOperations(cloud: Cloud, store: Ec2Store): Operation[] {
  return [
    ec2Operation<ec2.CreateVpcCommandInput, ec2.CreateVpcCommandOutput>({
      name: "CreateVpc",
      honours: ["CidrBlock", "InstanceTenancy", "TagSpecifications"],
      authorize: ({ TagSpecifications }) => onNewResource(cloud, "CreateVpc", "vpc", TagSpecifications),
      handle: (input, call) => ({ Vpc: describeVpc(createVpc(store, input, call)) }),
    }),
    ec2Operation<ec2.DescribeVpcsCommandInput, ec2.DescribeVpcsCommandOutput>({
      name: "DescribeVpcs",
      honours: ["VpcIds", "Filters", ...PAGE],
      authorize: withoutResource("DescribeVpcs"),
      handle: (input) => {
        const found = applyFilters(store.vpcs.select(input.VpcIds), input.Filters, vpcFilters);
        const { items, NextToken } = onePage(found, input);
        return { Vpcs: items.map(describeVpc), NextToken };
      },
    }),
    ec2Operation<ec2.DescribeVpcAttributeCommandInput, ec2.DescribeVpcAttributeCommandOutput>({
      name: "DescribeVpcAttribute",
      honours: ["VpcId", "Attribute"],
      authorize: withoutResource("DescribeVpcAttribute"),
      handle: ({ VpcId, Attribute }) => {
        const vpc = store.vpcs.get(required(VpcId, "VpcId"));
        if (Attribute === "enableDnsSupport") return { VpcId, EnableDnsSupport: { Value: vpc.enableDnsSupport } };
        if (Attribute === "enableDnsHostnames") return { VpcId, EnableDnsHostnames: { Value: vpc.enableDnsHostnames } };
        throw new AwsError("InvalidParameterValue", `Value (${String(Attribute)}) for parameter attribute is invalid.`);
      },
    }),
    // The model gives this one no DryRun.
    operation<ec2.ModifyVpcAttributeCommandInput, ec2.ModifyVpcAttributeCommandOutput>({
      name: "ModifyVpcAttribute",
      honours: ["VpcId", "EnableDnsSupport", "EnableDnsHostnames"],
      authorize: ({ VpcId = "" }) => [onResource(cloud, "ModifyVpcAttribute", "vpc", VpcId, store.vpcs.find(VpcId))],
      handle: ({ VpcId, EnableDnsSupport, EnableDnsHostnames }) => {
        const vpc = store.vpcs.get(required(VpcId, "VpcId"));
        vpc.enableDnsSupport = EnableDnsSupport?.Value ?? vpc.enableDnsSupport;
        vpc.enableDnsHostnames = EnableDnsHostnames?.Value ?? vpc.enableDnsHostnames;
        return {};
      },
    }),
    ec2Operation<ec2.DeleteVpcCommandInput, ec2.DeleteVpcCommandOutput>({
      name: "DeleteVpc",
      honours: ["VpcId"],
      authorize: ({ VpcId = "" }) => [onResource(cloud, "DeleteVpc", "vpc", VpcId, store.vpcs.find(VpcId))],
      handle: ({ VpcId }) => deleteVpc(store, required(VpcId, "VpcId")),
    }),
  ];
}

function createVpc(store: Ec2Store, input: ec2.CreateVpcCommandInput, call: Call): VpcRecord {
  const cidr = parseCidr(required(input.CidrBlock, "CidrBlock"));
  if (cidr.prefix < 16 || cidr.prefix > 28) {
    throw new AwsError("InvalidVpc.Range", `The CIDR '${cidr.text}' is invalid.`);
  }
  const id = newId("vpc");
  const vpc = store.vpcs.add(id, {
    VpcId: id,
    CidrBlock: cidr.text,
    OwnerId: call.cloud.account,
    State: "available",
    DhcpOptionsId: "default",
    InstanceTenancy: input.InstanceTenancy ?? "default",
    IsDefault: false,
    Tags: tagsFor("vpc", input.TagSpecifications) ?? [],
    enableDnsSupport: true,
    enableDnsHostnames: false,
  });
  createRouteTable(call.cloud, store, vpc, [], true);
  newGroup(call.cloud, store, { GroupName: "default", Description: "default VPC security group", VpcId: id }, []);
  return vpc;
}

function describeVpc(vpc: VpcRecord): ec2.Vpc {
  const { enableDnsSupport: _support, enableDnsHostnames: _hostnames, ...described } = vpc;
  return described;
}

function deleteVpc(store: Ec2Store, id: string): object {
  store.vpcs.get(id);
  const inside = (record: { VpcId?: string | undefined }): boolean => record.VpcId === id;
  const attached = store.internetGateways.all().some(({ Attachments }) => Attachments?.some(inside));
  const groups = store.securityGroups.all().filter((group) => inside(group) && group.GroupName !== "default");
  const tables = store.routeTables.all().filter((table) => inside(table) && !isMain(table));
  const endpoints = store.endpoints.all().filter(inside);
  const others = [...store.subnets.all().filter(inside), ...groups, ...tables, ...endpoints];
  refuseInUse(attached || others.length > 0, "vpc", id);
  for (const table of store.routeTables.all().filter(inside)) store.routeTables.delete(table.RouteTableId);
  for (const group of store.securityGroups.all().filter(inside)) {
    for (const rule of store.rulesOf(group.GroupId)) store.rules.delete(rule.SecurityGroupRuleId ?? "");
    store.securityGroups.delete(group.GroupId);
  }
  store.vpcs.delete(id);
  return {};
}

function subnetOperations(cloud: Cloud, store: Ec2Store): Operation[] {
  return [
    ec2Operation<ec2.CreateSubnetCommandInput, ec2.CreateSubnetCommandOutput>({
      name: "CreateSubnet",
      honours: ["VpcId", "CidrBlock", "AvailabilityZone", "TagSpecifications"],
      authorize: ({ VpcId = "", TagSpecifications }) => [
        onResource(cloud, "CreateSubnet", "vpc", VpcId, store.vpcs.find(VpcId)),
        ...onNewResource(cloud, "CreateSubnet", "subnet", TagSpecifications),
      ],
      handle: (input) => ({ Subnet: createSubnet(cloud, store, input) }),
    }),
    ec2Operation<ec2.DescribeSubnetsCommandInput, ec2.DescribeSubnetsCommandOutput>({
      name: "DescribeSubnets",
      honours: ["SubnetIds", "Filters", ...PAGE],
      authorize: withoutResource("DescribeSubnets"),
      handle: (input) => {
        const found = applyFilters(store.subnets.select(input.SubnetIds), input.Filters, subnetFilters);
        const { items, NextToken } = onePage(found, input);
        return { Subnets: items, NextToken };
      },
    }),
    // The model gives this one no DryRun.
    operation<ec2.ModifySubnetAttributeCommandInput, ec2.ModifySubnetAttributeCommandOutput>({
      name: "ModifySubnetAttribute",
      honours: ["SubnetId", "MapPublicIpOnLaunch"],
      authorize: ({ SubnetId = "" }) => [
        onResource(cloud, "ModifySubnetAttribute", "subnet", SubnetId, store.subnets.find(SubnetId)),
      ],
      handle: ({ SubnetId, MapPublicIpOnLaunch }) => {
        const subnet = store.subnets.get(required(SubnetId, "SubnetId"));
        if (MapPublicIpOnLaunch?.Value !== undefined) subnet.MapPublicIpOnLaunch = MapPublicIpOnLaunch.Value;
        return {};
      },
    }),
    ec2Operation<ec2.DeleteSubnetCommandInput, ec2.DeleteSubnetCommandOutput>({
      name: "DeleteSubnet",
      honours: ["SubnetId"],
      authorize: ({ SubnetId = "" }) => [
        onResource(cloud, "DeleteSubnet", "subnet", SubnetId, store.subnets.find(SubnetId)),
      ],
      handle: ({ SubnetId }) => {
        const id = required(SubnetId, "SubnetId");
        store.subnets.get(id);
        const gateways = store.natGateways.all().filter((gateway) => gateway.State !== "deleted");
        const users = [
          ...store.liveInstances().map(({ subnetId }) => subnetId),
          ...gateways.map((nat) => nat.SubnetId),
        ];
        refuseInUse(users.includes(id), "subnet", id);
        const association = associationOf(store, id);
        if (association !== undefined) disassociate(store, association);
        store.subnets.delete(id);
        return {};
      },
    }),
  ];
}

function createSubnet(cloud: Cloud, store: Ec2Store, input: ec2.CreateSubnetCommandInput): SubnetRecord {
  const vpc = store.vpcs.get(required(input.VpcId, "VpcId"));
  const cidr = parseCidr(required(input.CidrBlock, "CidrBlock"));
  if (cidr.prefix > 28 || !contains(parseCidr(vpc.CidrBlock), cidr)) {
    throw new AwsError("InvalidSubnet.Range", `The CIDR '${cidr.text}' is invalid.`);
  }
  const siblings = store.subnets.all().filter(({ VpcId }) => VpcId === vpc.VpcId);
  const clash = siblings
    .map(({ CidrBlock }) => parseCidr(CidrBlock))
    .some((other) => contains(other, cidr) || contains(cidr, other));
  if (clash) {
    throw new AwsError("InvalidSubnet.Conflict", `The CIDR '${cidr.text}' conflicts with another subnet`);
  }
  const zone = input.AvailabilityZone ?? `${cloud.region}a`;
  const id = newId("subnet");
  return store.subnets.add(id, {
    SubnetId: id,
    SubnetArn: ec2Arn(cloud, "subnet", id),
    VpcId: vpc.VpcId,
    CidrBlock: cidr.text,
    AvailabilityZone: checkedZone(cloud, zone),
    AvailabilityZoneId: zoneId(cloud, zone),
    AvailableIpAddressCount: 2 ** (32 - cidr.prefix) - 5,
    DefaultForAz: false,
    MapPublicIpOnLaunch: false,
    AssignIpv6AddressOnCreation: false,
    OwnerId: cloud.account,
    State: "available",
    Tags: tagsFor("subnet", input.TagSpecifications) ?? [],
  });
}

/** The zones of the Region, three as most have. */
export function zones(cloud: Cloud): string[] {
  return ["a", "b", "c"].map((letter) => `${cloud.region}${letter}`);
}

export function zoneId(cloud: Cloud, zone: string): string {
  const [, area = "", direction = "", number = ""] = /^([a-z]+)-([a-z]+)-(\d)$/.exec(cloud.region) ?? [];
  const short = direction.replace(/north|south|east|west|central/g, (word) => word.charAt(0));
  return `${area}${short}${number}-az${zones(cloud).indexOf(zone) + 1}`;
}

function checkedZone(cloud: Cloud, zone: string): string {
  if (zones(cloud).includes(zone)) return zone;
  const message = `Value (${zone}) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: ${zones(cloud).join(", ")}.`;
  throw new AwsError("InvalidParameterValue", message);
}

function gatewayOperations(cloud: Cloud, store: Ec2Store): Operation[] {
  const onGateway = (action: string, id: string) =>
    onResource(cloud, action, "internet-gateway", id, store.internetGateways.find(id));
  return [
    ec2Operation<ec2.CreateInternetGatewayCommandInput, ec2.CreateInternetGatewayCommandOutput>({
      name: "CreateInternetGateway",
      honours: ["TagSpecifications"],
      authorize: ({ TagSpecifications }) =>
        onNewResource(cloud, "CreateInternetGateway", "internet-gateway", TagSpecifications),
      handle: ({ TagSpecifications }) => {
        const id = newId("igw");
        const Tags = tagsFor("internet-gateway", TagSpecifications) ?? [];
        const gateway = { InternetGatewayId: id, OwnerId: cloud.account, Attachments: [], Tags };
        return { InternetGateway: store.internetGateways.add(id, gateway) };
      },
    }),
    ec2Operation<ec2.DescribeInternetGatewaysCommandInput, ec2.DescribeInternetGatewaysCommandOutput>({
      name: "DescribeInternetGateways",
      honours: ["InternetGatewayIds", "Filters", ...PAGE],
      authorize: withoutResource("DescribeInternetGateways"),
      handle: (input) => {
        const gateways = store.internetGateways.select(input.InternetGatewayIds);
        const { items, NextToken } = onePage(applyFilters(gateways, input.Filters, gatewayFilters), input);
        return { InternetGateways: items, NextToken };
      },
    }),
    ec2Operation<ec2.AttachInternetGatewayCommandInput, ec2.AttachInternetGatewayCommandOutput>({
      name: "AttachInternetGateway",
      honours: ["InternetGatewayId", "VpcId"],
      authorize: ({ InternetGatewayId = "", VpcId = "" }) => [
        onGateway("AttachInternetGateway", InternetGatewayId),
        onResource(cloud, "AttachInternetGateway", "vpc", VpcId, store.vpcs.find(VpcId)),
      ],
      handle: ({ InternetGatewayId, VpcId }) => {
        const id = required(InternetGatewayId, "InternetGatewayId");
        const gateway = store.internetGateways.get(id);
        const vpc = store.vpcs.get(required(VpcId, "VpcId"));
        if ((gateway.Attachments ?? []).length > 0) {
          throw new AwsError("Resource.AlreadyAssociated", `resource ${id} is already attached to network`);
        }
        gateway.Attachments = [{ VpcId: vpc.VpcId, State: "available" as ec2.AttachmentStatus }];
        return {};
      },
    }),
    ec2Operation<ec2.DetachInternetGatewayCommandInput, ec2.DetachInternetGatewayCommandOutput>({
      name: "DetachInternetGateway",
      honours: ["InternetGatewayId", "VpcId"],
      authorize: ({ InternetGatewayId = "", VpcId = "" }) => [
        onGateway("DetachInternetGateway", InternetGatewayId),
        onResource(cloud, "DetachInternetGateway", "vpc", VpcId, store.vpcs.find(VpcId)),
      ],
      handle: ({ InternetGatewayId, VpcId }) => {
        const gateway = store.internetGateways.get(required(InternetGatewayId, "InternetGatewayId"));
        const attached = gateway.Attachments?.some((attachment) => attachment.VpcId === VpcId) ?? false;
        if (!attached) throw new AwsError("Gateway.NotAttached", "resource is not attached to network");
        // Also while public instances are there; on AWS their addresses would have to go first.
        gateway.Attachments = [];
        return {};
      },
    }),
    ec2Operation<ec2.DeleteInternetGatewayCommandInput, ec2.DeleteInternetGatewayCommandOutput>({
      name: "DeleteInternetGateway",
      honours: ["InternetGatewayId"],
      authorize: ({ InternetGatewayId = "" }) => [onGateway("DeleteInternetGateway", InternetGatewayId)],
      handle: ({ InternetGatewayId }) => {
        const id = required(InternetGatewayId, "InternetGatewayId");
        refuseInUse((store.internetGateways.get(id).Attachments ?? []).length > 0, "internetGateway", id);
        store.internetGateways.delete(id);
        return {};
      },
    }),
    ec2Operation<ec2.CreateNatGatewayCommandInput, ec2.CreateNatGatewayCommandOutput>({
      name: "CreateNatGateway",
      honours: ["SubnetId", "AllocationId", "ConnectivityType", "TagSpecifications", "ClientToken"],
      authorize: ({ SubnetId = "", AllocationId, TagSpecifications }) => [
        onResource(cloud, "CreateNatGateway", "subnet", SubnetId, store.subnets.find(SubnetId)),
        ...(AllocationId === undefined
          ? []
          : [onResource(cloud, "CreateNatGateway", "elastic-ip", AllocationId, store.addresses.find(AllocationId))]),
        ...onNewResource(cloud, "CreateNatGateway", "natgateway", TagSpecifications),
      ],
      handle: (input) =>
        store.tokens.once("CreateNatGateway", input, () => ({ NatGateway: createNat(cloud, store, input) })),
    }),
    ec2Operation<ec2.DescribeNatGatewaysCommandInput, ec2.DescribeNatGatewaysCommandOutput>({
      name: "DescribeNatGateways",
      honours: ["NatGatewayIds", "Filter", ...PAGE],
      authorize: withoutResource("DescribeNatGateways"),
      handle: (input) => {
        const found = applyFilters(store.natGateways.select(input.NatGatewayIds), input.Filter, natFilters);
        const { items, NextToken } = onePage(found, input);
        return { NatGateways: items, NextToken };
      },
    }),
    ec2Operation<ec2.DeleteNatGatewayCommandInput, ec2.DeleteNatGatewayCommandOutput>({
      name: "DeleteNatGateway",
      honours: ["NatGatewayId"],
      authorize: ({ NatGatewayId = "" }) => [
        onResource(cloud, "DeleteNatGateway", "natgateway", NatGatewayId, store.natGateways.find(NatGatewayId)),
      ],
      handle: ({ NatGatewayId }) => {
        const gateway = store.natGateways.get(required(NatGatewayId, "NatGatewayId"));
        gateway.State = "deleted";
        gateway.DeleteTime = cloud.clock.now();
        for (const { AllocationId } of gateway.NatGatewayAddresses ?? []) {
          const address = store.addresses.find(AllocationId);
          if (address !== undefined) delete address.AssociationId;
        }
        return { NatGatewayId };
      },
    }),
  ];
}

function createNat(cloud: Cloud, store: Ec2Store, input: ec2.CreateNatGatewayCommandInput): ec2.NatGateway {
  const subnet = store.subnets.get(required(input.SubnetId, "SubnetId"));
  const connectivity = input.ConnectivityType ?? "public";
  const address =
    connectivity === "public" ? store.addresses.get(required(input.AllocationId, "AllocationId")) : undefined;
  if (address?.AssociationId !== undefined) {
    throw new AwsError(
      "Resource.AlreadyAssociated",
      `Elastic IP address [${address.AllocationId}] is already associated`,
    );
  }
  const id = newId("nat");
  const associationId = newId("eipassoc");
  if (address !== undefined) address.AssociationId = associationId;
  return store.natGateways.add(id, {
    NatGatewayId: id,
    SubnetId: subnet.SubnetId,
    VpcId: subnet.VpcId,
    ConnectivityType: connectivity,
    CreateTime: cloud.clock.now(),
    State: "available",
    NatGatewayAddresses: [
      {
        AllocationId: address?.AllocationId,
        PublicIp: address?.PublicIp,
        PrivateIp: parseCidr(subnet.CidrBlock).address(5),
        NetworkInterfaceId: newId("eni"),
        AssociationId: address === undefined ? undefined : associationId,
        IsPrimary: true,
        Status: "succeeded",
      },
    ],
    Tags: tagsFor("natgateway", input.TagSpecifications) ?? [],
  });
}

function addressOperations(cloud: Cloud, store: Ec2Store): Operation[] {
  return [
    ec2Operation<ec2.AllocateAddressCommandInput, ec2.AllocateAddressCommandOutput>({
      name: "AllocateAddress",
      honours: ["Domain", "TagSpecifications"],
      authorize: ({ TagSpecifications }) => onNewResource(cloud, "AllocateAddress", "elastic-ip", TagSpecifications),
      handle: ({ TagSpecifications }) => {
        const id = newId("eipalloc");
        const PublicIp = cloud.network.allocate(addressName(id));
        const Tags = tagsFor("elastic-ip", TagSpecifications) ?? [];
        const shared = { AllocationId: id, PublicIp, Domain: "vpc" as const, NetworkBorderGroup: cloud.region };
        store.addresses.add(id, { ...shared, PublicIpv4Pool: "amazon", Tags });
        return { ...shared, PublicIpv4Pool: "amazon" };
      },
    }),
    ec2Operation<ec2.DescribeAddressesCommandInput, ec2.DescribeAddressesCommandOutput>({
      name: "DescribeAddresses",
      honours: ["AllocationIds", "Filters"],
      authorize: withoutResource("DescribeAddresses"),
      handle: ({ AllocationIds, Filters }) => ({
        Addresses: applyFilters(store.addresses.select(AllocationIds), Filters, addressFilters),
      }),
    }),
    ec2Operation<ec2.ReleaseAddressCommandInput, ec2.ReleaseAddressCommandOutput>({
      name: "ReleaseAddress",
      honours: ["AllocationId"],
      authorize: ({ AllocationId = "" }) => [
        onResource(cloud, "ReleaseAddress", "elastic-ip", AllocationId, store.addresses.find(AllocationId)),
      ],
      handle: ({ AllocationId }) => {
        const id = required(AllocationId, "AllocationId");
        if (store.addresses.get(id).AssociationId !== undefined) {
          throw new AwsError("InvalidIPAddress.InUse", `Address ${store.addresses.get(id).PublicIp} is in use.`);
        }
        store.addresses.delete(id);
        cloud.network.release(addressName(id));
        return {};
      },
    }),
  ];
}

function addressName(allocationId: string): string {
  return `${allocationId}.elastic-ip.internal`;
}

function routeOperations(cloud: Cloud, store: Ec2Store): Operation[] {
  const onTable = (action: string, id: string) =>
    onResource(cloud, action, "route-table", id, store.routeTables.find(id));
  return [
    ec2Operation<ec2.CreateRouteTableCommandInput, ec2.CreateRouteTableCommandOutput>({
      name: "CreateRouteTable",
      honours: ["VpcId", "TagSpecifications", "ClientToken"],
      authorize: ({ VpcId = "", TagSpecifications }) => [
        onResource(cloud, "CreateRouteTable", "vpc", VpcId, store.vpcs.find(VpcId)),
        ...onNewResource(cloud, "CreateRouteTable", "route-table", TagSpecifications),
      ],
      handle: (input) =>
        store.tokens.once("CreateRouteTable", input, () => {
          const vpc = store.vpcs.get(required(input.VpcId, "VpcId"));
          const tags = tagsFor("route-table", input.TagSpecifications) ?? [];
          return { RouteTable: createRouteTable(cloud, store, vpc, tags, false) };
        }),
    }),
    ec2Operation<ec2.DescribeRouteTablesCommandInput, ec2.DescribeRouteTablesCommandOutput>({
      name: "DescribeRouteTables",
      honours: ["RouteTableIds", "Filters", ...PAGE],
      authorize: withoutResource("DescribeRouteTables"),
      handle: (input) => {
        const found = applyFilters(store.routeTables.select(input.RouteTableIds), input.Filters, routeTableFilters);
        const { items, NextToken } = onePage(found, input);
        return { RouteTables: items, NextToken };
      },
    }),
    ec2Operation<ec2.DeleteRouteTableCommandInput, ec2.DeleteRouteTableCommandOutput>({
      name: "DeleteRouteTable",
      honours: ["RouteTableId"],
      authorize: ({ RouteTableId = "" }) => [onTable("DeleteRouteTable", RouteTableId)],
      handle: ({ RouteTableId }) => {
        const id = required(RouteTableId, "RouteTableId");
        refuseInUse((store.routeTables.get(id).Associations ?? []).length > 0, "routeTable", id);
        for (const endpoint of store.endpoints.all()) {
          endpoint.RouteTableIds = endpoint.RouteTableIds?.filter((other) => other !== id);
        }
        store.routeTables.delete(id);
        return {};
      },
    }),
    ec2Operation<ec2.CreateRouteCommandInput, ec2.CreateRouteCommandOutput>({
      name: "CreateRoute",
      honours: ["RouteTableId", "DestinationCidrBlock", "GatewayId", "NatGatewayId"],
      authorize: ({ RouteTableId = "" }) => [onTable("CreateRoute", RouteTableId)],
      handle: (input) => {
        createRoute(store, input);
        return { Return: true };
      },
    }),
    ec2Operation<ec2.DeleteRouteCommandInput, ec2.DeleteRouteCommandOutput>({
      name: "DeleteRoute",
      honours: ["RouteTableId", "DestinationCidrBlock"],
      authorize: ({ RouteTableId = "" }) => [onTable("DeleteRoute", RouteTableId)],
      handle: ({ RouteTableId, DestinationCidrBlock }) => {
        const table = store.routeTables.get(required(RouteTableId, "RouteTableId"));
        const destination = required(DestinationCidrBlock, "DestinationCidrBlock");
        const rest = (table.Routes ?? []).filter((route) => route.DestinationCidrBlock !== destination);
        if (rest.length === table.Routes?.length) {
          const message = `no route with destination-cidr-block ${destination} in route table ${table.RouteTableId}`;
          throw new AwsError("InvalidRoute.NotFound", message);
        }
        table.Routes = rest;
        return {};
      },
    }),
    ec2Operation<ec2.AssociateRouteTableCommandInput, ec2.AssociateRouteTableCommandOutput>({
      name: "AssociateRouteTable",
      honours: ["RouteTableId", "SubnetId"],
      authorize: ({ RouteTableId = "", SubnetId = "" }) => [
        onTable("AssociateRouteTable", RouteTableId),
        onResource(cloud, "AssociateRouteTable", "subnet", SubnetId, store.subnets.find(SubnetId)),
      ],
      handle: ({ RouteTableId, SubnetId }) => {
        const table = store.routeTables.get(required(RouteTableId, "RouteTableId"));
        const subnet = store.subnets.get(required(SubnetId, "SubnetId"));
        if (associationOf(store, subnet.SubnetId) !== undefined) {
          const message = `the specified association for route table ${table.RouteTableId} conflicts with an existing association`;
          throw new AwsError("Resource.AlreadyAssociated", message);
        }
        const association = newAssociation(table.RouteTableId, { SubnetId: subnet.SubnetId, Main: false });
        table.Associations = [...(table.Associations ?? []), association];
        return { AssociationId: association.RouteTableAssociationId, AssociationState: { State: "associated" } };
      },
    }),
    ec2Operation<ec2.DisassociateRouteTableCommandInput, ec2.DisassociateRouteTableCommandOutput>({
      name: "DisassociateRouteTable",
      honours: ["AssociationId"],
      authorize: ({ AssociationId = "" }) => [onTable("DisassociateRouteTable", tableOf(store, AssociationId) ?? "*")],
      handle: ({ AssociationId }) => {
        disassociate(store, required(AssociationId, "AssociationId"));
        return {};
      },
    }),
  ];
}

function createRouteTable(
  cloud: Cloud,
  store: Ec2Store,
  vpc: VpcRecord,
  tags: ec2.Tag[],
  main: boolean,
): RouteTableRecord {
  const id = newId("rtb");
  return store.routeTables.add(id, {
    RouteTableId: id,
    VpcId: vpc.VpcId,
    OwnerId: cloud.account,
    Associations: main ? [newAssociation(id, { Main: true })] : [],
    PropagatingVgws: [],
    Routes: [{ DestinationCidrBlock: vpc.CidrBlock, GatewayId: "local", Origin: "CreateRouteTable", State: "active" }],
    Tags: tags,
  });
}

function newAssociation(tableId: string, of: { Main: boolean; SubnetId?: string }): ec2.RouteTableAssociation {
  const RouteTableAssociationId = newId("rtbassoc");
  return { RouteTableAssociationId, RouteTableId: tableId, AssociationState: { State: "associated" }, ...of };
}

function isMain(table: RouteTableRecord): boolean {
  return table.Associations?.some(({ Main }) => Main === true) ?? false;
}

function associationOf(store: Ec2Store, subnetId: string): string | undefined {
  const associations = store.routeTables.all().flatMap(({ Associations }) => Associations ?? []);
  return associations.find(({ SubnetId }) => SubnetId === subnetId)?.RouteTableAssociationId;
}

function tableOf(store: Ec2Store, associationId: string): string | undefined {
  const holds = (table: RouteTableRecord): boolean =>
    table.Associations?.some(({ RouteTableAssociationId }) => RouteTableAssociationId === associationId) ?? false;
  return store.routeTables.all().find(holds)?.RouteTableId;
}

function disassociate(store: Ec2Store, associationId: string): void {
  const tableId = tableOf(store, associationId);
  if (tableId === undefined) {
    throw new AwsError("InvalidAssociationID.NotFound", `The association ID '${associationId}' does not exist`);
  }
  const table = store.routeTables.get(tableId);
  table.Associations = table.Associations?.filter((other) => other.RouteTableAssociationId !== associationId);
}

function createRoute(store: Ec2Store, input: ec2.CreateRouteCommandInput): void {
  const table = store.routeTables.get(required(input.RouteTableId, "RouteTableId"));
  const destination = parseCidr(required(input.DestinationCidrBlock, "DestinationCidrBlock")).text;
  if (table.Routes?.some((route) => route.DestinationCidrBlock === destination)) {
    throw new AwsError("RouteAlreadyExists", `The route identified by ${destination} already exists.`);
  }
  if (input.NatGatewayId !== undefined) store.natGateways.get(input.NatGatewayId);
  else required(input.GatewayId, "GatewayId");
  if (input.GatewayId !== undefined) {
    const attached = store.internetGateways
      .get(input.GatewayId)
      .Attachments?.some(({ VpcId }) => VpcId === table.VpcId);
    if (attached !== true) {
      const message = `route table ${table.RouteTableId} and network gateway ${input.GatewayId} belong to different networks`;
      throw new AwsError("InvalidParameterValue", message);
    }
  }
  const target = { NatGatewayId: input.NatGatewayId, GatewayId: input.GatewayId };
  const route: ec2.Route = { DestinationCidrBlock: destination, ...target, Origin: "CreateRoute", State: "active" };
  table.Routes = [...(table.Routes ?? []), route];
}

function endpointOperations(cloud: Cloud, store: Ec2Store): Operation[] {
  return [
    ec2Operation<ec2.CreateVpcEndpointCommandInput, ec2.CreateVpcEndpointCommandOutput>({
      name: "CreateVpcEndpoint",
      honours: [
        "VpcId",
        "ServiceName",
        "VpcEndpointType",
        "RouteTableIds",
        "PolicyDocument",
        "TagSpecifications",
        "ClientToken",
      ],
      authorize: ({ VpcId = "", TagSpecifications }) => [
        onResource(cloud, "CreateVpcEndpoint", "vpc", VpcId, store.vpcs.find(VpcId)),
        ...onNewResource(cloud, "CreateVpcEndpoint", "vpc-endpoint", TagSpecifications),
      ],
      handle: (input) =>
        store.tokens.once("CreateVpcEndpoint", input, () => ({ VpcEndpoint: createEndpoint(cloud, store, input) })),
    }),
    ec2Operation<ec2.DescribeVpcEndpointsCommandInput, ec2.DescribeVpcEndpointsCommandOutput>({
      name: "DescribeVpcEndpoints",
      honours: ["VpcEndpointIds", "Filters", ...PAGE],
      authorize: withoutResource("DescribeVpcEndpoints"),
      handle: (input) => {
        const found = applyFilters(store.endpoints.select(input.VpcEndpointIds), input.Filters, endpointFilters);
        const { items, NextToken } = onePage(found, input);
        return { VpcEndpoints: items, NextToken };
      },
    }),
    ec2Operation<ec2.ModifyVpcEndpointCommandInput, ec2.ModifyVpcEndpointCommandOutput>({
      name: "ModifyVpcEndpoint",
      honours: ["VpcEndpointId", "AddRouteTableIds", "RemoveRouteTableIds", "PolicyDocument"],
      authorize: ({ VpcEndpointId = "" }) => [
        onResource(cloud, "ModifyVpcEndpoint", "vpc-endpoint", VpcEndpointId, store.endpoints.find(VpcEndpointId)),
      ],
      handle: ({ VpcEndpointId, AddRouteTableIds = [], RemoveRouteTableIds = [], PolicyDocument }) => {
        const endpoint = store.endpoints.get(required(VpcEndpointId, "VpcEndpointId"));
        const kept = (endpoint.RouteTableIds ?? []).filter((id) => !RemoveRouteTableIds.includes(id));
        endpoint.RouteTableIds = [...new Set([...kept, ...AddRouteTableIds])];
        endpoint.PolicyDocument = PolicyDocument ?? endpoint.PolicyDocument;
        return { Return: true };
      },
    }),
    ec2Operation<ec2.DeleteVpcEndpointsCommandInput, ec2.DeleteVpcEndpointsCommandOutput>({
      name: "DeleteVpcEndpoints",
      honours: ["VpcEndpointIds"],
      authorize: ({ VpcEndpointIds = [] }) =>
        VpcEndpointIds.map((id) =>
          onResource(cloud, "DeleteVpcEndpoints", "vpc-endpoint", id, store.endpoints.find(id)),
        ),
      handle: ({ VpcEndpointIds = [] }) => {
        for (const id of VpcEndpointIds) store.endpoints.delete(id);
        return { Unsuccessful: [] };
      },
    }),
  ];
}

function createEndpoint(cloud: Cloud, store: Ec2Store, input: ec2.CreateVpcEndpointCommandInput): ec2.VpcEndpoint {
  const vpc = store.vpcs.get(required(input.VpcId, "VpcId"));
  const service = required(input.ServiceName, "ServiceName");
  if (service !== `com.amazonaws.${cloud.region}.s3` || (input.VpcEndpointType ?? "Gateway") !== "Gateway") {
    throw new AwsError("InvalidServiceName", `The Vpc Endpoint Service '${service}' does not exist`);
  }
  const tables = (input.RouteTableIds ?? []).map((id) => store.routeTables.get(id).RouteTableId);
  const id = newId("vpce");
  return store.endpoints.add(id, {
    VpcEndpointId: id,
    VpcEndpointType: "Gateway",
    VpcId: vpc.VpcId,
    ServiceName: service,
    State: "available" as ec2.State,
    PolicyDocument:
      input.PolicyDocument ??
      '{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}',
    RouteTableIds: tables,
    SubnetIds: [],
    Groups: [],
    PrivateDnsEnabled: false,
    RequesterManaged: false,
    NetworkInterfaceIds: [],
    DnsEntries: [],
    CreationTimestamp: cloud.clock.now(),
    OwnerId: cloud.account,
    Tags: tagsFor("vpc-endpoint", input.TagSpecifications) ?? [],
  });
}
