/**
 * UPLOAD_ARTIFACTS: the files that the buildspec names, as one zip or one by one, to the places that the project or
 * the pipeline names.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import type { BuildArtifacts, Project, ProjectArtifacts } from "@aws-sdk/client-codebuild";
import type { Cloud, Principal } from "../../core/definitions";
import { collectFiles } from "./artifacts";
import type { ArtifactFiles, Buildspec } from "./buildspec";
import type { BuildLog } from "./log";
import { digests, putFile } from "./objects";
import { asPhaseError, PhaseError } from "./phase-error";
import type { NamedObject } from "./store";
import { zip, type ZipEntry } from "./zip";

/** One artifact and where it goes. */
export interface Output {
  /** Of a secondary artifact; undefined for `artifacts` itself. */
  readonly identifier: string | undefined;
  readonly bucket: string;
  /** Without slashes at its ends; may be empty. */
  readonly folder: string;
  readonly name: string;
  readonly packaging: "NONE" | "ZIP";
  /** `overrideArtifactName`: the buildspec's `name` counts, where it has one. */
  readonly nameFromBuildspec: boolean;
}

/** One output is the `artifacts` section; of several, each is the secondary artifact of its name. */
export function pipelineOutputs(objects: readonly NamedObject[]): Output[] {
  return objects.map(({ name, bucket, key }) => ({
    identifier: objects.length === 1 ? undefined : name,
    bucket,
    folder: "",
    name: key,
    packaging: "ZIP",
    nameFromBuildspec: false,
  }));
}

/** @param uuid of the build: a folder of its own, where the project says so */
export function ownOutputs({ name = "", artifacts, secondaryArtifacts = [] }: Project, uuid: string): Output[] {
  const all = [...(artifacts === undefined ? [] : [artifacts]), ...secondaryArtifacts];
  return all.filter(({ type }) => type === "S3").map((artifact) => s3Output(artifact, name, uuid));
}

function s3Output(artifacts: ProjectArtifacts, project: string, uuid: string): Output {
  const { artifactIdentifier, location = "", path: folder, namespaceType, packaging, overrideArtifactName } = artifacts;
  const parts = [folder, namespaceType === "BUILD_ID" ? uuid : undefined].map(withoutSlashes);
  return {
    identifier: artifactIdentifier,
    bucket: location,
    folder: parts.filter((part) => part !== "").join("/"),
    name: withoutSlashes(artifacts.name ?? artifactIdentifier ?? project),
    packaging: packaging ?? "NONE",
    nameFromBuildspec: overrideArtifactName === true,
  };
}

function withoutSlashes(part = ""): string {
  return part.replace(/^\/+|\/+$/g, "");
}

export interface UploadOptions {
  readonly cloud: Cloud;
  readonly role: Principal;
  readonly log: BuildLog;
  readonly spec: Buildspec;
  /** Folder of the host for the zip. */
  readonly scratch: string;
  /** Folder of the host that the build sees as /codebuild. */
  readonly visible: string;
  /** The build's source folder, as the build sees it. */
  readonly sourceFolder: string;
  /** Lets the build's shell expand a text. */
  readonly expand: (text: string) => Promise<string>;
  /** Puts the values of the build's variables into a text, and does nothing else with it. */
  readonly withVariables: (text: string) => Promise<string>;
}

/** Throws {@link PhaseError}. */
export async function uploadArtifacts(outputs: readonly Output[], options: UploadOptions): Promise<BuildArtifacts[]> {
  const uploaded: BuildArtifacts[] = [];
  for (const output of outputs) uploaded.push(await upload(output, options));
  return uploaded;
}

async function upload(output: Output, options: UploadOptions): Promise<BuildArtifacts> {
  const { cloud, role } = options;
  const { identifier, bucket, packaging } = output;
  const declared = specOf(output, options.spec);
  const spec = { ...declared, baseDirectory: await options.withVariables(declared.baseDirectory) };
  const name = output.nameFromBuildspec && spec.name !== undefined ? await options.expand(spec.name) : output.name;
  const key = [output.folder, name].filter((part) => part !== "").join("/");
  const files = collect(spec, options);
  const shown = { location: `arn:aws:s3:::${bucket}/${key}`, ...(identifier && { artifactIdentifier: identifier }) };
  if (packaging === "ZIP") {
    const archive = path.join(options.scratch, "artifact.zip");
    await zip(files, archive);
    await asPhaseError("CLIENT_ERROR", "", () => putFile(cloud, role, { bucket, key }, archive));
    const checked = { ...shown, ...(await digests(archive)) };
    fs.rmSync(archive);
    return checked;
  }
  for (const { file, name: own } of files) {
    const to = { bucket, key: [key, own].filter((part) => part !== "").join("/") };
    await asPhaseError("CLIENT_ERROR", "", () => putFile(cloud, role, to, file));
  }
  return shown;
}

function specOf({ identifier }: Output, { artifacts, secondaryArtifacts }: Buildspec): ArtifactFiles {
  const spec = identifier === undefined ? artifacts : secondaryArtifacts[identifier];
  if (spec !== undefined) return spec;
  throw new PhaseError("CLIENT_ERROR", `no artifact definition found${identifier ? ` for ${identifier}` : ""}`);
}

function collect(spec: ArtifactFiles, { log, visible, sourceFolder }: UploadOptions): ZipEntry[] {
  const base = spec.baseDirectory;
  if (base.startsWith("/") && !base.startsWith("/codebuild/")) {
    throw new PhaseError("CLIENT_ERROR", `NotImplemented: artifacts.base-directory ${base} outside of /codebuild`);
  }
  const host = (inside: string): string => path.join(visible, path.posix.relative("/codebuild", inside));
  log.container(`Expanding base directory path: ${base}`);
  log.container("Assembling file list");
  log.container(`Expanding ${base}`);
  const inside = base.startsWith("/") ? { ...spec, baseDirectory: host(base) } : spec;
  const found = collectFiles(inside, host(sourceFolder), fs.realpathSync(visible));
  if (found.folders === 0) {
    throw new PhaseError("CLIENT_ERROR", `no matching base directory path found for ${base}`);
  }
  log.container(`Expanding file paths for base directory ${base}`);
  log.container("Assembling file list");
  for (const pattern of spec.files) {
    log.container(`Expanding ${pattern}`);
    if (found.unmatched.includes(pattern)) log.container(`Skipping invalid file path ${pattern}`);
  }
  if (found.files.length === 0) throw new PhaseError("CLIENT_ERROR", "no matching artifact paths found");
  log.container(`Found ${found.files.length} file(s)`);
  return found.files;
}
