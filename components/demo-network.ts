import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import { knownInputs } from "./inputs";

export interface DemoNetworkArgs {
  /**
   * Second number of the addresses, `10.<octet>.0.0/16`: choose another one to peer networks.
   * @default 0
   */
  readonly octet?: number;
}

/**
 * A network in two zones: public subnets, private subnets with a way out through one NAT gateway, and a gateway
 * endpoint for S3, so that dumps do not pay for the NAT.
 */
export class DemoNetwork extends pulumi.ComponentResource {
  readonly vpcId: pulumi.Output<string>;
  /** Resolves when the subnets have their way out, as do the {@link buildSubnetIds}. */
  readonly publicSubnetIds: pulumi.Output<string[]>;
  /** Resolves at once: a database, which calls nobody, need not wait for the NAT gateway. */
  readonly privateSubnetIds: pulumi.Output<string[]>;
  /** The private subnets, once whoever is in them reaches AWS. */
  readonly buildSubnetIds: pulumi.Output<string[]>;

  constructor(name: string, args: DemoNetworkArgs = {}, opts?: pulumi.ComponentResourceOptions) {
    super("protected-pipeline:index:DemoNetwork", name, knownInputs(args), opts);
    const octet = args.octet ?? 0;
    const parent = { parent: this };
    const tags = { Name: name };

    const vpc = new aws.ec2.Vpc(
      name,
      { cidrBlock: `10.${octet}.0.0/16`, enableDnsHostnames: true, enableDnsSupport: true, tags },
      parent,
    );
    const gateway = new aws.ec2.InternetGateway(`${name}-internet`, { vpcId: vpc.id, tags }, parent);
    const zones = aws.getAvailabilityZonesOutput({ state: "available" }, parent).names;
    const subnet = (kind: "public" | "private", index: number) =>
      new aws.ec2.Subnet(
        `${name}-${kind}-${index}`,
        {
          vpcId: vpc.id,
          cidrBlock: `10.${octet}.${kind === "public" ? index : 128 + index}.0/24`,
          availabilityZone: zones.apply((names) => zoneAt(names, index)),
          tags: { Name: `${name}-${kind}-${index}` },
        },
        parent,
      );
    const publicSubnets = [0, 1].map((index) => subnet("public", index));
    const privateSubnets = [0, 1].map((index) => subnet("private", index));

    const address = new aws.ec2.Eip(`${name}-nat`, { domain: "vpc", tags }, { ...parent, dependsOn: [gateway] });
    const nat = new aws.ec2.NatGateway(
      `${name}-nat`,
      { allocationId: address.allocationId, subnetId: firstId(publicSubnets), tags },
      parent,
    );
    const publicRoutes = this.routes(`${name}-public`, vpc.id, publicSubnets, { gatewayId: gateway.id });
    const privateRoutes = this.routes(`${name}-private`, vpc.id, privateSubnets, { natGatewayId: nat.id });
    const region = aws.getRegionOutput({}, parent).region;
    const endpoint = new aws.ec2.VpcEndpoint(
      `${name}-s3`,
      {
        vpcId: vpc.id,
        serviceName: pulumi.interpolate`com.amazonaws.${region}.s3`,
        vpcEndpointType: "Gateway",
        routeTableIds: [publicRoutes.tableId, privateRoutes.tableId],
        tags,
      },
      parent,
    );

    this.vpcId = vpc.id;
    this.publicSubnetIds = whenReady(publicSubnets, publicRoutes.ready, endpoint);
    this.privateSubnetIds = pulumi.all(privateSubnets.map((each) => each.id));
    this.buildSubnetIds = whenReady(privateSubnets, privateRoutes.ready, endpoint);
    this.registerOutputs({
      vpcId: this.vpcId,
      publicSubnetIds: this.publicSubnetIds,
      privateSubnetIds: this.privateSubnetIds,
    });
  }

  /** A route table with a way out, for these subnets. */
  private routes(
    name: string,
    vpcId: pulumi.Output<string>,
    subnets: readonly aws.ec2.Subnet[],
    way: { readonly gatewayId?: pulumi.Output<string>; readonly natGatewayId?: pulumi.Output<string> },
  ) {
    const parent = { parent: this };
    const table = new aws.ec2.RouteTable(name, { vpcId, tags: { Name: name } }, parent);
    const route = new aws.ec2.Route(
      name,
      { routeTableId: table.id, destinationCidrBlock: "0.0.0.0/0", ...way },
      parent,
    );
    const associations = subnets.map(
      (subnet, index) =>
        new aws.ec2.RouteTableAssociation(`${name}-${index}`, { routeTableId: table.id, subnetId: subnet.id }, parent),
    );
    return { tableId: table.id, ready: [route.id, ...associations.map((association) => association.id)] };
  }
}

/** The subnets' ids, once everything that makes them usable exists. */
function whenReady(
  subnets: readonly aws.ec2.Subnet[],
  routes: readonly pulumi.Output<string>[],
  endpoint: aws.ec2.VpcEndpoint,
): pulumi.Output<string[]> {
  const ids = pulumi.all(subnets.map((subnet) => subnet.id));
  return pulumi.all([ids, pulumi.all([...routes]), endpoint.id]).apply(([found]) => found);
}

function firstId(subnets: readonly aws.ec2.Subnet[]): pulumi.Output<string> {
  return pulumi.all(subnets.map((subnet) => subnet.id)).apply(([id]) => id ?? "");
}

function zoneAt(names: readonly string[], index: number): string {
  const zone = names[index];
  if (zone === undefined) {
    throw new Error(`This Region offers ${names.length} availability zones, and the demo's network needs 2.`);
  }
  return zone;
}
