/** The titles of the tests, read from their sources: no test runs for it. */
import ts from "typescript";
import { filesBelow, textOf } from "./pages";

export interface Title {
  /** From the project's root. */
  readonly file: string;
  /** Without the ids. An expression in a template is an ellipsis. */
  readonly text: string;
  /** The claims that the test proves, as its title says: `[A1.2] [B3.4]`. */
  readonly claims: readonly string[];
  /** Whether the test never runs. */
  readonly skipped: boolean;
}

/** How a title names a claim about AWS. */
const claimIds = /\s*\[([A-E]\d+(?:\.\d+)?)\]/g;

/**
 * Every title that names a claim. It is what `it` or `describe` is given, or a text in a table from whose rows a loop
 * makes titles.
 */
export function titlesWithClaims(ids = claimIds): readonly Title[] {
  return (
    filesBelow("test")
      // The tests of this folder speak about titles.
      .filter((file) => file.endsWith(".ts") && !file.startsWith("test/docs/"))
      .flatMap((file) => titlesOf(file, textOf(file), ids))
  );
}

/** @param source The text of a test file. */
export function titlesOf(file: string, source: string, ids = claimIds): readonly Title[] {
  const found: Title[] = [];
  const visit = (node: ts.Node, skipped: boolean): void => {
    const skips = skipped || (ts.isCallExpression(node) && /(\.skip|^x(it|describe))$/.test(calledBy(node)));
    const text = textIn(node);
    const claims = [...(text ?? "").matchAll(ids)].map(([, id]) => id ?? "");
    if (text !== undefined && claims.length > 0)
      found.push({ file, text: text.replace(ids, "").trim(), claims, skipped: skips });
    else ts.forEachChild(node, (child) => visit(child, skips));
  };
  visit(ts.createSourceFile(file, source, ts.ScriptTarget.ES2023), false);
  return found;
}

function calledBy({ expression }: ts.CallExpression): string {
  if (ts.isIdentifier(expression)) return expression.text;
  if (!ts.isPropertyAccessExpression(expression) || !ts.isIdentifier(expression.expression)) return "";
  return `${expression.expression.text}.${expression.name.text}`;
}

function textIn(node: ts.Node): string | undefined {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return undefined;
  return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join("");
}
