/**
 * The vocabulary in which services are written. A service lists operations and resources; the core does everything
 * that all of them share: the wire protocols, the identity of the caller, IAM, recording, the refusal of members that
 * a handler does not honour, and the Pulumi provider.
 */

import type { IncomingMessage, ServerResponse } from "node:http";

/** Who is calling. */
export interface Principal {
  readonly kind: "root" | "assumed-role" | "service";
  /** What `GetCallerIdentity` would answer, or the service's name for a service. */
  readonly arn: string;
  /** The role whose policies decide, for `assumed-role`. */
  readonly roleArn?: string;
}

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiration: Date;
}

/** One statement's worth of permission that a call needs. All of them must be allowed. */
export interface Access {
  /** For example `s3:PutObject`. */
  readonly action: string;
  /** The ARN, or `*` where the action has no resource. */
  readonly resource: string;
  /** Condition keys of this request, lower case not needed: keys compare without case. */
  readonly context?: Readonly<Record<string, string | readonly string[]>>;
  /** The policy attached to the resource itself (bucket, secret), as its JSON text. */
  readonly resourcePolicy?: string | undefined;
  /** The resource's policy must admit the caller too, as a role's trust policy must for `sts:AssumeRole`. */
  readonly resourcePolicyRequired?: boolean;
}

/** One call of one operation. */
export interface Call {
  readonly cloud: Cloud;
  readonly principal: Principal;
  readonly requestId: string;
}

/**
 * One operation of a service.
 * `honours` lists the input members that the handler acts on, as dotted paths; lists are transparent. `"source"`
 * honours everything below `source`, `"source.type"` only that. Anything else that a caller sets is answered with
 * `NotImplemented: Operation.member` (HTTP 501), because an ignored input would be a lie.
 */
export interface Operation<I extends object = object, O extends object = object> {
  readonly name: string;
  readonly honours: readonly string[];
  /** What IAM must allow. Runs before the handler; may look at state. An empty list needs no permission. */
  readonly authorize: (input: I, call: Call) => readonly Access[] | Promise<readonly Access[]>;
  readonly handle: (input: I, call: Call) => O | Promise<O>;
}

/** Declares an operation with the input and output types of the official SDK's command. */
export function operation<I extends object, O extends object>(
  definition: Operation<I, Omit<O, "$metadata">>,
): Operation {
  return definition as unknown as Operation;
}

export type Protocol = "awsJson1_1" | "awsJson1_0" | "awsQuery" | "ec2Query" | "restXml" | "restJson1";

export interface Service {
  /** The name in credentials' scope: `s3`, `codebuild`, `monitoring`, ... */
  readonly signingName: string;
  readonly protocol: Protocol;
  /** The SDK client's module, whose schemas (`StartBuild$`, ...) describe the wire. */
  readonly model: object;
  readonly operations: readonly Operation[];
  readonly resources: readonly ResourceDefinition[];
  readonly invokes: readonly InvokeDefinition[];
}

/** An AWS error: its code and message are what the service documents. */
export class AwsError extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** HTTP status. */
    readonly status: number = 400,
    /** Further members of a modelled error. */
    readonly members: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
    this.name = code;
  }
}

/** What the emulator does not have. */
export function notImplemented(what: string): AwsError {
  return new AwsError("NotImplemented", `NotImplemented: ${what}`, 501);
}

export interface Clock {
  now(): Date;
  /** Resolves after that time on this clock, or rejects when the emulator closes. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

/** An event as EventBridge sees it. */
export interface CloudEvent {
  readonly source: string;
  readonly detailType: string;
  readonly detail: object;
  readonly resources?: readonly string[];
}

/**
 * What a service knows of another service's state beyond its API. Each service adds its own member by declaration
 * merging, and sets it when it is installed. Prefer {@link Cloud.send}: it goes through IAM and is recorded.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type
export interface Stores {}

/**
 * What the core asks of IAM. The store that IAM sets as `stores.iam` has these methods.
 * All answer undefined when there is no such role.
 */
export interface RolePolicies {
  /** The JSON texts of all policies attached to the role, inline and managed. */
  policiesOf(roleArn: string): readonly string[] | undefined;
  /** The JSON text of the role's permissions boundary; undefined also when it has none. */
  boundaryOf(roleArn: string): string | undefined;
  /** The JSON text of the role's trust policy. */
  trustPolicyOf(roleArn: string): string | undefined;
}

/** Where a process finds its credentials, as containers on AWS do. */
export interface CredentialsEndpoint {
  readonly AWS_CONTAINER_CREDENTIALS_FULL_URI: string;
  readonly AWS_CONTAINER_AUTHORIZATION_TOKEN: string;
}

/** Answers requests below a private path. What it throws becomes a JSON error `{ code, message }`. */
export type RouteHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  principal: Principal,
) => void | Promise<void>;

/** The embedded cloud, as services see it: one account in one Region. */
export interface Cloud {
  readonly account: string;
  readonly region: string;
  readonly partition: "aws";
  /** A folder of its own that goes away with the emulator. */
  readonly directory: string;
  /** `http://127.0.0.1:<port>`; known once the emulator listens. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly stores: Stores;
  /** Calls an operation in-process, as that principal: IAM decides, and the call is recorded. */
  send<I extends object, O extends object>(
    principal: Principal,
    command: { readonly input: I; readonly constructor: { readonly name: string } } & PhantomOutput<O>,
  ): Promise<O>;
  /** The principal of a role's session. Checks that the role exists and that its trust policy admits the service. */
  assumeRole(roleArn: string, sessionName: string, service: string, context?: Access["context"]): Principal;
  /** Access keys with which a process calls back as this principal. */
  issueCredentials(principal: Principal, lifetimeSeconds: number): Credentials;
  /**
   * Variables with which a process fetches its own credentials again and again, an hour's worth each time. Unless
   * ended by the returned function, the endpoint lives as long as the emulator.
   */
  credentialsEndpoint(principal: Principal): CredentialsEndpoint & { end(): void };
  /** The principal of an access key that this emulator issued and that has not expired. */
  principalOf(accessKeyId: string): Principal | undefined;
  /** Serves what is below `/_<name>/` (prefix with both slashes). The caller is known by its access key, as in AWS calls. */
  route(prefix: string, handler: RouteHandler): void;
  /** Publishes a state change. In-process listeners hear it first, then EventBridge's rules. */
  emit(event: CloudEvent): void;
  /** Hears every event; returns the function that ends that. */
  listen(listener: (event: CloudEvent) => void): () => void;
  readonly network: Network;
  readonly faults: FaultSource;
  /** Keeps track of work that goes on after a call has been answered. Failures are recorded, never thrown. */
  background(what: string, work: Promise<unknown>): void;
  /** Runs when the emulator closes, last registered first. */
  onClose(work: () => Promise<void> | void): void;
}

/**
 * The places where a fault can strike, by name: what is known there (`facts`) and what can be made to happen (`effect`).
 * Whoever reaches such a place asks {@link FaultSource.at} and does what it is told.
 */
export interface FaultPoints {
  /** A call of an operation, by wire or from inside, after it was authorised and before its handler. The dispatcher asks. */
  call: {
    readonly facts: {
      /** The service's signing name. */
      readonly service: string;
      readonly operation: string;
      /** The caller's ARN, or the service's name for a service. */
      readonly principal: string;
      readonly input: object;
    };
    readonly effect: CallFault;
  };
  /** A build is about to enter a phase (`INSTALL`, `BUILD`, ...). */
  "codebuild.phase": {
    readonly facts: { readonly project: string; readonly build: string; readonly phase: string };
    readonly effect: BuildFault;
  };
  /** A build has written a line to its log. */
  "codebuild.log-line": {
    readonly facts: { readonly project: string; readonly build: string; readonly line: string };
    readonly effect: BuildFault;
  };
  /** A background job of Elastio is about to do its work. `operation` is for example `elastio:ec2-backup`. */
  "elastio.job": {
    readonly facts: { readonly job: string; readonly operation: string; readonly description: string };
    readonly effect: JobFault;
  };
  /** A snapshot has been started and is pending. */
  "ec2.snapshot": {
    readonly facts: { readonly snapshot: string; readonly volume: string };
    readonly effect: JobFault;
  };
  /** An event matched a rule and is about to be delivered to one of the rule's targets. */
  "events.delivery": {
    readonly facts: {
      readonly rule: string;
      readonly target: string;
      readonly source: string;
      readonly detailType: string;
      readonly detail: object;
    };
    readonly effect: DeliveryFault;
  };
}

/** What can go wrong with a call. */
export type CallFault =
  /** It is refused with this error, and nothing is done. The status is 400 unless given. */
  | { readonly kind: "error"; readonly code: string; readonly message?: string; readonly status?: number }
  /** It is refused as the service refuses a caller that asks too often. */
  | { readonly kind: "throttle" }
  /** Nothing is done and nothing answered until the fault is released; then it goes on. */
  | { readonly kind: "hang" }
  /** It is done that much later, on the emulator's clock. */
  | { readonly kind: "slow"; readonly milliseconds: number }
  /** It is done twice, one after the other, as when a client repeats a request; the second answer is given. */
  | { readonly kind: "twice" }
  /** It is done, and answered with a server's error, as when a reply gets lost. */
  | { readonly kind: "lost" };

/** A build ends at once, its processes killed, without any further phase. `FAULT` is what a lost host looks like. */
export type BuildFault = { readonly kind: "kill"; readonly status: "FAULT" | "STOPPED" | "TIMED_OUT" };

/** What can go wrong with work in the background. */
export type JobFault =
  /** It fails, with this reason. */
  | { readonly kind: "fail"; readonly message: string }
  /** It stays unfinished until the fault is released. */
  | { readonly kind: "hang" }
  /** It says that it has succeeded, and has kept nothing of what it was to keep. */
  | { readonly kind: "lie" };

/** "At least once" and "near real time": what that may mean. */
export type DeliveryFault = { readonly kind: "twice" } | { readonly kind: "late"; readonly milliseconds: number };

export type FaultPoint = keyof FaultPoints;

/** A fault that strikes here and now. */
export type Strike<P extends FaultPoint> = FaultPoints[P]["effect"] & {
  /** Resolves when the fault is released or taken away; rejects when the emulator closes. Hanging work waits for it. */
  readonly released: Promise<void>;
};

/** What can be broken from outside at any moment, by name, and what says which one. */
export interface Breakables {
  /** The network to a database instance: nothing that is sent arrives, in either direction, until it is mended. */
  "rds.network": { readonly instance: string };
}

/** What services see of faults. Tests and scenarios inject them through the emulator's `faults`. */
export interface FaultSource {
  /** What is to go wrong here, if anything. Costs nothing while no fault is injected. */
  at<P extends FaultPoint>(point: P, facts: FaultPoints[P]["facts"]): Strike<P> | undefined;
  /** Says how something is broken; what `breakIt` gives mends it again. Throws for what does not exist. */
  breakable<B extends keyof Breakables>(
    name: B,
    breakIt: (which: Breakables[B]) => (() => void | Promise<void>) | Promise<() => void | Promise<void>>,
  ): void;
}

/** Lets the output type of an SDK command be inferred from its `resolveMiddleware`. */
export interface PhantomOutput<O> {
  // Method syntax, with the SDK's own loose parameters.
  resolveMiddleware(stack: never, configuration: never, options?: never): (...args: never[]) => Promise<{ output: O }>;
}

/**
 * Addresses. Everything that listens gets a loopback address of its own (127.x.y.z, unique on this machine for the
 * emulator's lifetime) under its DNS name; builds and instances see the names in their /etc/hosts. A public IPv4
 * address of the emulator *is* that loopback address.
 */
export interface Network {
  allocate(dnsName: string): string;
  release(dnsName: string): void;
  /** Every name that is known now, with its address. */
  hosts(): Readonly<Record<string, string>>;
}

/** How one input of a resource behaves. */
export interface InputRule {
  /** Set when a change replaces the resource: where the provider's documentation says so. */
  readonly replaceOn?: string;
  /**
   * Set when the service changes it in place by an operation that the emulator does not have: which one. A change is
   * refused by name at preview.
   */
  readonly fixed?: string;
  /** The value is secret in state and output. */
  readonly secret?: boolean;
  /** The value is in no state and is not read back: a refresh takes it for what was given. */
  readonly writeOnly?: boolean;
  /** What the provider fills in when the program gives nothing. */
  readonly default?: unknown;
  /** The provider makes a unique name from the resource's own when the program gives none. */
  readonly autoname?: { readonly maxLength: number; readonly lowerCase?: boolean; readonly separator?: string };
}

export interface ResourceContext {
  readonly cloud: Cloud;
  /** Who runs `pulumi up`. */
  readonly principal: Principal;
  /** Calls an operation as the deployer. */
  send: <I extends object, O extends object>(
    command: { readonly input: I; readonly constructor: { readonly name: string } } & PhantomOutput<O>,
  ) => Promise<O>;
  /**
   * Says, while a resource is being created in several calls, that it exists from now on, and under which id. When a later
   * call fails, the resource is read, kept in the state as it then is, and updated the next time.
   */
  readonly made: (id: string) => void;
}

/** Property values as Pulumi gives them, secrets unwrapped, assets as {@link AssetValue}. */
export type Properties = Record<string, unknown>;

export interface ResourceState {
  readonly id: string;
  /** Inputs and outputs together: what programs read. */
  readonly outputs: Properties;
}

/** One Pulumi resource type, mapped onto the service's own operations. */
export interface ResourceDefinition {
  /** For example `aws:s3/bucket:Bucket`. */
  readonly type: string;
  /** The honoured inputs; any other is refused by name at preview. */
  readonly inputs: Readonly<Record<string, InputRule>>;
  /** Outputs that are secret. */
  readonly secretOutputs?: readonly string[];
  /** Outputs that may repeat what went in: they are secret as soon as any input is. */
  readonly secretWithInputs?: readonly string[];
  create(inputs: Properties, context: ResourceContext): Promise<ResourceState>;
  /** Reads the real state; undefined when the resource is gone. Also serves `get` and `refresh`. */
  read(id: string, state: Properties, context: ResourceContext): Promise<ResourceState | undefined>;
  /** In-place update; absent where no input can change in place. */
  update?(id: string, news: Properties, olds: Properties, context: ResourceContext): Promise<ResourceState>;
  delete(id: string, state: Properties, context: ResourceContext): Promise<void>;
}

export interface InvokeDefinition {
  /** For example `aws:index/getRegion:getRegion`. */
  readonly token: string;
  invoke(args: Properties, context: ResourceContext): Promise<Properties>;
}

/** An asset or archive input, ready to be read. */
export interface AssetValue {
  readonly kind: "asset" | "archive";
  /** The bytes; an archive as a zip with fixed dates, so equal contents give equal bytes. */
  bytes(): Promise<Buffer>;
  /** sha256 of the contents, as Pulumi gives it. */
  readonly hash: string;
}

/** What a service's `index.ts` exports. */
export type Install = (cloud: Cloud) => Service;
