/**
 * Source actions that look for changes by themselves: CodePipeline asks about once a minute whether the object has
 * another version, and starts an execution when it has. The interval is not documented.
 */
import { HeadObjectCommand } from "@aws-sdk/client-s3";
import type { ActionDeclaration } from "@aws-sdk/client-codepipeline";
import { AwsError, type Cloud } from "../../core/definitions";
import type { Pipeline } from "./store";
import { polls } from "./structure";

export const POLL_MS = 60_000;

export class SourcePolling {
  private readonly watched = new Map<Pipeline, AbortController>();

  constructor(
    private readonly cloud: Cloud,
    private readonly start: (pipeline: Pipeline) => void,
  ) {}

  get pipelines(): number {
    return this.watched.size;
  }

  /** From now on, by the pipeline's present declaration. */
  watch(pipeline: Pipeline): void {
    this.forget(pipeline);
    const sources = (pipeline.declaration.stages?.[0]?.actions ?? []).filter(polls);
    if (sources.length === 0) return;
    const end = new AbortController();
    this.watched.set(pipeline, end);
    this.cloud.background(`polling of ${pipeline.name}`, this.poll(pipeline, sources, end.signal));
  }

  forget(pipeline: Pipeline): void {
    this.watched.get(pipeline)?.abort();
    this.watched.delete(pipeline);
  }

  /** Starts one execution however many sources have changed. */
  private async poll(pipeline: Pipeline, sources: readonly ActionDeclaration[], signal: AbortSignal): Promise<void> {
    const seen = new Map<ActionDeclaration, string>();
    while (await this.pause(signal)) {
      let changed = false;
      for (const source of sources) {
        const version = await this.version(pipeline, source);
        if (version === undefined) continue;
        const known = [seen.get(source), latestRevision(pipeline, source)];
        seen.set(source, version);
        // What nobody has seen before is no change: the execution that creates the pipeline takes it.
        changed ||= known.some((other) => other !== undefined) && !known.includes(version);
      }
      if (changed && !signal.aborted) this.start(pipeline);
    }
  }

  private async pause(signal: AbortSignal): Promise<boolean> {
    return await this.cloud.clock.sleep(POLL_MS, signal).then(
      () => true,
      () => false,
    );
  }

  /** Undefined where the pipeline's role cannot read it now, for whatever reason: the next time it may. */
  private async version(pipeline: Pipeline, { configuration }: ActionDeclaration): Promise<string | undefined> {
    const { S3Bucket: Bucket, S3ObjectKey: Key } = configuration ?? {};
    try {
      const role = this.cloud.assumeRole(pipeline.declaration.roleArn ?? "", "polling", "codepipeline.amazonaws.com");
      return (await this.cloud.send(role, new HeadObjectCommand({ Bucket, Key }))).VersionId;
    } catch (error) {
      if (error instanceof AwsError) return undefined;
      throw error;
    }
  }
}

function latestRevision({ executions }: Pipeline, { name }: ActionDeclaration): string | undefined {
  const revisions = [...executions.values()].flatMap((execution) => execution.revisions);
  return revisions.findLast(({ actionName }) => actionName === name)?.revisionId;
}
