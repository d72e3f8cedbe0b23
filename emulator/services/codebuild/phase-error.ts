/** Why a phase of a build failed, with the code that the service gives in the phase's context. */
import { AwsError } from "../../core/definitions";

export class PhaseError extends Error {
  override readonly name = "PhaseError";
  constructor(
    readonly statusCode: string,
    message: string,
  ) {
    super(message);
  }
}

/** Work whose refusal by AWS fails the phase. */
export async function asPhaseError<T>(statusCode: string, suffix: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AwsError) throw new PhaseError(statusCode, `${error.name}: ${error.message}${suffix}`);
    throw error;
  }
}
