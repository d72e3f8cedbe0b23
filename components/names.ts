/**
 * Physical names. Trust policies name a project before it exists, and a plan names the pipeline and its projects, so
 * these names are made when the program runs and not left to the provider.
 */

/** A name that may start every physical name: the longest suffix is `-schedule`, and a rule's name ends at 64. */
const prefixPattern = /^[a-z][a-z0-9-]{0,38}[a-z0-9]$/;

/** What is wrong with a component's name, as whole sentences. */
export function nameProblems(name: string): string[] {
  if (prefixPattern.test(name) && !name.includes("--")) return [];
  return [
    `The name "${name}" cannot start the names of AWS resources: ` +
      "use 2 to 40 lower-case letters, digits and single hyphens, beginning with a letter.",
  ];
}
