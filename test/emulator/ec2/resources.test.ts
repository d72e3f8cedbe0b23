import assert from "node:assert/strict";
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";
import type { Emulator } from "../../../emulator/emulator";
import { IMAGE_ID } from "../../../emulator/services/ec2/operations/catalog";
import { withStack } from "../../support/stack";
import { withEmulator } from "../support";

interface Options {
  readonly tags: Record<string, string>;
  readonly port: number;
  readonly protect: boolean;
}

/** One of each resource type, wired as programs wire them. */
function network(options: Options): Record<string, pulumi.Output<unknown>> {
  const { tags } = options;
  const zones = aws.getAvailabilityZonesOutput({ state: "available" });
  const vpc = new aws.ec2.Vpc("net", { cidrBlock: "10.0.0.0/16", enableDnsHostnames: true, tags });
  const gateway = new aws.ec2.InternetGateway("net", { vpcId: vpc.id, tags });
  const availabilityZone = zones.apply(({ names }) => names[0] ?? "");
  const common = { vpcId: vpc.id, availabilityZone, tags };
  const outer = new aws.ec2.Subnet("outer", { ...common, cidrBlock: "10.0.0.0/24", mapPublicIpOnLaunch: true });
  const inner = new aws.ec2.Subnet("inner", { ...common, cidrBlock: "10.0.1.0/24" });
  const address = new aws.ec2.Eip("nat", { domain: "vpc", tags });
  const nat = new aws.ec2.NatGateway("nat", { allocationId: address.id, subnetId: outer.id, tags });
  const table = new aws.ec2.RouteTable("outer", {
    vpcId: vpc.id,
    routes: [{ cidrBlock: "0.0.0.0/0", gatewayId: gateway.id }],
    tags,
  });
  const innerTable = new aws.ec2.RouteTable("inner", { vpcId: vpc.id, tags });
  new aws.ec2.Route("inner", { routeTableId: innerTable.id, destinationCidrBlock: "0.0.0.0/0", natGatewayId: nat.id });
  new aws.ec2.RouteTableAssociation("outer", { routeTableId: table.id, subnetId: outer.id });
  new aws.ec2.RouteTableAssociation("inner", { routeTableId: innerTable.id, subnetId: inner.id });
  new aws.ec2.VpcEndpoint("s3", {
    vpcId: vpc.id,
    serviceName: "com.amazonaws.us-east-1.s3",
    routeTableIds: [innerTable.id, table.id],
    tags,
  });
  const rule = { protocol: "tcp", fromPort: options.port, toPort: options.port, cidrBlocks: ["10.0.0.0/8"] };
  const group = new aws.ec2.SecurityGroup("web", {
    vpcId: vpc.id,
    ingress: [{ ...rule, description: "web" }],
    egress: [{ protocol: "-1", fromPort: 0, toPort: 0, cidrBlocks: ["0.0.0.0/0"] }],
    tags,
  });
  const bare = new aws.ec2.SecurityGroup("bare", { vpcId: vpc.id, tags });
  new aws.vpc.SecurityGroupIngressRule("bare", {
    securityGroupId: bare.id,
    ipProtocol: "tcp",
    fromPort: 22,
    toPort: 22,
    referencedSecurityGroupId: group.id,
    tags,
  });
  new aws.vpc.SecurityGroupEgressRule("bare", {
    securityGroupId: bare.id,
    ipProtocol: "-1",
    cidrIpv4: "0.0.0.0/0",
    tags,
  });
  const instance = new aws.ec2.Instance("web", {
    ami: IMAGE_ID,
    instanceType: "t3.micro",
    subnetId: outer.id,
    vpcSecurityGroupIds: options.protect ? [group.id, bare.id] : [group.id],
    metadataOptions: { httpEndpoint: "enabled", httpTokens: "required" },
    rootBlockDevice: { volumeType: "gp3", volumeSize: 10, encrypted: true },
    userData: "#!/bin/bash\ntrue\n",
    disableApiTermination: false,
    tags,
  });
  return {
    address: instance.publicIp,
    name: instance.privateDns,
    volume: instance.rootBlockDevice.volumeId,
    id: instance.id,
  };
}

/** What is left in the account, default things aside. */
function leftovers(emulator: Emulator): string[] {
  const { ec2 } = emulator.cloud.stores;
  const tables = [ec2.vpcs, ec2.subnets, ec2.internetGateways, ec2.addresses, ec2.routeTables, ec2.endpoints];
  const rest = [ec2.securityGroups, ec2.rules, ec2.volumes, ec2.snapshots];
  return [...tables, ...rest].flatMap((table) => table.all().map((record) => JSON.stringify(record)));
}

describe("EC2's resource types, by the real engine", () => {
  it("come up, show no change after that, update in place, and go away without a trace", async () => {
    await withEmulator(async (emulator) => {
      let options: Options = { tags: { Name: "one" }, port: 80, protect: false };
      await withStack(
        emulator,
        async () => network(options),
        async (stack) => {
          const { outputs, summary } = await stack.up();
          assert.match(String(outputs.address?.value), /^127\./);
          assert.match(String(outputs.name?.value), /^ip-10-0-0-\d+\.ec2\.internal$/);
          assert.match(String(outputs.volume?.value), /^vol-/);
          const count = summary.resourceChanges?.create ?? 0;

          assert.deepEqual((await stack.preview()).changeSummary, { same: count });
          const refreshed = await stack.refresh();
          assert.deepEqual(refreshed.summary.resourceChanges, { same: count });

          options = { tags: { Name: "two", Added: "yes" }, port: 8080, protect: true };
          const updated = await stack.up();
          assert.deepEqual(Object.keys(updated.summary.resourceChanges ?? {}).sort(), ["same", "update"]);
          assert.equal(updated.outputs.id?.value, outputs.id?.value);
          const group = emulator.cloud.stores.ec2.securityGroups
            .all()
            .find(({ GroupName }) => GroupName.startsWith("web"));
          const ingress = emulator.cloud.stores.ec2.rulesOf(group?.GroupId ?? "").filter(({ IsEgress }) => !IsEgress);
          assert.deepEqual(
            ingress.map(({ FromPort }) => FromPort),
            [8080],
          );
          assert.deepEqual((await stack.preview()).changeSummary, { same: count });
        },
      );
      assert.deepEqual(leftovers(emulator), []);
      assert.deepEqual(emulator.failures, []);
    });
  });
});
