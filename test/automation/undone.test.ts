import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { changedTables, untruths } from "../../automation/judge/undone";

describe("an outside count of what was undone", () => {
  let folder: string;
  before(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "undone-"));
  });
  after(() => fs.rmSync(folder, { recursive: true }));

  let dumps = 0;
  function dump(tables: Readonly<Record<string, readonly string[]>>, columns = "id, name", typed = "") {
    const file = path.join(folder, String((dumps += 1)));
    const copies = Object.entries(tables).map(
      ([table, rows]) => `COPY ${table} (${columns}) FROM stdin;\n${rows.map((row) => `${row}\n`).join("")}\\.\n`,
    );
    fs.writeFileSync(`${file}.data`, copies.join("\n"));
    fs.writeFileSync(`${file}.typed`, typed);
    return { data: `${file}.data`, typed: `${file}.typed` };
  }

  it("finds rows that are gone and rows that have come, whatever their order", async () => {
    const counted = await changedTables(
      dump({ "public.a": ["1\tx", "2\ty", "3\tz"], "public.same": ["1\tx", "2\ty"] }),
      dump({ "public.a": ["3\tz", "1\tnew"], "public.same": ["2\ty", "1\tx"] }),
    );
    assert.deepEqual([...counted], [["public.a", { before: 3, after: 2, gone: 2, come: 1 }]]);
  });

  it("counts a row as often as it occurs", async () => {
    const counted = await changedTables(
      dump({ "public.a": ["1\tx", "1\tx", "1\tx"] }),
      dump({ "public.a": ["1\tx", "2\ty", "2\ty"] }),
    );
    assert.deepEqual(counted.get("public.a"), { before: 3, after: 3, gone: 2, come: 2 });
  });

  it("names tables that came, went, or have other columns, without comparing rows", async () => {
    const before = dump({ "public.a": ["1"], "public.gone": [] }, "id");
    const after = dump({ "public.a": ["1\tx"], "public.new": ["1\tx"] });
    assert.deepEqual(
      [...(await changedTables(before, after))],
      [
        ["public.a", { before: 1, after: 1 }],
        ["public.gone", { before: 0, after: undefined }],
        ["public.new", { before: undefined, after: 1 }],
      ],
    );
  });

  it("counts a row that moved from one partition to another as unchanged, and others for the table", async () => {
    const typed =
      "ALTER TABLE ONLY public.log ATTACH PARTITION public.log_1 FOR VALUES IN (1);\n" +
      "ALTER TABLE ONLY public.log ATTACH PARTITION public.log_2 FOR VALUES IN (2);\n";
    const before = dump({ "public.log_1": ["1\tx", "2\ty"], "public.log_2": [] }, "id, name", typed);
    assert.equal(
      (await changedTables(before, dump({ "public.log_1": ["1\tx"], "public.log_2": ["2\ty"] }, "id, name", typed)))
        .size,
      0,
    );
    const after = dump({ "public.log_1": ["1\tx"], "public.log_2": [] }, "id, name", typed);
    assert.deepEqual(
      [...(await changedTables(before, after))],
      [["public.log", { before: 2, after: 1, gone: 1, come: 0 }]],
    );
  });

  it("counts partitions that are gone, or new, for their table", async () => {
    const typed = "ALTER TABLE ONLY public.log ATTACH PARTITION public.log_1 FOR VALUES IN (1);\n";
    const [with1, without] = [dump({ "public.log_1": ["1\tx"] }, "id, name", typed), dump({})];
    assert.deepEqual([...(await changedTables(with1, without))], [["public.log", { before: 1, after: undefined }]]);
    assert.deepEqual([...(await changedTables(without, with1))], [["public.log", { before: undefined, after: 1 }]]);
  });

  it("lets a verdict be off by the rows that it calls uncertain, and by no more", () => {
    const counted = new Map([["public.a", { before: 9, after: 9, gone: 3, come: 3 }]]);
    const told = (uncertain: number) =>
      untruths(
        [
          {
            table: "public.a",
            before: 9,
            failed: 9,
            change: "changed",
            rows: { added: 0, removed: 0, changed: 1, uncertain },
          },
        ],
        counted,
      );
    assert.deepEqual(told(2), []);
    assert.equal(told(1).length, 1);
  });
});
