import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { InlineProgramArgs, LocalWorkspace, PulumiCommand, type PulumiFn, type Stack } from "@pulumi/pulumi/automation";
import type { Emulator } from "../../emulator/emulator";

/** The folder whose `bin/pulumi` the set-up found, or that of the CLI on PATH. */
export function pulumiRoot(): string {
  const file = resolve(__dirname, "../../node_modules/.cache/protected-pipeline/setup.json");
  if (existsSync(file)) {
    const { pulumiRoot: found } = JSON.parse(readFileSync(file, "utf8")) as { pulumiRoot?: string };
    if (found !== undefined && existsSync(join(found, "bin", "pulumi"))) return found;
  }
  const folder = (process.env.PATH ?? "").split(delimiter).find((path) => existsSync(join(path, "pulumi")));
  if (folder === undefined) throw new Error("There is no Pulumi CLI. Run `npm run setup`.");
  return dirname(folder);
}

/** What an engine needs that keeps its state in a folder, and its providers in an emulator. */
export function engineEnvironment(emulator: Emulator, folder: string): Record<string, string> {
  return {
    ...emulator.pulumiEnvironment,
    PULUMI_BACKEND_URL: `file://${folder}`,
    PULUMI_CONFIG_PASSPHRASE: "for tests only",
    PULUMI_HOME: join(folder, "home"),
  };
}

/** A folder of its own, removed whatever happens. */
export async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "protected-pipeline-test-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A stack of the real engine on an emulator, in a folder of its own. */
export async function makeStack(emulator: Emulator, folder: string, program: PulumiFn): Promise<Stack> {
  const pulumiCommand = await PulumiCommand.get({ root: pulumiRoot() });
  const workDir = join(folder, "work");
  await mkdir(workDir);
  const project: InlineProgramArgs = { projectName: "emulated", stackName: "test", program };
  return LocalWorkspace.createStack(project, {
    pulumiCommand,
    workDir,
    envVars: engineEnvironment(emulator, folder),
    projectSettings: { name: "emulated", runtime: "nodejs", backend: { url: `file://${folder}` } },
  });
}

/** Runs with a stack of the real engine on an emulator; destroys and removes it whatever happens. */
export async function withStack<T>(
  emulator: Emulator,
  program: PulumiFn,
  work: (stack: Stack, folder: string) => Promise<T>,
): Promise<T> {
  return withFolder(async (folder) => {
    const stack = await makeStack(emulator, folder, program);
    try {
      return await work(stack, folder);
    } finally {
      await stack.destroy({ remove: true });
    }
  });
}
