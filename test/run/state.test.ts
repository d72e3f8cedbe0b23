import assert from "node:assert/strict";
import {
  InconsistentRun,
  type RunFacts,
  type Shape,
  type State,
  type Step,
  isUnresolved,
  rowsOf,
  shapeOf,
  shapeValues,
  stateOfShape,
  states,
  table,
} from "../../run/state";

const members = Object.keys(shapeValues) as (keyof Shape)[];
const empty = Object.fromEntries(members.map((member) => [member, shapeValues[member][0]])) as unknown as Shape;

/** Every combination of the members' values. */
function allShapes(): Shape[] {
  let shapes: Record<string, unknown>[] = [{}];
  for (const member of members) {
    shapes = shapes.flatMap((shape) => shapeValues[member].map((value) => ({ ...shape, [member]: value })));
  }
  return shapes as unknown as Shape[];
}

/** What becomes of a run when a fact is written. A fact about one target leaves its part at some or all. */
function write(shape: Shape, step: Step): Shape[] {
  const [fact = "", value] = step.split(":") as [string, string | undefined];
  if (fact === "protected" || fact === "staged" || fact === "proven" || fact === "cut-over") {
    const member = fact === "cut-over" ? "cutOver" : fact;
    return shape[member] === "all"
      ? [shape]
      : [
          { ...shape, [member]: "some" },
          { ...shape, [member]: "all" },
        ];
  }
  if (fact === "claim") return [{ ...shape, claimed: true }];
  return [{ ...shape, [fact]: value ?? true }];
}

const keyOf = (shape: Shape): string => members.map((member) => String(shape[member])).join("|");

const order = ["none", "some", "all"];

/** No target is ahead of its own order: protected (all of them), then staged, then proven, and then the ticket. */
function possible(shape: Shape): boolean {
  const [made = 0, staged = 0, proven = 0] = [shape.protected, shape.staged, shape.proven].map((x) => order.indexOf(x));
  return (staged === 0 || made === 2) && proven <= staged && (!shape.ticket || proven === 2);
}

function reachable(): Map<string, Shape> {
  const found = new Map([[keyOf(empty), empty]]);
  const open = [empty];
  for (let shape = open.pop(); shape !== undefined; shape = open.pop()) {
    for (const step of stateOfShape(shape).next) {
      for (const next of write(shape, step).filter(possible)) {
        if (found.has(keyOf(next))) continue;
        found.set(keyOf(next), next);
        open.push(next);
      }
    }
  }
  return found;
}

describe("the state of a run", () => {
  const shapes = allShapes();
  const reached = reachable();

  it("is never two at once, whatever the combination of facts", () => {
    const twice = shapes.filter((shape) => rowsOf(shape).length > 1);
    assert.deepEqual(twice.map(keyOf), []);
  });

  it("exists for exactly the combinations that the allowed steps lead to", () => {
    const known = shapes.filter((shape) => rowsOf(shape).length === 1).map(keyOf);
    assert.deepEqual(known.sort(), [...reached.keys()].sort());
    assert.ok(known.length < shapes.length / 100, "almost every combination must be refused");
  });

  it("is reached in each of its kinds", () => {
    const seen = new Set([...reached.values()].map((shape) => stateOfShape(shape).state));
    assert.deepEqual([...seen].sort(), [...states].sort());
  });

  it("has a way to an end from everywhere", () => {
    const ended = (shape: Shape): boolean => shape.verdict !== "none" || shape.resolution;
    const settled = new Set([...reached].filter(([, shape]) => ended(shape)).map(([key]) => key));
    for (let before = -1; before !== settled.size;) {
      before = settled.size;
      for (const [key, shape] of reached) {
        const next = stateOfShape(shape).next.flatMap((step) => write(shape, step).map(keyOf));
        if (next.some((each) => settled.has(each))) settled.add(key);
      }
    }
    assert.equal(settled.size, reached.size);
  });

  it("allows nothing after the verdict, but that an operator settles a healing that failed", () => {
    for (const shape of reached.values()) {
      if (shape.verdict === "none") continue;
      const open = shape.verdict === "heal-failed" && !shape.resolution;
      assert.deepEqual(stateOfShape(shape).next, open ? ["resolution"] : []);
    }
  });

  it("allows nothing after an operator has settled it, and settling only where something was deployed", () => {
    for (const shape of reached.values()) {
      if (!shape.resolution) continue;
      assert.deepEqual(stateOfShape(shape).next, []);
      assert.equal(shape.admitted, "deploy");
    }
  });

  it("admits a deploy only when everything is proven and a Guard has signed", () => {
    for (const shape of shapes) {
      if (rowsOf(shape)[0]?.next.includes("admitted:deploy") !== true) continue;
      assert.deepEqual([shape.proven, shape.ticket, shape.admitted], ["all", true, "none"]);
    }
  });

  it("never deploys, and never heals, once the admission is closed", () => {
    for (const shape of reached.values()) {
      if (shape.admitted !== "closed") continue;
      assert.ok(["none", "not-deployed"].includes(shape.decided));
      assert.ok(["none", "not-deployed"].includes(shape.verdict));
      assert.equal(shape.claimed, false);
    }
  });

  it("cuts nothing over before the environment is fenced, and fences nothing that did not fail", () => {
    for (const shape of reached.values()) {
      if (shape.cutOver !== "none") assert.equal(shape.fenced, true);
      if (shape.fenced) assert.deepEqual([shape.claimed, shape.decided], [true, "failed"]);
    }
  });

  it("is healed only when every target is cut over", () => {
    const healed = [...reached.values()].filter(({ verdict }) => verdict === "healed");
    assert.ok(healed.length > 0);
    assert.ok(healed.every(({ cutOver }) => cutOver === "all"));
  });

  it("blocks its targets from the admission of a deploy until it has a verdict or is settled, and at no other time", () => {
    for (const shape of reached.values()) {
      const deployed = shape.admitted === "deploy" && shape.verdict === "none" && !shape.resolution;
      assert.equal(isUnresolved(stateOfShape(shape).state), deployed, keyOf(shape));
    }
  });

  it("is refused, with the facts by name, when somebody wrote past the rules", () => {
    const shape: Shape = { ...empty, opened: true, verdict: "healthy" };
    assert.throws(
      () => stateOfShape(shape),
      (error: Error) => {
        assert.ok(error instanceof InconsistentRun);
        assert.match(error.message, /opened, verdict: healthy/);
        return true;
      },
    );
  });

  it("has a row, with a meaning, for each name", () => {
    const named: State[] = table.map(({ state }) => state);
    assert.deepEqual(named, [...states]);
    assert.ok(table.every(({ meaning }) => meaning.length > 0));
  });
});

describe("the shape of a run", () => {
  const at = "2026-01-02T03:04:05.678Z";
  const none: RunFacts = { claims: [], targets: {} };

  it("counts a fact of some targets as some, and of all as all", () => {
    const proven = { at, kind: "instance" as const, compared: "x" };
    const some = shapeOf({ ...none, targets: { a: { proven }, b: {} } });
    const all = shapeOf({ ...none, targets: { a: { proven }, b: { proven } } });
    assert.deepEqual([some.proven, all.proven, all.staged], ["some", "all", "none"]);
  });

  it("tells a deploy's admission from a closed one", () => {
    assert.equal(shapeOf({ ...none, admitted: { at, build: "b" } }).admitted, "deploy");
    assert.equal(shapeOf({ ...none, admitted: { at, build: "b", closed: true } }).admitted, "closed");
  });

  it("of a run that nobody opened is empty", () => {
    assert.deepEqual(shapeOf(none), empty);
  });
});
