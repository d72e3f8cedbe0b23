/** Errors that say that the database is away for a moment, and not that the question was wrong. */
const transientCodes: ReadonlySet<string> = new Set([
  // admin_shutdown: somebody ended the connection.
  "57P01",
  // cannot_connect_now: the server is starting.
  "57P03",
  // object_not_in_prerequisite_state: the database does not take connections.
  "55000",
  // invalid_catalog_name: the database is being renamed.
  "3D000",
  // invalid_password: it was rotated.
  "28P01",
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
]);

export function isTransient(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  if (code !== undefined) return transientCodes.has(code);
  // The driver's own errors have no code.
  return /Connection terminated|timeout expired|Client has encountered a connection error/.test(message ?? "");
}
