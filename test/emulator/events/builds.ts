import * as codebuild from "@aws-sdk/client-codebuild";
import { AwsError, type Install, operation } from "../../../emulator/core/definitions";

export interface Started {
  readonly input: codebuild.StartBuildCommandInput;
  readonly by: string;
}

/** CodeBuild as far as targets see it: a `StartBuild` that remembers, and fails as often as it is told to. */
export function fakeCodeBuild(): { install: Install; started: Started[]; failures: AwsError[] } {
  const started: Started[] = [];
  const failures: AwsError[] = [];
  const startBuild = operation<codebuild.StartBuildCommandInput, codebuild.StartBuildCommandOutput>({
    name: "StartBuild",
    honours: ["projectName", "environmentVariablesOverride"],
    authorize: (input) => [
      {
        action: "codebuild:StartBuild",
        resource: `arn:aws:codebuild:us-east-1:123456789012:project/${input.projectName ?? ""}`,
      },
    ],
    handle: (input, { principal }) => {
      const failure = failures.shift();
      if (failure) throw failure;
      started.push({ input, by: principal.arn });
      return {};
    },
  });
  const install: Install = () => ({
    signingName: "codebuild",
    protocol: "awsJson1_1",
    model: codebuild,
    operations: [startBuild],
    resources: [],
    invokes: [],
  });
  return { install, started, failures };
}

/** Waits until this holds, for at most 10 s of real time. */
export async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error("It did not come to hold within 10 s");
    await new Promise((resolve) => setImmediate(resolve));
  }
}
