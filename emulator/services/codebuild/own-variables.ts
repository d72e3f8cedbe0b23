/**
 * The variables that a build has without anybody giving them. Pure.
 * Source: "Environment variables in build environments", AWS CodeBuild User Guide; and those by which programs find
 * the role's credentials.
 */
import type { Build } from "@aws-sdk/client-codebuild";
import type { CredentialsEndpoint } from "../../core/definitions";

/** What variables of the user's may change. */
export function regionVariables(region: string, endpoint: string): Record<string, string> {
  return { AWS_REGION: region, AWS_DEFAULT_REGION: region, AWS_ENDPOINT_URL: endpoint, HOME: "/root" };
}

export interface BuildPlace {
  readonly region: string;
  readonly projectArn: string;
  readonly logStream: string;
  /** The primary source's first, with the name of each source; the primary one has none. */
  readonly folders: readonly { readonly name: string; readonly folder: string }[];
  readonly credentials: CredentialsEndpoint;
}

export function ownVariables(build: Build, place: BuildPlace): Record<string, string> {
  const { region, folders } = place;
  const id = build.id ?? "";
  const { AWS_CONTAINER_CREDENTIALS_FULL_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN } = place.credentials;
  const [primary, ...secondary] = folders;
  return {
    AWS_CONTAINER_CREDENTIALS_FULL_URI,
    AWS_CONTAINER_AUTHORIZATION_TOKEN,
    AWS_EXECUTION_ENV: "AWS_ECS_EC2",
    CODEBUILD_BUILD_ARN: build.arn ?? "",
    CODEBUILD_BUILD_ID: id,
    CODEBUILD_BUILD_IMAGE: build.environment?.image ?? "",
    CODEBUILD_BUILD_NUMBER: String(build.buildNumber ?? ""),
    CODEBUILD_BUILD_SUCCEEDING: "1",
    CODEBUILD_BUILD_URL: `https://${region}.console.aws.amazon.com/codebuild/home?region=${region}#/builds/${id}/view/new`,
    CODEBUILD_CI: "true",
    CODEBUILD_INITIATOR: build.initiator ?? "",
    CODEBUILD_KMS_KEY_ID: build.encryptionKey ?? "",
    CODEBUILD_LOG_PATH: place.logStream,
    CODEBUILD_PROJECT_ARN: place.projectArn,
    ...(build.resolvedSourceVersion && { CODEBUILD_RESOLVED_SOURCE_VERSION: build.resolvedSourceVersion }),
    CODEBUILD_SOURCE_REPO_URL: build.source?.location ?? "",
    CODEBUILD_SOURCE_VERSION: build.sourceVersion ?? "",
    CODEBUILD_SRC_DIR: primary?.folder ?? "",
    ...Object.fromEntries(secondary.map(({ name, folder }) => [`CODEBUILD_SRC_DIR_${name}`, folder])),
    CODEBUILD_START_TIME: String(build.startTime?.getTime() ?? ""),
  };
}
