import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parse, stringify } from "yaml";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { findPostgres } from "../../../emulator/services/rds/programs";
import { LanguageHost } from "../../support/language-host";
import { engineEnvironment, pulumiRoot, withFolder } from "../../support/stack";

const repository = resolve(__dirname, "../../..");

/** The repository as seen from another folder, so that the CLI writes no stack file into it. */
async function linkProject(folder: string): Promise<void> {
  const names = readdirSync(repository).filter((name) => !/^(\.|test$|Pulumi\.dev\.yaml$)/.test(name));
  await Promise.all(names.map((name) => symlink(join(repository, name), join(folder, name))));
}

function run(args: readonly string[], cwd: string, env: Record<string, string>): Promise<string> {
  const program = join(pulumiRoot(), "bin", "pulumi");
  return new Promise((resolve_, reject) => {
    execFile(
      program,
      [...args, "--non-interactive"],
      { cwd, env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) =>
        error ? reject(new Error(`pulumi ${args.join(" ")}: ${stdout}\n${stderr}`)) : resolve_(stdout),
    );
  });
}

/** The development stack's own settings, with what this machine's database server adds to them. */
async function writeSettings(folder: string, emulator: Emulator): Promise<void> {
  const settings = parse(await readFile(join(repository, "Pulumi.dev.yaml"), "utf8")) as { config: object };
  const config = {
    ...settings.config,
    "protected-pipeline:databaseVersion": String(findPostgres().major),
    "protected-pipeline:caBundle": emulator.cloud.stores.rds.caCertificate,
  };
  await writeFile(join(folder, "Pulumi.dev.yaml"), stringify({ ...settings, config }));
}

describe("The project, by the plain CLI", () => {
  it("comes up from Pulumi.yaml and index.ts, shows no change after that, and goes away", async function () {
    // A database cluster, an instance and its seeding, planned four times: 30 s on two free cores.
    this.timeout(600_000);
    await withFolder(async (folder) => {
      const emulator = await startEmulator({ directory: folder });
      const { host, environment } = await LanguageHost.start();
      const env = { ...emulator.environment, ...engineEnvironment(emulator, folder), ...environment };
      const project = join(folder, "project");
      try {
        await mkdir(project);
        await linkProject(project);
        await writeSettings(project, emulator);
        await run(["stack", "init", "dev"], project, env);
        try {
          await run(["up", "--yes"], project, env);
          const preview = await run(["preview", "--json"], project, env);
          const { changeSummary } = JSON.parse(preview) as { changeSummary: Record<string, number> };
          assert.deepEqual(Object.keys(changeSummary), ["same"]);
        } finally {
          await run(["destroy", "--yes"], project, env);
        }
      } finally {
        host.close();
        await emulator.close();
      }
    });
  });
});
