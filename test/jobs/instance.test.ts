import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clients } from "../../jobs/clients";
import { cancelCommands, runOnInstance } from "../../jobs/instance/commands";
import { fingerprintCommand, parseFiles } from "../../jobs/instance/files";
import { type Instance, obstacles } from "../../jobs/instance/instances";
import { refusesVolume, replaceRoot } from "../../jobs/instance/replacement";
import { createLog } from "../../jobs/log";
import { deadlineIn } from "../../jobs/time";
import { FakeClient, serviceError } from "./memory-objects";

const id = "i-0123456789abcdef0";
const pause = { seconds: 0.01 };
const healthy: Instance = {
  instanceId: id,
  state: "running",
  zone: "us-east-1a",
  rootDevice: "/dev/xvda",
  rootDeviceType: "ebs",
  root: { volumeId: "vol-0live", deleteOnTermination: true },
  dataVolumes: [],
  autoScalingGroup: undefined,
};

describe("an instance", () => {
  it("that can be brought back has nothing in its way", () => assert.deepEqual(obstacles(healthy), []));

  for (const [what, change, text] of [
    ["is not running", { state: "stopped" }, /is stopped/],
    ["has no EBS root", { rootDeviceType: "instance-store", root: undefined }, /no EBS root volume/],
    ["belongs to an Auto Scaling group", { autoScalingGroup: "web" }, /Auto Scaling group web/],
    ["has more volumes", { dataVolumes: ["vol-0data"] }, /vol-0data/],
  ] as const) {
    it(`that ${what} is refused by name, with what to do`, () => {
      const found = obstacles({ ...healthy, ...change });
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

describe("the replacement of a root volume", () => {
  const tags = { "protected-pipeline:run": "r", "protected-pipeline:target": "t" };
  const tagList = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

  function ec2(options: { refuses?: string; state?: string; tasks?: object[]; keepsFlag?: boolean } = {}): FakeClient {
    let root = "vol-0live";
    const tasks: object[] = [...(options.tasks ?? [])];
    return new FakeClient({
      CreateReplaceRootVolumeTask: ({ VolumeId, SnapshotId }) => {
        if (VolumeId !== undefined && options.refuses !== undefined) throw serviceError(options.refuses, 400);
        root = VolumeId === undefined ? `of ${SnapshotId as string}` : (VolumeId as string);
        const task = { ReplaceRootVolumeTaskId: "t-1", TaskState: options.state ?? "succeeded", Tags: tagList };
        tasks.push(task);
        return { ReplaceRootVolumeTask: task };
      },
      DescribeReplaceRootVolumeTasks: () => ({ ReplaceRootVolumeTasks: tasks }),
      DescribeInstances: () => ({
        Reservations: [
          {
            Instances: [
              {
                InstanceId: id,
                State: { Name: "running" },
                Placement: { AvailabilityZone: "us-east-1a" },
                RootDeviceName: "/dev/xvda",
                BlockDeviceMappings: [
                  { DeviceName: "/dev/xvda", Ebs: { VolumeId: root, DeleteOnTermination: options.keepsFlag === true } },
                ],
              },
            ],
          },
        ],
      }),
      ModifyInstanceAttribute: () => ({}),
    });
  }

  const replace = (client: FakeClient, snapshotId?: string): Promise<void> =>
    replaceRoot({
      clients: clientsWith("ec2", client),
      instance: healthy,
      tags,
      token: "x",
      volume: () => Promise.resolve({ volumeId: "vol-0new", snapshotId }),
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

  it("keeps DeleteOnTermination as it was, by one call and only where it is lost", async () => {
    const lost = ec2();
    await replace(lost);
    const [input] = inputs(lost, "ModifyInstanceAttribute");
    assert.deepEqual(input?.["BlockDeviceMappings"], [{ DeviceName: "/dev/xvda", Ebs: { DeleteOnTermination: true } }]);
    const kept = ec2({ keepsFlag: true });
    await replace(kept);
    assert.equal(inputs(kept, "ModifyInstanceAttribute").length, 0);
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
