import * as assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { protectDatabase, proveDatabase, stageDatabase } from "../../../jobs/database";
import type { ProtectedDatabase } from "../../../jobs/database/types";
import { soon, startServer, type TestServer } from "./cluster";
import { createShop, MemoryVault } from "./fixture";

describe("the stream between a database and its vault", function () {
  let server: TestServer;
  let made: ProtectedDatabase;
  const vault = new MemoryVault();

  before(async () => {
    server = await startServer();
    await createShop(server);
    // More than the pipes between pg_dump and the vault hold.
    await server.sql(`
      CREATE TABLE bulk AS SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 50000) g;
      CREATE INDEX ON customers (upper(name));
      CREATE TABLE visits (at date NOT NULL, page text) PARTITION BY RANGE (at);
      CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
      INSERT INTO visits SELECT date '2026-01-01' + g % 300, 'page ' || g FROM generate_series(1, 2000) g;
      ANALYZE`);
    made = await protectDatabase(server.access(), { deadline: soon(), vault: vault.put });
  });

  after(() => server.close());

  const protect = (put: (dump: Readable) => Promise<{ recoveryPoint: string }>, deadline = soon()) =>
    protectDatabase(server.access(), { deadline, vault: put });
  const stage = (dump: () => Promise<Readable>, like = made) =>
    stageDatabase(server.access(), { deadline: soon(), protected: like, dump });

  /** Databases and sessions that are not the shop's or the server's own. */
  async function leftBehind(): Promise<unknown[]> {
    return [
      ...(await server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'shop\\_%'", "postgres")),
      ...(await server.sql("SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'protected%'")),
      ...(await holdUps()),
    ];
  }

  /** What would stand in a deploy's way: locks on tables, and snapshots that keep the rows of before. */
  function holdUps(): Promise<unknown[]> {
    return server.sql(
      `SELECT 'lock', relation::text FROM pg_locks WHERE relation > 16384
       UNION ALL SELECT 'snapshot', pid::text FROM pg_stat_activity
        WHERE backend_xmin IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
       UNION ALL SELECT 'transaction', gid FROM pg_prepared_xacts`,
      "postgres",
    );
  }

  it("is measured as the vault has it", () => {
    const bytes = Buffer.concat(vault.stored);
    assert.equal(made.bytes, bytes.length);
    assert.equal(made.sha256, createHash("sha256").update(bytes).digest("hex"));
  });

  it("leaves no session, lock or scratch database behind [finding 44]", async () => {
    assert.deepEqual(await leftBehind(), []);
  });

  it("ends with an error, and makes no recovery point, when pg_dump is ended", async () => {
    let heard: unknown;
    const failing = protect(async (dump) => {
      await server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY public.bulk%'");
      try {
        for await (const chunk of dump) void chunk;
      } catch (error) {
        heard = error;
        throw error;
      }
      return { recoveryPoint: "rp-of-nothing" };
    });
    await assert.rejects(failing, /pg_dump failed \(exit code 1\).*"bulk" failed/s);
    assert.ok(heard instanceof Error, "the vault saw a stream that ended well");
    assert.deepEqual(await leftBehind(), []);
  });

  it("holds pg_dump back while the vault stands still: nothing piles up between them", async () => {
    const looks = 20;
    let waiting = 0;
    await protect(async (dump) => {
      const chunks = dump[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
      await chunks.next();
      const deadline = soon().getTime();
      while (waiting < looks && Date.now() < deadline) {
        const held = await server.sql(
          "SELECT FROM pg_stat_activity WHERE query LIKE 'COPY public.bulk%' AND wait_event = 'ClientWrite'",
        );
        waiting = held.length === 1 ? waiting + 1 : 0;
      }
      while ((await chunks.next()).done !== true);
      return { recoveryPoint: "rp-of-a-slow-vault" };
    });
    assert.equal(waiting, looks, "pg_dump went on");
  });

  it("fails with the vault's own words when the vault fails", async () => {
    await assert.rejects(
      protect(async (dump) => {
        dump.resume();
        throw new Error("the vault is full");
      }),
      /the vault is full/,
    );
    assert.deepEqual(await leftBehind(), []);
  });

  it("does not believe a vault that has not read everything", async () => {
    await assert.rejects(
      protect(async () => ({ recoveryPoint: "rp-too-soon" })),
      /rp-too-soon is complete, but it did not read the dump to its end/,
    );
  });

  it("does not believe a vault that names no recovery point", async () => {
    await assert.rejects(
      protect(async (dump) => {
        for await (const chunk of dump) void chunk;
        return { recoveryPoint: "" };
      }),
      /names no recovery point/,
    );
  });

  it("is given up at the deadline when the vault never answers [finding 44]", async () => {
    await assert.rejects(
      protect(() => new Promise(() => undefined), new Date(Date.now() + 3_000)),
      /deadline/,
    );
    assert.deepEqual(await leftBehind(), []);
  });

  it("refuses a database that is locked, instead of waiting for ever [finding 44]", async () => {
    const blocker = await server.client();
    await blocker.query("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE");
    try {
      await assert.rejects(protect(vault.put), /lock timeout/);
    } finally {
      await blocker.end();
    }
  });

  const damages: Record<string, (bytes: Buffer) => Buffer> = {
    "cut within its data": (bytes) => bytes.subarray(0, bytes.length - 10_000),
    "cut by one byte": (bytes) => bytes.subarray(0, bytes.length - 1),
    "cut within its table of contents": (bytes) => bytes.subarray(0, 2_000),
    empty: () => Buffer.alloc(0),
    "altered in one byte": (bytes) => {
      const copy = Buffer.from(bytes);
      copy[copy.length - 5_000] = (copy[copy.length - 5_000] ?? 0) ^ 1;
      return copy;
    },
    longer: (bytes) => Buffer.concat([bytes, Buffer.from("more")]),
  };
  for (const [what, damage] of Object.entries(damages)) {
    it(`is refused when it comes back ${what}, and nothing staged is left [finding 8]`, async () => {
      await assert.rejects(stage(vault.altered(damage)), /rp-1 is not what was stored/);
      assert.deepEqual(await leftBehind(), []);
    });
  }

  it("is refused when it breaks off with an error", async () => {
    const broken = async (): Promise<Readable> => {
      const stream = await vault.get();
      stream.destroy(new Error("the vault hung up"));
      return stream;
    };
    await assert.rejects(stage(broken), /the vault hung up/);
    assert.deepEqual(await leftBehind(), []);
  });

  it("is not restored beside another database than the protected one", async () => {
    await assert.rejects(stage(vault.get, { ...made, oid: 1 }), /is another one/);
  });

  it("is not restored over a database of the same name that is not this run's", async () => {
    await server.sql("CREATE DATABASE shop_staged_1b9d6bcd", "postgres");
    await server.sql("CREATE TABLE precious (id int)", "shop_staged_1b9d6bcd");
    await assert.rejects(stage(vault.get), /exists on .*, and it is not this run's/);
    assert.deepEqual(await server.sql("SELECT * FROM precious", "shop_staged_1b9d6bcd"), []);
    await server.sql("DROP DATABASE shop_staged_1b9d6bcd", "postgres");
  });

  it("replaces what an interrupted attempt of the same run has left", async () => {
    const first = await stage(vault.get);
    const second = await stage(vault.get);
    assert.notEqual(second.oid, first.oid);
    const [row] = await server.sql("SELECT count(*)::int AS count FROM orders", second.database);
    assert.equal(row?.count, 3000);
  });

  it("ends in a database that is analyzed like the original, and nothing is in the deploy's way [finding 44]", async () => {
    const limits = { workers: 2 };
    const staged = await stageDatabase(server.access(), { deadline: soon(), protected: made, dump: vault.get, limits });
    const statistics = `SELECT schemaname, tablename, attname, inherited, null_frac, n_distinct < 0 AS distinct
      FROM pg_stats WHERE schemaname = 'public' ORDER BY 1, 2, 3, 4`;
    const known = await server.sql(statistics, staged.database);
    assert.deepEqual(known, await server.sql(statistics));
    assert.ok(
      known.some(({ tablename, inherited }) => tablename === "visits" && inherited === true),
      "none of the parent of partitions",
    );
    await proveDatabase(server.access(), { deadline: soon(), protected: made, staged, limits });
    assert.deepEqual(await holdUps(), []);
    assert.deepEqual(
      await server.sql("SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'protected%'"),
      [],
    );
  });

  describe("that is read twice, to load two tables at a time", () => {
    const limits = { workers: 2 };

    // One that is proven is nobody's to replace.
    beforeEach(() => server.sql("DROP DATABASE IF EXISTS shop_staged_1b9d6bcd", "postgres"));

    /** Reads the vault in so many ways, one after the other. */
    const readings = (...ways: (() => AsyncGenerator<Buffer>)[]): (() => Promise<Readable>) => {
      let next = 0;
      return async () => {
        const way = ways[next++];
        if (way === undefined) throw new Error("it is read once more");
        return Readable.from(way(), { objectMode: false });
      };
    };

    async function* whole(): AsyncGenerator<Buffer> {
      yield* vault.stored;
    }

    it("has every row once, though one reading stands still until the other one has loaded the rest", async () => {
      const ofBulk = Buffer.concat(vault.stored).indexOf(createHash("md5").update("25000").digest("hex"));
      assert.ok(ofBulk > 0);
      let others: string[] = [];
      async function* standing(): AsyncGenerator<Buffer> {
        const bytes = Buffer.concat(vault.stored);
        yield bytes.subarray(0, ofBulk);
        for (const deadline = soon(); others.length < 3 && new Date() < deadline; await pause(20)) {
          // Analyzed: it is loaded, and has its indexes. The table that is being loaded cannot be looked into.
          const rows = await server
            .sql(
              `SELECT relname FROM pg_class WHERE relname IN ('bulk', 'customers', 'orders', 'visits_2026')
                  AND reltuples > 0 ORDER BY 1`,
              "shop_staged_1b9d6bcd",
            )
            .catch(() => []);
          others = rows.map(({ relname }) => String(relname));
        }
        yield bytes.subarray(ofBulk);
      }
      const staged = await stageDatabase(server.access(), {
        deadline: soon(),
        protected: made,
        dump: readings(standing, whole),
        limits,
      });
      assert.deepEqual(others, ["customers", "orders", "visits_2026"]);
      await proveDatabase(server.access(), { deadline: soon(), protected: made, staged, limits });
    });

    for (const [which, order] of [
      ["first", [0, 1]],
      ["second", [1, 0]],
    ] as const) {
      it(`is refused when the ${which} reading is not what was stored`, async () => {
        async function* damaged(): AsyncGenerator<Buffer> {
          const bytes = Buffer.concat(vault.stored);
          // The dump goes on to be one, and loads.
          bytes.write("custoner", bytes.indexOf("customer 77"));
          yield bytes;
        }
        const ways = [damaged, whole] as const;
        await assert.rejects(
          stageDatabase(server.access(), {
            deadline: soon(),
            protected: made,
            dump: readings(ways[order[0]], ways[order[1]]),
            limits,
          }),
          /rp-1 is not what was stored/,
        );
        assert.deepEqual(await leftBehind(), []);
      });
    }
  });
});
