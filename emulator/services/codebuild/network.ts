/**
 * The network interface of a build in a VPC: who may make it, and what it reaches. It never gets a public address
 * ("VPC support", AWS CodeBuild User Guide), so a default route by an internet gateway does not help it.
 */
import { DescribeRouteTablesCommand, DescribeSubnetsCommand, type RouteTable } from "@aws-sdk/client-ec2";
import type { VpcConfig } from "@aws-sdk/client-codebuild";
import { AwsError, type Access, type Cloud, type Principal } from "../../core/definitions";
import { globalContext, permissionsOf } from "../../core/dispatcher";
import { evaluate } from "../../core/iam";
import type { Gatekeeper } from "../../machines/gate";

const SERVICE = "codebuild.amazonaws.com";
const service: Principal = { kind: "service", arn: SERVICE };

/**
 * Checks what the service does with the build's role: "Create a CodeBuild service role", the statement for a VPC.
 * Throws the message that the build then shows.
 */
export async function checkVpc(cloud: Cloud, role: Principal, vpc: VpcConfig): Promise<void> {
  const denied = interfaceAccess(cloud, vpc).find((access) => !isAllowed(cloud, role, access));
  if (denied !== undefined) {
    throw new AwsError(
      "UnauthorizedOperation",
      `Unexpected EC2 error: the service role may not perform ${denied.action} on ${denied.resource}`,
      403,
    );
  }
  await cloud.send(role, new DescribeSubnetsCommand({ SubnetIds: vpc.subnets ?? [] }));
}

function interfaceAccess({ partition, region, account }: Cloud, vpc: VpcConfig): Access[] {
  const arn = (what: string): string => `arn:${partition}:ec2:${region}:${account}:${what}`;
  const networkInterface = arn("network-interface/*");
  const described = ["DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs"];
  const subnets = (vpc.subnets ?? []).map((id) => arn(`subnet/${id}`));
  const groups = (vpc.securityGroupIds ?? []).map((id) => arn(`security-group/${id}`));
  const created = [networkInterface, ...subnets, ...groups];
  return [
    ...described.map((what) => ({ action: `ec2:Describe${what}`, resource: "*" })),
    ...created.map((resource) => ({ action: "ec2:CreateNetworkInterface", resource })),
    { action: "ec2:DeleteNetworkInterface", resource: networkInterface },
    ...subnets.map((subnet) => ({
      action: "ec2:CreateNetworkInterfacePermission",
      resource: networkInterface,
      context: { "ec2:Subnet": subnet, "ec2:AuthorizedService": SERVICE },
    })),
  ];
}

function isAllowed(cloud: Cloud, role: Principal, { action, resource, context }: Access): boolean {
  return evaluate({
    principal: role,
    account: cloud.account,
    action,
    resource,
    context: { ...globalContext(cloud, role), ...context },
    ...permissionsOf(cloud, role),
  }).allowed;
}

/**
 * What a build reaches. Outside of a VPC, and where its security groups keep no database from it, that is the host's own
 * network; else a gate lets through what the groups allow. Decided when the build starts.
 */
export async function buildNetwork(cloud: Cloud, vpc: VpcConfig | undefined): Promise<boolean | Gatekeeper> {
  if (vpc === undefined) return true;
  if (!(await hasNetwork(cloud, vpc))) return false;
  const { runtime } = cloud.stores.ec2;
  return runtime?.fleet.firewall.forBuild(vpc.securityGroupIds ?? [], vpc.subnets ?? []) ?? true;
}

/** The build gets any one of its subnets, so all of them need a way out. */
async function hasNetwork(cloud: Cloud, vpc: VpcConfig): Promise<boolean> {
  const Filters = [{ Name: "vpc-id", Values: [vpc.vpcId ?? ""] }];
  const { RouteTables = [] } = await cloud.send(service, new DescribeRouteTablesCommand({ Filters }));
  return (vpc.subnets ?? []).every((subnet) => routesOut(tableOf(RouteTables, subnet)));
}

function tableOf(tables: readonly RouteTable[], subnet: string): RouteTable | undefined {
  const own = tables.find((table) => table.Associations?.some(({ SubnetId }) => SubnetId === subnet));
  return own ?? tables.find((table) => table.Associations?.some(({ Main }) => Main === true));
}

function routesOut(table: RouteTable | undefined): boolean {
  const routes = table?.Routes ?? [];
  return routes.some(
    ({ DestinationCidrBlock, GatewayId, State }) =>
      DestinationCidrBlock === "0.0.0.0/0" && State !== "blackhole" && !GatewayId?.startsWith("igw-"),
  );
}
