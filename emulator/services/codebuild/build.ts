/**
 * One build: its phases, from PROVISIONING to COMPLETED, on a machine of its own.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { randomInt } from "node:crypto";
import type { Build, BuildPhaseType, PhaseContext, Project, StatusType } from "@aws-sdk/client-codebuild";
import {
  AwsError,
  type BuildFault,
  type Cloud,
  type CredentialsEndpoint,
  type Principal,
} from "../../core/definitions";
import type { Machine } from "../../machines/machine";
import { bootMachine } from "../../machines/namespaces";
import { BuildspecError, parseBuildspec, type Buildspec, type CommandPhase } from "./buildspec";
import { layeredVariables, resolveEnvironment, VariableError, type Variable } from "./environment";
import { emitBuildState, emitPhaseChange } from "./events";
import { BuildLog, type LogTarget } from "./log";
import { buildNetwork, checkVpc } from "./network";
import { saveObject } from "./objects";
import { ownVariables, regionVariables } from "./own-variables";
import { asPhaseError, PhaseError } from "./phase-error";
import type { Place } from "./queue";
import { CommandShell } from "./shell";
import type { NamedObject } from "./store";
import { uploadArtifacts, type Output } from "./upload";
import { unzip } from "./zip";

/** What a build is to do, with project and overrides already merged. */
export interface BuildPlan {
  /** Its `source.buildspec` is inline text, a path below the source folder, or nothing for `buildspec.yml`. */
  readonly project: Project;
  /** The build's role, assumed. */
  readonly role: Principal;
  /** Sources and outputs are artifacts of a pipeline. */
  readonly fromPipeline: boolean;
  /** The primary source is the one without a name, or the pipeline's first; empty for NO_SOURCE alone. */
  readonly sources: readonly NamedObject[];
  /** What CodePipeline says that the primary source's revision is. */
  readonly revision?: string;
  readonly projectVariables: readonly Variable[];
  readonly overrideVariables: readonly Variable[];
  readonly outputs: readonly Output[];
  readonly log: LogTarget | undefined;
}

/** How a build ends that does not end by itself. */
export type Ending = BuildFault["status"];

type Step = "PROVISIONING" | "DOWNLOAD_SOURCE" | "INSTALL" | "PRE_BUILD" | "BUILD" | "POST_BUILD" | "UPLOAD_ARTIFACTS";

/**
 * "Build phase transitions". POST_BUILD runs whether BUILD succeeded or not, and artifacts are always attempted then;
 * nothing runs after a failure in INSTALL or PRE_BUILD.
 */
const transitions: Readonly<Record<Step, { readonly succeeded?: Step; readonly failed?: Step }>> = {
  PROVISIONING: { succeeded: "DOWNLOAD_SOURCE" },
  DOWNLOAD_SOURCE: { succeeded: "INSTALL" },
  INSTALL: { succeeded: "PRE_BUILD" },
  PRE_BUILD: { succeeded: "BUILD" },
  BUILD: { succeeded: "POST_BUILD", failed: "POST_BUILD" },
  POST_BUILD: { succeeded: "UPLOAD_ARTIFACTS", failed: "UPLOAD_ARTIFACTS" },
  UPLOAD_ARTIFACTS: {},
};

const commandSteps: Readonly<Partial<Record<Step, CommandPhase>>> = {
  INSTALL: "install",
  PRE_BUILD: "pre_build",
  BUILD: "build",
  POST_BUILD: "post_build",
};

/** Phases whose success is not worth a line of the service's. */
const silentPhases: ReadonlySet<BuildPhaseType> = new Set(["SUBMITTED", "QUEUED", "PROVISIONING", "FINALIZING"]);

interface Outcome {
  readonly status: StatusType;
  readonly contexts: readonly PhaseContext[];
  /** Where the phase's own `on-failure` decides. */
  readonly next?: Step | undefined;
}

const INSIDE = "/codebuild";
const EMPTY_SPEC: Buildspec = parseBuildspec("version: 0.2\nphases: {}");
const succeeded: Outcome = { status: "SUCCEEDED", contexts: [{ statusCode: "", message: "" }] };

export class BuildRun {
  readonly id: string;
  /** Resolves when the build is over and nothing of it is left; never rejects. */
  readonly finished: Promise<void>;
  private finish: () => void = () => undefined;
  private readonly abort = new AbortController();
  private readonly log: BuildLog;
  private readonly directory: string;
  private readonly sources: readonly Source[];
  private ending: Ending | undefined;
  private machine: Machine | undefined;
  private shell: CommandShell | undefined;
  private credentials: (CredentialsEndpoint & { end(): void }) | undefined;
  /** False in a subnet without a way out. */
  private network = true;
  private spec = EMPTY_SPEC;
  private unexportable: ReadonlySet<string> = new Set();
  private failed = false;

  /** @param build what BatchGetBuilds answers; this object keeps it up to date */
  constructor(
    private readonly cloud: Cloud,
    readonly build: Build,
    private readonly plan: BuildPlan,
    private readonly place: Place,
  ) {
    this.id = build.id ?? "";
    this.directory = path.join(cloud.directory, "codebuild", this.uuid);
    this.sources = sourcesOf(plan);
    this.log = new BuildLog(cloud, plan.role, plan.log);
    this.finished = new Promise((resolve) => (this.finish = resolve));
  }

  private get uuid(): string {
    return this.id.split(":")[1] ?? this.id;
  }

  /** Goes through the phases. Never rejects: whatever happens ends the build. */
  async run(): Promise<void> {
    try {
      emitBuildState(this.cloud, this.build);
      await this.phase("SUBMITTED", () => Promise.resolve(succeeded));
      if (this.ending === undefined) await this.phase("QUEUED", () => this.queue());
      if (this.ending === undefined) {
        this.watchDeadline();
        let step: Step | undefined = "PROVISIONING";
        while (step !== undefined && this.ending === undefined) step = await this.take(step);
        await this.phase("FINALIZING", () => this.finalize());
      }
      await this.complete();
    } finally {
      this.finish();
    }
  }

  /** Ends the build at once: every process is killed, no further command runs. Resolves when it is over. */
  async end(ending: Ending): Promise<void> {
    this.interrupt(ending);
    await this.finished;
  }

  private interrupt(ending: Ending): void {
    if (this.ending !== undefined || this.build.buildComplete === true) return;
    this.ending = ending;
    this.abort.abort();
    this.shell?.kill();
    if (this.machine !== undefined) this.cloud.background(`machine of build ${this.id}`, this.machine.stop());
  }

  /** Waits for the build's turn, as long as the project lets it. */
  private async queue(): Promise<Outcome> {
    const interrupted = new Promise<void>((resolve) => this.abort.signal.addEventListener("abort", () => resolve()));
    const turn = new AbortController();
    this.cloud.clock.sleep((this.build.queuedTimeoutInMinutes ?? 480) * 60_000, turn.signal).then(
      () => this.interrupt("TIMED_OUT"),
      () => undefined,
    );
    await Promise.race([this.place.entered, interrupted]);
    turn.abort();
    return succeeded;
  }

  /** The time in the queue does not count. */
  private watchDeadline(): void {
    const milliseconds = (this.build.timeoutInMinutes ?? 60) * 60_000;
    this.cloud.clock.sleep(milliseconds, this.abort.signal).then(
      () => this.interrupt("TIMED_OUT"),
      // The build was over before, or the emulator closes.
      () => undefined,
    );
  }

  private async take(step: Step): Promise<Step | undefined> {
    const phase = commandSteps[step];
    const outcome = await this.phase(step, () => (phase === undefined ? this.work(step) : this.commands(phase)));
    if (outcome.status !== "SUCCEEDED") this.markFailed();
    if ("next" in outcome) return outcome.next;
    return outcome.status === "SUCCEEDED" ? transitions[step].succeeded : transitions[step].failed;
  }

  private async work(step: Step): Promise<Outcome> {
    if (step === "PROVISIONING") await this.provision();
    if (step === "DOWNLOAD_SOURCE") await this.downloadSource();
    if (step === "UPLOAD_ARTIFACTS") await this.upload();
    return succeeded;
  }

  private async phase(phaseType: BuildPhaseType, work: () => Promise<Outcome>): Promise<Outcome> {
    const startTime = this.cloud.clock.now();
    this.build.currentPhase = phaseType;
    const phases = (this.build.phases ??= []);
    const index = phases.push({ phaseType, startTime }) - 1;
    const struck = this.strike(phaseType);
    // Nothing of a phase happens before which the build was killed, but for what ends it.
    const own =
      struck && phaseType !== "FINALIZING" ? succeeded : await work().catch((error: unknown) => failure(error));
    const outcome = phaseType === "FINALIZING" && !struck ? own : this.overruled(own);
    const endTime = this.cloud.clock.now();
    const contexts = outcome.contexts.map(({ statusCode, message }) => ({
      statusCode,
      message: this.log.withoutSecrets(message ?? ""),
    }));
    const durationInSeconds = Math.floor((endTime.getTime() - startTime.getTime()) / 1000);
    const phase = { phaseType, phaseStatus: outcome.status, startTime, endTime, durationInSeconds, contexts };
    phases[index] = phase;
    if (!silentPhases.has(phaseType) || outcome.status !== "SUCCEEDED") this.logCompleted(phaseType, outcome);
    emitPhaseChange(this.cloud, this.build, phase);
    return outcome;
  }

  /** Whether a fault kills the build before this phase. */
  private strike(phase: BuildPhaseType): boolean {
    const fault = this.cloud.faults.at("codebuild.phase", { ...this.names(), phase });
    if (fault !== undefined) this.interrupt(fault.status);
    return fault !== undefined;
  }

  private names(): { readonly project: string; readonly build: string } {
    return { project: this.build.projectName ?? "", build: this.id };
  }

  /** What was cut short has the status of the cut, whatever the interrupted work says. */
  private overruled(outcome: Outcome): Outcome {
    if (this.ending === undefined) return outcome;
    const timedOut = { statusCode: "BUILD_TIMED_OUT", message: "Build has timed out. " };
    return { status: this.ending, contexts: this.ending === "TIMED_OUT" ? [timedOut] : [], next: undefined };
  }

  private logCompleted(phaseType: BuildPhaseType, { status, contexts }: Outcome): void {
    this.log.container(`Phase complete: ${phaseType} State: ${status}`);
    for (const { statusCode, message } of contexts) {
      this.log.container(`Phase context status code: ${statusCode} Message: ${message}`);
    }
  }

  private markFailed(): void {
    if (this.failed) return;
    this.failed = true;
    this.shell?.carry("CODEBUILD_BUILD_SUCCEEDING", "0");
  }

  private async provision(): Promise<void> {
    const { project, role } = this.plan;
    await this.openLog();
    const vpc = project.vpcConfig?.vpcId === undefined ? undefined : project.vpcConfig;
    if (vpc !== undefined) await asPhaseError("VPC_CLIENT_ERROR", "", () => checkVpc(this.cloud, role, vpc));
    const network = await buildNetwork(this.cloud, vpc);
    this.network = network !== false;
    fs.mkdirSync(this.host(`${INSIDE}/readonly`), { recursive: true });
    fs.mkdirSync(path.join(this.directory, "machine"), { recursive: true });
    const machine = await bootMachine({
      hostname: this.uuid.slice(0, 12),
      directory: path.join(this.directory, "machine"),
      binds: [{ source: this.host(INSIDE), target: INSIDE, writable: true }],
      hosts: this.cloud.network.hosts(),
      network,
      environment: {},
    });
    this.machine = machine;
    // It may have been stopped while the machine was starting.
    if (this.ending !== undefined) await machine.stop();
    for (const line of ["Running on CodeBuild On-demand", "Waiting for agent ping", "Waiting for DOWNLOAD_SOURCE"]) {
      this.log.container(line);
    }
  }

  private async openLog(): Promise<void> {
    try {
      await this.log.open();
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      const { serviceRole, arn } = this.build;
      throw new PhaseError(
        "ACCESS_DENIED",
        `Service role ${serviceRole} does not allow AWS CodeBuild to create Amazon CloudWatch Logs log streams for ` +
          `build ${arn}. Error message: ${error.message}`,
      );
    }
  }

  private async downloadSource(): Promise<void> {
    this.log.container("Phase is DOWNLOAD_SOURCE");
    for (const { folder } of this.sources) fs.mkdirSync(this.host(folder), { recursive: true });
    this.log.container(`CODEBUILD_SRC_DIR=${this.sourceFolder}`);
    for (const source of this.sources) await this.download(source);
    this.spec = this.readBuildspec();
    this.log.container("Processing environment variables");
    const environment = await this.environment();
    this.log.container(`Moving to directory ${this.sourceFolder}`);
    this.logPhases();
    this.shell = this.makeShell(environment);
    if (this.failed) this.shell.carry("CODEBUILD_BUILD_SUCCEEDING", "0");
  }

  private async download({ object, folder, name }: Source): Promise<void> {
    if (object === undefined) return;
    const file = path.join(this.directory, "source.zip");
    const primary = folder === this.sourceFolder;
    const version = object.versionId ?? `arn:aws:s3:::${object.bucket}/${object.key}`;
    const which = ` for ${primary ? "primary source" : `secondary source ${name}`} and source version ${version}`;
    this.checkRoute("s3", which);
    const versionId = await asPhaseError("CLIENT_ERROR", which, () =>
      saveObject(this.cloud, this.plan.role, object, file),
    );
    const resolved = this.plan.revision ?? versionId;
    if (primary && resolved !== undefined) this.build.resolvedSourceVersion = resolved;
    try {
      await unzip(file, this.host(folder));
    } catch (error) {
      throw new PhaseError("CLIENT_ERROR", `${errorMessage(error)}${which}`);
    } finally {
      fs.rmSync(file, { force: true });
    }
  }

  /** The build's agent runs in the build's subnet: without a way out it reaches no more than the build's commands do. */
  private checkRoute(service: string, suffix = ""): void {
    if (this.network) return;
    const { region } = this.cloud;
    throw new PhaseError(
      "CLIENT_ERROR",
      `RequestError: send request failed caused by: dial tcp: ${service}.${region}.amazonaws.com: i/o timeout${suffix}`,
    );
  }

  private get sourceFolder(): string {
    return this.sources[0]?.folder ?? "/";
  }

  private readBuildspec(): Buildspec {
    const { buildspec } = this.plan.project.source ?? {};
    if (isInline(buildspec)) {
      this.log.container(`YAML location is ${INSIDE}/readonly/buildspec.yml`);
      fs.writeFileSync(this.host(`${INSIDE}/readonly/buildspec.yml`), buildspec);
      return this.parse(buildspec);
    }
    const location = path.posix.join(this.sourceFolder, buildspec ?? "buildspec.yml");
    this.log.container(`YAML location is ${location}`);
    const file = this.host(location);
    if (!fs.existsSync(file)) throw new BuildspecError("YAML file does not exist");
    return this.parse(fs.readFileSync(file, "utf8"));
  }

  /**
   * "The artifacts/files sequence is always required, even when there are only secondary artifacts defined" ("Build
   * specification reference"); but the guide's own sample of a pipeline with several outputs has none.
   */
  private parse(text: string): Buildspec {
    const spec = parseBuildspec(text);
    const onlySecondary = spec.artifacts === undefined && Object.keys(spec.secondaryArtifacts).length > 0;
    if (onlySecondary && !this.plan.fromPipeline) throw new BuildspecError("Expected artifacts.files to be present");
    return spec;
  }

  private async environment(): Promise<Record<string, string>> {
    const { projectVariables, overrideVariables, role, project, log } = this.plan;
    const variables = layeredVariables(this.spec, projectVariables, overrideVariables);
    if (variables.some(({ type }) => type === "PARAMETER_STORE")) this.checkRoute("ssm");
    if (variables.some(({ type }) => type === "SECRETS_MANAGER")) this.checkRoute("secretsmanager");
    const given = new Set([...projectVariables, ...overrideVariables].map(({ name }) => name));
    const resolved = await resolveEnvironment(this.cloud, role, variables, given);
    const { region, endpoint } = this.cloud;
    const credentials = (this.credentials ??= this.cloud.credentialsEndpoint(role));
    this.unexportable = resolved.private;
    this.log.mask([...resolved.secrets, credentials.AWS_CONTAINER_AUTHORIZATION_TOKEN]);
    const place = {
      region,
      projectArn: project.arn ?? "",
      logStream: log?.stream ?? "",
      folders: this.sources,
      credentials,
    };
    return { ...regionVariables(region, endpoint), ...resolved.values, ...ownVariables(this.build, place) };
  }

  private logPhases(): void {
    const phases = Object.entries(this.spec.phases);
    this.log.container(`Phases found in YAML: ${phases.length}`);
    for (const [name, { commands }] of phases)
      this.log.container(` ${name.toUpperCase()}: ${commands.length} commands`);
  }

  private makeShell(environment: Record<string, string>): CommandShell {
    if (this.machine === undefined) throw new Error("The build has no machine.");
    return new CommandShell({
      machine: this.machine,
      log: this.log,
      directory: this.host(`${INSIDE}/output/tmp`),
      shell: this.spec.shell,
      onLine: (line) => this.hear(line),
      startDirectory: this.sourceFolder,
      environment,
    });
  }

  private hear(line: string): void {
    const fault = this.cloud.faults.at("codebuild.log-line", { ...this.names(), line });
    if (fault !== undefined) this.interrupt(fault.status);
  }

  /** `finally` runs whether a command failed or not; a failure in either fails the phase. */
  private async commands(name: CommandPhase): Promise<Outcome> {
    const phase = this.spec.phases[name];
    this.log.container(`Entering phase ${name.toUpperCase()}`);
    for (const [runtime, version] of Object.entries(phase?.runtimeVersions ?? {})) {
      const selected = `Selecting '${runtime}' runtime version '${version}' based on manual selections`;
      this.log.container(`${selected}: this machine has ${process.version}`);
    }
    const first = phase && (await this.runUntilFailure(phase.commands));
    const second = phase && (await this.runUntilFailure(phase.finally));
    if (name === "post_build") await this.readExportedVariables();
    const failed = first ?? second;
    if (failed === undefined) return succeeded;
    const outcome: Outcome = { status: "FAILED", contexts: [failed] };
    const step = name.toUpperCase() as Step;
    if (phase?.onFailure === "ABORT") return { ...outcome, next: undefined };
    if (phase?.onFailure === "CONTINUE") return { ...outcome, next: transitions[step].succeeded };
    return outcome;
  }

  private async runUntilFailure(commands: readonly string[]): Promise<PhaseContext | undefined> {
    for (const command of commands) {
      if (this.ending !== undefined) return undefined;
      this.log.container(`Running command ${command}`);
      const status = (await this.shell?.run(command)) ?? 127;
      if (status !== 0) {
        this.log.container(`Command did not exit successfully ${command} exit status ${status}`);
        const message = `Error while executing command: ${command}. Reason: exit status ${status}`;
        return { statusCode: "COMMAND_EXECUTION_ERROR", message };
      }
    }
    return undefined;
  }

  /** Not those that the project takes from a secret or parameter, nor `AWS_...`. */
  private async readExportedVariables(): Promise<void> {
    const names = this.spec.exportedVariables.filter(
      (name) => !name.startsWith("AWS_") && !this.unexportable.has(name),
    );
    if (names.length === 0 || this.ending !== undefined) return;
    const values = (await this.shell?.read(names)) ?? {};
    this.build.exportedEnvironmentVariables = Object.entries(values).map(([name, value]) => ({ name, value }));
  }

  private async upload(): Promise<void> {
    const { outputs, role } = this.plan;
    if (outputs.length === 0) return;
    this.checkRoute("s3");
    const uploaded = await uploadArtifacts(outputs, {
      cloud: this.cloud,
      role,
      log: this.log,
      spec: this.spec,
      scratch: this.directory,
      visible: this.host(INSIDE),
      sourceFolder: this.sourceFolder,
      expand: (text) => this.shell?.expand(text) ?? Promise.resolve(text),
      withVariables: (text) => this.shell?.withVariables(text) ?? Promise.resolve(text),
    });
    // A pipeline's only output is the primary artifact, whatever its name.
    const [primary] = uploaded.filter(({ artifactIdentifier }) => artifactIdentifier === undefined);
    const secondary = uploaded.filter(({ artifactIdentifier }) => artifactIdentifier !== undefined);
    if (primary !== undefined) this.build.artifacts = primary;
    if (secondary.length > 0) this.build.secondaryArtifacts = secondary;
  }

  private async finalize(): Promise<Outcome> {
    await this.machine?.stop();
    return { status: "SUCCEEDED", contexts: [] };
  }

  /** Ends what is left, then says that the build is over: who hears it may start the next one at once. */
  private async complete(): Promise<void> {
    const closing = this.log.close();
    this.cloud.background(`log of build ${this.id}`, closing);
    await closing.catch(() => undefined);
    this.credentials?.end();
    fs.rmSync(this.directory, { recursive: true, force: true });
    // What the build has needed is not kept with it.
    this.machine = undefined;
    this.shell = undefined;
    this.spec = EMPTY_SPEC;
    this.describeEnd();
    this.abort.abort();
    this.place.leave();
    emitBuildState(this.cloud, this.build);
  }

  private describeEnd(): void {
    const now = this.cloud.clock.now();
    const fault = this.build.phases?.some(({ phaseStatus }) => phaseStatus === "FAULT") ? "FAULT" : undefined;
    this.build.buildStatus = this.ending ?? fault ?? (this.failed ? "FAILED" : "SUCCEEDED");
    this.build.buildComplete = true;
    this.build.currentPhase = "COMPLETED";
    this.build.endTime = now;
    this.build.phases?.push({ phaseType: "COMPLETED", startTime: now });
  }

  /** The place on this machine of what the build sees below /codebuild. */
  private host(inside: string): string {
    return path.join(this.directory, path.posix.normalize(inside));
  }
}

interface Source {
  /** Empty for the primary one. */
  readonly name: string;
  /** As the build sees it. */
  readonly folder: string;
  /** Undefined for NO_SOURCE. */
  readonly object: NamedObject | undefined;
}

/** The primary one first, also where it is NO_SOURCE and only secondary ones have files. */
function sourcesOf({ sources, fromPipeline }: BuildPlan): Source[] {
  const folder = (): string => `${INSIDE}/output/src${randomInt(1e8, 1e9)}/src`;
  const hasPrimary = sources[0] !== undefined && (fromPipeline || sources[0].name === "");
  const all = hasPrimary ? sources : [undefined, ...sources];
  return all.map((object) => ({ name: object?.name ?? "", folder: folder(), object }));
}

function isInline(buildspec: string | undefined): buildspec is string {
  return buildspec !== undefined && /[\n:{]/.test(buildspec);
}

function failure(error: unknown): Outcome {
  const [status, statusCode] = failureCode(error);
  return { status, contexts: [{ statusCode, message: errorMessage(error) }] };
}

function failureCode(error: unknown): readonly [StatusType, string] {
  if (error instanceof BuildspecError) return ["FAILED", "YAML_FILE_ERROR"];
  if (error instanceof VariableError) return ["FAILED", error.statusCode];
  if (error instanceof PhaseError) return ["FAILED", error.statusCode];
  return ["FAULT", "INTERNAL_SERVICE_ERROR"];
}

function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
