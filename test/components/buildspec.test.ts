import assert from "node:assert/strict";
import { parse } from "yaml";
import { buildspec } from "../../components/buildspec";
import { defaultImage } from "../../components/command-project";
import { clientPrograms, toolCommands } from "../../components/image-tools";

describe("buildspec", () => {
  const own = "123456789012.dkr.ecr.us-east-1.amazonaws.com/jobs:1";

  it("runs commands with bash, and pipes with pipefail", () => {
    const text = buildspec({ commands: ["echo a", "pg_dump | gzip > dump"], installCommands: [], image: own });
    assert.deepEqual(parse(text), {
      version: 0.2,
      env: { shell: "bash" },
      phases: { build: { commands: ["echo a", "set -euo pipefail; pg_dump | gzip > dump"] } },
    });
    assert.match(text, /^version: 0\.2$/m);
  });

  it("chooses Node only on an image that lets one choose", () => {
    const phases = (image: string) =>
      (parse(buildspec({ commands: ["a"], installCommands: [], image })) as { phases: Record<string, unknown> }).phases;
    assert.deepEqual(phases(defaultImage).install, { "runtime-versions": { nodejs: 22 } });
    assert.equal(phases(own).install, undefined);
  });

  it("keeps a long command on one line", () => {
    const command = `echo ${"word ".repeat(60)}end`;
    const spec = parse(buildspec({ commands: [command], installCommands: [], image: own })) as {
      phases: { build: { commands: string[] } };
    };
    assert.deepEqual(spec.phases.build.commands, [command]);
  });

  it("never installs Elastio, and PostgreSQL's programs only from the distribution of a curated image", () => {
    const [clients = ""] = clientPrograms(defaultImage);
    assert.match(clients, /^command -v pg_dump > \/dev\/null \|\| dnf install /);
    assert.match(clientPrograms(own)[0] ?? "", /exit 1; }$/);
    const [elastio = ""] = toolCommands({ image: defaultImage, clients: false, engine: "elastio" });
    assert.match(elastio, /elastio is not in the image.*exit 1; }$/);
    assert.deepEqual(toolCommands({ image: defaultImage, clients: false, engine: "aws" }), []);
  });
});
