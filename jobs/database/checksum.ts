/** Counts and hashes a stream on its way, and lets its end through only when that is as it must be. */
import { createHash } from "node:crypto";
import { Transform, type TransformCallback } from "node:stream";

export interface Sum {
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/**
 * What may lie between the two ends, so that a short halt of one is none of the other. A longer one is: nothing piles up.
 * And buffers that wait for long count as old ones for Node's garbage collector, which lets many of these pile up before it
 * looks at them again: with four megabytes here, a job has had 40 more.
 */
const buffered = 1024 * 1024;

export class Checksum extends Transform {
  private count = 0;
  private readonly hash = createHash("sha256");
  private result: Sum | undefined;

  /**
   * @param atEnd - throws when the stream must not end well; the reader then gets that error and no end
   * @param look - sees every chunk, and leaves it as it is
   */
  constructor(
    private readonly atEnd: (sum: Sum) => Promise<void> | void,
    private readonly look: (chunk: Buffer) => void = () => undefined,
  ) {
    super({ readableHighWaterMark: buffered });
  }

  /** Undefined until the stream has ended well. */
  get sum(): Sum | undefined {
    return this.result;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.count += chunk.length;
    this.hash.update(chunk);
    try {
      this.look(chunk);
    } catch (error) {
      return done(error as Error);
    }
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    const sum = { bytes: this.count, sha256: this.hash.digest("hex") };
    Promise.resolve(sum)
      .then(this.atEnd)
      .then(
        () => {
          this.result = sum;
          done();
        },
        (error: unknown) => done(error as Error),
      );
  }
}
