/** What every step of a healing has in hand. */
import type { PreparedVolume } from "../../run/facts";
import type { RunFacts } from "../../run/state";
import type { Context } from "../context";
import { reasonOf } from "../failure";
import { type Deadline, type Pause, deadlineIn } from "../time";

/** What one healer measures while it works, in milliseconds. A later healer begins it anew. */
export interface Measures {
  fence: number;
}

/** What one healer keeps from step to step, besides the facts. A later healer begins it anew. */
export interface Begun {
  readonly deadline: Deadline;
  readonly measures: Measures;
  /** Volumes that are being made already, by target id. */
  readonly volumes: Map<string, Promise<readonly PreparedVolume[]>>;
}

export interface Healing extends Begun {
  readonly context: Context;
  readonly facts: RunFacts;
}

/** @param seconds - for the whole healing */
export function begin(seconds: number): Begun {
  return { deadline: deadlineIn(seconds), measures: { fence: 0 }, volumes: new Map() };
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
