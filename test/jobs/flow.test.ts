import assert from "node:assert/strict";
import { admit } from "../../jobs/admit";
import { guard } from "../../jobs/guard/guard";
import { protect } from "../../jobs/protect";
import { rescue } from "../../jobs/rescue";
import { wait } from "../../jobs/wait";
import { World, instanceId, run } from "./world";

const environment = { RUN_ID: run };

describe("a run", () => {
  let world: World;
  beforeEach(async () => (world = await World.open()));
  afterEach(() => world.close());

  const rootOf = (): string | undefined => world.instances[instanceId]?.root;
  const lastLine = (): string => world.lines.at(-1) ?? "";
  const leaseReleased = (): boolean => [...world.parameters.keys()].some((name) => name.endsWith("/1/released"));

  /** The release breaks the application and its build fails. */
  const breaks = (): void => {
    world.status["vol-0live"] = 500;
    world.builds["deploy:1"] = "FAILED";
  };

  it("whose deploy fails is healed, ends red with 3, and the last line says why", async () => {
    await world.proven();
    world.commands = ["c-release"];
    world.deploys(breaks);
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3);
    const { verdict } = await world.facts();
    assert.equal(verdict?.verdict, "healed");
    assert.equal(lastLine(), "healed: the deploy build ended as FAILED; shop-test is as it was before");
    assert.equal(rootOf(), "vol-0copy");
    assert.deepEqual(world.commands, []);
    assert.equal(world.instances["i-0copy"]?.state, "terminated");
    assert.equal(world.tags["vol-0live"]?.["protected-pipeline:evidence"], "failed-volume");
    assert.equal(leaseReleased(), true);
  });

  it("that was healed tells its figures, whose parts are within the whole", async () => {
    await world.proven();
    world.deploys(breaks);
    await guard(world.build("guard:1", "guard"), environment);
    const { rto, rpo, outage } = (await world.facts()).verdict ?? {};
    assert.ok(rto !== undefined && rpo !== undefined && outage !== undefined);
    assert.ok(rto.total > 0 && rto.total >= rto.decision && rto.total >= rto.instance);
    assert.ok(rpo >= 0 && outage > 0);
  });

  it("whose deploy succeeds is healthy, and nothing is touched", async () => {
    await world.proven();
    world.deploys(() => world.end("deploy:1"));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 0);
    assert.equal((await world.facts()).verdict?.verdict, "healthy");
    assert.equal(rootOf(), "vol-0live");
    assert.equal(leaseReleased(), true);
  });

  it("whose deploy succeeds, and whose application is not well then, is healed", async () => {
    await world.proven();
    world.deploys(() => {
      world.status["vol-0live"] = 500;
      world.end("deploy:1");
    });
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3);
    assert.match(lastLine(), /application is not well after the deploy/);
  });

  it("whose deploy does not end is stopped at the deadline, and healed", async () => {
    world.plan = { ...world.plan, deadlines: { ...world.plan.deadlines, deploySeconds: 0.2 } };
    await world.proven();
    world.deploys(() => (world.status["vol-0live"] = 500));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3);
    assert.equal(world.builds["deploy:1"], "STOPPED");
  });

  it("of a pipeline that observes is not healed, and says so", async () => {
    world.plan = { ...world.plan, mode: "observe" };
    await world.proven();
    world.deploys(breaks);
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 6);
    assert.equal(rootOf(), "vol-0live");
  });

  it("whose application is not well before the deploy never gets a ticket", async () => {
    world.plan = { ...world.plan, deadlines: { ...world.plan.deadlines, admitSeconds: 0.3 } };
    await world.proven();
    world.status["vol-0live"] = 500;
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 5);
    const { ticket, admitted } = await world.facts();
    assert.deepEqual([ticket, admitted?.closed], [undefined, true]);
    assert.match(lastLine(), /^not-deployed: refused before the deploy: the application is not well/);
  });

  it("whose Guard may not replace the volume never gets a ticket", async () => {
    await world.proven();
    world.denied.add("CreateReplaceRootVolumeTask");
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 5);
    assert.match(lastLine(), /replacing the root volume of i-0123456789abcdef0 would not be possible/);
    assert.equal((await world.facts()).ticket, undefined);
  });

  it("whose protection is too old never gets a ticket", async () => {
    world.plan = { ...world.plan, deadlines: { ...world.plan.deadlines, freshSeconds: 0.001 } };
    await world.proven();
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 5);
    assert.match(lastLine(), /Start a new execution/);
  });

  it("whose lease somebody else has taken never gets a ticket", async () => {
    await world.proven();
    const [name = "", value = ""] = [...world.parameters][0] ?? [];
    world.parameters.set(name.replace(/1$/, "2"), value.replace(run, "2b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"));
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 5);
    assert.match(lastLine(), /does not hold the lease/);
  });

  it("whose deploy never asks for admission is closed: a later deploy is refused", async () => {
    world.plan = { ...world.plan, deadlines: { ...world.plan.deadlines, admitSeconds: 0.2 } };
    await world.proven();
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 5);
    await assert.rejects(admit(world.build("deploy:2", "admit"), environment), /not admitted: the Guard refused/);
  });

  it("whose healing is denied fails, deletes nothing, keeps the lease, and says what to do by hand", async () => {
    await world.proven();
    world.deploys(() => {
      breaks();
      world.denied.add("CreateReplaceRootVolumeTask");
    });
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 4);
    assert.match(lastLine(), /^heal-failed: .*the healing failed while cutting over: UnauthorizedOperation/);
    assert.ok(world.lines.some((line) => line.includes("recovery point rp-01gdg3gx59")));
    assert.equal(leaseReleased(), false);
    assert.equal(world.ec2.sent.filter(({ name }) => /Delete|Terminate/.test(name)).length, 0);
  });

  it("whose restored files are not those that were protected is not healed, though the application is well", async () => {
    await world.proven();
    world.deploys(breaks);
    world.wrongFiles = true;
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 4);
    assert.match(lastLine(), /files in \/opt\/shop .* are not those that were protected/);
  });

  it("that has a verdict keeps its colour, however often it is tried again", async () => {
    await world.proven();
    world.deploys(breaks);
    assert.equal(await guard(world.build("guard:1", "guard"), environment), 3);
    world.status["vol-0copy"] = 500;
    assert.equal(await guard(world.build("guard:2", "guard"), environment), 3);
    assert.equal(await wait(world.build("wait:2", "wait"), environment), 3);
    assert.equal(await protect(world.build("protect:2", "protect"), environment), 3);
  });

  it("whose Guard is lost cannot become healthy by a second Guard: it is healed", async () => {
    await world.proven();
    const at = new Date().toISOString();
    await world.store.writeRun(run, "ticket", { at, build: "guard:1", deadline: at });
    await world.store.writeRun(run, "admitted", { at, build: "deploy:1" });
    world.builds["guard:1"] = "FAULT";
    world.builds["deploy:1"] = "SUCCEEDED";
    assert.equal(await guard(world.build("guard:2", "guard"), environment), 3);
    assert.match(lastLine(), /the Guard guard:1 was lost/);
  });

  it("whose Guard is at work is left alone by Rescue", async () => {
    await world.proven();
    const at = new Date().toISOString();
    await world.store.writeRun(run, "ticket", { at, build: "guard:1", deadline: at });
    world.builds["guard:1"] = "IN_PROGRESS";
    assert.equal(await rescue(world.build("rescue:1", "rescue"), environment), 0);
    assert.equal((await world.facts()).admitted, undefined);
  });

  it("whose Guard was lost is healed by Rescue, without being named, while its execution goes on", async () => {
    await world.proven();
    const at = new Date().toISOString();
    await world.store.writeRun(run, "ticket", { at, build: "guard:1", deadline: at });
    await world.store.writeRun(run, "admitted", { at, build: "deploy:1" });
    world.builds["guard:1"] = "STOPPED";
    world.builds["deploy:1"] = "IN_PROGRESS";
    world.status["vol-0live"] = 500;
    assert.equal(await rescue(world.build("rescue:1", "rescue"), {}), 0);
    const { verdict, claims } = await world.facts();
    assert.deepEqual([verdict?.verdict, claims.map(({ build }) => build)], ["healed", ["rescue:1"]]);
    assert.equal(world.builds["deploy:1"], "STOPPED");
  });

  it("is taken over from a healer that is over, and what is done already is not done again", async () => {
    await world.proven();
    const at = new Date().toISOString();
    await world.store.writeRun(run, "ticket", { at, build: "guard:1", deadline: at });
    await world.store.writeRun(run, "admitted", { at, build: "deploy:1" });
    await world.store.writeRun(run, "decided", {
      at,
      build: "guard:1",
      decision: "failed",
      reason: "the deploy build ended as FAILED",
      detectedAt: at,
    });
    await world.store.writeClaim(run, 1, { at, build: "guard:1" });
    await world.store.writeRun(run, "fenced", { at, sessionsEnded: 0 });
    const volumes = [{ device: "/dev/xvda", evidence: "vol-0live", volumeId: "vol-0copy" }];
    const done = { at, kind: "instance" as const, volumes, skipped: false };
    await world.store.writeTarget(run, "server", "cut-over", { ...done, milliseconds: 5 });
    world.instances[instanceId] = { state: "running", root: "vol-0copy" };
    world.builds["guard:1"] = "TIMED_OUT";
    assert.equal(await rescue(world.build("rescue:1", "rescue"), environment), 0);
    assert.equal((await world.facts()).verdict?.verdict, "healed");
    assert.equal(world.ec2.sent.filter(({ name }) => name === "CreateReplaceRootVolumeTask").length, 0);
  });

  it("that ended before its deploy is closed by Rescue", async () => {
    await world.proven();
    world.execution = "Failed";
    assert.equal(await rescue(world.build("rescue:1", "rescue"), environment), 0);
    assert.equal((await world.facts()).verdict?.verdict, "not-deployed");
  });

  it("admits one build once", async () => {
    await world.proven();
    const deadline = new Date(Date.now() + 60_000).toISOString();
    await world.store.writeRun(run, "ticket", { at: new Date().toISOString(), build: "guard:1", deadline });
    assert.equal(await admit(world.build("deploy:1", "admit"), environment), 0);
    assert.equal(await admit(world.build("deploy:1", "admit"), environment), 0);
    await assert.rejects(admit(world.build("deploy:2", "admit"), environment), /good for one deploy/);
  });

  it("admits one of two that ask at the same moment", async () => {
    await world.proven();
    const at = new Date().toISOString();
    const deadline = new Date(Date.now() + 60_000).toISOString();
    await world.store.writeRun(run, "ticket", { at, build: "guard:1", deadline });
    const create = world.objects.create.bind(world.objects);
    world.objects.create = async (key, body) => {
      await create(key, JSON.stringify({ at, build: "deploy:2" }));
      return create(key, body);
    };
    await assert.rejects(admit(world.build("deploy:1", "admit"), environment), /build deploy:2 was admitted/);
  });

  it("admits nobody on a ticket whose time has passed, or without one", async () => {
    world.plan = { ...world.plan, deadlines: { ...world.plan.deadlines, admitSeconds: 0.1 } };
    await assert.rejects(
      admit(world.build("deploy:1", "admit"), environment),
      /gave up waiting for the Guard's ticket/,
    );
    const at = new Date(Date.now() - 1000).toISOString();
    await world.store.writeRun(run, "ticket", { at, build: "guard:1", deadline: at });
    await assert.rejects(admit(world.build("deploy:1", "admit"), environment), /which has passed/);
  });

  it("protects, and waits for its proof", async () => {
    assert.equal(await protect(world.build("protect:1", "protect"), environment), 0);
    assert.equal(await wait(world.build("wait:1", "wait"), environment), 0);
    const { targets } = await world.facts();
    assert.deepEqual(Object.keys(targets["server"] ?? {}).sort(), [
      "cutOver",
      "frozen",
      "protected",
      "proven",
      "restored",
      "staged",
    ]);
    assert.equal(
      targets["server"]?.staged?.kind === "instance" && targets["server"].staged.recoveryPoint,
      "rp-01gdg3gx59",
    );
    assert.ok(world.lines.some((line) => line.startsWith(`$ elastio ec2 backup --instance-id ${instanceId}`)));
    assert.ok(world.lines.some((line) => line.startsWith("$ elastio job output --job-id j-01gdg3gx59")));
  });

  it("that the creation of the pipeline started is refused before anything is touched", async () => {
    world.trigger = "CreatePipeline";
    await assert.rejects(protect(world.build("protect:1", "protect"), environment), /started by the creation/);
    assert.equal(world.parameters.size, 0);
    assert.equal(world.objects.objects.size, 0);
  });

  it("is refused by name when an instance cannot be brought back", async () => {
    world.instances[instanceId] = { state: "stopped", root: "vol-0live" };
    await assert.rejects(
      protect(world.build("protect:1", "protect"), environment),
      /server: i-0123456789abcdef0 is stopped/,
    );
    assert.equal((await world.facts()).targets["server"]?.protected, undefined);
  });

  it("is blocked by an earlier one that deployed and has no verdict, with the command that settles it", async () => {
    await world.proven();
    const at = new Date().toISOString();
    await world.store.writeRun(run, "ticket", { at, build: "guard:1", deadline: at });
    await world.store.writeRun(run, "admitted", { at, build: "deploy:1" });
    world.execution = "Failed";
    const next = { RUN_ID: "3b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed" };
    await assert.rejects(
      protect(world.build("protect:3", "protect"), next),
      new RegExp(`settle it with \`protected-pipeline resolve ${run}\``),
    );
  });
});
