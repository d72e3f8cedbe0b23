import { messageOf } from "../refusal";

/** Work and its clean-up: the clean-up runs whatever the work did, and no error hides another. */
export async function withCleanup<T>(work: () => Promise<T>, cleanup: () => Promise<void>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    try {
      await cleanup();
    } catch (second) {
      throw new AggregateError([error, second], messageOf(error), { cause: second });
    }
    throw error;
  }
  await cleanup();
  return result;
}
