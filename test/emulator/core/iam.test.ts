import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { Principal } from "../../../emulator/core/definitions";
import { type AuthorizationRequest, evaluate, parsePolicy } from "../../../emulator/core/iam";

const account = "123456789012";
const roleArn = `arn:aws:iam::${account}:role/jobs/Guard`;
const guard: Principal = { kind: "assumed-role", arn: `arn:aws:sts::${account}:assumed-role/Guard/build-1`, roleArn };
const root: Principal = { kind: "root", arn: `arn:aws:iam::${account}:root` };
const codebuild: Principal = { kind: "service", arn: "codebuild.amazonaws.com" };
const object = "arn:aws:s3:::store/runs/1/opened.json";

type Statement = Record<string, unknown>;

function policy(...statements: Statement[]): string {
  return JSON.stringify({ Version: "2012-10-17", Statement: statements });
}

function ask(request: Partial<AuthorizationRequest>): boolean {
  return decide(request).allowed;
}

function decide(request: Partial<AuthorizationRequest>): ReturnType<typeof evaluate> {
  const { principal = guard } = request;
  return evaluate({
    principal,
    account,
    action: "s3:PutObject",
    resource: object,
    context: {},
    identityPolicies: principal.kind === "assumed-role" ? [] : undefined,
    ...request,
  });
}

const allow: Statement = { Effect: "Allow", Action: "s3:PutObject", Resource: "*" };
const deny: Statement = { ...allow, Effect: "Deny" };

describe("A role", () => {
  it("may do nothing without a policy", () => {
    assert.deepEqual(decide({}), {
      allowed: false,
      reason: "because no identity-based policy allows the s3:PutObject action",
    });
  });

  it("may do what a policy allows, and not what one denies, in whatever order they are", () => {
    assert.ok(ask({ identityPolicies: [policy(allow)] }));
    for (const policies of [[policy(allow), policy(deny)], [policy(deny), policy(allow)], [policy(allow, deny)]]) {
      assert.deepEqual(decide({ identityPolicies: policies }), {
        allowed: false,
        reason: "with an explicit deny in an identity-based policy",
      });
    }
  });

  const actions: readonly (readonly [Statement, boolean])[] = [
    [{ Action: "s3:putobject" }, true],
    [{ Action: "S3:Put*" }, true],
    [{ Action: "*" }, true],
    [{ Action: "s3:?utObject" }, true],
    [{ Action: ["s3:GetObject", "s3:PutObject"] }, true],
    [{ Action: "s3:PutObjectTagging" }, false],
    [{ Action: "s3:Put" }, false],
    [{ NotAction: "s3:Get*" }, true],
    [{ NotAction: ["s3:Get*", "s3:Put*"] }, false],
  ];
  for (const [part, expected] of actions) {
    it(`${expected ? "may" : "may not"} put an object by ${JSON.stringify(part)}`, () => {
      assert.equal(ask({ identityPolicies: [policy({ Effect: "Allow", Resource: "*", ...part })] }), expected);
    });
  }

  const resources: readonly (readonly [Statement, boolean])[] = [
    [{ Resource: object }, true],
    [{ Resource: "arn:aws:s3:::store/*" }, true],
    [{ Resource: "arn:aws:s3:::store/runs/?/opened.json" }, true],
    [{ Resource: "arn:aws:s3:::STORE/*" }, false],
    [{ Resource: "arn:aws:s3:::store" }, false],
    [{ Resource: "arn:aws:s3:::sto.e/*" }, false],
    [{ NotResource: "arn:aws:s3:::other/*" }, true],
    [{ NotResource: ["arn:aws:s3:::other/*", "arn:aws:s3:::store/*"] }, false],
  ];
  for (const [part, expected] of resources) {
    it(`${expected ? "may" : "may not"} put an object by ${JSON.stringify(part)}`, () => {
      const statement = { Effect: "Allow", Action: "s3:PutObject", ...part };
      assert.equal(ask({ identityPolicies: [policy(statement)] }), expected);
    });
  }
});

describe("A condition", () => {
  const context = {
    "s3:if-none-match": "*",
    "aws:PrincipalArn": roleArn,
    "aws:CurrentTime": "2024-05-06T07:08:09Z",
    "aws:MultiFactorAuthAge": "300",
    "aws:SecureTransport": "true",
    "aws:TagKeys": ["Name", "Owner"],
    "aws:username": "a*c",
  };

  const conditions: readonly (readonly [object, boolean])[] = [
    [{ StringEquals: { "s3:if-none-match": "*" } }, true],
    [{ StringEquals: { "S3:IF-NONE-MATCH": ["x", "*"] } }, true],
    [{ StringEquals: { "s3:prefix": "x" } }, false],
    [{ StringEqualsIfExists: { "s3:prefix": "x" } }, true],
    [{ StringEqualsIfExists: { "s3:if-none-match": "x" } }, false],
    [{ StringNotEquals: { "s3:if-none-match": "x" } }, true],
    [{ StringNotEquals: { "s3:if-none-match": ["x", "*"] } }, false],
    [{ StringNotEquals: { "s3:prefix": "x" } }, true],
    [{ StringEqualsIgnoreCase: { "aws:username": "A*C" } }, true],
    [{ StringNotEqualsIgnoreCase: { "aws:username": "A*C" } }, false],
    [{ StringLike: { "aws:PrincipalArn": "arn:aws:iam::*:role/jobs/*" } }, true],
    [{ StringLike: { "aws:PrincipalArn": "arn:aws:iam::*:role/other/*" } }, false],
    [{ StringNotLike: { "aws:PrincipalArn": "*Guard" } }, false],
    [{ ArnLike: { "aws:PrincipalArn": `arn:aws:iam::${account}:role/*` } }, true],
    [{ ArnEquals: { "aws:PrincipalArn": "arn:aws:iam::*:role/jobs/Guard" } }, true],
    [{ ArnLike: { "aws:PrincipalArn": "arn:*:role/jobs/Guard" } }, false],
    [{ ArnNotLike: { "aws:PrincipalArn": "arn:aws:iam::*:role/other" } }, true],
    [{ ArnNotEquals: { "aws:PrincipalArn": roleArn } }, false],
    [{ Bool: { "aws:SecureTransport": "true" } }, true],
    [{ Bool: { "aws:SecureTransport": false } }, false],
    [{ Null: { "s3:prefix": "true" } }, true],
    [{ Null: { "s3:if-none-match": "true" } }, false],
    [{ Null: { "s3:if-none-match": "false" } }, true],
    [{ NumericLessThan: { "aws:MultiFactorAuthAge": "3600" } }, true],
    [{ NumericGreaterThanEquals: { "aws:MultiFactorAuthAge": 301 } }, false],
    [{ NumericEquals: { "aws:MultiFactorAuthAge": "300.0" } }, true],
    [{ NumericNotEquals: { "aws:MultiFactorAuthAge": "300" } }, false],
    [{ DateLessThan: { "aws:CurrentTime": "2024-05-07T00:00:00Z" } }, true],
    [{ DateGreaterThan: { "aws:CurrentTime": "1715000000" } }, false],
    [{ "ForAllValues:StringEquals": { "aws:TagKeys": ["Name", "Owner", "Stage"] } }, true],
    [{ "ForAllValues:StringEquals": { "aws:TagKeys": ["Name"] } }, false],
    [{ "ForAllValues:StringEquals": { "s3:RequestObjectTagKeys": ["Name"] } }, true],
    [{ "ForAnyValue:StringLike": { "aws:TagKeys": ["Own*"] } }, true],
    [{ "ForAnyValue:StringEquals": { "s3:RequestObjectTagKeys": ["Name"] } }, false],
    [{ StringLike: { "aws:PrincipalArn": "*${aws:username}*" } }, false],
    [{ StringEquals: { "aws:username": "${aws:username}" } }, true],
    [{ StringEquals: { "aws:username": "${s3:prefix}" } }, false],
    [{ StringEquals: { "aws:username": "${s3:prefix, 'a*c'}" } }, true],
    [{ StringEquals: { "aws:username": "a${*}c" } }, true],
    // All keys of all operators must hold.
    [{ StringEquals: { "aws:username": "a*c", "s3:if-none-match": "x" } }, false],
    [{ StringEquals: { "aws:username": "a*c" }, Bool: { "aws:SecureTransport": "false" } }, false],
  ];
  for (const [condition, expected] of conditions) {
    it(`${expected ? "holds" : "does not hold"}: ${JSON.stringify(condition)}`, () => {
      assert.equal(ask({ context, identityPolicies: [policy({ ...allow, Condition: condition })] }), expected);
      assert.equal(
        ask({ context, identityPolicies: [policy(allow), policy({ ...deny, Condition: condition })] }),
        !expected,
      );
    });
  }

  it("takes a variable's value literally: wildcards in it match nothing else", () => {
    const statement = { ...allow, Resource: "arn:aws:s3:::store/${aws:username}/*" };
    const may = (key: string): boolean =>
      ask({ context, resource: `arn:aws:s3:::store/${key}`, identityPolicies: [policy(statement)] });
    assert.deepEqual([may("a*c/x"), may("abc/x")], [true, false]);
  });

  it("on a key with several values needs ForAllValues or ForAnyValue", () => {
    const statement = { ...allow, Condition: { StringEquals: { "aws:TagKeys": "Name" } } };
    assert.throws(() => ask({ context, identityPolicies: [policy(statement)] }), /needs ForAllValues or ForAnyValue/);
  });
});

describe("A resource's policy", () => {
  const principals: readonly (readonly [unknown, Principal, boolean])[] = [
    ["*", guard, true],
    [{ AWS: "*" }, guard, true],
    [{ AWS: roleArn }, guard, true],
    [{ AWS: guard.arn }, guard, true],
    [{ AWS: [`arn:aws:iam::${account}:role/Other`] }, guard, false],
    // The account as a whole only leaves the decision to the identity's policies.
    [{ AWS: account }, guard, false],
    [{ AWS: root.arn }, guard, false],
    [{ Service: "codebuild.amazonaws.com" }, guard, false],
  ];
  for (const [principal, caller, expected] of principals) {
    it(`${expected ? "admits" : "does not admit"} a role by ${JSON.stringify(principal)}`, () => {
      const resourcePolicy = policy({ ...allow, Principal: principal });
      assert.equal(ask({ principal: caller, resourcePolicy }), expected);
    });
  }

  it("that denies stops everybody, the account's root too", () => {
    const resourcePolicy = policy({ ...deny, Principal: "*" });
    for (const principal of [guard, root, codebuild]) {
      const identityPolicies = principal === guard ? [policy(allow)] : undefined;
      assert.deepEqual(decide({ principal, identityPolicies, resourcePolicy }), {
        allowed: false,
        reason: "with an explicit deny in a resource-based policy",
      });
    }
  });

  it("denies puts without a condition, as the recovery store's does", () => {
    const resourcePolicy = policy({
      ...deny,
      Principal: "*",
      Resource: "arn:aws:s3:::store/*",
      Condition: { Null: { "s3:if-none-match": "true" } },
    });
    assert.ok(!ask({ principal: root, resourcePolicy }));
    assert.ok(ask({ principal: root, resourcePolicy, context: { "s3:if-none-match": "*" } }));
  });

  it("that is required, as a trust policy is, must admit the caller", () => {
    const assume = { action: "sts:AssumeRole", resource: roleArn, resourcePolicyRequired: true };
    const trust = (Principal: unknown, Condition?: object): string =>
      policy({ Effect: "Allow", Principal, Action: "sts:AssumeRole", ...(Condition && { Condition }) });
    const service = { Service: "codebuild.amazonaws.com" };
    assert.ok(ask({ ...assume, principal: codebuild, resourcePolicy: trust(service) }));
    assert.ok(!ask({ ...assume, principal: codebuild, resourcePolicy: trust({ Service: "ec2.amazonaws.com" }) }));
    assert.ok(!ask({ ...assume, principal: codebuild }));
    const confused = trust(service, { StringEquals: { "aws:SourceAccount": account } });
    assert.ok(!ask({ ...assume, principal: codebuild, resourcePolicy: confused }));
    const context = { "aws:SourceAccount": account };
    assert.ok(ask({ ...assume, principal: codebuild, resourcePolicy: confused, context }));
    const identity = policy({ Effect: "Allow", Action: "sts:AssumeRole", Resource: "*" });
    assert.ok(!ask({ ...assume, identityPolicies: [identity], resourcePolicy: trust(service) }));
    assert.ok(ask({ ...assume, identityPolicies: [identity], resourcePolicy: trust({ AWS: root.arn }) }));
    assert.ok(!ask({ ...assume, resourcePolicy: trust({ AWS: root.arn }) }));
  });
});

describe("A policy", () => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ["{", /invalid Json/],
    ['{"Version":"2020-01-01","Statement":[]}', /Version is "2020-01-01"/],
    [policy({ ...allow, Effect: "allow" }), /Effect is "allow"/],
    [policy({ Effect: "Allow", Resource: "*" }), /either Action or NotAction/],
    [policy({ ...allow, NotAction: "s3:Get*" }), /either Action or NotAction/],
    [policy({ ...allow, NotResource: "x" }), /both Resource and NotResource/],
    [policy({ ...allow, Action: "PutObject" }), /PutObject is not of the form service:Action/],
    [policy({ ...allow, NotPrincipal: "*" }), /member NotPrincipal, which is not evaluated here/],
    [policy({ ...allow, Principal: { Federated: "x" } }), /member Federated, which is not evaluated here/],
    [policy({ ...allow, Principal: { AWS: "arn:aws:iam::*:role/x" } }), /Invalid principal in policy/],
    [policy({ ...allow, Condition: { IpAddress: { "aws:SourceIp": "10.0.0.0/8" } } }), /operator IpAddress/],
    [policy({ ...allow, Condition: { "ForAllValues:Null": { "aws:TagKeys": "true" } } }), /ForAllValues:Null/],
    [policy({ ...allow, Condition: { StringEquals: { "aws:SourceAcount": "1" } } }), /aws:SourceAcount is not known/],
    [policy({ ...allow, Resource: 7 }), /value 7, which is no string/],
  ];
  for (const [text, message] of refused) {
    it(`is refused, not partly ignored: ${text.slice(36, 110)}`, () => {
      assert.throws(() => parsePolicy(text), { name: "MalformedPolicyDocument", message });
    });
  }
});

describe("For any policies", () => {
  const name = fc.constantFrom("a", "b", "c", "*", "a*");
  const statement = fc.record({
    Effect: fc.constantFrom("Allow", "Deny"),
    Action: fc.array(
      name.map((each) => (each === "*" ? "*" : `s3:${each}`)),
      { minLength: 1, maxLength: 2 },
    ),
    Resource: fc.array(
      name.map((each) => `arn:aws:s3:::${each}`),
      { minLength: 1, maxLength: 2 },
    ),
  });
  const request = fc.record({
    action: fc.constantFrom("s3:a", "s3:b", "s3:ab"),
    resource: fc.constantFrom("arn:aws:s3:::a", "arn:aws:s3:::b", "arn:aws:s3:::ab"),
  });
  const statements = fc.array(statement, { maxLength: 5 });

  it("one more deny never allows more, and one more allow never allows less", () => {
    fc.assert(
      fc.property(statements, statement, request, (some, another, asked) => {
        const before = ask({ ...asked, identityPolicies: [policy(...some)] });
        const after = ask({ ...asked, identityPolicies: [policy(...some), policy(another)] });
        return another.Effect === "Deny" ? !after || before : after || !before || false;
      }),
    );
  });

  it("the order of statements and their spread over policies do not matter", () => {
    fc.assert(
      fc.property(statements, request, (some, asked) => {
        const together = ask({ ...asked, identityPolicies: [policy(...some)] });
        const apart = ask({ ...asked, identityPolicies: [...some].reverse().map((each) => policy(each)) });
        return together === apart;
      }),
    );
  });

  it("an Action and its NotAction never both apply, and one of them always does", () => {
    fc.assert(
      fc.property(statement, request, ({ Action }, asked) => {
        const by = (part: Statement): boolean =>
          ask({ ...asked, identityPolicies: [policy({ Effect: "Allow", Resource: "*", ...part })] });
        return by({ Action }) !== by({ NotAction: Action });
      }),
    );
  });
});
