import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as codepipeline from "@aws-sdk/client-codepipeline";
import * as ec2 from "@aws-sdk/client-ec2";
import * as iam from "@aws-sdk/client-iam";
import * as s3 from "@aws-sdk/client-s3";
import * as scheduler from "@aws-sdk/client-scheduler";
import * as sts from "@aws-sdk/client-sts";
import ts from "typescript";
import type { CallFault, Install, Principal, Protocol } from "../../../emulator/core/definitions";
import { Faults, type Fault } from "../../../emulator/core/faults";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import { filesBelow, root as project, textOf } from "../../docs/pages";
import { client, clientSettings, withEmulator } from "../support";

const root: Principal = { kind: "root", arn: "arn:aws:iam::123456789012:root" };

/** One operation of STS, which numbers its calls. */
function counting(done: string[]): Install {
  const handle = (input: object): object => {
    done.push((input as { RoleArn?: string }).RoleArn ?? "");
    return { Credentials: { AccessKeyId: `AKIA${done.length}`, SecretAccessKey: "b", SessionToken: "c" } };
  };
  const assumeRole = { name: "AssumeRole", honours: ["RoleArn", "RoleSessionName"], authorize: () => [], handle };
  return () => ({
    signingName: "sts",
    protocol: "awsQuery",
    model: sts,
    operations: [assumeRole],
    resources: [],
    invokes: [],
  });
}

describe("A fault", () => {
  let emulator: Emulator;
  const done: string[] = [];

  before(async () => {
    emulator = await startEmulator({ services: [counting(done)] });
  });
  after(() => emulator.close());
  beforeEach(() => void done.splice(0));
  afterEach(() => emulator.faults.clear());

  const assume = async (RoleArn = "a role"): Promise<string | undefined> => {
    const command = new sts.AssumeRoleCommand({ RoleArn, RoleSessionName: "s" });
    const { Credentials } = await emulator.cloud.send(root, command);
    return Credentials?.AccessKeyId;
  };
  const inject = (fault: Omit<Fault<"call">, "at">) => emulator.faults.inject({ at: "call", ...fault });

  it("makes the nth call fail with a code, which does nothing then, and no other", async () => {
    const fault = inject({ nth: 2, effect: { kind: "error", code: "Odd", message: "odd", status: 503 } });
    assert.equal(await assume(), "AKIA1");
    await assert.rejects(assume(), { name: "Odd", message: "odd", status: 503 });
    assert.equal(await assume(), "AKIA2");
    assert.deepEqual([fault.seen, fault.struck], [3, 1]);
    await fault.happened;
  });

  it("strikes as often as it is told, and until it is taken away", async () => {
    const error: CallFault = { kind: "error", code: "Odd" };
    inject({ times: 2, effect: error });
    await assert.rejects(assume(), { name: "Odd" });
    await assert.rejects(assume(), { name: "Odd" });
    assert.equal(await assume(), "AKIA1");
    const lasting = inject({ times: Infinity, effect: error });
    for (let call = 0; call < 5; call++) await assert.rejects(assume(), { name: "Odd" });
    lasting.remove();
    assert.equal(await assume(), "AKIA2");
  });

  it("counts only the calls that it is about: by text, by pattern, by a test of the input", async () => {
    const effect: CallFault = { kind: "error", code: "Odd" };
    const about = (input: object): boolean => (input as { RoleArn: string }).RoleArn === "wanted";
    const fault = inject({
      when: { service: "sts", operation: /^Assume/, principal: /:root$/, input: about },
      nth: 2,
      effect,
    });
    assert.equal(await assume("other"), "AKIA1");
    assert.equal(await assume("wanted"), "AKIA2");
    assert.equal(await assume("other"), "AKIA3");
    await assert.rejects(assume("wanted"), { name: "Odd" });
    assert.deepEqual([fault.seen, fault.struck], [2, 1]);
    const none = inject({ when: { operation: "Assume" }, times: Infinity, effect });
    assert.equal(await assume("wanted"), "AKIA4");
    assert.equal(none.seen, 0);
  });

  it("that was injected first comes first, and each counts for itself", async () => {
    inject({ nth: 2, effect: { kind: "error", code: "First" } });
    const second = inject({ times: 2, effect: { kind: "error", code: "Second" } });
    await assert.rejects(assume(), { name: "Second" });
    await assert.rejects(assume(), { name: "First" });
    assert.deepEqual([second.seen, second.struck], [2, 2]);
    assert.equal(await assume(), "AKIA1");
  });

  it("hangs a call until it is released, and each of several by its own time", async () => {
    const fault = inject({ times: Infinity, effect: { kind: "hang" } });
    const first = assume();
    await fault.happened;
    assert.deepEqual(done, []);
    fault.release();
    assert.equal(await first, "AKIA1");
    const second = assume();
    await new Promise(setImmediate);
    assert.deepEqual([fault.struck, done.length], [2, 1]);
    fault.remove();
    assert.equal(await second, "AKIA2");
  });

  it("hangs a call whose caller gives up, and it is never done", async () => {
    const fault = inject({ effect: { kind: "hang" } });
    const caller = client(emulator, sts.STSClient);
    const patience = new AbortController();
    const call = caller.send(new sts.AssumeRoleCommand({ RoleArn: "r", RoleSessionName: "s" }), {
      abortSignal: patience.signal,
    });
    await fault.happened;
    patience.abort();
    await assert.rejects(call, { name: "AbortError" });
    const left = (): boolean => emulator.recorder.calls.some(({ error }) => error?.code === "RequestTimeout");
    for (let look = 0; !left() && look < 2_000; look++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(left(), "the call still waits for its caller");
    fault.release();
    assert.equal(await assume(), "AKIA1");
    caller.destroy();
  });

  it("makes a call late by the emulator's clock", async () => {
    const fault = inject({ effect: { kind: "slow", milliseconds: 3_600_000 } });
    const call = assume();
    await fault.happened;
    await new Promise(setImmediate);
    assert.deepEqual(done, []);
    emulator.cloud.clock.advance(3_600_000);
    assert.equal(await call, "AKIA1");
  });

  it("does a call twice and gives the second answer", async () => {
    inject({ effect: { kind: "twice" } });
    assert.equal(await assume(), "AKIA2");
    assert.equal(done.length, 2);
    assert.equal(await assume(), "AKIA3");
  });

  it("loses the answer of a call that was done", async () => {
    inject({ effect: { kind: "lost" } });
    await assert.rejects(assume(), { name: "InternalFailure", status: 500 });
    assert.equal(done.length, 1);
    assert.equal(await assume(), "AKIA2");
  });

  it("meets the SDK's own retries as the cloud's would", async () => {
    inject({ times: 2, effect: { kind: "throttle" } });
    const patient = new sts.STSClient({ ...clientSettings(emulator), maxAttempts: 3 });
    const answer = await patient.send(new sts.AssumeRoleCommand({ RoleArn: "r", RoleSessionName: "s" }));
    assert.equal(answer.Credentials?.AccessKeyId, "AKIA1");
    assert.equal(answer.$metadata.attempts, 3);
    patient.destroy();
  });
});

describe("Throttling", () => {
  const ways: readonly (readonly [
    Protocol,
    string,
    object,
    string,
    (emulator: Emulator) => Promise<unknown>,
    object,
  ])[] = [
    [
      "awsJson1_1",
      "codepipeline",
      codepipeline,
      "ListPipelines",
      (emulator) => client(emulator, codepipeline.CodePipelineClient).send(new codepipeline.ListPipelinesCommand({})),
      { name: "ThrottlingException", message: "Rate exceeded" },
    ],
    [
      "awsQuery",
      "iam",
      iam,
      "GetRole",
      (emulator) => client(emulator, iam.IAMClient).send(new iam.GetRoleCommand({ RoleName: "x" })),
      { name: "Throttling", message: "Rate exceeded" },
    ],
    [
      "ec2Query",
      "ec2",
      ec2,
      "DescribeVpcs",
      (emulator) => client(emulator, ec2.EC2Client).send(new ec2.DescribeVpcsCommand({})),
      { name: "RequestLimitExceeded" },
    ],
    [
      "restXml",
      "s3",
      s3,
      "ListBuckets",
      (emulator) => client(emulator, s3.S3Client).send(new s3.ListBucketsCommand({})),
      { name: "SlowDown" },
    ],
    [
      "restJson1",
      "scheduler",
      scheduler,
      "ListSchedules",
      (emulator) => client(emulator, scheduler.SchedulerClient).send(new scheduler.ListSchedulesCommand({})),
      { name: "ThrottlingException" },
    ],
  ];
  for (const [protocol, signingName, model, name, call, expected] of ways) {
    it(`is said in the words of ${signingName}`, async () => {
      const operation = { name, honours: ["RoleName"], authorize: () => [], handle: () => ({}) };
      const install: Install = () => ({
        signingName,
        protocol,
        model,
        operations: [operation],
        resources: [],
        invokes: [],
      });
      await withEmulator(
        async (emulator) => {
          emulator.faults.inject({ at: "call", when: { operation: name }, effect: { kind: "throttle" } });
          await assert.rejects(call(emulator), expected);
          await call(emulator);
        },
        { services: [install] },
      );
    });
  }
});

describe("A share of the calls", () => {
  const struckBy = (seed: number): string => {
    const faults = new Faults(seed);
    faults.inject({ at: "call", times: Infinity, share: 0.25, effect: { kind: "throttle" } });
    const facts = { service: "s3", operation: "GetObject", principal: "p", input: {} };
    return Array.from({ length: 400 }, () => (faults.at("call", facts) ? "x" : ".")).join("");
  };

  it("is struck as the seed says, the same each time", () => {
    assert.equal(struckBy(7), struckBy(7));
    assert.notEqual(struckBy(7), struckBy(8));
    const share = struckBy(7).replaceAll(".", "").length / 400;
    assert.ok(share > 0.15 && share < 0.35, `a quarter of the calls was to be struck, not ${share}`);
  });

  it("is decided by the seed that the emulator was started with", async () => {
    const pattern = (seed: number) =>
      withEmulator(
        async ({ faults, cloud }) => {
          faults.inject({ at: "call", times: Infinity, share: 0.5, effect: { kind: "throttle" } });
          const command = new sts.AssumeRoleCommand({ RoleArn: "r", RoleSessionName: "s" });
          const calls = Array.from({ length: 40 }, () =>
            cloud.send(root, command).then(
              () => ".",
              () => "x",
            ),
          );
          return (await Promise.all(calls)).join("");
        },
        { seed, services: [counting([])] },
      );
    const [first, again, other] = [await pattern(3), await pattern(3), await pattern(4)];
    assert.equal(first, again);
    assert.notEqual(first, other);
  });
});

describe("What is broken", () => {
  function breakableFaults(): { readonly faults: Faults; readonly said: string[] } {
    const said: string[] = [];
    const faults = new Faults();
    faults.breakable("rds.network", ({ instance }) => {
      if (instance === "none") throw new Error("there is no such instance");
      said.push(`broke ${instance}`);
      return () => void said.push(`mended ${instance}`);
    });
    return { faults, said };
  }

  it("is mended by itself when its time is over", async () => {
    const { faults, said } = breakableFaults();
    const breakage = await faults.break("rds.network", { instance: "one" }, 0.01);
    assert.deepEqual(said, ["broke one"]);
    await breakage.mended;
    assert.deepEqual(said, ["broke one", "mended one"]);
  });

  it("is mended once: before its time, when all faults are cleared, or when the emulator closes", async () => {
    const { faults, said } = breakableFaults();
    const first = await faults.break("rds.network", { instance: "one" }, 3_600);
    await first.mend();
    await first.mend();
    await faults.break("rds.network", { instance: "two" }, 3_600);
    await faults.clear();
    await faults.break("rds.network", { instance: "three" }, 3_600);
    await faults.close();
    assert.deepEqual(said, ["broke one", "mended one", "broke two", "mended two", "broke three", "mended three"]);
  });

  it("must exist", async () => {
    const { faults } = breakableFaults();
    await assert.rejects(faults.break("rds.network", { instance: "none" }, 1), /no such instance/);
    await assert.rejects(
      new Faults().break("rds.network", { instance: "one" }, 1),
      /Nothing here can break rds.network/,
    );
  });
});

describe("An emulator that closes", () => {
  it("interrupts what hangs by a fault, and who waits for one that did not happen", async () => {
    const emulator = await startEmulator({ services: [counting([])] });
    const hanging = emulator.faults.inject({ at: "call", effect: { kind: "hang" } });
    const never = emulator.faults.inject({ at: "call", nth: 9, effect: { kind: "throttle" } });
    const call = emulator.cloud.send(root, new sts.AssumeRoleCommand({ RoleArn: "r", RoleSessionName: "s" }));
    const interrupted = assert.rejects(call, /The emulator is closing/);
    const told = assert.rejects(never.happened, /The emulator is closing/);
    await hanging.happened;
    await emulator.close();
    await Promise.all([interrupted, told]);
  });
});

describe("The places of faults", () => {
  const vocabulary = ts.createSourceFile(
    "definitions.ts",
    readFileSync(join(project, "emulator/core/definitions.ts"), "utf8"),
    ts.ScriptTarget.ES2023,
  );
  const namesIn = (type: string): readonly string[] =>
    vocabulary.statements
      .filter(ts.isInterfaceDeclaration)
      .filter(({ name }) => name.text === type)
      .flatMap(({ members }) => members.map(({ name }) => (name && "text" in name ? String(name.text) : "")));
  const sources = filesBelow("emulator")
    .filter((file) => file.endsWith(".ts"))
    .map(textOf);
  const tests = filesBelow("test")
    .filter((file) => file.endsWith(".ts") && file !== "test/emulator/core/faults.test.ts")
    .map(textOf);
  const occurs = (text: string, where: readonly string[]): boolean => where.some((source) => source.includes(text));

  it("are asked by the emulator, every one, and struck by a test", () => {
    const points = namesIn("FaultPoints");
    assert.ok(points.length >= 6, "the points of definitions.ts were not found");
    assert.deepEqual(
      points.filter((point) => !occurs(`faults.at("${point}"`, sources)),
      [],
    );
    assert.deepEqual(
      points.filter((point) => !occurs(`at: "${point}"`, tests)),
      [],
    );
  });

  it("that can be broken are served by a service, every one, and broken by a test", () => {
    const names = namesIn("Breakables");
    assert.ok(names.length >= 1, "the breakables of definitions.ts were not found");
    assert.deepEqual(
      names.filter((name) => !occurs(`breakable("${name}"`, sources)),
      [],
    );
    assert.deepEqual(
      names.filter((name) => !occurs(`break("${name}"`, tests)),
      [],
    );
  });
});
