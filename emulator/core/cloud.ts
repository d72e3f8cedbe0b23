import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { sdkStreamMixin } from "@smithy/core/serde";
import { Authenticator } from "./authentication";
import { EmulatorClock } from "./clock";
import { CredentialStore } from "./credentials";
import {
  AwsError,
  type Cloud,
  type CloudEvent,
  type Credentials,
  type CredentialsEndpoint,
  type PhantomOutput,
  type Principal,
  type RouteHandler,
  type Service,
  type Stores,
} from "./definitions";
import { asAwsError, Dispatcher, globalContext, rolePolicies } from "./dispatcher";
import { Faults } from "./faults";
import { evaluate, type RequestContext } from "./iam";
import type { LoopbackNetwork } from "./network";
import { Recorder } from "./recorder";
import { EmulatorServer } from "./server";

/** Something that failed with nobody waiting for it. */
export interface BackgroundFailure {
  readonly what: string;
  readonly error: AwsError;
}

/** How long closing waits for work in the background, in milliseconds. */
const closingDeadline = 10_000;
/** As long as AWS makes a role's credentials valid for a container. */
const containerCredentialsLifetime = 3600;
const failuresKept = 1_000;

/** The embedded cloud. */
export class EmbeddedCloud implements Cloud {
  readonly partition = "aws";
  readonly clock = new EmulatorClock();
  readonly stores = {} as Stores;
  readonly recorder = new Recorder();
  readonly faults: Faults;
  readonly dispatcher = new Dispatcher(this, this.recorder);
  readonly failures: BackgroundFailure[] = [];
  readonly administrator: Principal;
  private readonly credentials = new CredentialStore(this.clock);
  private readonly server: EmulatorServer;
  private readonly containers = new Map<string, Principal>();
  private readonly listeners = new Set<(event: CloudEvent) => void>();
  private readonly working = new Set<Promise<void>>();
  private readonly closers: (() => Promise<void> | void)[] = [];
  private port: number | undefined;
  private closing = false;

  constructor(
    readonly account: string,
    readonly region: string,
    readonly directory: string,
    readonly network: LoopbackNetwork,
    seed?: number,
  ) {
    this.faults = new Faults(seed);
    this.server = new EmulatorServer(this.dispatcher, new Authenticator(this.credentials, region));
    this.administrator = { kind: "root", arn: `arn:aws:iam::${account}:root` };
    this.server.openRoute("/_credentials/", (request, response) => this.serveCredentials(request, response));
  }

  get endpoint(): string {
    if (this.port === undefined) throw new Error("The emulator does not listen yet");
    return `http://127.0.0.1:${this.port}`;
  }

  install(service: Service): void {
    this.dispatcher.install(service);
  }

  /** Starts to listen. A port of 0 takes a free one. */
  async open(port: number): Promise<void> {
    this.port = await this.server.listen(port);
  }

  async send<I extends object, O extends object>(
    principal: Principal,
    command: { readonly input: I; readonly constructor: { readonly name: string } } & PhantomOutput<O>,
  ): Promise<O> {
    const { service, name } = this.dispatcher.commandTarget(command);
    const operation = service.model.operations.get(name);
    if (!operation) throw new Error(`${service.service.signingName} has no operation ${name}`);
    const output = await this.dispatcher.dispatch(
      service,
      operation,
      { ...command.input } as Record<string, unknown>,
      principal,
    );
    return readable(output) as O;
  }

  assumeRole(roleArn: string, sessionName: string, service: string, context: RequestContext = {}): Principal {
    const caller: Principal = { kind: "service", arn: service };
    const trust = rolePolicies(this).trustPolicyOf(roleArn);
    const decision =
      trust !== undefined &&
      evaluate({
        principal: caller,
        account: this.account,
        action: "sts:AssumeRole",
        resource: roleArn,
        context: { ...globalContext(this, caller), ...context },
        resourcePolicy: trust,
        resourcePolicyRequired: true,
      });
    if (!decision || !decision.allowed) {
      const message = `User: ${service} is not authorized to perform: sts:AssumeRole on resource: ${roleArn}`;
      throw new AwsError("AccessDenied", message, 403);
    }
    return this.sessionOf(roleArn, sessionName);
  }

  /** The principal of a session, without asking whether the role may be assumed. */
  sessionOf(roleArn: string, sessionName: string): Principal {
    const role = roleArn.slice(roleArn.lastIndexOf("/") + 1);
    const arn = `arn:aws:sts::${this.account}:assumed-role/${role}/${sessionName}`;
    return { kind: "assumed-role", arn, roleArn };
  }

  issueCredentials(principal: Principal, lifetimeSeconds: number): Credentials {
    return this.credentials.issue(principal, lifetimeSeconds);
  }

  /** Access keys that do not expire, for the account's administrator. */
  administratorKeys(): { readonly accessKeyId: string; readonly secretAccessKey: string } {
    return this.credentials.issuePermanent(this.administrator);
  }

  credentialsEndpoint(principal: Principal): CredentialsEndpoint & { end(): void } {
    const id = randomBytes(12).toString("hex");
    const token = randomBytes(24).toString("base64url");
    const key = `${id} ${token}`;
    this.containers.set(key, principal);
    return {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${this.endpoint}/_credentials/${id}`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: token,
      end: () => void this.containers.delete(key),
    };
  }

  principalOf(accessKeyId: string): Principal | undefined {
    const found = this.credentials.find(accessKeyId);
    return found === undefined || found === "expired" ? undefined : found.principal;
  }

  route(prefix: string, handler: RouteHandler): void {
    this.server.route(prefix, handler);
  }

  emit(event: CloudEvent): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(event);
      } catch (error) {
        this.recordFailure(`a listener to ${event.detailType}`, error);
      }
    }
  }

  listen(listener: (event: CloudEvent) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  background(what: string, work: Promise<unknown>): void {
    const tracked = work
      .then(
        () => undefined,
        (error: unknown) => this.recordFailure(what, error),
      )
      .finally(() => this.working.delete(tracked));
    this.working.add(tracked);
  }

  onClose(work: () => Promise<void> | void): void {
    this.closers.push(work);
  }

  /** Ends everything. Throws when something could not be ended, after having tried the rest. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    const attempt = async (work: () => Promise<void> | void): Promise<void> => {
      try {
        await work();
      } catch (error) {
        errors.push(error);
      }
    };
    this.closing = true;
    this.clock.close();
    await attempt(() => this.faults.close());
    for (const closer of this.closers.reverse()) await attempt(closer);
    this.closers.length = 0;
    await attempt(() => this.server.close());
    await attempt(() => this.settle());
    // Nobody is left who writes there.
    await attempt(() => rm(this.directory, { recursive: true, force: true }));
    await attempt(() => this.network.close());
    if (errors.length > 0) throw new AggregateError(errors, `The emulator did not close cleanly: ${messages(errors)}`);
  }

  private async settle(): Promise<void> {
    if (this.working.size === 0) return;
    const ended = Promise.all(this.working).then(() => true);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), closingDeadline);
    });
    const inTime = await Promise.race([ended, late]);
    clearTimeout(timer);
    if (!inTime) throw new Error(`Work in the background did not end within ${closingDeadline / 1000} s`);
  }

  private recordFailure(what: string, error: unknown): void {
    // A closing emulator interrupts what goes on: that is no failure.
    if (this.closing) return;
    if (this.failures.length >= failuresKept) this.failures.shift();
    this.failures.push({ what, error: asAwsError(error) });
  }

  private serveCredentials(request: IncomingMessage, response: ServerResponse): void {
    const id = (request.url ?? "").slice("/_credentials/".length);
    const principal = this.containers.get(`${id} ${request.headers.authorization ?? ""}`);
    if (!principal) throw new AwsError("AccessDenied", "No credentials for this token", 403);
    const issued = this.issueCredentials(principal, containerCredentialsLifetime);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(
      JSON.stringify({
        RoleArn: principal.roleArn,
        AccessKeyId: issued.accessKeyId,
        SecretAccessKey: issued.secretAccessKey,
        Token: issued.sessionToken,
        Expiration: issued.expiration.toISOString(),
      }),
    );
  }
}

function messages(errors: readonly unknown[]): string {
  return errors.map((error) => (error instanceof Error ? error.message : String(error))).join("; ");
}

/** A streamed member as the SDK gives it: with `transformToString` and the like. */
function readable(output: Record<string, unknown>): Record<string, unknown> {
  if (!(output.Body instanceof Readable) && !(output.Body instanceof Uint8Array)) return output;
  const stream = output.Body instanceof Readable ? output.Body : Readable.from([output.Body]);
  return { ...output, Body: sdkStreamMixin(stream) };
}
