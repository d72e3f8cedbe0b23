/**
 * What actions do, each as the pipeline's role.
 */
import { randomUUID } from "node:crypto";
import {
  BatchGetBuildsCommand,
  StartBuildCommand,
  type Build,
  type EnvironmentVariable,
} from "@aws-sdk/client-codebuild";
import { GetBucketVersioningCommand, GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import type { ActionExecutionResult, ArtifactRevision } from "@aws-sdk/client-codepipeline";
import { AwsError, type Cloud, type CloudEvent, type Principal } from "../../core/definitions";
import type { NamedObject } from "../codebuild/store";
import { Approval } from "./approval";
import type { ActionRun, Artifact, Execution } from "./store";

export interface ActionContext {
  readonly cloud: Cloud;
  /** The pipeline's role, assumed. */
  readonly role: Principal;
  readonly execution: Execution;
  readonly run: ActionRun;
  /** Ends the waiting, not what is waited for. */
  readonly signal: AbortSignal;
}

export interface ActionOutcome {
  readonly outputVariables: Record<string, string>;
  readonly artifacts: readonly Artifact[];
  readonly revision?: ArtifactRevision;
  readonly result: ActionExecutionResult;
}

/** Why an action failed; codes are those of the API's `FailureType`. */
export class ActionError extends Error {
  override readonly name = "ActionError";
  constructor(
    readonly code: "JobFailed" | "ConfigurationError" | "PermissionError",
    message: string,
  ) {
    super(message);
  }
}

/** By provider; the declaration's check has let no other pass. */
const performers: Readonly<Record<string, (context: ActionContext) => Promise<ActionOutcome>>> = {
  S3: takeSource,
  CodeBuild: runBuild,
  Manual: awaitApproval,
};

export async function perform(context: ActionContext): Promise<ActionOutcome> {
  const provider = context.run.action.actionTypeId?.provider ?? "";
  const performer = performers[provider];
  if (performer === undefined) throw new Error(`There is no action of provider ${provider}.`);
  return await performer(context);
}

// Manual approval -----------------------------------------------------------------------------------------------------

/** The token is also the external execution id. What a rejected action's error details say is not documented. */
async function awaitApproval({ run }: ActionContext): Promise<ActionOutcome> {
  const approval = new Approval();
  run.approval = approval;
  run.result = { externalExecutionId: approval.token };
  const { status, summary, by } = await approval.decided;
  run.lastUpdatedBy = by;
  run.result = { ...run.result, externalExecutionSummary: summary };
  if (status === "Rejected") throw new ActionError("JobFailed", `Rejected by ${by}: ${summary}`);
  return { outputVariables: {}, artifacts: [], result: run.result };
}

// S3 source ---------------------------------------------------------------------------------------------------------

/** Copies one version of the object into the artifact store. */
async function takeSource({ cloud, role, execution, run }: ActionContext): Promise<ActionOutcome> {
  const { S3Bucket: Bucket = "", S3ObjectKey: Key = "" } = run.resolvedConfiguration;
  const override = execution.sourceRevisions.find(({ actionName }) => actionName === run.action.name);
  try {
    const versioning = await cloud.send(role, new GetBucketVersioningCommand({ Bucket }));
    if (versioning.Status !== "Enabled") {
      throw new ActionError("ConfigurationError", `Versioning is not enabled on the Amazon S3 bucket '${Bucket}'`);
    }
    const wanted = override === undefined ? {} : { VersionId: override.revisionValue };
    const object = await cloud.send(role, new GetObjectCommand({ Bucket, Key, ...wanted }));
    const [output] = run.outputs;
    if (output === undefined) throw new ActionError("ConfigurationError", "The action has no output artifact");
    await cloud.send(
      role,
      new PutObjectCommand({
        Bucket: output.bucket,
        Key: output.key,
        Body: object.Body,
        ...(object.ContentLength !== undefined && { ContentLength: object.ContentLength }),
      }),
    );
    return sourceOutcome(output, Bucket, Key, object.VersionId ?? "", object.ETag ?? "", object.LastModified);
  } catch (error) {
    throw s3Error(error, Bucket, Key);
  }
}

function sourceOutcome(
  output: NamedObject,
  bucket: string,
  key: string,
  versionId: string,
  eTag: string,
  created: Date | undefined,
): ActionOutcome {
  const tag = eTag.replaceAll('"', "");
  return {
    outputVariables: { VersionId: versionId, ETag: tag },
    artifacts: [{ ...output, revision: versionId }],
    revision: {
      name: output.name,
      revisionId: versionId,
      revisionChangeIdentifier: tag,
      revisionSummary: `Amazon S3 version id: ${versionId}`,
      revisionUrl: `https://console.aws.amazon.com/s3/object/${bucket}/${key}`,
      ...(created !== undefined && { created }),
    },
    result: { externalExecutionId: versionId, externalExecutionSummary: `Amazon S3 version id: ${versionId}` },
  };
}

function s3Error(error: unknown, bucket: string, key: string): unknown {
  if (!(error instanceof AwsError)) return error;
  if (error.code === "AccessDenied") {
    return new ActionError(
      "PermissionError",
      `Insufficient permissions. The provided role does not have permissions to perform this action. Underlying ` +
        `error: ${error.message}`,
    );
  }
  return new ActionError(
    "ConfigurationError",
    `Unable to access the Amazon S3 object key '${key}' in the Amazon S3 bucket '${bucket}': ${error.code}: ${error.message}`,
  );
}

// CodeBuild -----------------------------------------------------------------------------------------------------------

async function runBuild(context: ActionContext): Promise<ActionOutcome> {
  const { cloud, role, run, signal } = context;
  const builds = new FinishedBuilds(cloud);
  try {
    const started = await startBuild(context);
    run.result = { externalExecutionId: started.id, externalExecutionUrl: started.logs?.deepLink };
    await builds.finished(started.arn ?? "", signal);
    const { builds: [build] = [] } = await cloud.send(role, new BatchGetBuildsCommand({ ids: [started.id ?? ""] }));
    if (build?.buildStatus !== "SUCCEEDED") throw new ActionError("JobFailed", terminated(build));
    const exported = build.exportedEnvironmentVariables ?? [];
    return {
      outputVariables: Object.fromEntries(exported.map(({ name = "", value = "" }) => [name, value])),
      artifacts: run.outputs,
      result: run.result,
    };
  } catch (error) {
    throw buildError(error);
  } finally {
    builds.close();
  }
}

async function startBuild({ cloud, role, execution, run }: ActionContext): Promise<Build> {
  const { ProjectName, EnvironmentVariables, BuildspecOverride, PrimarySource } = run.resolvedConfiguration;
  const primary = run.inputs.find(({ name }) => name === PrimarySource) ?? run.inputs[0];
  const inputs = [...(primary ? [primary] : []), ...run.inputs.filter((input) => input !== primary)];
  const revision = execution.artifacts.get(primary?.name ?? "")?.revision;
  const token = randomUUID();
  const store = cloud.stores.codebuild;
  store.handOver(token, {
    pipeline: execution.pipeline.name,
    inputs,
    outputs: run.outputs,
    ...(revision !== undefined && { revision }),
  });
  try {
    const { build } = await cloud.send(
      role,
      new StartBuildCommand({
        projectName: ProjectName,
        idempotencyToken: token,
        ...(EnvironmentVariables && { environmentVariablesOverride: parseVariables(EnvironmentVariables) }),
        ...(BuildspecOverride && { buildspecOverride: BuildspecOverride }),
      }),
    );
    return build ?? {};
  } catch (error) {
    store.takeHandOver(token);
    throw startError(error);
  }
}

const variableTypes: readonly unknown[] = [undefined, "PLAINTEXT", "PARAMETER_STORE", "SECRETS_MANAGER"];

/** A JSON list of `{ name, value, type? }`, in a text. */
export function parseVariables(text: string): EnvironmentVariable[] {
  const given = parseList(text);
  return given.map((item) => {
    const { name, value, type } = (item ?? {}) as Partial<Record<string, unknown>>;
    if (typeof name !== "string" || typeof value !== "string" || !variableTypes.includes(type)) throw notAList();
    return { name, value, type: (type ?? "PLAINTEXT") as NonNullable<EnvironmentVariable["type"]> };
  });
}

function parseList(text: string): readonly unknown[] {
  try {
    const given: unknown = JSON.parse(text);
    if (Array.isArray(given)) return given;
  } catch {
    // Below.
  }
  throw notAList();
}

function notAList(): ActionError {
  const shape = "a JSON list of objects with name, value and type";
  return new ActionError("ConfigurationError", `The configuration EnvironmentVariables is not ${shape}`);
}

function startError(error: unknown): unknown {
  if (!(error instanceof AwsError)) return error;
  const service = `(Service: AWSCodeBuild; Status Code: ${error.status}; Error Code: ${error.code})`;
  return new ActionError(failureCode(error), `Error calling startBuild: ${error.message} ${service}`);
}

function buildError(error: unknown): unknown {
  return error instanceof AwsError ? new ActionError(failureCode(error), error.message) : error;
}

function failureCode({ code }: AwsError): ActionError["code"] {
  return code.startsWith("AccessDenied") ? "PermissionError" : "JobFailed";
}

/** As the action's details say it. */
function terminated(build: Build | undefined): string {
  const failed = build?.phases?.find(({ phaseStatus }) => phaseStatus !== undefined && phaseStatus !== "SUCCEEDED");
  const [context] = failed?.contexts ?? [];
  const phase =
    failed === undefined
      ? ""
      : ` Phase: ${failed.phaseType}, Code: ${context?.statusCode}, Message: ${context?.message}`;
  return `Build terminated with state: ${build?.buildStatus ?? "UNKNOWN"}.${phase}`;
}

/** Hears from the start on which builds end, so that none is missed between its start and the waiting for it. */
class FinishedBuilds {
  private readonly ended = new Set<string>();
  private readonly waiting = new Map<string, () => void>();
  readonly close: () => void;

  constructor(cloud: Cloud) {
    this.close = cloud.listen((event) => this.hear(event));
  }

  finished(arn: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.ended.has(arn)) return resolve();
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      if (signal.aborted) return reject(signal.reason as Error);
      this.waiting.set(arn, resolve);
    });
  }

  private hear({ detailType, detail }: CloudEvent): void {
    if (detailType !== "CodeBuild Build State Change") return;
    const { "build-id": id, "build-status": status } = detail as Record<string, unknown>;
    if (typeof id !== "string" || status === "IN_PROGRESS") return;
    this.ended.add(id);
    this.waiting.get(id)?.();
  }
}
