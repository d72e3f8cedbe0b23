/** A protection's settings: everything that is known when the program runs, without any answer from AWS. Pure. */
import type { Limits, Plan } from "../run/plan";
import { defaultImage, type ComputeType } from "./command-project";
import { nameProblems } from "./names";
import { buildTimeouts, defaultDeadlines, defaultSoak, limitsFrom, planProblems } from "./plan";
import type { BuildTimeouts, Deadlines, Engine, PlanSettings, Soak } from "./plan";
import type { ProtectionArgs, ProtectionProbe } from "./protection-args";
import { retentionProblems } from "./recovery-store";

/** The jobs that this package runs. The deploy is the user's. */
export type Job = "protect" | "wait" | "guard" | "rescue";

const defaultComputeTypes: Readonly<Record<Job, ComputeType>> = {
  protect: "BUILD_GENERAL1_SMALL",
  wait: "BUILD_GENERAL1_SMALL",
  guard: "BUILD_GENERAL1_MEDIUM",
  rescue: "BUILD_GENERAL1_LARGE",
};

export interface Settings {
  readonly environment: string;
  readonly engine: Engine;
  readonly pipeline: Plan["pipeline"];
  readonly projects: Plan["projects"];
  readonly deadlines: Deadlines;
  readonly soak: Soak;
  readonly timeouts: BuildTimeouts;
  readonly pollSeconds: number;
  readonly retentionDays: number;
  readonly image: string;
  readonly computeTypes: Readonly<Record<Job, ComputeType>>;
  readonly rescueSchedule: string;
  readonly targetIds: readonly string[];
  readonly instances: PlanSettings["instances"];
  readonly limits: Limits;
  readonly healing: Plan["healing"];
  /** Which jobs need PostgreSQL's client programs: those that always copy databases, those that may restore one late. */
  readonly databaseClients: Readonly<Record<"always" | "late", boolean>>;
  readonly probes: PlanSettings["probes"];
}

export function normalize(name: string, args: ProtectionArgs): Settings {
  const deadlines = { ...defaultDeadlines, ...args.deadlines };
  const soak = { ...defaultSoak, ...args.soak };
  const instances = args.instances ?? [];
  const databases = args.databases ?? [];
  return {
    environment: args.environment ?? name,
    engine: args.engine ?? "aws",
    pipeline: { deployStage: "Deploy", deployAction: "Deploy", guardAction: "Guard", ...args.pipeline },
    projects: {
      protect: `${name}-protect`,
      wait: `${name}-wait`,
      deploy: args.deployProject,
      guard: `${name}-guard`,
      rescue: `${name}-rescue`,
    },
    deadlines,
    soak,
    timeouts: buildTimeouts(deadlines, soak),
    pollSeconds: args.pollSeconds ?? 5,
    retentionDays: args.retentionDays ?? 35,
    image: args.image ?? defaultImage,
    computeTypes: { ...defaultComputeTypes, ...args.computeTypes },
    rescueSchedule: args.rescueSchedule ?? "rate(15 minutes)",
    targetIds: [...instances.map((each) => each.id ?? "instance"), ...databases.map((each) => each.id ?? "database")],
    instances: instances.map(({ id = "instance", paths, freeze }) => ({ id, paths, freeze })),
    limits: limitsFrom(args.limits),
    healing: args.healing ?? "always",
    databaseClients: {
      always: databases.length > 0,
      late: databases.some(({ stage }) => stage === "on-failure"),
    },
    probes: (args.probes ?? []).map(probeTimes),
  };
}

export function probeTimes(probe: ProtectionProbe) {
  const { id = "application", intervalSeconds = 5, timeoutSeconds = 5 } = probe;
  return { id, intervalSeconds, timeoutSeconds };
}

/** Everything that can be found wrong before anything exists, as whole sentences. */
export function protectionProblems(name: string, settings: Settings): string[] {
  return [
    ...nameProblems(name),
    ...retentionProblems(settings.retentionDays),
    ...planProblems(settings),
    ...computeProblems(settings.computeTypes),
    ...settings.instances
      .flatMap(({ paths }) => paths)
      .filter((path) => !path.startsWith("/"))
      .map((path) => `The path "${path}" of an instance is not absolute.`),
    ...(/^(rate|cron)\(.+\)$/.test(settings.rescueSchedule)
      ? []
      : [`rescueSchedule is "${settings.rescueSchedule}": give an expression such as "rate(15 minutes)".`]),
  ];
}

function computeProblems({ guard, rescue }: Settings["computeTypes"]): string[] {
  if (guard !== rescue) return [];
  return [
    `Guard and Rescue both use ${guard}: they may run at the same time, and an account's default quota is one ` +
      "running build per compute type. Choose different ones.",
  ];
}
