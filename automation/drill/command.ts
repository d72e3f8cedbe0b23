/** The command `drill`: checks what it was given, runs the drill, and says how it ended. */
import { once } from "node:events";
import { checkNamespaces } from "../../emulator/machines/namespaces";
import type { Report } from "../../run/report";
import { writeReport } from "../report/files";
import { summaryLines } from "../report/summary";
import { Refusal } from "../refusal";
import { readSetup, type Setup } from "../setup";
import { openScreen, type Screen } from "../view/live";
import { Interruption } from "./interruption";
import type { DrillArguments } from "./options";
import { checkClients, checkData, checkSpace, type DataFile } from "./preflight";
import { scenarioOf } from "./scenario";

/** Runs the drill that the options ask for; returns the exit status. */
export async function commandDrill(given: DrillArguments): Promise<number> {
  const scenario = scenarioOf(given);
  const setup = readSetup();
  const checks = check(given, setup);
  // Loaded while the programs that were asked for their versions answer. A check that fails then is told below.
  checks.catch(() => undefined);
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- loaded when it is needed, and not before
  const { runDrill } = require("./drill") as typeof import("./drill");
  const data = await checks;
  const shown: string[] = [];
  const screen = recorded(openScreen(process.stdout), shown);
  const interruption = new Interruption((line) => screen.say(line));
  let ending: string | undefined;
  const onReport = async (report: Report) => {
    const where = given.report === undefined ? undefined : await writeReport(given.report, report);
    ending = `\n${summaryLines(report, where).join("\n")}\n`;
  };
  try {
    const { engine, keep = false } = given;
    const report = await runDrill({
      ...{ engine, scenario, data, keep, setup, screen, interruption, goOn, onReport },
      shown: () => shown.join("\n"),
    });
    return report.passed ? 0 : 1;
  } finally {
    screen.close();
    interruption.close();
    if (ending !== undefined) process.stdout.write(ending);
  }
}

/** @returns what is known of the data of one's own */
async function check(given: DrillArguments, setup: Setup): Promise<DataFile | undefined> {
  const namespaces = checkNamespacesPermitted();
  namespaces.catch(() => undefined);
  await checkClients(setup);
  const data = given.data === undefined ? undefined : await checkData(given.data, setup);
  checkSpace(data);
  await namespaces;
  return data;
}

async function checkNamespacesPermitted(): Promise<void> {
  const problem = await checkNamespaces();
  if (problem !== undefined) throw new Refusal(problem);
}

/** Keeps what is shown: it is searched for secrets. */
function recorded(screen: Screen, shown: string[]): Screen {
  return {
    show: (state) => {
      shown[0] = JSON.stringify(state);
      screen.show(state);
    },
    say: (line) => {
      shown.push(line);
      screen.say(line);
    },
    close: () => screen.close(),
  };
}

/** Waits for Enter. The end of standard input counts: there is nobody to wait for. */
async function goOn(signal: AbortSignal): Promise<void> {
  process.stdin.resume();
  try {
    await Promise.race([once(process.stdin, "data", { signal }), once(process.stdin, "end", { signal })]);
  } finally {
    process.stdin.pause();
  }
}
