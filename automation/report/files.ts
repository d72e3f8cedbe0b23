/** The report as files. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Report } from "../../run/report";
import { markdown } from "./markdown";

/** Writes `report.json` and `report.md`; returns the folder. */
export async function writeReport(folder: string, report: Report): Promise<string> {
  const directory = path.resolve(folder);
  await fs.mkdir(directory, { recursive: true });
  await fs.writeFile(path.join(directory, "report.json"), `${JSON.stringify(report, undefined, 2)}\n`);
  await fs.writeFile(path.join(directory, "report.md"), markdown(report));
  return directory;
}
