/** The table of claims in docs/claims.md, and the tests that prove them. */
import { cell, linkTo } from "./pages";
import type { Title } from "./titles";

const claimRow = /^\| ([A-E]\d+(?:\.\d+)?) \| (.*) \| (.*) \|(.*)\|$/;

export function claimsOf(page: string, row = claimRow): readonly string[] {
  return page.split("\n").flatMap((line) => row.exec(line)?.[1] ?? []);
}

/** What is wrong with claims and titles, one sentence each. */
export function claimProblems(claims: readonly string[], titles: readonly Title[]): readonly string[] {
  const proven = new Set(titles.filter(({ skipped }) => !skipped).flatMap((title) => title.claims));
  const unproven = claims.filter((id) => !proven.has(id)).map((id) => `No test proves claim ${id}`);
  const twice = claims.filter((id, index) => claims.indexOf(id) !== index).map((id) => `${id} is claimed twice`);
  const unknown = titles.flatMap(({ file, text, claims: ids }) =>
    ids.filter((id) => !claims.includes(id)).map((id) => `${file}: "${text}" proves ${id}, which is no claim`),
  );
  return [...unproven, ...twice, ...unknown];
}

/** The page with its last column as the titles say. */
export function withProofs(page: string, titles: readonly Title[], row = claimRow): string {
  return page
    .split("\n")
    .map((line) => {
      const [, id = "", sentence, source] = row.exec(line) ?? [];
      return id === "" ? line : `| ${id} | ${sentence} | ${source} | ${proofsOf(id, titles)} |`;
    })
    .join("\n");
}

function proofsOf(id: string, titles: readonly Title[]): string {
  const proofs = titles.filter(({ claims, skipped }) => !skipped && claims.includes(id));
  const files = [...new Set(proofs.map(({ file }) => file))];
  return files
    .map((file) => {
      const texts = new Set(proofs.filter((proof) => proof.file === file).map(({ text }) => cell(text)));
      return `${linkTo(file)}: ${[...texts].join("; ")}`;
    })
    .join("<br>");
}
