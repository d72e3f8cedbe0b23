import * as assert from "node:assert/strict";
import { protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
import { end, withConnection } from "../../../jobs/database/connection";
import { readContents, readingSessions, readSequences } from "../../../jobs/database/fingerprint";
import { exportSnapshot } from "../../../jobs/database/snapshot";
import type { ProtectedDatabase, StagedDatabase } from "../../../jobs/database/types";
import { soon, startServer, type TestServer } from "./cluster";
import { createShop, MemoryVault } from "./fixture";

describe("the snapshot that a protection is read in", function () {
  let server: TestServer;

  before(async () => {
    server = await startServer();
    await createShop(server);
    await server.sql(`
      CREATE TABLE parts (id int, at int) PARTITION BY RANGE (at);
      CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
      INSERT INTO parts SELECT g, g % 10 FROM generate_series(1, 1000) g`);
    await server.cluster.administer("CREATE ROLE stranger");
  });

  after(() => server?.close());

  it("has the rows that its tables had when they were locked: nobody truncates them under it [finding 24]", async () => {
    const { holder } = await exportSnapshot(server.access(), soon());
    try {
      const truncate = server.sql("SET lock_timeout = '50ms'; TRUNCATE orders");
      await assert.rejects(truncate, { code: "55P03" });
      // Reading and writing go on.
      await server.sql("BEGIN; UPDATE orders SET note = 'meanwhile' WHERE id = 1; ROLLBACK");
    } finally {
      await end(holder);
    }
    await server.sql("SET lock_timeout = '50ms'; BEGIN; TRUNCATE orders; ROLLBACK");
  });

  it("is never read with rows left out by row security: that is an error [finding 5]", async () => {
    await server.cluster.administer(
      `CREATE TABLE public.hidden (a int); INSERT INTO public.hidden VALUES (1), (2);
       ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY; ALTER TABLE public.hidden OWNER TO stranger;
       GRANT SELECT ON public.hidden TO master; CREATE POLICY one ON public.hidden USING (a = 1)`,
      "shop",
    );
    const sessions = await readingSessions(server.access(), "shop");
    try {
      assert.deepEqual(await server.sql("SELECT count(*)::int FROM hidden"), [{ count: 1 }]);
      await assert.rejects(readContents(sessions), /row-level security policy for table "hidden"/);
    } finally {
      await Promise.all(sessions.map(end));
      await server.cluster.administer("DROP TABLE public.hidden", "shop");
    }
  });

  it("needs no right to read all data: large objects are read as their owners may [finding 34]", async () => {
    const large = async (): Promise<unknown> => {
      const sessions = await readingSessions(server.access(), "shop");
      try {
        return (await readContents(sessions)).largeObjects;
      } finally {
        await Promise.all(sessions.map(end));
      }
    };
    // More than is read at a time, with a gap before its end.
    await server.sql("SELECT lo_from_bytea(70001, repeat('x', 1500000)::bytea), lo_put(70001, 2500000, 'end')");
    const readsAll = "pg_read_all_data FROM rds_superuser";
    if (server.version >= 140_000) await server.cluster.administer(`REVOKE ${readsAll}`);
    const before = await large();
    await server.sql("SELECT lo_put(70001, 1400000, 'y')");
    assert.notDeepEqual(await large(), before);
    await server.sql("SELECT lo_put(70001, 1400000, 'x')");
    assert.deepEqual(await large(), before);
  });

  describe("of a database with time-outs of its own, whose sequences move meanwhile,", () => {
    const vault = new MemoryVault();
    let earlier: number;
    let made: ProtectedDatabase;
    let staged: StagedDatabase;

    before(async () => {
      for (const each of ["statement_timeout = '1s'", "idle_in_transaction_session_timeout = '1ms'"])
        await server.sql(`ALTER DATABASE shop SET ${each}`, "postgres");
      const access = server.access();
      let over = false;
      earlier = await numbers();
      const busy = withConnection(access, "shop", async (client) => {
        while (!over) await client.query("SELECT nextval('public.orders_id_seq')");
      });
      made = await protectDatabase(access, { deadline: soon(), vault: vault.put }).finally(() => (over = true));
      await busy;
      staged = await stageDatabase(access, { deadline: soon(), protected: made, dump: vault.get });
    });

    /** How far the numbers of orders have come. */
    async function numbers(database = "shop"): Promise<number> {
      return lastOrder(await withConnection(server.access(), database, readSequences));
    }

    const lastOrder = (sequences: Readonly<Record<string, string>>): number =>
      Number.parseInt(sequences["public.orders_id_seq"] ?? "");

    it("is read to its end, and has the values that the dump has [finding 23] [finding 45]", async () => {
      const dumped = lastOrder(made.fingerprint.sequences);
      assert.ok(dumped > earlier, `${earlier} became ${dumped}`);
      assert.ok(dumped <= (await numbers()));
      assert.equal(await numbers(staged.database), dumped);
    });

    it("is restored with pages that all see, and statistics of all tables [finding 40] [finding 41]", async () => {
      // From 16 on a table grows by more pages than are filled.
      const counts = ["customers", "orders", "parts_1"].map(
        (table) =>
          `SELECT '${table}' AS name, (SELECT count(DISTINCT split_part(ctid::text, ',', 1)) FROM ${table}) AS filled,
                  (SELECT relallvisible FROM pg_class WHERE relname = '${table}') AS visible`,
      );
      const pages = await server.sql(counts.join(" UNION ALL "), staged.database);
      // To 13 the server freezes the rows of a COPY all the same, but leaves it to VACUUM to mark their pages.
      for (const { name, filled, visible } of server.version < 140_000 ? [] : pages)
        assert.equal(Number(visible), Number(filled), String(name));
      assert.ok(pages.every(({ filled }) => Number(filled) > 0));
      const known = await server.sql(
        "SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = 'public' ORDER BY 1",
        staged.database,
      );
      assert.deepEqual(
        known.map(({ tablename }) => tablename),
        ["customers", "orders", "parts", "parts_1"],
      );
    });

    it("is restored as an equal database", async () => {
      await proveDatabase(server.access(), { deadline: soon(), protected: made, staged });
    });
  });
});
