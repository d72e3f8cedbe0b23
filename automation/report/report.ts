/** The report of a drill, from what was gathered and judged. */
import type { Report } from "../../run/report";
import * as schema from "../../run/report";
import type { Engine } from "../drill/options";
import type { ExecutionRecord, RunRecord } from "../judge/run";
import type { Check } from "../../run/report";

export interface ReportInput {
  readonly scenario: string;
  readonly engine: Engine;
  readonly startedAt: Date;
  readonly finishedAt: Date;
  readonly execution: ExecutionRecord | undefined;
  readonly run: RunRecord | undefined;
  /** What an outside client of the application suffered, in milliseconds; null when it is not over or not known. */
  readonly clientOutage: number | null;
  readonly checks: readonly Check[];
}

/** Builds a report; its shape is checked against the schema. */
export function makeReport(input: ReportInput): Report {
  const verdict = input.run?.verdict;
  return schema.report.parse({
    version: 1,
    passed: input.checks.length > 0 && input.checks.every((check) => check.held),
    scenario: input.scenario,
    engine: input.engine,
    startedAt: input.startedAt.toISOString(),
    finishedAt: input.finishedAt.toISOString(),
    verdict: verdict?.verdict ?? null,
    execution: input.execution === undefined ? null : executionOf(input.execution),
    rto: verdict?.rto ?? null,
    rpo: verdict?.rpo ?? null,
    outage: verdict?.outage ?? null,
    clientOutage: input.clientOutage,
    undone: verdict?.undone ?? [],
    undoneObjects: verdict?.undoneObjects ?? [],
    notUndone: verdict?.notUndone ?? [],
    checks: [...input.checks],
  });
}

function executionOf({ id, status, stages }: ExecutionRecord) {
  return {
    id,
    status,
    stages: stages.map((stage) => ({
      name: stage.name,
      status: stage.status,
      actions: stage.actions.map((action) => ({
        name: action.name,
        status: action.status,
        milliseconds: action.startedAt && action.endedAt ? action.endedAt.getTime() - action.startedAt.getTime() : null,
        summary: action.summary,
      })),
    })),
  };
}
