import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { checkClients, checkData, checkSpace } from "../../automation/drill/preflight";
import { Refusal } from "../../automation/refusal";
import { readSetup } from "../../automation/setup";

describe("before a drill", () => {
  let folder: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "preflight-"));
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  function file(name: string, text: string, mode = 0o644): string {
    const full = path.join(folder, name);
    fs.writeFileSync(full, text, { mode });
    return full;
  }

  /** A set-up whose programs answer with what the test wants. */
  function setup(programs: Record<string, string>, postgresMajor = 16) {
    for (const [name, text] of Object.entries(programs)) file(name, `#!/bin/sh\n${text}\n`, 0o755);
    return { pulumiRoot: folder, pulumiVersion: "3.0.0", postgresBin: folder, postgresMajor };
  }

  const oneLine = (says: RegExp) => (error: unknown) =>
    error instanceof Refusal && says.test(error.message) && !error.message.includes("\n");

  it("a client that is older than the server is refused", async () => {
    const newer = "echo 'x (PostgreSQL) 16.2'";
    await checkClients(setup({ pg_dump: newer, pg_restore: newer, psql: newer }));
    await assert.rejects(
      checkClients(setup({ pg_dump: "echo 'pg_dump (PostgreSQL) 15.4'", pg_restore: newer, psql: newer })),
      oneLine(/pg_dump .* is version 15, older than the server's 16: install/),
    );
  });

  it("a plain dump is taken, and one of a newer server is refused", async () => {
    const dump = (version: string) =>
      `--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version ${version}\n`;
    assert.equal((await checkData(file("a", dump("13.2")), setup({}))).format, "plain");
    await assert.rejects(
      checkData(file("b", dump("17.1")), setup({})),
      oneLine(/comes from PostgreSQL 17, and PostgreSQL here is 16/),
    );
  });

  it("a file that is no dump, or not there, is refused", async () => {
    await assert.rejects(checkData(file("text", "hello"), setup({})), oneLine(/is not a dump of pg_dump/));
    await assert.rejects(checkData(path.join(folder, "none"), setup({})), oneLine(/cannot be read/));
    await assert.rejects(checkData(folder, setup({})), oneLine(/cannot be read/));
  });

  it("a custom dump is read to its end", async () => {
    const dump = file("custom", "PGDMP...");
    assert.equal((await checkData(dump, setup({ pg_restore: "exit 0" }))).format, "custom");
    await assert.rejects(
      checkData(dump, setup({ pg_restore: "echo 'pg_restore: error: could not read: end of file' >&2; exit 1" })),
      oneLine(/cannot be read to its end: .*end of file/),
    );
    await assert.rejects(
      checkData(dump, setup({ pg_restore: "echo 'unsupported version (1.16) in file header' >&2; exit 1" })),
      oneLine(/comes from a newer PostgreSQL/),
    );
  });

  it("the room for temporary files is looked at, dumps included", async () => {
    checkSpace(undefined, folder);
    const huge = path.join(folder, "huge");
    fs.writeFileSync(huge, "");
    fs.truncateSync(huge, 2 ** 43);
    assert.throws(
      () => checkSpace({ file: huge, format: "plain" }, folder),
      oneLine(/MB free, and the drill needs \d+ MB/),
    );
  });

  it("a clone that is not set up is told to be", () => {
    assert.throws(() => readSetup(path.join(folder, "setup.json")), oneLine(/npm run setup/));
    assert.throws(() => readSetup(file("setup.json", "{}")), oneLine(/not complete.*npm run setup/));
  });
});
