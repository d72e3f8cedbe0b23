/**
 * One build: its phases, from PROVISIONING to COMPLETED, on a machine of its own.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { randomInt } from "node:crypto";
import type { Build, BuildPhaseType, PhaseContext, Project, StatusType } from "@aws-sdk/client-codebuild";
import { AwsError, type Cloud, type CredentialsEndpoint, type Principal } from "../../core/definitions";
import type { Machine } from "../../machines/machine";
import { bootMachine } from "../../machines/namespaces";
import { collectFiles } from "./artifacts";
import { BuildspecError, parseBuildspec, type ArtifactFiles, type Buildspec, type CommandPhase } from "./buildspec";
import { layeredVariables, resolveEnvironment, VariableError, type Variable } from "./environment";
import { emitBuildState, emitPhaseChange } from "./events";
import { BuildLog, type LogTarget } from "./log";
import { checkVpc, hasNetwork } from "./network";
import { digests, putFile, saveObject } from "./objects";
import { CommandShell } from "./shell";
import type { NamedObject } from "./store";
import { unzip, zip } from "./zip";

/** What a build is to do, with project and overrides already merged. */
export interface BuildPlan {
  readonly project: Project;
  /** The build's role, assumed. */
  readonly role: Principal;
  /** Primary source first; empty for NO_SOURCE. */
  readonly sources: readonly NamedObject[];
  /** What CodePipeline says that the primary source's revision is. */
  readonly revision?: string;
  /** Inline text, a path below the source folder, or nothing for `buildspec.yml`. */
  readonly buildspec: string | undefined;
  readonly projectVariables: readonly Variable[];
  readonly overrideVariables: readonly Variable[];
  readonly outputs: BuildOutputs;
  readonly log: LogTarget | undefined;
}

export type BuildOutputs =
  | { readonly type: "none" }
  /** By name; a single one is the `artifacts` section, several are secondary artifacts. */
  | { readonly type: "pipeline"; readonly objects: readonly NamedObject[] }
  | { readonly type: "s3"; readonly bucket: string; readonly key: string; readonly packaging: "NONE" | "ZIP" };

/** How a build ends that does not end by itself. */
export type Ending = "STOPPED" | "TIMED_OUT" | "FAULT";

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
const silentPhases: ReadonlySet<BuildPhaseType> = new Set(["PROVISIONING", "FINALIZING"]);

interface Outcome {
  readonly status: StatusType;
  readonly contexts: readonly PhaseContext[];
  /** Where the phase's own `on-failure` decides. */
  readonly next?: Step | undefined;
}

/** A phase that failed for a reason that the service has a code for. */
class PhaseError extends Error {
  override readonly name = "PhaseError";
  constructor(
    readonly statusCode: string,
    message: string,
  ) {
    super(message);
  }
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
  private readonly sourceFolders: readonly string[];
  private ending: Ending | undefined;
  private machine: Machine | undefined;
  private shell: CommandShell | undefined;
  private credentials: (CredentialsEndpoint & { end(): void }) | undefined;
  private spec = EMPTY_SPEC;
  private unexportable: ReadonlySet<string> = new Set();
  private failed = false;

  /** @param build what BatchGetBuilds answers; this object keeps it up to date */
  constructor(
    private readonly cloud: Cloud,
    readonly build: Build,
    private readonly plan: BuildPlan,
  ) {
    this.id = build.id ?? "";
    this.directory = path.join(cloud.directory, "codebuild", this.uuid);
    this.sourceFolders = (plan.sources.length === 0 ? [undefined] : plan.sources).map(
      () => `${INSIDE}/output/src${randomInt(1e8, 1e9)}/src`,
    );
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
      this.passed("SUBMITTED");
      this.passed("QUEUED");
      this.watchDeadline();
      let step: Step | undefined = "PROVISIONING";
      while (step !== undefined && this.ending === undefined) step = await this.take(step);
      await this.finalize();
    } finally {
      this.finish();
    }
  }

  /** Ends the build at once: every process is killed, no further command runs. Resolves when it is over. */
  async end(ending: Ending): Promise<void> {
    if (this.ending === undefined && this.build.buildComplete !== true) {
      this.ending = ending;
      this.abort.abort();
      this.shell?.kill();
      await this.machine?.stop();
    }
    await this.finished;
  }

  private watchDeadline(): void {
    const milliseconds = (this.build.timeoutInMinutes ?? 60) * 60_000;
    this.cloud.clock.sleep(milliseconds, this.abort.signal).then(
      () => this.cloud.background(`time-out of build ${this.id}`, this.end("TIMED_OUT")),
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
    if (step === "UPLOAD_ARTIFACTS") await this.uploadArtifacts();
    return succeeded;
  }

  private async phase(phaseType: BuildPhaseType, work: () => Promise<Outcome>): Promise<Outcome> {
    const startTime = this.cloud.clock.now();
    this.build.currentPhase = phaseType;
    const phases = (this.build.phases ??= []);
    const index = phases.push({ phaseType, startTime }) - 1;
    const own = await work().catch((error: unknown) => failure(error));
    const outcome = phaseType === "FINALIZING" ? own : this.overruled(own);
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

  private passed(phaseType: BuildPhaseType): void {
    const now = this.cloud.clock.now();
    const phase = { phaseType, phaseStatus: "SUCCEEDED", startTime: now, endTime: now, durationInSeconds: 0 } as const;
    (this.build.phases ??= []).push(phase);
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
    const network = vpc === undefined || (await hasNetwork(this.cloud, vpc));
    fs.mkdirSync(this.host(`${INSIDE}/readonly`), { recursive: true });
    fs.mkdirSync(path.join(this.directory, "machine"), { recursive: true });
    this.credentials = this.cloud.credentialsEndpoint(role);
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
    for (const line of ["Running on CodeBuild On-demand", "Waiting for agent ping", "Phase is DOWNLOAD_SOURCE"]) {
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
    for (const folder of this.sourceFolders) fs.mkdirSync(this.host(folder), { recursive: true });
    this.log.container(`CODEBUILD_SRC_DIR=${this.sourceFolders[0]}`);
    for (const [index, source] of this.plan.sources.entries()) await this.download(source, index);
    this.spec = this.readBuildspec();
    this.log.container("Processing environment variables");
    const environment = await this.environment();
    this.log.container(`Moving to directory ${this.sourceFolders[0]}`);
    this.logPhases();
    this.shell = this.makeShell(environment);
    if (this.failed) this.shell.carry("CODEBUILD_BUILD_SUCCEEDING", "0");
  }

  private async download(source: NamedObject, index: number): Promise<void> {
    const file = path.join(this.directory, `source-${index}.zip`);
    const what = index === 0 ? "primary source" : `secondary source ${source.name}`;
    const version = source.versionId ?? `arn:aws:s3:::${source.bucket}/${source.key}`;
    const versionId = await asPhaseError("CLIENT_ERROR", ` for ${what} and source version ${version}`, () =>
      saveObject(this.cloud, this.plan.role, source, file),
    );
    const resolved = this.plan.revision ?? versionId;
    if (index === 0 && resolved !== undefined) this.build.resolvedSourceVersion = resolved;
    try {
      await unzip(file, this.host(this.sourceFolders[index] ?? ""));
    } catch (error) {
      throw new PhaseError("CLIENT_ERROR", `${errorMessage(error)} for ${what} and source version ${version}`);
    } finally {
      fs.rmSync(file, { force: true });
    }
  }

  private readBuildspec(): Buildspec {
    const { buildspec } = this.plan;
    if (isInline(buildspec)) {
      this.log.container(`YAML location is ${INSIDE}/readonly/buildspec.yml`);
      fs.writeFileSync(this.host(`${INSIDE}/readonly/buildspec.yml`), buildspec);
      return parseBuildspec(buildspec);
    }
    const location = path.posix.join(this.sourceFolders[0] ?? "", buildspec ?? "buildspec.yml");
    this.log.container(`YAML location is ${location}`);
    const file = this.host(location);
    if (!fs.existsSync(file)) throw new BuildspecError("YAML file does not exist");
    return parseBuildspec(fs.readFileSync(file, "utf8"));
  }

  private async environment(): Promise<Record<string, string>> {
    const { projectVariables, overrideVariables, role } = this.plan;
    const variables = layeredVariables(this.spec, projectVariables, overrideVariables);
    const project = new Set([...projectVariables, ...overrideVariables].map(({ name }) => name));
    const resolved = await resolveEnvironment(this.cloud, role, variables, project);
    this.unexportable = resolved.private;
    this.log.mask([...resolved.secrets, this.credentials?.AWS_CONTAINER_AUTHORIZATION_TOKEN ?? ""]);
    return { ...this.regionVariables(), ...resolved.values, ...this.codebuildVariables() };
  }

  private regionVariables(): Record<string, string> {
    const { region, endpoint } = this.cloud;
    return { AWS_REGION: region, AWS_DEFAULT_REGION: region, AWS_ENDPOINT_URL: endpoint, HOME: "/root" };
  }

  /** "Environment variables in build environments"; with those that containers find their credentials by. */
  private codebuildVariables(): Record<string, string> {
    const { build, cloud, plan, sourceFolders } = this;
    const secondary = plan.sources.slice(1).map(({ name }, index) => [name, sourceFolders[index + 1] ?? ""] as const);
    const { AWS_CONTAINER_CREDENTIALS_FULL_URI = "", AWS_CONTAINER_AUTHORIZATION_TOKEN = "" } = this.credentials ?? {};
    return {
      AWS_CONTAINER_CREDENTIALS_FULL_URI,
      AWS_CONTAINER_AUTHORIZATION_TOKEN,
      AWS_EXECUTION_ENV: "AWS_ECS_EC2",
      CODEBUILD_BUILD_ARN: build.arn ?? "",
      CODEBUILD_BUILD_ID: this.id,
      CODEBUILD_BUILD_IMAGE: build.environment?.image ?? "",
      CODEBUILD_BUILD_NUMBER: String(build.buildNumber ?? ""),
      CODEBUILD_BUILD_SUCCEEDING: "1",
      CODEBUILD_BUILD_URL: `https://${cloud.region}.console.aws.amazon.com/codebuild/home?region=${cloud.region}#/builds/${this.id}/view/new`,
      CODEBUILD_CI: "true",
      CODEBUILD_INITIATOR: build.initiator ?? "",
      CODEBUILD_KMS_KEY_ID: build.encryptionKey ?? "",
      CODEBUILD_LOG_PATH: plan.log?.stream ?? "",
      CODEBUILD_PROJECT_ARN: plan.project.arn ?? "",
      ...(build.resolvedSourceVersion && { CODEBUILD_RESOLVED_SOURCE_VERSION: build.resolvedSourceVersion }),
      CODEBUILD_SOURCE_REPO_URL: build.source?.location ?? "",
      CODEBUILD_SOURCE_VERSION: build.sourceVersion ?? "",
      CODEBUILD_SRC_DIR: sourceFolders[0] ?? "",
      ...Object.fromEntries(secondary.map(([name, folder]) => [`CODEBUILD_SRC_DIR_${name}`, folder])),
      CODEBUILD_START_TIME: String(build.startTime?.getTime() ?? ""),
    };
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
      startDirectory: this.sourceFolders[0] ?? "/",
      environment,
    });
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

  private async uploadArtifacts(): Promise<void> {
    const { outputs } = this.plan;
    if (outputs.type === "pipeline") {
      for (const object of outputs.objects) await this.uploadZip(object, this.filesOf(object, outputs.objects.length));
    } else if (outputs.type === "s3") {
      await this.uploadToBucket(outputs.bucket, outputs.key, outputs.packaging);
    }
  }

  /** One output is the `artifacts` section; several are secondary artifacts of the same names. */
  private filesOf({ name }: NamedObject, count: number): ArtifactFiles {
    const spec = count === 1 ? this.spec.artifacts : this.spec.secondaryArtifacts[name];
    if (spec === undefined) throw new PhaseError("CLIENT_ERROR", `no artifact definition found for ${name}`);
    return spec;
  }

  private async uploadToBucket(bucket: string, key: string, packaging: "NONE" | "ZIP"): Promise<void> {
    const spec = this.spec.artifacts;
    if (spec === undefined) throw new PhaseError("CLIENT_ERROR", "no artifact definition found");
    if (packaging === "ZIP") return this.uploadZip({ name: "", bucket, key }, spec);
    for (const { file, name } of this.collect(spec)) {
      await asPhaseError("CLIENT_ERROR", "", () =>
        putFile(this.cloud, this.plan.role, { bucket, key: `${key}/${name}` }, file),
      );
    }
    this.build.artifacts = { location: `arn:aws:s3:::${bucket}/${key}` };
  }

  private async uploadZip(object: NamedObject, spec: ArtifactFiles): Promise<void> {
    const archive = path.join(this.directory, "artifact.zip");
    await zip(this.collect(spec), archive);
    await asPhaseError("CLIENT_ERROR", "", () => putFile(this.cloud, this.plan.role, object, archive));
    const location = `arn:aws:s3:::${object.bucket}/${object.key}`;
    this.build.artifacts = { location, ...(await digests(archive)) };
    fs.rmSync(archive);
  }

  private collect(spec: ArtifactFiles): ReturnType<typeof collectFiles> {
    const base = spec.baseDirectory;
    if (base.startsWith("/") && !base.startsWith(`${INSIDE}/`)) {
      throw new PhaseError("CLIENT_ERROR", `NotImplemented: artifacts.base-directory ${base} outside of ${INSIDE}`);
    }
    this.log.container(`Expanding base directory path: ${base}`);
    this.log.container("Assembling file list");
    const inside = base.startsWith("/") ? { ...spec, baseDirectory: this.host(base) } : spec;
    const files = collectFiles(inside, this.host(this.sourceFolders[0] ?? ""), fs.realpathSync(this.host(INSIDE)));
    for (const pattern of spec.files) this.log.container(`Expanding ${pattern}`);
    if (files.length === 0) throw new PhaseError("CLIENT_ERROR", "no matching artifact paths found");
    this.log.container(`Found ${files.length} file(s)`);
    return files;
  }

  /** Ends what is left, then says that the build is over: who hears it may start the next one at once. */
  private async finalize(): Promise<void> {
    await this.phase("FINALIZING", async () => {
      await this.machine?.stop();
      return { status: "SUCCEEDED", contexts: [] };
    });
    const closing = this.log.close();
    this.cloud.background(`log of build ${this.id}`, closing);
    await closing.catch(() => undefined);
    this.credentials?.end();
    fs.rmSync(this.directory, { recursive: true, force: true });
    this.complete();
    this.abort.abort();
    emitBuildState(this.cloud, this.build);
  }

  private complete(): void {
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

async function asPhaseError<T>(statusCode: string, suffix: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AwsError) throw new PhaseError(statusCode, `${error.name}: ${error.message}${suffix}`);
    throw error;
  }
}
