/** CodeBuild builds, as the driver starts and reads them. */
import { BatchGetBuildsCommand, StartBuildCommand, type Build } from "@aws-sdk/client-codebuild";
import { GetLogEventsCommand } from "@aws-sdk/client-cloudwatch-logs";
import type { Clients } from "./clients";
import { waitFor } from "./wait";

export interface BuildOptions {
  readonly project: string;
  /** On top of the project's own. */
  readonly environment: Readonly<Record<string, string>>;
  readonly deadlineSeconds: number;
  readonly pollMilliseconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** Starts a build, waits for its end, and rejects with the last lines of its log unless it succeeded. */
export async function runBuild(clients: Clients, options: BuildOptions): Promise<void> {
  await finishBuild(clients, await startBuild(clients, options), options);
}

/** Starts a build; returns its id. */
export async function startBuild(clients: Clients, options: BuildOptions): Promise<string> {
  const started = await clients.codeBuild.send(
    new StartBuildCommand({
      projectName: options.project,
      environmentVariablesOverride: Object.entries(options.environment).map(([name, value]) => ({
        name,
        value,
        type: "PLAINTEXT",
      })),
    }),
  );
  const id = started.build?.id;
  if (id === undefined) throw new Error(`the build of ${options.project} was started, but has no id`);
  return id;
}

/** Waits for the end of a build; see {@link runBuild}. */
export async function finishBuild(clients: Clients, id: string, options: BuildOptions): Promise<void> {
  const build = await waitFor(
    async () => {
      const found = await getBuild(clients, id);
      return found?.buildComplete === true ? found : undefined;
    },
    { ...options, what: `the build ${id}` },
  );
  if (build.buildStatus === "SUCCEEDED") return;
  const log = await lastLines(clients, build, 5);
  throw new Error(`the build ${id} ended ${build.buildStatus}: ${log.join(" | ") || "its log is empty"}`);
}

export async function getBuild(clients: Clients, id: string): Promise<Build | undefined> {
  const answer = await clients.codeBuild.send(new BatchGetBuildsCommand({ ids: [id] }));
  return answer.builds?.[0];
}

async function lastLines(clients: Clients, build: Build, count: number): Promise<string[]> {
  const log = new BuildLog();
  await log.read(clients, build);
  return log.lines.filter((line) => !isRunnerLine(line)).slice(-count);
}

/** Lines that the build service itself writes, and not the commands. */
export function isRunnerLine(line: string): boolean {
  return line.trim() === "" || line.startsWith("[Container] ");
}

/** The log of one build, read on from where the last reading ended. */
export class BuildLog {
  readonly lines: string[] = [];
  private token: string | undefined;

  /** Reads what is new; nothing while the log does not exist yet. Returns whether there was something. */
  async read(clients: Clients, build: Build): Promise<boolean> {
    const { groupName, streamName } = build.logs ?? {};
    if (groupName === undefined || streamName === undefined) return false;
    let found = false;
    for (;;) {
      const page = await this.page(clients, groupName, streamName);
      if (page === undefined) return found;
      for (const event of page.events ?? []) this.add(event.message ?? "");
      found ||= (page.events ?? []).length > 0;
      // The same token twice means the end for now.
      if (page.nextForwardToken === this.token || (page.events ?? []).length === 0) return found;
      this.token = page.nextForwardToken;
    }
  }

  private async page(clients: Clients, logGroupName: string, logStreamName: string) {
    try {
      return await clients.logs.send(
        new GetLogEventsCommand({
          logGroupName,
          logStreamName,
          startFromHead: true,
          ...(this.token === undefined ? {} : { nextToken: this.token }),
        }),
      );
    } catch (error) {
      if (error instanceof Error && error.name === "ResourceNotFoundException") return undefined;
      throw error;
    }
  }

  /** An event is one line or more, and ends with its last line's end. */
  private add(message: string): void {
    this.lines.push(...message.replace(/\n$/, "").split("\n"));
  }
}
