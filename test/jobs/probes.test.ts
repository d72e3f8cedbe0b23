import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Sample, Watch, ask, outage } from "../../jobs/probes";
import { deadlineIn } from "../../jobs/time";
import type { Probe } from "../../run/plan";

const sample = (started: number, ended: number, ok: boolean): Sample => ({ started, ended, ok, detail: "" });

describe("the outage", () => {
  it("lasts from the first question that failed to the next good answer", () => {
    const samples = [sample(0, 1, true), sample(10, 15, false), sample(20, 25, false), sample(30, 32, true)];
    assert.equal(outage([samples], 100), 22);
  });

  it("adds up over several failures", () => {
    const samples = [sample(0, 1, false), sample(10, 11, true), sample(20, 21, false), sample(30, 31, true)];
    assert.equal(outage([samples], 100), 22);
  });

  it("counts a time in which two probes failed once", () => {
    const one = [sample(0, 1, false), sample(10, 10, true)];
    const two = [sample(5, 6, false), sample(20, 20, true)];
    assert.equal(outage([one, two], 100), 20);
  });

  it("that has not ended is counted up to the given time", () => {
    assert.equal(outage([[sample(10, 11, false)]], 50), 40);
  });

  it("is nothing when every probe was well", () => {
    assert.equal(outage([[sample(0, 1, true)], []], 50), 0);
  });
});

describe("a probe", () => {
  const probe = (port: number): Probe => ({
    id: "front",
    url: `http://127.0.0.1:${port}/health`,
    status: 200,
    intervalSeconds: 0.01,
    timeoutSeconds: 0.5,
  });

  async function served<T>(
    status: (url: string) => number | undefined,
    work: (port: number) => Promise<T>,
  ): Promise<T> {
    const server = createServer((request, response) => {
      const answer = status(request.url ?? "");
      if (answer !== undefined) response.writeHead(answer).end("x");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      return await work((server.address() as AddressInfo).port);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  it("is well when the status is the one that was named, and only then", async () => {
    const answers = await served(
      (url) => (url === "/health" ? 200 : 500),
      async (port) => [await ask(probe(port)), await ask({ ...probe(port), url: `http://127.0.0.1:${port}/` })],
    );
    assert.deepEqual(
      answers.map(({ ok, detail }) => [ok, detail]),
      [
        [true, "HTTP 200"],
        [false, "HTTP 500"],
      ],
    );
  });

  it("is not well when nobody listens, and when nobody answers in time", async () => {
    const refused = await ask(probe(1));
    const silent = await served(
      () => undefined,
      (port) => ask({ ...probe(port), timeoutSeconds: 0.05 }),
    );
    assert.match(refused.detail, /ECONNREFUSED/);
    assert.match(silent.detail, /no answer within 0.05 s/);
  });

  it("that was well long ago is not green now", async () => {
    let well = true;
    const question = (): Promise<Sample> =>
      Promise.resolve({ started: Date.now(), ended: Date.now(), ok: well, detail: "asked" });
    const watch = new Watch([probe(1)], question);
    try {
      await watch.green(0, deadlineIn(5), { seconds: 0.01 });
      well = false;
      await assert.rejects(watch.green(Date.now() + 1, deadlineIn(0.05), { seconds: 0.01 }), /front .*: asked/);
    } finally {
      await watch.stop();
    }
  });

  it("takes part in the wait: one that is well does not stand for another that is not", async () => {
    const question = ({ id }: Probe): Promise<Sample> =>
      Promise.resolve({ started: Date.now(), ended: Date.now(), ok: id === "front", detail: "HTTP 503" });
    const watch = new Watch([probe(1), { ...probe(1), id: "back" }], question);
    try {
      await assert.rejects(watch.green(0, deadlineIn(0.05), { seconds: 0.01 }), /back .*: HTTP 503/);
    } finally {
      await watch.stop();
    }
  });
});
