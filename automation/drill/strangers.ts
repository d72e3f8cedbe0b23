/**
 * Instances that the stack knows nothing of: a healing that fails half-way keeps the restored copy, for people to look
 * at. Nothing of a drill's is for people, and a network with an instance in it cannot be destroyed.
 */
import { DescribeInstancesCommand, TerminateInstancesCommand, type Instance } from "@aws-sdk/client-ec2";
import type { Clients } from "../clients";
import { waitFor } from "../wait";

const deadlineSeconds = 600;

/** Terminates every instance in the drill's own network but the stack's, and waits for their end. */
export async function endStrangers(
  clients: Clients,
  vpcId: string,
  own: string,
  pollMilliseconds: number,
): Promise<void> {
  const strangers = (await instancesIn(clients, vpcId)).filter((each) => each.InstanceId !== own);
  const ids = strangers.map((each) => each.InstanceId ?? "");
  if (ids.length === 0) return;
  await clients.ec2.send(new TerminateInstancesCommand({ InstanceIds: ids }));
  await waitFor(
    async () => (await instancesIn(clients, vpcId)).every((each) => !ids.includes(each.InstanceId ?? "")) || undefined,
    { what: `the end of ${ids.join(", ")}`, deadlineSeconds, pollMilliseconds },
  );
}

async function instancesIn(clients: Clients, vpcId: string): Promise<Instance[]> {
  const answer = await clients.ec2.send(new DescribeInstancesCommand({}));
  const all = (answer.Reservations ?? []).flatMap((each) => each.Instances ?? []);
  return all.filter((each) => each.VpcId === vpcId && each.State?.Name !== "terminated");
}
