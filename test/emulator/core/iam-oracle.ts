/**
 * A second opinion on what IAM decides, written from "Policy evaluation logic" and "IAM JSON policy elements" of the IAM
 * User Guide and from nothing else: it shares no code and no method with the emulator's evaluator. Policies stay
 * documents and are read anew for every question; patterns are matched sign by sign; and instead of one decision it
 * gives every reason for which the request must be denied. None means that it is allowed.
 *
 * It covers one account: identity policies, a permissions boundary, a resource's policy (required or not), Action and
 * NotAction, Resource and NotResource, principals, every condition operator with IfExists, ForAllValues and ForAnyValue,
 * missing keys, policy variables with and without defaults, and both versions of the language. It takes for granted
 * that policies are well formed.
 */

export interface Document {
  readonly Version: "2012-10-17" | "2008-10-17";
  readonly Statement: readonly Statement[];
}

export interface Statement {
  readonly Effect: "Allow" | "Deny";
  readonly Principal?: "*" | { readonly AWS?: string; readonly Service?: string };
  readonly Action?: readonly string[];
  readonly NotAction?: readonly string[];
  readonly Resource?: readonly string[];
  readonly NotResource?: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}

export interface Question {
  readonly account: string;
  readonly caller: { readonly kind: "root" | "service" | "assumed-role"; readonly arn: string; readonly role?: string };
  readonly action: string;
  readonly resource: string;
  readonly context: Readonly<Record<string, readonly string[]>>;
  readonly identity: readonly Document[];
  readonly boundary?: Document;
  readonly resourcePolicy?: Document;
  readonly resourcePolicyRequired: boolean;
}

/** Every reason to deny, in the words of IAM's messages. */
export function reasonsToDeny(question: Question): readonly string[] {
  const { identity, boundary, resourcePolicy, caller, action } = question;
  const effects = (documents: readonly Document[]): readonly string[] =>
    documents.flatMap((document) =>
      document.Statement.filter((statement) => speaksOf(statement, document, question)).map(({ Effect }) => Effect),
    );
  const fromResource = (resourcePolicy?.Statement ?? [])
    .filter((statement) => resourcePolicy && speaksOf(statement, resourcePolicy, question))
    .map((statement) => ({ effect: statement.Effect, names: whomItNames(statement, question) }))
    .filter(({ names }) => names !== "nobody");
  const byPolicies = caller.kind === "assumed-role";
  const ofIdentity = byPolicies ? effects(identity) : [];
  const ofBoundary = byPolicies && boundary ? effects([boundary]) : undefined;

  const explicit: string[] = [];
  if (ofIdentity.includes("Deny")) explicit.push("with an explicit deny in an identity-based policy");
  if (ofBoundary?.includes("Deny")) explicit.push("with an explicit deny in a permissions boundary");
  if (fromResource.some(({ effect }) => effect === "Deny"))
    explicit.push("with an explicit deny in a resource-based policy");
  if (explicit.length > 0) return explicit;

  const admitted = new Set(fromResource.map(({ names }) => names));
  const because = (kind: string): string => `because no ${kind} allows the ${action} action`;
  if (question.resourcePolicyRequired && admitted.size === 0) return [because("resource-based policy")];
  if (!byPolicies || admitted.has("the session")) return [];
  const implicit: string[] = [];
  if (!ofIdentity.includes("Allow") && !admitted.has("the role")) implicit.push(because("identity-based policy"));
  if (ofBoundary && !ofBoundary.includes("Allow")) implicit.push(because("permissions boundary"));
  return implicit;
}

function whomItNames(
  { Principal }: Statement,
  { caller, account }: Question,
): "the session" | "the role" | "its account" | "nobody" {
  if (Principal === undefined) return "nobody";
  // Whom a wildcard means is still held by a boundary: the safe reading.
  if (Principal === "*" || Principal.AWS === "*") return caller.kind === "assumed-role" ? "the role" : "the session";
  if (caller.kind === "service") return Principal.Service === caller.arn ? "the session" : "nobody";
  if (caller.kind === "assumed-role" && Principal.AWS === caller.arn) return "the session";
  if (caller.kind === "assumed-role" && Principal.AWS === caller.role) return "the role";
  return [account, `arn:aws:iam::${account}:root`].includes(Principal.AWS ?? "") ? "its account" : "nobody";
}

function speaksOf(statement: Statement, { Version }: Document, { action, resource, context }: Question): boolean {
  const read = (text: string): Sign[] | undefined => signsOf(text, Version === "2012-10-17" ? context : undefined);
  const plain = (text: string): Sign[] | undefined => signsOf(text.toLowerCase(), undefined);
  const anyFits = (patterns: readonly string[], given: string, reader: typeof read): boolean =>
    patterns.some((pattern) => fits(reader(pattern), [...given]));
  if (statement.Action && !anyFits(statement.Action, action.toLowerCase(), plain)) return false;
  if (statement.NotAction && anyFits(statement.NotAction, action.toLowerCase(), plain)) return false;
  if (statement.Resource && !anyFits(statement.Resource, resource, read)) return false;
  if (statement.NotResource && anyFits(statement.NotResource, resource, read)) return false;
  for (const [operator, keys] of Object.entries(statement.Condition ?? {}))
    for (const [key, wanted] of Object.entries(keys))
      if (!holds(operator, valuesOf(key, context), wanted, read)) return false;
  return true;
}

function valuesOf(key: string, context: Question["context"]): readonly string[] {
  for (const [name, values] of Object.entries(context)) if (name.toLowerCase() === key.toLowerCase()) return values;
  return [];
}

// --- Conditions ----------------------------------------------------------------------------------------------------

type Reader = (text: string) => Sign[] | undefined;

function holds(name: string, given: readonly string[], wanted: readonly string[], read: Reader): boolean {
  const colon = name.indexOf(":");
  const set = colon < 0 ? "" : name.slice(0, colon);
  const ifExists = name.endsWith("IfExists");
  const operator = name.slice(colon + 1, ifExists ? -"IfExists".length : undefined);
  if (operator === "Null") return wanted[0] === String(given.length === 0);
  const negated = operator.includes("Not");
  if (given.length === 0) {
    if (ifExists || set === "ForAllValues") return true;
    return set === "" && negated;
  }
  const each = given.map((value) => wanted.some((want) => matches(operator.replace("Not", ""), value, want, read)));
  const good = each.filter((matched) => matched !== negated).length;
  return set === "ForAnyValue" ? good > 0 : good === each.length;
}

function matches(operator: string, given: string, want: string, read: Reader): boolean {
  switch (operator) {
    case "StringEquals":
      return literal(read(want)) === given;
    case "StringEqualsIgnoreCase":
    case "Bool":
      return literal(read(want))?.toLowerCase() === given.toLowerCase();
    case "StringLike":
      return fits(read(want), [...given]);
    case "ArnEquals":
    case "ArnLike":
      return arnFits(literal(read(want)), given);
    default:
      return compares(operator, given, want);
  }
}

function arnFits(pattern: string | undefined, arn: string): boolean {
  const six = (text: string): string[] => {
    const parts = text.split(":");
    return [...parts.slice(0, 5), parts.slice(5).join(":")];
  };
  if (pattern === undefined || pattern.split(":").length < 6 || arn.split(":").length < 6) return false;
  const given = six(arn);
  return six(pattern).every((part, index) => fits(signsOf(part, undefined), [...(given[index] ?? "")]));
}

function compares(operator: string, given: string, want: string): boolean {
  const number = (text: string): number => {
    if (operator.startsWith("Numeric")) return Number(text);
    return text.includes("-") ? new Date(text).getTime() / 1000 : Number(text);
  };
  const difference = number(given) - number(want);
  const sign = difference === 0 ? "Equals" : difference < 0 ? "LessThan" : "GreaterThan";
  return operator.replace(/^(Numeric|Date)/, "").includes(sign);
}

// --- Patterns ------------------------------------------------------------------------------------------------------

/** One sign of a pattern: itself, any one sign, or any text. */
type Sign = string | { readonly wild: "one" | "many" };

/** A pattern's signs; undefined when it has a variable without a value. Without a context, variables are plain text. */
function signsOf(pattern: string, context: Question["context"] | undefined): Sign[] | undefined {
  const signs: Sign[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const sign = pattern.charAt(at);
    const end = pattern.indexOf("}", at);
    if (context && sign === "$" && pattern.charAt(at + 1) === "{" && end > 0) {
      const value = variable(pattern.slice(at + 2, end), context);
      if (value === undefined) return undefined;
      signs.push(...value);
      at = end;
    } else if (sign === "*") signs.push({ wild: "many" });
    else signs.push(sign === "?" ? { wild: "one" } : sign);
  }
  return signs;
}

function variable(text: string, context: Question["context"]): string | undefined {
  if (["*", "?", "$"].includes(text)) return text;
  const [key = "", fallback] = text.split(",").map((part) => part.trim());
  const values = valuesOf(key, context);
  return values.length === 0 ? fallback?.slice(1, -1) : values[0];
}

/** The text that signs stand for where wildcards are no wildcards. */
function literal(signs: Sign[] | undefined): string | undefined {
  return signs?.map((sign) => (typeof sign === "string" ? sign : sign.wild === "many" ? "*" : "?")).join("");
}

/** Sign by sign: which beginnings of the text the beginning of the pattern can stand for. */
function fits(signs: Sign[] | undefined, text: readonly string[]): boolean {
  if (signs === undefined) return false;
  let reached = new Set([0]);
  for (const sign of signs) {
    const next = new Set<number>();
    for (const at of reached) {
      if (typeof sign === "string") {
        if (text[at] === sign) next.add(at + 1);
      } else if (sign.wild === "one") {
        if (at < text.length) next.add(at + 1);
      } else for (let to = at; to <= text.length; to++) next.add(to);
    }
    reached = next;
  }
  return reached.has(text.length);
}
