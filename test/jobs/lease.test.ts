import assert from "node:assert/strict";
import { type HolderState, type LeaseAnswer, judge, leasePath, parseLease } from "../../jobs/lease";

const path = leasePath("arn:aws:rds:us-east-1:123456789012:db:shop");
const holder = (run: string) =>
  JSON.stringify({ at: "2026-01-02T03:04:05.678Z", run, pipeline: "p", environment: "e", store: "s" });

describe("a lease", () => {
  it("that nobody ever took is free", () => {
    assert.deepEqual(parseLease(path, []), { number: 0, holder: undefined, released: false });
  });

  it("belongs to the highest number, in whatever order the parameters come", () => {
    const parameters = [10, 9, 2].map((number) => ({ Name: `${path}/${number}`, Value: holder(`run-${number}`) }));
    const lease = parseLease(path, parameters);
    assert.deepEqual([lease.number, lease.holder?.run, lease.released], [10, "run-10", false]);
  });

  it("is given back only by the mark of its own number", () => {
    const taken = [1, 2].map((number) => ({ Name: `${path}/${number}`, Value: holder(`run-${number}`) }));
    const old = { Name: `${path}/1/released`, Value: holder("run-1") };
    assert.equal(parseLease(path, [...taken, old]).released, false);
    assert.equal(parseLease(path, [...taken, { ...old, Name: `${path}/2/released` }]).released, true);
  });

  it("that cannot be read stops everything", () => {
    assert.throws(() => parseLease(path, [{ Name: `${path}/1`, Value: "{}" }]), /cannot be read/);
    assert.throws(() => parseLease(path, [{ Name: `${path}/note`, Value: "" }]), /does not belong/);
  });

  it("is another one for another target", () => {
    assert.notEqual(path, leasePath("arn:aws:rds:us-east-1:123456789012:db:shop2"));
  });
});

describe("a lease's holder", () => {
  const atWork: HolderState = { released: false, over: false, verdict: undefined, settled: false, unresolved: true };
  const over: HolderState = { ...atWork, over: true };
  const table: [string, HolderState, LeaseAnswer][] = [
    ["that gave it back is passed by, whatever else is known", { ...atWork, released: true }, "free"],
    ["that is at work is waited for", atWork, "wait"],
    [
      "that has a verdict, and still works, is waited for",
      { ...atWork, verdict: "healthy", unresolved: false },
      "wait",
    ],
    ["that deployed and vanished blocks", over, "blocked"],
    ["that never deployed and vanished is passed by", { ...over, unresolved: false }, "free"],
    ["that ended healthy is passed by", { ...over, verdict: "healthy", unresolved: false }, "free"],
    ["that was healed is passed by", { ...over, verdict: "healed", unresolved: false }, "free"],
    ["that only observed is passed by", { ...over, verdict: "would-heal", unresolved: false }, "free"],
    ["whose healing failed blocks", { ...over, verdict: "heal-failed", unresolved: false }, "blocked"],
  ];
  for (const [name, state, answer] of table) it(name, () => assert.equal(judge(state), answer));
});
