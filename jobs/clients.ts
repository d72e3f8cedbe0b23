/** AWS clients, each loaded when it is first used: a job that asks one service does not pay for six. */
import type { CloudWatchClient } from "@aws-sdk/client-cloudwatch";
import type { CodeBuildClient } from "@aws-sdk/client-codebuild";
import type { CodePipelineClient } from "@aws-sdk/client-codepipeline";
import type { EC2Client } from "@aws-sdk/client-ec2";
import type { S3Client } from "@aws-sdk/client-s3";
import type { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import type { SSMClient } from "@aws-sdk/client-ssm";

export interface Clients {
  cloudwatch(): Promise<CloudWatchClient>;
  codebuild(): Promise<CodeBuildClient>;
  codepipeline(): Promise<CodePipelineClient>;
  ec2(): Promise<EC2Client>;
  s3(): Promise<S3Client>;
  secrets(): Promise<SecretsManagerClient>;
  ssm(): Promise<SSMClient>;
}

/** Throttling and lost connections are part of the day; the SDK's back-off covers about half a minute of them. */
const maxAttempts = 6;

export function createClients(region: string): Clients {
  const settings = { region, maxAttempts };
  return {
    cloudwatch: once(async () => new (await import("@aws-sdk/client-cloudwatch")).CloudWatchClient(settings)),
    codebuild: once(async () => new (await import("@aws-sdk/client-codebuild")).CodeBuildClient(settings)),
    codepipeline: once(async () => new (await import("@aws-sdk/client-codepipeline")).CodePipelineClient(settings)),
    ec2: once(async () => new (await import("@aws-sdk/client-ec2")).EC2Client(settings)),
    s3: once(async () => new (await import("@aws-sdk/client-s3")).S3Client(settings)),
    secrets: once(async () => new (await import("@aws-sdk/client-secrets-manager")).SecretsManagerClient(settings)),
    ssm: once(async () => new (await import("@aws-sdk/client-ssm")).SSMClient(settings)),
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** The service's code of an error, such as `InvalidParameterValue`. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const code = (error as { Code?: unknown }).Code;
  return typeof code === "string" ? code : error.name;
}
