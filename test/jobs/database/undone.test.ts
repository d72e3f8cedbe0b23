import * as assert from "node:assert/strict";
import { openAdmin, type AdminSession, type SwapPair } from "../../../jobs/database";
import { objectHashes } from "../../../jobs/database/schema";
import { mergeRows, objectChanges, serverChanges, type HashedRow } from "../../../jobs/database/undone";
import { further } from "../../../jobs/database/sequences";
import { soon, startServer, type TestServer } from "./cluster";
import { prepare, type Prepared } from "./fixture";

/** What was there before, and what a failed release and its users made of it. */
const shop = `
  CREATE TABLE orders (id serial PRIMARY KEY, note text);
  INSERT INTO orders (note) SELECT 'order ' || g FROM generate_series(1, 1000) g;
  CREATE TABLE lines (a int, b text, c int, PRIMARY KEY (b, a));
  INSERT INTO lines SELECT g, 'b' || g, g FROM generate_series(1, 100) g;
  CREATE TABLE keyless (a int);
  INSERT INTO keyless SELECT g % 10 FROM generate_series(1, 100) g;
  CREATE TABLE widened (id int PRIMARY KEY, t text);
  INSERT INTO widened SELECT g, 't' FROM generate_series(1, 50) g;
  CREATE TABLE rewritten (id int PRIMARY KEY);
  INSERT INTO rewritten SELECT generate_series(1, 50);
  CREATE TABLE parts (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
  CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
  CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
  INSERT INTO parts SELECT g, g % 20 FROM generate_series(1, 40) g;
  CREATE TABLE untouched AS SELECT g FROM generate_series(1, 10) g;
  CREATE TABLE dropped AS SELECT 1 AS one;
  CREATE SEQUENCE down INCREMENT -1;
  CREATE SEQUENCE around MAXVALUE 3 CYCLE;
  CREATE SEQUENCE lately;
  CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
  ALTER TABLE orders ADD CONSTRAINT checked CHECK (note::varchar IN ('a', 'b') OR true);
  SELECT nextval('down'), nextval('around')`;
const release = `
  INSERT INTO orders (note) SELECT 'new ' || g FROM generate_series(1, 7) g;
  UPDATE orders SET note = 'changed' WHERE id <= 20;
  UPDATE orders SET note = note WHERE id BETWEEN 21 AND 30;
  DELETE FROM orders WHERE id BETWEEN 900 AND 904;
  UPDATE lines SET c = -1 WHERE a = 3;
  DELETE FROM lines WHERE a = 4;
  INSERT INTO keyless VALUES (1), (1), (77);
  DELETE FROM keyless WHERE a = 2;
  ALTER TABLE widened ADD extra int;
  UPDATE widened SET extra = 1;
  UPDATE widened SET t = 'other' WHERE id = 1;
  ALTER TABLE rewritten ALTER id TYPE bigint;
  ALTER TABLE rewritten ALTER id TYPE int;
  DELETE FROM parts WHERE id = 1;
  UPDATE parts SET at = at + 10 WHERE id = 2;
  DROP TABLE dropped;
  CREATE TABLE added (id int);
  INSERT INTO added VALUES (1);
  CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2';
  ALTER DATABASE shop SET work_mem = '9MB';
  SELECT nextval('down'), nextval('around'), nextval('around'), nextval('around'), nextval('lately')`;

describe("what a healing undid", function () {
  let server: TestServer;
  let admin: AdminSession;
  let prepared: Prepared;
  let pair: SwapPair;

  before(async () => {
    server = await startServer();
    await server.sql(shop);
    prepared = await prepare(server);
    pair = { ...prepared.pair, sequences: "advance" };
    admin = await openAdmin([server.access({ job: "guard" })]);
    await server.sql(release);
  });

  after(async () => {
    await admin?.close();
    await server?.close();
  });

  const names = async (): Promise<unknown[]> =>
    (await server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'shop%' ORDER BY 1", "postgres")).map(
      ({ datname }) => datname,
    );

  it("leaves sequences behind the numbers that were given out, whatever healer finishes the exchange [finding 23]", async () => {
    // As an earlier healer leaves it that was ended between the two halves.
    const { database, evidence, staged } = pair;
    await admin.fence([pair], soon());
    for (const sql of [
      `ALTER DATABASE ${database} RENAME TO ${evidence}`,
      `ALTER DATABASE ${staged.database} ALLOW_CONNECTIONS true`,
      `ALTER DATABASE ${evidence} CONNECTION LIMIT 0`,
    ])
      await server.sql(sql, "postgres");
    assert.equal(await admin.isSwapped([pair], soon()), false);
    await admin.swap([pair], soon());
    assert.equal(await admin.isSwapped([pair], soon()), true);
    assert.deepEqual(await names(), [database, evidence]);
    assert.match(
      server.lines.join("\n"),
      /go on behind .*: public\.down to -2, public\.lately to 1, public\.orders_id_seq to 1007/,
    );
    await assert.rejects(server.client(evidence), /not currently accepting connections/);
    const values = await server.sql(
      `SELECT nextval('orders_id_seq') AS orders, nextval('down') AS down, nextval('around') AS around,
                nextval('lately') AS lately`,
    );
    assert.deepEqual(values, [{ orders: "1008", down: "-3", around: "2", lately: "2" }]);
  });

  it("is told by table: rows that were added, removed and changed", async () => {
    const { tables } = await admin.undone(pair, prepared.protected, soon());
    assert.deepEqual(Object.fromEntries(tables.map(({ table, rows, change }) => [table, rows ?? change])), {
      "public.added": "added",
      "public.dropped": "removed",
      "public.keyless": { added: 3, removed: 10, changed: 0 },
      "public.lines": { added: 0, removed: 1, changed: 1 },
      "public.orders": { added: 7, removed: 5, changed: 20 },
      "public.parts": { added: 1, removed: 2, changed: 0 },
      "public.widened": { added: 0, removed: 0, changed: 1 },
    });
  });

  it("is told by object and property, too", async () => {
    const { objects } = await admin.undone(pair, prepared.protected, soon());
    assert.deepEqual(objects, [
      `the database got ["setting",null,"work_mem","9MB"]`,
      "function public.f() was changed",
      "table public.added was added",
      "table public.dropped was removed",
      "table public.widened was changed",
    ]);
  });

  it("closes the evidence again", async () => {
    await assert.rejects(server.client(pair.evidence), /not currently accepting connections/);
  });

  it("is told without the rows that could not be counted in time", async () => {
    const { tables } = await admin.undone(pair, prepared.protected, new Date(Date.now() + 1));
    assert.ok(tables.every(({ rows }) => rows === undefined));
  }).timeout(60_000);

  it("says how far it is uncertain, when users have written to the healed database since", async () => {
    await server.sql(
      "UPDATE orders SET note = 'after the healing' WHERE id IN (1, 500, 901); INSERT INTO orders (note) VALUES ('later')",
    );
    const { tables } = await admin.undone(pair, prepared.protected, soon());
    const orders = tables.find(({ table }) => table === "public.orders");
    assert.deepEqual(orders?.rows, { added: 9, removed: 4, changed: 19, uncertain: 3 });
  });
});

describe("where a sequence goes on", () => {
  const sequence = {
    name: "s",
    descends: false,
    cycles: false,
    least: "1",
    most: "100",
    value: "10",
    called: true,
  };
  it("is the further one of two values, within the healed one's bounds", () => {
    assert.equal(further(sequence, { ...sequence, value: "11" }), "11");
    assert.equal(further(sequence, { ...sequence, value: "9" }), undefined);
    assert.equal(further(sequence, { ...sequence, value: "10" }), undefined);
    assert.equal(further({ ...sequence, called: false }, sequence), "10");
    assert.equal(further(sequence, { ...sequence, value: "11", called: false }), undefined);
    assert.equal(further(sequence, { ...sequence, value: "1000" }), "100");
    assert.equal(further({ ...sequence, cycles: true }, { ...sequence, value: "50" }), undefined);
    assert.equal(further({ ...sequence, descends: true, least: "-5" }, { ...sequence, value: "-9" }), "-5");
    assert.equal(further(sequence, undefined), undefined);
  });
});

describe("two sequences of rows", () => {
  async function* rows(...list: [bigint, string, number?][]): AsyncGenerator<HashedRow> {
    for (const [key, hash, count = 1] of list) yield { key, hash, count };
  }

  it("are merged in the order of their keys, as numbers", async () => {
    const { rows: found, seen } = await mergeRows(
      rows([-5n, "a"], [3n, "b"], [20n, "c"], [100n, "d"]),
      rows([-5n, "a"], [4n, "e"], [20n, "changed"], [100n, "d"], [101n, "f"]),
    );
    assert.deepEqual(found, { added: 2, removed: 1, changed: 1 });
    assert.equal(seen, 4);
  });

  it("are compared as multisets where rows are alike", async () => {
    const { rows: found } = await mergeRows(rows([1n, "a", 3]), rows([1n, "a", 5], [2n, "b", 2]));
    assert.deepEqual(found, { added: 4, removed: 0, changed: 0 });
  });
});

describe("what a healing does not undo", () => {
  it("is told by what it is and how it differs", () => {
    assert.deepEqual(
      serverChanges(
        { "role a": '{"rolsuper":false}', "role b": "{}" },
        { "role a": '{"rolsuper":true}', "role c": "{}" },
      ),
      ["role a was changed: rolsuper was false and is true", "role b was removed", "role c was added"],
    );
  });

  it("is read from pg_dump's headings, not from what looks like one in a function's body", () => {
    const objects = (body: string) =>
      objectHashes(
        `--\n-- Name: f(); Type: FUNCTION; Schema: public; Owner: me\n--\n\n${body}\n\n--\n-- PostgreSQL database dump complete\n--\n`,
      );
    assert.deepEqual(objectChanges(objects("a -- Name: x"), objects("b -- Name: x")), [
      "function public.f() was changed",
    ]);
  });
});
