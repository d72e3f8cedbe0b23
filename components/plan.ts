/**
 * Makes the plan, and checks what can be checked before anything exists: that names fit, that deadlines nest, that
 * every time-out is one that AWS takes.
 */
import type { Limits, Plan } from "../run/plan";

export type Deadlines = Plan["deadlines"];
export type Soak = Plan["soak"];
export type Engine = Plan["engine"];

export const defaultDeadlines: Deadlines = {
  leaseSeconds: 1800,
  protectSeconds: 3600,
  waitSeconds: 7200,
  admitSeconds: 600,
  deploySeconds: 3600,
  healSeconds: 3600,
  freshSeconds: 14_400,
};

/** What a live client hardly notices: docs/performance.md has the figures. */
export const defaultLimits = { parallelTargets: 4, stageWorkers: 1, maxRate: 20_000_000 } as const satisfies Limits;

/** The limits of a protection; `unbounded` becomes no limit. */
export function limitsFrom(given: LimitsArgs = {}): Limits {
  const { maxRate, ...counts } = { ...defaultLimits, ...given };
  return { ...counts, ...(maxRate === "unbounded" ? {} : { maxRate }) };
}

export interface LimitsArgs {
  readonly parallelTargets?: number;
  readonly stageWorkers?: number;
  readonly maxRate?: number | "unbounded";
}

export const defaultSoak: Soak = { seconds: 60, tolerance: 2 };

/** CodeBuild ends a build after at most 36 hours, and takes no less than 5 minutes. */
const longestBuildMinutes = 2160;
const shortestBuildMinutes = 5;
/** How long CodeBuild may take to give a build a machine and its source, before the job's own clock starts. */
const startMinutes = 5;

/** How long a build of each job may wait for its turn, in minutes. */
export const queueMinutes = 10;

export interface BuildTimeouts {
  readonly protect: number;
  readonly wait: number;
  readonly deploy: number;
  readonly guard: number;
  readonly rescue: number;
}

/**
 * Build time-outs in minutes. They are the last resort behind the jobs' own deadlines, so each is longer than all
 * deadlines that may pass in that build; the Guard's is longer than the deploy's, because the Guard must outlive it.
 */
export function buildTimeouts(deadlines: Deadlines, soak: Soak): BuildTimeouts {
  const minutes = (seconds: number, reserve: number) =>
    Math.max(shortestBuildMinutes, Math.ceil(seconds / 60) + reserve);
  const { leaseSeconds, protectSeconds, waitSeconds, admitSeconds, deploySeconds, healSeconds } = deadlines;
  return {
    protect: minutes(leaseSeconds + protectSeconds, startMinutes),
    wait: minutes(waitSeconds, startMinutes),
    deploy: minutes(admitSeconds + deploySeconds, startMinutes),
    guard: minutes(admitSeconds + deploySeconds + soak.seconds + healSeconds, queueMinutes + 15),
    rescue: minutes(2 * healSeconds, 15),
  };
}

/** What is known when the program runs, without any answer from AWS. */
export interface PlanSettings {
  readonly deadlines: Deadlines;
  readonly soak: Soak;
  readonly pollSeconds: number;
  readonly probes: readonly {
    readonly id: string;
    readonly intervalSeconds: number;
    readonly timeoutSeconds: number;
  }[];
  readonly targetIds: readonly string[];
  readonly retentionDays: number;
  readonly limits: Limits;
  readonly healing: Plan["healing"];
  readonly engine: Engine;
  readonly instances: readonly {
    readonly id: string;
    readonly paths: readonly string[];
    readonly freeze: { readonly thawSeconds: number } | undefined;
  }[];
}

/** Every rule that the settings break, as whole sentences. */
export function planProblems(settings: PlanSettings): string[] {
  return [
    ...targetProblems(settings.targetIds),
    ...positiveProblems(settings),
    ...timeoutProblems(settings),
    ...nestingProblems(settings),
    ...limitProblems(settings.limits),
    ...settings.instances.flatMap((instance) => instanceProblems(instance, settings)),
    ...settings.probes.flatMap((probe) => probeProblems(probe, settings)),
  ];
}

function targetProblems(ids: readonly string[]): string[] {
  if (ids.length === 0) return ["There is nothing to protect: give at least one instance or database."];
  const malformed = ids
    .filter((id) => !/^[a-z0-9][a-z0-9-]*$/.test(id))
    .map(
      (id) => `The target id "${id}" cannot be part of an object's key: use lower-case letters, digits and hyphens.`,
    );
  const twice = ids
    .filter((id, index) => ids.indexOf(id) !== index)
    .map((id) => `The target id "${id}" is given twice: ids are unique.`);
  return [...malformed, ...twice];
}

function positiveProblems({ deadlines, pollSeconds }: PlanSettings): string[] {
  return Object.entries({ ...deadlines, pollSeconds })
    .filter(([, value]) => !(value > 0))
    .map(([name, value]) => `${name} is ${value}: give a positive number of seconds.`);
}

function timeoutProblems({ deadlines, soak }: PlanSettings): string[] {
  return Object.entries(buildTimeouts(deadlines, soak))
    .filter(([, minutes]) => minutes > longestBuildMinutes)
    .map(
      ([job, minutes]) =>
        `The deadlines add up to ${minutes} minutes for the ${job} build, and CodeBuild ends a build after ` +
        `${longestBuildMinutes}: shorten them.`,
    );
}

/** Pairs of a deadline and a longer one in which it has to fit. */
function nestingProblems({ deadlines, soak, pollSeconds }: PlanSettings): string[] {
  const shortest = Math.min(...Object.values(deadlines));
  const rules: [boolean, string][] = [
    [
      pollSeconds < shortest,
      `pollSeconds is ${pollSeconds}, and the shortest deadline ${shortest} seconds: ` +
        "poll more often, or nothing is seen in time.",
    ],
    [
      deadlines.admitSeconds <= deadlines.freshSeconds,
      `admitSeconds (${deadlines.admitSeconds}) exceeds freshSeconds (${deadlines.freshSeconds}): ` +
        "a protection could be stale before its deploy begins.",
    ],
    [
      soak.seconds <= deadlines.deploySeconds,
      `soak.seconds (${soak.seconds}) exceeds deploySeconds (${deadlines.deploySeconds}): ` +
        "the deploy's deadline includes the soak's order of size; lengthen it or soak for less.",
    ],
  ];
  return rules.filter(([holds]) => !holds).map(([, sentence]) => sentence);
}

function limitProblems(limits: Limits): string[] {
  const { maxRate, ...counts } = limits;
  return [
    ...Object.entries(counts)
      .filter(([, value]) => !Number.isInteger(value) || value < 1)
      .map(([name, value]) => `limits.${name} is ${value}: give a whole number from 1 on.`),
    ...(maxRate === undefined || maxRate > 0
      ? []
      : [`limits.maxRate is ${maxRate}: give bytes per second, or "unbounded".`]),
  ];
}

function instanceProblems(instance: PlanSettings["instances"][number], settings: PlanSettings): string[] {
  const { id, paths, freeze } = instance;
  const { protectSeconds } = settings.deadlines;
  const rules: [boolean, string][] = [
    [
      settings.healing === "always" || paths.length > 0,
      `The instance "${id}" has no paths, and healing is "when-changed": nothing would tell that it has changed.`,
    ],
    [
      freeze === undefined || (freeze.thawSeconds > 0 && freeze.thawSeconds < protectSeconds),
      `The instance "${id}" thaws by itself after ${freeze?.thawSeconds} seconds: give a positive number below ` +
        `protectSeconds (${protectSeconds}), as short as the application bears.`,
    ],
    [
      freeze === undefined || settings.engine === "aws",
      `The instance "${id}" is to be frozen for its backup, and Elastio does not tell at which moment it makes one: ` +
        'use the engine "aws", or no freeze.',
    ],
  ];
  return rules.filter(([holds]) => !holds).map(([, sentence]) => sentence);
}

function probeProblems(probe: PlanSettings["probes"][number], { soak }: PlanSettings): string[] {
  const rules: [boolean, string][] = [
    [
      probe.timeoutSeconds > 0 && probe.intervalSeconds > 0,
      `The probe "${probe.id}" has an interval or a time-out that is not positive.`,
    ],
    [
      soak.seconds === 0 || probe.intervalSeconds + probe.timeoutSeconds <= soak.seconds,
      `The probe "${probe.id}" answers at most every ${probe.intervalSeconds + probe.timeoutSeconds} seconds, and the ` +
        `soak lasts ${soak.seconds}: it would end without an answer.`,
    ],
  ];
  return rules.filter(([holds]) => !holds).map(([, sentence]) => sentence);
}
