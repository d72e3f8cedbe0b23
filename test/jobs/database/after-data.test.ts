import assert from "node:assert/strict";
import { AfterData, type Task } from "../../../jobs/database/after-data";
import type { Entry } from "../../../jobs/database/toc";

const sections: Record<string, Entry["section"]> = { TABLE: "pre-data", "TABLE DATA": "data", COMMENT: "none" };

function entry(id: number, kind: string, tag: string, ...needs: number[]): Entry {
  return { id, kind, tag, needs, catalog: 0, schema: "public", section: sections[kind] ?? "post-data", copy: "" };
}

const orders = { table: entry(1, "TABLE", "orders"), data: entry(2, "TABLE DATA", "orders", 1) };
const lines = { table: entry(3, "TABLE", "lines"), data: entry(4, "TABLE DATA", "lines", 3) };
const ordersKey = entry(5, "CONSTRAINT", "orders_pkey", 1);
const linesKey = entry(6, "CONSTRAINT", "lines_pkey", 3);
const ordersIndex = entry(7, "INDEX", "orders_at", 1);
const reference = entry(8, "FK CONSTRAINT", "lines_orders_fkey", 3, 5);
const trigger = entry(9, "TRIGGER", "audit", 1);
const comment = entry(10, "COMMENT", "INDEX orders_at", 7);
const everything = [
  ...[orders.table, orders.data, lines.table, lines.data],
  ...[ordersKey, linesKey, ordersIndex, reference, trigger, comment],
];
const big = 100_000_000;

function loaded(data: Entry, bytes = big, xid: string | undefined = "700") {
  return { entry: data, xid, bytes };
}

function names(task: Task | undefined): string {
  if (task === undefined) return "nothing";
  const things = task.kind === "build" ? task.entries : task.tables.map((table) => table.entry);
  return `${task.kind} ${things.map(({ tag }) => tag).join(" ")}`;
}

/** Takes and does one thing after the other. */
function inTurn(after: AfterData): string[] {
  const seen: string[] = [];
  for (let task = after.take(); task !== undefined; task = after.take()) {
    seen.push(names(task));
    after.done(task);
  }
  return seen;
}

describe("what comes after data", () => {
  it("is done for a table once its rows are there, and keys before all else", () => {
    const after = new AfterData(everything);
    assert.deepEqual(inTurn(after), []);
    after.loaded(loaded(orders.data), true);
    assert.deepEqual(inTurn(after), ["build orders_pkey", "build orders_at", "analyze orders", "read orders"]);
    after.loaded(loaded(lines.data), true);
    assert.deepEqual(inTurn(after), ["build lines_pkey", "analyze lines", "build lines_orders_fkey", "read lines"]);
  });

  it("leaves what it cannot do, and comments, to pg_restore", () => {
    const after = new AfterData(everything);
    for (const { data } of [orders, lines]) after.loaded(loaded(data), true);
    inTurn(after);
    assert.deepEqual(
      after.rest.map(({ tag }) => tag),
      ["audit", "INDEX orders_at"],
    );
  });

  it("lets several work where no lock is in another one's way", () => {
    const after = new AfterData(everything);
    after.loaded(loaded(orders.data), true);
    const key = after.take();
    assert.equal(names(key), "build orders_pkey");
    // A key wants the table for itself.
    assert.equal(after.take(), undefined);
    after.loaded(loaded(lines.data), true);
    const other = after.take();
    assert.equal(names(other), "build lines_pkey");
    assert.equal(after.take(), undefined);
    after.done(key as Task);
    const index = after.take();
    assert.equal(names(index), "build orders_at");
    // While an index is built, the table may be read, and no statistics may be taken of it.
    assert.equal(names(after.take()), "read orders");
    assert.equal(after.take(), undefined);
    after.done(other as Task);
    // A reference waits for the other table's index.
    assert.equal(names(after.take()), "analyze lines");
    assert.equal(names(after.take()), "read lines");
    assert.equal(after.take(), undefined);
  });

  it("builds one key of a table at a time", () => {
    const after = new AfterData([...everything, entry(11, "CONSTRAINT", "orders_number_key", 1)]);
    after.loaded(loaded(orders.data), true);
    const first = after.take();
    assert.equal(names(first), "build orders_pkey");
    assert.equal(after.take(), undefined);
    after.done(first as Task);
    assert.equal(names(after.take()), "build orders_number_key");
  });

  it("takes the biggest first", () => {
    const after = new AfterData(everything);
    after.loaded(loaded(orders.data, big), false);
    after.loaded(loaded(lines.data, 2 * big), false);
    assert.deepEqual([names(after.take()), names(after.take())], ["build lines_pkey", "build orders_pkey"]);
  });

  it("does together what is small", () => {
    const after = new AfterData(everything);
    for (const { data } of [orders, lines]) after.loaded(loaded(data, 1000), true);
    assert.deepEqual(inTurn(after), [
      "build orders_pkey orders_at lines_pkey",
      "analyze orders lines",
      "build lines_orders_fkey",
      "read orders lines",
    ]);
  });

  it("checks no reference as long as rows of its tables may come with those of other tables", () => {
    const after = new AfterData(everything);
    after.loaded({ ...loaded(orders.data), xid: undefined }, true);
    after.loaded(loaded(lines.data), true);
    assert.deepEqual(inTurn(after), ["build lines_pkey", "build orders_pkey orders_at", "analyze lines", "read lines"]);
    assert.ok(after.rest.includes(reference));
  });

  it("is over when everything is loaded, and nothing is being done", () => {
    const after = new AfterData(everything);
    for (const { data } of [orders, lines]) after.loaded(loaded(data), true);
    inTurn(after);
    assert.equal(after.isOver, false);
    after.complete();
    assert.equal(after.isOver, true);
  });
});
