/** A recovery store in memory, and an S3 client in front of it that answers as S3 does. */
import { Readable } from "node:stream";
import type { Listed, Objects } from "../../jobs/store/objects";

export class MemoryObjects implements Objects {
  readonly objects = new Map<string, string>();
  /** When an object was written; now, where nothing else is said. */
  readonly dates = new Map<string, Date>();

  get(key: string): Promise<string | undefined> {
    return Promise.resolve(this.objects.get(key));
  }

  create(key: string, body: string): Promise<"created" | "exists"> {
    const standing = this.objects.get(key);
    if (standing === undefined) this.objects.set(key, body);
    return Promise.resolve(standing === undefined || standing === body ? "created" : "exists");
  }

  list(prefix: string): Promise<Listed[]> {
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    return Promise.resolve(keys.map((key) => ({ key, at: this.dates.get(key) ?? new Date() })));
  }
}

type Sent = { input: Record<string, unknown>; constructor: { name: string } };

/** An error as the SDK throws it. */
export function serviceError(name: string, status: number): Error {
  return Object.assign(new Error(`${name}: from the service`), { name, $metadata: { httpStatusCode: status } });
}

/** A client with its operations as functions; each call is kept. */
export class FakeClient {
  readonly sent: { name: string; input: Record<string, unknown> }[] = [];

  constructor(private readonly operations: Record<string, (input: Record<string, unknown>) => unknown>) {}

  send(command: Sent): Promise<never> {
    const name = command.constructor.name.replace(/Command$/, "");
    this.sent.push({ name, input: command.input });
    const operation = this.operations[name];
    if (operation === undefined) return Promise.reject(new Error(`nobody said what ${name} answers`));
    return Promise.resolve().then(() => operation(command.input)) as Promise<never>;
  }
}

/** What S3 answers for one bucket; `before` may throw instead, call by call. */
export function fakeS3(objects: Map<string, string>, before: (name: string) => void = () => undefined): FakeClient {
  return new FakeClient({
    GetObject: ({ Key }) => {
      before("GetObject");
      const text = objects.get(String(Key));
      if (text === undefined) throw serviceError("NoSuchKey", 404);
      return { Body: Object.assign(Readable.from([text]), { transformToString: () => Promise.resolve(text) }) };
    },
    PutObject: ({ Key, Body, IfNoneMatch }) => {
      before("PutObject");
      if (IfNoneMatch !== "*") throw serviceError("AccessDenied", 403);
      if (objects.has(String(Key))) throw serviceError("PreconditionFailed", 412);
      objects.set(String(Key), String(Body));
      return {};
    },
    ListObjectsV2: ({ Prefix, ContinuationToken }) => {
      before("ListObjectsV2");
      const keys = [...objects.keys()].filter((key) => key.startsWith(String(Prefix))).sort();
      const start = Number(ContinuationToken ?? 0);
      const more = start + 2 < keys.length;
      return {
        Contents: keys.slice(start, start + 2).map((Key) => ({ Key, LastModified: new Date() })),
        IsTruncated: more,
        ...(more ? { NextContinuationToken: String(start + 2) } : {}),
      };
    },
  });
}
