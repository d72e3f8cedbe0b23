/** What an image must hold, and what a build does when it does not. Pure. */
import { isCuratedImage } from "./buildspec";
import type { Engine } from "./plan";

export interface ImageNeeds {
  readonly image: string;
  /** PostgreSQL's client programs. */
  readonly clients: boolean;
  readonly engine: Engine;
}

/** Commands of the install phase. */
export function toolCommands(needs: ImageNeeds): string[] {
  return [...(needs.clients ? clientPrograms(needs.image) : []), ...(needs.engine === "elastio" ? [elastioCheck] : [])];
}

/** PostgreSQL's client programs: on a curated image from the distribution, elsewhere they must be there. */
export function clientPrograms(image: string): string[] {
  const missing = isCuratedImage(image)
    ? "dnf install --assumeyes --quiet postgresql17"
    : '{ echo "pg_dump is not in the image: add PostgreSQL\'s client programs to it" >&2; exit 1; }';
  return [`command -v pg_dump > /dev/null || ${missing}`];
}

/** Elastio's installer has neither version nor checksum: it is not run here. */
const elastioCheck =
  "command -v elastio > /dev/null || " +
  '{ echo "elastio is not in the image: give an image that holds Elastio\'s CLI, or choose the engine aws" >&2; exit 1; }';
