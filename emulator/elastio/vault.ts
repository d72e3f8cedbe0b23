/**
 * A deduplicating vault on disk. Chunks are files named by the hash of their content; a stream is a file with the
 * hashes of its chunks, in order. Streams are written and read piece by piece, so memory does not depend on their size.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as readline from "node:readline";
import { cutChunks } from "./chunks";

export interface StoredStream {
  readonly id: string;
  readonly bytes: number;
  /** How many of them the vault did not have yet. */
  readonly newBytes: number;
}

export class Vault {
  /** Folders that are there. */
  private readonly folders = new Set<string>();

  constructor(private readonly directory: string) {}

  /** Stores what comes, to its end. When the source fails, nothing of it can be found, and the failure is thrown. */
  async store(source: AsyncIterable<Buffer>): Promise<StoredStream> {
    const id = randomUUID();
    const manifest = this.manifest(id);
    await fs.mkdir(path.dirname(manifest), { recursive: true });
    const file = await fs.open(`${manifest}.partial`, "w");
    let bytes = 0;
    let newBytes = 0;
    const keep = async (hash: string, chunk: Buffer): Promise<void> => {
      if (await this.keep(hash, chunk)) newBytes += chunk.length;
      bytes += chunk.length;
      await file.write(`${hash}\n`);
    };
    // A chunk is written while the next one is read.
    let kept = Promise.resolve();
    try {
      for await (const chunk of cutChunks(source)) {
        const hash = createHash("sha256").update(chunk).digest("hex");
        await kept;
        kept = keep(hash, chunk);
        kept.catch(() => undefined);
      }
      await kept;
    } catch (error) {
      await kept.catch(() => undefined);
      await file.close();
      await fs.rm(`${manifest}.partial`, { force: true });
      throw error;
    }
    await file.close();
    await fs.rename(`${manifest}.partial`, manifest);
    return { id, bytes, newBytes };
  }

  /** The stream's bytes. Throws on a chunk that is missing or not what was stored. */
  async *read(id: string): AsyncGenerator<Buffer> {
    const lines = readline.createInterface({ input: createReadStream(this.manifest(id)) });
    for await (const hash of lines) {
      const chunk = await fs.readFile(this.chunk(hash));
      if (createHash("sha256").update(chunk).digest("hex") !== hash) {
        throw new Error(`The vault's chunk ${hash} is damaged`);
      }
      yield chunk;
    }
  }

  /** Whether the chunk is new. */
  private async keep(hash: string, chunk: Buffer): Promise<boolean> {
    const file = this.chunk(hash);
    const known = await fs.stat(file).then(
      () => true,
      () => false,
    );
    if (known) return false;
    const folder = path.dirname(file);
    if (!this.folders.has(folder)) await fs.mkdir(folder, { recursive: true });
    this.folders.add(folder);
    const partial = `${file}.${randomUUID()}`;
    await fs.writeFile(partial, chunk);
    await fs.rename(partial, file);
    return true;
  }

  private manifest(id: string): string {
    return path.join(this.directory, "streams", id);
  }

  private chunk(hash: string): string {
    return path.join(this.directory, "chunks", hash.slice(0, 2), hash);
  }
}
