/** How EventBridge and its scheduler invoke CodeBuild, the one kind of target here. */
import { StartBuildCommand, StartBuildCommandInput } from "@aws-sdk/client-codebuild";
import { AwsError, Cloud, Principal } from "../../core/definitions";

export interface RetryPolicy {
  readonly MaximumRetryAttempts?: number | undefined;
  readonly MaximumEventAgeInSeconds?: number | undefined;
}

/** The project's name from its ARN; undefined for anything else. */
export function projectOf(arn: string | undefined): string | undefined {
  return /^arn:aws:codebuild:[^:]+:\d{12}:project\/(.+)$/.exec(arn ?? "")?.[1];
}

/** Starts a build with the members of `StartBuild` that the text has. */
export async function startBuild(
  cloud: Cloud,
  principal: Principal,
  projectName: string,
  input: StartBuildCommandInput | object,
): Promise<void> {
  await cloud.send(principal, new StartBuildCommand({ ...input, projectName }));
}

/** @throws When the text is not a JSON object: nothing can be started with it. */
export function buildInput(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new AwsError("InvalidInputException", "The input of the target is not JSON", 400);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new AwsError("InvalidInputException", "The input of the target is not a JSON object", 400);
  return value as Readonly<Record<string, unknown>>;
}

/** @throws ValidationException when it is beyond what both services take. */
export function checkRetryPolicy({ MaximumRetryAttempts: attempts, MaximumEventAgeInSeconds: age }: RetryPolicy): void {
  const outside = (value: number | undefined, least: number, most: number): boolean =>
    value !== undefined && !(value >= least && value <= most);
  if (outside(attempts, 0, 185))
    throw new AwsError("ValidationException", "MaximumRetryAttempts must be between 0 and 185.", 400);
  if (outside(age, 60, 86_400))
    throw new AwsError("ValidationException", "MaximumEventAgeInSeconds must be between 60 and 86400.", 400);
}

/** Throttling and faults are tried again with back-off; what the target refuses is dropped. */
export async function withRetries(cloud: Cloud, policy: RetryPolicy, attempt: () => Promise<void>): Promise<void> {
  const began = cloud.clock.now().getTime();
  const attempts = policy.MaximumRetryAttempts ?? 185;
  const age = (policy.MaximumEventAgeInSeconds ?? 86_400) * 1000;
  for (let retry = 0; ; retry++) {
    try {
      return await attempt();
    } catch (error) {
      const wait = Math.min(1000 * 2 ** retry, 900_000);
      const late = cloud.clock.now().getTime() + wait - began > age;
      if (!isRetriable(error) || retry >= attempts || late) throw error;
      await cloud.clock.sleep(wait);
    }
  }
}

function isRetriable(error: unknown): boolean {
  if (!(error instanceof AwsError)) return false;
  // An operation that the emulator does not have will not appear.
  return (
    (error.status >= 500 && error.status !== 501) || /Throttl|TooManyRequests|RequestLimitExceeded/.test(error.code)
  );
}
