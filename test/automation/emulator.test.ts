import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { stripVTControlCharacters } from "node:util";
import * as iam from "@aws-sdk/client-iam";
import * as logs from "@aws-sdk/client-cloudwatch-logs";
import { ListBucketsCommand, S3Client } from "@aws-sdk/client-s3";
import * as scheduler from "@aws-sdk/client-scheduler";
import { spawn } from "@lydell/node-pty";
import { execa } from "execa";
import { waitFor } from "../../automation/wait";
import { pulumiRoot } from "../support/stack";

const root = path.resolve(__dirname, "../..");
const soon = { deadlineSeconds: 60, pollMilliseconds: 50 };

type Variables = Readonly<Record<string, string>>;

/** The command on a terminal of its own, with its own folder for temporary files. */
function startCommand(folder: string, ...args: string[]) {
  const environment = { ...process.env, TMPDIR: folder };
  const known = Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const terminal = spawn(process.execPath, ["scripts/run.js", "automation/main.ts", "emulator", ...args], {
    cwd: root,
    // Wide enough that no line is broken.
    cols: 400,
    rows: 50,
    env: Object.fromEntries(known),
  });
  let shown = "";
  let status: number | undefined;
  terminal.onData((data) => (shown += data));
  const ended = new Promise<number>((resolve) => terminal.onExit(({ exitCode }) => resolve((status = exitCode))));
  const text = (): string => stripVTControlCharacters(shown).replaceAll("\r", "");
  const ready = async (deadlineSeconds: number): Promise<Variables> => {
    const look = async (): Promise<true | undefined> => {
      if (status !== undefined) throw new Error(`it ended with status ${status}:\n${text()}`);
      return text().includes("Press Ctrl-C") || undefined;
    };
    await waitFor(look, { what: "the emulator", deadlineSeconds, pollMilliseconds: 50 });
    return Object.fromEntries(
      [...text().matchAll(/^export (\w+)=(.*)$/gm)].map(([, name = "", value = ""]) => [name, value]),
    );
  };
  return { terminal, ended, text, ready };
}

function settingsOf(variables: Variables) {
  return {
    endpoint: variables.AWS_ENDPOINT_URL ?? "",
    region: variables.AWS_REGION ?? "",
    credentials: {
      accessKeyId: variables.AWS_ACCESS_KEY_ID ?? "",
      secretAccessKey: variables.AWS_SECRET_ACCESS_KEY ?? "",
    },
    maxAttempts: 1,
  };
}

/** Every process that works in the folder or names it. */
function processesIn(folder: string): string[] {
  return fs.readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      return command.includes(folder) || fs.readlinkSync(`/proc/${pid}/cwd`).startsWith(folder) ? [command] : [];
    } catch {
      // Gone, or not ours.
      return [];
    }
  });
}

/** Caches of Node's and Pulumi's runners, which any program leaves there. */
const caches = /^(v8-compile-cache|node-compile-cache|ts-node-)/;

describe("The command `emulator`", () => {
  let folder: string;
  let running: ReturnType<typeof startCommand> | undefined;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "emulator-command-"));
    // A database server runs as a user of its own, who has to get through.
    fs.chmodSync(folder, 0o711);
  });
  afterEach(async () => {
    // What a failed test has left running ends as a killed command does.
    running?.terminal.kill("SIGKILL");
    await running?.ended;
    fs.rmSync(folder, { recursive: true, force: true });
  });

  const start = (...args: string[]) => (running = startCommand(folder, ...args));
  const left = (): readonly string[] => fs.readdirSync(folder).filter((name) => !caches.test(name));
  function assertNothingLeft(): void {
    assert.deepEqual(left(), []);
    assert.deepEqual(processesIn(folder), []);
    assert.ok(!fs.readFileSync("/proc/self/mounts", "utf8").includes(folder));
  }

  it("loads no client of AWS before somebody calls: they would be half of its start", async () => {
    const hook = path.join(folder, "hook.js");
    fs.writeFileSync(
      hook,
      `const { write } = process.stderr;
       process.stderr.write = function (text, ...rest) {
         if (!String(text).includes("Press Ctrl-C")) return write.call(this, text, ...rest);
         console.log(JSON.stringify(Object.keys(require.cache)));
         process.kill(process.pid, "SIGINT");
         return true;
       };`,
    );
    const { stdout } = await execa(
      process.execPath,
      ["--require", hook, "scripts/run.js", "automation/main.ts", "emulator"],
      { cwd: root, env: { TMPDIR: folder }, reject: false },
    );
    const loaded = JSON.parse(stdout.split("\n").at(-1) ?? "") as string[];
    assert.ok(loaded.some((file) => file.endsWith("/emulator/services/ec2/index.ts")));
    assert.deepEqual(
      loaded.filter((file) => file.includes("/@aws-sdk/client-")),
      [],
    );
    fs.rmSync(hook);
    assertNothingLeft();
  });

  async function freePort(): Promise<number> {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  it("listens on the given port of the loopback only, and prints what a shell and the Pulumi CLI need", async () => {
    const port = await freePort();
    const command = start("--port", String(port));
    const variables = await command.ready(60);
    assert.equal(variables.AWS_ENDPOINT_URL, `http://127.0.0.1:${port}`);
    assert.match(variables.PULUMI_DEBUG_PROVIDERS ?? "", /^aws:\d+,command:\d+$/);
    const listening = fs
      .readFileSync("/proc/net/tcp", "utf8")
      .split("\n")
      .filter((line) => line.includes(`:${port.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 0A`));
    assert.equal(listening.length, 1);
    assert.match(listening[0] ?? "", / 0100007F:/);
    const client = new S3Client(settingsOf(variables));
    assert.deepEqual((await client.send(new ListBucketsCommand({}))).Buckets ?? [], []);
    client.destroy();
    command.terminal.write("\u0003");
    assert.equal(await command.ended, 0, command.text());
    assertNothingLeft();
  });

  it("ends in order when it is told to by SIGTERM", async () => {
    const command = start();
    await command.ready(60);
    process.kill(command.terminal.pid, "SIGTERM");
    assert.equal(await command.ended, 0, command.text());
    assertNothingLeft();
  });

  it("leaves nothing behind when it is killed, either", async () => {
    const command = start();
    await command.ready(60);
    process.kill(command.terminal.pid, "SIGKILL");
    await command.ended;
    await waitFor(async () => left().length === 0 || undefined, { ...soon, what: "the folder to be empty" });
    assertNothingLeft();
  });

  describe("up", () => {
    it("leaves nothing behind when Ctrl-C comes in the midst of it", async () => {
      const command = start("up");
      const making = async () => /rds:Instance \S+ creating/.test(command.text()) || undefined;
      await waitFor(making, { deadlineSeconds: 180, pollMilliseconds: 20, what: "the stack to be half made" });
      command.terminal.write("\u0003");
      assert.equal(await command.ended, 2, command.text());
      assert.match(command.text(), /protected-pipeline: interrupted by SIGINT\s*$/);
      assertNothingLeft();
    });

    it("deploys this project by the plain CLI: unchanged afterwards, drift is seen, and all goes away", async function () {
      this.timeout(600_000);
      const before = hashOf(path.join(root, "Pulumi.dev.yaml"));
      const command = start("up");
      const variables = await command.ready(300);
      const project = /pulumi --cwd (\S+) preview/.exec(command.text())?.[1] ?? "";
      const pulumi = async (...args: string[]): Promise<string> => {
        const program = path.join(pulumiRoot(), "bin", "pulumi");
        const { stdout } = await execa(program, [...args, "--non-interactive"], { cwd: project, env: variables });
        return stdout;
      };
      const url = /application\s+(http\S+)/.exec(command.text())?.[1] ?? "";
      assert.match(await (await fetch(url)).text(), /Release 1\.0\.0/);

      assert.deepEqual(await steps(pulumi), []);
      const drifted = await drift(variables, await pulumi("stack", "export"));
      assert.deepEqual(await steps(pulumi), drifted);

      await pulumi("destroy", "--yes", "--skip-preview");
      command.terminal.write("\u0003");
      assert.equal(await command.ended, 0, command.text());
      assertNothingLeft();
      assert.equal(hashOf(path.join(root, "Pulumi.dev.yaml")), before);
    });
  });
});

function hashOf(file: string): string {
  return createHash("sha256").update(fs.readFileSync(file)).digest("hex");
}

/** What a refresh and an update after it would do, as `operation type`. */
async function steps(pulumi: (...args: string[]) => Promise<string>): Promise<readonly string[]> {
  const { steps: all } = JSON.parse(await pulumi("preview", "--refresh", "--json")) as {
    readonly steps: readonly {
      readonly op: string;
      readonly newState?: { readonly type: string; readonly urn: string };
    }[];
  };
  return all
    .filter(({ op }) => op !== "same" && op !== "refresh")
    .map(({ op, newState }) => `${op} ${newState?.type ?? ""}`)
    .sort();
}

interface Export {
  readonly deployment: { readonly resources: readonly { readonly type: string; readonly id?: string }[] };
}

/** Somebody changes a log group and a role, and deletes a schedule. Returns what will put it right. */
async function drift(variables: Variables, exported: string): Promise<readonly string[]> {
  const { resources } = (JSON.parse(exported) as Export).deployment;
  const idOf = (type: string): string => resources.find((resource) => resource.type === type)?.id ?? "";
  const settings = settingsOf(variables);
  const logsClient = new logs.CloudWatchLogsClient(settings);
  const iamClient = new iam.IAMClient(settings);
  const schedulerClient = new scheduler.SchedulerClient(settings);
  const logGroupName = idOf("aws:cloudwatch/logGroup:LogGroup");
  await logsClient.send(new logs.PutRetentionPolicyCommand({ logGroupName, retentionInDays: 3653 }));
  const RoleName = idOf("aws:iam/role:Role");
  await iamClient.send(new iam.UpdateRoleCommand({ RoleName, Description: "somebody was here" }));
  const Name = idOf("aws:scheduler/schedule:Schedule").replace("default/", "");
  await schedulerClient.send(new scheduler.DeleteScheduleCommand({ Name }));
  for (const client of [logsClient, iamClient, schedulerClient]) client.destroy();
  return [
    "create aws:scheduler/schedule:Schedule",
    "update aws:cloudwatch/logGroup:LogGroup",
    "update aws:iam/role:Role",
  ];
}
