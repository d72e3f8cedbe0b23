import * as assert from "node:assert/strict";
import {
  AllocateAddressCommand,
  AttachInternetGatewayCommand,
  AssociateRouteTableCommand,
  CreateInternetGatewayCommand,
  CreateNatGatewayCommand,
  CreateRouteCommand,
  CreateRouteTableCommand,
  CreateSecurityGroupCommand,
  CreateSubnetCommand,
  CreateVpcCommand,
  EC2Client,
} from "@aws-sdk/client-ec2";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { client } from "../support";
import { createRole, runBuildspec } from "./support";

const probe =
  "version: 0.2\nphases:\n  build:\n    commands:\n" +
  `      - node -e 'fetch(process.env.AWS_ENDPOINT_URL).then(() => console.log("reached"), () => console.log("nothing"))'\n`;

type Way = "nat" | "internet gateway" | "none";

/** A VPC with one subnet and this default route. */
async function createVpc(emulator: Emulator, way: Way) {
  const ec2 = client(emulator, EC2Client);
  const { Vpc } = await ec2.send(new CreateVpcCommand({ CidrBlock: "10.7.0.0/16" }));
  const VpcId = Vpc?.VpcId;
  const { Subnet } = await ec2.send(new CreateSubnetCommand({ VpcId, CidrBlock: "10.7.1.0/24" }));
  const SubnetId = Subnet?.SubnetId;
  const { InternetGateway } = await ec2.send(new CreateInternetGatewayCommand({}));
  const GatewayId = InternetGateway?.InternetGatewayId;
  await ec2.send(new AttachInternetGatewayCommand({ VpcId, InternetGatewayId: GatewayId }));
  const { RouteTable } = await ec2.send(new CreateRouteTableCommand({ VpcId }));
  const RouteTableId = RouteTable?.RouteTableId;
  await ec2.send(new AssociateRouteTableCommand({ RouteTableId, SubnetId }));
  const route = { RouteTableId, DestinationCidrBlock: "0.0.0.0/0" };
  if (way === "internet gateway") await ec2.send(new CreateRouteCommand({ ...route, GatewayId }));
  if (way === "nat") {
    const { AllocationId } = await ec2.send(new AllocateAddressCommand({ Domain: "vpc" }));
    const { NatGateway } = await ec2.send(new CreateNatGatewayCommand({ SubnetId, AllocationId }));
    await ec2.send(new CreateRouteCommand({ ...route, NatGatewayId: NatGateway?.NatGatewayId }));
  }
  const { GroupId } = await ec2.send(new CreateSecurityGroupCommand({ VpcId, GroupName: "jobs", Description: "jobs" }));
  return { vpcId: VpcId, subnets: [SubnetId ?? ""], securityGroupIds: [GroupId ?? ""] };
}

describe("A build in a VPC", () => {
  let emulator: Emulator;
  before(async () => {
    emulator = await startEmulator();
  });
  after(() => emulator.close());

  for (const [way, output] of [
    ["nat", "reached"],
    ["internet gateway", "nothing"],
    ["none", "nothing"],
  ] as const) {
    it(`reaches ${output === "reached" ? "AWS" : "nothing"} when its subnet's default route is ${way} [A5.11]`, async () => {
      const vpcConfig = await createVpc(emulator, way);
      const found = await runBuildspec(emulator, probe, { vpcConfig });
      assert.deepEqual(found.output, [output]);
    });
  }

  it("fails when its role may not make a network interface in that subnet", async () => {
    const vpcConfig = await createVpc(emulator, "nat");
    const serviceRole = await createRole(emulator, "no-interface", "codebuild.amazonaws.com", [
      { Effect: "Allow", Action: "*", Resource: "*" },
      {
        Effect: "Deny",
        Action: "ec2:CreateNetworkInterface",
        Resource: `arn:aws:ec2:*:*:subnet/${vpcConfig.subnets[0]}`,
      },
    ]);
    const { build } = await runBuildspec(emulator, probe, { vpcConfig, serviceRole });
    assert.equal(build.buildStatus, "FAILED");
    const [context] = build.phases?.find(({ phaseType }) => phaseType === "PROVISIONING")?.contexts ?? [];
    assert.equal(context?.statusCode, "VPC_CLIENT_ERROR");
    assert.match(context.message ?? "", /UnauthorizedOperation.*ec2:CreateNetworkInterface/);
  });
});
