/** The figures of a healing. */
import type { CutOver, Verdict } from "../../run/facts";
import { outage } from "../probes";
import type { Healing } from "./healing";

/** In milliseconds. */
export function figures(
  { context, facts }: Pick<Healing, "context" | "facts">,
  green: number,
): Pick<Verdict, "rto" | "rpo" | "outage"> {
  const detected = Date.parse(facts.decided?.detectedAt ?? "");
  const began = Date.parse(facts.claims[0]?.at ?? "");
  const targets = Object.values(facts.targets);
  const spent = (kind: CutOver["kind"]): number =>
    Math.max(0, ...targets.map(({ cutOver: each }) => (each?.kind === kind ? each.milliseconds : 0)));
  const snapshots = targets.map((each) => Date.parse(each.protected?.snapshotAt ?? ""));
  return {
    rto: {
      total: Math.max(0, green - detected),
      decision: Math.max(0, began - detected),
      database: spent("database"),
      instance: spent("instance"),
    },
    rpo: Math.max(0, detected - Math.min(...snapshots)),
    outage: outage([...context.watch.all().values()], green),
  };
}
