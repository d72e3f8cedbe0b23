/** Parameter Store: its operations, resource and invoke. */
import {
  AddTagsToResourceCommand,
  AddTagsToResourceCommandInput,
  AddTagsToResourceCommandOutput,
  DeleteParameterCommand,
  DeleteParameterCommandInput,
  DeleteParameterCommandOutput,
  DescribeParametersCommand,
  DescribeParametersCommandInput,
  DescribeParametersCommandOutput,
  GetParameterCommand,
  GetParameterCommandInput,
  GetParameterCommandOutput,
  GetParametersByPathCommandInput,
  GetParametersByPathCommandOutput,
  GetParametersCommandInput,
  GetParametersCommandOutput,
  ListTagsForResourceCommand,
  ListTagsForResourceCommandInput,
  ListTagsForResourceCommandOutput,
  Parameter,
  ParameterMetadata,
  ParameterStringFilter,
  ParameterTier,
  ParameterType,
  PutParameterCommand,
  PutParameterCommandInput,
  PutParameterCommandOutput,
  RemoveTagsFromResourceCommand,
  RemoveTagsFromResourceCommandInput,
  RemoveTagsFromResourceCommandOutput,
  Tag,
} from "@aws-sdk/client-ssm";
import {
  Access,
  AwsError,
  Cloud,
  InvokeDefinition,
  Operation,
  operation,
  Properties,
  ResourceContext,
  ResourceDefinition,
} from "../../core/definitions";
import { IMAGE_ID } from "../ec2/operations/catalog";
import { compact, flag, required, tagChanges, tagOutputs, tagPairs, text, unless } from "../properties";

interface Version {
  readonly version: number;
  readonly value: string;
  readonly type: ParameterType;
  readonly modified: Date;
}

interface Stored {
  readonly name: string;
  readonly arn: string;
  description: string | undefined;
  allowedPattern: string | undefined;
  keyId: string | undefined;
  dataType: string;
  tier: ParameterTier;
  tags: readonly Tag[];
  modifiedBy: string;
  /** The oldest first. Parameter Store keeps 100. */
  readonly versions: Version[];
}

const versionsKept = 100;
const perAccount = 10_000;

/** Parameters that AWS publishes. */
const publicParameters: ReadonlyMap<string, string> = new Map([
  ["/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", IMAGE_ID],
]);

class ParameterStore {
  private readonly parameters = new Map<string, Stored>();

  constructor(private readonly cloud: Cloud) {
    for (const [name, value] of publicParameters) this.put(this.published(name), value, "String");
  }

  arnOf(name: string): string {
    const account = name.startsWith("/aws/service/") ? "" : this.cloud.account;
    return `arn:aws:ssm:${this.cloud.region}:${account}:parameter/${name.replace(/^\//, "")}`;
  }

  find(name: string): Stored | undefined {
    return this.parameters.get(name);
  }

  /** @throws ParameterNotFound */
  get(name: string): Stored {
    const found = this.find(name);
    if (!found) throw notFound();
    return found;
  }

  put(parameter: Stored, value: string, type: ParameterType): Version {
    const version = { version: (parameter.versions.at(-1)?.version ?? 0) + 1, value, type, modified: this.now() };
    parameter.versions.push(version);
    if (parameter.versions.length > versionsKept) parameter.versions.shift();
    this.parameters.set(parameter.name, parameter);
    return version;
  }

  remove(name: string): boolean {
    return !publicParameters.has(name) && this.parameters.delete(name);
  }

  /** In the order of their names, without those that AWS publishes. */
  own(): readonly Stored[] {
    return [...this.parameters.values()]
      .filter(({ name }) => !publicParameters.has(name))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  private published(name: string): Stored {
    return {
      name,
      arn: this.arnOf(name),
      description: undefined,
      allowedPattern: undefined,
      keyId: undefined,
      dataType: "text",
      tier: "Standard",
      tags: [],
      modifiedBy: "Amazon Web Services",
      versions: [],
    };
  }

  private now(): Date {
    return this.cloud.clock.now();
  }
}

/** The operations of Parameter Store, over a store of their own. */
export function parameterOperations(cloud: Cloud): Operation[] {
  const store = new ParameterStore(cloud);
  return [...writingOperations(store), ...readingOperations(store), ...taggingOperations(store)];
}

function writingOperations(store: ParameterStore): readonly Operation[] {
  const putParameter = operation<PutParameterCommandInput, PutParameterCommandOutput>({
    name: "PutParameter",
    honours: [
      "Name",
      "Value",
      "Type",
      "Description",
      "Overwrite",
      "AllowedPattern",
      "KeyId",
      "Tags",
      "Tier",
      "DataType",
    ],
    authorize: (input) => [
      ...on(store, input.Name, "PutParameter", { "ssm:Overwrite": String(input.Overwrite ?? false) }),
      ...((input.Tags ?? []).length > 0 ? on(store, input.Name, "AddTagsToResource") : []),
    ],
    handle: (input, call) => {
      const name = validName(input.Name);
      const existing = store.find(name);
      if (existing && input.Overwrite !== true)
        throw new AwsError(
          "ParameterAlreadyExists",
          "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
          400,
        );
      if (existing && (input.Tags ?? []).length > 0)
        throw validation("Invalid request: tags and overwrite can't be used together.");
      if (!existing && store.own().length >= perAccount)
        throw new AwsError("ParameterLimitExceeded", "You have exceeded the number of parameters for this account.");
      const type = input.Type ?? existing?.versions.at(-1)?.type;
      if (type === undefined) throw validation("A parameter type is required when you create a parameter.");
      const parameter = existing ?? newParameter(store, name);
      const tier = chosenTier(input, parameter);
      const value = validValue(input.Value, input.AllowedPattern ?? parameter.allowedPattern, tier);
      if ((input.Description ?? "").length > 1024) throw validation("Description must have at most 1024 characters.");
      if ((input.Tags ?? []).length > 50)
        throw new AwsError("TooManyTagsError", "A parameter has at most 50 tags.", 400);
      parameter.description = input.Description ?? parameter.description;
      parameter.allowedPattern = input.AllowedPattern ?? parameter.allowedPattern;
      parameter.keyId = type === "SecureString" ? (input.KeyId ?? parameter.keyId ?? "alias/aws/ssm") : undefined;
      parameter.tier = tier;
      parameter.dataType = input.DataType ?? parameter.dataType;
      parameter.tags = existing ? parameter.tags : (input.Tags ?? []);
      parameter.modifiedBy = call.principal.arn;
      const { version } = store.put(parameter, value, type);
      return { Version: version, Tier: parameter.tier };
    },
  });

  const deleteParameter = operation<DeleteParameterCommandInput, DeleteParameterCommandOutput>({
    name: "DeleteParameter",
    honours: ["Name"],
    authorize: (input) => on(store, input.Name, "DeleteParameter"),
    handle: (input) => {
      if (!store.remove(input.Name ?? "")) throw notFound();
      return {};
    },
  });

  return [putParameter, deleteParameter];
}

function readingOperations(store: ParameterStore): readonly Operation[] {
  const getParameter = operation<GetParameterCommandInput, GetParameterCommandOutput>({
    name: "GetParameter",
    honours: ["Name", "WithDecryption"],
    authorize: (input) => on(store, selectorOf(input.Name).name, "GetParameter"),
    handle: (input) => {
      const { name, version, selector } = selectorOf(input.Name);
      const parameter = store.get(name);
      return { Parameter: reply(parameter, chosen(parameter, version), selector, input.WithDecryption) };
    },
  });

  const getParameters = operation<GetParametersCommandInput, GetParametersCommandOutput>({
    name: "GetParameters",
    honours: ["Names", "WithDecryption"],
    authorize: (input) => (input.Names ?? []).flatMap((name) => on(store, selectorOf(name).name, "GetParameters")),
    handle: (input) => {
      const names = atMostTen(input.Names);
      const found = names.flatMap((asked) => {
        const { name, version, selector } = selectorOf(asked);
        const parameter = store.find(name);
        const one = parameter?.versions.find((each) => version === undefined || each.version === version);
        if (!parameter || !one) return [];
        return [{ asked, parameter: reply(parameter, chosen(parameter, version), selector, input.WithDecryption) }];
      });
      return {
        Parameters: found.map(({ parameter }) => parameter),
        InvalidParameters: names.filter((name) => !found.some(({ asked }) => asked === name)),
      };
    },
  });

  const getParametersByPath = operation<GetParametersByPathCommandInput, GetParametersByPathCommandOutput>({
    name: "GetParametersByPath",
    honours: ["Path", "Recursive", "WithDecryption", "MaxResults", "NextToken"],
    authorize: (input) =>
      on(store, (input.Path ?? "").replace(/\/+$/, ""), "GetParametersByPath", {
        "ssm:Recursive": String(input.Recursive ?? false),
      }),
    handle: (input) => {
      const path = input.Path ?? "";
      if (!path.startsWith("/")) throw validation("The parameter path must begin with a forward slash (/).");
      const prefix = path.endsWith("/") ? path : `${path}/`;
      const below = store
        .own()
        .filter(
          ({ name }) =>
            name.startsWith(prefix) && (input.Recursive === true || !name.slice(prefix.length).includes("/")),
        );
      const page = pageOf(below, input.NextToken, input.MaxResults ?? 10, 10);
      return {
        Parameters: page.items.map((each) => reply(each, chosen(each, undefined), undefined, input.WithDecryption)),
        ...(page.next !== undefined && { NextToken: page.next }),
      };
    },
  });

  const describeParameters = operation<DescribeParametersCommandInput, DescribeParametersCommandOutput>({
    name: "DescribeParameters",
    honours: ["ParameterFilters", "MaxResults", "NextToken"],
    authorize: () => [{ action: "ssm:DescribeParameters", resource: "*" }],
    handle: (input) => {
      const matching = store.own().filter((each) => (input.ParameterFilters ?? []).every((one) => passes(each, one)));
      const page = pageOf(matching, input.NextToken, input.MaxResults ?? 10, 50);
      return {
        Parameters: page.items.map(metadata),
        ...(page.next !== undefined && { NextToken: page.next }),
      };
    },
  });

  return [getParameter, getParameters, getParametersByPath, describeParameters];
}

function taggingOperations(store: ParameterStore): readonly Operation[] {
  const tagged = (input: { readonly ResourceType?: string | undefined; readonly ResourceId?: string | undefined }) => {
    if (input.ResourceType !== "Parameter")
      throw new AwsError("NotImplemented", `NotImplemented: tags of ${input.ResourceType ?? "nothing"}`, 501);
    const found = store.find(input.ResourceId ?? "");
    if (!found) throw new AwsError("InvalidResourceId", "The resource ID isn't valid.", 400);
    return found;
  };

  const addTags = operation<AddTagsToResourceCommandInput, AddTagsToResourceCommandOutput>({
    name: "AddTagsToResource",
    honours: ["ResourceType", "ResourceId", "Tags"],
    authorize: (input) => on(store, input.ResourceId, "AddTagsToResource"),
    handle: (input) => {
      const parameter = tagged(input);
      const added = input.Tags ?? [];
      const keys = added.map(({ Key }) => Key);
      parameter.tags = [...parameter.tags.filter(({ Key }) => !keys.includes(Key)), ...added];
      return {};
    },
  });

  const removeTags = operation<RemoveTagsFromResourceCommandInput, RemoveTagsFromResourceCommandOutput>({
    name: "RemoveTagsFromResource",
    honours: ["ResourceType", "ResourceId", "TagKeys"],
    authorize: (input) => on(store, input.ResourceId, "RemoveTagsFromResource"),
    handle: (input) => {
      const parameter = tagged(input);
      parameter.tags = parameter.tags.filter(({ Key }) => !(input.TagKeys ?? []).includes(Key ?? ""));
      return {};
    },
  });

  const listTags = operation<ListTagsForResourceCommandInput, ListTagsForResourceCommandOutput>({
    name: "ListTagsForResource",
    honours: ["ResourceType", "ResourceId"],
    authorize: (input) => on(store, input.ResourceId, "ListTagsForResource"),
    handle: (input) => ({ TagList: [...tagged(input).tags] }),
  });

  return [addTags, removeTags, listTags];
}

function on(
  store: ParameterStore,
  name: string | undefined,
  action: string,
  context: NonNullable<Access["context"]> = {},
): readonly Access[] {
  const tags = (store.find(name ?? "")?.tags ?? []).flatMap(({ Key, Value }) =>
    ["ssm:resourceTag", "aws:ResourceTag"].map((prefix) => [`${prefix}/${Key}`, Value ?? ""] as const),
  );
  return [
    {
      action: `ssm:${action}`,
      resource: store.arnOf(name ?? ""),
      context: { ...Object.fromEntries(tags), ...context },
    },
  ];
}

function newParameter(store: ParameterStore, name: string): Stored {
  return {
    name,
    arn: store.arnOf(name),
    description: undefined,
    allowedPattern: undefined,
    keyId: undefined,
    dataType: "text",
    tier: "Standard",
    tags: [],
    modifiedBy: "",
    versions: [],
  };
}

/** "About requirements and constraints for parameter names". */
function validName(name: string | undefined): string {
  if (name === undefined || !/^[a-zA-Z0-9_.\-/]+$/.test(name) || name.length > 1011)
    throw validation(
      'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_',
    );
  if (name.slice(1).includes("/") && !name.startsWith("/"))
    throw validation("Parameter name must be a fully qualified name.");
  if (/^\/?(aws|ssm)/i.test(name))
    throw new AwsError("AccessDeniedException", `No access to reserved parameter name: ${name}.`, 400);
  if (name.split("/").length > 16)
    throw new AwsError("HierarchyLevelLimitExceededException", "A hierarchy can have a maximum of 15 levels.", 400);
  return name;
}

/** Intelligent tiering takes the advanced tier when the value needs it; there is no way back from there. */
function chosenTier(input: PutParameterCommandInput, { tier: before, versions }: Stored): ParameterTier {
  const wanted = input.Tier ?? before;
  const large = Buffer.byteLength(input.Value ?? "") > valueLimits.Standard;
  const tier = wanted === "Intelligent-Tiering" ? (large || before === "Advanced" ? "Advanced" : "Standard") : wanted;
  if (versions.length > 0 && before === "Advanced" && tier !== "Advanced")
    throw validation(
      "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier.",
    );
  return tier;
}

const valueLimits = { Standard: 4096, Advanced: 8192 };

function validValue(value: string | undefined, allowedPattern: string | undefined, tier: ParameterTier): string {
  if (value === undefined || value === "") throw validation("The parameter value can't be empty.");
  const limit = tier === "Advanced" ? valueLimits.Advanced : valueLimits.Standard;
  if (Buffer.byteLength(value) > limit)
    throw validation(
      `${tier} tier parameters support a maximum parameter value of ${limit} characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier.`,
    );
  if (allowedPattern !== undefined && !patternOf(allowedPattern).test(value))
    throw new AwsError(
      "ParameterPatternMismatchException",
      `Parameter value, cannot be validated against allowedPattern: ${allowedPattern}`,
      400,
    );
  return value;
}

function patternOf(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new AwsError(
      "InvalidAllowedPatternException",
      "The request doesn't meet the regular expression requirement.",
    );
  }
}

/** A name may be an ARN, and may end in `:version`. */
function selectorOf(asked = ""): { name: string; version: number | undefined; selector: string | undefined } {
  const full = /^arn:[^:]+:ssm:[^:]*:[^:]*:parameter(\/.+)$/.exec(asked)?.[1] ?? asked;
  const match = /^(.*?)(:(\d+))?$/.exec(full);
  return {
    name: match?.[1] ?? full,
    version: match?.[3] === undefined ? undefined : Number(match[3]),
    selector: match?.[2],
  };
}

function chosen(parameter: Stored, version: number | undefined): Version {
  const found =
    version === undefined ? parameter.versions.at(-1) : parameter.versions.find((each) => each.version === version);
  if (found) return found;
  throw new AwsError(
    "ParameterVersionNotFound",
    `Systems Manager could not find version ${version ?? ""} of ${parameter.name}. Verify the version and try again.`,
    400,
  );
}

function reply(
  parameter: Stored,
  version: Version,
  selector: string | undefined,
  decrypt: boolean | undefined,
): Parameter {
  const encrypted = version.type === "SecureString" && decrypt !== true;
  return {
    Name: parameter.name,
    ARN: parameter.arn,
    Type: version.type,
    // Something that is not the value, as KMS's ciphertext is.
    Value: encrypted ? Buffer.from(`${parameter.arn}:${version.version}`).toString("base64") : version.value,
    Version: version.version,
    Selector: selector,
    LastModifiedDate: version.modified,
    DataType: parameter.dataType,
  };
}

function metadata(parameter: Stored): ParameterMetadata {
  const version = chosen(parameter, undefined);
  return {
    Name: parameter.name,
    ARN: parameter.arn,
    Type: version.type,
    KeyId: parameter.keyId,
    LastModifiedDate: version.modified,
    LastModifiedUser: parameter.modifiedBy,
    Description: parameter.description,
    AllowedPattern: parameter.allowedPattern,
    Version: version.version,
    Tier: parameter.tier,
    Policies: [],
    DataType: parameter.dataType,
  };
}

function passes(parameter: Stored, { Key, Option = "Equals", Values = [] }: ParameterStringFilter): boolean {
  if (Key !== "Name" && Key !== "Type")
    throw new AwsError("NotImplemented", `NotImplemented: filter ${Key ?? ""}`, 501);
  const actual = Key === "Name" ? parameter.name : (parameter.versions.at(-1)?.type ?? "");
  if (Option === "Equals") return Values.includes(actual);
  if (Option === "BeginsWith") return Values.some((value) => actual.startsWith(value));
  if (Option === "Contains") return Values.some((value) => actual.includes(value));
  throw new AwsError("InvalidFilterOption", `The specified filter option isn't valid: ${Option}`, 400);
}

function pageOf<T>(
  items: readonly T[],
  token: string | undefined,
  size: number,
  limit: number,
): { items: readonly T[]; next: string | undefined } {
  const start = token === undefined ? 0 : Number(token);
  if (!Number.isInteger(start) || start < 0) throw new AwsError("InvalidNextToken", "The specified token isn't valid.");
  if (size < 1 || size > limit) throw validation(`MaxResults must be between 1 and ${limit}.`);
  const next = start + size < items.length ? String(start + size) : undefined;
  return { items: items.slice(start, start + size), next };
}

function atMostTen(names: readonly string[] = []): readonly string[] {
  if (names.length < 1 || names.length > 10) throw validation("Names must have 1 to 10 members.");
  return names;
}

function notFound(): AwsError {
  return new AwsError("ParameterNotFound", "The parameter couldn't be found. Verify the name and try again.", 400);
}

function validation(message: string): AwsError {
  return new AwsError("ValidationException", message, 400);
}

const parameter: ResourceDefinition = {
  type: "aws:ssm/parameter:Parameter",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_ssm_parameter: name, Forces new resource",
      autoname: { maxLength: 1011 },
    },
    type: {},
    value: { secret: true },
    insecureValue: {},
    description: {},
    allowedPattern: {},
    keyId: {},
    tier: {},
    dataType: {},
    overwrite: {},
    tags: {},
  },
  create: async (inputs, context) => {
    await context.send(
      new PutParameterCommand({
        ...parameterInput(inputs),
        Tags: tagPairs(inputs),
        Overwrite: flag(inputs, "overwrite") ?? false,
      }),
    );
    context.made(required(inputs, "name"));
    return parameterState(inputs, context);
  },
  read: async (id, state, context) => {
    const found = await unless(
      ["ParameterNotFound"],
      context.send(new GetParameterCommand({ Name: id, WithDecryption: true })),
    );
    if (!found) return undefined;
    const { TagList = [] } = await context.send(
      new ListTagsForResourceCommand({ ResourceType: "Parameter", ResourceId: id }),
    );
    const tags = Object.fromEntries(TagList.map(({ Key, Value }) => [Key ?? "", Value ?? ""]));
    const value = state.insecureValue === undefined ? "value" : "insecureValue";
    const actual = { name: id, type: found.Parameter?.Type, [value]: found.Parameter?.Value };
    return parameterState(
      { ...state, ...actual, ...(TagList.length > 0 || state.tags !== undefined ? { tags } : {}) },
      context,
    );
  },
  update: async (id, news, olds, context) => {
    await context.send(new PutParameterCommand({ ...parameterInput(news), Overwrite: true }));
    const { set, removed } = tagChanges(olds, news);
    const target = { ResourceType: "Parameter", ResourceId: id } as const;
    if (removed.length > 0) await context.send(new RemoveTagsFromResourceCommand({ ...target, TagKeys: removed }));
    if (set.length > 0) await context.send(new AddTagsToResourceCommand({ ...target, Tags: set }));
    return parameterState(news, context);
  },
  delete: async (id, _state, context) => {
    await unless(["ParameterNotFound"], context.send(new DeleteParameterCommand({ Name: id })));
  },
};

function parameterInput(inputs: Properties) {
  return {
    Name: required(inputs, "name"),
    Value: text(inputs, "value") ?? required(inputs, "insecureValue"),
    Type: required(inputs, "type") as ParameterType,
    Description: text(inputs, "description"),
    AllowedPattern: text(inputs, "allowedPattern"),
    KeyId: text(inputs, "keyId"),
    Tier: text(inputs, "tier") as ParameterTier | undefined,
    DataType: text(inputs, "dataType"),
  };
}

/** The state after a write, with what Parameter Store says of it. */
async function parameterState(state: Properties, context: ResourceContext) {
  const name = required(state, "name");
  const filter = { Key: "Name", Option: "Equals", Values: [name] };
  const { Parameters: [found] = [] } = await context.send(
    new DescribeParametersCommand({ ParameterFilters: [filter] }),
  );
  return {
    id: name,
    outputs: compact({
      ...state,
      ...tagOutputs(state),
      arn: found?.ARN,
      version: found?.Version,
      description: found?.Description,
      allowedPattern: found?.AllowedPattern,
      tier: found?.Tier,
      dataType: found?.DataType,
      keyId: found?.KeyId ?? "",
      region: context.cloud.region,
    }),
  };
}

const getParameterInvoke: InvokeDefinition = {
  token: "aws:ssm/getParameter:getParameter",
  invoke: async (args, context) => {
    const name = required(args, "name");
    const withDecryption = flag(args, "withDecryption") ?? true;
    const { Parameter: found } = await context.send(
      new GetParameterCommand({ Name: name, WithDecryption: withDecryption }),
    );
    return {
      id: found?.Name,
      name,
      withDecryption,
      arn: found?.ARN,
      type: found?.Type,
      value: found?.Value,
      insecureValue: found?.Type === "SecureString" ? "" : found?.Value,
      version: found?.Version,
      region: context.cloud.region,
    };
  },
};

export const parameterResources: readonly ResourceDefinition[] = [parameter];
export const parameterInvokes: readonly InvokeDefinition[] = [getParameterInvoke];
