/** The grammar of policy documents ("Grammar of the IAM JSON policy language"): what a service refuses on a put. */

export type PolicyKind = "identity" | "trust" | "resource";

type Json = Readonly<Record<string, unknown>>;

const memberNames = {
  document: ["Version", "Id", "Statement"],
  statement: [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
  ],
};

/** What is wrong with a policy document, or undefined. */
export function policyProblem(text: string, kind: PolicyKind): string | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return "This policy contains invalid Json";
  }
  if (!isObject(document)) return "Syntax errors in policy.";
  const unknown = Object.keys(document).find((name) => !memberNames.document.includes(name));
  if (unknown !== undefined) return `Syntax error: unknown element ${unknown}`;
  if (document.Version !== undefined && document.Version !== "2012-10-17" && document.Version !== "2008-10-17")
    return "The policy must contain a valid version string";
  const statements = statementsOf(document);
  if (statements.length === 0) return "Missing required field Statement";
  const sids = statements.flatMap(({ Sid }) => (typeof Sid === "string" && Sid !== "" ? [Sid] : []));
  if (new Set(sids).size < sids.length) return "Statement IDs (SID) in a single policy must be unique.";
  return statements.map((statement) => statementProblem(statement, kind)).find((problem) => problem !== undefined);
}

/** The statements of a document that {@link policyProblem} accepts. */
export function statementsOf(document: unknown): readonly Json[] {
  const statement = isObject(document) ? document.Statement : undefined;
  const list: readonly unknown[] = Array.isArray(statement) ? statement : statement === undefined ? [] : [statement];
  return list.map((each) => (isObject(each) ? each : {}));
}

/** The values of a member that may be one text or a list. */
export function texts(value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((each) => typeof each === "string");
}

function statementProblem(statement: Json, kind: PolicyKind): string | undefined {
  const unknown = Object.keys(statement).find((name) => !memberNames.statement.includes(name));
  if (unknown !== undefined) return `Syntax error: unknown element ${unknown}`;
  if (statement.Effect !== "Allow" && statement.Effect !== "Deny") return "Missing required field Effect";
  const checks = [actionProblem(statement, kind), principalProblem(statement, kind), resourceProblem(statement, kind)];
  return checks.find((problem) => problem !== undefined) ?? conditionProblem(statement.Condition);
}

function actionProblem(statement: Json, kind: PolicyKind): string | undefined {
  const actions = exactlyOne(statement, "Action", "NotAction");
  if (!actions) return "Policy statement must contain actions.";
  const wrong = actions.find((action) => action !== "*" && !/^[a-z0-9-]+:[A-Za-z0-9*?]+$/i.test(action));
  if (wrong !== undefined) return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
  if (kind === "trust" && actions.some((action) => !/^sts:/i.test(action) && action !== "*"))
    return "AssumeRole policy may only specify STS AssumeRole actions.";
  return undefined;
}

function principalProblem(statement: Json, kind: PolicyKind): string | undefined {
  const principal = statement.Principal ?? statement.NotPrincipal;
  if (kind === "identity")
    return principal === undefined ? undefined : "Policy document should not specify a principal.";
  if (principal === undefined) return "Missing required field Principal";
  const valid = principal === "*" || (isObject(principal) && Object.keys(principal).length > 0);
  return valid ? undefined : "Invalid principal in policy";
}

function resourceProblem(statement: Json, kind: PolicyKind): string | undefined {
  const given = statement.Resource !== undefined || statement.NotResource !== undefined;
  if (kind === "trust") return given ? "Has prohibited field Resource" : undefined;
  const resources = exactlyOne(statement, "Resource", "NotResource");
  if (!resources) return "Policy statement must contain resources.";
  const wrong = resources.find((resource) => resource !== "*" && !/^arn:[^:]+:[^:]*:[^:]*:[^:]*:.+$/s.test(resource));
  return wrong === undefined ? undefined : `Resource ${wrong} must be in ARN format or "*".`;
}

function conditionProblem(condition: unknown): string | undefined {
  if (condition === undefined) return undefined;
  if (!isObject(condition)) return "Syntax errors in policy.";
  const blocks = Object.values(condition);
  return blocks.every((block) => isObject(block) && Object.keys(block).length > 0)
    ? undefined
    : "Syntax errors in policy.";
}

/** The texts of the one of two members that is there; undefined when none or both are, or one is empty. */
function exactlyOne(statement: Json, name: string, negated: string): readonly string[] | undefined {
  if ((statement[name] === undefined) === (statement[negated] === undefined)) return undefined;
  const value = statement[name] ?? statement[negated];
  const list = texts(value);
  return list.length > 0 && list.length === (Array.isArray(value) ? value.length : 1) ? list : undefined;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
