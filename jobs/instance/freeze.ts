/**
 * The freeze around the moment of an instance's backup. What the owner froze must be thawed once, whatever becomes of
 * the job: so the instance thaws by itself after a time. The mark says that there is a freeze, and keeps a second one
 * out until it is thawed; in it lies the freeze's own ticket. Whoever removes the ticket thaws, and a ticket is removed
 * once: the clock of an earlier freeze knows another one, and does nothing.
 */
import type { InstanceTarget } from "../../run/plan";
import type { RunId } from "../../run/ids";
import { shellLine } from "./commands";

type Freeze = NonNullable<InstanceTarget["freeze"]>;

/** Exit codes as AWS's own documents for scripts around snapshots have them. */
export const freezeCodes = { freezeFailed: 201, thawFailed: 202, thawedBefore: 203, frozenAlready: 204 } as const;

/** In memory: the file system that is frozen may be any other. */
function markOf(run: RunId, folder: string): string {
  return `${folder}/protected-pipeline-${run}`;
}

const freezeScript = `
mark=$1 seconds=$2 freeze=$3 thaw=$4
mkdir "$mark" && ticket=$(mktemp -d "$mark/XXXXXXXXXX") || exit ${freezeCodes.frozenAlready}
mark=$mark ticket=$ticket seconds=$seconds thaw=$thaw setsid nohup bash -c \\
  'sleep "$seconds"; rmdir "$ticket" 2>/dev/null || exit 0; bash -c "$thaw"; rmdir "$mark"' \\
  < /dev/null > /dev/null 2>&1 &
bash -c "$freeze" && exit 0
rmdir "$ticket" 2>/dev/null && { bash -c "$thaw"; rmdir "$mark"; }
exit ${freezeCodes.freezeFailed}
`;

const thawScript = `
mark=$1 thaw=$2
rmdir "$mark"/* 2>/dev/null || { echo "it had thawed by itself before" >&2; exit ${freezeCodes.thawedBefore}; }
bash -c "$thaw"
thawed=$?
rmdir "$mark"
[ "$thawed" = 0 ] || exit ${freezeCodes.thawFailed}
`;

/** The command that freezes, and starts the clock of the thaw. */
export function freezeCommand({ freeze, thaw, thawSeconds }: Freeze, run: RunId, folder = "/run"): string {
  const words = ["bash", "-c", freezeScript, "freeze", markOf(run, folder), String(thawSeconds), freeze, thaw];
  return shellLine(words);
}

/** The command that thaws. It fails when the instance had thawed by itself: then the backup may not be of the freeze. */
export function thawCommand({ thaw }: Freeze, run: RunId, folder = "/run"): string {
  return shellLine(["bash", "-c", thawScript, "thaw", markOf(run, folder), thaw]);
}
