/** The report as Markdown, for people. */
import type { Report } from "../../run/report";
import { duration, undoneWords } from "./words";

export function markdown(report: Report): string {
  return [
    `# Drill ${report.scenario}: ${report.passed ? "all held" : "FAILED"}`,
    "",
    `Engine ${report.engine}, ${report.startedAt} to ${report.finishedAt}, verdict ${report.verdict ?? "none"}.`,
    "",
    "## Checks",
    "",
    "| check | held | detail |",
    "|---|---|---|",
    ...report.checks.map(({ name, held, detail }) => `| ${name} | ${held ? "yes" : "**NO**"} | ${cell(detail)} |`),
    "",
    "## Figures",
    "",
    "| figure | value |",
    "|---|---|",
    ...figures(report).map(([name, value]) => `| ${name} | ${value} |`),
    "",
    ...list("Undone besides rows", report.undoneObjects),
    ...list("Not undone", report.notUndone),
    ...execution(report),
  ].join("\n");
}

function figures(report: Report): [string, string][] {
  const { rto } = report;
  return [
    ["RTO, from detection to green", duration(rto?.total ?? null)],
    ["of it: decision", duration(rto?.decision ?? null)],
    ["of it: database", duration(rto?.database ?? null)],
    ["of it: instance", duration(rto?.instance ?? null)],
    ["RPO, age of the snapshot at the failure", duration(report.rpo)],
    ["outage, by the Guard's probes", duration(report.outage)],
    ["outage, by a client outside", duration(report.clientOutage ?? null)],
    ["undone", cell(undoneWords(report.undone))],
  ];
}

function list(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [`## ${title}`, "", ...items.map((item) => `- ${item}`), ""];
}

function execution(report: Report): string[] {
  if (report.execution === null) return ["There was no execution.", ""];
  const rows = report.execution.stages.flatMap((stage) =>
    stage.actions.map(
      (action) =>
        `| ${stage.name} | ${action.name} | ${action.status} | ${duration(action.milliseconds)} | ${cell(action.summary)} |`,
    ),
  );
  return [
    `## Execution ${report.execution.id}: ${report.execution.status}`,
    "",
    "| stage | action | status | time | summary |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ];
}

/** Text inside of a table's cell. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ");
}
