/** What a build's log says. Lines for people; never a secret. */

export interface Log {
  (line: string): void;
  /** A command line, as one would type it: `$ elastio ec2 backup ...`. Never holds a secret. */
  command(line: string): void;
  /** The same log with every line marked, for work that goes on beside other work. */
  for(target: string): Log;
}

export function createLog(write: (line: string) => void, mark = ""): Log {
  const line = (text: string): void => {
    for (const each of text.split("\n")) write(mark + each);
  };
  return Object.assign((text: string) => line(text), {
    command: (text: string) => line(`$ ${text}`),
    for: (target: string) => createLog(write, `${mark}[${target}] `),
  });
}

/** Writes to the standard output, where CodeBuild reads. */
export const standardLog: Log = createLog((line) => process.stdout.write(`${line}\n`));

/** A duration for people: `850 ms`, `12.3 s`, `4 min 10 s`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 120_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`;
}
