/** A small network and instances in it, for tests. */
import assert from "node:assert/strict";
import * as net from "node:net";
import * as ec2 from "@aws-sdk/client-ec2";
import * as iam from "@aws-sdk/client-iam";
import * as ssm from "@aws-sdk/client-ssm";
import type { Emulator } from "../../../emulator/emulator";
import { IMAGE_ID } from "../../../emulator/services/ec2/operations/catalog";
import { client } from "../support";

const MANAGED = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";

export interface Environment {
  readonly ec2: ec2.EC2Client;
  readonly ssm: ssm.SSMClient;
  readonly vpcId: string;
  readonly subnetId: string;
  /** Lets everything in and out. */
  readonly groupId: string;
  /** Lets nothing in or out. */
  readonly fenceId: string;
  readonly profileName: string;
}

/** A VPC with a public subnet, two security groups, and an instance profile that SSM accepts. */
export async function createEnvironment(emulator: Emulator): Promise<Environment> {
  const api = client(emulator, ec2.EC2Client);
  const vpcId = text((await api.send(new ec2.CreateVpcCommand({ CidrBlock: "10.0.0.0/16" }))).Vpc?.VpcId);
  const request = { VpcId: vpcId, CidrBlock: "10.0.1.0/24" };
  const subnetId = text((await api.send(new ec2.CreateSubnetCommand(request))).Subnet?.SubnetId);
  const group = async (GroupName: string): Promise<string> => {
    const command = new ec2.CreateSecurityGroupCommand({ GroupName, Description: GroupName, VpcId: vpcId });
    return text((await api.send(command)).GroupId);
  };
  const [groupId, fenceId] = [await group("open"), await group("fence")];
  const IpPermissions = [{ IpProtocol: "-1", IpRanges: [{ CidrIp: "0.0.0.0/0" }] }];
  await api.send(new ec2.RevokeSecurityGroupEgressCommand({ GroupId: fenceId, IpPermissions }));
  await api.send(new ec2.AuthorizeSecurityGroupIngressCommand({ GroupId: groupId, IpPermissions }));
  const profileName = await createProfile(client(emulator, iam.IAMClient));
  return { ec2: api, ssm: client(emulator, ssm.SSMClient), vpcId, subnetId, groupId, fenceId, profileName };
}

async function createProfile(api: iam.IAMClient): Promise<string> {
  const Statement = [{ Effect: "Allow", Principal: { Service: "ec2.amazonaws.com" }, Action: "sts:AssumeRole" }];
  const AssumeRolePolicyDocument = JSON.stringify({ Version: "2012-10-17", Statement });
  await api.send(new iam.CreateRoleCommand({ RoleName: "instance", AssumeRolePolicyDocument }));
  await api.send(new iam.AttachRolePolicyCommand({ RoleName: "instance", PolicyArn: MANAGED }));
  await api.send(new iam.CreateInstanceProfileCommand({ InstanceProfileName: "instance" }));
  const adding = { InstanceProfileName: "instance", RoleName: "instance" };
  await api.send(new iam.AddRoleToInstanceProfileCommand(adding));
  return "instance";
}

/** Starts an instance and waits until it runs. */
export async function launch(
  environment: Environment,
  request: Partial<ec2.RunInstancesCommandInput> = {},
): Promise<ec2.Instance> {
  const { Instances = [] } = await environment.ec2.send(
    new ec2.RunInstancesCommand({
      ImageId: IMAGE_ID,
      InstanceType: "t3.micro",
      MinCount: 1,
      MaxCount: 1,
      SubnetId: environment.subnetId,
      SecurityGroupIds: [environment.groupId],
      IamInstanceProfile: { Name: environment.profileName },
      ...request,
    }),
  );
  return untilState(environment, text(Instances[0]?.InstanceId), "running");
}

export async function describe(environment: Environment, id: string): Promise<ec2.Instance> {
  const { Reservations = [] } = await environment.ec2.send(new ec2.DescribeInstancesCommand({ InstanceIds: [id] }));
  const found = Reservations[0]?.Instances?.[0];
  if (found === undefined) throw new Error(`${id} is not there`);
  return found;
}

export function untilState(environment: Environment, id: string, state: ec2.InstanceStateName): Promise<ec2.Instance> {
  return until(`${id} to be ${state}`, async () => {
    const instance = await describe(environment, id);
    return instance.State?.Name === state ? instance : undefined;
  });
}

/** Waits until something is there, with a deadline. */
export async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (const deadline = Date.now() + 15_000; Date.now() < deadline;) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`Waited too long for ${what}`);
}

/** Runs a command on an instance by SSM and gives its result. */
export async function runCommand(
  environment: Environment,
  id: string,
  commands: string[],
  parameters: Record<string, string[]> = {},
): Promise<ssm.GetCommandInvocationCommandOutput> {
  const sent = await environment.ssm.send(
    new ssm.SendCommandCommand({
      DocumentName: "AWS-RunShellScript",
      InstanceIds: [id],
      Parameters: { commands, ...parameters },
    }),
  );
  return untilOver(environment, id, text(sent.Command?.CommandId));
}

export function untilOver(
  environment: Environment,
  InstanceId: string,
  CommandId: string,
): Promise<ssm.GetCommandInvocationCommandOutput> {
  return until(`command ${CommandId}`, async () => {
    const result = await environment.ssm.send(new ssm.GetCommandInvocationCommand({ CommandId, InstanceId }));
    return ["Pending", "InProgress", "Cancelling"].includes(text(result.Status)) ? undefined : result;
  });
}

export function text(value: string | undefined): string {
  if (value === undefined) throw new Error("A value is missing in the answer");
  return value;
}

/** Fails unless the call fails with that code; gives the error. */
export async function rejected(call: Promise<unknown>, code: string): Promise<Error> {
  const error = await call.then(
    () => assert.fail(`${code} was expected`),
    (reason: unknown) => reason as Error & { Code?: string },
  );
  assert.equal(error.Code ?? error.name, code, error.message);
  return error;
}

/** Whether a new connection can be made. */
export function connects(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
