import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { SSMClient } from "@aws-sdk/client-ssm";
import { type Emulator, startEmulator } from "../../emulator/emulator";
import type { Clients } from "../../jobs/clients";
import { AwsEngine } from "../../jobs/engines/aws";
import type { Job } from "../../jobs/job";
import { acquire, checkHeld, release } from "../../jobs/lease";
import { createLog } from "../../jobs/log";
import { FactStore } from "../../jobs/store/facts";
import { S3Objects } from "../../jobs/store/objects";
import { deadlineIn } from "../../jobs/time";
import { runId } from "../../run/ids";
import type { Plan } from "../../run/plan";
import { client } from "../emulator/support";
import { FakeClient } from "./memory-objects";

const bucket = "recovery-store";
const arn = "arn:aws:rds:us-east-1:123456789012:db:shop";

describe("the jobs on the services themselves", () => {
  let emulator: Emulator;
  let s3: S3Client;
  /** How the executions of all runs are. */
  let execution = "InProgress";

  before(async () => {
    emulator = await startEmulator();
    s3 = client(emulator, S3Client);
    await s3.send(new CreateBucketCommand({ Bucket: bucket }));
  });
  after(() => emulator.close());

  const store = (): FactStore => new FactStore(new S3Objects(client(emulator, S3Client), bucket));

  function job(number: number): Job {
    const pipeline = new FakeClient({
      GetPipelineExecution: () => ({ pipelineExecution: { status: execution } }),
      ListActionExecutions: () => ({ actionExecutionDetails: [] }),
    });
    const clients = {
      s3: () => Promise.resolve(s3),
      ssm: () => Promise.resolve(client(emulator, SSMClient)),
      codepipeline: () => Promise.resolve(pipeline),
      codebuild: () => Promise.resolve(new FakeClient({ BatchGetBuilds: () => ({ builds: [] }) })),
    } as unknown as Clients;
    const plan = { pipeline: { name: "shop" }, store: { bucket }, environment: "shop", region: "us-east-1" };
    return {
      command: "protect",
      run: runId(`${String(number).padStart(8, "0")}-bbfd-4b2d-9b5d-ab8dfbbd4bed`),
      build: `protect:${number}`,
      caFile: "",
      log: createLog(() => undefined),
      plan: { ...plan, pollSeconds: 0.02 } as unknown as Plan,
      clients,
      store: store(),
    };
  }

  it("write a fact once, however many write it at the same moment", async () => {
    const { run } = job(1);
    const at = new Date().toISOString();
    const writes = Array.from({ length: 12 }, (_, index) =>
      store().writeRun(run, "admitted", { at, build: `d:${index}` }),
    );
    const written = await Promise.all(writes);
    assert.equal(written.filter(({ mine }) => mine).length, 1);
    assert.equal(new Set(written.map(({ fact }) => fact.build)).size, 1);
    assert.equal((await store().load(run)).admitted?.build, written[0]?.fact.build);
  });

  it("give a lease to one run at a time, and to the next when it was given back", async () => {
    execution = "InProgress";
    const jobs = [job(2), job(3), job(4)];
    const holders: number[] = [];
    let most = 0;
    let holding = 0;
    await Promise.all(
      jobs.map(async (each, index) => {
        await acquire(each, arn, deadlineIn(30));
        most = Math.max(most, ++holding);
        holders.push(index);
        await checkHeld(each, arn);
        holding--;
        await release(each, arn);
        await assert.rejects(checkHeld(each, arn), /does not hold the lease/);
      }),
    );
    assert.deepEqual([most, holders.sort()], [1, [0, 1, 2]]);
  });

  it("let a run that holds a lease take it again, but not after it was given back", async () => {
    const mine = job(5);
    await acquire(mine, arn, deadlineIn(5));
    await acquire(mine, arn, deadlineIn(5));
    await release(mine, arn);
    await assert.rejects(acquire(mine, arn, deadlineIn(5)), /start a new execution/);
  });

  it("take a lease over from a run that is over and deployed nothing, and wait for one that is not", async () => {
    await acquire(job(6), arn, deadlineIn(5));
    await assert.rejects(acquire(job(7), arn, deadlineIn(0.2)), /gave up waiting for the lease/);
    execution = "Failed";
    await acquire(job(7), arn, deadlineIn(5));
    await assert.rejects(checkHeld(job(6), arn), /run 00000007-.* has it/);
  });

  it("keep a dump in the vault and read it back, byte for byte", async () => {
    const engine = new AwsEngine(job(8));
    const parts = Array.from({ length: 40 }, (_, index) => Buffer.alloc(500_000, index));
    const { recoveryPoint } = await engine.storeStream("shop-database", Readable.from(parts), { "a:b": "c" });
    const back = await buffer(await engine.openStream(recoveryPoint));
    assert.ok(back.equals(Buffer.concat(parts)));
  });

  it("keep nothing of a dump that failed", async () => {
    const broken = Readable.from(
      (async function* () {
        for (let part = 0; part < 40; part++) yield Promise.resolve(Buffer.alloc(500_000, part));
        throw new Error("pg_dump ended with exit code 1");
      })(),
    );
    await assert.rejects(new AwsEngine(job(9)).storeStream("shop-database", broken, {}), /pg_dump ended/);
    const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `vault/${job(9).run}/` }));
    assert.deepEqual(Contents ?? [], []);
  });

  it("say which recovery point is not there", async () => {
    await assert.rejects(new AwsEngine(job(9)).openStream("vault/none"), /NoSuchKey|does not exist/);
  });
});
