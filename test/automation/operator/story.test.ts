import assert from "node:assert/strict";
import { evidenceOf, isExpired, nameOf } from "../../../automation/operator/evidence";
import { overdue, removable } from "../../../automation/operator/keeping";
import { listing, needsSettling, standing, story } from "../../../automation/operator/story";
import { age, bytes, columns } from "../../../automation/operator/text";
import { healedRun, run } from "./runs";

const now = new Date("2026-11-23T12:30:00Z");

describe("what an operator reads of a run", () => {
  it("is every fact in its order, the state, and what to do next", () => {
    const lines = story({ run, facts: healedRun() }, now);
    const text = lines.join("\n");
    assert.match(lines[0] ?? "", /^run 1b9d6bcd-.* of shop, which protects shop-production$/);
    assert.match(lines[1] ?? "", /^state: healed: the run has its verdict$/);
    const order = [
      "opened by",
      "orders: protected",
      "orders: proven",
      "web: proven",
      "ticket",
      "deploy admitted",
      "decided",
    ];
    const found = [
      ...order,
      "healer",
      "fenced",
      "the failed database is kept as shop_failed_1b9d6bcd",
      "verdict: healed",
    ].map((word) => lines.findIndex((line) => line.includes(word)));
    assert.ok(!found.includes(-1), text);
    assert.deepEqual(
      found,
      [...found].sort((a, b) => a - b),
    );
    assert.match(text, /next: protected-pipeline diff 1b9d6bcd/);
  });

  it("names what was removed of a run that was cleared, and offers none of it any more", () => {
    const cleared = { at: now.toISOString(), by: "arn:aws:iam::123456789012:user/ann", removed: ["volume vol-1"] };
    const text = story({ run, facts: { ...healedRun(), cleared } }, now).join("\n");
    assert.match(text, /cleared by arn:aws:iam::123456789012:user\/ann: volume vol-1$/m);
    assert.match(text, /next: nothing; what it had kept is gone$/);
    assert.doesNotMatch(text, /protected-pipeline (diff|evidence)/);
  });

  it("names, after a failed healing, what there is and the command that settles the run", () => {
    const facts = healedRun({ verdict: "heal-failed" });
    const text = story({ run, facts }, now).join("\n");
    assert.match(text, /"shop" may be closed .* "shop_staged_1b9d6bcd" \(OID 16999\), proven and sealed/);
    assert.match(text, /i-0123456789abcdef0; its state before the deploy is volumes vol-0good/);
    assert.match(text, /protected-pipeline resolve 1b9d6bcd --as healthy\|healed\|abandoned --reason/);
    assert.ok(needsSettling(facts));
  });

  it("is in the list marked where it blocks its targets, and no longer once it is settled", () => {
    const facts = healedRun({ verdict: "none" });
    assert.match(listing([{ run, facts }], now)[1] ?? "", /healing \(!\) +build deploy:1 FAILED$/);
    const resolution = {
      at: now.toISOString(),
      by: "arn:aws:iam::1:user/eve",
      as: "abandoned" as const,
      reason: "rebuilt",
    };
    const [, row = ""] = listing([{ run, facts: { ...facts, resolution } }], now);
    assert.match(row, /settled: abandoned +rebuilt$/);
    assert.ok(!row.includes("(!)"));
  });

  it("says that facts contradict each other instead of failing", () => {
    const { verdict, ...rest } = healedRun();
    assert.equal(standing({ ...rest, decided: undefined, verdict }).state, "inconsistent");
  });

  it("has ages in two units, sizes in powers of a thousand, and columns that line up", () => {
    assert.equal(age(new Date("2026-11-20T10:05:00Z"), now), "3 d 2 h");
    assert.equal(age(new Date("2026-11-23T12:29:15Z"), now), "45 s");
    assert.equal(age(now, new Date(0)), "0 s");
    assert.deepEqual([bytes(0), bytes(999), bytes(1_300_000_000)], ["0 B", "999 B", "1.3 GB"]);
    assert.deepEqual(
      columns([
        ["a", "b"],
        ["long", ""],
      ]),
      ["a     b", "long"],
    );
  });
});

describe("evidence, by a run's facts", () => {
  it("is the failed database and the old volumes, until the retention after the run's end is over", () => {
    const facts = healedRun();
    const kept = evidenceOf({ run, facts });
    assert.deepEqual(kept.map(nameOf), ["shop_failed_1b9d6bcd", "vol-0bad"]);
    const until = new Date(Date.parse(facts.verdict?.at ?? "") + 14 * 86_400_000);
    assert.deepEqual(kept[0]?.until, until);
    assert.equal(
      kept.some((each) => isExpired(each, now)),
      false,
    );
    assert.equal(overdue([{ run, facts }], now).length, 0);
    assert.equal(overdue([{ run, facts }], new Date(until.getTime() + 1)).length, 1);
  });

  it("of a failed healing is the staged database, and is not removed before the run is settled", () => {
    const facts = healedRun({ verdict: "heal-failed" });
    assert.deepEqual(evidenceOf({ run, facts }).map(nameOf), ["shop_staged_1b9d6bcd"]);
    assert.throws(() => removable([{ run, facts }]), /settle it first with `protected-pipeline resolve 1b9d6bcd`/);
    assert.equal(overdue([{ run, facts }], new Date("2030-01-01")).length, 0);
    const resolution = { at: now.toISOString(), by: "x", as: "healed" as const, reason: "by hand" };
    assert.equal(removable([{ run, facts: { ...facts, resolution } }])[0]?.things.length, 1);
  });

  it("of a run that was cleared is nothing", () => {
    const cleared = { at: now.toISOString(), by: "x", removed: [] };
    assert.deepEqual(evidenceOf({ run, facts: { ...healedRun(), cleared } }), []);
  });
});
