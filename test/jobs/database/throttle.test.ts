import * as assert from "node:assert/strict";
import { Budget } from "../../../jobs/database/throttle";

describe("a budget of bytes", () => {
  const rate = 1000;

  it("lets the bytes of one second through at once, and no more", () => {
    const budget = new Budget(rate);
    assert.equal(budget.spend(400, 0), 0);
    assert.equal(budget.spend(600, 0), 0);
    assert.equal(budget.spend(500, 0), 500);
  });

  it("keeps to its rate, however the bytes are cut [finding 42]", () => {
    for (const size of [1, 7, 250, 4000]) {
      const budget = new Budget(rate);
      let now = 0;
      let sent = 0;
      while (sent < 60_000) {
        now += budget.spend(size, now);
        sent += size;
      }
      assert.ok(sent - rate <= (rate * now) / 1000, `${sent} bytes in ${now} ms, in pieces of ${size}`);
    }
  });

  it("saves up no more than one second while nothing comes", () => {
    const budget = new Budget(rate);
    budget.spend(1000, 0);
    assert.equal(budget.spend(1000, 3_600_000), 0);
    assert.equal(budget.spend(100, 3_600_000), 100);
  });

  it("has no bound when none is given", () => {
    assert.equal(new Budget(undefined).spend(1e15, 0), 0);
  });
});
