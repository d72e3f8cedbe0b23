import assert from "node:assert/strict";
import type { Context } from "../../jobs/context";
import { begin, fence } from "../../jobs/heal";
import type { Job } from "../../jobs/job";
import { World, run } from "./world";

describe("a fence", () => {
  let world: World;
  beforeEach(async () => {
    world = await World.open();
    await world.proven();
    const at = new Date().toISOString();
    await world.store.writeRun(run, "admitted", { at, build: "deploy:1" });
  });
  afterEach(() => world.close());

  /** A healing whose database server and engine only say when they were asked; each waits for what it is told to. */
  async function healing(steps: { closing: () => Promise<void>; making: () => Promise<void> }) {
    const job: Job = { ...world.build("guard:1", "guard"), run };
    const session = { fence: () => steps.closing().then(() => ({ sessionsEnded: 1 })) };
    const context = {
      job,
      servers: () => Promise.resolve([{ session, targets: [] }]),
      engine: { volumes: () => steps.making().then(() => [{ device: "/dev/xvda", volumeId: "vol-0made" }]) },
    };
    return { context: context as unknown as Context, facts: await world.facts(), ...begin(20) };
  }

  it("lets no copy of an instance be made before the databases are closed, and does not wait for it after", async () => {
    const order: string[] = [];
    const never = new Promise<void>(() => undefined);
    const begun = await healing({
      closing: async () => {
        for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
        order.push(world.ec2.sent.length === 0 ? "closed" : "something was asked of EC2 before");
      },
      making: () => (order.push("making"), never),
    });
    await fence(begun);
    assert.deepEqual([...begun.volumes.keys()], ["server"]);
    assert.equal((await world.facts()).fenced?.sessionsEnded, 1);
    while (order.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(order, ["closed", "making"]);
  });

  it("whose volumes cannot be made stands all the same: whoever needs them hears of it", async () => {
    const making = () => Promise.reject(new Error("no worker"));
    const begun = await healing({ closing: () => Promise.resolve(), making });
    await fence(begun);
    await assert.rejects(begun.volumes.get("server") ?? Promise.resolve([]), /no worker/);
  });

  it("makes nothing of an instance that may turn out to be as it was", async () => {
    world.plan = { ...world.plan, healing: "when-changed" };
    const begun = await healing({ closing: () => Promise.resolve(), making: () => Promise.resolve() });
    await fence(begun);
    assert.equal(begun.volumes.size, 0);
  });
});
