import * as assert from "node:assert/strict";
import type { ActionCategory, ActionOwner, PipelineDeclaration } from "@aws-sdk/client-codepipeline";
import { checkDeclaration } from "../../../emulator/services/codepipeline/structure";
import { approvalAction, buildAction, declarationOf, sourceAction } from "./support";

const role = "arn:aws:iam::123456789012:role/pipeline";
const stage = (...actions: ReturnType<typeof buildAction>[]) => ({ name: "Build", actions });
const withConfiguration = (configuration: Record<string, string>) =>
  declarationOf(role, [stage(buildAction("Build", { configuration: { ProjectName: "x", ...configuration } }))]);

describe("A pipeline's declaration", () => {
  it("is taken when all is right", () => {
    checkDeclaration(declarationOf(role, [stage(buildAction("Build"))]));
  });

  const wrong: readonly (readonly [string, PipelineDeclaration, string, RegExp])[] = [
    [
      "a name with a space [B1.2]",
      { ...withConfiguration({}), name: "a b" },
      "ValidationException",
      /regular expression/,
    ],
    ["type V1 [B1.4]", { ...withConfiguration({}), pipelineType: "V1" }, "NotImplemented", /pipelineType V1/],
    ["mode PARALLEL [B1.4]", { ...withConfiguration({}), executionMode: "PARALLEL" }, "NotImplemented", /PARALLEL/],
    ["one stage [B1.2]", declarationOf(role, []), "InvalidStructureException", /has 1 stage\(s\)/],
    [
      "no source first",
      declarationOf(role, [stage()], {
        stages: [stage(buildAction("a")), { name: "Next", actions: [buildAction("b")] }],
      }),
      "InvalidStructureException",
      /must start with a stage that only contains source actions/,
    ],
    [
      "a source later",
      declarationOf(role, [{ name: "x", actions: [sourceAction("Two")] }]),
      "InvalidStructureException",
      /only allowed in the first stage/,
    ],
    [
      "an action twice",
      declarationOf(role, [stage(buildAction("a"), buildAction("a"))]),
      "InvalidActionDeclarationException",
      /Duplicate action name a/,
    ],
    [
      "an artifact that nobody makes",
      declarationOf(role, [stage(buildAction("a", { inputArtifacts: [{ name: "Z" }] }))]),
      "InvalidStructureException",
      /Input artifact Z of action a/,
    ],
    [
      "an artifact made by a parallel action",
      declarationOf(role, [
        stage(
          buildAction("a", { outputArtifacts: [{ name: "Z" }] }),
          buildAction("b", { inputArtifacts: [{ name: "Z" }] }),
        ),
      ]),
      "InvalidStructureException",
      /Input artifact Z of action b/,
    ],
    ["an unknown configuration", withConfiguration({ Foo: "1" }), "InvalidActionDeclarationException", /'Foo'/],
    [
      "a configuration value of 1001 characters [B1.3]",
      withConfiguration({ EnvironmentVariables: "x".repeat(1001) }),
      "ValidationException",
      /less than or equal to 1000/,
    ],
    [
      "an unknown namespace [B2.2]",
      withConfiguration({ EnvironmentVariables: "#{Nobody.key}" }),
      "InvalidActionDeclarationException",
      /referencing a namespace that does not exist\. StageName=\[Build\], ActionName=\[Build\], ActionConfigurationKey=\[EnvironmentVariables\], VariableReferenceText=\[#\{Nobody\.key\}\]/,
    ],
    [
      "a reference without a key",
      withConfiguration({ EnvironmentVariables: "#{Nobody}" }),
      "InvalidActionDeclarationException",
      /^Valid format for a pipeline execution variable reference/,
    ],
    [
      "an undeclared variable",
      withConfiguration({ EnvironmentVariables: "#{variables.x}" }),
      "InvalidActionDeclarationException",
      /does not declare/,
    ],
    [
      "a namespace of an action that runs at the same time [B2.2]",
      declarationOf(role, [
        stage(
          buildAction("a", { namespace: "A" }),
          buildAction("b", { configuration: { ProjectName: "x", EnvironmentVariables: "#{A.key}" } }),
        ),
      ]),
      "InvalidActionDeclarationException",
      /namespace that does not exist/,
    ],
    [
      "a namespace named as an artifact",
      declarationOf(role, [stage(buildAction("a", { namespace: "App" }))]),
      "InvalidActionDeclarationException",
      /also the name of an artifact/,
    ],
    [
      "an approval that gives topics to notify [B1.5]",
      declarationOf(role, [stage(approvalAction("Ask", { configuration: { NotificationArn: "arn:aws:sns:x" } }))]),
      "NotImplemented",
      /action Ask: configuration NotificationArn/,
    ],
    [
      "an approval that waits 4 minutes",
      declarationOf(role, [stage(approvalAction("Ask", { timeoutInMinutes: 4 }))]),
      "ValidationException",
      /timeoutInMinutes.*between 5 and 86400/,
    ],
    [
      "a time-out of a build",
      declarationOf(role, [stage(buildAction("Build", { timeoutInMinutes: 60 }))]),
      "InvalidActionDeclarationException",
      /for manual approvals only/,
    ],
    ["the Commands action [B4.1]", actionOf("Compute", "AWS", "Commands"), "NotImplemented", /Compute\/AWS\/Commands/],
    ["a Lambda [B1.5]", actionOf("Invoke", "AWS", "Lambda"), "NotImplemented", /Invoke\/AWS\/Lambda/],
    ["a custom action [B1.5]", actionOf("Build", "Custom", "CodeBuild"), "NotImplemented", /Build\/Custom\/CodeBuild/],
    [
      "a version of an action",
      actionOf("Build", "AWS", "CodeBuild", "2"),
      "InvalidActionDeclarationException",
      /not available/,
    ],
    ...["BatchEnabled", "CombineArtifacts", "ServiceRoleArnOverride"].map(
      (key) =>
        [
          `${key} [B3.5]`,
          withConfiguration({ [key]: "x" }),
          "NotImplemented",
          new RegExp(`action Build: configuration ${key}$`),
        ] as const,
    ),
    [
      "an empty configuration value",
      withConfiguration({ EnvironmentVariables: "" }),
      "ValidationException",
      /greater than/,
    ],
    [
      "a configuration key of 51 characters [B1.3]",
      withConfiguration({ ["k".repeat(51)]: "x" }),
      "ValidationException",
      /less than or equal to 50/,
    ],
    [
      "51 stages [B1.2]",
      declarationOf(
        role,
        Array.from({ length: 50 }, (_, index) => ({ name: `S${index}`, actions: [buildAction("Build")] })),
      ),
      "InvalidStructureException",
      /has 51 stage\(s\)/,
    ],
    [
      "a stage without actions [B1.2]",
      declarationOf(role, [stage()]),
      "InvalidStageDeclarationException",
      /has 0 actions/,
    ],
    [
      "51 actions in a stage",
      declarationOf(role, [stage(...Array.from({ length: 51 }, (_, index) => buildAction(`a${index}`)))]),
      "InvalidStageDeclarationException",
      /has 51 actions/,
    ],
    [
      "a runOrder of 1000",
      declarationOf(role, [stage(buildAction("a", { runOrder: 1000 }))]),
      "InvalidActionDeclarationException",
      /1000/,
    ],
    [
      "a stage's name of 101 characters [B1.2]",
      declarationOf(role, [{ name: "s".repeat(101), actions: [buildAction("a")] }]),
      "ValidationException",
      /regular expression/,
    ],
    [
      "an artifact's name with a dot",
      declarationOf(role, [stage(buildAction("a", { outputArtifacts: [{ name: "a.b" }] }))]),
      "ValidationException",
      /regular expression/,
    ],
    [
      "several inputs and no PrimarySource [B3.1]",
      declarationOf(role, [stage(buildAction("a", { inputArtifacts: [{ name: "App" }, { name: "App" }] }))]),
      "InvalidActionDeclarationException",
      /missing required configuration 'PrimarySource'/,
    ],
    [
      "six inputs",
      declarationOf(role, [
        stage(
          buildAction("a", {
            inputArtifacts: Array.from({ length: 6 }, () => ({ name: "App" })),
            configuration: { PrimarySource: "App" },
          }),
        ),
      ]),
      "InvalidActionDeclarationException",
      /6 input artifacts: between 1 and 5/,
    ],
    [
      "51 variables",
      declarationOf(role, [stage(buildAction("a"))], {
        variables: Array.from({ length: 51 }, (_, index) => ({ name: `v${index}` })),
      }),
      "InvalidStructureException",
      /more than 50 variables/,
    ],
    [
      "a pipeline's variable in a source action",
      declarationOf(role, [], {
        variables: [{ name: "key" }],
        stages: [
          {
            name: "Source",
            actions: [{ ...sourceAction(), configuration: { S3Bucket: "b", S3ObjectKey: "#{variables.key}" } }],
          },
          stage(buildAction("a")),
        ],
      }),
      "InvalidActionDeclarationException",
      /not allowed in source actions/,
    ],
    [
      "a key of codepipeline that there is not [B2.4]",
      withConfiguration({ EnvironmentVariables: "#{codepipeline.Name}" }),
      "InvalidActionDeclarationException",
      /referencing a key that does not exist/,
    ],
  ];
  for (const [what, declaration, name, message] of wrong) {
    it(`is refused with ${what}`, () => {
      assert.throws(() => checkDeclaration(declaration), { name, message });
    });
  }

  it("may poll, may wait for approval, and may let new executions supersede waiting ones [B1.5]", () => {
    const polling = { ...sourceAction(), configuration: { S3Bucket: "b", S3ObjectKey: "k" } };
    const stages = [{ name: "Source", actions: [polling] }, stage(approvalAction("Ask", { timeoutInMinutes: 5 }))];
    checkDeclaration(declarationOf(role, [], { stages, executionMode: "SUPERSEDED" }));
  });

  it("is refused when polling is neither true nor false", () => {
    const configuration = { S3Bucket: "b", S3ObjectKey: "k", PollForSourceChanges: "no" };
    const stages = [{ name: "Source", actions: [{ ...sourceAction(), configuration }] }, stage(buildAction("Build"))];
    assert.throws(() => checkDeclaration(declarationOf(role, [], { stages })), /PollForSourceChanges is true or false/);
  });
});

function actionOf(category: ActionCategory, owner: ActionOwner, provider: string, version = "1"): PipelineDeclaration {
  return declarationOf(role, [stage(buildAction("x", { actionTypeId: { category, owner, provider, version } }))]);
}
