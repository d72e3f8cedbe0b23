/** The provider's own protocol, as the engine speaks it, without the engine: one resource at a time. */
import * as grpc from "@grpc/grpc-js";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as messages from "@pulumi/pulumi/proto/provider_pb";
import { Status } from "@pulumi/pulumi/proto/status_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import type { Emulator } from "../../../emulator/emulator";

export type Values = Readonly<Record<string, unknown>>;

/** A resource in a state that the test keeps, as the engine would. */
export interface Kept {
  readonly type: string;
  readonly id: string;
  readonly inputs: Values;
  readonly outputs: Values;
}

export type Change = "same" | "update" | "replace";

/** The resource exists, but could not be made complete: the engine keeps it, and updates it the next time. */
export class HalfMade extends Error {
  constructor(
    message: string,
    readonly kept: Kept,
  ) {
    super(message);
  }
}

type Callback<Response> = (error: grpc.ServiceError | null, response: Response) => void;

export class DirectProvider {
  private readonly client: ResourceProviderClient;
  private count = 0;

  constructor(emulator: Emulator) {
    const address = `127.0.0.1:${emulator.providerPorts.aws}`;
    this.client = new ResourceProviderClient(address, grpc.credentials.createInsecure());
  }

  close(): void {
    this.client.close();
  }

  /** Checked inputs; rejects with the first thing that the provider does not take. */
  async check(type: string, news: Values, olds: Values = {}): Promise<Values> {
    const request = new messages.CheckRequest();
    request.setUrn(this.urn(type));
    request.setNews(struct(news));
    request.setOlds(struct(olds));
    request.setRandomseed(Buffer.from([this.count++, 1, 2, 3]));
    const response = await answer<messages.CheckResponse>((done) => this.client.check(request, done));
    const [failure] = response.getFailuresList();
    if (failure) throw new Error(`${failure.getProperty()}: ${failure.getReason()}`);
    return values(response.getInputs());
  }

  async create(type: string, given: Values): Promise<Kept> {
    const inputs = await this.check(type, given);
    const request = new messages.CreateRequest();
    request.setUrn(this.urn(type));
    request.setProperties(struct(inputs));
    try {
      const response = await answer<messages.CreateResponse>((done) => this.client.create(request, done));
      return { type, id: response.getId(), inputs, outputs: values(response.getProperties()) };
    } catch (error) {
      const left = leftBy(error as grpc.ServiceError);
      throw left ? new HalfMade((error as Error).message, { type, inputs, ...left }) : error;
    }
  }

  async diff(kept: Kept, inputs: Values): Promise<Change> {
    const request = new messages.DiffRequest();
    request.setUrn(this.urn(kept.type));
    request.setId(kept.id);
    request.setOlds(struct(kept.outputs));
    request.setOldInputs(struct(kept.inputs));
    request.setNews(struct(inputs));
    const response = await answer<messages.DiffResponse>((done) => this.client.diff(request, done));
    if (response.getReplacesList().length > 0) return "replace";
    return response.getChanges() === messages.DiffResponse.DiffChanges.DIFF_SOME ? "update" : "same";
  }

  async update(kept: Kept, inputs: Values): Promise<Kept> {
    const request = new messages.UpdateRequest();
    request.setUrn(this.urn(kept.type));
    request.setId(kept.id);
    request.setOlds(struct(kept.outputs));
    request.setOldInputs(struct(kept.inputs));
    request.setNews(struct(inputs));
    const response = await answer<messages.UpdateResponse>((done) => this.client.update(request, done));
    return { ...kept, inputs, outputs: values(response.getProperties()) };
  }

  /** What a refresh finds; undefined when the resource is gone. */
  async read(kept: Kept): Promise<Kept | undefined> {
    const request = new messages.ReadRequest();
    request.setUrn(this.urn(kept.type));
    request.setId(kept.id);
    request.setProperties(struct(kept.outputs));
    request.setInputs(struct(kept.inputs));
    const response = await answer<messages.ReadResponse>((done) => this.client.read(request, done));
    if (response.getId() === "") return undefined;
    return { ...kept, inputs: values(response.getInputs()), outputs: values(response.getProperties()) };
  }

  async delete(kept: Kept): Promise<void> {
    const request = new messages.DeleteRequest();
    request.setUrn(this.urn(kept.type));
    request.setId(kept.id);
    request.setProperties(struct(kept.outputs));
    await answer<unknown>((done) => this.client.delete(request, done));
  }

  private urn(type: string): string {
    return `urn:pulumi:test::test::${type}::it`;
  }
}

/** What the engine finds in the error of a resource that is not complete. */
function leftBy({ metadata }: grpc.ServiceError): Pick<Kept, "id" | "outputs"> | undefined {
  const [header] = metadata.get("grpc-status-details-bin");
  if (!Buffer.isBuffer(header)) return undefined;
  const [packed] = Status.deserializeBinary(header).getDetailsList();
  if (packed?.getTypeName() !== "pulumirpc.ErrorResourceInitFailed") return undefined;
  const detail = messages.ErrorResourceInitFailed.deserializeBinary(packed.getValue_asU8());
  return { id: detail.getId(), outputs: values(detail.getProperties()) };
}

/** Resolves with what a call answers. */
function answer<Response>(call: (done: Callback<Response>) => unknown): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error ? reject(error) : resolve(response)));
  });
}

function struct(properties: Values): Struct {
  // As on the wire: nothing is undefined.
  return Struct.fromJavaScript(JSON.parse(JSON.stringify(properties)) as never);
}

function values(properties: Struct | undefined): Values {
  return properties ? (unwrapped(properties.toJavaScript()) as Values) : {};
}

const signature = "4dabf18193072939515e22adb298388d";
const secret = "1b47061264138c4ac30d75fd1eb44270";

/** Without the wrapping of secrets; assets stay as they are. */
function unwrapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== "object" || value === null) return value;
  const { [signature]: kind, value: wrapped } = value as Values;
  if (kind === secret) return unwrapped(wrapped);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, unwrapped(each)]));
}
