/** This project's own program, as the plain Pulumi CLI runs it: in a folder that looks like the clone. */
import * as fs from "node:fs";
import * as path from "node:path";
import { randomBytes } from "node:crypto";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { LanguageHost } from "./language-host";

/** Names a stack, and the file whose settings it begins with (`Pulumi.dev.yaml`). */
const stackName = "dev";
/** How long the CLI may take to end by itself when it is told to, in milliseconds. */
const gracePeriod = 5_000;

export interface PlainProjectOptions {
  /** The clone whose program is run. */
  readonly root: string;
  /** Where the project, its state and the CLI's home are put. */
  readonly folder: string;
  /** Folder that holds `bin/pulumi`. */
  readonly pulumiRoot: string;
  /** Where the engine finds the providers. */
  readonly environment: Readonly<Record<string, string>>;
  /** Settings beside those of the stack's file, as `protected-pipeline:name`. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/**
 * The folder shows the clone's files without being the clone: the CLI writes a stack's settings beside the program, and
 * the clone's own stay as they are.
 */
export class PlainProject {
  private constructor(
    /** The Pulumi CLI. */
    readonly program: string,
    private readonly host: LanguageHost,
    /** The project's folder. */
    readonly folder: string,
    /** What another shell needs for the CLI to see the same stack. */
    readonly environment: Readonly<Record<string, string>>,
  ) {}

  /** Makes the project and its stack, with nothing deployed yet. */
  static async create(options: PlainProjectOptions, signal?: AbortSignal): Promise<PlainProject> {
    const folder = path.join(options.folder, "project");
    const state = path.join(options.folder, "state");
    fs.mkdirSync(folder);
    fs.mkdirSync(state);
    link(options.root, folder);
    writeSettings(options.root, folder, options.settings);
    const { host, environment } = await LanguageHost.start();
    const project = new PlainProject(path.join(options.pulumiRoot, "bin", "pulumi"), host, folder, {
      ...options.environment,
      ...environment,
      PULUMI_BACKEND_URL: `file://${state}`,
      PULUMI_HOME: path.join(options.folder, "pulumi-home"),
      PULUMI_CONFIG_PASSPHRASE: randomBytes(24).toString("base64url"),
    });
    try {
      await project.pulumi(["stack", "init", stackName], { signal });
      return project;
    } catch (error) {
      project.close();
      throw error;
    }
  }

  /** Runs the CLI and returns what it printed, or shows that on stderr. Rejects with its output when it fails. */
  async pulumi(
    args: readonly string[],
    { show = false, signal }: { readonly show?: boolean; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<string> {
    // In a session of its own: a terminal sends Ctrl-C to a whole group, and the CLI's second SIGINT orphans resources.
    const { exitCode, stdout, stderr, failed } = await execa(
      "setpriv",
      ["--pdeathsig", "TERM", this.program, ...args, "--non-interactive"],
      {
        cwd: this.folder,
        env: this.environment,
        detached: true,
        cleanup: false,
        stdin: "ignore",
        stdout: show ? ["pipe", process.stderr] : "pipe",
        stderr: show ? ["pipe", process.stderr] : "pipe",
        reject: false,
        forceKillAfterDelay: gracePeriod,
        ...(signal && { cancelSignal: signal }),
      },
    );
    signal?.throwIfAborted();
    if (failed) {
      const output = show ? "what it printed says why" : `${stdout}\n${stderr}`.trim();
      throw new Error(`pulumi ${args.join(" ")} ended with status ${exitCode ?? "unknown"}: ${output}`);
    }
    return stdout;
  }

  /** Ends what still runs of the program. The stack is left as it is. */
  close(): void {
    this.host.close();
  }
}

/** All of the clone but its tests, its hidden files and its stacks' settings, by symbolic links. */
function link(root: string, folder: string): void {
  const names = fs.readdirSync(root).filter((name) => !/^(\.|test$|Pulumi\.\w+\.yaml$)/.test(name));
  for (const name of names) fs.symlinkSync(path.join(root, name), path.join(folder, name));
}

function writeSettings(root: string, folder: string, added: PlainProjectOptions["settings"]): void {
  const name = `Pulumi.${stackName}.yaml`;
  const settings = parse(fs.readFileSync(path.join(root, name), "utf8")) as { readonly config: object };
  fs.writeFileSync(path.join(folder, name), stringify({ ...settings, config: { ...settings.config, ...added } }));
}
