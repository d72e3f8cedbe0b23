/**
 * The official clients, as the environment says: AWS_REGION, the credentials' chain, AWS_ENDPOINT_URL. Made once, and
 * closed at the end, because their kept-alive connections would keep the process.
 */
import { CodeBuildClient } from "@aws-sdk/client-codebuild";
import { CodePipelineClient } from "@aws-sdk/client-codepipeline";
import { CloudWatchLogsClient } from "@aws-sdk/client-cloudwatch-logs";
import { EC2Client } from "@aws-sdk/client-ec2";
import { IAMClient } from "@aws-sdk/client-iam";
import { S3Client } from "@aws-sdk/client-s3";
import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SSMClient } from "@aws-sdk/client-ssm";

export class Clients {
  readonly codeBuild = new CodeBuildClient({});
  readonly codePipeline = new CodePipelineClient({});
  readonly ec2 = new EC2Client({});
  readonly iam = new IAMClient({});
  readonly logs = new CloudWatchLogsClient({});
  readonly s3 = new S3Client({});
  readonly secrets = new SecretsManagerClient({});
  readonly ssm = new SSMClient({});

  close(): void {
    const all = [this.codeBuild, this.codePipeline, this.ec2, this.iam, this.logs, this.s3, this.secrets, this.ssm];
    for (const client of all) client.destroy();
  }
}
