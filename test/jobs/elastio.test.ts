import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { Clients } from "../../jobs/clients";
import { ElastioEngine } from "../../jobs/engines/elastio";
import { classifyJob, parseStarted, parseStored, withoutTokens } from "../../jobs/engines/elastio-output";
import type { Machine } from "../../jobs/engines/engine";
import { createLog } from "../../jobs/log";
import { deadlineIn } from "../../jobs/time";
import type { Plan } from "../../run/plan";
import { liveVolume, run } from "./world";
import { FakeClient } from "./memory-objects";

const token = "zVUj+dWMm/5R0sOJOWKep8PMW4tqa37KtUL5o+T6OHk=";

describe("an answer of elastio", () => {
  const command = "elastio ec2 backup";

  it("may hold the abort token in either of the two known places", () => {
    const top = parseStarted(command, JSON.stringify({ job_id: "j-01gdg3gx59", abort_token: token }));
    const inner = parseStarted(command, JSON.stringify({ job_id: "j-01gdg3gx59", data: { abort_token: token } }));
    assert.deepEqual([top.abortToken, inner.abortToken], [token, token]);
  });

  it("without a token is that of a job which ran already", () => {
    const started = parseStarted(command, JSON.stringify({ job_state: { kind: "Existing", job_id: "j-01gdg3gx59" } }));
    assert.deepEqual(started, { job: "j-01gdg3gx59", abortToken: undefined });
  });

  for (const [name, output] of [
    ["nothing", ""],
    ["only a line break", "\n"],
    ["text", "This operation will run as a background job"],
    ["no id", "{}"],
    ["null as an id", '{"job_id":null}'],
    ["the word null as an id", '{"job_id":"null"}'],
    ["another kind of id", '{"job_id":"rp-01gdg3gx59"}'],
  ] as const) {
    it(`that is ${name} starts no job`, () => assert.throws(() => parseStarted(command, output), /elastio ec2 backup/));
  }

  it("about a stream counts only as Succeeded with the id of a recovery point", () => {
    const answer = (status: string, rp: unknown) => JSON.stringify({ status, data: { rp_id: rp } });
    assert.equal(parseStored(command, answer("Succeeded", "rp-01gdg3gx59")), "rp-01gdg3gx59");
    assert.equal(parseStored(command, answer("Succeeded", "r-01gdg3gx59")), "r-01gdg3gx59");
    for (const wrong of [
      answer("Failed", "rp-01gdg3gx59"),
      answer("Succeeded", "null"),
      answer("Succeeded", null),
      "",
    ]) {
      assert.throws(() => parseStored(command, wrong));
    }
  });

  it("never shows a token in an error", () => {
    const answer = JSON.stringify({
      abort_token: token,
      data: { abort_token: token },
      message: `Abort token: ${token}`,
    });
    assert.throws(
      () => parseStarted(command, answer),
      (error: Error) => !error.message.includes(token) && error.message.includes("***"),
    );
    assert.equal(withoutTokens(`Abort token: ${token}`).includes(token), false);
  });
});

describe("the state of a job of elastio", () => {
  const table: [string, string, string][] = [
    ["done", '{"error":null,"status":"Succeeded","data":{"rp_id":"rp-01gdg3gx59"}}', "done"],
    ["running", '{"error":"Job j-1 is still running","status":null}', "running"],
    ["running, in words of a queue", '{"error":{"message":"the job has not finished yet"}}', "running"],
    ["running, by its status", '{"error":null,"status":"Running"}', "running"],
    ["failed", '{"error":null,"status":"Failed"}', "failed"],
    ["aborted", '{"error":null,"status":"Aborted"}', "failed"],
    ["unknown to Elastio", '{"error":"job not found"}', "failed"],
    ["denied", '{"error":"AccessDenied: not authorized"}', "failed"],
    ["ended, in an error's text", '{"error":"the job was aborted"}', "failed"],
    ["a status that nobody knows", '{"error":null,"status":"Wonderful"}', "failed"],
    ["nothing", "", "unknown"],
    ["not JSON", "panic: oh", "unknown"],
    ["an empty object", "{}", "unknown"],
    ["an error that nobody knows", '{"error":"xyzzy"}', "unknown"],
  ];
  for (const [name, output, kind] of table) {
    it(`is ${kind} when the answer is ${name}`, () => assert.equal(classifyJob(output).kind, kind));
  }

  it("names the recovery point only when it looks like one", () => {
    const look = classifyJob('{"error":null,"status":"Succeeded","data":{"rp_id":"null"}}');
    assert.deepEqual(look, { kind: "done", recoveryPoint: undefined });
  });
});

describe("the engine elastio", () => {
  let folder: string;
  let lines: string[];
  const path = process.env["PATH"];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "elastio-"));
    lines = [];
    process.env["PATH"] = `${join(__dirname, "fixtures/bin")}${delimiter}${path ?? ""}`;
    process.env["ELASTIO_FIXTURE"] = folder;
  });
  afterEach(() => {
    process.env["PATH"] = path;
    delete process.env["ELASTIO_FIXTURE"];
    rmSync(folder, { recursive: true });
  });

  function engine(
    answers: object,
    ec2: FakeClient = new FakeClient({}),
    plan: Partial<Plan> = { pollSeconds: 0.01 },
  ): ElastioEngine {
    writeFileSync(join(folder, "answers.json"), JSON.stringify(answers));
    const clients = { ec2: () => Promise.resolve(ec2) } as unknown as Clients;
    const log = createLog((line) => lines.push(line));
    return new ElastioEngine({ clients, log, plan: plan as Plan, run });
  }
  const calls = (): string[][] =>
    readFileSync(join(folder, "calls"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as string[]);
  const machine: Machine = {
    instanceId: "i-0123456789abcdef0",
    zone: "us-east-1a",
    volumes: [{ ...liveVolume, device: "/dev/xvda" }],
    others: [],
  };

  it("backs an instance up with the very command, and logs it", async () => {
    const answers = { "ec2 backup": [{ out: { job_id: "j-01gdg3gx59", abort_token: token } }] };
    const started = await engine(answers).backupInstance(machine, { "protected-pipeline:run": "r1" });
    assert.equal(started.job, "j-01gdg3gx59");
    const words = "ec2 backup --instance-id i-0123456789abcdef0 --tag protected-pipeline-run=r1 --output-format json";
    assert.deepEqual(calls(), [words.split(" ")]);
    assert.ok(lines.includes(`$ elastio ${words}`));
    assert.ok(!lines.some((line) => line.includes(token)));
  });

  it("leaves a job alone whose run has failed, unless its owner says otherwise", async () => {
    const answers = { "ec2 backup": [{ out: { job_id: "j-01gdg3gx59", data: { abort_token: token } } }] };
    await (await engine(answers).backupInstance(machine, {})).abort();
    assert.equal(calls().length, 1);
    const aborting = { pollSeconds: 0.01, elastio: { abortOnFailure: true } };
    await (await engine(answers, undefined, aborting).backupInstance(machine, {})).abort();
    assert.deepEqual(calls().at(-1), "job abort --job-id j-01gdg3gx59 --output-format json".split(" "));
    // The program of this test does not know the command: that is told, and fails nothing.
    assert.match(lines.at(-1) ?? "", /^job j-01gdg3gx59 goes on: .*exit code 64: unknown: job abort/);
    assert.ok(!JSON.stringify([...lines, calls()]).includes(token));
  });

  it("isolates a restored copy before it stops it, where there is a group for it", async () => {
    const ec2 = ec2WithCopy(1);
    const plan = { pollSeconds: 0.01, elastio: { abortOnFailure: false, isolationGroupId: "sg-0none" } };
    await engine(restored, ec2, plan).volumes(machine, "rp-01gdg3gx59", [], deadlineIn(30));
    const done = ec2.sent.filter(({ name }) => !name.startsWith("Describe"));
    assert.deepEqual(
      done.map(({ name }) => name),
      ["ModifyInstanceAttribute", "StopInstances", "CreateTags", "DetachVolume"],
    );
    assert.deepEqual(done[0]?.input, { InstanceId: "i-0c", Groups: ["sg-0none"] });
  });

  it("waits for a job through answers that say that it runs, and some that say nothing", async () => {
    const running = { out: { error: "still running" } };
    const done = { out: { error: null, status: "Succeeded", data: { rp_id: "rp-01gdg3gx59" } } };
    const answers = { "job output": [running, {}, { code: 1, err: "throttled" }, running, done] };
    assert.equal(await engine(answers).finishInstanceBackup("j-01gdg3gx59", machine, deadlineIn(30)), "rp-01gdg3gx59");
    assert.equal(calls().length, 5);
    assert.equal(lines.filter((line) => line.startsWith("$ elastio job output --job-id j-01gdg3gx59")).length, 1);
  });

  it("gives up a job that failed at once, with what Elastio says", async () => {
    const answers = { "job output": [{ out: { error: null, status: "Failed" } }] };
    await assert.rejects(
      engine(answers).finishInstanceBackup("j-01gdg3gx59", machine, deadlineIn(30)),
      /ended as Failed/,
    );
    assert.equal(calls().length, 1);
  });

  it("gives up a job that Elastio does not know at once, though the program's exit code says an error", async () => {
    const answers = {
      "job output": [{ out: { error: "The job `j-01gdg3gx59` was not found", status: null }, code: 1 }],
    };
    await assert.rejects(
      engine(answers).finishInstanceBackup("j-01gdg3gx59", machine, deadlineIn(30)),
      /was not found/,
    );
    assert.equal(calls().length, 1);
  });

  it("believes no success of a program that failed", async () => {
    const done = { error: null, status: "Succeeded", data: { rp_id: "rp-01gdg3gx59" } };
    const answers = { "job output": [{ out: done, code: 1, err: "lost" }] };
    await assert.rejects(
      engine(answers).finishInstanceBackup("j-01gdg3gx59", machine, deadlineIn(600)),
      /nobody knows.*lost/,
    );
  });

  it("gives up a job of which nothing is understood, long before the deadline", async () => {
    const answers = { "job output": [{ out: { error: "xyzzy" } }] };
    await assert.rejects(
      engine(answers).finishInstanceBackup("j-01gdg3gx59", machine, deadlineIn(600)),
      /nobody knows.*xyzzy/,
    );
  });

  it("gives up a job that runs past the deadline", async () => {
    const answers = { "job output": [{ out: { error: "still running" } }] };
    await assert.rejects(
      engine(answers).finishInstanceBackup("j-01gdg3gx59", machine, deadlineIn(0.2)),
      /gave up waiting for job/,
    );
  });

  it("takes no success without a recovery point for one", async () => {
    const answers = { "job output": [{ out: { error: null, status: "Succeeded", data: {} } }] };
    await assert.rejects(
      engine(answers).finishInstanceBackup("j-01gdg3gx59", machine, deadlineIn(30)),
      /names no recovery point/,
    );
  });

  it("stores every byte of a stream", async () => {
    const answers = {
      "stream backup": [{ stdin: "keep", out: { status: "Succeeded", data: { rp_id: "rp-01gdg3gx59" } } }],
    };
    const dump = Readable.from([Buffer.alloc(300_000, "a"), Buffer.alloc(5, "b")]);
    const stored = await engine(answers).storeStream("shop-database", dump, {});
    assert.equal(stored.recoveryPoint, "rp-01gdg3gx59");
    assert.equal(readFileSync(join(folder, "stdin")).length, 300_005);
  });

  it("makes no recovery point of a stream that failed: the program never sees its end", async () => {
    const answers = {
      "stream backup": [{ stdin: "keep", out: { status: "Succeeded", data: { rp_id: "rp-01gdg3gx59" } } }],
    };
    const dump = Readable.from(
      (async function* () {
        yield Buffer.alloc(100_000, "a");
        throw new Error("pg_dump ended with exit code 1");
      })(),
    );
    await assert.rejects(engine(answers).storeStream("shop-database", dump, {}), /pg_dump ended with exit code 1/);
    assert.equal(existsSync(join(folder, "stdin")), false);
  });

  it("ends a stream that the vault refuses, and says why", async () => {
    const dump = Readable.from(
      (async function* () {
        for (;;) yield Promise.resolve(Buffer.alloc(100_000));
      })(),
    );
    const answers = { "stream backup": [{ code: 3, err: "the vault is full" }] };
    await assert.rejects(engine(answers).storeStream("shop-database", dump, {}), /exit code 3: the vault is full/);
    assert.equal(dump.destroyed, true);
  });

  it("reads a stream back whole", async () => {
    const stream = await engine({ "stream restore": [{ bytes: 200_000 }] }).openStream("rp-01gdg3gx59");
    assert.equal((await buffer(stream)).length, 200_000);
    assert.deepEqual(calls(), [["stream", "restore", "--rp", "rp-01gdg3gx59"]]);
  });

  it("takes the early end of a stream for an error, never for a short stream", async () => {
    const stream = await engine({ "stream restore": [{ bytes: 1000, code: 1, err: "lost" }] }).openStream(
      "rp-01gdg3gx59",
    );
    await assert.rejects(buffer(stream), /exit code 1: lost/);
  });

  it("says so when the program is not there", async () => {
    const engineWithout = engine({});
    process.env["PATH"] = "/nowhere";
    await assert.rejects(engineWithout.backupInstance(machine, {}), /cannot run elastio/);
  });

  /** EC2 with one restored copy, which can be seen after so many looks. */
  function ec2WithCopy(visibleAfter: number) {
    let state = "pending";
    let attached = true;
    let looks = 0;
    const mapping = { DeviceName: "/dev/xvda", Ebs: { VolumeId: "vol-0c", DeleteOnTermination: true } };
    const client = new FakeClient({
      DescribeInstances: () => {
        const copy = {
          InstanceId: "i-0c",
          State: { Name: state },
          Placement: { AvailabilityZone: "us-east-1a" },
          RootDeviceName: "/dev/xvda",
          RootDeviceType: "ebs",
          BlockDeviceMappings: attached ? [mapping] : [],
        };
        const shown = looks++ < visibleAfter || state === "terminated" ? [] : [{ Instances: [copy] }];
        if (state === "stopping") state = "stopped";
        return { Reservations: shown };
      },
      StopInstances: () => ((state = "stopping"), {}),
      DescribeVolumes: ({ VolumeIds }) => ({
        Volumes:
          VolumeIds === undefined
            ? []
            : [
                {
                  VolumeId: "vol-0c",
                  State: attached ? "in-use" : "available",
                  Attachments: attached ? [{ InstanceId: "i-0c" }] : [],
                },
              ],
      }),
      CreateTags: () => ({}),
      DetachVolume: () => ((attached = false), {}),
      TerminateInstances: () => ((state = "terminated"), {}),
      ModifyInstanceAttribute: () => ({}),
    });
    return client;
  }
  const restored = {
    "ec2 restore": [{ out: { job_id: "j-02gdg3gx59" } }],
    "job output": [{ out: { error: "still running" } }, { out: { error: null, status: "Succeeded", data: {} } }],
  };

  it("restores an instance by a copy that it stops at first sight, and takes over its root volume", async () => {
    const ec2 = ec2WithCopy(2);
    const elastio = engine(restored, ec2);
    const root = await elastio.volumes(machine, "rp-01gdg3gx59", [], deadlineIn(30));
    assert.deepEqual(root, [{ device: "/dev/xvda", volumeId: "vol-0c" }]);
    const done = ec2.sent.map(({ name }) => name).filter((name) => !name.startsWith("Describe"));
    assert.deepEqual(done, ["StopInstances", "CreateTags", "DetachVolume"]);
    assert.ok(calls().some((args) => args.join(" ") === "ec2 restore --rp rp-01gdg3gx59 --output-format json"));
    await elastio.removeLeftovers("rp-01gdg3gx59");
    assert.equal(ec2.sent.at(-1)?.name, "TerminateInstances");
  });

  it("goes on with the copy that an earlier healer had made, instead of making another", async () => {
    const volumes = await engine(restored, ec2WithCopy(0)).volumes(machine, "rp-01gdg3gx59", [], deadlineIn(30));
    assert.deepEqual(volumes, [{ device: "/dev/xvda", volumeId: "vol-0c" }]);
    assert.equal(existsSync(join(folder, "calls")), false);
  });

  it("gives up when the restore fails, without waiting for a copy", async () => {
    const answers = { ...restored, "job output": [{ out: { error: null, status: "Failed" } }] };
    const never = engine(answers, ec2WithCopy(1_000_000));
    await assert.rejects(never.volumes(machine, "rp-01gdg3gx59", [], deadlineIn(2)), /ended as Failed/);
  });
});
