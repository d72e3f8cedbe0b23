/** What every step of a healing has in hand. */
import type { RunFacts } from "../../run/state";
import type { Context } from "../context";
import { reasonOf } from "../failure";
import type { Deadline, Pause } from "../time";

/** What one healer measures while it works, in milliseconds. A later healer begins it anew. */
export interface Measures {
  fence: number;
}

export interface Healing {
  readonly context: Context;
  readonly facts: RunFacts;
  readonly deadline: Deadline;
  readonly measures: Measures;
}

export function pauseOf({ context }: Pick<Healing, "context">): Pause {
  return { seconds: context.job.plan.pollSeconds };
}

/** For what informs but does not decide: a failure of it is told, and no more. */
export async function told<T>(
  { context }: Pick<Healing, "context">,
  what: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    context.job.log(`${what} could not be found out or done: ${reasonOf(error)}`);
    return undefined;
  }
}
