import { AwsError, type Principal } from "./definitions";

/**
 * Decides by policies, as IAM documents it: an explicit deny wins, then an allow is needed. What is not understood is
 * an error and never ignored: an overlooked condition would allow more than the account does.
 */

export type ContextValue = string | readonly string[];
export type RequestContext = Readonly<Record<string, ContextValue>>;

export interface AuthorizationRequest {
  readonly principal: Principal;
  readonly account: string;
  readonly action: string;
  readonly resource: string;
  readonly context: RequestContext;
  /** JSON texts. Undefined for callers whose permissions do not come from identity policies (root, services). */
  readonly identityPolicies?: readonly string[] | undefined;
  /** The most that identity policies can give; undefined without one. */
  readonly permissionsBoundary?: string | undefined;
  readonly resourcePolicy?: string | undefined;
  readonly resourcePolicyRequired?: boolean | undefined;
}

export type Decision =
  | { readonly allowed: true }
  | {
      readonly allowed: false;
      /** What IAM adds to its message: `because <reason>`. */
      readonly reason: string;
    };

type Effect = "Allow" | "Deny";

/**
 * How a resource policy's principal fits the caller. Who is named as a session (or is no role at all) needs nothing
 * else; who is named by role is still held by the role's permissions boundary, as is, on the safe side, who is meant
 * by `*`; and the account as a whole leaves the decision to the identity's policies.
 */
type PrincipalMatch = "session" | "role" | "account" | "none";

interface Statement {
  readonly effect: Effect;
  readonly principals: PrincipalPattern | undefined;
  readonly actions: readonly string[];
  readonly notActions: boolean;
  readonly resources: readonly string[] | undefined;
  readonly notResources: boolean;
  readonly conditions: readonly Condition[];
  readonly variables: boolean;
}

type PrincipalPattern = "*" | { readonly aws: readonly string[]; readonly services: readonly string[] };

interface Condition {
  readonly operator: Operator;
  readonly set: "single" | "all" | "any";
  readonly ifExists: boolean;
  /** Lower case: keys compare without case. */
  readonly key: string;
  readonly values: readonly string[];
}

/** The decision on one request. Throws for policies that are malformed or beyond what is evaluated here. */
export function evaluate(request: AuthorizationRequest): Decision {
  const facts = factsOf(request);
  const identity = (request.identityPolicies ?? []).flatMap(parsePolicy);
  const { permissionsBoundary, resourcePolicy } = request;
  const boundary = permissionsBoundary === undefined ? undefined : parsePolicy(permissionsBoundary);
  const resource = resourcePolicy === undefined ? [] : parsePolicy(resourcePolicy);
  const applies = (statement: Statement): boolean => statementApplies(statement, request, facts);
  const says = (effect: Effect, statements: readonly Statement[]): boolean =>
    statements.some((statement) => statement.effect === effect && applies(statement));
  const named = resource
    .map((statement) => ({ statement, match: matchPrincipal(statement.principals, request) }))
    .filter(({ statement, match }) => match !== "none" && applies(statement));

  if (says("Deny", identity)) return denied("with an explicit deny in an identity-based policy");
  if (boundary && says("Deny", boundary)) return denied("with an explicit deny in a permissions boundary");
  if (named.some(({ statement }) => statement.effect === "Deny")) {
    return denied("with an explicit deny in a resource-based policy");
  }
  const missing = (kind: string): Decision => denied(`because no ${kind} allows the ${request.action} action`);
  const admitted = named.filter(({ statement }) => statement.effect === "Allow").map(({ match }) => match);
  if (request.resourcePolicyRequired && admitted.length === 0) return missing("resource-based policy");
  if (admitted.includes("session")) return { allowed: true };
  const given = request.identityPolicies === undefined || admitted.includes("role") || says("Allow", identity);
  if (!given) return missing("identity-based policy");
  if (boundary && !says("Allow", boundary)) return missing("permissions boundary");
  return { allowed: true };
}

function denied(reason: string): Decision {
  return { allowed: false, reason };
}

/** All condition keys of the request, lower case. */
function factsOf(request: AuthorizationRequest): ReadonlyMap<string, readonly string[]> {
  const facts = new Map<string, readonly string[]>();
  for (const [key, value] of Object.entries(request.context)) {
    facts.set(key.toLowerCase(), typeof value === "string" ? [value] : value);
  }
  return facts;
}

function statementApplies(
  statement: Statement,
  request: AuthorizationRequest,
  facts: ReadonlyMap<string, readonly string[]>,
): boolean {
  const action = request.action.toLowerCase();
  const actionFits = statement.actions.some((pattern) => glob(pattern.toLowerCase()).test(action));
  if (actionFits === statement.notActions) return false;
  if (statement.resources) {
    const resourceFits = statement.resources.some((pattern) => {
      const resolved = resolveVariables(pattern, statement.variables, facts);
      return resolved !== undefined && resolved.test(request.resource);
    });
    if (resourceFits === statement.notResources) return false;
  }
  return statement.conditions.every((condition) => conditionHolds(condition, statement.variables, facts));
}

function matchPrincipal(pattern: PrincipalPattern | undefined, request: AuthorizationRequest): PrincipalMatch {
  const { principal, account } = request;
  const { kind, arn, roleArn } = principal;
  if (pattern === undefined) return "none";
  if (pattern === "*") return kind === "assumed-role" ? "role" : "session";
  if (kind === "service") return pattern.services.includes(arn) ? "session" : "none";
  const isAccount = (name: string): boolean => name === account || name === `arn:aws:iam::${account}:root`;
  if (kind === "assumed-role" && pattern.aws.includes(arn)) return "session";
  if (roleArn !== undefined && pattern.aws.includes(roleArn)) return "role";
  return pattern.aws.some(isAccount) ? "account" : "none";
}

// --- Policies -----------------------------------------------------------------------------------------------------

const parsed = new Map<string, readonly Statement[]>();
const parsedLimit = 2_000;

/** The statements of a policy's JSON text. Throws `MalformedPolicyDocument`, naming what is not understood. */
export function parsePolicy(text: string): readonly Statement[] {
  const known = parsed.get(text);
  if (known) return known;
  const statements = readPolicy(text);
  if (parsed.size >= parsedLimit) parsed.clear();
  parsed.set(text, statements);
  return statements;
}

function malformed(what: string): AwsError {
  return new AwsError("MalformedPolicyDocument", what, 400);
}

function readPolicy(text: string): readonly Statement[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw malformed("This policy contains invalid Json");
  }
  const policy = objectOf(document, "The policy", ["Version", "Id", "Statement"]);
  const version = policy.Version ?? "2008-10-17";
  if (version !== "2012-10-17" && version !== "2008-10-17") {
    throw malformed(`The policy's Version is ${JSON.stringify(version)}: it must be 2012-10-17 or 2008-10-17`);
  }
  const statements = Array.isArray(policy.Statement) ? policy.Statement : [policy.Statement];
  return statements.map((statement) => readStatement(statement, version === "2012-10-17"));
}

const statementMembers = [
  "Sid",
  "Effect",
  "Principal",
  "Action",
  "NotAction",
  "Resource",
  "NotResource",
  "Condition",
] as const;

function readStatement(value: unknown, variables: boolean): Statement {
  const statement = objectOf(value, "A statement", statementMembers);
  const { Effect: effect } = statement;
  if (effect !== "Allow" && effect !== "Deny") throw malformed(`A statement's Effect is ${JSON.stringify(effect)}`);
  if ((statement.Action === undefined) === (statement.NotAction === undefined)) {
    throw malformed("A statement needs either Action or NotAction");
  }
  if (statement.Resource !== undefined && statement.NotResource !== undefined) {
    throw malformed("A statement has both Resource and NotResource");
  }
  const actions = stringsOf(statement.Action ?? statement.NotAction, "Action");
  const odd = actions.find((action) => action !== "*" && !/^[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+$/.test(action));
  if (odd !== undefined) throw malformed(`The action ${odd} is not of the form service:Action`);
  const resources = statement.Resource ?? statement.NotResource;
  return {
    effect,
    principals: statement.Principal === undefined ? undefined : readPrincipals(statement.Principal),
    actions,
    notActions: statement.NotAction !== undefined,
    resources: resources === undefined ? undefined : stringsOf(resources, "Resource"),
    notResources: statement.NotResource !== undefined,
    conditions: statement.Condition === undefined ? [] : readConditions(statement.Condition),
    variables,
  };
}

function readPrincipals(value: unknown): PrincipalPattern {
  if (value === "*") return "*";
  const principal = objectOf(value, "A Principal", ["AWS", "Service"]);
  const aws = principal.AWS === undefined ? [] : stringsOf(principal.AWS, "Principal");
  const partial = aws.find((name) => name !== "*" && /[*?]/.test(name));
  if (partial !== undefined) throw malformed(`Invalid principal in policy: "AWS":"${partial}"`);
  const services = principal.Service === undefined ? [] : stringsOf(principal.Service, "Principal");
  return aws.includes("*") ? "*" : { aws, services };
}

function objectOf(value: unknown, what: string, members: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(`${what} is not an object`);
  const other = Object.keys(value).find((name) => !members.includes(name));
  if (other !== undefined) throw malformed(`${what} has the member ${other}, which is not evaluated here`);
  return value as Record<string, unknown>;
}

function stringsOf(value: unknown, what: string): readonly string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (values.length === 0) throw malformed(`${what} is empty`);
  return values.map((item) => {
    if (typeof item !== "string") throw malformed(`${what} has the value ${JSON.stringify(item)}, which is no string`);
    return item;
  });
}

// --- Patterns -----------------------------------------------------------------------------------------------------

const globs = new Map<string, RegExp>();

/** `*` is any text and `?` any one character. */
function glob(pattern: string): RegExp {
  const known = globs.get(pattern);
  if (known) return known;
  const compiled = new RegExp(`^${globSource(pattern)}$`, "s");
  if (globs.size >= parsedLimit) globs.clear();
  globs.set(pattern, compiled);
  return compiled;
}

function globSource(pattern: string): string {
  return pattern.replace(/[.*+?^${}()|[\]\\]/g, (character) => {
    if (character === "*") return ".*";
    return character === "?" ? "." : `\\${character}`;
  });
}

const variablePattern = /\$\{([^}]*)\}/g;

/**
 * A pattern in which policy variables stand for their value, literally: wildcards in a value are no wildcards.
 * Undefined when a variable has no (single) value: then nothing matches.
 */
function resolveVariables(
  pattern: string,
  variables: boolean,
  facts: ReadonlyMap<string, readonly string[]>,
): RegExp | undefined {
  if (!variables || !pattern.includes("${")) return glob(pattern);
  let source = "";
  let end = 0;
  for (const match of pattern.matchAll(variablePattern)) {
    const value = variableValue(match[1] ?? "", facts);
    if (value === undefined) return undefined;
    source += globSource(pattern.slice(end, match.index)) + value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    end = match.index + match[0].length;
  }
  return new RegExp(`^${source}${globSource(pattern.slice(end))}$`, "s");
}

function variableValue(text: string, facts: ReadonlyMap<string, readonly string[]>): string | undefined {
  const name = text.trim();
  // These three stand for themselves.
  if (name === "*" || name === "?" || name === "$") return name;
  const withDefault = /^([^,]+?)\s*,\s*'([^']*)'$/.exec(name);
  const values = facts.get((withDefault?.[1] ?? name).toLowerCase());
  if (values?.length === 1) return values[0];
  return values === undefined ? withDefault?.[2] : undefined;
}

/** The text in which variables stand for their value, for operators without wildcards. */
function resolveText(
  text: string,
  variables: boolean,
  facts: ReadonlyMap<string, readonly string[]>,
): string | undefined {
  if (!variables || !text.includes("${")) return text;
  let missing = false;
  const resolved = text.replace(variablePattern, (_all, name: string) => {
    const value = variableValue(name, facts);
    missing ||= value === undefined;
    return value ?? "";
  });
  return missing ? undefined : resolved;
}

// --- Conditions ---------------------------------------------------------------------------------------------------

/** Compares one value of the request with one of the policy, variables being resolved. */
type Compare = (given: string, wanted: string) => boolean;

interface Operator {
  readonly name: string;
  readonly negated: boolean;
  /** `like` compares with a pattern, in which wildcards are the policy's and not a variable's. */
  readonly compare: Compare | "like";
  /** Whether the policy's value may have variables. */
  readonly text: boolean;
}

const equals: Compare = (given, wanted) => given === wanted;
const equalsIgnoringCase: Compare = (given, wanted) => given.toLowerCase() === wanted.toLowerCase();

/** ARNs compare part by part: a wildcard does not reach over a colon, but in the last part. */
const arnLike: Compare = (given, wanted) => {
  const [givenParts, wantedParts] = [arnParts(given), arnParts(wanted)];
  return (
    givenParts !== undefined &&
    wantedParts !== undefined &&
    wantedParts.every((part, index) => glob(part).test(givenParts[index] ?? ""))
  );
};

function arnParts(arn: string): readonly string[] | undefined {
  const parts = arn.split(":");
  return parts.length < 6 ? undefined : [...parts.slice(0, 5), parts.slice(5).join(":")];
}

function numbers(holds: (given: number, wanted: number) => boolean): Compare {
  return (given, wanted) => {
    const [a, b] = [Number(given), Number(wanted)];
    return !Number.isNaN(a) && !Number.isNaN(b) && holds(a, b);
  };
}

function dates(holds: (given: number, wanted: number) => boolean): Compare {
  return (given, wanted) => {
    const [a, b] = [dateOf(given), dateOf(wanted)];
    return !Number.isNaN(a) && !Number.isNaN(b) && holds(a, b);
  };
}

function dateOf(text: string): number {
  return /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text);
}

function textOperators(name: string, negated: string, compare: Operator["compare"]): readonly Operator[] {
  return [
    { name, negated: false, compare, text: true },
    { name: negated, negated: true, compare, text: true },
  ];
}

function ordered(
  prefix: string,
  make: (holds: (given: number, wanted: number) => boolean) => Compare,
): readonly Operator[] {
  const operator = (name: string, compare: Compare, negated = false): Operator => ({
    name: prefix + name,
    negated,
    compare,
    text: false,
  });
  return [
    operator(
      "Equals",
      make((given, wanted) => given === wanted),
    ),
    operator(
      "NotEquals",
      make((given, wanted) => given === wanted),
      true,
    ),
    operator(
      "LessThan",
      make((given, wanted) => given < wanted),
    ),
    operator(
      "LessThanEquals",
      make((given, wanted) => given <= wanted),
    ),
    operator(
      "GreaterThan",
      make((given, wanted) => given > wanted),
    ),
    operator(
      "GreaterThanEquals",
      make((given, wanted) => given >= wanted),
    ),
  ];
}

const nullOperator: Operator = { name: "Null", negated: false, compare: () => false, text: false };

const operators: ReadonlyMap<string, Operator> = new Map(
  [
    ...textOperators("StringEquals", "StringNotEquals", equals),
    ...textOperators("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", equalsIgnoringCase),
    ...textOperators("StringLike", "StringNotLike", "like"),
    ...textOperators("ArnEquals", "ArnNotEquals", arnLike),
    ...textOperators("ArnLike", "ArnNotLike", arnLike),
    ...ordered("Numeric", numbers),
    ...ordered("Date", dates),
    { name: "Bool", negated: false, compare: equalsIgnoringCase, text: true },
    nullOperator,
  ].map((operator) => [operator.name, operator]),
);

/**
 * The condition keys that requests here can have, or that are known to be absent from them. A key that is not listed
 * is refused: a misspelt one would never match, and a statement that denies would silently deny nothing.
 */
const knownKeys: readonly RegExp[] = [
  "aws:(CurrentTime|EpochTime|SecureTransport|RequestedRegion|SourceAccount|SourceArn|SourceIp|SourceVpc|SourceVpce|SourceOrgID)",
  "aws:(PrincipalArn|PrincipalAccount|PrincipalType|PrincipalOrgID|PrincipalIsAWSService|PrincipalServiceName|PrincipalTag/.+)",
  "aws:(ResourceAccount|ResourceOrgID|ResourceTag/.+|RequestTag/.+|TagKeys|UserAgent|userid|username|ViaAWSService|CalledVia)",
  "aws:(MultiFactorAuthPresent|MultiFactorAuthAge|TokenIssueTime)",
  "s3:(if-none-match|if-match|ObjectCreationOperation|prefix|delimiter|max-keys|versionid|VersionId|signatureversion|authType|TlsVersion)",
  "s3:(x-amz-(acl|server-side-encryption|server-side-encryption-aws-kms-key-id|content-sha256|copy-source|metadata-directive|storage-class))",
  "s3:(ExistingObjectTag/.+|RequestObjectTag/.+|RequestObjectTagKeys|ResourceAccount|BucketOwner|locationconstraint)",
  "ec2:(ResourceTag/.+|CreateAction|Region|Vpc|Subnet|InstanceType|InstanceProfile|Encrypted|Owner|ParentSnapshot|ParentVolume|VolumeID|SnapshotID|InstanceID)",
  "ec2:(AuthorizedService|AuthorizedUser|Permission|MetadataHttpTokens|RootDeviceType|SourceInstanceARN|AvailabilityZone|IsLaunchTemplateResource)",
  "iam:(PassedToService|AssociatedResourceArn|PermissionsBoundary|PolicyARN|ResourceTag/.+|AWSServiceName)",
  "ssm:(resourceTag/.+|Overwrite|Policies|Recursive|SourceInstanceARN|DocumentCategories|SessionDocumentAccessCheck)",
  "secretsmanager:(ResourceTag/.+|resource/AllowRotationLambdaArn|Name|SecretId|VersionId|VersionStage|SecretPrimaryRegion|ForceDeleteWithoutRecovery|RecoveryWindowInDays)",
  "sts:(ExternalId|RoleSessionName|SourceIdentity|TransitiveTagKeys)",
  "kms:(ViaService|CallerAccount|EncryptionContext:.+|GrantIsForAWSResource)",
  "rds:(db-tag/.+|DatabaseName|DatabaseEngine|DatabaseClass|ManageMasterUserPassword)",
  "(codebuild|codepipeline|events|logs|scheduler|lambda|cloudwatch|sns):.+",
].map((source) => new RegExp(`^(?:${source})$`, "i"));

function readConditions(value: unknown): readonly Condition[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed("A Condition is no object");
  return Object.entries(value).flatMap(([name, keys]) => {
    const { operator, set, ifExists } = readOperator(name);
    if (typeof keys !== "object" || keys === null || Array.isArray(keys)) throw malformed(`${name} is no object`);
    return Object.entries(keys as Record<string, unknown>).map(([key, wanted]): Condition => {
      if (!knownKeys.some((pattern) => pattern.test(key))) {
        throw malformed(`The condition key ${key} is not known to the emulator`);
      }
      return { operator, set, ifExists, key: key.toLowerCase(), values: conditionValues(wanted, key) };
    });
  });
}

function readOperator(name: string): Pick<Condition, "operator" | "set" | "ifExists"> {
  const match = /^(?:(ForAllValues|ForAnyValue):)?(\w+?)(IfExists)?$/.exec(name);
  const operator = operators.get(match?.[2] ?? "");
  if (!operator || (operator === nullOperator && (match?.[1] ?? match?.[3]))) {
    throw malformed(`The condition operator ${name} is not evaluated here`);
  }
  const set = match?.[1] === undefined ? "single" : match[1] === "ForAllValues" ? "all" : "any";
  return { operator, set, ifExists: match?.[3] !== undefined };
}

function conditionValues(value: unknown, key: string): readonly string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.map((item) => {
    if (typeof item === "string" || typeof item === "number" || typeof item === "boolean") return String(item);
    throw malformed(`The condition on ${key} has the value ${JSON.stringify(item)}`);
  });
}

function conditionHolds(
  condition: Condition,
  variables: boolean,
  facts: ReadonlyMap<string, readonly string[]>,
): boolean {
  const { operator, set, key, values } = condition;
  const given = facts.get(key);
  if (operator === nullOperator) return values.some((wanted) => (wanted.toLowerCase() === "true") === !given);
  if (given === undefined || given.length === 0) return missingKeyHolds(condition);
  if (set === "single" && given.length > 1) {
    throw malformed(`The key ${key} has several values: its condition needs ForAllValues or ForAnyValue`);
  }
  const fits = (item: string): boolean => {
    const some = values.some((wanted) => compareOne(operator, item, wanted, variables, facts));
    return some !== operator.negated;
  };
  return set === "any" ? given.some(fits) : given.every(fits);
}

/** A key that the request does not have: only negations, `IfExists` and `ForAllValues` hold. */
function missingKeyHolds({ operator, set, ifExists }: Condition): boolean {
  if (ifExists || set === "all") return true;
  return set === "single" && operator.negated;
}

function compareOne(
  operator: Operator,
  given: string,
  wanted: string,
  variables: boolean,
  facts: ReadonlyMap<string, readonly string[]>,
): boolean {
  if (operator.compare === "like") return resolveVariables(wanted, variables, facts)?.test(given) ?? false;
  const resolved = operator.text ? resolveText(wanted, variables, facts) : wanted;
  return resolved !== undefined && operator.compare(given, resolved);
}
