/** What became of gathering one thing: a value, or why there is none. Nothing that is unknown passes for a value. */
import { messageOf } from "./refusal";

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

export async function outcomeOf<T>(gather: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { ok: true, value: await gather() };
  } catch (error) {
    return { ok: false, error: messageOf(error) };
  }
}

export function missing(error: string): { readonly ok: false; readonly error: string } {
  return { ok: false, error };
}
