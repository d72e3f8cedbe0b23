/** Commands on an instance by SSM Run Command. */
import type { CommandInvocationStatus } from "@aws-sdk/client-ssm";
import { type Clients, codeOf } from "../clients";
import { Failure } from "../failure";
import { type Deadline, type Pause, until } from "../time";

/** The comment that the jobs' own commands bear, so that a fence tells them from a release's. */
export const ownComment = "protected-pipeline";

const over: ReadonlySet<string> = new Set([
  "Success",
  "Cancelled",
  "TimedOut",
  "Failed",
] satisfies CommandInvocationStatus[]);

/**
 * Runs one shell command on an instance.
 *
 * @returns its standard output; SSM keeps the first 24,000 characters
 * @throws Failure when it did not succeed, with the end of its standard error
 */
export async function runOnInstance(
  clients: Clients,
  instanceId: string,
  command: string,
  deadline: Deadline,
  pause: Pause,
): Promise<string> {
  const { GetCommandInvocationCommand, SendCommandCommand } = await import("@aws-sdk/client-ssm");
  const client = await clients.ssm();
  // Right after a boot the agent has not registered yet.
  const sent = await until(`the SSM agent of ${instanceId} to take a command`, deadline, pause, async () => {
    try {
      return await client.send(
        new SendCommandCommand({
          DocumentName: "AWS-RunShellScript",
          InstanceIds: [instanceId],
          Comment: ownComment,
          Parameters: { commands: [command] },
        }),
      );
    } catch (error) {
      if (codeOf(error) === "InvalidInstanceId") return undefined;
      throw error;
    }
  });
  const id = sent.Command?.CommandId;
  if (id === undefined) throw new Failure(`SSM did not name the command that it took for ${instanceId}`);
  const invocation = await until(`command ${id} on ${instanceId}`, deadline, pause, async () => {
    try {
      const answer = await client.send(new GetCommandInvocationCommand({ CommandId: id, InstanceId: instanceId }));
      return over.has(answer.Status ?? "") ? answer : undefined;
    } catch (error) {
      if (codeOf(error) === "InvocationDoesNotExist") return undefined;
      throw error;
    }
  });
  if (invocation.Status !== "Success") {
    const detail = (invocation.StandardErrorContent ?? "").trim().slice(-500);
    throw new Failure(`command ${id} on ${instanceId} ended as ${invocation.Status ?? "unknown"}: ${detail}`);
  }
  return invocation.StandardOutputContent ?? "";
}

const going: ReadonlySet<string> = new Set(["Pending", "InProgress", "Delayed", "Cancelling"]);

/**
 * Ends everything that SSM runs on an instance and that was sent since a time, the jobs' own commands excepted, and
 * waits until it is over. @returns the ids of the commands
 */
export async function cancelCommands(
  clients: Clients,
  instanceId: string,
  since: Date,
  deadline: Deadline,
  pause: Pause,
): Promise<string[]> {
  const { CancelCommandCommand } = await import("@aws-sdk/client-ssm");
  const client = await clients.ssm();
  const cancelled = new Set<string>();
  return until(`the commands on ${instanceId} to be over`, deadline, pause, async () => {
    const commands = await commandsOn(clients, instanceId, since);
    if (commands.length === 0) return [...cancelled];
    for (const id of commands.filter((each) => !cancelled.has(each))) {
      await client.send(new CancelCommandCommand({ CommandId: id, InstanceIds: [instanceId] }));
      cancelled.add(id);
    }
    return undefined;
  });
}

/** The commands of others that are not over. */
async function commandsOn(clients: Clients, instanceId: string, since: Date): Promise<string[]> {
  const { ListCommandsCommand } = await import("@aws-sdk/client-ssm");
  const client = await clients.ssm();
  const ids: string[] = [];
  let token: string | undefined;
  do {
    const page = await client.send(
      new ListCommandsCommand({ InstanceId: instanceId, ...(token === undefined ? {} : { NextToken: token }) }),
    );
    for (const each of page.Commands ?? []) {
      const foreign = each.Comment !== ownComment;
      const late = each.RequestedDateTime === undefined || each.RequestedDateTime >= since;
      if (foreign && late && going.has(each.Status ?? "Pending") && each.CommandId !== undefined)
        ids.push(each.CommandId);
    }
    token = page.NextToken;
  } while (token !== undefined && token !== "");
  return ids;
}

/** These words as one command for a shell of any kind. */
export function shellLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}
