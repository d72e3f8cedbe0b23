import * as pulumi from "@pulumi/pulumi";

/** Arguments that cannot work. Pulumi prints the message alone, without a stack. */
export class InvalidArgumentsError extends pulumi.RunError {}

/** Throws one error that holds every problem that was found, or does nothing when there is none. */
export function refuseProblems(what: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new InvalidArgumentsError(`${what} cannot be created from these arguments. ${problems.join(" ")}`);
}
