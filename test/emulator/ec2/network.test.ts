import assert from "node:assert/strict";
import * as ec2 from "@aws-sdk/client-ec2";
import { client, withEmulator } from "../support";
import { text } from "./support";

async function rejects(call: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(call, (error: Error & { Code?: string }) => (error.Code ?? error.name) === code);
}

describe("EC2's network", () => {
  it("knows which subnets have a way out, and is taken down in order only", async () => {
    await withEmulator(async (emulator) => {
      const api = client(emulator, ec2.EC2Client);
      const VpcId = text((await api.send(new ec2.CreateVpcCommand({ CidrBlock: "10.0.0.0/16" }))).Vpc?.VpcId);
      const subnet = async (CidrBlock: string): Promise<string> =>
        text((await api.send(new ec2.CreateSubnetCommand({ VpcId, CidrBlock }))).Subnet?.SubnetId);
      const [open, closed] = [await subnet("10.0.0.0/24"), await subnet("10.0.1.0/24")];
      const InternetGatewayId = text(
        (await api.send(new ec2.CreateInternetGatewayCommand({}))).InternetGateway?.InternetGatewayId,
      );
      await api.send(new ec2.AttachInternetGatewayCommand({ InternetGatewayId, VpcId }));
      const RouteTableId = text((await api.send(new ec2.CreateRouteTableCommand({ VpcId }))).RouteTable?.RouteTableId);
      const route = { RouteTableId, DestinationCidrBlock: "0.0.0.0/0" };
      await api.send(new ec2.CreateRouteCommand({ ...route, GatewayId: InternetGatewayId }));
      const { AssociationId } = await api.send(new ec2.AssociateRouteTableCommand({ RouteTableId, SubnetId: open }));

      const store = emulator.cloud.stores.ec2;
      assert.deepEqual([store.reachesInternet(open), store.reachesInternet(closed)], [true, false]);
      await rejects(
        api.send(new ec2.CreateRouteCommand({ ...route, GatewayId: InternetGatewayId })),
        "RouteAlreadyExists",
      );
      await rejects(api.send(new ec2.DeleteRouteTableCommand({ RouteTableId })), "DependencyViolation");
      await rejects(api.send(new ec2.DeleteInternetGatewayCommand({ InternetGatewayId })), "DependencyViolation");
      await rejects(api.send(new ec2.DeleteVpcCommand({ VpcId })), "DependencyViolation");

      await api.send(new ec2.DisassociateRouteTableCommand({ AssociationId: text(AssociationId) }));
      await api.send(new ec2.DeleteRouteTableCommand({ RouteTableId }));
      for (const SubnetId of [open, closed]) await api.send(new ec2.DeleteSubnetCommand({ SubnetId }));
      await api.send(new ec2.DetachInternetGatewayCommand({ InternetGatewayId, VpcId }));
      await api.send(new ec2.DeleteInternetGatewayCommand({ InternetGatewayId }));
      await api.send(new ec2.DeleteVpcCommand({ VpcId }));
      await rejects(api.send(new ec2.DescribeVpcsCommand({ VpcIds: [VpcId] })), "InvalidVpcID.NotFound");
    });
  });

  it("refuses ranges that overlap or lie outside", async () => {
    await withEmulator(async (emulator) => {
      const api = client(emulator, ec2.EC2Client);
      const VpcId = text((await api.send(new ec2.CreateVpcCommand({ CidrBlock: "10.0.0.0/16" }))).Vpc?.VpcId);
      const create = (CidrBlock: string) => api.send(new ec2.CreateSubnetCommand({ VpcId, CidrBlock }));
      await create("10.0.0.0/24");
      await rejects(create("10.0.0.128/25"), "InvalidSubnet.Conflict");
      await rejects(create("10.1.0.0/24"), "InvalidSubnet.Range");
    });
  });

  it("refuses a rule that is there already, and one that is not when it is revoked", async () => {
    await withEmulator(async (emulator) => {
      const api = client(emulator, ec2.EC2Client);
      const VpcId = text((await api.send(new ec2.CreateVpcCommand({ CidrBlock: "10.0.0.0/16" }))).Vpc?.VpcId);
      const group = { GroupName: "web", Description: "web", VpcId };
      const GroupId = text((await api.send(new ec2.CreateSecurityGroupCommand(group))).GroupId);
      const IpPermissions = [{ IpProtocol: "tcp", FromPort: 80, ToPort: 80, IpRanges: [{ CidrIp: "0.0.0.0/0" }] }];
      const authorize = () => api.send(new ec2.AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions }));
      const revoke = () => api.send(new ec2.RevokeSecurityGroupIngressCommand({ GroupId, IpPermissions }));
      await authorize();
      await rejects(authorize(), "InvalidPermission.Duplicate");
      await revoke();
      await rejects(revoke(), "InvalidPermission.NotFound");
      await rejects(api.send(new ec2.CreateSecurityGroupCommand(group)), "InvalidGroup.Duplicate");
    });
  });
});
