"use strict";
// Release 2.0.0: loyalty tiers. It needs both of its migrations, and the second one never commits.

exports.figures = async (query) => {
  const [figures] = await query(
    `SELECT (SELECT count(*) FROM products) AS "Products",
       (SELECT count(*) FROM orders) AS "Orders",
       (SELECT count(*) FROM loyalty WHERE tier = 'gold') AS "Gold customers"`,
  );
  return figures;
};

exports.health = async (query) => {
  const [newest] = await query("SELECT customer_id, tier FROM loyalty LIMIT 1");
  // A savepoint, so that the look writes and leaves nothing.
  await query("SAVEPOINT health");
  await query("UPDATE loyalty SET tier = $2 WHERE customer_id = $1", [newest.customer_id, newest.tier]);
  await query("ROLLBACK TO SAVEPOINT health");
};

exports.order = async (query) => {
  const [order] = await query(
    "INSERT INTO orders (customer_id, placed_at, updated_at) VALUES (1, now(), now()) RETURNING id",
  );
  await query("UPDATE loyalty SET points = points + 10 WHERE customer_id = 1 AND tier IS NOT NULL");
  return order;
};
