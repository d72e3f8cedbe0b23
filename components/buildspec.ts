import { stringify } from "yaml";

export interface BuildspecOptions {
  readonly commands: readonly string[];
  readonly installCommands: readonly string[];
  readonly image: string;
}

/** CodeBuild refuses a longer inline buildspec. */
export const longestBuildspec = 25_600;

/** Images that AWS curates: only these take `runtime-versions`, and elsewhere it fails the build. */
export function isCuratedImage(image: string): boolean {
  return image.startsWith("aws/codebuild/");
}

/**
 * The buildspec of a command project. Every command is bash with `pipefail`: in a pipe whose first program dies, the
 * last one's success would be a lie (an empty dump counted as a backup).
 */
export function buildspec(options: BuildspecOptions): string {
  const install = {
    ...(isCuratedImage(options.image) && { "runtime-versions": { nodejs: 22 } }),
    ...(options.installCommands.length > 0 && { commands: options.installCommands.map(withPipefail) }),
  };
  return stringify(
    {
      version: 0.2,
      env: { shell: "bash" },
      phases: {
        ...(Object.keys(install).length > 0 && { install }),
        build: { commands: options.commands.map(withPipefail) },
      },
    },
    { lineWidth: 0 },
  );
}

/**
 * Shell options do not outlive a command in CodeBuild, so each command sets its own. One line stays one line: the
 * build's log repeats each command, and only its first line can be told from the command's own output.
 */
function withPipefail(command: string): string {
  return /\||\n|;/.test(command) ? `set -euo pipefail; ${command}` : command;
}
