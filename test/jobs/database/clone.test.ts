import * as assert from "node:assert/strict";
import {
  checkDump,
  cloneDatabase,
  discardClone,
  findClone,
  openAdmin,
  protectClone,
  protectDatabase,
  proveClone,
  proveDatabase,
  stageDatabase,
} from "../../../jobs/database";
import type { ProtectedDatabase } from "../../../jobs/database/types";
import { evidenceDatabase } from "../../../run/ids";
import { run, soon, startServer, type TestServer } from "./cluster";
import { createShop, LiveClients, MemoryVault } from "./fixture";

/** A materialized view that a dump cannot bring back as it is. */
const stale = `CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM customers;
  INSERT INTO customers VALUES (5000, 'since')`;

describe("staging", function () {
  let server: TestServer;

  /** A small shop, and nothing that an earlier test has left. */
  async function freshShop(more: string): Promise<void> {
    const names = await server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'shop%'", "postgres");
    for (const { datname } of names) await server.sql(`DROP DATABASE ${String(datname)} WITH (FORCE)`, "postgres");
    await server.sql("CREATE DATABASE shop", "postgres");
    await createShop(server);
    await server.sql(more);
    server.lines.length = 0;
  }

  before(async () => {
    server = await startServer({ max_prepared_transactions: "2" });
  });

  after(() => server?.close());

  describe("a database that is staged as a clone", function () {
    let vault: MemoryVault;

    beforeEach(async () => {
      await freshShop(stale);
      vault = new MemoryVault();
    });

    const databases = async (): Promise<string[]> =>
      (await server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'shop%' ORDER BY 1", "postgres")).map(
        ({ datname }) => String(datname),
      );

    it("has what a dump cannot keep, is proven beside its dump, and is put in place [finding 38]", async () => {
      const access = server.access();
      const clone = await cloneDatabase(access, { deadline: soon() });
      // Users write on; what they write is not in the clone.
      await server.sql("INSERT INTO customers VALUES (6000, 'later'); UPDATE orders SET note = 'later'");
      const made = await protectClone(access, clone, { deadline: soon(), vault: vault.put });
      const [live] = await server.sql("SELECT oid::int FROM pg_database WHERE datname = 'shop'", "postgres");
      assert.equal(made.oid, live?.oid);
      const staged = await findClone(access);
      assert.equal(staged.oid, clone.oid);
      const proof = await proveClone(access, { deadline: soon(), protected: made, staged, dump: vault.get });
      assert.match(proof.compared, /^4 tables, 4,002 rows$/);
      assert.match(server.lines.join("\n"), /public\.totals: refreshed in the copy, stale in the original/);
      assert.deepEqual(await databases(), ["shop", staged.database]);
      const admin = await openAdmin([server.access({ job: "guard" })]);
      try {
        const evidence = evidenceDatabase("shop", run);
        const pair = { database: "shop", liveOid: made.oid, staged, seal: proof.seal, evidence };
        await admin.swap([pair], soon());
      } finally {
        await admin.close();
      }
      const seen = await server.sql("SELECT (SELECT n FROM totals) AS total, count(*) FROM customers GROUP BY 1");
      assert.deepEqual(seen, [{ total: "1000", count: "1001" }]);
      assert.equal((await server.sql("SHOW statement_timeout"))[0]?.statement_timeout, "1min");
    });

    it("is made while clients wait, who go on without an error but for their ended sessions", async () => {
      const clients = new LiveClients(server, 4);
      await clients.more(20);
      await cloneDatabase(server.access(), { deadline: soon() });
      await clients.more(20);
      await clients.stop();
      const allowed = /^(57P01|ECONNRESET|EPIPE|Connection terminated.*|Client has encountered.*)$/;
      assert.deepEqual(
        [...clients.errors].filter((code) => !allowed.test(code)),
        [],
      );
    });

    it("names what it cannot get out of the way, and leaves nothing closed or behind", async () => {
      await server.sql("BEGIN; DELETE FROM orders; PREPARE TRANSACTION 'left'");
      await assert.rejects(
        cloneDatabase(server.access(), { deadline: soon() }),
        /cannot clone the database shop at .*: it is in use by prepared transaction 'left' of master: .*being accessed/,
      );
      assert.deepEqual(await databases(), ["shop"]);
      await server.sql("ROLLBACK PREPARED 'left'");
    });

    it("is not taken for exact when somebody altered it before it was sealed", async () => {
      const access = server.access();
      const clone = await cloneDatabase(access, { deadline: soon() });
      const made = await protectClone(access, clone, { deadline: soon(), vault: vault.put });
      await server.sql("UPDATE orders SET note = 'altered' WHERE id = 1", clone.database);
      await assert.rejects(
        proveClone(access, { deadline: soon(), protected: made, staged: clone, dump: vault.get }),
        /public\.orders: the number of rows is the same \(3000\), but not their contents/,
      );
    });

    it("is not proven by itself: its dump must be good as well", async () => {
      const access = server.access();
      const clone = await cloneDatabase(access, { deadline: soon() });
      const made = await protectClone(access, clone, { deadline: soon(), vault: vault.put });
      const cut = vault.altered((bytes) => bytes.subarray(0, bytes.length - 1));
      await assert.rejects(
        proveClone(access, { deadline: soon(), protected: made, staged: clone, dump: cut }),
        /rp-1 is not what was stored/,
      );
      assert.deepEqual(await databases(), ["shop", clone.database]);
    });

    it("is made anew by another attempt, and dropped by a run that does not go on", async () => {
      await cloneDatabase(server.access(), { deadline: soon() });
      await cloneDatabase(server.access(), { deadline: soon() });
      await discardClone(server.access());
      await discardClone(server.access());
      assert.deepEqual(await databases(), ["shop"]);
      await assert.rejects(findClone(server.access()), /there is no database shop_staged_1b9d6bcd/);
    });
  });

  describe("a database that is staged when a healing needs it", function () {
    let made: ProtectedDatabase;
    const vault = new MemoryVault();

    before(async () => {
      await freshShop("CREATE EXTENSION hstore VERSION '1.4'");
      made = await protectDatabase(server.access(), { deadline: soon(), vault: vault.put });
    });

    it("has a dump that is checked to its last byte before the deploy [finding 8]", async () => {
      await checkDump(server.access(), { deadline: soon(), protected: made, dump: vault.get });
      assert.match(server.lines.join("\n"), /the recovery point rp-1 is whole: \d+ bytes were read/);
    });

    const damages: Record<string, (bytes: Buffer) => Buffer> = {
      "cut by a byte": (bytes) => bytes.subarray(0, bytes.length - 1),
      "altered in one bit": (bytes) => {
        const copy = Buffer.from(bytes);
        copy[copy.length - 5_000] = (copy[copy.length - 5_000] ?? 0) ^ 1;
        return copy;
      },
      empty: () => Buffer.alloc(0),
    };
    for (const [what, damage] of Object.entries(damages)) {
      it(`refuses a dump that is ${what} [finding 8]`, async () => {
        const options = { deadline: soon(), protected: made, dump: vault.altered(damage) };
        await assert.rejects(
          checkDump(server.access(), options),
          /cannot check the dump of .*rp-1 is not what was stored/,
        );
      });
    }

    it("refuses a dump that has the right sum and is none", async () => {
      const nonsense = new MemoryVault();
      nonsense.stored.push(Buffer.from("this is no dump"));
      const sum = { bytes: 15, sha256: "8e4c8ccd9a8c3b9eba08ac11c8d81c6af6ee2a2c5eb5ce0a8ab8a3d4e2a5bb1f" };
      const { createHash } = await import("node:crypto");
      sum.sha256 = createHash("sha256").update("this is no dump").digest("hex");
      await assert.rejects(
        checkDump(server.access(), { deadline: soon(), protected: { ...made, ...sum }, dump: nonsense.get }),
        /does not begin as a dump does|no whole custom-format dump/,
      );
    });

    it("is restored and proven while the live one is closed and wrecked", async () => {
      await server.sql(`DROP TABLE orders; DROP EXTENSION hstore; ALTER DATABASE shop RESET ALL;
      ALTER DATABASE shop SET work_mem = '1MB'; COMMENT ON DATABASE shop IS 'wrecked'`);
      await server.sql("ALTER DATABASE shop ALLOW_CONNECTIONS false", "postgres");
      const access = server.access();
      const staged = await stageDatabase(access, { deadline: soon(), protected: made, dump: vault.get });
      const proof = await proveDatabase(access, { deadline: soon(), protected: made, staged });
      assert.match(proof.compared, /^3 tables, 4,000 rows$/);
    });
  });

  describe("a database with a materialized view that is stale", function () {
    before(() => freshShop(stale));

    it("is not staged from a dump, unless its owner accepts that the view is refreshed [finding 21]", async () => {
      const vault = new MemoryVault();
      const access = server.access();
      const made = await protectDatabase(access, { deadline: soon(), vault: vault.put });
      const staged = await stageDatabase(access, { deadline: soon(), protected: made, dump: vault.get });
      await assert.rejects(
        proveDatabase(access, { deadline: soon(), protected: made, staged }),
        /materialized view public\.totals is stale, .* accept "stale-materialized-view"/,
      );
      const accepting = server.access({ target: { ...access.target, accept: ["stale-materialized-view"] } });
      await proveDatabase(accepting, { deadline: soon(), protected: made, staged });
      assert.match(server.lines.join("\n"), /public\.totals: refreshed in the copy, stale in the original/);
    });
  });
});
