/**
 * `aws:codepipeline/pipeline:Pipeline` on CodePipeline's own operations.
 */
import {
  CreatePipelineCommand,
  DeletePipelineCommand,
  GetPipelineCommand,
  ListTagsForResourceCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdatePipelineCommand,
  type PipelineDeclaration,
  type StageDeclaration,
} from "@aws-sdk/client-codepipeline";
import {
  notImplemented,
  type Properties,
  type ResourceContext,
  type ResourceDefinition,
  type ResourceState,
} from "../../core/definitions";
import { blocks, compact, map, required, tagChanges, tagOutputs, tagPairs, text, unless } from "../properties";

export const pipelineResource: ResourceDefinition = {
  type: "aws:codepipeline/pipeline:Pipeline",
  inputs: {
    name: {
      replaceOn: "terraform-provider-aws, aws_codepipeline: name, ForceNew",
      autoname: { maxLength: 100 },
    },
    artifactStores: {},
    executionMode: { default: "SUPERSEDED" },
    pipelineType: { default: "V1" },
    roleArn: {},
    stages: {},
    tags: {},
    variables: {},
  },
  create: async (inputs, context) => {
    const tags = tagPairs(inputs).map(({ Key: key, Value: value }) => ({ key, value }));
    const pipeline = declaration(inputs);
    const created = await context.send(new CreatePipelineCommand({ pipeline, ...(tags.length > 0 && { tags }) }));
    const name = created.pipeline?.name ?? "";
    context.made(name);
    return await stateOf(name, inputs, context);
  },
  read: async (id, state, context) => await unless(["PipelineNotFoundException"], stateOf(id, state, context)),
  update: async (id, news, olds, context) => {
    // An update cancels running executions, so tags alone must not be one.
    if (JSON.stringify(declaration(news)) !== JSON.stringify(declaration(olds))) {
      await context.send(new UpdatePipelineCommand({ pipeline: declaration(news) }));
    }
    await updateTags(arnOf(id, context), news, olds, context);
    return await stateOf(id, news, context);
  },
  delete: async (id, _state, context) => {
    await context.send(new DeletePipelineCommand({ name: id }));
  },
};

async function updateTags(
  resourceArn: string,
  news: Properties,
  olds: Properties,
  context: ResourceContext,
): Promise<void> {
  const { set, removed } = tagChanges(olds, news);
  const tags = set.map(({ Key: key, Value: value }) => ({ key, value }));
  if (removed.length > 0) await context.send(new UntagResourceCommand({ resourceArn, tagKeys: removed }));
  if (tags.length > 0) await context.send(new TagResourceCommand({ resourceArn, tags }));
}

/** From the provider's cut to the API's. The dispatcher checks every value against the API's model. */
function declaration(inputs: Properties): PipelineDeclaration {
  const [artifactStore, another] = blocks(inputs, "artifactStores");
  if (another !== undefined) throw notImplemented("Pipeline.artifactStores in several Regions");
  return compact({
    name: required(inputs, "name"),
    roleArn: required(inputs, "roleArn"),
    artifactStore,
    stages: blocks(inputs, "stages").map((stage) => ({ ...stage, actions: blocks(stage, "actions").map(action) })),
    executionMode: text(inputs, "executionMode"),
    pipelineType: text(inputs, "pipelineType"),
    variables: inputs.variables === undefined ? undefined : blocks(inputs, "variables"),
  }) as unknown as PipelineDeclaration;
}

/** `category`, `owner`, `provider` and `version` are one member in the API; artifacts are objects there. */
function action(given: Properties): Properties {
  const { category, owner, provider, version, inputArtifacts, outputArtifacts, ...rest } = given;
  return compact({
    ...rest,
    actionTypeId: { category, owner, provider, version },
    inputArtifacts: artifacts(inputArtifacts),
    outputArtifacts: artifacts(outputArtifacts),
    ...(given.configuration !== undefined && { configuration: map(given, "configuration") }),
  });
}

function artifacts(names: unknown): { name: unknown }[] | undefined {
  return Array.isArray(names) ? names.map((name: unknown) => ({ name })) : undefined;
}

async function stateOf(name: string, inputs: Properties, context: ResourceContext): Promise<ResourceState> {
  const { pipeline, metadata } = await context.send(new GetPipelineCommand({ name }));
  const arn = metadata?.pipelineArn ?? "";
  const { tags = [] } = await context.send(new ListTagsForResourceCommand({ resourceArn: arn }));
  const actual = tags.map(({ key, value }) => ({ Key: key, Value: value }));
  return {
    id: name,
    outputs: compact({
      ...inputs,
      arn,
      name,
      roleArn: pipeline?.roleArn,
      executionMode: pipeline?.executionMode,
      pipelineType: pipeline?.pipelineType,
      artifactStores: pipeline?.artifactStore === undefined ? [] : [pipeline.artifactStore],
      stages: (pipeline?.stages ?? []).map(stageOutput),
      variables:
        pipeline?.variables?.length || inputs.variables !== undefined ? (pipeline?.variables ?? []) : undefined,
      triggerAlls: [],
      region: context.cloud.region,
      ...tagOutputs(inputs, actual),
    }),
  };
}

function stageOutput({ name, actions = [] }: StageDeclaration): Properties {
  return {
    name,
    actions: actions.map(({ actionTypeId, inputArtifacts = [], outputArtifacts = [], configuration = {}, ...rest }) =>
      compact({
        ...rest,
        ...actionTypeId,
        configuration: Object.keys(configuration).length > 0 ? configuration : undefined,
        inputArtifacts: inputArtifacts.length > 0 ? inputArtifacts.map((artifact) => artifact.name) : undefined,
        outputArtifacts: outputArtifacts.length > 0 ? outputArtifacts.map((artifact) => artifact.name) : undefined,
      }),
    ),
  };
}

function arnOf(name: string, { cloud }: ResourceContext): string {
  return `arn:${cloud.partition}:codepipeline:${cloud.region}:${cloud.account}:${name}`;
}
