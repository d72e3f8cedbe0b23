import type { WireRequest } from "./wire";

/** The body of a request to a service that reads it whole. */
export function wholeBody({ body }: Pick<WireRequest, "body">): Buffer {
  if (!Buffer.isBuffer(body)) throw new Error("This wire does not read streams");
  return body;
}
