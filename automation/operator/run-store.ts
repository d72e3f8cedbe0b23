/** The facts of runs, read from the recovery store, and the two that an operator writes. */
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import * as z from "zod/mini";
import { type Claim, claim, claimKey, type Cleared, type Resolution, runFactKey, runFacts } from "../../run/facts";
import { targetFactKey, targetFacts } from "../../run/facts";
import { type RunId, runId } from "../../run/ids";
import type { RunFacts } from "../../run/state";
import { Refusal } from "../refusal";

type OperatorFact = { readonly resolution: Resolution; readonly cleared: Cleared };

export class RunStore {
  constructor(
    private readonly s3: S3Client,
    readonly bucket: string,
  ) {}

  /** All runs that were opened, the newest first. Looks at names and times only. */
  async runs(): Promise<{ readonly run: RunId; readonly cleared: boolean }[]> {
    const objects = await this.list("runs/");
    const keys = new Set(objects.map(({ key }) => key));
    const opened = objects.flatMap(({ key, at }) => {
      const id = /^runs\/([^/]+)\/opened\.json$/.exec(key)?.[1];
      return id === undefined ? [] : [{ run: runId(id), at }];
    });
    return opened
      .sort((a, b) => b.at - a.at)
      .map(({ run }) => ({ run, cleared: keys.has(runFactKey(run, "cleared")) }));
  }

  /** The run with this id, or the only one whose id begins so. */
  async find(asked: string): Promise<RunId> {
    const found = (await this.runs()).map(({ run }) => run).filter((run) => run.startsWith(asked));
    const [only, ...others] = asked.length < 4 ? [] : found;
    if (only !== undefined && others.length === 0) return only;
    const what = found.length > 1 ? `${found.length} runs begin` : "no run begins";
    throw new Refusal(
      `${what} with "${asked}" in ${this.bucket}. \`protected-pipeline runs\` lists them; give a whole id, or its first ` +
        "eight digits",
    );
  }

  /** Everything that is known of a run. A fact that does not fit its schema is an error. */
  async load(run: RunId): Promise<RunFacts> {
    const keys = new Set((await this.list(`runs/${run}/`)).map(({ key }) => key));
    const read = async <T extends z.ZodMiniType>(key: string, schema: T): Promise<z.infer<T> | undefined> =>
      keys.has(key) ? this.read(key, schema) : undefined;
    const about = await Promise.all(
      entries(runFacts).map(async ([name, schema]) => [name, await read(runFactKey(run, name), schema)] as const),
    );
    const known: Omit<RunFacts, "claims" | "targets"> = Object.fromEntries(about);
    const targets = (known.opened?.plan.targets ?? []).map(async ({ id }) => {
      const facts = entries(targetFacts).map(async ([name, schema]) => {
        const member = name === "cut-over" ? "cutOver" : name;
        return [member, await read(targetFactKey(run, id, name), schema)] as const;
      });
      return [id, Object.fromEntries(await Promise.all(facts))] as const;
    });
    const claims: Claim[] = [];
    for (let number = 1; keys.has(claimKey(run, number)); number++) {
      claims.push(await this.read(claimKey(run, number), claim));
    }
    return { ...known, claims, targets: Object.fromEntries(await Promise.all(targets)) };
  }

  /**
   * Writes a fact, unless there is one: then that one stands.
   *
   * @returns the fact that stands, and whether it is this one
   */
  async write<N extends keyof OperatorFact>(
    run: RunId,
    name: N,
    fact: OperatorFact[N],
  ): Promise<{ readonly fact: OperatorFact[N]; readonly mine: boolean }> {
    const key = runFactKey(run, name);
    const input = { Bucket: this.bucket, Key: key, ContentType: "application/json", IfNoneMatch: "*" };
    try {
      await this.s3.send(new PutObjectCommand({ ...input, Body: JSON.stringify(runFacts[name].parse(fact)) }));
      return { fact, mine: true };
    } catch (error) {
      // 412: somebody was first. 409: somebody is just now; what they write can be read in a moment.
      if (![412, 409].includes(statusOf(error) ?? 0)) throw error;
      const standing = (await this.read(key, runFacts[name])) as OperatorFact[N];
      return { fact: standing, mine: JSON.stringify(standing) === JSON.stringify(fact) };
    }
  }

  private async list(prefix: string): Promise<{ readonly key: string; readonly at: number }[]> {
    const objects: { key: string; at: number }[] = [];
    let ContinuationToken: string | undefined;
    do {
      const input = { Bucket: this.bucket, Prefix: prefix, ...(ContinuationToken && { ContinuationToken }) };
      const page = await this.s3.send(new ListObjectsV2Command(input)).catch(this.unreadable);
      for (const { Key = "", LastModified } of page.Contents ?? [])
        objects.push({ key: Key, at: LastModified?.getTime() ?? 0 });
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    return objects;
  }

  private async read<T extends z.ZodMiniType>(key: string, schema: T): Promise<z.infer<T>> {
    const object = await this.s3.send(new GetObjectCommand({ Bucket: this.bucket, Key: key })).catch(this.unreadable);
    const text = (await object.Body?.transformToString()) ?? "";
    const result = z.safeParse(schema, parsed(text));
    if (result.success) return result.data;
    throw new Refusal(`the fact s3://${this.bucket}/${key} is not valid: ${z.prettifyError(result.error)}`);
  }

  private readonly unreadable = (error: unknown): never => {
    const { name, message } = error as Error;
    if (name === "NoSuchBucket") throw new Refusal(`there is no bucket ${this.bucket}: give another --bucket`);
    throw new Error(`the recovery store ${this.bucket} cannot be read: ${message}`, { cause: error });
  };
}

function entries<T extends object>(record: T): [keyof T & string, T[keyof T]][] {
  return Object.entries(record) as [keyof T & string, T[keyof T]][];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;
}
