/** Whether a deploy is healthy, failed, or still to be watched. A pure function of what is seen. */
import type { Sample } from "../probes";

/** What the Guard sees at one moment. Times are milliseconds since 1970. */
export interface Observation {
  readonly now: number;
  /** CodeBuild's status of the admitted build; undefined when CodeBuild did not say. */
  readonly status: string | undefined;
  /** Since when CodeBuild has not said. */
  readonly unknownSince: number | undefined;
  /** When the build ended, as CodeBuild says. */
  readonly endedAt: number | undefined;
  /** Samples of each probe that were begun after the build had ended. */
  readonly samples: readonly (readonly Sample[])[];
  /** Alarms in the state ALARM. */
  readonly alarms: readonly string[];
  /** Since when CloudWatch has not said. */
  readonly alarmsUnknownSince: number | undefined;
}

export interface Rules {
  readonly deployDeadline: number;
  /** How long an unknown answer is borne, in milliseconds. */
  readonly patience: number;
  readonly soakMilliseconds: number;
  /** How many samples may fail while it soaks. */
  readonly tolerance: number;
}

export type Decision =
  | { readonly decision: "watch" }
  | { readonly decision: "healthy" | "failed"; readonly reason: string; readonly detectedAt: number };

const watch: Decision = { decision: "watch" };

/** Rules in the order in which they speak. The first that has something to say decides. */
const rules: readonly ((seen: Observation, rules: Rules) => Decision | undefined)[] = [
  function buildFailed({ status, endedAt, now }) {
    if (status === undefined || status === "IN_PROGRESS" || status === "SUCCEEDED") return undefined;
    const at = endedAt === undefined ? now : Math.min(endedAt, now);
    return { decision: "failed", reason: `the deploy build ended as ${status}`, detectedAt: at };
  },
  function alarmFired({ alarms, now }) {
    if (alarms.length === 0) return undefined;
    return { decision: "failed", reason: `alarm ${alarms.join(", ")} went off`, detectedAt: now };
  },
  function unknownTooLong({ unknownSince, alarmsUnknownSince, now }, { patience }) {
    const since = Math.min(unknownSince ?? now, alarmsUnknownSince ?? now);
    if (now - since < patience) return undefined;
    const who = unknownSince === undefined ? "CloudWatch" : "CodeBuild";
    return { decision: "failed", reason: `${who} has not said for too long how the deploy is`, detectedAt: since };
  },
  function tooLate({ status, now }, { deployDeadline }) {
    if (status === "SUCCEEDED" || now < deployDeadline) return undefined;
    return { decision: "failed", reason: "the deploy did not end before its deadline", detectedAt: now };
  },
  function stillRunning({ status }) {
    return status === "SUCCEEDED" ? undefined : watch;
  },
  function notWell({ samples, now }, { tolerance }) {
    const bad = samples.flat().filter(({ ok }) => !ok);
    if (bad.length <= tolerance) return undefined;
    const first = Math.min(now, ...bad.map(({ started }) => started));
    const detail = bad.at(-1)?.detail ?? "";
    const reason = `the application is not well after the deploy: ${bad.length} probes failed, the last one: ${detail}`;
    return { decision: "failed", reason, detectedAt: first };
  },
  function soaking({ samples, now, endedAt }, { soakMilliseconds }) {
    const over = now - (endedAt ?? now) >= soakMilliseconds;
    const asked = samples.every((each) => each.some(({ ok }) => ok));
    return over && asked ? undefined : watch;
  },
];

export function decide(seen: Observation, limits: Rules): Decision {
  for (const rule of rules) {
    const decision = rule(seen, limits);
    if (decision !== undefined) return decision;
  }
  return { decision: "healthy", reason: "the deploy succeeded and the application is well", detectedAt: seen.now };
}
