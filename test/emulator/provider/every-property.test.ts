import assert from "node:assert/strict";
import type { EmbeddedCloud } from "../../../emulator/core/cloud";
import type { ResourceDefinition } from "../../../emulator/core/definitions";
import { startEmulator, type Emulator } from "../../../emulator/emulator";
import { DirectProvider, HalfMade, type Kept, type Values } from "./direct-provider";
import { type Case, casesWith, type Change, type Fixtures, makeFixtures } from "./every-property";

describe("Every property of every resource", () => {
  let emulator: Emulator;
  let provider: DirectProvider;
  let definitions: readonly ResourceDefinition[];
  let cases: readonly Case[];

  before(async () => {
    emulator = await startEmulator();
    provider = new DirectProvider(emulator);
    const { services } = (emulator.cloud as unknown as EmbeddedCloud).dispatcher;
    definitions = services.flatMap(({ service }) => service.resources);
    const fixtures: Fixtures = await makeFixtures(provider);
    const subnetIds = [fixtures.subnet.id, fixtures.otherSubnet.id];
    await provider.create("aws:rds/subnetGroup:SubnetGroup", { name: "fixture", subnetIds });
    cases = casesWith(fixtures);
  });
  after(async () => {
    provider.close();
    await emulator.close();
  });

  it("has its case here", () => {
    const known = definitions.map(({ type, inputs }) => [type, Object.keys(inputs).sort()]);
    assert.deepEqual(cases.map(({ type, changes }) => [type, Object.keys(changes).sort()]).sort(), known.sort());
  });

  it("that replaces cites the documentation of the provider, by resource and argument", () => {
    for (const { type, inputs } of definitions) {
      for (const [name, { replaceOn, fixed }] of Object.entries(inputs)) {
        assert.ok(replaceOn === undefined || fixed === undefined, `${type} ${name}`);
        if (replaceOn === undefined) continue;
        const cited = /^terraform-provider-aws, aws_\w+\*?: (\w+)\b/.exec(replaceOn);
        assert.ok(cited, `${type} ${name}: ${replaceOn}`);
        const argument = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
        assert.match(cited[1] ?? "", new RegExp(`(^|_)${argument}$`), `${type} ${name}: ${replaceOn}`);
      }
    }
  });

  /** The resource as the API alone shows it: nothing is remembered but what identifies it. */
  async function real({ identity = [] }: Case, kept: Kept): Promise<Values> {
    const outputs = Object.fromEntries(identity.map((name) => [name, kept.outputs[name]]));
    const found = await provider.read({ ...kept, inputs: {}, outputs });
    return found?.outputs ?? {};
  }

  /** The inputs with a new value for one property, as a program gives them. */
  function wantedOf(kept: Kept, name: string, { to, along }: Change): Values {
    const { __defaults, ...given } = { ...kept.inputs, [name]: to, ...along } as Record<string, unknown>;
    void __defaults;
    return given;
  }

  async function assertRefused(each: Case, kept: Kept, name: string, change: Change): Promise<Kept> {
    const checking = provider.check(each.type, wantedOf(kept, name, change), kept.inputs);
    if (change.is === "fixed") {
      await assert.rejects(checking, new RegExp(`${name}: NotImplemented`));
    } else {
      const inputs = await checking;
      assert.equal(await provider.diff(kept, inputs), "update");
      await assert.rejects(provider.update(kept, inputs), /NotImplemented/);
    }
    return kept;
  }

  async function assertReplaced(each: Case, kept: Kept, name: string, change: Change): Promise<Kept> {
    const wanted = wantedOf(kept, name, change);
    assert.equal(await provider.diff(kept, await provider.check(each.type, wanted, kept.inputs)), "replace");
    if (change.is === "must replace") return kept;
    await provider.delete(kept);
    const replacement = await provider.create(each.type, wanted);
    assertShows(await real(each, replacement), name, change.to);
    return replacement;
  }

  /** Changes the property, and back as somebody else would: a refresh sees that, and the next update undoes it. */
  async function assertUpdated(each: Case, kept: Kept, name: string, change: Change): Promise<Kept> {
    const inputs = await provider.check(each.type, wantedOf(kept, name, change), kept.inputs);
    assert.equal(await provider.diff(kept, inputs), "update");
    const updated = await provider.update(kept, inputs);
    if (change.is !== "unseen") assertShows(await real(each, updated), name, change.to);
    assert.equal(await provider.diff(updated, inputs), "same");
    const refreshed = await provider.read(updated);
    assert.ok(refreshed, "it is gone");
    assert.equal(await provider.diff(refreshed, inputs), "same", "a refresh sees a drift that is none");
    if (change.is === "one way") return updated;
    const restored = await provider.update(updated, kept.inputs);
    if (change.is === "unseen") return restored;
    const drifted = await provider.read(updated);
    assert.ok(drifted, "it is gone");
    assert.equal(await provider.diff(drifted, inputs), "update", "drift is not seen");
    const undone = await provider.update(drifted, inputs);
    assertShows(await real(each, undone), name, change.to);
    return provider.update(undone, kept.inputs);
  }

  function assertChange(each: Case, kept: Kept, name: string, change: Change): Promise<Kept> {
    if (change.is === "fixed" || change.is === "refused") return assertRefused(each, kept, name, change);
    if (change.is === "replace" || change.is === "must replace") return assertReplaced(each, kept, name, change);
    return assertUpdated(each, kept, name, change);
  }

  /** One resource serves all changes, one after the other; a change that needs other inputs gets one of its own. */
  async function problemsOf(each: Case): Promise<readonly string[]> {
    const problems: string[] = [];
    const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
      try {
        return await work();
      } catch (error) {
        problems.push(`${each.type} ${what}: ${(error as Error).message}`);
        return undefined;
      }
    };
    const make = (inputs: Values, what: string) => attempt(what, () => provider.create(each.type, inputs));
    const remove = (kept: Kept | undefined, what: string) =>
      kept && attempt(`${what}, delete`, () => provider.delete(kept));
    let shared: Kept | undefined;
    for (const [name, change] of Object.entries(each.changes)) {
      const kept = change.from ? await make(change.from, name) : (shared ??= await make(each.inputs, name));
      if (kept === undefined) continue;
      const left = await attempt(name, () => assertChange(each, kept, name, change));
      // What went wrong half-way, and what has another name now, serves nobody else.
      const reusable = left !== undefined && !change.from && change.is !== "replace";
      if (!reusable) await remove(left ?? kept, name);
      if (!change.from) shared = reusable ? left : undefined;
    }
    await remove(shared, "the last one");
    return problems;
  }

  it("changes in place or by replacement as documented, the API then shows it, and drift of it is seen and undone", async function () {
    this.timeout(300_000);
    const problems: string[] = [];
    for (const each of cases) problems.push(...(await problemsOf(each)));
    assert.deepEqual(problems, []);
  });

  it("of a DB instance that is no longer given goes back to the provider's default, and stays where it has none", async () => {
    const given = cases.find(({ type }) => type === "aws:rds/instance:Instance");
    assert.ok(given);
    const flags = {
      autoMinorVersionUpgrade: false,
      copyTagsToSnapshot: true,
      publiclyAccessible: true,
      deletionProtection: true,
      multiAz: true,
    };
    const without = Object.fromEntries(Object.entries(given.inputs).filter(([name]) => !(name in flags)));
    const kept = await provider.create(given.type, { ...without, ...flags });
    const inputs = await provider.check(given.type, without, kept.inputs);
    assert.equal(await provider.diff(kept, inputs), "update");
    const updated = await provider.update(kept, inputs);
    const shown = await real(given, updated);
    const back = { autoMinorVersionUpgrade: true, copyTagsToSnapshot: false, publiclyAccessible: false };
    for (const [name, value] of Object.entries({ ...back, deletionProtection: false, multiAz: true }))
      assert.equal(shown[name], value, name);
    assert.equal(await provider.diff(updated, inputs), "same");
    await provider.delete(updated);
  });

  /** The operations that making the resource calls, each once, in their order. */
  async function operationsToMake(each: Case): Promise<readonly string[]> {
    const { calls } = emulator.recorder;
    const before = calls.length;
    const kept = await provider.create(each.type, each.inputs);
    const called = calls.slice(before).map(({ operation }) => operation);
    await provider.delete(kept);
    return [...new Set(called)];
  }

  /** The resource after one of these operations was refused once while it was made, and the program was run again. */
  async function madeInTwoRuns(each: Case, operation: string): Promise<Kept> {
    const effect = { kind: "error", code: "InternalError", status: 500 } as const;
    const fault = emulator.faults.inject({ at: "call", when: { operation }, effect });
    try {
      // What is called before it is authorised, or in the background, does not keep the resource from being made.
      return await provider.create(each.type, each.inputs);
    } catch (error) {
      // Nothing is left of what the engine is not told of, so it can be made as if for the first time.
      if (!(error instanceof HalfMade)) return await provider.create(each.type, each.inputs);
      return await provider.update(error.kept, error.kept.inputs);
    } finally {
      fault.remove();
    }
  }

  it("is there when its resource was half made and the program is run again, whichever call had failed", async function () {
    this.timeout(300_000);
    const problems: string[] = [];
    for (const each of cases) {
      for (const operation of await operationsToMake(each)) {
        try {
          const kept = await madeInTwoRuns(each, operation);
          const found = await provider.read(kept);
          assert.ok(found, "it is gone");
          assert.equal(await provider.diff(found, kept.inputs), "same");
          await provider.delete(kept);
        } catch (error) {
          problems.push(`${each.type}, after a failed ${operation}: ${(error as Error).message}`);
        }
      }
    }
    assert.deepEqual(problems, []);
  });
});

/** What was asked for is there; what else is there is the service's own. */
function assertShows(outputs: Values, name: string, value: unknown): void {
  assert.ok(covers(value, outputs[name]), `it is ${JSON.stringify(outputs[name])}, not ${JSON.stringify(value)}`);
}

function covers(wanted: unknown, found: unknown): boolean {
  // A document may be written in another way.
  if (typeof wanted === "string" && typeof found === "string" && wanted.startsWith("{"))
    return wanted.replaceAll(/\s/g, "") === found.replaceAll(/\s/g, "");
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(found) &&
      wanted.length === found.length &&
      wanted.every((each) => found.some((other) => covers(each, other)))
    );
  }
  if (typeof wanted !== "object" || wanted === null) return wanted === found;
  if (typeof found !== "object" || found === null) return false;
  return Object.entries(wanted).every(([name, each]) => covers(each, (found as Values)[name]));
}
