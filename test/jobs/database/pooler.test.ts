import * as assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { type AdminSession, openAdmin, type SwapPair } from "../../../jobs/database";
import { soon, startServer, type TestServer } from "./cluster";
import { createShop, prepare, putBack } from "./fixture";
import { findPgBouncer, startPgBouncer, type TestPooler } from "./pgbouncer";

describe("a database behind PgBouncer", function () {
  let server: TestServer | undefined;
  let pooler: TestPooler;
  let admin: AdminSession;
  let pair: SwapPair;

  before(async function () {
    const program = findPgBouncer();
    if (program === undefined && process.env.CI === undefined) {
      console.log("      skipped: pgbouncer is not installed on this machine");
      return this.skip();
    }
    assert.ok(program !== undefined, "pgbouncer is not installed, and CI has it");
    server = await startServer();
    await createShop(server);
    const prepared = await prepare(server);
    pooler = await startPgBouncer(program, server);
    pair = { ...prepared.pair, pooler: pooler.access };
  });
  beforeEach(async () => {
    admin = await openAdmin([running().access({ job: "guard" })]);
  });
  afterEach(async () => {
    await admin.close();
    pair = { ...pair, ...(await putBack(running(), pair)) };
  });
  after(async () => {
    await pooler?.close();
    await server?.close();
  });

  function running(): TestServer {
    assert.ok(server !== undefined);
    return server;
  }

  /** Clients that work all the time, each in a connection that it never opens anew. */
  async function crowd(size: number) {
    let stopped = false;
    let queries = 0;
    const work = async (): Promise<void> => {
      const client = await pooler.client();
      try {
        while (!stopped) {
          await client.query("SELECT count(*) FROM orders WHERE id < 10");
          queries++;
          await pause(1);
        }
      } finally {
        await client.end();
      }
    };
    const clients = Array.from({ length: size }, work);
    return {
      settled: async (): Promise<void> => {
        const before = queries;
        while (queries < before + 10 * size) await Promise.race([pause(5), ...clients]);
      },
      stop: async (): Promise<void> => {
        stopped = true;
        await Promise.all(clients);
      },
    };
  }

  it("is exchanged without an error of any client [finding 7]", async () => {
    const clients = await crowd(5);
    await clients.settled();
    await admin.fence([pair], soon());
    await admin.swap([pair], soon());
    await clients.settled();
    await clients.stop();
    assert.equal(await admin.isSwapped([pair], soon()), true);
    assert.match(running().lines.join("\n"), /is paused\n(.*\n)*.*goes on/);
  });

  it("keeps its clients' queries while it is closed, and answers them when it is opened after all", async () => {
    const client = await pooler.client();
    await client.query("SELECT 1");
    await admin.fence([pair], soon());
    let answered = false;
    const waiting = client.query("SELECT 1").then(() => (answered = true));
    await pause(100);
    assert.equal(answered, false);
    await admin.unfence([pair], soon());
    await waiting;
    await client.end();
  });

  it("ends a transaction that does not end by itself, and only that client sees an error", async () => {
    const idle = await pooler.client();
    await idle.query("BEGIN");
    const clients = await crowd(2);
    await clients.settled();
    await admin.swap([pair], soon());
    await clients.settled();
    await clients.stop();
    await assert.rejects(idle.query("SELECT 1"));
    await idle.end().catch(() => undefined);
    assert.match(running().lines.join("\n"), /some transactions did not end within 2 s/);
  });

  it("is resumed by the session that paused it, however that ends [finding 7]", async () => {
    const blocker = running()
      .cluster.administer("SELECT pg_sleep(20)", "shop")
      .catch(() => undefined);
    await untilSeen("pg_sleep(20)");
    await assert.rejects(admin.swap([pair], soon(1)), /still in use by client backend/);
    await admin.close();
    assert.deepEqual(await state(), { paused: 0, loginRetry: "15" });
    await running().cluster.administer(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()",
    );
    await blocker;
  });

  it("is resumed by the healer that comes after one that died", async () => {
    await admin.fence([pair], soon());
    const died = admin;
    admin = await openAdmin([running().access({ job: "rescue" })]);
    await admin.swap([pair], soon());
    const client = await pooler.client();
    await client.query("SELECT 1");
    await client.end();
    assert.deepEqual(await state(), { paused: 0, loginRetry: "15" });
    await died.close();
  });

  it("is exchanged all the same when its pooler does not answer", async () => {
    const deaf = { ...pooler.access, port: 1 };
    await admin.swap([{ ...pair, pooler: deaf }], new Date(Date.now() + 20_000));
    assert.equal(await admin.isSwapped([pair], soon()), true);
    assert.match(running().lines.join("\n"), /could not be paused .*; its clients will see errors/);
  });

  async function state(): Promise<{ paused: unknown; loginRetry: unknown }> {
    const databases = await pooler.console("SHOW DATABASES");
    const settings = await pooler.console("SHOW CONFIG");
    return {
      paused: databases.find(({ name }) => name === "pooled")?.paused,
      loginRetry: settings.find(({ key }) => key === "server_login_retry")?.value,
    };
  }

  async function untilSeen(query: string): Promise<void> {
    const watcher: Client = await running().client("postgres");
    const sql = "SELECT 1 FROM pg_stat_activity WHERE query LIKE $1 AND usename = 'rdsadmin'";
    while ((await watcher.query(sql, [`%${query}%`])).rows.length === 0) await pause(10);
    await watcher.end();
  }
});
