import assert from "node:assert/strict";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { Database } from "../../demo/app/database";
import { loadRelease } from "../../demo/app/release";
import { createShop } from "../../demo/app/shop";
import { isTransient } from "../../demo/app/transient";
import { master, startServer, type TestServer } from "../jobs/database/cluster";

const demo = path.resolve(__dirname, "../../demo");

/** Starts a server on a free port of the loopback address, and gives its URL. */
function listen(server: http.Server): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  });
}

describe("the shop", () => {
  let database: TestServer;
  /** Stands in for Secrets Manager; its answer is the application's secret. */
  let secrets: http.Server;
  let secret: Record<string, unknown>;
  let secretReads = 0;
  const environment = { ...process.env };
  const shops: http.Server[] = [];

  before(async () => {
    database = await startServer();
    await database.sql(
      `CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, note text, customer_id int, placed_at timestamptz, updated_at timestamptz);
       CREATE TABLE order_items (order_id bigint, line int, product_id int, quantity int, unit_cents int);
       CREATE TABLE products (id int, price_cents int);
       CREATE MATERIALIZED VIEW monthly_revenue AS SELECT 1234500 AS total_cents;
       INSERT INTO products VALUES (1, 100);
       INSERT INTO orders (note, placed_at) VALUES ('first', '2025-10-05')`,
    );
    secrets = http.createServer((request, response) => {
      request.resume();
      secretReads += 1;
      response.setHeader("content-type", "application/x-amz-json-1.1");
      response.end(JSON.stringify({ ARN: "arn", Name: "shop", SecretString: JSON.stringify(secret) }));
    });
    const endpoint = await listen(secrets);
    Object.assign(process.env, {
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "key",
      AWS_SECRET_ACCESS_KEY: "secret",
      APPLICATION_SECRET_ARN: "arn",
      PGSSLROOTCERT: database.caFile,
    });
  });
  beforeEach(() => {
    secret = { host: database.address, port: 5432, dbname: "shop", username: master.user, password: master.password };
  });
  afterEach(() => {
    for (const shop of shops.splice(0)) shop.close().closeAllConnections();
  });
  after(async () => {
    process.env = environment;
    secrets.close();
    await database.close();
  });

  async function open(folder = path.join(demo, "app", "shop")): Promise<string> {
    const shop = createShop(new Database(), loadRelease(folder));
    shops.push(shop);
    return listen(shop);
  }
  const get = async (url: string, method = "GET") => {
    const answer = await fetch(url, { method });
    return { status: answer.status, body: await answer.text() };
  };

  it("shows figures of the database and the release's version", async () => {
    const { status, body } = await get(await open());
    assert.equal(status, 200);
    assert.match(body, /Release 1\.0\.0/);
    assert.match(body, /<td>Last order<\/td><td>2025-10-05<\/td>/);
    assert.match(body, /<td>Revenue<\/td><td>12345<\/td>/);
  });

  it("is healthy when it can read and write, and leaves the database as it was", async () => {
    const before = await database.sql("SELECT * FROM orders");
    assert.deepEqual(await get(`${await open()}/health`), { status: 200, body: '{"status":"ok","version":"1.0.0"}\n' });
    assert.deepEqual(await database.sql("SELECT * FROM orders"), before);
  });

  it("takes orders", async () => {
    const { status, body } = await get(`${await open()}/orders`, "POST");
    assert.equal(status, 201);
    const { id } = JSON.parse(body) as { id: string };
    const items = await database.sql(`SELECT unit_cents FROM order_items WHERE order_id = ${id}`);
    assert.deepEqual(items, [{ unit_cents: 100 }]);
  });

  it("answers 500 when the release's queries do not fit the database, and says nothing of it to visitors", async () => {
    const { status, body } = await get(`${await open(path.join(demo, "releases", "bad", "application"))}/health`);
    assert.equal(status, 500);
    assert.deepEqual(JSON.parse(body), { error: "the database cannot answer", version: "2.0.0" });
  });

  it("does not notice that its connections are ended and the database is exchanged by renames", async () => {
    const url = `${await open()}/health`;
    assert.equal((await get(url)).status, 200);
    await database.sql("CREATE DATABASE staged", "postgres");
    await database.sql("CREATE TABLE orders (id bigint, note text); INSERT INTO orders VALUES (7, 'staged')", "staged");
    const end =
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('shop', 'staged') AND backend_type = 'client backend'";
    await database.sql("ALTER DATABASE shop WITH ALLOW_CONNECTIONS false", "postgres");
    await database.sql(end, "postgres");
    const answer = get(url);
    await database.sql("ALTER DATABASE shop RENAME TO shop_failed; ALTER DATABASE staged RENAME TO shop", "postgres");
    try {
      assert.equal((await answer).status, 200);
    } finally {
      await database.sql(end, "postgres");
      await database.sql("ALTER DATABASE shop RENAME TO staged; ALTER DATABASE shop_failed RENAME TO shop", "postgres");
      await database.sql("ALTER DATABASE shop WITH ALLOW_CONNECTIONS true", "postgres");
    }
  });

  it("reads its secret again when its password is refused", async () => {
    await database.sql("CREATE ROLE clerk LOGIN PASSWORD 'old'; GRANT SELECT, UPDATE ON orders TO clerk");
    Object.assign(secret, { username: "clerk", password: "old" });
    const url = `${await open()}/health`;
    assert.equal((await get(url)).status, 200);
    await database.sql("ALTER ROLE clerk PASSWORD 'new'");
    secret.password = "new";
    await database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'clerk'");
    const reads = secretReads;
    assert.equal((await get(url)).status, 200);
    assert.ok(secretReads > reads);
  });

  it("answers 404 for what there is not", async () => {
    assert.equal((await get(`${await open()}/admin`)).status, 404);
  });

  it("shows any database's tables with the pages for other data", async () => {
    const url = await open(path.join(demo, "app", "any-database"));
    assert.equal((await get(`${url}/health`)).status, 200);
    assert.match((await get(url)).body, /<td>public\.orders<\/td>/);
    assert.equal((await get(`${url}/orders`, "POST")).status, 500);
  });
});

describe("an error of the database", () => {
  it("is worth another try when the database is away, and not when the question is wrong", () => {
    for (const code of ["57P01", "55000", "3D000", "ECONNREFUSED", "ECONNRESET"]) assert.ok(isTransient({ code }));
    for (const code of ["42P01", "42703", "23505", "42501"]) assert.ok(!isTransient({ code }));
    assert.ok(isTransient(new Error("Connection terminated unexpectedly")));
    assert.ok(!isTransient(new Error("undefined is not a function")));
  });
});
