/** What the resources of EC2 share. */
import {
  CreateTagsCommand,
  DeleteTagsCommand,
  type ResourceType,
  type Tag,
  type TagSpecification,
} from "@aws-sdk/client-ec2";
import type { Properties, ResourceContext, ResourceState } from "../../../core/definitions";
import { tagChanges, tagOutputs, tagPairs } from "../../properties";
import { ec2Arn } from "../support";

/** The resource's tags, for the call that makes it. */
export function tagSpecification(type: ResourceType, inputs: Properties): TagSpecification[] | undefined {
  const Tags = tagPairs(inputs);
  return Tags.length === 0 ? undefined : [{ ResourceType: type, Tags }];
}

export async function updateTags(
  id: string,
  news: Properties,
  olds: Properties,
  context: ResourceContext,
): Promise<void> {
  const { set, removed } = tagChanges(olds, news);
  if (removed.length > 0) {
    await context.send(new DeleteTagsCommand({ Resources: [id], Tags: removed.map((Key) => ({ Key })) }));
  }
  if (set.length > 0) await context.send(new CreateTagsCommand({ Resources: [id], Tags: set }));
}

/** The state of a resource: what the program gave, and over it what EC2 tells. */
export function resourceState(
  { cloud }: ResourceContext,
  { id, type, tags }: { readonly id: string; readonly type?: string; readonly tags: readonly Tag[] | undefined },
  given: Properties,
  described: Properties,
): ResourceState {
  const arn = type === undefined ? {} : { arn: ec2Arn(cloud, type, id), ownerId: cloud.account };
  return { id, outputs: { ...given, ...described, ...arn, ...tagOutputs(given, tags), region: cloud.region } };
}

export function texts(properties: Properties, name: string): string[] {
  const value = properties[name];
  return Array.isArray(value) ? value.map(String) : [];
}

/** What is not in the first list any more, and what is new in the second. */
export function listChanges(olds: readonly string[], news: readonly string[]): { added: string[]; removed: string[] } {
  return {
    added: news.filter((value) => !olds.includes(value)),
    removed: olds.filter((value) => !news.includes(value)),
  };
}

/** Waits for a state that is due soon. */
export async function eventually(
  context: ResourceContext,
  what: string,
  reached: () => Promise<boolean>,
): Promise<void> {
  const { clock } = context.cloud;
  const deadline = clock.now().getTime() + 60_000;
  while (!(await reached())) {
    if (clock.now().getTime() > deadline) throw new Error(`${what} took longer than 60 seconds`);
    await clock.sleep(25);
  }
}
