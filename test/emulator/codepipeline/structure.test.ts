import * as assert from "node:assert/strict";
import type { PipelineDeclaration } from "@aws-sdk/client-codepipeline";
import { checkDeclaration } from "../../../emulator/services/codepipeline/structure";
import { buildAction, declarationOf, sourceAction } from "./support";

const role = "arn:aws:iam::123456789012:role/pipeline";
const stage = (...actions: ReturnType<typeof buildAction>[]) => ({ name: "Build", actions });
const withConfiguration = (configuration: Record<string, string>) =>
  declarationOf(role, [stage(buildAction("Build", { configuration: { ProjectName: "x", ...configuration } }))]);

describe("A pipeline's declaration", () => {
  it("is taken when all is right", () => {
    checkDeclaration(declarationOf(role, [stage(buildAction("Build"))]));
  });

  const wrong: readonly (readonly [string, PipelineDeclaration, string, RegExp])[] = [
    ["a name with a space", { ...withConfiguration({}), name: "a b" }, "ValidationException", /regular expression/],
    ["type V1", { ...withConfiguration({}), pipelineType: "V1" }, "NotImplemented", /pipelineType V1/],
    ["mode PARALLEL", { ...withConfiguration({}), executionMode: "PARALLEL" }, "NotImplemented", /PARALLEL/],
    ["one stage", declarationOf(role, []), "InvalidStructureException", /has 1 stage\(s\)/],
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
      "a configuration value of 1001 characters",
      withConfiguration({ EnvironmentVariables: "x".repeat(1001) }),
      "ValidationException",
      /less than or equal to 1000/,
    ],
    [
      "an unknown namespace",
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
      "a namespace of an action that runs at the same time",
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
      "an approval",
      declarationOf(role, [
        stage({ name: "Ask", actionTypeId: { category: "Approval", owner: "AWS", provider: "Manual", version: "1" } }),
      ]),
      "NotImplemented",
      /Approval\/AWS\/Manual/,
    ],
  ];
  for (const [what, declaration, name, message] of wrong) {
    it(`is refused with ${what}`, () => {
      assert.throws(() => checkDeclaration(declaration), { name, message });
    });
  }

  it("is refused when its source polls", () => {
    const polling = { ...sourceAction(), configuration: { S3Bucket: "b", S3ObjectKey: "k" } };
    const declaration = declarationOf(role, [], {
      stages: [{ name: "Source", actions: [polling] }, stage(buildAction("Build"))],
    });
    assert.throws(() => checkDeclaration(declaration), { name: "NotImplemented", message: /PollForSourceChanges/ });
  });
});
