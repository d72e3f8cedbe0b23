/** What EC2 says of an instance, and what of it can be protected. */
import type { Instance as Description } from "@aws-sdk/client-ec2";
import type { InstanceTarget } from "../../run/plan";
import type { Clients } from "../clients";
import { Failure } from "../failure";

/** A volume and where it is attached. */
export interface Attachment {
  /** For example `/dev/xvda`. */
  readonly device: string;
  readonly volumeId: string;
  readonly deleteOnTermination: boolean;
}

export interface Instance {
  readonly instanceId: string;
  /** `pending`, `running`, `stopping`, `stopped`, `shutting-down`, `terminated`. */
  readonly state: string;
  readonly zone: string;
  /** The device name of the root volume, for example `/dev/xvda`. */
  readonly rootDevice: string;
  readonly rootDeviceType: string;
  /** Absent while the volume is not attached. */
  readonly root: Attachment | undefined;
  /** Attached volumes other than the root. */
  readonly dataVolumes: readonly Attachment[];
  /** A public address that AWS lent it, and takes back when it stops. */
  readonly lentAddress: string | undefined;
  readonly autoScalingGroup: string | undefined;
}

export async function describeInstance(clients: Clients, instanceId: string): Promise<Instance> {
  const { DescribeInstancesCommand } = await import("@aws-sdk/client-ec2");
  const answer = await (await clients.ec2()).send(new DescribeInstancesCommand({ InstanceIds: [instanceId] }));
  const found = answer.Reservations?.flatMap((reservation) => reservation.Instances ?? []) ?? [];
  const [description] = found;
  if (description === undefined) throw new Failure(`EC2 knows no instance ${instanceId}`);
  return parseInstance(description);
}

/** The tag that Elastio puts on what it restores. */
export const restoredTag = "elastio:restored-from-rp";

/** The instances that Elastio made of a recovery point and that are not gone. */
export async function copiesOf(clients: Clients, recoveryPoint: string): Promise<Instance[]> {
  const { DescribeInstancesCommand } = await import("@aws-sdk/client-ec2");
  const client = await clients.ec2();
  const copies: Instance[] = [];
  let token: string | undefined;
  do {
    const page = await client.send(
      new DescribeInstancesCommand({
        Filters: [
          { Name: `tag:${restoredTag}`, Values: [recoveryPoint] },
          { Name: "instance-state-name", Values: ["pending", "running", "stopping", "stopped"] },
        ],
        ...(token === undefined ? {} : { NextToken: token }),
      }),
    );
    for (const each of page.Reservations ?? []) copies.push(...(each.Instances ?? []).map(parseInstance));
    token = page.NextToken;
  } while (token !== undefined && token !== "");
  return copies;
}

export function parseInstance(description: Description): Instance {
  const { InstanceId, State, Placement, RootDeviceName, RootDeviceType } = description;
  if (InstanceId === undefined || State?.Name === undefined || Placement?.AvailabilityZone === undefined) {
    throw new Failure(`EC2's answer about ${InstanceId ?? "an instance"} lacks its id, state or zone`);
  }
  const attached = (description.BlockDeviceMappings ?? []).flatMap(({ DeviceName, Ebs }) =>
    Ebs?.VolumeId === undefined
      ? []
      : [
          {
            device: DeviceName ?? "",
            volumeId: Ebs.VolumeId,
            deleteOnTermination: Ebs.DeleteOnTermination === true,
          },
        ],
  );
  const root = attached.find(({ device }) => device === RootDeviceName);
  return {
    instanceId: InstanceId,
    state: State.Name,
    zone: Placement.AvailabilityZone,
    rootDevice: RootDeviceName ?? "",
    rootDeviceType: RootDeviceType ?? "",
    root,
    dataVolumes: attached.filter((each) => each !== root),
    lentAddress: lentAddress(description),
    autoScalingGroup: description.Tags?.find(({ Key }) => Key === "aws:autoscaling:groupName")?.Value,
  };
}

function lentAddress({ NetworkInterfaces = [] }: Description): string | undefined {
  const associations = NetworkInterfaces.flatMap(({ Association }) => Association ?? []);
  return associations.find(({ IpOwnerId }) => IpOwnerId === "amazon")?.PublicIp;
}

/** The root of an instance that has one. */
export function rootOf(instance: Instance): Attachment {
  if (instance.root === undefined) throw new Failure(`instance ${instance.instanceId} has no root volume attached`);
  return instance.root;
}

/** The volumes that a target's protection covers, the root first. */
export function coveredVolumes(instance: Instance, volumes: InstanceTarget["volumes"]): Attachment[] {
  return [rootOf(instance), ...(volumes === "all" ? instance.dataVolumes : [])];
}

/** Why an instance cannot be protected: one sentence each; empty when it can. */
export function obstacles(instance: Instance, volumes: InstanceTarget["volumes"]): string[] {
  const { instanceId, dataVolumes, lentAddress: address } = instance;
  const found: string[] = [];
  if (instance.state !== "running") {
    found.push(
      `${instanceId} is ${instance.state}; the root volume of a running instance only can be replaced. Start it`,
    );
  }
  if (instance.rootDeviceType !== "ebs" || instance.root === undefined) {
    found.push(`${instanceId} has no EBS root volume (${instance.rootDeviceType || "none"}), which could be replaced`);
  }
  if (instance.autoScalingGroup !== undefined) {
    found.push(
      `${instanceId} belongs to the Auto Scaling group ${instance.autoScalingGroup}, which would replace it while it is ` +
        `healed. Take it out of the group`,
    );
  }
  if (volumes === "all" && dataVolumes.length > 0 && address !== undefined) {
    found.push(
      `${instanceId} has volumes besides its root, so a healing stops it, and with that it loses its public address ` +
        `${address}, which is only lent. Give it an Elastic IP address, or protect its root alone (volumes: "root")`,
    );
  }
  return found;
}
