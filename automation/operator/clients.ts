/**
 * The official clients under the operator's own credentials, each made when it is first needed. They are closed at the
 * end, because their kept-alive connections would keep the process.
 */
import { CodeBuildClient } from "@aws-sdk/client-codebuild";
import { EC2Client } from "@aws-sdk/client-ec2";
import { S3Client } from "@aws-sdk/client-s3";
import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SSMClient } from "@aws-sdk/client-ssm";
import { STSClient } from "@aws-sdk/client-sts";

export class OperatorClients {
  private readonly made = new Map<new (settings: object) => { destroy(): void }, { destroy(): void }>();

  get codeBuild(): CodeBuildClient {
    return this.once(CodeBuildClient);
  }

  get ec2(): EC2Client {
    return this.once(EC2Client);
  }

  get s3(): S3Client {
    return this.once(S3Client);
  }

  get secrets(): SecretsManagerClient {
    return this.once(SecretsManagerClient);
  }

  get ssm(): SSMClient {
    return this.once(SSMClient);
  }

  get sts(): STSClient {
    return this.once(STSClient);
  }

  close(): void {
    for (const client of this.made.values()) client.destroy();
  }

  private once<C extends { destroy(): void }>(Client: new (settings: object) => C): C {
    const known = this.made.get(Client) ?? new Client({});
    this.made.set(Client, known);
    return known as C;
  }
}
