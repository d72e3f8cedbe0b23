/**
 * The instance metadata service, version 2: a token first, then paths. Each instance has its own, on the instance's
 * loopback address; inside, its gate shows it at 169.254.169.254. The hop limit is told and changes nothing: there is
 * no hop between an instance and its metadata here.
 */
import { randomBytes } from "node:crypto";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import type { Cloud, Credentials, Principal } from "../../../core/definitions";
import type { Place } from "../../../machines/gate";
import type { InstanceRecord } from "../store";

const TOKEN_HEADER = "x-aws-ec2-metadata-token";
const TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds";
const MAX_TTL_SECONDS = 21_600;
const CREDENTIALS_LIFETIME_SECONDS = 6 * 3600;
/** New credentials are there at least five minutes before the old ones expire. */
const RENEWAL_SECONDS = 300;

type Reply = readonly [status: number, body: string, headers?: http.OutgoingHttpHeaders];

export class MetadataServer {
  private readonly tokens = new Map<string, number>();
  private readonly server = http.createServer((request, response) => this.answer(request, response));
  private credentials: Credentials | undefined;

  constructor(
    private readonly cloud: Cloud,
    private readonly instance: InstanceRecord,
    private readonly userData: string | undefined,
    private readonly principal: Principal | undefined,
  ) {}

  /** Starts to listen; tells where. */
  async listen(): Promise<Place> {
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(0, this.instance.address, resolve);
    });
    const { address, port } = this.server.address() as AddressInfo;
    return { address, port };
  }

  close(): Promise<void> {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  private answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const path = (request.url ?? "/").replace(/\/$/, "");
    const [status, body, headers] = this.reply(path, request);
    const type = body.startsWith("{") ? "application/json" : "text/plain";
    response.writeHead(status, { "content-type": type, ...headers }).end(body);
  }

  private reply(path: string, request: http.IncomingMessage): Reply {
    if (this.instance.metadataEndpoint === "disabled") return [403, ""];
    return request.method === "PUT" ? this.issueToken(path, request) : this.read(path, request);
  }

  private issueToken(path: string, request: http.IncomingMessage): Reply {
    const ttl = Number(request.headers[TTL_HEADER]);
    if (path !== "/latest/api/token") return [404, ""];
    // As on AWS: a request that came through a proxy gets no token.
    if (request.headers["x-forwarded-for"] !== undefined) return [403, ""];
    if (!Number.isInteger(ttl) || ttl < 1 || ttl > MAX_TTL_SECONDS) return [400, ""];
    const now = this.cloud.clock.now().getTime();
    for (const [token, expires] of this.tokens) if (expires <= now) this.tokens.delete(token);
    const token = randomBytes(40).toString("base64url");
    this.tokens.set(token, now + ttl * 1000);
    return [200, token, { [TTL_HEADER]: String(ttl) }];
  }

  private read(path: string, request: http.IncomingMessage): Reply {
    if (!this.isAuthorized(request)) return [401, ""];
    const found = this.documents()[path];
    const body = typeof found === "function" ? found() : found;
    return body === undefined ? [404, ""] : [200, body];
  }

  private isAuthorized(request: http.IncomingMessage): boolean {
    const token = request.headers[TOKEN_HEADER];
    if (token === undefined) return this.instance.metadataTokens === "optional";
    const expires = this.tokens.get(String(token));
    return expires !== undefined && expires > this.cloud.clock.now().getTime();
  }

  private documents(): Record<string, string | undefined | (() => string)> {
    const { instance } = this;
    const role = instance.profile?.roleArn.split("/").at(-1);
    const security = "/latest/meta-data/iam/security-credentials";
    return {
      "/latest/meta-data/ami-id": instance.imageId,
      "/latest/meta-data/instance-id": instance.id,
      "/latest/meta-data/instance-type": instance.instanceType,
      "/latest/meta-data/hostname": instance.privateDnsName,
      "/latest/meta-data/local-hostname": instance.privateDnsName,
      "/latest/meta-data/local-ipv4": instance.privateIp,
      "/latest/meta-data/public-ipv4": instance.hasPublicIp ? instance.address : undefined,
      "/latest/meta-data/placement/availability-zone": instance.zone,
      "/latest/meta-data/placement/region": this.cloud.region,
      "/latest/dynamic/instance-identity/document": () => this.identityDocument(),
      "/latest/user-data": this.userData,
      ...(role === undefined ? {} : { [security]: role, [`${security}/${role}`]: () => this.roleCredentials() }),
    };
  }

  private identityDocument(): string {
    const { instance, cloud } = this;
    return JSON.stringify({
      accountId: cloud.account,
      architecture: "x86_64",
      availabilityZone: instance.zone,
      imageId: instance.imageId,
      instanceId: instance.id,
      instanceType: instance.instanceType,
      pendingTime: instance.launchTime.toISOString(),
      privateIp: instance.privateIp,
      region: cloud.region,
      version: "2017-09-30",
    });
  }

  private roleCredentials(): string {
    const now = this.cloud.clock.now();
    const left = (this.credentials?.expiration.getTime() ?? 0) - now.getTime();
    if (this.principal === undefined) return JSON.stringify({ Code: "AssumeRoleUnauthorizedAccess" });
    if (this.credentials === undefined || left < RENEWAL_SECONDS * 1000) {
      this.credentials = this.cloud.issueCredentials(this.principal, CREDENTIALS_LIFETIME_SECONDS);
    }
    return JSON.stringify({
      Code: "Success",
      LastUpdated: now.toISOString(),
      Type: "AWS-HMAC",
      AccessKeyId: this.credentials.accessKeyId,
      SecretAccessKey: this.credentials.secretAccessKey,
      Token: this.credentials.sessionToken,
      Expiration: this.credentials.expiration.toISOString(),
    });
  }
}
