CREATE INDEX orders_gift ON orders (placed_at) WHERE gift;
