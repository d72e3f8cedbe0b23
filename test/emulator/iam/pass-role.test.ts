import assert from "node:assert/strict";
import { CreateProjectCommand } from "@aws-sdk/client-codebuild";
import { CreatePipelineCommand } from "@aws-sdk/client-codepipeline";
import { RunInstancesCommand } from "@aws-sdk/client-ec2";
import { PutRuleCommand, PutTargetsCommand } from "@aws-sdk/client-eventbridge";
import { AddRoleToInstanceProfileCommand, CreateInstanceProfileCommand } from "@aws-sdk/client-iam";
import { CreateScheduleCommand } from "@aws-sdk/client-scheduler";
import type { Principal } from "../../../emulator/core/definitions";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { declarationOf } from "../codepipeline/support";
import { createRole, type Statement } from "./role";

describe("Who gives a role to a service", () => {
  let emulator: Emulator;
  let passed: string;
  let count = 0;

  before(async () => {
    emulator = await startEmulator();
    passed = await createRole(emulator, "passed", []);
    const { cloud } = emulator;
    const root: Principal = { kind: "root", arn: `arn:aws:iam::${cloud.account}:root` };
    await cloud.send(root, new CreateInstanceProfileCommand({ InstanceProfileName: "full" }));
    const profile = { InstanceProfileName: "full", RoleName: "passed" };
    await cloud.send(root, new AddRoleToInstanceProfileCommand(profile));
    await cloud.send(root, new CreateInstanceProfileCommand({ InstanceProfileName: "empty" }));
    await cloud.send(root, new PutRuleCommand({ Name: "rule", EventPattern: '{"source":["aws.codebuild"]}' }));
  });
  after(() => emulator.close());

  const project = "arn:aws:codebuild:us-east-1:123456789012:project/p";
  const ways: Readonly<Record<string, (role: string) => Parameters<Emulator["cloud"]["send"]>[1]>> = {
    "codebuild.amazonaws.com": (serviceRole) =>
      new CreateProjectCommand({
        name: "project",
        source: { type: "NO_SOURCE", buildspec: "version: 0.2\nphases: {build: {commands: [x]}}" },
        artifacts: { type: "NO_ARTIFACTS" },
        environment: { type: "LINUX_CONTAINER", image: "x", computeType: "BUILD_GENERAL1_SMALL" },
        serviceRole,
      }),
    "codepipeline.amazonaws.com": (role) => new CreatePipelineCommand({ pipeline: declarationOf(role, []) }),
    "events.amazonaws.com": (RoleArn) =>
      new PutTargetsCommand({ Rule: "rule", Targets: [{ Id: "1", Arn: project, RoleArn }] }),
    "scheduler.amazonaws.com": (RoleArn) =>
      new CreateScheduleCommand({
        Name: "schedule",
        ScheduleExpression: "rate(1 hours)",
        FlexibleTimeWindow: { Mode: "OFF" },
        Target: { Arn: project, RoleArn },
      }),
    "ec2.amazonaws.com": () =>
      new AddRoleToInstanceProfileCommand({ InstanceProfileName: "empty", RoleName: "passed" }),
    "ec2.amazonaws.com (RunInstances)": () =>
      new RunInstancesCommand({
        ImageId: "ami-0",
        MinCount: 1,
        MaxCount: 1,
        IamInstanceProfile: { Name: "full" },
      }),
  };

  for (const [way, command] of Object.entries(ways)) {
    it(`needs iam:PassRole on it, for ${way} [E9]`, async () => {
      const service = way.split(" ")[0];
      const everythingElse = ["codebuild", "codepipeline", "ec2", "events", "scheduler", "s3", "ssm"].map(
        (each) => `${each}:*`,
      );
      const pass = (to: string | undefined): Statement => ({
        Action: "iam:PassRole",
        Resource: passed,
        ...(to !== undefined && { Condition: { StringEquals: { "iam:PassedToService": to } } }),
      });
      const as = async (...more: readonly Statement[]) => {
        const caller = await createRole(emulator, `caller-${++count}`, [
          { Action: [...everythingElse, "iam:AddRoleToInstanceProfile"], Resource: "*" },
          ...more,
        ]);
        return emulator.cloud.send(emulator.cloud.assumeRole(caller, "s", "ec2.amazonaws.com"), command(passed));
      };
      const refused = /is not authorized to perform: iam:PassRole on resource: arn:aws:iam::123456789012:role\/passed/;
      await assert.rejects(as(), refused);
      await assert.rejects(as(pass("lambda.amazonaws.com")), refused);
      // Whether the service then takes what it is given is another question.
      await as(pass(service)).catch((error: Error) => assert.doesNotMatch(error.message, /PassRole/));
    });
  }
});
