import * as assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { type AdminSession, openAdmin, swapAll, type SwapPair } from "../../../jobs/database";
import { soon, startServer, type TestServer } from "./cluster";
import { createShop, prepare, putBack } from "./fixture";

describe("several databases", function () {
  const servers: TestServer[] = [];
  /** Of the first server, two; of the second one, one. */
  const pairs: SwapPair[][] = [];
  let sessions: AdminSession[];

  before(async () => {
    servers.push(...(await Promise.all([startServer(), startServer()])));
    await server(0).sql("CREATE DATABASE library", "postgres");
    await createShop(server(0), "library");
    for (const each of servers) await createShop(each);
    const [shop, library, other] = [
      await prepare(server(0)),
      await prepare(server(0), "library"),
      await prepare(server(1)),
    ];
    pairs.push([shop.pair, library.pair], [other.pair]);
  });
  beforeEach(async () => {
    sessions = await Promise.all(servers.map((each) => openAdmin([each.access({ job: "guard" })])));
  });
  afterEach(async () => {
    await Promise.all(sessions.map((session) => session.close()));
    for (const [index, each] of pairs.entries()) {
      for (const [at, pair] of each.entries()) each[at] = { ...pair, ...(await putBack(server(index), pair)) };
    }
  });
  after(() => Promise.all(servers.map((each) => each.close())));

  function server(index: number): TestServer {
    const found = servers[index];
    assert.ok(found !== undefined);
    return found;
  }
  const swaps = () => sessions.map((session, index) => ({ session, pairs: pairs[index] ?? [] }));
  const swapped = () =>
    Promise.all(swaps().flatMap(({ session, pairs: of }) => of.map((pair) => session.isSwapped([pair], soon()))));

  it("of one server are exchanged in one transaction [finding 10]", async () => {
    const [first, second] = pairs[0] ?? [];
    assert.ok(first !== undefined && second !== undefined);
    await sessions[0]?.swap([first, second], soon());
    const written = await server(0).sql(
      `SELECT count(DISTINCT xmin::text)::int AS transactions, count(*)::int AS databases FROM pg_database
        WHERE oid IN (${[first, second].flatMap(({ liveOid, staged }) => [liveOid, staged.oid]).join()})`,
      "postgres",
    );
    assert.deepEqual(written, [{ transactions: 1, databases: 4 }]);
  });

  it("of one server stay as they are when the seal of one of them is broken [finding 10]", async () => {
    const [first, second] = pairs[0] ?? [];
    assert.ok(first !== undefined && second !== undefined);
    const broken = { ...second, seal: "another" };
    await assert.rejects(sessions[0]?.swap([first, broken], soon(5)) ?? Promise.resolve(), /library.* is broken/);
    assert.deepEqual(await swapped(), [false, false, false]);
  });

  it("of several servers are exchanged together", async () => {
    await swapAll(swaps(), soon());
    assert.deepEqual(await swapped(), [true, true, true]);
  });

  it("of several servers stay as they are when one of the servers cannot, and go on when it can", async () => {
    const blocker = server(1)
      .cluster.administer("SELECT pg_sleep(30)", "shop")
      .catch(() => undefined);
    const sleeping = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND usename = 'rdsadmin'";
    while ((await server(1).sql(sleeping, "postgres")).length === 0) await pause(10);
    await assert.rejects(swapAll(swaps(), soon(2)), /nothing was exchanged here|still in use by client backend/);
    assert.deepEqual(await swapped(), [false, false, false]);
    await server(1).cluster.administer(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()",
    );
    await blocker;
    await swapAll(swaps(), soon());
    assert.deepEqual(await swapped(), [true, true, true]);
  });

  it("of several servers are finished by the next healer when one commit came through and another did not", async () => {
    await sessions[0]?.swap(pairs[0] ?? [], soon());
    const results = await swapAll(swaps(), soon());
    assert.deepEqual(
      results.map(({ resumed }) => resumed),
      [true, false],
    );
    assert.deepEqual(await swapped(), [true, true, true]);
  });
});
