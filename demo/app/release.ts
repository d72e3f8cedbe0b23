/** A release: `version.txt`, and `queries.js` with what the release asks the database. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";

export type Query = (text: string, values?: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>;

/** What `queries.js` exports. Each runs in a transaction of its own. */
export interface Queries {
  /** What the page shows, name to value. */
  readonly figures: (query: Query) => Promise<Readonly<Record<string, unknown>>>;
  /** Reads and writes, and leaves nothing behind. Throws when that is not possible. */
  readonly health: (query: Query) => Promise<void>;
  /** Places an order. */
  readonly order: (query: Query) => Promise<Readonly<Record<string, unknown>>>;
}

export interface Release {
  readonly version: string;
  readonly queries: Queries;
}

export function loadRelease(directory: string): Release {
  const version = readFileSync(path.join(directory, "version.txt"), "utf8").trim();
  // Not the bundler's require: the file is there when the service starts, not when it is built.
  const queries = createRequire(path.join(directory, "queries.js"))(path.join(directory, "queries.js")) as Queries;
  return { version, queries };
}
