/** The fingerprint of an instance's files: names, kinds, modes, owners, link targets and contents of declared paths. */
import type { Clients } from "../clients";
import { Failure } from "../failure";
import type { Deadline, Pause } from "../time";
import { runOnInstance, shellLine } from "./commands";

/**
 * Prints one line, `files <sha256> <number of files>`. Times are left out: a restart touches them. A path that does not
 * exist is an error: a fingerprint of nothing proves nothing.
 */
const script = `
for path in "$@"; do
  [ -e "$path" ] || { echo "$path does not exist" >&2; exit 1; }
done
list() { find "$@" -xdev -printf "%y %m %U %G %p -> %l\\0" | LC_ALL=C sort -z; }
contents() { find "$@" -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum --; }
hash=$( { list "$@"; contents "$@"; } | sha256sum | cut -d " " -f 1 )
count=$( find "$@" -xdev -type f -printf . | wc -c )
echo "files $hash $count"
`;

/** The command for a shell of any kind. */
export function fingerprintCommand(paths: readonly string[]): string {
  return shellLine(["bash", "-euo", "pipefail", "-c", script, "files", ...paths]);
}

export interface Files {
  readonly hash: string;
  readonly count: number;
}

export function parseFiles(instanceId: string, output: string): Files {
  const match = /^files ([0-9a-f]{64}) (\d+)$/m.exec(output);
  if (match?.[1] === undefined) {
    throw new Failure(`the fingerprint of the files on ${instanceId} is not readable: ${output.trim().slice(0, 200)}`);
  }
  return { hash: match[1], count: Number(match[2]) };
}

/** What an instance without declared paths has. */
const nothing: Files = { hash: "none", count: 0 };

export async function fingerprintFiles(
  clients: Clients,
  instanceId: string,
  paths: readonly string[],
  deadline: Deadline,
  pause: Pause,
): Promise<Files> {
  if (paths.length === 0) return nothing;
  return parseFiles(instanceId, await runOnInstance(clients, instanceId, fingerprintCommand(paths), deadline, pause));
}
