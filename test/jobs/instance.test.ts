import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clients } from "../../jobs/clients";
import { cancelCommands, runOnInstance } from "../../jobs/instance/commands";
import { fingerprintCommand, parseFiles } from "../../jobs/instance/files";
import { freezeCodes, freezeCommand, thawCommand } from "../../jobs/instance/freeze";
import { type Instance, obstacles } from "../../jobs/instance/instances";
import { refusesVolume, replaceRoot } from "../../jobs/instance/replacement";
import { createLog } from "../../jobs/log";
import { deadlineIn, until } from "../../jobs/time";
import { runId } from "../../run/ids";
import { FakeClient, serviceError } from "./memory-objects";

const id = "i-0123456789abcdef0";
const pause = { seconds: 0.01 };
const healthy: Instance = {
  instanceId: id,
  state: "running",
  zone: "us-east-1a",
  rootDevice: "/dev/xvda",
  rootDeviceType: "ebs",
  root: { device: "/dev/xvda", volumeId: "vol-0live", deleteOnTermination: true },
  dataVolumes: [],
  lentAddress: undefined,
  autoScalingGroup: undefined,
};

const data = { device: "/dev/sdf", volumeId: "vol-0data", deleteOnTermination: false };

describe("an instance", () => {
  it("with data volumes has nothing in its way, when a stop takes nothing from it or it never stops", () => {
    assert.deepEqual(obstacles({ ...healthy, dataVolumes: [data] }, "all"), []);
    assert.deepEqual(obstacles({ ...healthy, dataVolumes: [data], lentAddress: "203.0.113.7" }, "root"), []);
  });

  it("that can be brought back has nothing in its way", () => assert.deepEqual(obstacles(healthy, "all"), []));

  for (const [what, change, text] of [
    ["is not running", { state: "stopped" }, /is stopped/],
    ["has no EBS root", { rootDeviceType: "instance-store", root: undefined }, /no EBS root volume/],
    ["belongs to an Auto Scaling group", { autoScalingGroup: "web" }, /Auto Scaling group web/],
    ["would lose its address when it stops", { dataVolumes: [data], lentAddress: "203.0.113.7" }, /203\.0\.113\.7/],
  ] as const) {
    it(`that ${what} is refused by name, with what to do`, () => {
      const found = obstacles({ ...healthy, ...change }, "all");
      assert.equal(found.length, 1);
      assert.match(found[0] ?? "", text);
    });
  }
});

describe("the fingerprint of files", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'it\'s "files" '));
    mkdirSync(join(folder, "lib"));
    writeFileSync(join(folder, "app.js"), "one");
    writeFileSync(join(folder, "lib/a b.js"), "two");
    symlinkSync("app.js", join(folder, "current"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const fingerprint = (...paths: string[]) =>
    parseFiles(id, execFileSync("sh", ["-c", fingerprintCommand(paths)], { encoding: "utf8", stdio: "pipe" }));

  it("counts the files, whatever their names need of quoting", () => assert.equal(fingerprint(folder).count, 2));

  it("is the same when nothing but times has changed", () => {
    const before = fingerprint(folder);
    utimesSync(join(folder, "app.js"), 1, 1);
    assert.deepEqual(fingerprint(folder), before);
  });

  const changes: [string, () => void][] = [
    ["contents", () => writeFileSync(join(folder, "lib/a b.js"), "owt")],
    ["a mode", () => chmodSync(join(folder, "app.js"), 0o700)],
    ["a new file", () => writeFileSync(join(folder, "lib/new"), "")],
    ["a new empty folder", () => mkdirSync(join(folder, "empty"))],
    ["a file less", () => rmSync(join(folder, "app.js"))],
    [
      "where a link leads",
      () => {
        rmSync(join(folder, "current"));
        symlinkSync("lib", join(folder, "current"));
      },
    ],
  ];
  for (const [what, change] of changes) {
    it(`tells ${what}`, () => {
      const before = fingerprint(folder).hash;
      change();
      assert.notEqual(fingerprint(folder).hash, before);
    });
  }

  it("of a path that does not exist is an error, not a fingerprint of nothing", () => {
    assert.throws(() => fingerprint(folder, join(folder, "nowhere")), /does not exist/);
  });

  it("that cannot be read is an error", () => {
    for (const output of ["", "files  3", "files abc 3"]) assert.throws(() => parseFiles(id, output), /not readable/);
  });
});

const clientsWith = (service: "ec2" | "ssm", client: FakeClient): Clients =>
  ({ [service]: () => Promise.resolve(client) }) as unknown as Clients;

describe("a command on an instance", () => {
  it("is tried again until the agent has registered, and waited for until it is known and over", async () => {
    let sends = 0;
    const answers = [
      () => {
        throw serviceError("InvocationDoesNotExist", 400);
      },
      () => ({ Status: "InProgress" }),
      () => ({ Status: "Success", StandardOutputContent: "hello\n" }),
    ];
    const client = new FakeClient({
      SendCommand: () => {
        if (sends++ === 0) throw serviceError("InvalidInstanceId", 400);
        return { Command: { CommandId: "c-1" } };
      },
      GetCommandInvocation: () => answers.shift()?.(),
    });
    assert.equal(await runOnInstance(clientsWith("ssm", client), id, "true", deadlineIn(5), pause), "hello\n");
  });

  it("that failed is an error with what it said", async () => {
    const client = new FakeClient({
      SendCommand: () => ({ Command: { CommandId: "c-1" } }),
      GetCommandInvocation: () => ({ Status: "Failed", StandardErrorContent: "no such file" }),
    });
    const sent = runOnInstance(clientsWith("ssm", client), id, "true", deadlineIn(5), pause);
    await assert.rejects(sent, /ended as Failed: no such file/);
  });

  it("of a release is ended, and the jobs' own is left alone", async () => {
    const running = new Map([
      ["c-release", ""],
      ["c-own", "protected-pipeline"],
    ]);
    const client = new FakeClient({
      ListCommands: () => ({
        Commands: [...running].map(([CommandId, Comment]) => ({ CommandId, Comment, Status: "InProgress" })),
      }),
      CancelCommand: ({ CommandId }) => (running.delete(String(CommandId)), {}),
    });
    const ended = await cancelCommands(clientsWith("ssm", client), id, new Date(0), deadlineIn(5), pause);
    assert.deepEqual([ended, [...running.keys()]], [["c-release"], ["c-own"]]);
  });
});

describe("a freeze", () => {
  const run = runId("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "freeze-"))));
  afterEach(() => rmSync(folder, { recursive: true }));

  const shell = (command: string) => spawnSync("sh", ["-c", command], { encoding: "utf8" });
  const log = (): string => readFileSync(join(folder, "log"), "utf8");
  const hooks = (thawSeconds: number, freeze = `echo frozen >> ${folder}/log`) => ({
    freeze,
    thaw: `echo thawed >> ${folder}/log`,
    thawSeconds,
  });

  /** Waits for the clock of another run's freeze, which is started after those that are there, and ends after them. */
  async function laterClock(thawSeconds: number): Promise<void> {
    const other = { freeze: "true", thaw: `touch ${folder}/later`, thawSeconds };
    const another = runId("2b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
    assert.equal(shell(freezeCommand(other, another, folder)).status, 0);
    const over = async (): Promise<true | undefined> => existsSync(join(folder, "later")) || undefined;
    await until("the later clock", deadlineIn(60), pause, over);
  }

  it("is ended by its thaw, once: the clock that runs beside it does nothing more", async () => {
    const first = hooks(4);
    assert.equal(shell(freezeCommand(first, run, folder)).status, 0);
    assert.equal(shell(thawCommand(first, run, folder)).status, 0);
    await laterClock(4.5);
    assert.equal(log(), "frozen\nthawed\n");
  });

  it("is not ended by the clock of an earlier one of the same run", async () => {
    const earlier = { ...hooks(1.5), thaw: `echo thawed early >> ${folder}/log` };
    assert.equal(shell(freezeCommand(earlier, run, folder)).status, 0);
    assert.equal(shell(thawCommand(hooks(60), run, folder)).status, 0);
    assert.equal(shell(freezeCommand(hooks(60), run, folder)).status, 0);
    await laterClock(2);
    assert.equal(log(), "frozen\nthawed\nfrozen\n");
    assert.equal(shell(thawCommand(hooks(60), run, folder)).status, 0);
    assert.equal(log(), "frozen\nthawed\nfrozen\nthawed\n");
  });

  it("keeps another one out until its thaw is over", async () => {
    const slow = { ...hooks(60), thaw: `touch ${folder}/thawing; while [ ! -e ${folder}/go ]; do sleep 0.02; done` };
    assert.equal(shell(freezeCommand(slow, run, folder)).status, 0);
    const thaw = spawn("sh", ["-c", thawCommand(slow, run, folder)]);
    const ended = once(thaw, "close");
    const thawing = async (): Promise<true | undefined> => existsSync(join(folder, "thawing")) || undefined;
    await until("the thaw", deadlineIn(60), pause, thawing);
    const meanwhile = shell(freezeCommand(slow, run, folder));
    writeFileSync(join(folder, "go"), "");
    assert.equal(meanwhile.status, freezeCodes.frozenAlready);
    assert.deepEqual(await ended, [0, null]);
    assert.equal(shell(freezeCommand(hooks(60), run, folder)).status, 0);
    assert.equal(shell(thawCommand(hooks(60), run, folder)).status, 0);
  });

  it("ends by itself when nobody thaws, and the thaw that comes too late says so", async () => {
    const short = hooks(0.1);
    assert.equal(shell(freezeCommand(short, run, folder)).status, 0);
    await until("the thaw", deadlineIn(20), pause, async () => log().includes("thawed") || undefined);
    const late = shell(thawCommand(short, run, folder));
    assert.deepEqual([late.status, late.stderr], [freezeCodes.thawedBefore, "it had thawed by itself before\n"]);
    assert.equal(log(), "frozen\nthawed\n");
  });

  it("that fails is thawed at once, and fails", () => {
    const broken = shell(freezeCommand(hooks(60, "exit 7"), run, folder));
    assert.equal(broken.status, freezeCodes.freezeFailed);
    assert.equal(log(), "thawed\n");
  });

  it("is refused while another one of the run lasts", () => {
    assert.equal(shell(freezeCommand(hooks(60), run, folder)).status, 0);
    assert.equal(shell(freezeCommand(hooks(60), run, folder)).status, freezeCodes.frozenAlready);
    assert.equal(shell(thawCommand(hooks(60), run, folder)).status, 0);
  });
});

describe("the replacement of a root volume", () => {
  const tags = { "protected-pipeline:run": "r", "protected-pipeline:target": "t" };
  const tagList = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

  function ec2(options: { refuses?: string; state?: string; tasks?: object[] } = {}): FakeClient {
    const tasks: object[] = [...(options.tasks ?? [])];
    return new FakeClient({
      CreateReplaceRootVolumeTask: ({ VolumeId }) => {
        if (VolumeId !== undefined && options.refuses !== undefined) throw serviceError(options.refuses, 400);
        const task = { ReplaceRootVolumeTaskId: "t-1", TaskState: options.state ?? "succeeded", Tags: tagList };
        tasks.push(task);
        return { ReplaceRootVolumeTask: task };
      },
      DescribeReplaceRootVolumeTasks: () => ({ ReplaceRootVolumeTasks: tasks }),
    });
  }

  const replace = (client: FakeClient, snapshotId?: string): Promise<void> =>
    replaceRoot({
      clients: clientsWith("ec2", client),
      instanceId: id,
      tags,
      token: "x",
      volume: { device: "/dev/xvda", volumeId: "vol-0new", snapshotId },
      deadline: deadlineIn(5),
      pause,
      log: createLog(() => undefined),
    });
  const inputs = (client: FakeClient, name: string) =>
    client.sent.filter((each) => each.name === name).map(({ input }) => input);

  it("keeps the old volume", async () => {
    const client = ec2();
    await replace(client);
    const [input] = inputs(client, "CreateReplaceRootVolumeTask");
    assert.deepEqual([input?.["VolumeId"], input?.["DeleteReplacedRootVolume"]], ["vol-0new", false]);
  });

  it("falls back from the volume to its snapshot where EC2 takes no volume, with another client token", async () => {
    const client = ec2({ refuses: "InvalidParameterCombination" });
    await replace(client, "snap-0");
    const [first, second] = inputs(client, "CreateReplaceRootVolumeTask");
    assert.deepEqual([second?.["SnapshotId"], second?.["VolumeId"]], ["snap-0", undefined]);
    assert.notEqual(first?.["ClientToken"], second?.["ClientToken"]);
  });

  it("does not fall back when the caller, not the parameter, is refused", async () => {
    assert.equal(refusesVolume("UnauthorizedOperation"), false);
    assert.equal(refusesVolume("RequestLimitExceeded"), false);
    await assert.rejects(replace(ec2({ refuses: "UnauthorizedOperation" }), "snap-0"), /UnauthorizedOperation/);
  });

  it("goes on with the task that an earlier healer of the run began, and starts no other", async () => {
    const task = { ReplaceRootVolumeTaskId: "t-0", TaskState: "succeeded", Tags: tagList };
    const client = ec2({ tasks: [task] });
    await replace(client);
    assert.equal(inputs(client, "CreateReplaceRootVolumeTask").length, 0);
  });

  it("is not mistaken for that of another run", async () => {
    const client = ec2({ tasks: [{ ReplaceRootVolumeTaskId: "t-0", TaskState: "succeeded", Tags: [] }] });
    await replace(client);
    assert.equal(inputs(client, "CreateReplaceRootVolumeTask").length, 1);
  });

  it("that failed says on what the instance runs", async () => {
    await assert.rejects(replace(ec2({ state: "failed" })), /runs on its old root again/);
    await assert.rejects(replace(ec2({ state: "failed-detached" })), /NO ROOT VOLUME/);
  });
});
