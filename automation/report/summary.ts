/** The ten lines at the end of a drill. */
import type { Report } from "../../run/report";
import { undoneWords } from "./words";
import { duration } from "./words";

const sameness = ["rows", "schema", "files", "instance", "answer"] as const;

export function summaryLines(report: Report, where: string | undefined): string[] {
  return [
    ...sameness.map((name) => line(name, detailOf(report, name))),
    line("RTO", rto(report)),
    line("RPO", report.rpo === null ? "not measured" : `${duration(report.rpo)}: age of the snapshot at the failure`),
    line("undone", undoneWords(report.undone)),
    line(report.passed ? "held" : "FAILED", checksLine(report)),
    line("report", where ?? "not written; --report DIR writes one"),
  ];
}

function line(name: string, text: string): string {
  return `${name.padEnd(9)} ${text}`;
}

function detailOf(report: Report, name: (typeof sameness)[number]): string {
  const check = report.checks.find((each) => each.name === name);
  if (check !== undefined) return check.detail;
  const served = report.checks.find((each) => each.name === "new version");
  if (name === "answer" && served !== undefined) return served.detail;
  return report.verdict === "healthy" ? "as the release left it" : "not judged";
}

function rto(report: Report): string {
  const { rto: parts, outage, clientOutage } = report;
  const clients = `a client was without an answer for ${duration(clientOutage ?? null)}`;
  if (parts === null)
    return report.verdict === "healthy" ? `nothing was healed; ${clients}` : `not measured; ${clients}`;
  const split = `decision ${duration(parts.decision)}, database ${duration(parts.database)}, instance ${duration(parts.instance)}`;
  return `${duration(parts.total)} from detection to green (${split}); outage ${duration(outage)}, ${clients}`;
}

function checksLine(report: Report): string {
  const failed = report.checks.filter((check) => !check.held);
  if (failed.length === 0) return `all ${report.checks.length} checks`;
  // What has a line of its own above is only named here.
  const shown: readonly string[] = sameness;
  const named = failed.map(({ name, detail }) => (shown.includes(name) ? name : `${name} (${detail})`)).join(", ");
  return `${failed.length} of ${report.checks.length} checks: ${named}`;
}
