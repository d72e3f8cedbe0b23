import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { clientFolder, output, start } from "../../../jobs/database/program";
import { soon } from "./cluster";

describe("a program of PostgreSQL", () => {
  let folder: string;
  const named = process.env.PROTECTED_PIPELINE_POSTGRES_BIN;

  before(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "program-test-"));
  });

  afterEach(() => {
    if (named === undefined) delete process.env.PROTECTED_PIPELINE_POSTGRES_BIN;
    else process.env.PROTECTED_PIPELINE_POSTGRES_BIN = named;
  });

  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** Stands where pg_dump or pg_restore stands. */
  function stub(command: "pg_dump" | "pg_restore", script: string): void {
    fs.writeFileSync(path.join(folder, command), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }

  const run = (command: "pg_dump" | "pg_restore") =>
    output({ command, folder, args: [], environment: { PATH: process.env.PATH ?? "" }, deadline: soon() });

  for (const command of ["pg_dump", "pg_restore"] as const) {
    it(`has failed when ${command} says anything on standard error, whatever its exit code [finding 20]`, async () => {
      stub(command, "echo dumped; echo 'warning: what nobody has seen before' >&2");
      await assert.rejects(run(command), /failed \(exit code 0\): warning: what nobody has seen before/);
    });

    it(`has failed when ${command} ends with another exit code than 0 and says nothing`, async () => {
      stub(command, "exit 3");
      await assert.rejects(run(command), /failed \(exit code 3\): it said nothing/);
    });
  }

  it("gives what it prints when it says nothing else", async () => {
    stub("pg_dump", "echo dumped");
    assert.equal(await run("pg_dump"), "dumped\n");
  });

  it("may say of a publication what pg_restore says to 14 where the server has no subscribers, and nothing beside it", async () => {
    const publication =
      "printf 'pg_restore: WARNING:  wal_level is insufficient to publish logical changes\\n" +
      "HINT:  Set wal_level to logical before creating subscriptions.\\n' >&2";
    stub("pg_restore", `echo restored; ${publication}; ${publication}`);
    assert.equal(await run("pg_restore"), "restored\n");
    stub("pg_restore", `${publication}; echo 'pg_restore: WARNING:  another one' >&2`);
    await assert.rejects(run("pg_restore"), /failed \(exit code 0\): pg_restore: WARNING: {2}another one$/);
  });

  it("is ended at its deadline", async () => {
    stub("pg_dump", "exec sleep 600");
    const deadline = new Date(Date.now() + 200);
    const program = start({ command: "pg_dump", folder, args: [], environment: process.env as never, deadline });
    await assert.rejects(program.done, /pg_dump was ended at its deadline/);
  });

  it("is taken from the folder that is named, when that has the server's major version", async () => {
    process.env.PROTECTED_PIPELINE_POSTGRES_BIN = folder;
    stub("pg_dump", "echo 'pg_dump (PostgreSQL) 98.1'");
    assert.equal(await clientFolder(980_001, soon()), folder);
  });

  it("of another major version than the server's is refused, with where it was looked for", async () => {
    process.env.PROTECTED_PIPELINE_POSTGRES_BIN = folder;
    stub("pg_dump", "echo 'pg_dump (PostgreSQL) 98.1'");
    await assert.rejects(
      clientFolder(990_000, soon()),
      /the server is PostgreSQL 99, but of pg_dump there is only \(in .*program-test-.*: pg_dump \(PostgreSQL\) 98\.1; on PATH: /,
    );
  });
});
