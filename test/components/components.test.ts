import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import {
  CommandProject,
  InvalidArgumentsError,
  ProtectedPipeline,
  Protection,
  RecoveryStore,
  type CommandProjectArgs,
  type ProtectedPipelineArgs,
  type Stage,
} from "../../components";
import { parsePlan } from "../../run/plan";
import { instanceArn, secretArn } from "./fixtures";
import { runProgram, valueOf, type Program } from "./program";

type Statement = { Sid?: string; Effect: string; Action: string[]; Resource: string[]; Condition?: unknown };

function statementsOf(resource: { readonly inputs: Readonly<Record<string, unknown>> }): Statement[] {
  return (JSON.parse(String(resource.inputs.policy)) as { Statement: Statement[] }).Statement;
}

function refusal(program: () => unknown): string {
  let message = "";
  assert.throws(program, (error) => {
    assert.ok(error instanceof InvalidArgumentsError && pulumi.RunError.isInstance(error));
    message = error.message;
    return true;
  });
  return message;
}

const network = { vpcId: "vpc-0a", subnetIds: ["subnet-0a", "subnet-0b"], securityGroupIds: ["sg-0a"] };

const pipelineArgs: ProtectedPipelineArgs = {
  source: { type: "s3", bucket: "releases", bucketArn: "arn:aws:s3:::releases", key: "release.zip" },
  instances: [{ instanceId: "i-0123456789abcdef0", arn: instanceArn, paths: ["/opt/shop"] }],
  databases: [
    {
      arn: "arn:aws:rds:us-east-1:123456789012:db:shop",
      host: "shop.abcdefgh.us-east-1.rds.amazonaws.com",
      database: "shop",
      secretArn,
    },
  ],
  network,
  probes: [{ url: "http://shop.internal:8080/health" }],
  writes: "continue",
};

describe("RecoveryStore", () => {
  it("is versioned, encrypted, closed to the public, and keeps facts and dumps for its retention", async () => {
    const program = await runProgram(() => new RecoveryStore("shop", { retentionDays: 90 }));
    const name = "shop-recovery";
    assert.deepEqual(program.get("aws:s3/bucket:Bucket", name).inputs, { forceDestroy: false });
    const versioning = program.get("aws:s3/bucketVersioning:BucketVersioning", `${name}-versioning`);
    assert.deepEqual(versioning.inputs.versioningConfiguration, { status: "Enabled" });
    const [encryption] = program.ofType(
      "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    );
    assert.deepEqual(encryption?.inputs.rules, [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" } }]);
    const [block] = program.ofType("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock");
    const { bucket: _bucket, ...blocked } = block?.inputs ?? {};
    assert.deepEqual(Object.values(blocked), [true, true, true, true]);
    const [lifecycle] = program.ofType("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration");
    const rules = lifecycle?.inputs.rules as { id: string; expiration?: { days: number } }[];
    assert.deepEqual(
      rules.map(({ id, expiration }) => [id, expiration?.days]),
      [
        ["expire-runs", 90],
        ["expire-vault", 90],
        ["abort-unfinished-uploads", undefined],
      ],
    );
  });

  it("denies unconditional facts, deletes, other accounts and plain HTTP by its own policy", async () => {
    const program = await runProgram(() => new RecoveryStore("shop"));
    const statements = statementsOf(program.get("aws:s3/bucketPolicy:BucketPolicy", "shop-recovery-policy"));
    assert.ok(statements.every(({ Effect }) => Effect === "Deny"));
    assert.deepEqual(
      statements.map(({ Sid, Condition }) => [Sid, Condition]),
      [
        ["DenyPlainHttp", { Bool: { "aws:SecureTransport": "false" } }],
        ["DenyOtherAccounts", { StringNotEquals: { "aws:PrincipalAccount": "123456789012" } }],
        ["DenyUnconditionalFacts", { Null: { "s3:if-none-match": "true" } }],
        ["DenyDeletes", undefined],
      ],
    );
  });

  it("refuses a name that cannot start others' names, and a retention that is none", async () => {
    await runProgram(() => {
      assert.equal(
        refusal(() => new RecoveryStore("Shop_1", { retentionDays: 0.5 })),
        'RecoveryStore "Shop_1" cannot be created from these arguments. The name "Shop_1" cannot start the names of AWS ' +
          "resources: use 2 to 40 lower-case letters, digits and single hyphens, beginning with a letter. " +
          "retentionDays is 0.5: give a whole number of days from 1 to 3650.",
      );
    });
  });
});

describe("CommandProject", () => {
  const make = (args: Partial<CommandProjectArgs> = {}) =>
    runProgram(() => new CommandProject("list", { commands: ["aws sts get-caller-identity"], ...args }));
  const project = (program: Program<unknown>) => program.get("aws:codebuild/project:Project", "list").inputs;

  it("runs its commands in bash, and nothing but its own project may have its role", async () => {
    const program = await make();
    const inputs = project(program);
    assert.equal(inputs.name, "list");
    const source = inputs.source as { type: string; buildspec: string };
    assert.equal(source.type, "NO_SOURCE");
    assert.deepEqual((parse(source.buildspec) as { phases: { build: unknown } }).phases.build, {
      commands: ["aws sts get-caller-identity"],
    });
    assert.deepEqual(inputs.artifacts, { type: "NO_ARTIFACTS" });
    const trust = JSON.parse(String(program.get("aws:iam/role:Role", "list-role").inputs.assumeRolePolicy)) as {
      Statement: [{ Condition: unknown }];
    };
    assert.deepEqual(trust.Statement[0].Condition, {
      StringEquals: { "aws:SourceAccount": "123456789012" },
      ArnLike: { "aws:SourceArn": "arn:aws:codebuild:us-east-1:123456789012:project/list" },
    });
  });

  it("may write only its own log", async () => {
    const program = await make();
    const [logs, ...others] = statementsOf(program.get("aws:iam/rolePolicy:RolePolicy", "list-policy"));
    const group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/codebuild/list";
    assert.deepEqual(logs?.Resource, [group, `${group}:*`]);
    assert.deepEqual(others, []);
    assert.deepEqual(program.get("aws:cloudwatch/logGroup:LogGroup", "list-logs").inputs, {
      name: "/aws/codebuild/list",
      // CloudWatch Logs does not take 35.
      retentionInDays: 60,
    });
  });

  it("names its secrets by reference, and may read just these", async () => {
    const program = await make({ environment: { HOST: "db" }, secrets: { PGPASSWORD: `${secretArn}:password` } });
    const environment = project(program).environment as { environmentVariables: unknown };
    assert.deepEqual(environment.environmentVariables, [
      { name: "HOST", value: "db", type: "PLAINTEXT" },
      { name: "PGPASSWORD", value: `${secretArn}:password`, type: "SECRETS_MANAGER" },
    ]);
    const statements = statementsOf(program.get("aws:iam/rolePolicy:RolePolicy", "list-policy"));
    const reading = statements.find(({ Action }) => Action.includes("secretsmanager:GetSecretValue"));
    assert.deepEqual(reading?.Resource, [secretArn]);
  });

  it("may attach its network interface only in its own subnets", async () => {
    const program = await make({ network });
    assert.deepEqual(project(program).vpcConfig, {
      vpcId: "vpc-0a",
      subnets: ["subnet-0a", "subnet-0b"],
      securityGroupIds: ["sg-0a"],
    });
    const statements = statementsOf(program.get("aws:iam/rolePolicy:RolePolicy", "list-policy"));
    const permission = statements.find(({ Action }) => Action.includes("ec2:CreateNetworkInterfacePermission"));
    assert.deepEqual(permission?.Condition, {
      ArnEquals: {
        "ec2:Subnet": ["subnet-0a", "subnet-0b"].map((id) => `arn:aws:ec2:us-east-1:123456789012:subnet/${id}`),
      },
      StringEquals: { "ec2:AuthorizedService": "codebuild.amazonaws.com" },
    });
  });

  it("lets its children's arguments be changed", async () => {
    const program = await make({ transform: { project: (args) => ({ ...args, concurrentBuildLimit: 1 }) } });
    assert.equal(project(program).concurrentBuildLimit, 1);
  });

  const wrong: [string, Partial<CommandProjectArgs>, string][] = [
    ["no commands", { commands: [] }, "There are no commands: give at least one."],
    [
      "a time-out that CodeBuild does not have",
      { timeoutMinutes: 3 },
      "timeoutMinutes is 3: give a whole number from 5 to 2160.",
    ],
    [
      "a queue that CodeBuild does not have",
      { queueMinutes: 500 },
      "queueMinutes is 500: give a whole number from 5 to 480.",
    ],
    [
      "a variable that is secret and is not",
      { environment: { TOKEN: "a" }, secrets: { TOKEN: secretArn } },
      'The variable TOKEN is given in "environment" and in "secrets". Choose one.',
    ],
    [
      "a variable of CodeBuild's own",
      { environment: { CODEBUILD_SRC_DIR: "/" } },
      "The variable CODEBUILD_SRC_DIR cannot be set: CodeBuild reserves CODEBUILD_.",
    ],
    [
      "more commands than a buildspec holds",
      { commands: ["x".repeat(26_000)] },
      "The commands make a buildspec of 26122 characters, and CodeBuild takes 25600: put them into a script among the source's files.",
    ],
  ];
  for (const [what, args, sentence] of wrong) {
    it(`refuses ${what}`, async () => {
      await runProgram(() => {
        const message = refusal(() => new CommandProject("list", { commands: ["true"], ...args }));
        assert.equal(message, `CommandProject "list" cannot be created from these arguments. ${sentence}`);
      });
    });
  }
});

describe("ProtectedPipeline", () => {
  interface Action {
    readonly name: string;
    readonly provider: string;
    readonly configuration: Readonly<Record<string, string>>;
    readonly inputArtifacts?: readonly string[];
    readonly runOrder?: number;
  }
  interface StageInput {
    readonly name: string;
    readonly actions: readonly Action[];
  }

  const stagesOf = (program: Program<unknown>) =>
    program.get("aws:codepipeline/pipeline:Pipeline", "shop").inputs.stages as StageInput[];

  it("protects, waits, and deploys with the Guard beside the deploy", async () => {
    const program = await runProgram(() => new ProtectedPipeline("shop", pipelineArgs));
    const { inputs } = program.get("aws:codepipeline/pipeline:Pipeline", "shop");
    assert.equal(inputs.pipelineType, "V2");
    assert.equal(inputs.executionMode, "QUEUED");
    assert.deepEqual(
      stagesOf(program).map(({ name, actions }) => [name, actions.map((action) => action.name)]),
      [
        ["Source", ["App", "Toolkit"]],
        ["Protect", ["Protect"]],
        ["Wait", ["Wait"]],
        ["Deploy", ["Deploy", "Guard"]],
      ],
    );
    const [deploy, guard] = stagesOf(program)[3]?.actions ?? [];
    assert.deepEqual(deploy?.inputArtifacts, ["App", "Toolkit"]);
    assert.equal(deploy?.configuration.PrimarySource, "App");
    assert.equal(deploy?.runOrder, guard?.runOrder);
  });

  it("passes the execution's id to every build, within CodePipeline's limit, and polls no source", async () => {
    const program = await runProgram(() => new ProtectedPipeline("shop", pipelineArgs));
    const actions = stagesOf(program).flatMap((stage) => stage.actions);
    for (const { configuration, provider } of actions) {
      assert.ok(Object.values(configuration).every((value) => value.length <= 1_000));
      if (provider === "S3") assert.equal(configuration.PollForSourceChanges, "false");
      else {
        assert.deepEqual(JSON.parse(configuration.EnvironmentVariables ?? ""), [
          { name: "RUN_ID", value: "#{codepipeline.PipelineExecutionId}", type: "PLAINTEXT" },
        ]);
      }
    }
  });

  it("admits before it deploys", async () => {
    const program = await runProgram(() => new ProtectedPipeline("shop", pipelineArgs));
    const { source } = program.get("aws:codebuild/project:Project", "shop-deploy").inputs as {
      source: { buildspec: string };
    };
    const { phases } = parse(source.buildspec) as { phases: { build: { commands: string[] } } };
    assert.deepEqual(phases.build.commands, ['node "$CODEBUILD_SRC_DIR_Toolkit/jobs.js" admit', "bash ./deploy.sh"]);
  });

  it("uses three compute types for what runs at the same time", async () => {
    const program = await runProgram(() => new ProtectedPipeline("shop", pipelineArgs));
    const types = ["deploy", "guard", "rescue"].map((job) => {
      const { environment } = program.get("aws:codebuild/project:Project", `shop-${job}`).inputs;
      return (environment as { computeType: string }).computeType;
    });
    assert.equal(new Set(types).size, 3);
  });

  it("ships the jobs' program, the plan and the certificates in one object", async () => {
    const program = await runProgram(() => new ProtectedPipeline("shop", pipelineArgs));
    const { source, key } = program.get("aws:s3/bucketObjectv2:BucketObjectv2", "shop-toolkit").inputs;
    assert.equal(key, "toolkit/toolkit.zip");
    const files = (source as pulumi.asset.AssetArchive).assets as Promise<Record<string, pulumi.asset.StringAsset>>;
    const { "plan.json": planAsset, "ca.pem": certificates, ...rest } = await files;
    assert.deepEqual(Object.keys(rest), ["jobs.js"]);
    assert.match((await certificates?.text) ?? "", /^-----BEGIN CERTIFICATE-----/);
    const plan = parsePlan((await planAsset?.text) ?? "");
    assert.deepEqual(plan, await valueOf(program.result.protection.plan));
    assert.deepEqual(
      plan.targets.map(({ id, arn }) => [id, arn]),
      [
        ["instance", instanceArn],
        ["database", "arn:aws:rds:us-east-1:123456789012:db:shop"],
      ],
    );
  });

  it("calls Rescue on every sign that a Guard may be gone, and on a schedule", async () => {
    const program = await runProgram(() => new ProtectedPipeline("shop", pipelineArgs));
    const patterns = program
      .ofType("aws:cloudwatch/eventRule:EventRule")
      .map(({ inputs }) => JSON.parse(String(inputs.eventPattern)) as { detail: Record<string, string[]> })
      .map(({ detail }) => detail);
    assert.deepEqual(patterns, [
      { pipeline: ["shop"], state: ["FAILED", "STOPPED", "CANCELED", "SUPERSEDED"] },
      // Not FAILED: so ends every Guard that has healed, and its execution with it, which calls Rescue already.
      { pipeline: ["shop"], stage: ["Deploy"], action: ["Guard"], state: ["ABANDONED", "CANCELED"] },
      { "project-name": ["shop-guard"], "build-status": ["STOPPED", "TIMED_OUT", "FAULT"] },
    ]);
    const [schedule] = program.ofType("aws:scheduler/schedule:Schedule");
    const rescueArn = "arn:aws:codebuild:us-east-1:123456789012:project/shop-rescue";
    assert.equal((schedule?.inputs.target as { arn: string }).arn, rescueArn);
    for (const { inputs } of program.ofType("aws:cloudwatch/eventTarget:EventTarget")) {
      assert.equal(inputs.arn, rescueArn);
      const { inputPaths, inputTemplate } = inputs.inputTransformer as {
        inputPaths: Record<string, string>;
        inputTemplate: string;
      };
      // As EventBridge fills it in: a string brings its own quotes.
      const filled = inputTemplate.replace(/<([^>]+)>/g, (_, name: string) => JSON.stringify(inputPaths[name]));
      const { environmentVariablesOverride } = JSON.parse(filled) as { environmentVariablesOverride: unknown[] };
      assert.ok(environmentVariablesOverride.length > 0);
      assert.ok(Object.keys(inputPaths).every((name) => /^[A-Za-z0-9_-]+$/.test(name) && !name.startsWith("AWS")));
    }
  });

  it("takes releases from a repository by a connection, with both of its permissions", async () => {
    const connectionArn = "arn:aws:codestar-connections:us-east-1:123456789012:connection/0a";
    const source = { type: "connection", connectionArn, repository: "acme/shop", branch: "main" } as const;
    const program = await runProgram(() => new ProtectedPipeline("shop", { ...pipelineArgs, source }));
    assert.deepEqual(stagesOf(program)[0]?.actions[0]?.configuration, {
      ConnectionArn: connectionArn,
      FullRepositoryId: "acme/shop",
      BranchName: "main",
    });
    const statements = statementsOf(program.get("aws:iam/rolePolicy:RolePolicy", "shop-pipeline-policy"));
    const use = statements.find(({ Resource }) => Resource.includes(connectionArn));
    assert.deepEqual(use?.Action, ["codeconnections:UseConnection", "codestar-connections:UseConnection"]);
  });

  it("says at once, and all together, what cannot work", async () => {
    await runProgram(() => {
      const message = refusal(
        () =>
          new ProtectedPipeline("shop", {
            ...pipelineArgs,
            instances: [{ instanceId: "i-0a", arn: instanceArn, paths: ["opt/shop"] }],
            computeTypes: { guard: "BUILD_GENERAL1_LARGE" },
            deadlines: { healSeconds: 200_000 },
            rescueSchedule: "hourly",
          }),
      );
      assert.equal(
        message,
        'Protection "shop" cannot be created from these arguments. ' +
          "The deadlines add up to 3430 minutes for the guard build, and CodeBuild ends a build after 2160: shorten them. " +
          "The deadlines add up to 6682 minutes for the rescue build, and CodeBuild ends a build after 2160: shorten them. " +
          "Guard and Rescue both use BUILD_GENERAL1_LARGE: they may run at the same time, and an account's default " +
          "quota is one running build per compute type. Choose different ones. " +
          'The path "opt/shop" of an instance is not absolute. ' +
          'rescueSchedule is "hourly": give an expression such as "rate(15 minutes)".',
      );
    });
  });
});

describe("Protection of a pipeline of one's own", () => {
  const args = {
    ...pipelineArgs,
    pipeline: { name: "own", deployStage: "Release", deployAction: "Ship" },
    deployProject: "own-ship",
    artifactBucketArn: "arn:aws:s3:::artifacts",
  };
  const ship = (change: object = {}): Stage => ({
    name: "Release",
    actions: [
      {
        name: "Ship",
        category: "Build",
        owner: "AWS",
        provider: "CodeBuild",
        version: "1",
        runOrder: 2,
        configuration: { ProjectName: "own-ship", EnvironmentVariables: '[{"name":"RUN_ID"}]' },
        inputArtifacts: ["App", "Toolkit"],
        ...change,
      },
    ],
  });

  it("puts the Guard beside the deploy action, in the same order", async () => {
    const program = await runProgram(() => new Protection("own", args).guarded(ship()));
    const { actions } = (await valueOf(program.result)) as { actions: { name: string; runOrder?: number }[] };
    assert.deepEqual(
      actions.map(({ name, runOrder }) => [name, runOrder]),
      [
        ["Ship", 2],
        ["Guard", 2],
      ],
    );
  });

  const wrong: [string, Stage, string][] = [
    [
      "another stage",
      { ...ship(), name: "Deploy" },
      `The guarded stage "Deploy" cannot be created from these arguments. Its name differs from the protection's pipeline.deployStage, "Release".`,
    ],
    [
      "a deploy without the program that admits it",
      ship({ inputArtifacts: ["App"] }),
      'The guarded stage "Release" cannot be created from these arguments. Its action "Ship" must have the input artifact "Toolkit": it brings the command admit.',
    ],
    [
      "a deploy by another project",
      ship({ configuration: { ProjectName: "other", EnvironmentVariables: "RUN_ID" } }),
      'The guarded stage "Release" cannot be created from these arguments. Its action "Ship" must run the project "own-ship", the protection\'s deployProject.',
    ],
  ];
  for (const [what, stage, sentence] of wrong) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(
        runProgram(() => new Protection("own", args).guarded(stage)),
        (error: Error) => {
          assert.equal(error.message, sentence);
          return true;
        },
      );
    });
  }
});
