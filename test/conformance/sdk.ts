/** The official SDK for JavaScript, called by the names of services and operations: what another client is compared with. */
import * as monitoring from "@aws-sdk/client-cloudwatch";
import * as logs from "@aws-sdk/client-cloudwatch-logs";
import * as codebuild from "@aws-sdk/client-codebuild";
import * as codepipeline from "@aws-sdk/client-codepipeline";
import * as ec2 from "@aws-sdk/client-ec2";
import * as events from "@aws-sdk/client-eventbridge";
import * as iam from "@aws-sdk/client-iam";
import * as rds from "@aws-sdk/client-rds";
import * as s3 from "@aws-sdk/client-s3";
import * as scheduler from "@aws-sdk/client-scheduler";
import * as secretsmanager from "@aws-sdk/client-secrets-manager";
import * as ssm from "@aws-sdk/client-ssm";
import * as sts from "@aws-sdk/client-sts";
import type { Emulator } from "../../emulator/emulator";
import { clientSettings, type ClientSettings } from "../emulator/support";
import type { Answer } from "./support";

interface AnyClient {
  send(command: object): Promise<Record<string, unknown>>;
  destroy(): void;
}

type Settings = new (settings: ClientSettings) => unknown;

/** By boto3's names of services. */
const services: Readonly<Record<string, readonly [object, Settings]>> = {
  cloudwatch: [monitoring, monitoring.CloudWatchClient],
  logs: [logs, logs.CloudWatchLogsClient],
  codebuild: [codebuild, codebuild.CodeBuildClient],
  codepipeline: [codepipeline, codepipeline.CodePipelineClient],
  ec2: [ec2, ec2.EC2Client],
  events: [events, events.EventBridgeClient],
  iam: [iam, iam.IAMClient],
  rds: [rds, rds.RDSClient],
  s3: [s3, s3.S3Client],
  scheduler: [scheduler, scheduler.SchedulerClient],
  secretsmanager: [secretsmanager, secretsmanager.SecretsManagerClient],
  ssm: [ssm, ssm.SSMClient],
  sts: [sts, sts.STSClient],
};

export class Sdk {
  private readonly clients = new Map<string, AnyClient>();

  constructor(private readonly emulator: Emulator) {}

  close(): void {
    for (const client of this.clients.values()) client.destroy();
  }

  async try(service: string, operation: string, input: object): Promise<Answer> {
    const [module, Client] = services[service] ?? [];
    if (module === undefined || Client === undefined) throw new Error(`there is no client of ${service}`);
    const client = this.clients.get(service) ?? (new Client(clientSettings(this.emulator)) as AnyClient);
    this.clients.set(service, client);
    const Command = (module as Record<string, new (input: object) => object>)[`${operation}Command`];
    if (Command === undefined) throw new Error(`${service} has no operation ${operation}`);
    try {
      return { output: await plain(await client.send(new Command(input))) };
    } catch (error) {
      const { name, Code, $metadata } = error as {
        name: string;
        Code?: string;
        $metadata?: { httpStatusCode?: number };
      };
      if ($metadata?.httpStatusCode === undefined) throw error;
      // The class of an error may have another name than what is on the wire.
      return { refusal: { code: Code ?? name, status: $metadata.httpStatusCode } };
    }
  }
}

/** As the bridge to boto3 writes it: times as milliseconds, bytes as base64. */
async function plain(value: unknown): Promise<unknown> {
  if (value instanceof Date) return value.getTime();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return Promise.all(value.map(plain));
  if (typeof value !== "object" || value === null) return value;
  if ("transformToString" in value && typeof value.transformToString === "function") {
    return (value.transformToString as (encoding: string) => Promise<string>)("base64");
  }
  const entries = Object.entries(value).filter(([name, each]) => name !== "$metadata" && each !== undefined);
  return Object.fromEntries(await Promise.all(entries.map(async ([name, each]) => [name, await plain(each)] as const)));
}
