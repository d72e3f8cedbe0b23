import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { LanguageRuntimeService } from "@pulumi/pulumi/proto/language_grpc_pb";
import * as messages from "@pulumi/pulumi/proto/language_pb";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { answering } from "../../emulator/provider/unary";

const answer = answering((error) => ({ code: grpc.status.UNKNOWN, details: String(error) }));

/** Pulumi's runner exits so when the program's error has been told to the engine already. */
const alreadyReported = 32;

/**
 * Stands where an installed CLI has `pulumi-language-nodejs`: runs a project's program as that does. The CLI finds it
 * by `PULUMI_DEBUG_LANGUAGES=nodejs:<port>`.
 */
export class LanguageHost {
  private readonly server = new grpc.Server();
  private readonly running = new Set<ChildProcess>();
  private engine = "";

  private constructor() {
    this.server.addService(LanguageRuntimeService, {
      handshake: answer((request: messages.LanguageHandshakeRequest) => {
        this.engine = request.getEngineAddress();
        return new messages.LanguageHandshakeResponse();
      }),
      getPluginInfo: answer(() => new PluginInfo()),
      getRequiredPlugins: answer(() => new messages.GetRequiredPluginsResponse()),
      getRequiredPackages: answer(() => new messages.GetRequiredPackagesResponse()),
      about: answer(() => new messages.AboutResponse()),
      getProgramDependencies: answer(() => new messages.GetProgramDependenciesResponse()),
      runtimeOptionsPrompts: answer(() => new messages.RuntimeOptionsResponse()),
      cancel: answer(() => new Empty()),
      run: answer((request: messages.RunRequest) => this.run(request)),
    });
  }

  /** Returns the host and the variable that leads the CLI to it. */
  static async start(): Promise<{ readonly host: LanguageHost; readonly environment: Record<string, string> }> {
    const host = new LanguageHost();
    const port = await new Promise<number>((resolve, reject) => {
      host.server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    return { host, environment: { PULUMI_DEBUG_LANGUAGES: `nodejs:${port}` } };
  }

  close(): void {
    for (const child of this.running) child.kill("SIGKILL");
    this.server.forceShutdown();
  }

  private async run(request: messages.RunRequest): Promise<messages.RunResponse> {
    const response = new messages.RunResponse();
    const { code, output } = await this.execute(request);
    if (code === alreadyReported) response.setBail(true);
    else if (code !== 0) response.setError(`Program exited with code ${String(code)}:\n${output}`);
    return response;
  }

  private execute(request: messages.RunRequest): Promise<{ readonly code: number | null; readonly output: string }> {
    const info = request.getInfo();
    const directory = info?.getProgramDirectory() ?? request.getPwd();
    const entry = info?.getEntryPoint() ?? request.getProgram();
    const child = spawn(process.execPath, [...runnerArguments(request, this.engine), entry === "" ? "." : entry], {
      cwd: directory,
      env: {
        ...process.env,
        PULUMI_CONFIG: JSON.stringify(Object.fromEntries(request.getConfigMap().toObject())),
        PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.getConfigsecretkeysList()),
        PULUMI_NODEJS_TYPESCRIPT: "true",
        // The project's own type check is another test.
        PULUMI_NODEJS_TRANSPILE_ONLY: "true",
        AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.running.add(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    }
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        this.running.delete(child);
        resolve({ code, output });
      });
    });
  }
}

function runnerArguments(request: messages.RunRequest, engine: string): readonly string[] {
  const runner = join(require.resolve("@pulumi/pulumi/package.json"), "../cmd/run");
  return [
    runner,
    ...["--monitor", request.getMonitorAddress(), "--engine", engine],
    ...["--project", request.getProject(), "--stack", request.getStack(), "--pwd", request.getPwd()],
    ...(request.getDryrun() ? ["--dry-run"] : []),
    ...["--parallel", String(request.getParallel())],
  ];
}
