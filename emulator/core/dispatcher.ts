import { randomUUID } from "node:crypto";
import { setImmediate as immediate } from "node:timers/promises";
import {
  AwsError,
  type Call,
  type Cloud,
  notImplemented,
  type Operation,
  type Principal,
  type RolePolicies,
  type Service,
} from "./definitions";
import { faulty } from "./faulty-call";
import { type AuthorizationRequest, type Decision, evaluate, type RequestContext } from "./iam";
import { modelOf, type OperationModel, type ServiceModel } from "./model";
import type { Recorder } from "./recorder";
import { copy, type Honoured, honouredTree, shapeProblems, unhonoured } from "./shapes";
import { type Wire, wireOf } from "./wire/wire";

/** A service with what is derived from its definition. */
export class InstalledService {
  readonly wire: Wire;
  readonly operations: ReadonlyMap<string, InstalledOperation>;

  constructor(readonly service: Service) {
    this.wire = wireOf(service.protocol, service.signingName);
    this.operations = new Map(
      service.operations.map((operation) => [operation.name, { operation, honoured: honouredTree(operation.honours) }]),
    );
  }

  /** Loaded at the first call: the clients, whose schemas these are, would take half of the emulator's start. */
  get model(): ServiceModel {
    return modelOf(this.service.model);
  }
}

interface InstalledOperation {
  readonly operation: Operation;
  readonly honoured: Honoured;
}

/** What the dispatcher is told of a call beyond the call itself. */
export interface Circumstances {
  readonly requestId?: string;
  /** Resolves when nobody waits for the answer any more. */
  readonly gone?: () => Promise<void>;
}

const never = (): Promise<void> => new Promise(() => undefined);

/** Everything that every call goes through, whether it comes by wire or from inside. */
export class Dispatcher {
  private readonly byName = new Map<string, InstalledService>();
  private readonly byNamespace = new Map<string, InstalledService>();

  constructor(
    private readonly cloud: Cloud,
    private readonly recorder: Recorder,
  ) {}

  install(service: Service): void {
    this.byName.set(service.signingName, new InstalledService(service));
  }

  get services(): readonly InstalledService[] {
    return [...this.byName.values()];
  }

  /** By the name in credentials' scope. */
  serviceNamed(signingName: string): InstalledService {
    const service = this.byName.get(signingName);
    if (!service) throw notImplemented(`the service ${signingName}`);
    return service;
  }

  /** Loads the models one by one, and lets whatever waits have its turn between them. */
  async warmUp(): Promise<void> {
    for (const service of this.services) {
      await immediate();
      this.byNamespace.set(service.model.namespace, service);
    }
  }

  /** The service and operation that an SDK command is for. */
  commandTarget(command: object): { readonly service: InstalledService; readonly name: string } {
    // A command carries the schema of its operation: [9, namespace, name, ...].
    const schema = (command as { readonly schema?: readonly unknown[] }).schema;
    if (!Array.isArray(schema)) throw new Error("Only commands of @aws-sdk clients can be sent");
    const [, namespace, name] = schema as [number, string, string];
    const service = this.byNamespace.get(namespace) ?? this.services.find(({ model }) => model.namespace === namespace);
    if (!service) throw notImplemented(`${namespace}: ${name}`);
    this.byNamespace.set(namespace, service);
    return { service, name };
  }

  async dispatch(
    service: InstalledService,
    model: OperationModel,
    input: Record<string, unknown>,
    principal: Principal,
    { requestId = randomUUID(), gone = never }: Circumstances = {},
  ): Promise<Record<string, unknown>> {
    const own = copy(input);
    const at = this.cloud.clock.now();
    const { signingName } = service.service;
    const record = { service: signingName, operation: model.name, input: own, principal, at };
    try {
      const output = await this.handle(service, model, own, { cloud: this.cloud, principal, requestId }, gone);
      this.recorder.add(record);
      return output;
    } catch (error) {
      const known = asAwsError(error);
      this.recorder.add({ ...record, error: { code: known.code, message: known.message } });
      throw known;
    }
  }

  private async handle(
    service: InstalledService,
    model: OperationModel,
    input: Record<string, unknown>,
    call: Call,
    gone: () => Promise<void>,
  ): Promise<Record<string, unknown>> {
    const installed = service.operations.get(model.name);
    if (!installed) throw notImplemented(`${service.service.signingName}: ${model.name}`);
    const { operation, honoured } = installed;
    const refused = unhonoured(input, model.input, honoured);
    if (refused !== undefined) throw notImplemented(`${model.name}.${refused}`);
    validate(service.wire, model, input);
    await this.authorize(service.wire, operation, input, call);
    const { signingName } = service.service;
    const handle = async (): Promise<Record<string, unknown>> =>
      copy(await operation.handle(input, call)) as Record<string, unknown>;
    const at = { service: signingName, operation: model.name, principal: call.principal.arn, input };
    const fault = this.cloud.faults.at("call", at);
    return fault ? faulty(fault, { wire: service.wire, clock: this.cloud.clock, input, handle, gone }) : handle();
  }

  private async authorize(wire: Wire, operation: Operation, input: object, call: Call): Promise<void> {
    for (const access of await operation.authorize(input, call)) {
      const { principal } = call;
      const decision = evaluate({
        principal,
        account: this.cloud.account,
        action: access.action,
        resource: access.resource,
        context: { ...globalContext(this.cloud, principal), ...access.context },
        ...permissionsOf(this.cloud, principal),
        resourcePolicy: access.resourcePolicy,
        resourcePolicyRequired: access.resourcePolicyRequired,
      });
      if (!decision.allowed) throw denied(wire, principal, access, decision);
    }
  }
}

function validate(wire: Wire, model: OperationModel, input: Record<string, unknown>): void {
  const [problem] = shapeProblems(model.input, input);
  if (!problem) return;
  const { code, message } = wire.missingMember;
  if (problem.kind === "missing") throw new AwsError(code, message(problem.path));
  throw new AwsError("SerializationException", `${model.name}.${problem.path} is not ${problem.expected}`);
}

/** The condition keys that every request has. The loopback stands for TLS: nothing on it leaves the machine. */
export function globalContext(cloud: Cloud, principal: Principal): RequestContext {
  const now = cloud.clock.now();
  const byService = principal.kind === "service";
  return {
    "aws:SecureTransport": "true",
    "aws:RequestedRegion": cloud.region,
    "aws:CurrentTime": now.toISOString(),
    "aws:EpochTime": String(Math.floor(now.getTime() / 1000)),
    "aws:PrincipalIsAWSService": String(byService),
    "aws:ViaAWSService": "false",
    "aws:ResourceAccount": cloud.account,
    ...(byService
      ? { "aws:PrincipalServiceName": principal.arn, "aws:SourceAccount": cloud.account }
      : {
          "aws:PrincipalArn": principal.roleArn ?? principal.arn,
          "aws:PrincipalAccount": cloud.account,
          "aws:PrincipalType": principal.kind === "root" ? "Account" : "AssumedRole",
        }),
  };
}

/**
 * A role has what its policies give within its permissions boundary, and nothing once it is deleted. The account's root
 * and services acting for themselves need no identity policy; a resource's policy may still deny them.
 */
export function permissionsOf(
  cloud: Cloud,
  { kind, roleArn = "" }: Principal,
): Pick<AuthorizationRequest, "identityPolicies" | "permissionsBoundary"> {
  if (kind !== "assumed-role") return {};
  const roles = rolePolicies(cloud);
  return { identityPolicies: roles.policiesOf(roleArn) ?? [], permissionsBoundary: roles.boundaryOf(roleArn) };
}

export function rolePolicies(cloud: Cloud): RolePolicies {
  const { iam } = cloud.stores as { readonly iam?: RolePolicies };
  if (!iam) throw notImplemented("the service iam, which knows the policies of roles");
  return iam;
}

function denied(
  wire: Wire,
  principal: Principal,
  access: { readonly action: string; readonly resource: string },
  decision: Extract<Decision, { allowed: false }>,
): AwsError {
  const on = access.resource === "*" ? "" : ` on resource: ${access.resource}`;
  const what = `User: ${principal.arn} is not authorized to perform: ${access.action}${on} ${decision.reason}`;
  const { code, status } = wire.denied;
  const message = code === "UnauthorizedOperation" ? `You are not authorized to perform this operation. ${what}` : what;
  return new AwsError(code, message, status);
}

/** What is not an AWS error is a fault of the emulator, and says so. */
export function asAwsError(error: unknown): AwsError {
  if (error instanceof AwsError) return error;
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new AwsError("InternalFailure", `The emulator failed: ${message}`, 500);
}
