import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { Client } from "pg";
import {
  freezeWrites,
  openAdmin,
  preflight,
  protectDatabase,
  proveDatabase,
  stageDatabase,
  thawWrites,
} from "../../../jobs/database";
import { evidenceDatabase } from "../../../run/ids";
import { run, soon, startServer, type TestServer } from "./cluster";
import { createShop, MemoryVault } from "./fixture";

describe("a database whose users are kept from writing", function () {
  let server: TestServer;
  const open: Client[] = [];
  const access = () => server.access({ writes: "freeze" });

  before(async () => {
    server = await startServer();
    await createShop(server);
    await server.sql("CREATE ROLE app LOGIN PASSWORD 'app'; GRANT ALL ON ALL TABLES IN SCHEMA public TO app");
  });

  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.end().catch(() => undefined)));
    await thawWrites(access(), { deadline: soon() });
  });

  after(() => server?.close());

  /** A session of the application's role. */
  async function user(options = ""): Promise<Client> {
    const ssl = { ca: fs.readFileSync(server.caFile, "utf8") };
    const login = { host: server.address, user: "app", password: "app", database: "shop" };
    const client = new Client({ ...login, ssl, ...(options === "" ? {} : { options }) });
    client.on("error", () => undefined);
    await client.connect();
    open.push(client);
    return client;
  }

  const write = (client: Client) => client.query("UPDATE customers SET name = name WHERE id = 1");
  const settings = () =>
    server.sql(
      `SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
        WHERE datname = 'shop' ORDER BY 1`,
      "postgres",
    );

  it("ends the sessions that could write on, and lets new ones only read [finding 46]", async () => {
    const early = await user();
    await early.query("BEGIN; UPDATE customers SET name = 'unfinished' WHERE id = 2");
    const { sessionsEnded, exempt } = await freezeWrites(access(), { deadline: soon() });
    assert.deepEqual({ sessionsEnded, exempt }, { sessionsEnded: 1, exempt: ["master"] });
    await assert.rejects(early.query("SELECT 1"));
    const late = await user();
    assert.equal((await late.query("SELECT FROM customers WHERE name = 'unfinished'")).rowCount, 0);
    await assert.rejects(write(late), { code: "25006" });
  });

  it("lets the deploy write, which works as the master", async () => {
    await freezeWrites(access(), { deadline: soon() });
    await server.sql("ALTER TABLE audit ADD deployed int");
    await server.sql("ALTER TABLE audit DROP deployed");
  });

  it("lets a deploy of another role write, when it says so", async () => {
    await freezeWrites(access(), { deadline: soon() });
    await write(await user("-c default_transaction_read_only=off"));
  });

  it("is only advised: a session that switches it off writes on [finding 46]", async () => {
    await freezeWrites(access(), { deadline: soon() });
    const stubborn = await user();
    await stubborn.query("BEGIN READ WRITE");
    await write(stubborn);
    await stubborn.query("COMMIT; SET default_transaction_read_only = off");
    await write(stubborn);
  });

  it("names sessions of the master's role, which it does not stop", async () => {
    const session = await server.client();
    open.push(session);
    await freezeWrites(access(), { deadline: soon() });
    assert.match(server.lines.join("\n"), /session \d+ of master \(test\) is not frozen/);
    await session.query("SELECT 1");
  });

  it("takes writes again after the thaw, with settings as before, and as often as it is asked", async () => {
    const before = await settings();
    await freezeWrites(access(), { deadline: soon() });
    await freezeWrites(access(), { deadline: soon() });
    const frozen = await user();
    const { sessionsEnded } = await thawWrites(access(), { deadline: soon() });
    assert.equal(sessionsEnded, 1);
    await assert.rejects(frozen.query("SELECT 1"));
    await write(await user());
    assert.deepEqual(await settings(), before);
    assert.deepEqual(await thawWrites(access(), { deadline: soon() }), { sessionsEnded: 0 });
  });

  it("is thawed to its end after a thaw, or a freeze, that was interrupted anywhere", async () => {
    const before = await settings();
    // A freeze that set the exception only; a thaw that reset the database only.
    await server.sql("ALTER ROLE master IN DATABASE shop SET default_transaction_read_only = off", "postgres");
    const session = await user();
    await thawWrites(access(), { deadline: soon() });
    await assert.rejects(session.query("SELECT 1"));
    assert.deepEqual(await settings(), before);
  });

  it("is thawed by its OID, under whatever name, and not at all when it is gone", async () => {
    const [row] = await server.sql("SELECT oid::int FROM pg_database WHERE datname = 'shop'", "postgres");
    await freezeWrites(access(), { deadline: soon() });
    await server.sql("ALTER DATABASE shop RENAME TO elsewhere", "postgres");
    await thawWrites(access(), { oid: Number(row?.oid), deadline: soon() });
    await server.sql("ALTER DATABASE elsewhere RENAME TO shop", "postgres");
    await write(await user());
    assert.deepEqual(await thawWrites(access(), { oid: 1, deadline: soon() }), { sessionsEnded: 0 });
  });

  it("does not keep a later run from noticing that it was left frozen", async () => {
    await freezeWrites(access(), { deadline: soon() });
    const codes = (await preflight(server.access())).map(({ code }) => code);
    assert.ok(codes.includes("still-frozen"), codes.join());
    assert.ok(!(await preflight(access())).some(({ code }) => code === "read-only-default"));
  });

  it("is healed by a database that never was frozen [finding 46]", async () => {
    const before = await settings();
    await freezeWrites(access(), { deadline: soon() });
    const vault = new MemoryVault();
    const made = await protectDatabase(access(), { deadline: soon(), vault: vault.put });
    const staged = await stageDatabase(access(), { deadline: soon(), protected: made, dump: vault.get });
    const { seal } = await proveDatabase(access(), { deadline: soon(), protected: made, staged });
    const admin = await openAdmin([server.access({ writes: "freeze", job: "guard" })]);
    try {
      const pair = { database: "shop", liveOid: made.oid, staged, seal, evidence: evidenceDatabase("shop", run) };
      await admin.swap([pair], soon());
      await thawWrites(access(), { deadline: soon() });
      await write(await user());
      assert.deepEqual(await settings(), before);
    } finally {
      await admin.close();
    }
  });
});
