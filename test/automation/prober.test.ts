import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { outagesIn, Prober, totalOutage } from "../../automation/drill/prober";
import { waitFor } from "../../automation/wait";

describe("the outside client", () => {
  const results = (text: string) => [...text].map((each, index) => ({ at: index * 50, good: each === "+" }));

  it("counts an outage from the first bad answer to the next good one", () => {
    const outages = outagesIn(results("++--+-+"));
    assert.deepEqual(outages, [
      { from: 100, to: 200 },
      { from: 250, to: 300 },
    ]);
    assert.equal(totalOutage(outages), 150);
  });

  it("knows no figure for an outage that is not over", () => {
    assert.equal(totalOutage(outagesIn(results("+-"))), null);
    assert.equal(totalOutage([]), 0);
  });

  it("takes anything but 200 for bad, and notices the recovery", async () => {
    let status = 500;
    const server = createServer((_, response) => {
      response.statusCode = status;
      response.end();
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const prober = new Prober(`http://127.0.0.1:${(server.address() as AddressInfo).port}/health`);
    const look = { deadlineSeconds: 10, pollMilliseconds: 10 };
    try {
      await waitFor(async () => prober.results.length > 0 || undefined, { ...look, what: "an answer" });
      assert.equal(prober.good, false);
      status = 200;
      await waitFor(async () => prober.good || undefined, { ...look, what: "a good answer" });
    } finally {
      await prober.stop();
      server.close();
    }
    assert.equal(outagesIn(prober.results).length, 1);
  });
});
