/**
 * Manual approvals: an action that waits for PutApprovalResult.
 * Source: "Add a manual approval action", AWS CodePipeline User Guide; API PutApprovalResult.
 */
import { randomUUID } from "node:crypto";
import type { ApprovalResult, PutApprovalResultInput } from "@aws-sdk/client-codepipeline";
import { AwsError, type Cloud } from "../../core/definitions";
import { stageIndex, type Pipeline } from "./store";

export interface Decision extends ApprovalResult {
  /** Who decided. */
  readonly by: string;
}

/** One request for an approval. */
export class Approval {
  readonly token = randomUUID();
  readonly decided: Promise<Decision>;
  private settle: (decision: Decision) => void = () => undefined;
  private over = false;

  constructor() {
    this.decided = new Promise((resolve) => (this.settle = resolve));
  }

  /** Throws when somebody has decided before. */
  decide(decision: Decision): void {
    if (this.over) {
      throw new AwsError(
        "ApprovalAlreadyCompletedException",
        "The approval action has already been approved or rejected.",
      );
    }
    this.over = true;
    this.settle(decision);
  }
}

/** Throws the service's error when there is nothing to approve. */
export function putApprovalResult(cloud: Cloud, input: PutApprovalResultInput, by: string): void {
  const { stageName = "", actionName = "", token, result } = input;
  const pipeline = cloud.stores.codepipeline.pipeline(input.pipelineName);
  const stage = pipeline.declaration.stages?.[stageIndex(pipeline.declaration, stageName)];
  if (stage === undefined) {
    throw new AwsError(
      "StageNotFoundException",
      `Pipeline '${pipeline.name}' does not have a stage named '${stageName}'`,
    );
  }
  if (!stage.actions?.some(({ name }) => name === actionName)) {
    throw new AwsError("ActionNotFoundException", `Stage '${stageName}' does not have an action named '${actionName}'`);
  }
  const approval = requests(pipeline, stageName, actionName).find((candidate) => candidate.token === token);
  if (approval === undefined) {
    const message = "The approval request already received a response or has expired.";
    throw new AwsError("InvalidApprovalTokenException", message);
  }
  approval.decide({ status: result?.status, summary: result?.summary, by });
}

/** Of that action, open and decided ones. What has timed out, or was abandoned, cannot be approved any more. */
function requests(pipeline: Pipeline, stage: string, action: string): Approval[] {
  const runs = [...pipeline.executions.values()].map((execution) => execution.latestRun(stage, action));
  return runs.flatMap((run) => (run?.approval === undefined ? [] : [run.approval]));
}
