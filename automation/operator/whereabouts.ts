/** Where the recovery store is: given by name, or found by the environment that it belongs to. */
import { GetParametersByPathCommand, type SSMClient } from "@aws-sdk/client-ssm";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as z from "zod/mini";
import { Refusal } from "../refusal";

export interface Whereabouts {
  readonly bucket?: string | undefined;
  readonly environment?: string | undefined;
  readonly stack?: string | undefined;
}

/** What a lease says of its holder, as far as it is asked for here. */
const holder = z.object({ environment: z.string(), store: z.string() });
const leases = "/protected-pipeline/lease";
const output = "recoveryBucket";

/**
 * The bucket that was given; else the one that the environment's runs have named in their leases; else the output
 * `recoveryBucket` of a Pulumi stack, by default the one that is selected in this folder.
 */
export async function findBucket({ bucket, environment, stack }: Whereabouts, ssm: SSMClient): Promise<string> {
  if (bucket !== undefined) return bucket;
  if (environment !== undefined) return bucketOf(environment, ssm);
  return bucketOfStack(stack);
}

async function bucketOf(environment: string, ssm: SSMClient): Promise<string> {
  const stores = new Set<string>();
  let NextToken: string | undefined;
  do {
    const request = { Path: leases, Recursive: true, ...(NextToken && { NextToken }) };
    const page = await ssm.send(new GetParametersByPathCommand(request));
    for (const { Value = "" } of page.Parameters ?? []) {
      const lease = z.safeParse(holder, parsed(Value));
      if (lease.success && lease.data.environment === environment) stores.add(lease.data.store);
    }
    NextToken = page.NextToken;
  } while (NextToken !== undefined && NextToken !== "");
  const [store, ...others] = [...stores].sort();
  if (store === undefined) {
    throw new Refusal(`no run of the environment "${environment}" is known to this account and Region: give --bucket`);
  }
  if (others.length === 0) return store;
  throw new Refusal(`"${environment}" has several recovery stores (${[store, ...others].join(", ")}): give --bucket`);
}

async function bucketOfStack(stack: string | undefined): Promise<string> {
  const args = ["stack", "output", output, "--non-interactive", ...(stack === undefined ? [] : ["--stack", stack])];
  const found = await promisify(execFile)("pulumi", args).then(
    ({ stdout }) => stdout.trim(),
    () => "",
  );
  if (found !== "") return found;
  throw new Refusal(
    "which recovery store? Give --bucket, or --environment, or --stack with the name of a Pulumi stack that has the " +
      `output ${output}`,
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
