"use strict";
// Release 1.0.0: what the shop asks its database.

exports.figures = async (query) => {
  const [figures] = await query(
    `SELECT (SELECT count(*) FROM products) AS "Products",
       (SELECT count(*) FROM orders) AS "Orders",
       (SELECT max(placed_at)::date::text FROM orders) AS "Last order",
       (SELECT (sum(total_cents) / 100)::bigint FROM monthly_revenue) AS "Revenue"`,
  );
  return figures;
};

exports.health = async (query) => {
  const [newest] = await query("SELECT id, note FROM orders ORDER BY id DESC LIMIT 1");
  // A savepoint, so that the look writes and leaves nothing.
  await query("SAVEPOINT health");
  await query("UPDATE orders SET note = $2 WHERE id = $1", [newest.id, newest.note]);
  await query("ROLLBACK TO SAVEPOINT health");
};

exports.order = async (query) => {
  const [order] = await query(
    "INSERT INTO orders (customer_id, placed_at, updated_at) VALUES (1, now(), now()) RETURNING id",
  );
  await query(
    "INSERT INTO order_items (order_id, line, product_id, quantity, unit_cents) SELECT $1, 1, id, 1, price_cents FROM products WHERE id = 1",
    [order.id],
  );
  return order;
};
