/** Errors that the people who read a build's log can act on: they print as one line, without a stack. */

/** Exit codes of the jobs; `jobs/README.md` has the list. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  healed: 3,
  "heal-failed": 4,
  "not-deployed": 5,
  "would-heal": 6,
} as const;

export class Failure extends Error {
  constructor(
    message: string,
    readonly exitCode: number = exitCodes.failed,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = "Failure";
  }
}

/** What an unknown thrown value says, in one line. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  const one = text.replaceAll(/\s*\n\s*/g, "; ");
  const cause = error instanceof AggregateError ? error.errors.map(reasonOf).join("; ") : "";
  return cause === "" ? one : `${one === "" ? "" : `${one}: `}${cause}`;
}
