/** The databases that are measured: a shop of a given size. */
import type { Client } from "pg";

/** How many orders make a gigabyte on disk, with all that belongs to them. */
const ordersPerGigabyte = 1_330_000;

/**
 * Rows, indexes and foreign keys as an application has them: three lines and two events to an order, ten orders to a
 * customer. About half of the bytes on disk are in the dump. Where rows are changed, pages keep room for it: without, new
 * versions of a few rows fill the gaps of all pages, and no two dumps of the table have much in common.
 */
export async function createShop(client: Client, gigabytes: number): Promise<void> {
  const orders = Math.round(ordersPerGigabyte * gigabytes);
  const customers = Math.ceil(orders / 10);
  await client.query("SET synchronous_commit = off; SET maintenance_work_mem = '256MB'");
  await client.query(`
    CREATE TABLE customers (id int NOT NULL, name text NOT NULL, email text NOT NULL, balance numeric NOT NULL, at timestamptz NOT NULL)
      WITH (fillfactor = 90);
    INSERT INTO customers SELECT g, 'customer ' || g, md5(g::text) || '@example.com', g % 1000, '2020-01-01'::timestamptz + g * '1 minute'::interval
      FROM generate_series(1, ${customers}) g;
    CREATE TABLE orders (id int NOT NULL, customer int NOT NULL, at timestamptz NOT NULL, state text NOT NULL, note text)
      WITH (fillfactor = 90);
    INSERT INTO orders SELECT g, g % ${customers} + 1, '2020-01-01'::timestamptz + g * '10 seconds'::interval,
             (ARRAY['new', 'paid', 'sent', 'done'])[g % 4 + 1], CASE WHEN g % 5 = 0 THEN repeat(md5(g::text), 2) END
      FROM generate_series(1, ${orders}) g;
    CREATE TABLE lines (orders int NOT NULL, number int NOT NULL, product int NOT NULL, price numeric(10,2) NOT NULL, quantity int NOT NULL);
    INSERT INTO lines SELECT g, n, (g * 7 + n) % 10000, (g % 10000) / 100.0, n
      FROM generate_series(1, ${orders}) g, generate_series(1, 3) n;
    CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, kind text NOT NULL, payload jsonb NOT NULL);
    INSERT INTO events (at, kind, payload) SELECT '2020-01-01'::timestamptz + g * '5 seconds'::interval, (ARRAY['seen', 'bought'])[g % 2 + 1],
             jsonb_build_object('order', g / 2, 'agent', md5((g % 5000)::text), 'seconds', g % 977)
      FROM generate_series(1, ${orders * 2}) g`);
  await client.query(`
    ALTER TABLE customers ADD PRIMARY KEY (id); CREATE UNIQUE INDEX ON customers (email);
    ALTER TABLE orders ADD PRIMARY KEY (id), ADD FOREIGN KEY (customer) REFERENCES customers; CREATE INDEX ON orders (at);
    ALTER TABLE lines ADD PRIMARY KEY (orders, number), ADD FOREIGN KEY (orders) REFERENCES orders;
    CREATE INDEX ON lines (product); ALTER TABLE events ADD PRIMARY KEY (id); CREATE INDEX ON events (at)`);
  await client.query("VACUUM (ANALYZE)");
}

/** What an hour of business changes: one order in a hundred, all of them recent ones, and a few new ones. */
export async function changeLittle(client: Client): Promise<void> {
  await client.query(`
    UPDATE orders SET state = 'returned' WHERE id > (SELECT max(id) * 0.99 FROM orders);
    INSERT INTO events (at, kind, payload) SELECT now(), 'bought',
      jsonb_build_object('order', g, 'agent', md5(g::text), 'seconds', g % 977) FROM generate_series(100000, 101000) g`);
}

/** What pgbench's clients do: read an order, and change another one. */
export const transaction = `
\\set id random(1, :orders)
BEGIN;
SELECT * FROM orders WHERE id = :id;
UPDATE customers SET balance = balance + 1 WHERE id = :id / 20 + 1;
END;
`;
