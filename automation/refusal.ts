/**
 * Something that the user has to change before the command can do its work. It prints as one line, without a stack,
 * and ends the command with exit status 2.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** The message of anything that was thrown, on one line. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(messageOf).join("; ");
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replaceAll(/\s+/g, " ").trim();
}
