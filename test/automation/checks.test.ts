import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { makeChecks, type Gathered } from "../../automation/judge/checks";
import type { DatabaseTruth, InstanceTruth, Truth } from "../../automation/judge/truth";
import type { UndoneTable } from "../../run/facts";
import { missing, type Outcome } from "../../automation/outcome";

const run = "1b9d6bcd-0000-4000-8000-000000000000";
const ok = <T>(value: T): Outcome<T> => ({ ok: true, value });
const at = "2026-01-01T00:00:00.000Z";

describe("the checks", () => {
  let folder: string;
  before(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "checks-"));
  });
  after(() => fs.rmSync(folder, { recursive: true }));

  let files = 0;
  function file(text: string): string {
    files += 1;
    const full = path.join(folder, String(files));
    fs.writeFileSync(full, text);
    return full;
  }

  const rows = (text: string) => `COPY public.orders (id) FROM stdin;\n${text}\\.\n`;
  const table = (name: string) => `CREATE TABLE public.${name} (\n    id integer\n);\n`;

  const databaseTruth = (change: Partial<DatabaseTruth> = {}): DatabaseTruth => ({
    data: file(rows("1\n2\n")),
    views: file("v\n"),
    schema: file(table("orders")),
    typed: file(table("orders")),
    databases: ["postgres", "shop"],
    evidenceData: file(rows("9\n2\n")),
    evidenceTyped: file(table("orders") + table("audit")),
    ...change,
  });

  const instanceTruth: InstanceTruth = {
    id: "i-1",
    state: "running",
    privateAddress: "10.0.0.1",
    publicAddress: "127.0.0.2",
    interfaces: ["eni-1"],
    rootVolume: "vol-1",
    instances: ["i-1"],
    looseVolumes: [],
  };

  function truth(database: DatabaseTruth, change: Partial<InstanceTruth> = {}): Truth {
    return {
      at,
      database: ok(database),
      files: ok({ sha256: "a", files: 1, lines: ["f x"] }),
      instance: ok({ ...instanceTruth, ...change }),
      answers: ok([{ path: "/", status: 200, body: "version 1" }]),
    };
  }

  /** A run that was healed as it had to be. */
  function healed(): Gathered {
    return {
      expected: "healed",
      databaseName: "shop",
      addsTable: true,
      before: ok(truth(databaseTruth())),
      after: ok(
        truth(databaseTruth({ databases: ["postgres", "shop", "shop_failed_1b9d6bcd"] }), {
          rootVolume: "vol-2",
          looseVolumes: ["vol-1"],
        }),
      ),
      execution: ok({ id: run, status: "Failed", stages: [{ name: "Deploy", status: "Failed", actions: [] }] }),
      run: ok({
        names: ["verdict", "fenced", "database/cut-over", "instance/cut-over"],
        verdict: {
          at,
          build: "guard:1",
          verdict: "healed",
          reason: "the deploy failed",
          rto: { total: 900, decision: 100, database: 20, instance: 780 },
          rpo: 4000,
          outage: 1200,
          undone: [{ ...orders, rows: { added: 0, removed: 0, changed: 1 } }],
        },
        protected: [],
        cutOvers: [
          {
            at,
            kind: "database",
            evidence: "shop_failed_1b9d6bcd",
            failedOid: 1,
            liveOid: 2,
            milliseconds: 20,
          },
          {
            at,
            kind: "instance",
            volumes: [{ device: "/dev/xvda", volumeId: "vol-2", evidence: "vol-1" }],
            skipped: false,
            milliseconds: 780,
          },
        ],
      }),
      guardLog: ok(["fenced", "healed: the deploy failed"]),
      secrets: ok({ secrets: 2, places: 10, bytes: 100, findings: [] }),
    };
  }

  /** A run that was fine. */
  function healthy(): Gathered {
    const good = healed();
    const after = truth(databaseTruth({ data: file(rows("1\n2\n3\n")) }));
    return {
      ...good,
      expected: "healthy",
      addsTable: false,
      after: ok({
        ...after,
        files: ok({ sha256: "b", files: 1, lines: ["f y"] }),
        answers: ok([{ path: "/", status: 200, body: "version 2" }]),
      }),
      execution: ok({ id: run, status: "Succeeded", stages: [] }),
      run: ok({
        names: ["verdict"],
        verdict: { at, build: "guard:1", verdict: "healthy", reason: "all is well" },
        protected: [],
        cutOvers: [],
      }),
    };
  }

  const orders = { table: "public.orders", before: 2, failed: 2, change: "changed" } as const;
  const withUndone = (undone: UndoneTable[] | undefined) =>
    withRun(healed(), ({ verdict }) => ({ verdict: { ...verdict, undone } }));

  async function notHeld(gathered: Gathered): Promise<Record<string, string>> {
    const checks = await makeChecks(gathered);
    return Object.fromEntries(checks.filter((check) => !check.held).map(({ name, detail }) => [name, detail]));
  }

  function withAfter(gathered: Gathered, change: (truth: Truth) => Partial<Truth>): Gathered {
    assert.ok(gathered.after.ok);
    return { ...gathered, after: ok({ ...gathered.after.value, ...change(gathered.after.value) }) };
  }

  function withDatabase(gathered: Gathered, change: Partial<DatabaseTruth>): Gathered {
    return withAfter(gathered, ({ database }) => {
      assert.ok(database.ok);
      return { database: ok({ ...database.value, ...change }) };
    });
  }

  function withInstance(gathered: Gathered, change: Partial<InstanceTruth>): Gathered {
    return withAfter(gathered, ({ instance }) => {
      assert.ok(instance.ok);
      return { instance: ok({ ...instance.value, ...change }) };
    });
  }

  function withRun(gathered: Gathered, change: (value: Extract<Gathered["run"], { ok: true }>["value"]) => object) {
    assert.ok(gathered.run.ok);
    return { ...gathered, run: ok({ ...gathered.run.value, ...change(gathered.run.value) }) };
  }

  it("hold for a run that was healed, and for one that was fine", async () => {
    assert.deepEqual(await notHeld(healed()), {});
    assert.deepEqual(await notHeld(healthy()), {});
  });

  it("do not hold, one and all, when nothing could be gathered", async () => {
    const nothing = missing("unreachable");
    for (const expected of ["healed", "healthy"] as const) {
      const checks = await makeChecks({
        ...healed(),
        ...{ expected, before: nothing, after: nothing, execution: nothing, run: nothing, guardLog: nothing },
        secrets: nothing,
      });
      for (const { name, held, detail } of checks) {
        assert.equal(held, false, name);
        assert.equal(detail, "could not be made: unreachable");
      }
    }
  });

  const broken: [string, string, () => Gathered, RegExp][] = [
    [
      "rows",
      "a changed row",
      () => withDatabase(healed(), { data: file(rows("1\n3\n")) }),
      /public.orders \(2 rows, now 2 rows\)/,
    ],
    ["rows", "a changed materialized view", () => withDatabase(healed(), { views: file("w\n") }), /materialized view/],
    [
      "schema",
      "a changed statement",
      () => withDatabase(healed(), { schema: file(table("order")) }),
      /gone: CREATE TABLE public.orders/,
    ],
    [
      "files",
      "a changed file",
      () => withAfter(healed(), () => ({ files: ok({ sha256: "c", files: 1, lines: ["f z"] }) })),
      /gone: f x; new: f z/,
    ],
    [
      "instance",
      "another address",
      () => withInstance(healed(), { publicAddress: "127.0.0.3" }),
      /publicAddress was 127.0.0.2, is 127.0.0.3/,
    ],
    [
      "answer",
      "another answer",
      () => withAfter(healed(), () => ({ answers: ok([{ path: "/", status: 500, body: "broken" }]) })),
      /answered 500 broken/,
    ],
    [
      "new version",
      "the old answer after a good release",
      () => withAfter(healthy(), () => ({ answers: ok([{ path: "/", status: 200, body: "version 1" }]) })),
      /as before the deploy/,
    ],
    [
      "new version",
      "the old files after a good release",
      () => withAfter(healthy(), () => ({ files: ok({ sha256: "a", files: 1, lines: [] }) })),
      /old files/,
    ],
    [
      "execution",
      "a green end after a healing",
      () => ({ ...healed(), execution: ok({ id: run, status: "Succeeded", stages: [] }) }),
      /had to end Failed/,
    ],
    [
      "execution",
      "a failure before the deploy",
      () => ({
        ...healed(),
        execution: ok({ id: run, status: "Failed", stages: [{ name: "Protect", status: "Failed", actions: [] }] }),
      }),
      /stage Protect/,
    ],
    ["verdict", "no verdict", () => withRun(healed(), () => ({ verdict: undefined })), /no verdict/],
    [
      "verdict",
      "another verdict",
      () => withRun(healed(), ({ verdict }) => ({ verdict: { ...verdict, verdict: "heal-failed" } })),
      /heal-failed: the deploy failed \(it had to be healed\)/,
    ],
    [
      "evidence",
      "evidence that is gone",
      () => withDatabase(healed(), { databases: ["postgres", "shop"] }),
      /there is no database shop_failed_1b9d6bcd/,
    ],
    [
      "evidence",
      "evidence that holds the old state",
      () => withDatabase(healed(), { evidenceData: file(rows("1\n2\n")), evidenceTyped: file(table("orders")) }),
      /holds what was before/,
    ],
    [
      "evidence",
      "evidence without the release's table",
      () => withDatabase(healed(), { evidenceTyped: file(table("orders")) }),
      /lacks the table/,
    ],
    ["evidence", "no cut-over", () => withRun(healed(), () => ({ cutOvers: [] })), /no database was cut over/],
    ["undone", "nothing told of what was undone", () => withUndone(undefined), /does not tell/],
    ["undone", "a table that is not told", () => withUndone([]), /public.orders is not told/],
    [
      "undone",
      "rows that are told in another number",
      () => withUndone([{ ...orders, rows: { added: 1, removed: 1, changed: 1 } }]),
      /lost 1 rows and got 1, and is told with 1 added, 1 removed and 1 changed/,
    ],
    [
      "undone",
      "another number of rows before",
      () => withUndone([{ ...orders, before: 3 }]),
      /had 2 rows, then 2, and is told to have had 3, then 2/,
    ],
    [
      "undone",
      "a change that is told as another one",
      () => withUndone([{ ...orders, change: "added" }]),
      /is told as added, and was changed/,
    ],
    [
      "nothing healed",
      "a healing of a good release",
      () => withRun(healthy(), () => ({ names: ["fenced", "verdict"] })),
      /facts of a healing: fenced/,
    ],
    [
      "nothing healed",
      "another root volume after a good release",
      () => withInstance(healthy(), { rootVolume: "vol-9" }),
      /was vol-1, is vol-9/,
    ],
    [
      "reason",
      "another last line",
      () => ({ ...healed(), guardLog: ok(["healed: the deploy failed", "bye"]) }),
      /last line is "bye"/,
    ],
    [
      "leftovers",
      "a staged database",
      () => withDatabase(healed(), { databases: ["postgres", "shop", "shop_failed_1b9d6bcd", "shop_staged_1"] }),
      /database shop_staged_1/,
    ],
    [
      "leftovers",
      "a prepared volume after a good release",
      () => withInstance(healthy(), { looseVolumes: ["vol-7"] }),
      /volume vol-7/,
    ],
    [
      "leftovers",
      "a copy of the instance",
      () => withInstance(healed(), { instances: ["i-1", "i-2"] }),
      /instance i-2/,
    ],
    [
      "figures",
      "no RTO",
      () => withRun(healed(), ({ verdict }) => ({ verdict: { ...verdict, rto: undefined } })),
      /not measured: RTO/,
    ],
    [
      "secrets",
      "a secret in a log",
      () => ({
        ...healed(),
        secrets: ok({
          secrets: 2,
          places: 10,
          bytes: 1,
          findings: [{ secret: "password", form: "base64", place: "log x" }],
        }),
      }),
      /password \(base64\) in log x/,
    ],
    [
      "secrets",
      "a search for nothing",
      () => ({ ...healed(), secrets: ok({ secrets: 0, places: 10, bytes: 1, findings: [] }) }),
      /no secret was known/,
    ],
    [
      "secrets",
      "a search of nothing",
      () => ({ ...healed(), secrets: ok({ secrets: 2, places: 0, bytes: 0, findings: [] }) }),
      /nothing was searched/,
    ],
  ];
  for (const [name, what, make, says] of broken) {
    it(`name "${name}" for ${what}`, async () => {
      const found = await notHeld(make());
      assert.match(found[name] ?? "it held", says);
    });
  }
});
