import { NormalizedSchema } from "@smithy/core/schema";

/** How an operation is bound to HTTP, for the REST protocols. */
export interface HttpBinding {
  readonly method: string;
  /** The path's segments: literals, labels (`{Name}`) and a greedy last label (`{Key+}`). */
  readonly path: readonly PathSegment[];
  /** Query parameters that must be there; an empty value means any. */
  readonly query: ReadonlyMap<string, string>;
  readonly status: number;
}

export type PathSegment = { readonly literal: string } | { readonly label: string; readonly greedy: boolean };

export interface OperationModel {
  readonly name: string;
  readonly input: NormalizedSchema;
  readonly output: NormalizedSchema;
  readonly http: HttpBinding | undefined;
}

/** An error shape as the wire knows it. */
export interface ServiceModel {
  /** For example `com.amazonaws.s3`. */
  readonly namespace: string;
  readonly operations: ReadonlyMap<string, OperationModel>;
}

/**
 * The schemas that every `@aws-sdk/client-*` exports beside its commands are static tuples: an operation is
 * `[9, namespace, name, traits, input, output]`.
 */
type OperationSchema = readonly [9, string, string, unknown, unknown, unknown];

const models = new WeakMap<object, ServiceModel>();

/** The operations of an SDK client's module. */
export function modelOf(module: object): ServiceModel {
  const known = models.get(module);
  if (known) return known;
  const operations = new Map<string, OperationModel>();
  let namespace = "";
  for (const [key, value] of Object.entries(module)) {
    if (!key.endsWith("$") || !isOperation(value)) continue;
    namespace = value[1];
    operations.set(value[2], new LazyOperation(value));
  }
  const model = { namespace, operations };
  models.set(module, model);
  return model;
}

function isOperation(value: unknown): value is OperationSchema {
  return Array.isArray(value) && value[0] === 9;
}

/** EC2 alone has 823 operations: a schema is normalised when the operation is first called. */
class LazyOperation implements OperationModel {
  readonly name: string;
  private binding: HttpBinding | undefined;

  constructor(private readonly schema: OperationSchema) {
    this.name = schema[2];
  }

  get input(): NormalizedSchema {
    return NormalizedSchema.of(this.schema[4] as never);
  }

  get output(): NormalizedSchema {
    return NormalizedSchema.of(this.schema[5] as never);
  }

  get http(): HttpBinding | undefined {
    const traits = this.schema[3] as { http?: readonly [string, string, number] } | number;
    if (typeof traits !== "object" || !traits.http) return undefined;
    return (this.binding ??= parseBinding(...traits.http));
  }
}

function parseBinding(method: string, uri: string, status: number): HttpBinding {
  const [path = "", search = ""] = uri.split("?", 2);
  const segments = path.split("/").filter((segment) => segment !== "");
  return {
    method,
    path: segments.map(parseSegment),
    query: new Map(new URLSearchParams(search)),
    status,
  };
}

function parseSegment(segment: string): PathSegment {
  const label = /^\{(\w+)(\+?)\}$/.exec(segment);
  return label?.[1] ? { label: label[1], greedy: label[2] === "+" } : { literal: segment };
}

/** The names of the members that a structure requires. The schema lists them first and ends with their number. */
export function requiredMembers(schema: NormalizedSchema): readonly string[] {
  const raw = schema.getSchema() as unknown as readonly unknown[];
  const names = raw[4] as readonly string[];
  return names.slice(0, typeof raw[6] === "number" ? raw[6] : 0);
}
