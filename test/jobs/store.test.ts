import assert from "node:assert/strict";
import type { S3Client } from "@aws-sdk/client-s3";
import { FactStore, runsOf } from "../../jobs/store/facts";
import { S3Objects } from "../../jobs/store/objects";
import { deadlineIn } from "../../jobs/time";
import { runId } from "../../run/ids";
import { MemoryObjects, fakeS3, serviceError } from "./memory-objects";

const run = runId("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
const other = runId("2b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
const at = "2026-01-02T03:04:05.678Z";

const objectsWith = (client: unknown): S3Objects =>
  new S3Objects(client as Pick<S3Client, "send">, "store", () => deadlineIn(5));

describe("an object of the recovery store", () => {
  it("is created once; a second writer learns that somebody else was first", async () => {
    const objects = objectsWith(fakeS3(new Map()));
    assert.equal(await objects.create("runs/x", "one"), "created");
    assert.equal(await objects.create("runs/x", "two"), "exists");
    assert.equal(await objects.get("runs/x"), "one");
  });

  it("counts as created when the first answer was lost and the body is this writer's own", async () => {
    const stored = new Map<string, string>();
    let lost = false;
    const client = fakeS3(stored, (name) => {
      if (name !== "PutObject" || lost) return;
      lost = true;
      stored.set("runs/x", "mine");
      // What the SDK's own retry then meets is the object of the attempt before.
    });
    assert.equal(await objectsWith(client).create("runs/x", "mine"), "created");
  });

  it("is tried again when S3 answers that another conditional write is under way", async () => {
    let conflicts = 2;
    const client = fakeS3(new Map(), (name) => {
      if (name === "PutObject" && conflicts-- > 0) throw serviceError("ConditionalRequestConflict", 409);
    });
    assert.equal(await objectsWith(client).create("runs/x", "one"), "created");
    assert.equal(client.sent.filter(({ name }) => name === "PutObject").length, 3);
  });

  it("is always written with the condition that the bucket demands", async () => {
    const client = fakeS3(new Map());
    await objectsWith(client).create("runs/x", "one");
    assert.equal(client.sent[0]?.input["IfNoneMatch"], "*");
  });

  it("is absent only when S3 says so: a denied read is an error that names the object", async () => {
    const client = fakeS3(new Map(), () => {
      throw serviceError("AccessDenied", 403);
    });
    await assert.rejects(objectsWith(client).get("runs/x"), /could not read s3:\/\/store\/runs\/x: AccessDenied/);
    assert.equal(await objectsWith(fakeS3(new Map())).get("runs/x"), undefined);
  });

  it("is listed over all pages", async () => {
    const stored = new Map(["a", "b", "c", "d", "e"].map((key) => [`runs/${key}`, ""]));
    assert.equal((await objectsWith(fakeS3(stored)).list("runs/")).length, 5);
  });
});

describe("a fact", () => {
  it("that stands is not replaced, and whoever came second is told which one stands", async () => {
    const store = new FactStore(new MemoryObjects());
    const first = await store.writeRun(run, "admitted", { at, build: "deploy:1" });
    const second = await store.writeRun(run, "admitted", { at, build: "deploy:2" });
    assert.deepEqual([first.mine, second.mine, second.fact.build], [true, false, "deploy:1"]);
  });

  it("that its schema does not know is an error, not an absence", async () => {
    const objects = new MemoryObjects();
    const store = new FactStore(objects);
    objects.objects.set(`runs/${run}/ticket.json`, JSON.stringify({ at, build: "guard:1" }));
    await assert.rejects(store.run(run, "ticket"), /runs\/1b9d6bcd-.*ticket\.json is not valid/);
    objects.objects.set(`runs/${run}/ticket.json`, "");
    await assert.rejects(store.run(run, "ticket"), /is not JSON/);
  });

  it("that could not be read back is not written", async () => {
    const objects = new MemoryObjects();
    const fact = { at: "yesterday", build: "guard:1" };
    await assert.rejects(new FactStore(objects).writeClaim(run, 1, fact), /is not valid/);
    assert.equal(objects.objects.size, 0);
  });

  it("of the claims comes in the order of their numbers", async () => {
    const objects = new MemoryObjects();
    const store = new FactStore(objects);
    for (let number = 1; number <= 11; number++) await store.writeClaim(run, number, { at, build: `rescue:${number}` });
    const { claims } = await store.load(run);
    assert.deepEqual(
      claims.map(({ build }) => build),
      Array.from({ length: 11 }, (_, index) => `rescue:${index + 1}`),
    );
  });
});

describe("the runs of a store", () => {
  const at = new Date("2026-01-02T03:04:05.678Z");
  const third = runId("3b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
  const fourth = runId("4b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
  const listed = (...keys: string[]) => keys.map((key) => ({ key: `runs/${key}.json`, at }));

  it("are open until they have a verdict or an operator has settled them", () => {
    const keys = listed(`${run}/opened`, `${run}/verdict`, `${other}/opened`, `${third}/opened`, `${third}/resolution`);
    assert.deepEqual(runsOf([...keys, ...listed("x/ticket")]).open, [other]);
  });

  it("are looked at, once they have ended, until nothing is left of them", () => {
    const keys = [run, third, fourth].flatMap((each) => listed(`${each}/opened`, `${each}/verdict`));
    const { ended } = runsOf([...keys, ...listed(`${third}/cleared`, `${other}/opened`)]);
    assert.deepEqual(ended, [
      { run, at },
      { run: fourth, at },
    ]);
  });
});
