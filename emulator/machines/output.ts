/** Reading what commands in machines write. */
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { MachineProcess } from "./machine";

/**
 * How long output may stay silent after the command ended, in milliseconds: processes that it left behind may hold its
 * streams open for ever.
 */
const SILENCE_MS = 100;

/**
 * Waits until the command has ended and all that it wrote has been read. Needs listeners on both streams.
 * Gives the exit code.
 */
export async function ended(child: MachineProcess): Promise<number> {
  const closed = Promise.all([streamEnd(child.stdout), streamEnd(child.stderr)]).then(() => true);
  const code = await child.exit;
  await Promise.race([closed, silence([child.stdout, child.stderr])]);
  return code;
}

/** The exit code, and the first characters of both outputs. What goes beyond the limits is read and dropped. */
export async function collectText(
  child: MachineProcess,
  stdoutLimit: number,
  stderrLimit: number,
): Promise<[code: number, stdout: string, stderr: string]> {
  const stdout = collector(child.stdout, stdoutLimit);
  const stderr = collector(child.stderr, stderrLimit);
  const code = await ended(child);
  return [code, stdout(), stderr()];
}

function collector(stream: Readable, limit: number): () => string {
  const decoder = new StringDecoder("utf8");
  let text = "";
  stream.on("data", (data: Buffer) => {
    if (text.length < limit) text = (text + decoder.write(data)).slice(0, limit);
  });
  return () => text;
}

function streamEnd(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    stream.once("end", resolve);
    stream.once("close", resolve);
    stream.once("error", () => resolve());
  });
}

function silence(streams: readonly Readable[]): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, SILENCE_MS);
    for (const stream of streams) stream.on("data", () => timer.refresh());
  });
}
