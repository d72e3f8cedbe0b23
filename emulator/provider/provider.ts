import * as grpc from "@grpc/grpc-js";
import { ResourceProviderService } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as messages from "@pulumi/pulumi/proto/provider_pb";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { Status } from "@pulumi/pulumi/proto/status_pb";
import { Any } from "google-protobuf/google/protobuf/any_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import {
  AwsError,
  type InvokeDefinition,
  type Properties,
  type ResourceContext,
  type ResourceDefinition,
  type ResourceState,
} from "../core/definitions";
import { checkInputs } from "./check";
import { defaultsKey, diffInputs, observedInputs, type PropertyChange } from "./diff";
import { answering } from "./unary";
import { decode, type Decoded, encode, hasUnknown, type Path } from "./values";

/** A Pulumi provider made of resource descriptions. */
export interface ProviderOptions {
  /** For example `aws`. */
  readonly name: string;
  readonly version: string;
  readonly resources: readonly ResourceDefinition[];
  readonly invokes: readonly InvokeDefinition[];
  readonly context: Omit<ResourceContext, "made">;
  /** What a program may configure the provider with, and what it must then be. */
  readonly configuration: Readonly<Record<string, (value: string) => string | undefined>>;
  /** Called when the engine cancels: what goes on is to end soon. */
  readonly cancel?: () => void;
}

/** The largest message that the engine sends. */
const largestMessage = 400 * 1024 * 1024;

/** A provider that listens on a port of 127.0.0.1. */
export class ProviderServer {
  private readonly server: grpc.Server;
  private readonly resources: ReadonlyMap<string, ResourceDefinition>;
  private readonly invokes: ReadonlyMap<string, InvokeDefinition>;
  /** What resources get whose existence is no news. */
  private readonly context: ResourceContext;

  constructor(private readonly options: ProviderOptions) {
    this.context = { ...options.context, made: () => undefined };
    this.resources = new Map(options.resources.map((definition) => [definition.type, definition]));
    this.invokes = new Map(options.invokes.map((definition) => [definition.token, definition]));
    this.server = new grpc.Server({
      "grpc.max_receive_message_length": largestMessage,
      "grpc.max_send_message_length": largestMessage,
    });
    this.server.addService(ResourceProviderService, this.methods());
  }

  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
  }

  close(): void {
    this.server.forceShutdown();
  }

  private methods(): grpc.UntypedServiceImplementation {
    return {
      handshake: answer(() => this.handshake()),
      attach: answer(() => new Empty()),
      cancel: answer(() => this.cancel()),
      getPluginInfo: answer(() => pluginInfo(this.options.version)),
      checkConfig: answer((request: messages.CheckRequest) => this.checkConfig(request)),
      diffConfig: answer(() => diffResponse([], [], false)),
      configure: answer(() => configureResponse()),
      check: answer((request: messages.CheckRequest) => this.check(request)),
      diff: answer((request: messages.DiffRequest) => this.diff(request)),
      create: answer((request: messages.CreateRequest) => this.create(request)),
      read: answer((request: messages.ReadRequest) => this.read(request)),
      update: answer((request: messages.UpdateRequest) => this.update(request)),
      delete: answer((request: messages.DeleteRequest) => this.delete(request)),
      invoke: answer((request: messages.InvokeRequest) => this.invoke(request)),
    };
  }

  private handshake(): messages.ProviderHandshakeResponse {
    const response = new messages.ProviderHandshakeResponse();
    response.setAcceptSecrets(true);
    return response;
  }

  private cancel(): Empty {
    this.options.cancel?.();
    return new Empty();
  }

  private checkConfig(request: messages.CheckRequest): messages.CheckResponse {
    const { values } = decode(membersOf(request.getNews()), process.cwd());
    const failures = Object.entries(values).flatMap(([property, value]) => {
      if (property === "version" || hasUnknown(value)) return [];
      const rule = this.options.configuration[property];
      const reason = rule
        ? rule(typeof value === "string" ? value : JSON.stringify(value))
        : `NotImplemented: the emulator does not honour the provider's setting "${property}"`;
      return reason === undefined ? [] : [{ property, reason }];
    });
    return checkResponse(membersOf(request.getNews()), failures);
  }

  private check(request: messages.CheckRequest): messages.CheckResponse {
    const definition = this.definitionOf(request.getUrn());
    const news = this.decoded(request.getNews());
    const { inputs, failures } = checkInputs(definition, news.values, this.decoded(request.getOlds()).values, {
      name: nameOf(request.getUrn()),
      randomSeed: request.getRandomseed_asU8(),
      region: this.context.cloud.region,
      account: this.context.cloud.account,
    });
    return checkResponse(encode(inputs, [...news.secrets, ...secretInputs(definition)]), failures);
  }

  private diff(request: messages.DiffRequest): messages.DiffResponse {
    const definition = this.definitionOf(request.getUrn());
    const ignored = new Set(request.getIgnorechangesList());
    const olds = this.decoded(request.getOldInputs()).values;
    const diff = diffInputs(definition, olds, this.decoded(request.getNews()).values);
    const changed = diff.changed.filter((name) => !ignored.has(name));
    const changes = diff.changes.filter(({ path }) => changed.some((name) => startsWith(path, name)));
    const response = diffResponse(changed, changes, diff.deleteBeforeReplace);
    response.setReplacesList(diff.replaces.filter((name) => changed.includes(name)));
    return response;
  }

  private async create(request: messages.CreateRequest): Promise<messages.CreateResponse> {
    const definition = this.definitionOf(request.getUrn());
    const inputs = this.decoded(request.getProperties());
    const response = new messages.CreateResponse();
    if (request.getPreview()) {
      response.setProperties(Struct.fromJavaScript(encode(inputs.values, inputs.secrets) as never));
      return response;
    }
    let made: string | undefined;
    const context = { ...this.context, made: (id: string) => void (made = id) };
    const create = (): Promise<ResourceState> => definition.create(plain(inputs.values), context);
    const left = () => (made === undefined ? undefined : definition.read(made, plain(inputs.values), this.context));
    const state = await this.within(request.getTimeout(), definition, inputs, create, left);
    response.setId(state.id);
    response.setProperties(this.outputs(definition, state, inputs));
    return response;
  }

  private async read(request: messages.ReadRequest): Promise<messages.ReadResponse> {
    const definition = this.definitionOf(request.getUrn());
    const olds = this.decoded(request.getProperties());
    const inputs = this.decoded(request.getInputs());
    const response = new messages.ReadResponse();
    const state = await definition.read(request.getId(), plain(olds.values), this.context);
    if (!state) return response;
    const observed = observedInputs(definition, inputs.values, state.outputs);
    const secrets = [...inputs.secrets, ...olds.secrets, ...secretInputs(definition)];
    response.setId(state.id);
    response.setProperties(this.outputs(definition, state, { values: observed, secrets }));
    response.setInputs(Struct.fromJavaScript(encode(observed, secrets) as never));
    return response;
  }

  private async update(request: messages.UpdateRequest): Promise<messages.UpdateResponse> {
    const definition = this.definitionOf(request.getUrn());
    const olds = this.decoded(request.getOlds());
    const news = this.decoded(request.getNews());
    const response = new messages.UpdateResponse();
    if (request.getPreview()) {
      // What an update in place cannot change stays known; all other outputs are unknown until then.
      const { arn } = olds.values;
      response.setProperties(Struct.fromJavaScript(encode({ arn, ...news.values }, news.secrets) as never));
      return response;
    }
    const run = async (): Promise<ResourceState> => {
      const [id, before] = [request.getId(), plain(olds.values)];
      if (definition.update) return definition.update(id, plain(news.values), before, this.context);
      // Nothing of it changes in place: it was half made, and the engine asks whether it is complete now.
      const found = await definition.read(id, before, this.context);
      if (!found) throw new Error(`${definition.type} ${id} is gone. Run a refresh, and then the update again.`);
      return found;
    };
    const left = () => definition.read(request.getId(), plain(olds.values), this.context);
    const state = await this.within(request.getTimeout(), definition, news, run, left);
    response.setProperties(this.outputs(definition, state, news));
    return response;
  }

  private async delete(request: messages.DeleteRequest): Promise<Empty> {
    const definition = this.definitionOf(request.getUrn());
    const state = this.decoded(request.getProperties());
    const run = (): Promise<void> => definition.delete(request.getId(), plain(state.values), this.context);
    await limited(request.getTimeout(), run);
    return new Empty();
  }

  private async invoke(request: messages.InvokeRequest): Promise<messages.InvokeResponse> {
    const token = request.getTok();
    const definition = this.invokes.get(token);
    if (!definition) throw new Error(`NotImplemented: the emulator has no function ${token}`);
    const args = this.decoded(request.getArgs());
    const result = await definition.invoke(plain(args.values), this.context);
    const response = new messages.InvokeResponse();
    response.setReturn(Struct.fromJavaScript(encode(result, []) as never));
    return response;
  }

  private definitionOf(urn: string): ResourceDefinition {
    const type = typeOf(urn);
    const definition = this.resources.get(type);
    if (!definition) throw new Error(`NotImplemented: the emulator has no resource ${type}`);
    return definition;
  }

  private decoded(properties: Struct | undefined): Decoded {
    return decode(membersOf(properties), process.cwd());
  }

  /** Outputs as the engine keeps them: inputs that the resource did not repeat included, secrets wrapped. */
  private outputs(definition: ResourceDefinition, state: ResourceState, inputs: Decoded): Struct {
    const { region } = this.context.cloud;
    const values = { region, ...inputs.values, ...state.outputs };
    const given = [...inputs.secrets, ...secretInputs(definition)];
    const repeating = given.length > 0 ? (definition.secretWithInputs ?? []) : [];
    const secrets = [...given, ...[...(definition.secretOutputs ?? []), ...repeating].map((name): Path => [name])];
    return Struct.fromJavaScript(encode(values, secrets) as never);
  }

  /**
   * Runs what a resource does, within the seconds that the program allows (0: no limit). When it fails and something is
   * `left`, the engine is told of it as it is, so that it is neither forgotten nor taken for complete.
   */
  private async within<T>(
    seconds: number,
    definition: ResourceDefinition,
    inputs: Decoded,
    work: () => Promise<T>,
    left: () => Promise<ResourceState | undefined> | undefined,
  ): Promise<T> {
    try {
      return await limited(seconds, work);
    } catch (error) {
      const state = await stateAfter(left);
      if (state === undefined) throw error;
      const detail = new messages.ErrorResourceInitFailed();
      detail.setId(state.id);
      // Not the inputs: what was to be and is not yet has to differ from what will be asked for again.
      detail.setProperties(this.outputs(definition, state, { values: {}, secrets: inputs.secrets }));
      detail.setInputs(Struct.fromJavaScript(encode(inputs.values, inputs.secrets) as never));
      detail.setReasonsList([textOf(error)]);
      throw initFailed(textOf(error), detail);
    }
  }
}

/** What a failed piece of work has left behind. When that cannot be read either, the first error is what matters. */
async function stateAfter(
  left: () => Promise<ResourceState | undefined> | undefined,
): Promise<ResourceState | undefined> {
  try {
    return await left();
  } catch {
    return undefined;
  }
}

async function limited<T>(seconds: number, work: () => Promise<T>): Promise<T> {
  if (seconds <= 0) return work();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`timed out after ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What a resource gets: without the provider's own notes. */
function plain(values: Properties): Properties {
  const { [defaultsKey]: _defaults, ...rest } = values;
  return rest;
}

function secretInputs(definition: ResourceDefinition): readonly Path[] {
  return Object.entries(definition.inputs)
    .filter(([, rule]) => rule.secret)
    .map(([name]): Path => [name]);
}

function membersOf(properties: Struct | undefined): Record<string, unknown> {
  return properties ? properties.toJavaScript() : {};
}

/** `urn:pulumi:<stack>::<project>::<parent types>$<type>::<name>` */
function typeOf(urn: string): string {
  const types = urn.split("::")[2] ?? "";
  return types.slice(types.lastIndexOf("$") + 1);
}

function nameOf(urn: string): string {
  return urn.split("::").slice(3).join("::");
}

function startsWith(path: string, name: string): boolean {
  return path === name || path.startsWith(`${name}.`) || path.startsWith(`${name}[`);
}

function pluginInfo(version: string): PluginInfo {
  const info = new PluginInfo();
  info.setVersion(version);
  return info;
}

function configureResponse(): messages.ConfigureResponse {
  const response = new messages.ConfigureResponse();
  response.setAcceptsecrets(true);
  response.setSupportspreview(true);
  return response;
}

function checkResponse(
  inputs: Readonly<Record<string, unknown>>,
  failures: readonly { readonly property: string; readonly reason: string }[],
): messages.CheckResponse {
  const response = new messages.CheckResponse();
  response.setInputs(Struct.fromJavaScript(inputs as never));
  response.setFailuresList(
    failures.map(({ property, reason }) => {
      const failure = new messages.CheckFailure();
      failure.setProperty(property);
      failure.setReason(reason);
      return failure;
    }),
  );
  return response;
}

function diffResponse(
  changed: readonly string[],
  changes: readonly PropertyChange[],
  deleteBeforeReplace: boolean,
): messages.DiffResponse {
  const response = new messages.DiffResponse();
  const { DIFF_NONE, DIFF_SOME } = messages.DiffResponse.DiffChanges;
  response.setChanges(changed.length === 0 ? DIFF_NONE : DIFF_SOME);
  response.setDiffsList([...changed]);
  response.setDeletebeforereplace(deleteBeforeReplace);
  response.setHasdetaileddiff(true);
  for (const change of changes) response.getDetaileddiffMap().set(change.path, propertyDiff(change));
  return response;
}

function propertyDiff({ kind, replace }: PropertyChange): messages.PropertyDiff {
  const { ADD, ADD_REPLACE, DELETE, DELETE_REPLACE, UPDATE, UPDATE_REPLACE } = messages.PropertyDiff.Kind;
  const kinds = {
    add: [ADD, ADD_REPLACE],
    delete: [DELETE, DELETE_REPLACE],
    update: [UPDATE, UPDATE_REPLACE],
  } as const;
  const diff = new messages.PropertyDiff();
  diff.setKind(kinds[kind][replace ? 1 : 0]);
  diff.setInputdiff(true);
  return diff;
}

/** An error in the form that the engine understands. */
class ServiceFailure extends Error {
  readonly code = grpc.status.UNKNOWN;

  constructor(
    readonly details: string,
    readonly metadata = new grpc.Metadata(),
  ) {
    super(details);
  }
}

/** The engine reads the details of an error from this header: grpc-go's form of google.rpc.Status. */
function initFailed(message: string, detail: messages.ErrorResourceInitFailed): ServiceFailure {
  const packed = new Any();
  packed.pack(detail.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
  const status = new Status();
  status.setCode(grpc.status.UNKNOWN);
  status.setMessage(message);
  status.addDetails(packed);
  const metadata = new grpc.Metadata();
  metadata.add("grpc-status-details-bin", Buffer.from(status.serializeBinary()));
  return new ServiceFailure(message, metadata);
}

const answer = answering(failure);

function failure(error: unknown): ServiceFailure {
  return error instanceof ServiceFailure ? error : new ServiceFailure(textOf(error));
}

/** A service's error begins with its code. */
function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return error instanceof AwsError && !text.startsWith(error.code) ? `${error.code}: ${text}` : text;
}
