import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import * as path from "node:path";
import * as ec2 from "@aws-sdk/client-ec2";
import { cutChunks } from "../../../emulator/elastio/chunks";
import { type Emulator, startEmulator } from "../../../emulator/emulator";
import {
  createEnvironment,
  describe as describeInstance,
  type Environment,
  launch,
  runCommand,
  text,
  until,
} from "../ec2/support";

const program = path.resolve("emulator/image/bin/elastio");

interface Result {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

interface Answer {
  readonly job_id: string;
  readonly abort_token?: string;
  readonly status?: string | null;
  readonly error: string | null;
  readonly data: { readonly rp_id: string; readonly abort_token: string; readonly new_bytes: number } | null;
}

describe("The elastio program", () => {
  let emulator: Emulator;

  before(async () => {
    emulator = await startEmulator();
  });

  after(() => emulator.close());

  function elastio(args: readonly string[], input?: Buffer, environment = emulator.environment): Promise<Result> {
    return new Promise((resolve) => {
      const env = { PATH: process.env.PATH, ...environment };
      const child = execFile(
        process.execPath,
        [program, ...args],
        { env, encoding: "buffer", maxBuffer: 1 << 27 },
        (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr: stderr.toString() }),
      );
      child.stdin?.end(input);
    });
  }

  async function json(args: readonly string[], input?: Buffer): Promise<Answer> {
    const { code, stdout, stderr } = await elastio([...args, "--output-format", "json"], input);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout.toString()) as Answer;
  }

  function finished(job: string): Promise<Answer> {
    return until(`job ${job}`, async () => {
      const answer = await json(["job", "output", "--job-id", job]);
      return answer.error === null ? answer : undefined;
    });
  }

  it("stores a stream and gives back the very bytes", async () => {
    const bytes = randomBytes(3_000_000);
    const stored = await json(["stream", "backup", "--stream-name", "shop", "--tag", "run=1"], bytes);
    assert.equal(stored.status, "Succeeded");
    assert.match(stored.job_id, /^j-[0-9a-z]{26}$/);
    assert.match(text(stored.data?.rp_id), /^rp-[0-9a-z]{26}$/);
    assert.equal(Buffer.from(text(stored.data?.abort_token), "base64").length, 32);
    const { stdout } = await elastio(["stream", "restore", "--rp", text(stored.data?.rp_id)]);
    assert.ok(stdout.equals(bytes));
  });

  it("stores what it has once, also when something was inserted before it", async () => {
    const bytes = randomBytes(4_000_000);
    await json(["stream", "backup", "--stream-name", "first"], bytes);
    const changed = Buffer.concat([Buffer.from("inserted"), bytes]);
    const again = await json(["stream", "backup", "--stream-name", "second"], changed);
    assert.ok((again.data?.new_bytes ?? Infinity) < 2_000_000, `${again.data?.new_bytes} new bytes`);
  });

  it("takes an empty stream for a stream: it knows nothing of databases", async () => {
    const stored = await json(["stream", "backup", "--stream-name", "nothing"], Buffer.alloc(0));
    assert.equal(stored.status, "Succeeded");
    const { code, stdout } = await elastio(["stream", "restore", "--rp", text(stored.data?.rp_id)]);
    assert.deepEqual([code, stdout.length], [0, 0]);
  });

  it("lists recovery points on one line, by type and tag", async () => {
    const stored = await json(
      ["stream", "backup", "--stream-name", "listed", "--tag", "app=db,date=today"],
      Buffer.from("x"),
    );
    const { stdout } = await elastio([
      "--output-format",
      "json",
      "rp",
      "list",
      "--type",
      "stream",
      "--tag",
      "date=today",
    ]);
    const [line = "", ...rest] = stdout.toString().trim().split("\n");
    const [found] = JSON.parse(line) as {
      id: string;
      kind: object;
      asset_snaps: { asset_id: string }[];
      tags: object;
    }[];
    assert.deepEqual(rest, []);
    assert.equal(found?.id, stored.data?.rp_id);
    assert.deepEqual(found?.kind, { kind: "Stream" });
    assert.match(text(found?.asset_snaps[0]?.asset_id), /^elastio:asset:.*:listed$/);
    assert.deepEqual(found?.tags, { app: "db", date: "today" });
  });

  it("answers for a job and a recovery point that are not there with an error", async () => {
    const missing = await elastio(["job", "output", "--job-id", "j-none", "--output-format", "json"]);
    assert.equal(missing.code, 1);
    assert.match((JSON.parse(missing.stdout.toString()) as Answer).error ?? "", /was not found/);
    const restore = await elastio(["stream", "restore", "--rp", "rp-none"]);
    assert.deepEqual([restore.code, restore.stdout.length], [1, 0]);
  });

  it("refuses what it does not know", async () => {
    assert.equal((await elastio(["job", "status", "--job-id", "j-1"])).code, 2);
    assert.equal((await elastio(["ec2", "restore", "--rp", "rp-1", "--subnet", "s"])).code, 2);
  });

  it("lies about a stream when it is told to: the recovery point is there, and empty", async () => {
    emulator.faults.inject({
      at: "elastio.job",
      when: { operation: "elastio:stream-backup" },
      effect: { kind: "lie" },
    });
    const stored = await json(["stream", "backup", "--stream-name", "lied"], Buffer.from("kept by nobody"));
    assert.equal(stored.status, "Succeeded");
    const { code, stdout } = await elastio(["stream", "restore", "--rp", text(stored.data?.rp_id)]);
    assert.deepEqual([code, stdout.length], [0, 0]);
  });

  it("fails a stream's backup when it is told to, with the reason and without a recovery point", async () => {
    const before = (await elastio(["rp", "list"])).stdout.toString();
    emulator.faults.inject({ at: "elastio.job", effect: { kind: "fail", message: "the vault is full" } });
    const failed = await elastio(["stream", "backup", "--stream-name", "unlucky"], Buffer.from("x"));
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /the vault is full/);
    assert.equal((await elastio(["rp", "list"])).stdout.toString(), before);
  });

  it("needs the permission to invoke Elastio's functions", async () => {
    const principal = {
      kind: "assumed-role",
      arn: "arn:aws:sts::123456789012:assumed-role/none/x",
      roleArn: "arn:aws:iam::123456789012:role/none",
    } as const;
    const keys = emulator.cloud.issueCredentials(principal, 900);
    const environment = {
      AWS_ENDPOINT_URL: emulator.endpoint,
      AWS_ACCESS_KEY_ID: keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
      AWS_SESSION_TOKEN: keys.sessionToken,
    };
    const { code, stderr } = await elastio(["rp", "list"], undefined, environment);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /not authorized to perform: lambda:InvokeFunction on resource: arn:aws:lambda:.*:function:elastio-/,
    );
  });

  describe("with an instance", () => {
    let environment: Environment;

    before(async () => {
      environment = await createEnvironment(emulator);
    });

    it("backs it up in the background and restores it as a copy that really runs", async () => {
      const instance = await launch(environment, {
        BlockDeviceMappings: [{ DeviceName: "/dev/xvda", Ebs: { Encrypted: true, VolumeSize: 10 } }],
      });
      const id = text(instance.InstanceId);
      await runCommand(environment, id, [
        "echo good > /opt/state",
        "ln -s /opt/state /opt/link",
        "chmod 640 /opt/state",
      ]);
      const started = await json(["ec2", "backup", "--instance-id", id, "--tag", "run=1"]);
      assert.deepEqual(Object.keys(started).sort(), ["abort_token", "job_id"]);
      const backup = await finished(started.job_id);
      assert.equal(backup.status, "Succeeded");
      await runCommand(environment, id, ["echo bad > /opt/state"]);

      const restore = await json(["ec2", "restore", "--rp", text(backup.data?.rp_id)]);
      const restoring = await finished(restore.job_id);
      assert.equal(restoring.status, "Succeeded", JSON.stringify(restoring.data));

      const restored = { Name: "tag:elastio:restored-from-rp", Values: [text(backup.data?.rp_id)] };
      const copy = await until("the copy", async () => {
        const { Reservations = [] } = await environment.ec2.send(
          new ec2.DescribeInstancesCommand({ Filters: [restored] }),
        );
        const [found] = Reservations[0]?.Instances ?? [];
        return found?.State?.Name === "running" ? found : undefined;
      });
      assert.notEqual(copy.InstanceId, id);
      assert.equal(copy.SubnetId, instance.SubnetId);
      assert.notEqual(copy.PrivateIpAddress, instance.PrivateIpAddress);
      const files = await runCommand(environment, text(copy.InstanceId), ["cat /opt/link; stat -c %a /opt/state"]);
      assert.equal(files.StandardOutputContent, "good\n640\n");
      const { Volumes = [] } = await environment.ec2.send(new ec2.DescribeVolumesCommand({ Filters: [restored] }));
      assert.deepEqual(
        Volumes.map(({ Encrypted, Size }) => [Encrypted, Size]),
        [[true, 10]],
      );
      assert.equal((await describeInstance(environment, id)).State?.Name, "running");
      const snapshots = await environment.ec2.send(new ec2.DescribeSnapshotsCommand({ OwnerIds: ["self"] }));
      assert.deepEqual(snapshots.Snapshots, []);
    });

    it("restores data volumes under their device names, and a fence keeps the copy from the network", async () => {
      const instance = await launch(environment, {
        BlockDeviceMappings: [{ DeviceName: "/dev/sdf", Ebs: { VolumeSize: 3, VolumeType: "gp3" } }],
      });
      const id = text(instance.InstanceId);
      await runCommand(environment, id, ["echo data > /dev/sdf/file"]);
      const backup = await finished((await json(["ec2", "backup", "--instance-id", id])).job_id);
      await finished((await json(["ec2", "restore", "--rp", text(backup.data?.rp_id)])).job_id);
      const copy = await until("the copy", async () => {
        const Filters = [{ Name: "tag:elastio:restored-from-rp", Values: [text(backup.data?.rp_id)] }];
        const { Reservations = [] } = await environment.ec2.send(new ec2.DescribeInstancesCommand({ Filters }));
        const [found] = Reservations[0]?.Instances ?? [];
        return found?.State?.Name === "running" ? found : undefined;
      });
      const copyId = text(copy.InstanceId);
      assert.deepEqual(
        copy.BlockDeviceMappings?.map(({ DeviceName }) => DeviceName),
        ["/dev/xvda", "/dev/sdf"],
      );
      const files = await runCommand(environment, copyId, ["cat /dev/sdf/file"]);
      assert.equal(files.StandardOutputContent, "data\n");

      const tried = `/opt/tried`;
      const loop = `while sleep 0.05; do (exec 3<>/dev/tcp/${new URL(emulator.endpoint).host.replace(":", "/")}) 2>/dev/null && echo yes || echo no; done`;
      await runCommand(environment, copyId, [`setsid bash -c '${loop}' > ${tried} < /dev/null 2> /dev/null &`]);
      const file = path.join(emulator.cloud.directory, "ec2", "disks", rootOf(copy), tried);
      const last = () => readFileSync(file, "utf8").trim().split("\n").at(-1);
      await until("the copy to reach something", async () => last() === "yes" || undefined);
      const fence = new ec2.ModifyInstanceAttributeCommand({ InstanceId: copyId, Groups: [environment.fenceId] });
      await environment.ec2.send(fence);
      await until("the copy to reach nothing", async () => last() === "no" || undefined);
      assert.equal((await runCommand(environment, id, ["echo still here"])).StandardOutputContent, "still here\n");
    });

    it("fails, hangs and lies when it is told to", async () => {
      const id = text((await launch(environment)).InstanceId);
      const backup = async (): Promise<string> => (await json(["ec2", "backup", "--instance-id", id])).job_id;
      // A job is tried twice.
      emulator.faults.inject({ at: "elastio.job", times: 2, effect: { kind: "fail", message: "no worker" } });
      const failed = await finished(await backup());
      assert.deepEqual([failed.status, (failed.data as { message?: string } | null)?.message], ["Failed", "no worker"]);

      const hanging = emulator.faults.inject({ at: "elastio.job", effect: { kind: "hang" } });
      const job = await backup();
      await until("the job to run", async () => {
        const answer = await json(["job", "output", "--job-id", job]);
        return answer.status === "Running" || undefined;
      });
      hanging.release();
      assert.equal((await finished(job)).status, "Succeeded");

      await runCommand(environment, id, ["echo here > /opt/state"]);
      emulator.faults.inject({ at: "elastio.job", effect: { kind: "lie" } });
      const lied = await finished(await backup());
      assert.equal(lied.status, "Succeeded");
      await finished((await json(["ec2", "restore", "--rp", text(lied.data?.rp_id)])).job_id);
      const Filters = [{ Name: "tag:elastio:restored-from-rp", Values: [text(lied.data?.rp_id)] }];
      const { Volumes = [] } = await environment.ec2.send(new ec2.DescribeVolumesCommand({ Filters }));
      const disk = path.join(emulator.cloud.directory, "ec2", "disks", text(Volumes[0]?.VolumeId));
      assert.equal(existsSync(path.join(disk, "opt", "state")), false);
    });

    it("aborts a job for whoever has its token", async () => {
      const id = text((await launch(environment)).InstanceId);
      const hanging = emulator.faults.inject({ at: "elastio.job", effect: { kind: "hang" } });
      const started = await json(["ec2", "backup", "--instance-id", id]);
      const abort = (token: string | undefined) =>
        elastio(["job", "abort", "--job-id", started.job_id], undefined, {
          ...emulator.environment,
          ...(token === undefined ? {} : { ELASTIO_ABORT_TOKEN: token }),
        });
      assert.equal((await abort(undefined)).code, 1);
      assert.equal((await abort(started.abort_token)).code, 0);
      const ended = await json(["job", "output", "--job-id", started.job_id]);
      assert.deepEqual([ended.error, ended.status], [null, "Aborted"]);
      hanging.release();
    });

    it("says that a job runs by an error that is not null", async () => {
      const id = text((await launch(environment)).InstanceId);
      const { job_id: job } = await json(["ec2", "backup", "--instance-id", id]);
      const answer = await json(["job", "output", "--job-id", job]);
      assert.match(text(answer.error ?? undefined), /has not finished yet/);
      assert.notEqual(answer.status, "Succeeded");
      await finished(job);
    });
  });
});

function rootOf(instance: ec2.Instance): string {
  return text(instance.BlockDeviceMappings?.[0]?.Ebs?.VolumeId);
}

describe("The vault's chunks", () => {
  it("are the same wherever the pieces of the stream begin and end", async () => {
    const bytes = randomBytes(2_000_000);
    const cut = async (size: number): Promise<string[]> => {
      const hashes: string[] = [];
      for await (const chunk of cutChunks(pieces(bytes, size)))
        hashes.push(createHash("sha256").update(chunk).digest("hex"));
      return hashes;
    };
    const whole = await cut(bytes.length);
    assert.ok(whole.length > 2);
    assert.deepEqual(await cut(1_001), whole);
  });
});

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}
