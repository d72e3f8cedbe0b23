/** The end of a run: its verdict, the colour that follows from it, and what is put away before. */
import type { Verdict } from "../run/facts";
import { exitCodes } from "./failure";
import type { Log } from "./log";

const codes: Readonly<Record<Verdict["verdict"], number>> = {
  healthy: exitCodes.done,
  healed: exitCodes.healed,
  "heal-failed": exitCodes["heal-failed"],
  "would-heal": exitCodes["would-heal"],
  "not-deployed": exitCodes["not-deployed"],
};

/** Says the verdict as the log's last line. A verdict, once written, fixes the colour of every later attempt. */
export function colourOf(log: Log, verdict: Verdict): number {
  log(`${verdict.verdict}: ${verdict.reason}`);
  return codes[verdict.verdict];
}
