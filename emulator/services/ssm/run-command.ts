/**
 * Run Command: real processes on instances, as root. An instance is managed when its role has the policy with which
 * the agent registers, and it is online while it runs and reaches AWS. While it reboots it still counts as online, and
 * a command waits for it, as on AWS.
 */
import { randomUUID } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type * as ssm from "@aws-sdk/client-ssm";
import { ListAttachedRolePoliciesCommand } from "@aws-sdk/client-iam";
import { AwsError, operation, type Access, type Cloud, type Operation, type Principal } from "../../core/definitions";
import type { Machine, MachineProcess } from "../../machines/machine";
import { collectText } from "../../machines/output";
import type { InstanceRecord } from "../ec2/store";

const DOCUMENT = "AWS-RunShellScript";
const SERVICE: Principal = { kind: "service", arn: "ssm.amazonaws.com" };
const MANAGED_POLICY = "policy/AmazonSSMManagedInstanceCore";
const AGENT_FOLDER = "var/lib/amazon/ssm";
/** What `GetCommandInvocation` keeps of the output, in characters: "the first 24,000" and "the first 8,000". */
const STDOUT_LIMIT = 24_000;
const STDERR_LIMIT = 8_000;
/** The agent's own ending of a cut output. */
const CUT = "--output truncated--";
const DEFAULT_EXECUTION_SECONDS = 3_600;
const DEFAULT_DELIVERY_SECONDS = 3_600;
const DELIVERY_POLL_MS = 50;
const MAX_INSTANCES = 50;
/** The largest page, and the usual one. */
const PAGE = 50;
/** Commands are kept for 30 days by AWS; here the latest are, so that memory does not grow with history. */
const KEPT_COMMANDS = 1_000;

type Status = ssm.CommandInvocationStatus;

interface Invocation {
  readonly instanceId: string;
  status: Status;
  details: string;
  responseCode: number;
  stdout: string;
  stderr: string;
  started: Date | undefined;
  ended: Date | undefined;
  process: MachineProcess | undefined;
  cancelled: boolean;
}

interface Command {
  readonly id: string;
  readonly documentName: string;
  readonly comment: string;
  readonly parameters: Readonly<Record<string, string[]>>;
  readonly requested: Date;
  readonly timeoutSeconds: number;
  readonly executionSeconds: number;
  readonly invocations: readonly Invocation[];
}

const OVER: ReadonlySet<Status> = new Set<Status>(["Success", "Failed", "Cancelled", "TimedOut"]);

export function runCommandOperations(cloud: Cloud): Operation[] {
  const runner = new CommandRunner(cloud);
  const unscoped = (action: string) => () => [{ action: `ssm:${action}`, resource: "*" }];
  return [
    operation<ssm.SendCommandCommandInput, ssm.SendCommandCommandOutput>({
      name: "SendCommand",
      honours: ["DocumentName", "InstanceIds", "Parameters", "TimeoutSeconds", "Comment"],
      authorize: (input) => sendAccess(cloud, input),
      handle: async (input) => ({ Command: describeCommand(await runner.send(input)) }),
    }),
    operation<ssm.GetCommandInvocationCommandInput, ssm.GetCommandInvocationCommandOutput>({
      name: "GetCommandInvocation",
      honours: ["CommandId", "InstanceId"],
      authorize: unscoped("GetCommandInvocation"),
      handle: ({ CommandId = "", InstanceId = "" }) => {
        const command = runner.commands.get(CommandId);
        const invocation = command?.invocations.find(({ instanceId }) => instanceId === InstanceId);
        if (command === undefined || invocation === undefined) throw new AwsError("InvocationDoesNotExist", "");
        return describeResult(command, invocation);
      },
    }),
    operation<ssm.ListCommandsCommandInput, ssm.ListCommandsCommandOutput>({
      name: "ListCommands",
      honours: ["CommandId", "InstanceId", "MaxResults", "NextToken"],
      authorize: unscoped("ListCommands"),
      handle: (input) => {
        const { items, NextToken } = page(runner.select(input.CommandId, input.InstanceId), input);
        return { Commands: items.map(describeCommand), NextToken };
      },
    }),
    operation<ssm.CancelCommandCommandInput, ssm.CancelCommandCommandOutput>({
      name: "CancelCommand",
      honours: ["CommandId", "InstanceIds"],
      authorize: unscoped("CancelCommand"),
      handle: ({ CommandId = "", InstanceIds }) => {
        runner.cancel(CommandId, InstanceIds);
        return {};
      },
    }),
  ];
}

/** The document, and each instance with its tags. */
function sendAccess(cloud: Cloud, { DocumentName = "", InstanceIds = [] }: ssm.SendCommandCommandInput): Access[] {
  const name = DocumentName.split("/").at(-1) ?? "";
  const document = `arn:${cloud.partition}:ssm:${cloud.region}::document/${name}`;
  const instances = InstanceIds.map((id) => {
    const tags = cloud.stores.ec2.instances.find(id)?.Tags ?? [];
    const context = tags.flatMap(({ Key = "", Value = "" }) => [
      [`aws:ResourceTag/${Key}`, Value] as const,
      [`ssm:resourceTag/${Key}`, Value] as const,
    ]);
    return {
      action: "ssm:SendCommand",
      resource: `arn:${cloud.partition}:ec2:${cloud.region}:${cloud.account}:instance/${id}`,
      context: Object.fromEntries(context),
    };
  });
  return [{ action: "ssm:SendCommand", resource: document }, ...instances];
}

class CommandRunner {
  readonly commands = new Map<string, Command>();

  constructor(private readonly cloud: Cloud) {}

  async send(input: ssm.SendCommandCommandInput): Promise<Command> {
    const parameters = checkParameters(input);
    const ids = checkInstanceIds(input);
    const known = await Promise.all(ids.map((id) => this.isKnownOnline(id)));
    if (known.includes(false)) {
      const message = `Instances [[${ids.join(", ")}]] not in a valid state for account ${this.cloud.account}`;
      throw new AwsError("InvalidInstanceId", message);
    }
    const requested = this.cloud.clock.now();
    const command: Command = {
      id: randomUUID(),
      documentName: DOCUMENT,
      comment: input.Comment ?? "",
      parameters,
      requested,
      timeoutSeconds: input.TimeoutSeconds ?? DEFAULT_DELIVERY_SECONDS,
      executionSeconds: executionSeconds(parameters),
      invocations: ids.map(newInvocation),
    };
    this.keep(command);
    for (const invocation of command.invocations) {
      const work = this.run(command, invocation);
      this.cloud.background(`command ${command.id} on ${invocation.instanceId}`, work);
    }
    return command;
  }

  select(commandId: string | undefined, instanceId: string | undefined): Command[] {
    if (commandId !== undefined && !this.commands.has(commandId)) throw new AwsError("InvalidCommandId", "");
    const named = [...this.commands.values()].filter(({ id }) => (commandId ?? id) === id);
    const on = (command: Command): boolean =>
      instanceId === undefined || command.invocations.some((invocation) => invocation.instanceId === instanceId);
    return named.filter(on).reverse();
  }

  cancel(commandId: string, instanceIds: readonly string[] | undefined): void {
    const command = this.commands.get(commandId);
    if (command === undefined) throw new AwsError("InvalidCommandId", "");
    for (const invocation of command.invocations) {
      if (OVER.has(invocation.status) || instanceIds?.includes(invocation.instanceId) === false) continue;
      invocation.cancelled = true;
      setStatus(invocation, "Cancelling", "Cancelling");
      invocation.process?.kill("SIGKILL");
    }
  }

  /** Whether the service takes the instance for online: it is, or it reboots and was. */
  private async isKnownOnline(id: string): Promise<boolean> {
    const { ec2 } = this.cloud.stores;
    const instance = ec2.liveInstance(id);
    if (instance === undefined || !(await this.isManaged(instance))) return false;
    if (ec2.runtime?.fleet.isOnline(id) === true) return true;
    const reboots = instance.state === "running" && ec2.runtime?.fleet.machine(id) === undefined;
    return reboots && ec2.runtime?.fleet.wasOnline(id) === true;
  }

  private async isManaged({ profile }: InstanceRecord): Promise<boolean> {
    if (profile === undefined) return false;
    const RoleName = profile.roleArn.split("/").at(-1);
    try {
      const command = new ListAttachedRolePoliciesCommand({ RoleName });
      const { AttachedPolicies = [] } = await this.cloud.send(SERVICE, command);
      return AttachedPolicies.some(({ PolicyArn }) => PolicyArn?.endsWith(MANAGED_POLICY) === true);
    } catch {
      // A role that is gone gives the agent no credentials.
      return false;
    }
  }

  private keep(command: Command): void {
    this.commands.set(command.id, command);
    const [oldest] = this.commands.keys();
    if (this.commands.size > KEPT_COMMANDS && oldest !== undefined) this.commands.delete(oldest);
  }

  private async run(command: Command, invocation: Invocation): Promise<void> {
    try {
      await this.execute(command, invocation);
    } catch (error) {
      invocation.stderr = error instanceof Error ? error.message : String(error);
      this.finish(invocation, "Failed", "Failed", -1);
    }
  }

  private async execute(command: Command, invocation: Invocation): Promise<void> {
    const { runtime } = this.cloud.stores.ec2;
    const machine = await this.delivered(command, invocation);
    const instance = this.cloud.stores.ec2.liveInstance(invocation.instanceId);
    const volume = instance?.devices.get(instance.rootDeviceName)?.volumeId;
    if (invocation.cancelled) return this.finish(invocation, "Cancelled", "Cancelled", -1);
    if (runtime === undefined || machine === undefined || volume === undefined) {
      return this.finish(invocation, "TimedOut", "DeliveryTimedOut", -1);
    }
    runtime.fleet.refreshHosts();
    const script = await writeScript(runtime.disks.folder(volume), command, invocation);
    if (invocation.cancelled) return this.finish(invocation, "Cancelled", "Cancelled", -1);
    setStatus(invocation, "InProgress", "InProgress");
    invocation.started = this.cloud.clock.now();
    const child = machine.run({
      // As `sh`, which is bash on Amazon Linux; what begins with #! chooses for itself.
      command: [
        "/bin/bash",
        "-c",
        'read -r -n 2 first <"$0"; [ "$first" = "#!" ] && exec "$0"; exec -a sh /bin/bash "$0"',
        script.inside,
      ],
      directory: command.parameters.workingDirectory?.[0] || "/usr/bin",
    });
    invocation.process = child;
    child.stdin.end();
    const timer = new AbortController();
    let timedOut = false;
    const timeout = this.cloud.clock.sleep(command.executionSeconds * 1000, timer.signal).then(
      () => {
        timedOut = true;
        child.kill("SIGKILL");
      },
      () => undefined,
    );
    const [code, stdout, stderr] = await collectText(child, STDOUT_LIMIT + 1, STDERR_LIMIT + 1);
    timer.abort();
    await timeout;
    await fs.rm(script.outside, { recursive: true, force: true });
    invocation.process = undefined;
    const failure = code === 0 ? "" : `failed to run commands: exit status ${code}`;
    invocation.stdout = cut(stdout, STDOUT_LIMIT);
    invocation.stderr = cut(stderr + failure, STDERR_LIMIT);
    if (invocation.cancelled) return this.finish(invocation, "Cancelled", "Cancelled", -1);
    if (timedOut) return this.finish(invocation, "TimedOut", "ExecutionTimedOut", -1);
    return this.finish(invocation, code === 0 ? "Success" : "Failed", code === 0 ? "Success" : "Failed", code);
  }

  /** Waits until the instance takes the command, as long as the command may wait. */
  private async delivered(command: Command, invocation: Invocation): Promise<Machine | undefined> {
    const { ec2 } = this.cloud.stores;
    const { instanceId } = invocation;
    const expires = command.requested.getTime() + command.timeoutSeconds * 1000;
    while (ec2.liveInstance(instanceId) !== undefined && !invocation.cancelled) {
      if (ec2.runtime?.fleet.isOnline(instanceId) === true) return ec2.runtime.fleet.machine(instanceId);
      if (this.cloud.clock.now().getTime() >= expires) return undefined;
      await this.cloud.clock.sleep(DELIVERY_POLL_MS);
    }
    return undefined;
  }

  private finish(invocation: Invocation, status: Status, details: string, code: number): void {
    invocation.ended = this.cloud.clock.now();
    invocation.responseCode = code;
    setStatus(invocation, status, details);
  }
}

function checkParameters(input: ssm.SendCommandCommandInput): Record<string, string[]> {
  const name = input.DocumentName?.split("/").at(-1);
  if (name !== DOCUMENT)
    throw new AwsError("InvalidDocument", `Document with name ${input.DocumentName ?? ""} does not exist.`);
  const parameters = input.Parameters ?? {};
  const known = ["commands", "workingDirectory", "executionTimeout"];
  const unknown = Object.keys(parameters).filter((key) => !known.includes(key));
  if (unknown.length > 0 || (parameters.commands ?? []).length === 0) {
    const message =
      unknown.length > 0
        ? `Invalid parameters provided. Parameter ${unknown.join(", ")} is not defined in the document.`
        : 'Parameter "commands" requires argument of type ["String"]';
    throw new AwsError("InvalidParameters", message);
  }
  return parameters;
}

function checkInstanceIds({ InstanceIds = [], TimeoutSeconds }: ssm.SendCommandCommandInput): readonly string[] {
  if (InstanceIds.length === 0) throw new AwsError("InvalidInstanceId", "The request names no instance");
  if (InstanceIds.length > MAX_INSTANCES) throw invalid("instanceIds", `length less than or equal to ${MAX_INSTANCES}`);
  if (new Set(InstanceIds).size < InstanceIds.length) throw new AwsError("DuplicateInstanceId", "");
  if (TimeoutSeconds !== undefined && (TimeoutSeconds < 30 || TimeoutSeconds > 2_592_000)) {
    throw invalid("timeoutSeconds", "value between 30 and 2592000");
  }
  return InstanceIds;
}

function invalid(member: string, constraint: string): AwsError {
  const message = `1 validation error detected: Value at '${member}' failed to satisfy constraint: Member must have ${constraint}`;
  return new AwsError("ValidationException", message);
}

/** 1 to 172800 seconds, by the document. */
function executionSeconds(parameters: Readonly<Record<string, string[]>>): number {
  const given = parameters.executionTimeout?.[0];
  if (given === undefined) return DEFAULT_EXECUTION_SECONDS;
  const seconds = Number(given);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 172_800) return seconds;
  throw new AwsError("InvalidParameters", `Parameter "executionTimeout" has the invalid value ${given}`);
}

function newInvocation(instanceId: string): Invocation {
  return {
    instanceId,
    status: "Pending",
    details: "Pending",
    responseCode: -1,
    stdout: "",
    stderr: "",
    started: undefined,
    ended: undefined,
    process: undefined,
    cancelled: false,
  };
}

function setStatus(invocation: Invocation, status: Status, details: string): void {
  invocation.status = status;
  invocation.details = details;
}

/** Where the agent puts it. Removed after the run, so that it is in no later snapshot. */
async function writeScript(
  volume: string,
  command: Command,
  { instanceId }: Invocation,
): Promise<{ inside: string; outside: string }> {
  const folder = path.join(AGENT_FOLDER, instanceId, "document", "orchestration", command.id);
  const outside = path.join(volume, folder);
  await fs.mkdir(outside, { recursive: true });
  const file = path.join(outside, "_script.sh");
  await fs.writeFile(file, `${(command.parameters.commands ?? []).join("\n")}\n`, { mode: 0o700 });
  return { inside: `/${folder}/_script.sh`, outside };
}

function cut(text: string, limit: number): string {
  return text.length <= limit ? text : text.slice(0, limit - CUT.length) + CUT;
}

function page<T>(
  items: readonly T[],
  { MaxResults, NextToken }: { MaxResults?: number | undefined; NextToken?: string | undefined },
): { items: T[]; NextToken: string | undefined } {
  if (MaxResults !== undefined && (MaxResults < 1 || MaxResults > PAGE)) {
    throw invalid("maxResults", `value between 1 and ${PAGE}`);
  }
  const start = NextToken === undefined ? 0 : Number(NextToken);
  if (!Number.isInteger(start)) throw new AwsError("InvalidNextToken", "The specified token is not valid.");
  const end = start + (MaxResults ?? PAGE);
  return { items: items.slice(start, end), NextToken: end < items.length ? String(end) : undefined };
}

/** A command's status follows from those of its invocations. */
function commandStatus({ invocations }: Command): ssm.CommandStatus {
  const statuses = new Set(invocations.map(({ status }) => status));
  const order = ["Cancelling", "InProgress", "Pending", "TimedOut", "Failed", "Cancelled"] as const;
  return order.find((status) => statuses.has(status)) ?? "Success";
}

function describeCommand(command: Command): ssm.Command {
  const status = commandStatus(command);
  const over = command.invocations.filter((invocation) => OVER.has(invocation.status));
  const count = (wanted: Status): number => over.filter((invocation) => invocation.status === wanted).length;
  return {
    CommandId: command.id,
    DocumentName: command.documentName,
    DocumentVersion: "$DEFAULT",
    Comment: command.comment,
    Parameters: { ...command.parameters },
    InstanceIds: command.invocations.map(({ instanceId }) => instanceId),
    Targets: [],
    RequestedDateTime: command.requested,
    ExpiresAfter: new Date(command.requested.getTime() + (command.timeoutSeconds + command.executionSeconds) * 1000),
    Status: status,
    StatusDetails: status,
    MaxConcurrency: "50",
    MaxErrors: "0",
    TargetCount: command.invocations.length,
    CompletedCount: over.length,
    ErrorCount: count("Failed"),
    DeliveryTimedOutCount: command.invocations.filter(({ details }) => details === "DeliveryTimedOut").length,
    TimeoutSeconds: command.timeoutSeconds,
    OutputS3BucketName: "",
    OutputS3KeyPrefix: "",
  };
}

function describeResult(
  command: Command,
  invocation: Invocation,
): Omit<ssm.GetCommandInvocationCommandOutput, "$metadata"> {
  const over = invocation.ended;
  const stamp = (date: Date | undefined): string => date?.toISOString() ?? "";
  const elapsed = invocation.started && over ? (over.getTime() - invocation.started.getTime()) / 1000 : undefined;
  return {
    CommandId: command.id,
    InstanceId: invocation.instanceId,
    Comment: command.comment,
    DocumentName: command.documentName,
    DocumentVersion: "$DEFAULT",
    PluginName: "aws:runShellScript",
    ResponseCode: invocation.responseCode,
    ExecutionStartDateTime: stamp(invocation.started),
    ExecutionElapsedTime: elapsed === undefined ? "" : `PT${elapsed}S`,
    ExecutionEndDateTime: stamp(over),
    Status: invocation.status,
    StatusDetails: invocation.details,
    StandardOutputContent: invocation.stdout,
    StandardOutputUrl: "",
    StandardErrorContent: invocation.stderr,
    StandardErrorUrl: "",
  };
}
