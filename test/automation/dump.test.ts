import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { createdTables, differingLines, differingTables, readTables, sameBytes } from "../../automation/judge/dump";

describe("dumps", () => {
  let folder: string;
  before(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "dump-"));
  });
  after(() => fs.rmSync(folder, { recursive: true }));

  function file(name: string, text: string): string {
    const full = path.join(folder, name);
    fs.writeFileSync(full, text);
    return full;
  }

  const dump = (rows: string) =>
    `SET x;\nCOPY public.a (id, "odd (name") FROM stdin;\n${rows}\\.\n\nCOPY public.b FROM stdin;\n\\.\nSELECT 1;\n`;

  it("are counted by table", async () => {
    const tables = await readTables(file("counted", dump("1\tx\n2\ty\n")));
    assert.deepEqual(
      [...tables].map(([name, { rows }]) => [name, rows]),
      [
        ["public.a", 2],
        ["public.b", 0],
      ],
    );
  });

  it("longer than one read are counted to the last row", async () => {
    const rows = Array.from({ length: 300_000 }, (_, index) => `${index}\tvalue\n`).join("");
    const tables = await readTables(file("long", dump(rows)));
    assert.equal(tables.get("public.a")?.rows, 300_000);
  });

  it("that end inside a table's rows are refused", async () => {
    await assert.rejects(
      readTables(file("cut", "COPY public.a (id) FROM stdin;\n1\n")),
      /ends inside the rows of public.a/,
    );
  });

  it("differ by the tables whose rows differ, also when their number is the same", async () => {
    const one = await readTables(file("one", dump("1\tx\n")));
    const two = await readTables(file("two", dump("1\ty\n")));
    assert.deepEqual(differingTables(one, two), [{ table: "public.a", before: 1, after: 1 }]);
    assert.deepEqual(differingTables(one, one), []);
  });

  it("are the same only when every byte is", async () => {
    const long = "x".repeat(3 << 20);
    const a = file("a", `${long}a`);
    assert.equal(await sameBytes(a, file("b", `${long}a`)), true);
    assert.equal(await sameBytes(a, file("c", `${long}b`)), false);
    assert.equal(await sameBytes(a, file("d", `${long}aa`)), false);
    assert.equal(await sameBytes(a, file("e", long)), false);
  });

  it("of schemas differ by their statements, not by their comments", () => {
    const before = "-- one\nCREATE TABLE public.a (\n    id integer\n);\n";
    const after = "-- two\nCREATE TABLE public.a (\n    id bigint\n);\nCREATE TABLE public.n (\n);\n";
    assert.deepEqual(differingLines(before, after, 1), { gone: ["    id integer"], new: ["    id bigint"] });
    assert.deepEqual(createdTables(after), ["public.a", "public.n"]);
  });
});
