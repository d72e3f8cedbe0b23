import assert from "node:assert/strict";
import {
  admitStatements,
  demoDeployStatements,
  demoInstanceStatements,
  demoSeedStatements,
  guardStatements,
  pipelineStatements,
  policy,
  projectStatements,
  protectStatements,
  rescueStatements,
  secretOfReference,
  startBuildStatements,
  trustPolicy,
  unscopedActions,
  waitStatements,
  writeOnce,
  type Statement,
} from "../../components/policies";
import { evaluate } from "../../emulator/core/iam";
import { instanceArn, scopeOf, secretArn, site, storeArn } from "./fixtures";

const jobs = {
  protect: protectStatements,
  wait: waitStatements,
  admit: admitStatements,
  guard: guardStatements,
  rescue: rescueStatements,
};
const key = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d";

/** Every list of statements that this package attaches to a role. */
const all: Record<string, Statement[]> = {
  project: projectStatements({
    site,
    project: "shop-protect",
    source: { bucketArn: "arn:aws:s3:::artifacts", keys: "*" },
    network: { subnetIds: ["subnet-0a"], securityGroupIds: ["sg-0a"] },
    secrets: [`${secretArn}:username`, `${secretArn}:password`],
    image: "210987654321.dkr.ecr.eu-west-1.amazonaws.com/tools/jobs@sha256:0a",
  }),
  pipeline: pipelineStatements({
    site,
    artifactBucketArn: "arn:aws:s3:::artifacts",
    sources: [{ bucketArn: storeArn, key: "toolkit/toolkit.zip" }],
    connectionArns: ["arn:aws:codestar-connections:us-east-1:123456789012:connection/0a"],
    projects: ["shop-protect"],
  }),
  starter: startBuildStatements(site, "shop-rescue"),
  demoInstance: demoInstanceStatements("arn:aws:s3:::releases", `${secretArn}2`),
  demoSeed: demoSeedStatements(secretArn, `${secretArn}2`),
  demoDeploy: demoDeployStatements(site, "arn:aws:s3:::releases", instanceArn),
};
for (const [job, statements] of Object.entries(jobs)) {
  all[`${job} with elastio`] = statements(scopeOf("elastio"));
  all[`${job} with aws`] = statements(scopeOf("aws", [key]));
}

interface Question {
  readonly action: string;
  readonly resource: string;
  readonly context?: Record<string, string | string[]>;
}

function allows(statements: readonly Statement[], question: Question): boolean {
  const roleArn = "arn:aws:iam::123456789012:role/job";
  return evaluate({
    principal: { kind: "assumed-role", arn: "arn:aws:sts::123456789012:assumed-role/job/session", roleArn },
    account: site.account,
    context: {},
    identityPolicies: [JSON.stringify(policy(...statements))],
    ...question,
  }).allowed;
}

describe("policies", () => {
  for (const [name, statements] of Object.entries(all)) {
    it(`of ${name} name resources wherever AWS knows them, and no action by a wildcard`, () => {
      for (const { Action, Resource = [], Effect } of statements) {
        assert.equal(Effect, "Allow");
        assert.ok(Action.length > 0 && Resource.length > 0);
        for (const action of Action) assert.match(action, /^[a-z0-9-]+:[A-Za-z]+$/);
        const unscoped = Action.filter((action) => unscopedActions.has(action));
        if (Resource.includes("*")) assert.deepEqual([...unscoped], [...Action]);
        else assert.deepEqual(unscoped, []);
      }
    });

    it(`of ${name} fit into a role's inline policy`, () => {
      // IAM counts without white space, 10,240 characters over all inline policies of a role.
      assert.ok(JSON.stringify(policy(...statements)).length < 10_240);
    });
  }

  it("together with what every build needs fit into a role's inline policy", () => {
    const size = JSON.stringify(policy(...(all.project ?? []), ...(all["guard with aws"] ?? []))).length;
    assert.ok(size < 10_240, `${size}`);
  });

  const run = `${storeArn}/runs/1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed`;
  const put = (resource: string): Question => ({ action: "s3:PutObject", resource });
  const writers: [string, readonly (keyof typeof jobs)[]][] = [
    ["opened.json", ["protect"]],
    ["database/protected.json", ["protect"]],
    ["database/staged.json", ["wait"]],
    ["database/proven.json", ["wait"]],
    ["ticket.json", ["guard", "rescue"]],
    ["admitted.json", ["admit", "guard", "rescue"]],
    ["decided.json", ["guard", "rescue"]],
    ["claims/1.json", ["guard", "rescue"]],
    ["fenced.json", ["guard", "rescue"]],
    ["database/cut-over.json", ["guard", "rescue"]],
    ["verdict.json", ["guard", "rescue"]],
  ];
  for (const [fact, allowed] of writers) {
    it(`let ${allowed.join(" and ")} write ${fact}, and nobody else`, () => {
      const found = Object.keys(jobs).filter((job) => allows(all[`${job} with elastio`] ?? [], put(`${run}/${fact}`)));
      assert.deepEqual(found, allowed);
    });
  }

  it("keep the deploy from everything in the store but the ticket and its own admission", () => {
    const admit = all["admit with aws"] ?? [];
    const get = (resource: string) => allows(admit, { action: "s3:GetObject", resource });
    assert.ok(get(`${run}/ticket.json`));
    assert.ok(!get(`${run}/opened.json`) && !get(`${run}/database/protected.json`) && !get(`${storeArn}/vault/dump`));
    assert.ok(!allows(admit, put(`${storeArn}/vault/dump`)));
  });

  it("let only protect write into the vault, and only with the engine aws", () => {
    const writes = (job: string) => allows(all[job] ?? [], put(`${storeArn}/vault/dump`));
    assert.deepEqual(Object.keys(all).filter(writes), ["protect with aws"]);
  });

  it("let only guard and rescue replace a root volume, of this instance only", () => {
    const replaces = (job: string, resource: string) =>
      allows(all[job] ?? [], { action: "ec2:CreateReplaceRootVolumeTask", resource });
    assert.deepEqual(
      Object.keys(all).filter((job) => replaces(job, instanceArn)),
      ["guard with elastio", "guard with aws", "rescue with elastio", "rescue with aws"],
    );
    assert.ok(!replaces("guard with aws", instanceArn.replace(/.$/, "1")));
  });

  it("let guard terminate only what Elastio has restored", () => {
    const question = { action: "ec2:TerminateInstances", resource: instanceArn };
    const tagged = { ...question, context: { "ec2:ResourceTag/elastio:restored-from-rp": "rp-01" } };
    const guard = all["guard with elastio"] ?? [];
    assert.ok(allows(guard, tagged));
    assert.ok(!allows(guard, question));
    assert.ok(!allows(all["guard with aws"] ?? [], tagged));
  });

  it("let guard delete only volumes that a run has made", () => {
    const question = { action: "ec2:DeleteVolume", resource: "arn:aws:ec2:us-east-1:123456789012:volume/vol-0a" };
    const guard = all["guard with aws"] ?? [];
    assert.ok(allows(guard, { ...question, context: { "ec2:ResourceTag/protected-pipeline:run": "1b9d6bcd" } }));
    assert.ok(!allows(guard, question));
  });

  it("let guard set no tag but this product's", () => {
    const question = { action: "ec2:CreateTags", resource: "arn:aws:ec2:us-east-1:123456789012:volume/vol-0a" };
    const guard = all["guard with elastio"] ?? [];
    assert.ok(allows(guard, { ...question, context: { "aws:TagKeys": ["protected-pipeline:evidence"] } }));
    assert.ok(!allows(guard, { ...question, context: { "aws:TagKeys": ["protected-pipeline:evidence", "owner"] } }));
  });

  it("of the store refuse a fact without a condition, a delete, another account and plain HTTP", () => {
    const [facts, deletes] = writeOnce(storeArn);
    assert.deepEqual(facts, {
      Sid: "DenyUnconditionalFacts",
      Effect: "Deny",
      Principal: "*",
      Action: ["s3:PutObject"],
      Resource: [`${storeArn}/runs/*`],
      Condition: { Null: { "s3:if-none-match": "true" } },
    });
    assert.deepEqual(deletes?.Action, ["s3:DeleteObject", "s3:DeleteObjectVersion"]);
    assert.deepEqual(deletes?.Resource, [`${storeArn}/runs/*`, `${storeArn}/vault/*`]);
  });

  it("of trust name the account and the resource on whose behalf a service acts", () => {
    assert.deepEqual(
      trustPolicy("codebuild.amazonaws.com", site, "arn:aws:codebuild:us-east-1:123456789012:project/a"),
      {
        Version: "2012-10-17",
        Statement: [
          {
            Effect: "Allow",
            Principal: { Service: "codebuild.amazonaws.com" },
            Action: ["sts:AssumeRole"],
            Condition: {
              StringEquals: { "aws:SourceAccount": "123456789012" },
              ArnLike: { "aws:SourceArn": "arn:aws:codebuild:us-east-1:123456789012:project/a" },
            },
          },
        ],
      },
    );
  });

  it("find the secret in each form of a reference", () => {
    for (const rest of ["", ":password", ":password:AWSCURRENT", ":password::0a1b2c3d"]) {
      assert.equal(secretOfReference(secretArn + rest), secretArn);
    }
  });
});
