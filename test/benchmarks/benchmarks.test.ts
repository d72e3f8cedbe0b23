import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { type Figure, isReached, markdown, median, percentile, table } from "./figures";
import { parseOptions, parts } from "./options";
import { reportOf, tableOf } from "./report";

const figure: Figure = {
  what: "cut-over of 1 GB",
  measured: 0.05,
  unit: "s",
  against: { what: "restore | psql", value: 20 },
  aims: [
    { of: "times less", bound: 200 },
    { of: "value", bound: 0.1 },
  ],
};

describe("the benchmarks' arguments", () => {
  it("mean everything when no part is named", () => {
    assert.deepEqual([...parseOptions([]).rows].sort(), [...new Set(Object.values(parts).flat())].sort());
  });

  it("name parts, sizes in any order, repetitions and a file", () => {
    assert.deepEqual(parseOptions(["heal", "pooled", "--sizes", "1,0.05", "--repeat", "2", "--json", "f.json"]), {
      rows: new Set(["cut-over", "pooled"]),
      sizes: [0.05, 1],
      repeat: 2,
      json: "f.json",
    });
  });

  for (const [wrong, reason] of [
    [["speed"], /'speed' is invalid.*Allowed choices are heal, protect/],
    [["--sizes", "0"], /give gigabytes/],
    [["--sizes", "small"], /give gigabytes/],
    [["--repeat", "1.5"], /give a whole number/],
    [["--fast"], /unknown option/],
  ] as const) {
    it(`are refused: ${wrong.join(" ")}`, () => {
      assert.throws(() => parseOptions(wrong), reason);
    });
  }
});

describe("a figure", () => {
  it("is reached when all of its aims are, and nothing else failed", () => {
    assert.ok(isReached(figure));
    assert.ok(!isReached({ ...figure, measured: 0.11 }), "less than 200 times");
    assert.ok(!isReached({ ...figure, measured: 0.11, against: { what: "a restore", value: 200 } }), "above the bound");
    assert.ok(!isReached({ ...figure, failed: true }));
    assert.ok(!isReached({ ...figure, aims: [{ of: "ratio", bound: 0.001 }] }));
  });

  it("is a row of the table with its comparison, ratio, aims and judgement", () => {
    const aims = "200 times less, <= 0.1 s";
    assert.equal(
      markdown([figure]).split("\n").at(-1),
      `| cut-over of 1 GB | 0.0500 s | restore \\| psql: 20.0 s | 1/400 | ${aims} | yes |`,
    );
    assert.deepEqual(table([figure]).split("\n").at(-1)?.split(/ {2,}/), [
      "cut-over of 1 GB",
      "0.0500 s",
      "restore | psql: 20.0 s",
      "1/400",
      aims,
      "yes",
    ]);
  });

  it("survives the way through a file into the documentation", () => {
    const text = JSON.stringify(reportOf([figure, { ...figure, note: "0 errors" }], 0.25, process.execPath));
    assert.ok(tableOf(text).startsWith(markdown([figure, { ...figure, note: "0 errors" }])));
    assert.match(tableOf(text), /Measured \d{4}-\d\d-\d\d on \d+ x .*; load before the run 0\.3\.\n$/);
    assert.throws(() => tableOf('{"figures": []}'));
  });

  it("is a median, or a percentile that was really measured", () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(percentile([1, 2, 3, 4], 99), 4);
    assert.throws(() => median([]), /nothing was measured/);
  });
});

describe("an interrupted benchmark", () => {
  it("leaves no process, server or file", async () => {
    const root = path.join(__dirname, "..", "..");
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "bench-test-"));
    // A server's user goes through here.
    fs.chmodSync(folder, 0o755);
    const program = ["scripts/run.js", "test/benchmarks/main.ts", "protect"];
    const child = spawn(process.execPath, [...program, "--sizes", "0.05"], {
      cwd: root,
      env: { ...process.env, TMPDIR: folder },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (text: Buffer) => {
      const before = said;
      said += text.toString();
      // The server runs, and is at work.
      const atWork = "on disk";
      if (said.includes(atWork) && !before.includes(atWork)) child.kill("SIGINT");
    });
    try {
      const [code] = (await once(child, "close")) as [number | null];
      assert.equal(code, 130, said);
      assert.deepEqual(fs.readdirSync(folder), []);
      assert.deepEqual(
        processes().filter((line) => line.includes(folder)),
        [],
      );
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** The command lines of all processes. */
function processes(): string[] {
  return fs.readdirSync("/proc").flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) ? [fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")] : [];
    } catch {
      // It has just ended.
      return [];
    }
  });
}
