import * as assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import pg, { type Client } from "pg";
import { type AdminSession, connect, openAdmin, proveDatabase, type SwapPair } from "../../../jobs/database";
import { soon, startServer, type TestServer } from "./cluster";
import { createShop, LiveClients, prepare, putBack, restage, type Prepared } from "./fixture";

describe("the cut-over of a database", function () {
  let server: TestServer;
  let admin: AdminSession;
  let prepared: Prepared;
  let pair: SwapPair;

  before(async () => {
    server = await startServer({ max_prepared_transactions: "5", max_connections: "40" });
    await createShop(server);
    prepared = await prepare(server);
    // The failed release.
    await server.sql("UPDATE customers SET name = 'wrong'; DROP TABLE audit; CREATE TABLE addition (id int)");
  });
  beforeEach(async () => {
    pair = prepared.pair;
    admin = await openAdmin([server.access({ job: "guard" })]);
  });
  afterEach(async () => {
    await admin.close();
    prepared = { ...prepared, pair: { ...prepared.pair, ...(await putBack(server, prepared.pair)) } };
  });
  after(() => server?.close());

  /** For a test that leaves a staged database that is none any more. */
  async function spoiled(): Promise<void> {
    for (const name of ["shop_staged_1b9d6bcd", "shop_other", "shop_copy"]) {
      await server.sql(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`, "postgres");
    }
    prepared = await restage(server, prepared);
  }

  const names = async (): Promise<Record<string, string>> => {
    const rows = await server.sql("SELECT oid::int, datname FROM pg_database WHERE datname LIKE 'shop%'", "postgres");
    return Object.fromEntries(rows.map(({ oid, datname }) => [String(oid), String(datname)]));
  };
  const swappedNames = () => ({ [pair.liveOid]: "shop_failed_1b9d6bcd", [pair.staged.oid]: "shop" });

  it("puts back what was there, keeps the failed database, and tells what was undone", async () => {
    const swapped = await admin.swap([pair], soon());
    assert.equal(swapped.resumed, false);
    assert.deepEqual(await names(), swappedNames());
    assert.equal(await admin.isSwapped([pair], soon()), true);
    const [row] = await server.sql("SELECT count(*)::int AS wrong FROM customers WHERE name = 'wrong'");
    assert.equal(row?.wrong, 0);
    const settings = await server.sql("SELECT current_setting('statement_timeout') AS timeout");
    assert.deepEqual(settings, [{ timeout: "1min" }]);
    await assert.rejects(server.client(pair.evidence), /not currently accepting connections/);
    const { tables } = await admin.undone(pair, prepared.protected, soon());
    assert.deepEqual(
      tables.map(({ table, change }) => `${table} ${change}`),
      ["public.addition added", "public.audit removed", "public.customers changed"],
    );
    await assert.rejects(server.client(pair.evidence), /not currently accepting connections/);
  });

  it("lets clients go on that connect again after the three errors of a cut-over [finding 16]", async () => {
    const clients = new LiveClients(server, 8);
    await clients.more(50);
    await admin.fence([pair], soon());
    await admin.swap([pair], soon());
    await clients.more(50);
    await clients.stop();
    assert.deepEqual(await names(), swappedNames());
    // The last two are what the client library says of a connection that was ended between two queries.
    const allowed = /^(57P01|55000|3D000|ECONNRESET|EPIPE|Connection terminated.*|Client has encountered.*)$/;
    assert.deepEqual(
      [...clients.errors].filter((code) => !allowed.test(code)),
      [],
    );
  });

  it("works when the application holds every connection [finding 15]", async () => {
    const clients: Client[] = [];
    for (;;) {
      try {
        clients.push(await server.client());
      } catch (error) {
        assert.match((error as Error).message, /remaining connection slots|too many clients/);
        break;
      }
    }
    const { sessionsEnded } = await admin.fence([pair], soon());
    assert.equal(sessionsEnded, clients.length);
    await admin.swap([pair], soon());
    assert.deepEqual(await names(), swappedNames());
    await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
  });

  it("is done once, however often it is asked for", async () => {
    await admin.swap([pair], soon());
    const again = await admin.swap([pair], soon());
    assert.deepEqual({ ...again, at: "" }, { at: "", milliseconds: 0, resumed: true });
  });

  it("is found done by a healer that comes after one whose last answer was lost [finding 18]", async () => {
    await admin.swap([pair], soon());
    await admin.close();
    admin = await openAdmin([server.access({ job: "rescue" })]);
    assert.equal(await admin.isSwapped([pair], soon()), true);
    assert.equal((await admin.swap([pair], soon())).resumed, true);
  });

  it("is taken up by another healer after the fence", async () => {
    await admin.fence([pair], soon());
    await admin.close();
    await assert.rejects(server.client(), /not currently accepting connections/);
    admin = await openAdmin([server.access({ job: "rescue" })]);
    assert.equal(await admin.isSwapped([pair], soon()), false);
    await admin.swap([pair], soon());
    assert.deepEqual(await names(), swappedNames());
  });

  it("survives the end of its own connection at any moment", async () => {
    let stopped = false;
    const kill = async (): Promise<void> => {
      const killer = await server.client("postgres");
      while (!stopped) {
        await killer.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%:guard:%'",
        );
        await pause(7);
      }
      await killer.end();
    };
    const killing = kill();
    const swap = admin.swap([pair], soon());
    await pause(500);
    stopped = true;
    await Promise.all([swap, killing]);
    assert.deepEqual(await names(), swappedNames());
    await server.sql("SELECT 1");
  });

  it("is finished by the next healer, whichever statement was the last of the one before [finding 18]", async () => {
    const { query } = pg.Client.prototype as unknown as { query: (...args: unknown[]) => Promise<unknown> };
    let finished = false;
    let statements = 0;
    for (let last = 1; !finished; last++) {
      const healer = await openAdmin([server.access({ job: "guard" })]);
      let left = last;
      pg.Client.prototype.query = function (this: Client, ...args: unknown[]) {
        return left-- > 0 ? query.apply(this, args) : Promise.reject(new Error("this healer has died"));
      } as typeof pg.Client.prototype.query;
      const swapping = healer.fence([pair], soon()).then(() => healer.swap([pair], soon()));
      finished = await swapping.then(
        () => true,
        (error: Error) => {
          assert.match(error.message, /has died/);
          return false;
        },
      );
      pg.Client.prototype.query = query as typeof pg.Client.prototype.query;
      await healer.close();
      await admin.swap([pair], soon());
      assert.deepEqual(await names(), swappedNames());
      pair = { ...pair, ...(await putBack(server, pair)) };
      statements = last;
    }
    assert.ok(statements > 20, `an exchange has only ${statements} statements`);
  });

  it("opens the live database again when nothing is healed after all", async () => {
    await admin.fence([pair], soon());
    await admin.unfence([pair], soon());
    await server.sql("SELECT 1");
  });

  it("rolls back a prepared transaction that the release has left [finding 12]", async () => {
    await server.sql("BEGIN; DELETE FROM orders; PREPARE TRANSACTION 'left';");
    await admin.swap([pair], soon());
    assert.deepEqual(await names(), swappedNames());
    assert.match(server.lines.join("\n"), /rolled back the prepared transaction left of master/);
  });

  it("names the session that it cannot end, and stays closed with every name as it was [finding 9] [finding 11] [finding 19]", async () => {
    const superuser = server.cluster.administer("SELECT pg_sleep(20)", "shop").catch(() => undefined);
    while (
      (
        await server.sql(
          "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND usename = 'rdsadmin'",
          "postgres",
        )
      ).length === 0
    ) {
      await pause(10);
    }
    await assert.rejects(
      admin.swap([pair], soon(1)),
      /could not put the staged database in the place of shop until .*: still in use by client backend \d+ of rdsadmin/,
    );
    assert.deepEqual(await names(), { [pair.liveOid]: "shop", [pair.staged.oid]: "shop_staged_1b9d6bcd" });
    await assert.rejects(server.client("shop"), /not currently accepting connections/);
    await server.cluster.administer(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()",
    );
    await superuser;
  });

  it("ends a transaction that holds the database's own row [finding 14]", async () => {
    const holder = await server.client();
    await holder.query("BEGIN; COMMENT ON DATABASE shop IS 'x'; GRANT CONNECT ON DATABASE shop TO rds_superuser");
    await admin.swap([pair], soon());
    assert.deepEqual(await names(), swappedNames());
    await holder.end().catch(() => undefined);
  });

  const tamper: Record<string, string[]> = {
    "a row of it was altered and it was closed again": [
      "ALTER DATABASE shop_staged_1b9d6bcd ALLOW_CONNECTIONS true",
      "UPDATE orders SET note = 'altered' WHERE id = 1",
      "ALTER DATABASE shop_staged_1b9d6bcd ALLOW_CONNECTIONS false",
    ],
    "it was opened": ["ALTER DATABASE shop_staged_1b9d6bcd ALLOW_CONNECTIONS true"],
    "a setting of it was changed": ["ALTER DATABASE shop_staged_1b9d6bcd SET work_mem = '1MB'"],
    "it was renamed": ["ALTER DATABASE shop_staged_1b9d6bcd RENAME TO shop_other"],
    "it was dropped": ["DROP DATABASE shop_staged_1b9d6bcd"],
    "another one took its place": [
      "CREATE DATABASE shop_copy TEMPLATE shop_staged_1b9d6bcd",
      "DROP DATABASE shop_staged_1b9d6bcd",
      "ALTER DATABASE shop_copy RENAME TO shop_staged_1b9d6bcd",
      "ALTER DATABASE shop_staged_1b9d6bcd ALLOW_CONNECTIONS false",
    ],
  };
  for (const [what, statements] of Object.entries(tamper)) {
    it(`is refused, before the ticket and at the swap, when ${what} [finding 6]`, async () => {
      await admin.checkSeal([pair], soon());
      for (const sql of statements) {
        await server.sql(sql, sql.startsWith("UPDATE") ? pair.staged.database : "postgres");
      }
      await assert.rejects(admin.checkSeal([pair], soon()), /staged database shop_staged_1b9d6bcd/);
      await assert.rejects(admin.swap([pair], soon(5)), /seal of .* is broken|nothing was changed/);
      assert.equal((await names())[pair.liveOid], "shop");
      await spoiled();
    });
  }

  it("is refused as well when it was opened while its rows were being compared [finding 6]", async () => {
    const { staged, protected: made } = prepared;
    let over = false;
    const proving = proveDatabase(server.access(), { deadline: soon(), protected: made, staged }).finally(() => {
      over = true;
    });
    const closed = "SELECT 1 FROM pg_database WHERE NOT datallowconn AND datname = 'shop_staged_1b9d6bcd'";
    const open = `ALTER DATABASE ${staged.database} ALLOW_CONNECTIONS`;
    await server.sql(`${open} true`, "postgres");
    while (!over && (await server.sql(closed, "postgres")).length === 0) await pause(1);
    await server.sql(`${open} true`, "postgres");
    await server.sql(`${open} false`, "postgres");
    const proven = await proving.catch((error: Error) => error);
    // Whichever came first: the proof fails, or the seal that it gave does not hold.
    if (proven instanceof Error) assert.match(proven.message, /opened or altered|is closed|not equal/);
    else await assert.rejects(admin.checkSeal([{ ...pair, seal: proven.seal }], soon()), /opened or altered/);
    await spoiled();
  });

  it("keeps its seal through autovacuum's work on the server", async () => {
    await server.cluster.administer("VACUUM FREEZE pg_database");
    await admin.checkSeal([pair], soon());
  });

  it("removes the staged database of a healthy run, and nothing else", async () => {
    await admin.discardStaged(pair.staged, soon());
    await admin.discardStaged(pair.staged, soon());
    assert.deepEqual(await names(), { [pair.liveOid]: "shop" });
    await spoiled();
  });

  it("never drops a staged database that went live", async () => {
    await admin.swap([pair], soon());
    await assert.rejects(admin.discardStaged(pair.staged, soon()), /bears the name shop .*it was not dropped/);
    assert.deepEqual(await names(), swappedNames());
  });

  it("tells which roles changed, which no healing of a database undoes [finding 27]", async () => {
    await server.sql("CREATE ROLE newcomer; ALTER ROLE newcomer SET work_mem = '3MB'; GRANT pg_monitor TO newcomer");
    await server.sql("CREATE DATABASE another", "postgres");
    const all = await admin.notUndone(prepared.protected.roles ?? {}, soon());
    // From 16 on who makes a role becomes its administrator.
    const [administrator, ...others] =
      server.version < 160_000 ? [undefined, ...all] : [all[1], all[0], ...all.slice(2)];
    assert.deepEqual(others, ["database another was added", "role newcomer was added"]);
    if (server.version >= 160_000)
      assert.match(administrator ?? "", /^role master was changed: .*"role":"newcomer",.*"admin_option":true/);
    const before = { ...prepared.protected.roles, "role newcomer": '{"member of":null}' };
    const told = await admin.notUndone(before, soon());
    assert.match(told.join(), /role newcomer was changed: .*member of was null and is \[\{.*"pg_monitor"/);
  });

  it("ends what earlier jobs of the run have left connected [finding 44]", async () => {
    const left = await connect(server.access({ job: "wait" }));
    await admin.ready(soon());
    await assert.rejects(left.query("SELECT 1"));
  });
});
