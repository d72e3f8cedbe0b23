import * as pulumi from "@pulumi/pulumi";
import { knownInputs } from "./inputs";
import { refuseProblems } from "./errors";
import { nameProblems } from "./names";
import { writeOnce } from "./policies";
import { PrivateBucket } from "./private-bucket";

export interface RecoveryStoreArgs {
  /**
   * How long facts and dumps are kept, in days.
   * @default 35
   */
  readonly retentionDays?: number;
  /**
   * Delete the store with everything in it when the stack is destroyed. Only for environments that are thrown away.
   * @default false
   */
  readonly forceDestroy?: boolean;
}

/**
 * Where everything lies that a healing needs: the facts of each run (`runs/`), the dumps of the engine `aws`
 * (`vault/`), and the jobs' own program with the plan (`toolkit/`). Versioned, encrypted and private; facts can only
 * be created, never replaced, and nobody can delete facts or dumps before their retention ends.
 *
 * @example
 * const store = new RecoveryStore("shop", { retentionDays: 90 });
 */
export class RecoveryStore extends pulumi.ComponentResource {
  /** Name of the bucket; resolves when its policy is in force. */
  readonly bucket: pulumi.Output<string>;
  readonly arn: pulumi.Output<string>;

  constructor(name: string, args: RecoveryStoreArgs = {}, opts?: pulumi.ComponentResourceOptions) {
    super("protected-pipeline:index:RecoveryStore", name, knownInputs(args), opts);
    const { retentionDays = 35, forceDestroy = false } = args;
    refuseProblems(`RecoveryStore "${name}"`, [...nameProblems(name), ...retentionProblems(retentionDays)]);

    const bucket = new PrivateBucket(
      `${name}-recovery`,
      { forceDestroy, expire: { "runs/": retentionDays, "vault/": retentionDays }, statements: writeOnce },
      { parent: this },
    );
    this.bucket = bucket.bucket;
    this.arn = bucket.arn;
    this.registerOutputs({ bucket: this.bucket, arn: this.arn });
  }
}

/** What is wrong with a retention in days, as whole sentences. */
export function retentionProblems(days: number): string[] {
  if (Number.isInteger(days) && days >= 1 && days <= 3650) return [];
  return [`retentionDays is ${days}: give a whole number of days from 1 to 3650.`];
}
