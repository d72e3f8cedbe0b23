/** The recovery store's objects: read, list, and create exactly once. */
import type { S3Client } from "@aws-sdk/client-s3";
import { Failure, reasonOf } from "../failure";
import { type Deadline, deadlineIn, until } from "../time";

export interface Objects {
  /** The object's text; undefined when there is none. Any other answer is an error. */
  get(key: string): Promise<string | undefined>;
  /**
   * Creates an object that does not exist yet. `exists` when somebody else was first. An object with the very same
   * body counts as created: it is this call's own earlier attempt, whose answer was lost.
   */
  create(key: string, body: string): Promise<"created" | "exists">;
  /** All objects below a prefix. */
  list(prefix: string): Promise<Listed[]>;
}

export interface Listed {
  readonly key: string;
  /** When it was written. */
  readonly at: Date;
}

/** How long a single request is tried again while the service asks for it. */
const patienceSeconds = 60;

export class S3Objects implements Objects {
  constructor(
    private readonly client: Pick<S3Client, "send">,
    private readonly bucket: string,
    private readonly patience: () => Deadline = () => deadlineIn(patienceSeconds),
  ) {}

  async get(key: string): Promise<string | undefined> {
    const { GetObjectCommand } = await import("@aws-sdk/client-s3");
    try {
      const answer = await this.client.send(new GetObjectCommand({ Bucket: this.bucket, Key: key }));
      if (answer.Body === undefined) throw new Error("the answer has no body");
      return await answer.Body.transformToString();
    } catch (error) {
      if (nameOf(error) === "NoSuchKey") return undefined;
      throw this.failure("read", key, error);
    }
  }

  async create(key: string, body: string): Promise<"created" | "exists"> {
    const { PutObjectCommand } = await import("@aws-sdk/client-s3");
    const attempt = async (): Promise<"created" | "exists" | undefined> => {
      try {
        const input = { Bucket: this.bucket, Key: key, Body: body, ContentType: "application/json", IfNoneMatch: "*" };
        await this.client.send(new PutObjectCommand(input));
        return "created";
      } catch (error) {
        // 409: another conditional write to this key is under way, or a delete marker is; S3 asks to try again.
        if (statusOf(error) === 409) return undefined;
        if (statusOf(error) !== 412) throw this.failure("write", key, error);
        return (await this.get(key)) === body ? "created" : "exists";
      }
    };
    const pause = { seconds: 0.05, factor: 2, cap: 5 };
    return until(`s3://${this.bucket}/${key} to be written`, this.patience(), pause, attempt);
  }

  async list(prefix: string): Promise<Listed[]> {
    const { ListObjectsV2Command } = await import("@aws-sdk/client-s3");
    const found: Listed[] = [];
    let token: string | undefined;
    try {
      do {
        const input = {
          Bucket: this.bucket,
          Prefix: prefix,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        };
        const page = await this.client.send(new ListObjectsV2Command(input));
        for (const { Key, LastModified } of page.Contents ?? []) {
          if (Key === undefined || LastModified === undefined) throw new Error("an object has no key or no date");
          found.push({ key: Key, at: LastModified });
        }
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      } while (token !== undefined);
    } catch (error) {
      throw this.failure("list", prefix, error);
    }
    return found;
  }

  private failure(what: string, key: string, error: unknown): Failure {
    return new Failure(`could not ${what} s3://${this.bucket}/${key}: ${reasonOf(error)}`, undefined, { cause: error });
  }
}

function nameOf(error: unknown): string | undefined {
  return error instanceof Error ? error.name : undefined;
}

function statusOf(error: unknown): number | undefined {
  const metadata = (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata;
  return metadata?.httpStatusCode;
}
