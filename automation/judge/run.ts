/** What a run left behind that can be read without the product: the execution, its facts, and the Guard's last word. */
import { ListObjectsV2Command, GetObjectCommand } from "@aws-sdk/client-s3";
import * as z from "zod/mini";
import type { Clients } from "../clients";
import { runFacts, targetFacts, type CutOver, type Decided, type Protected, type Verdict } from "../../run/facts";

export interface ActionRecord {
  readonly name: string;
  readonly status: string;
  readonly startedAt?: Date | undefined;
  readonly endedAt?: Date | undefined;
  /** The build's id. */
  readonly buildId?: string | undefined;
  readonly summary: string;
}

export interface StageRecord {
  readonly name: string;
  readonly status: string;
  readonly actions: readonly ActionRecord[];
}

/** One execution of the pipeline, as CodePipeline tells it. */
export interface ExecutionRecord {
  readonly id: string;
  readonly status: string;
  readonly stages: readonly StageRecord[];
}

/** The facts of one run, by what the judge needs of them. */
export interface RunRecord {
  /** Names of all facts, below `runs/<run>/`, without `.json`. */
  readonly names: readonly string[];
  readonly verdict?: Verdict | undefined;
  readonly decided?: Decided | undefined;
  readonly protected: readonly Protected[];
  readonly cutOvers: readonly CutOver[];
}

/** Reads the facts of a run from the recovery store. A fact that does not fit its schema is an error. */
export async function readRun(clients: Clients, bucket: string, run: string): Promise<RunRecord> {
  const prefix = `runs/${run}/`;
  const names: string[] = [];
  let token: string | undefined;
  do {
    const page = await clients.s3.send(
      new ListObjectsV2Command({
        Bucket: bucket,
        Prefix: prefix,
        ...(token === undefined ? {} : { ContinuationToken: token }),
      }),
    );
    for (const object of page.Contents ?? [])
      names.push((object.Key ?? "").slice(prefix.length).replace(/\.json$/, ""));
    token = page.NextContinuationToken;
  } while (token !== undefined);
  const read = async <T extends z.ZodMiniType>(name: string, schema: T): Promise<z.infer<T> | undefined> =>
    names.includes(name) ? await readFact(clients, bucket, `${prefix}${name}.json`, schema) : undefined;
  const readAll = async <T extends z.ZodMiniType>(suffix: string, schema: T): Promise<z.infer<T>[]> => {
    const found = names.filter((name) => name.endsWith(`/${suffix}`));
    return Promise.all(found.map((name) => readFact(clients, bucket, `${prefix}${name}.json`, schema)));
  };
  return {
    names,
    verdict: await read("verdict", runFacts.verdict),
    decided: await read("decided", runFacts.decided),
    protected: await readAll("protected", targetFacts.protected),
    cutOvers: await readAll("cut-over", targetFacts["cut-over"]),
  };
}

/** A fact, if it is there yet; for the moments that a sabotage has to wait for. */
export async function findFact<T extends z.ZodMiniType>(
  clients: Clients,
  bucket: string,
  key: string,
  schema: T,
): Promise<z.infer<T> | undefined> {
  const page = await clients.s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: key }));
  if (!(page.Contents ?? []).some((object) => object.Key === key)) return undefined;
  return readFact(clients, bucket, key, schema);
}

async function readFact<T extends z.ZodMiniType>(
  clients: Clients,
  bucket: string,
  key: string,
  schema: T,
): Promise<z.infer<T>> {
  const object = await clients.s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  const text = (await object.Body?.transformToString()) ?? "";
  const result = z.safeParse(schema, JSON.parse(text));
  if (!result.success) throw new Error(`the fact ${key} is not valid: ${z.prettifyError(result.error)}`);
  return result.data;
}
