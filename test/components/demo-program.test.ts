import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { demoProgram, InvalidArgumentsError, type DemoConfig, type DemoOutputs } from "../../components";
import { longestUserData, userData } from "../../components/user-data";
import { runProgram, valueOf } from "./program";

const config: DemoConfig = { name: "drill-ab12", engine: "elastio", writes: "continue" };

async function valuesOf(outputs: DemoOutputs): Promise<Record<string, unknown>> {
  const entries = Object.entries(outputs).map(async ([name, value]) => [
    name,
    pulumi.Output.isInstance(value) ? await valueOf(value) : (value as unknown),
  ]);
  return Object.fromEntries(await Promise.all(entries)) as Record<string, unknown>;
}

describe("demo program", () => {
  it("gives outputs that are all known", async () => {
    const { result } = await runProgram(() => demoProgram(config));
    const values = await valuesOf(result);
    assert.deepEqual(
      Object.entries(values).filter(([, value]) => value === undefined || value === ""),
      [],
    );
    assert.equal(values.applicationUrl, "http://203.0.113.10:8080");
    assert.equal(values.pipelineName, "drill-ab12");
    assert.deepEqual(values.projects, {
      protect: "drill-ab12-protect",
      wait: "drill-ab12-wait",
      deploy: "drill-ab12-deploy",
      guard: "drill-ab12-guard",
      rescue: "drill-ab12-rescue",
    });
  });

  it("keeps its names within AWS's limits when its own name is as long as it may be", async () => {
    const name = `d${"x".repeat(39)}`;
    const { resources } = await runProgram(() => demoProgram({ ...config, name }));
    // The provider adds a hyphen and seven digits to a name that it makes.
    const made = { "aws:s3/bucket:Bucket": 63, "aws:iam/role:Role": 64, "aws:rds/subnetGroup:SubnetGroup": 255 };
    const given = {
      "aws:rds/instance:Instance": ["identifier", 63],
      "aws:cloudwatch/eventRule:EventRule": ["name", 64],
      "aws:scheduler/schedule:Schedule": ["name", 64],
      "aws:codepipeline/pipeline:Pipeline": ["name", 100],
      "aws:codebuild/project:Project": ["name", 150],
    } as const;
    for (const { type, name: logical, inputs } of resources) {
      const limit = (made as Record<string, number>)[type];
      if (limit !== undefined) assert.ok(logical.length + 8 <= limit, `${type} ${logical}`);
      const [input, most] = (given as Record<string, readonly [string, number]>)[type] ?? [];
      if (input !== undefined) assert.ok(String(inputs[input]).length <= Number(most), `${type} ${logical}`);
    }
  });

  it("encrypts what it stores, hides the database, and wants IMDSv2", async () => {
    const program = await runProgram(() => demoProgram(config));
    const instance = program.get("aws:ec2/instance:Instance", "drill-ab12-instance").inputs;
    assert.equal((instance.rootBlockDevice as { encrypted: boolean }).encrypted, true);
    assert.equal((instance.metadataOptions as { httpTokens: string }).httpTokens, "required");
    const database = program.get("aws:rds/instance:Instance", "drill-ab12-database").inputs;
    assert.equal(database.storageEncrypted, true);
    assert.equal(database.publiclyAccessible, false);
    assert.equal(database.manageMasterUserPassword, true);
    assert.equal(database.password, undefined);
  });

  it("opens the application to the probes, and to visitors only when they are named", async () => {
    const ingress = async (visitors?: string[]) => {
      const program = await runProgram(() => demoProgram({ ...config, ...(visitors && { visitors }) }));
      const { inputs } = program.get("aws:ec2/securityGroup:SecurityGroup", "drill-ab12-instance");
      return (inputs.ingress as { description: string; cidrBlocks?: string[] }[]).map(({ description, cidrBlocks }) => [
        description,
        cidrBlocks,
      ]);
    };
    assert.deepEqual(await ingress(), [["Probes", undefined]]);
    assert.deepEqual(await ingress(["203.0.113.7/32"]), [
      ["Probes", undefined],
      ["Visitors", ["203.0.113.7/32"]],
    ]);
  });

  it("puts no secret's value anywhere, only references", async () => {
    const { resources } = await runProgram(() => demoProgram(config));
    const text = JSON.stringify(resources.map(({ inputs }) => inputs));
    assert.ok(!/secretString|masterPassword|"password":/i.test(text));
    const deploy = resources.find(
      ({ type, name }) => type === "aws:codebuild/project:Project" && name.endsWith("deploy"),
    );
    const { environmentVariables } = deploy?.inputs.environment as {
      environmentVariables: { name: string; type: string; value: string }[];
    };
    const secret = environmentVariables.filter(({ type }) => type === "SECRETS_MANAGER");
    assert.deepEqual(
      secret.map(({ name, value }) => [name, value.split(":").at(-1)]),
      [
        ["PGUSER", "username"],
        ["PGPASSWORD", "password"],
      ],
    );
  });

  it("seeds from the user's own dump, with pages that fit any database", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "demo-program-"));
    try {
      const dataFile = path.join(folder, "mine.dump");
      fs.writeFileSync(dataFile, "PGDMP");
      const program = await runProgram(() => demoProgram({ ...config, dataFile }));
      const seed = program.get("aws:s3/bucketObjectv2:BucketObjectv2", "drill-ab12-seed").inputs.source;
      assert.equal(await (seed as pulumi.asset.FileAsset).path, dataFile);
      const page = program.get("aws:s3/bucketObjectv2:BucketObjectv2", "drill-ab12-application-release-queries.js");
      assert.match(await (page.inputs.source as pulumi.asset.FileAsset).path, /any-database/);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });

  it("refuses visitors that are no range, and a database that is not the user's to name", async () => {
    await runProgram(() => {
      assert.throws(
        () => demoProgram({ ...config, visitors: ["everybody"] }),
        (error: Error) => {
          assert.ok(error instanceof InvalidArgumentsError);
          assert.equal(
            error.message,
            'DemoEnvironment "drill-ab12" cannot be created from these arguments. ' +
              'The visitor "everybody" is not an IPv4 address range such as 203.0.113.7/32.',
          );
          return true;
        },
      );
    });
  });
});

describe("user data", () => {
  const options = {
    region: "us-east-1",
    bucket: "releases",
    secretArn: "arn:aws:secretsmanager:us-east-1:123456789012:secret:shop-AbCdEf",
    files: ["server.js", "release/queries.js", "release/it's.txt"],
  };

  it("uses absolute paths, installs only what is missing, and starts the shop at every boot", () => {
    const script = userData(options);
    assert.match(script, /^#!\/bin\/bash\n/);
    assert.match(script, /^command -v node > \/dev\/null \|\| dnf install /m);
    assert.match(script, /^mkdir -p \/opt\/shop \/opt\/shop\/release$/m);
    assert.match(script, /^ExecStart=\/usr\/bin\/env node \/opt\/shop\/server\.js$/m);
    assert.match(script, /^systemctl enable --now shop$/m);
    assert.ok(Buffer.byteLength(script) < longestUserData / 2);
  });

  it("quotes what a shell would understand", () => {
    assert.match(userData(options), / '\/opt\/shop\/release\/it'\\''s\.txt' &$/m);
  });
});
