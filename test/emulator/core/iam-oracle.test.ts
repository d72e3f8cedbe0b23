import assert from "node:assert/strict";
import * as fc from "fast-check";
import { type Decision, evaluate } from "../../../emulator/core/iam";
import { type Document, type Question, reasonsToDeny, type Statement } from "./iam-oracle";

const account = "123456789012";
const role = `arn:aws:iam::${account}:role/jobs/Guard`;
const callers: readonly Question["caller"][] = [
  { kind: "assumed-role", arn: `arn:aws:sts::${account}:assumed-role/Guard/build`, role },
  { kind: "root", arn: `arn:aws:iam::${account}:root` },
  { kind: "service", arn: "codebuild.amazonaws.com" },
];
const comparisons = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"];

/** For each key: what requests have there, what policies ask for, and by which operators. */
const keys: readonly {
  readonly key: string;
  readonly given: readonly string[];
  readonly wanted: readonly string[];
  readonly operators: readonly string[];
}[] = [
  {
    key: "aws:username",
    given: ["ada", "Ada", "a*a", ""],
    wanted: ["ada", "ADA", "a*", "a?a", "*", "${aws:username}", "${aws:userid}", "${aws:userid, 'ada'}", "a${*}a"],
    operators: ["String", "StringNot"].flatMap((each) =>
      ["Equals", "EqualsIgnoreCase", "Like"].map((how) => `${each}${how}`),
    ),
  },
  {
    key: "aws:PrincipalArn",
    given: [role, `arn:aws:iam::${account}:root`],
    wanted: [role, "arn:aws:iam::*:role/*", "arn:*:role/jobs/Guard", "arn:aws:iam::123456789012:r?ot", "no ARN", "*"],
    operators: ["ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike", "StringLike", "StringNotLike"],
  },
  {
    key: "aws:MultiFactorAuthAge",
    given: ["299", "300", "301.5"],
    wanted: ["300", "300.0", "301", "-1"],
    operators: comparisons.map((each) => `Numeric${each}`),
  },
  {
    key: "aws:CurrentTime",
    given: ["2024-05-06T07:08:09Z", "2024-05-06T07:08:10Z"],
    wanted: ["2024-05-06T07:08:09Z", "2024-05-06", "1714979290"],
    operators: comparisons.map((each) => `Date${each}`),
  },
  { key: "aws:SecureTransport", given: ["true", "false"], wanted: ["true", "false", "True"], operators: ["Bool"] },
];
const tags = ["Name", "Owner", "name", "N*"];

const some = <T>(values: readonly T[], least = 1) =>
  fc.subarray([...values], { minLength: least, maxLength: least + 1 });
const rarely = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });

const condition: fc.Arbitrary<NonNullable<Statement["Condition"]>> = fc.oneof(
  ...keys.map(({ key, wanted, operators }) =>
    fc
      .tuple(
        fc.constantFrom("", "", "", "ForAllValues:", "ForAnyValue:"),
        fc.constantFrom(...operators),
        fc.constantFrom("", "", "IfExists"),
        some(wanted),
        fc.boolean(),
      )
      .map(([set, operator, ifExists, values, upper]) => ({
        [`${set}${operator}${ifExists}`]: { [upper ? key.toUpperCase() : key]: values },
      })),
  ),
  fc
    .tuple(
      fc.constantFrom("ForAllValues:", "ForAnyValue:"),
      fc.constantFrom("StringEquals", "StringNotEquals", "StringLike", "StringEqualsIgnoreCase"),
      some(tags),
    )
    .map(([set, operator, values]) => ({ [set + operator]: { "aws:TagKeys": values } })),
  fc
    .tuple(fc.constantFrom("aws:username", "aws:TagKeys"), fc.constantFrom("true", "false"))
    .map(([key, value]) => ({ Null: { [key]: [value] } })),
);

const actions = ["s3:GetObject", "S3:getobject", "s3:*", "s3:?etObject", "*", "s3:Put*", "ec2:*", "ec2:RunInstances"];
const resources = [
  "*",
  "arn:aws:s3:::a",
  "arn:aws:s3:::a/*",
  "arn:aws:s3:::A/*",
  "arn:aws:s3:::?/x",
  "arn:aws:s3:::${aws:username}/*",
  "arn:aws:s3:::${aws:userid, 'a'}/*",
  "arn:*:instance/*",
];
const principals: readonly NonNullable<Statement["Principal"]>[] = [
  "*",
  { AWS: "*" },
  { AWS: role },
  { AWS: `arn:aws:sts::${account}:assumed-role/Guard/build` },
  { AWS: account },
  { AWS: `arn:aws:iam::${account}:root` },
  { AWS: `arn:aws:iam::${account}:role/Other` },
  { Service: "codebuild.amazonaws.com" },
  { Service: "ec2.amazonaws.com" },
];

function statement(principal: fc.Arbitrary<Pick<Statement, "Principal">>): fc.Arbitrary<Statement> {
  return fc
    .tuple(
      fc.constantFrom("Allow" as const, "Allow" as const, "Deny" as const),
      fc.oneof(
        { weight: 2, arbitrary: fc.constant({ Action: ["*"] }) },
        { weight: 2, arbitrary: some(actions).map((Action) => ({ Action })) },
        { weight: 1, arbitrary: some(actions).map((NotAction) => ({ NotAction })) },
      ),
      fc.oneof(
        { weight: 2, arbitrary: fc.constant({ Resource: ["*"] }) },
        { weight: 2, arbitrary: some(resources).map((Resource) => ({ Resource })) },
        { weight: 1, arbitrary: some(resources).map((NotResource) => ({ NotResource })) },
      ),
      fc.option(condition, { nil: undefined, freq: 4 }),
      principal,
    )
    .map(([Effect, action, resource, Condition, named]) => ({
      Effect,
      ...named,
      ...action,
      ...resource,
      ...(Condition && { Condition }),
    }));
}

function document(principal: fc.Arbitrary<Pick<Statement, "Principal">>): fc.Arbitrary<Document> {
  return fc.record({
    Version: fc.constantFrom("2012-10-17" as const, "2012-10-17" as const, "2008-10-17" as const),
    Statement: fc.array(statement(principal), { minLength: 1, maxLength: 3 }),
  });
}

const nobody = fc.constant({});
const context: fc.Arbitrary<Question["context"]> = fc
  .tuple(...keys.map(({ given }) => fc.option(fc.constantFrom(...given), { nil: undefined })), rarely(some(tags)))
  .map((values) => {
    const names = [...keys.map(({ key }) => key), "aws:TagKeys"];
    const entries = names.map((name, index) => [name, [values[index] ?? []].flat()] as const);
    return Object.fromEntries(entries.filter(([, given]) => given.length > 0));
  });

const question: fc.Arbitrary<Question> = fc
  .record({
    caller: fc.oneof(
      { weight: 4, arbitrary: fc.constant(callers[0]) },
      { weight: 1, arbitrary: fc.constantFrom(...callers) },
    ),
    action: fc.constantFrom("s3:GetObject", "s3:PutObject", "ec2:RunInstances"),
    resource: fc.constantFrom("arn:aws:s3:::a", "arn:aws:s3:::a/x", "arn:aws:s3:::ada/x", "arn:aws:ec2:r:1:instance/i"),
    context,
    identity: fc.array(document(nobody), { maxLength: 2 }),
    boundary: rarely(document(nobody)),
    resourcePolicy: rarely(document(fc.constantFrom(...principals).map((Principal) => ({ Principal })))),
    resourcePolicyRequired: fc.oneof(
      { weight: 4, arbitrary: fc.constant(false) },
      { weight: 1, arbitrary: fc.constant(true) },
    ),
  })
  .map((each) => ({ account, ...each }) as Question);

function decide({ caller, identity, boundary, resourcePolicy, ...rest }: Question): Decision {
  const { kind, arn, role: roleArn } = caller;
  return evaluate({
    ...rest,
    principal: { kind, arn, ...(roleArn !== undefined && { roleArn }) },
    identityPolicies: kind === "assumed-role" ? identity.map((each) => JSON.stringify(each)) : undefined,
    permissionsBoundary: kind === "assumed-role" && boundary ? JSON.stringify(boundary) : undefined,
    resourcePolicy: resourcePolicy && JSON.stringify(resourcePolicy),
  });
}

describe("The decision on 2,000 random requests under random policies", () => {
  const outcomes = new Map<string, number>();

  it("is the one that the documentation's flow chart gives, for one of its reasons [E11]", () => {
    fc.assert(
      fc.property(question, (asked) => {
        const reasons = reasonsToDeny(asked);
        const decision = decide(asked);
        const outcome = decision.allowed ? "allowed" : decision.reason;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (decision.allowed) assert.deepEqual(reasons, []);
        else assert.ok(reasons.includes(decision.reason), `${decision.reason}: not one of ${JSON.stringify(reasons)}`);
      }),
      { numRuns: 2_000, seed: 1_789 },
    );
  });

  it("is not always the same: each outcome came up often", () => {
    const of = (pattern: RegExp) =>
      [...outcomes].filter(([outcome]) => pattern.test(outcome)).reduce((sum, [, count]) => sum + count, 0);
    const wanted = [
      /^allowed/,
      /explicit deny in an identity-based policy/,
      /explicit deny in a permissions boundary/,
      /explicit deny in a resource-based policy/,
      /no identity-based policy/,
      /no permissions boundary/,
      /no resource-based policy/,
    ];
    for (const pattern of wanted) assert.ok(of(pattern) >= 30, `${String(pattern)} came up ${of(pattern)} times`);
  });
});
