import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as sts from "@aws-sdk/client-sts";
import { EmbeddedCloud } from "../../../emulator/core/cloud";
import { EmulatorClock } from "../../../emulator/core/clock";
import { CredentialStore } from "../../../emulator/core/credentials";
import type { Install, Principal } from "../../../emulator/core/definitions";
import { type RecordedCall, Recorder } from "../../../emulator/core/recorder";
import { withEmulator } from "../support";

const root: Principal = { kind: "root", arn: "arn:aws:iam::123456789012:root" };

function call(input: object): RecordedCall {
  return { service: "ssm", operation: "PutParameter", input, principal: root, at: new Date(0) };
}

describe("What the emulator remembers of calls", () => {
  it("are the newest ones: their number is bounded", () => {
    const recorder = new Recorder({ calls: 100, characters: 1_000_000 });
    for (let index = 0; index < 1_000; index++) {
      recorder.add(call({ index }));
      assert.ok(recorder.calls.length <= 100);
      assert.deepEqual(recorder.calls.at(-1)?.input, { index });
    }
    assert.equal(recorder.calls.length + recorder.forgotten, 1_000);
  });

  it("is bounded in size too, and has the last call whatever its size", () => {
    const recorder = new Recorder({ calls: 1_000_000, characters: 10_000 });
    const sizeOf = (): number => recorder.calls.reduce((sum, { input }) => sum + JSON.stringify(input).length, 0);
    for (let index = 0; index < 500; index++) {
      recorder.add(call({ Value: "x".repeat(300) }));
      assert.ok(sizeOf() <= 11_000);
    }
    recorder.add(call({ Values: ["x".repeat(50_000)] }));
    assert.equal(recorder.calls.length, 1);
    recorder.add(call({ Value: "small" }));
    assert.deepEqual(
      recorder.calls.map(({ input }) => input),
      [{ Value: "small" }],
    );
  });

  it("is no payload", () => {
    const recorder = new Recorder();
    recorder.add(call({ Body: Buffer.alloc(5_000), Small: Buffer.from("kept") }));
    assert.deepEqual(recorder.calls[0]?.input, { Body: "(5000 bytes)", Small: Buffer.from("kept") });
  });
});

describe("Credentials", () => {
  it("are forgotten an hour after they have expired", () => {
    const clock = new EmulatorClock();
    const store = new CredentialStore(clock);
    const first = store.issue(root, 900);
    for (let round = 0; round < 50; round++) {
      clock.advance(1_800_000);
      for (let index = 0; index < 20; index++) store.issue(root, 900);
    }
    assert.equal(store.find(first.accessKeyId), undefined);
    const { issued } = store as unknown as { readonly issued: ReadonlyMap<string, unknown> };
    // Three rounds are younger than that.
    assert.ok(issued.size <= 4 * 20, `${issued.size} are kept of 1,001`);
  });
});

describe("An emulator", () => {
  const install: Install = () => ({
    signingName: "sts",
    protocol: "awsQuery",
    model: sts,
    operations: [
      { name: "AssumeRole", honours: ["RoleArn", "RoleSessionName"], authorize: () => [], handle: () => ({}) },
    ],
    resources: [],
    invokes: [],
  });

  it("keeps a bounded part of 150 MB of calls, and of events and failures", async () => {
    await withEmulator(
      async ({ cloud, recorder, failures }) => {
        assert.ok(cloud instanceof EmbeddedCloud);
        const heap = heapAfter();
        for (let index = 0; index < 1_500; index++) {
          // A text of its own each time, or V8 would keep it once.
          const RoleArn = `${index}${"x".repeat(100_000)}`;
          await cloud.send(root, new sts.AssumeRoleCommand({ RoleArn, RoleSessionName: "s" }));
          cloud.emit({ source: "test", detailType: "t", detail: { index, text: RoleArn.slice(1) } });
          cloud.background("work", Promise.reject(new Error(`${index}`)));
        }
        await new Promise(setImmediate);
        assert.ok(failures.length <= 1_000);
        assert.ok(recorder.forgotten > 1_000);
        const grown = (heapAfter() - heap) / 2 ** 20;
        assert.ok(grown < 75, `the heap has grown by ${grown.toFixed(0)} MiB`);
      },
      { services: [install] },
    );
  });
});

function heapAfter(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
