import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import type { Place } from "../../../emulator/machines/gate";
import type { Machine, MachineOptions } from "../../../emulator/machines/machine";
import { bootMachine, checkNamespaces } from "../../../emulator/machines/namespaces";
import { collectText } from "../../../emulator/machines/output";

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function shell(machine: Machine, script: string): Promise<Result> {
  const [code, stdout, stderr] = await collectText(machine.run({ command: ["/bin/bash", "-c", script] }), 1e6, 1e6);
  return { code, stdout, stderr };
}

describe("A machine", () => {
  let directory: string;
  const machines: Machine[] = [];

  async function boot(options: Partial<MachineOptions> = {}): Promise<Machine> {
    const own = fs.mkdtempSync(path.join(directory, "machine-"));
    const defaults = { hostname: "ip-10-0-1-2.ec2.internal", hosts: {}, network: true, environment: {} };
    const machine = await bootMachine({ ...defaults, directory: own, ...options });
    machines.push(machine);
    return machine;
  }

  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "machines-test-"));
  });

  afterEach(async () => {
    await Promise.all(machines.splice(0).map((machine) => machine.stop()));
    fs.rmSync(directory, { recursive: true });
  });

  it("can be made on this host", async () => {
    assert.equal(await checkNamespaces(), undefined);
  });

  it("has a host name, root's identity and a process tree of its own", async () => {
    const machine = await boot();
    const { stdout } = await shell(
      machine,
      "hostname; id -u; readlink /proc/1/exe | xargs basename; ls -d /proc/[0-9]* | wc -l",
    );
    const [hostname, uid, first, processes] = stdout.trim().split("\n");
    assert.deepEqual([hostname, uid, first], ["ip-10-0-1-2.ec2.internal", "0", "cat"]);
    assert.ok(Number(processes) < 10, `${processes} processes are visible`);
  });

  it("shows the host's programs read-only", async () => {
    const machine = await boot();
    const { code, stderr } = await shell(machine, "touch /usr/bin/mine");
    assert.notEqual(code, 0);
    assert.match(stderr, /Read-only file system/);
  });

  it("cannot change the host's kernel settings", async () => {
    const before = fs.readFileSync("/proc/sys/vm/swappiness", "utf8");
    assert.notEqual((await shell(await boot(), "echo 1 > /proc/sys/vm/swappiness")).code, 0);
    assert.equal(fs.readFileSync("/proc/sys/vm/swappiness", "utf8"), before);
  });

  it("keeps what is written to the volume's places, and nothing else", async () => {
    const volume = path.join(directory, "volume");
    const first = await boot({ volume });
    const places = ["/home", "/opt", "/root", "/srv", "/var", "/etc/systemd/system"];
    const gone = ["/tmp", "/run", "/etc"];
    await shell(first, [...places, ...gone].map((place) => `echo ${place} > ${place}/file`).join("; "));
    await first.stop();
    const second = await boot({ volume });
    const { stdout } = await shell(
      second,
      [...places, ...gone].map((place) => `cat ${place}/file 2>/dev/null`).join("; "),
    );
    assert.deepEqual(stdout.trim().split("\n"), places);
  });

  it("inherits nothing of the host's environment", async () => {
    process.env.SECRET_OF_THE_HOST = "secret";
    try {
      const { stdout } = await shell(await boot({ environment: { OWN: "yes" } }), "env");
      assert.doesNotMatch(stdout, /SECRET_OF_THE_HOST/);
      assert.match(stdout, /^OWN=yes$/m);
    } finally {
      delete process.env.SECRET_OF_THE_HOST;
    }
  });

  it("finds the names of its hosts file, also those that come later", async () => {
    const machine = await boot({ hosts: { "database.internal": "127.9.8.7" } });
    assert.match((await shell(machine, "getent hosts database.internal")).stdout, /127\.9\.8\.7/);
    machine.setHosts({ "other.internal": "127.9.8.6" });
    assert.match((await shell(machine, "getent hosts other.internal")).stdout, /127\.9\.8\.6/);
  });

  it("shows what is bound into it, writable only when asked", async () => {
    const source = path.join(directory, "source");
    fs.mkdirSync(source);
    const machine = await boot({
      binds: [
        { source, target: "/with space/in" },
        { source, target: "/out", writable: true },
      ],
    });
    assert.notEqual((await shell(machine, "touch '/with space/in/file'")).code, 0);
    assert.equal((await shell(machine, "touch /out/file && ls '/with space/in'")).stdout, "file\n");
  });

  it("reaches nothing without a network, not even the loopback", async () => {
    const machine = await boot({ network: false });
    const { stdout } = await shell(machine, "(exec 3<>/dev/tcp/127.0.0.1/1) 2>&1");
    assert.match(stdout, /Network is unreachable/);
  });

  it("gives the exit code of a command, and 128 and the signal of a killed one", async () => {
    const machine = await boot();
    assert.equal(await machine.run({ command: ["sh", "-c", "exit 7"] }).exit, 7);
    const sleeping = machine.run({ command: ["sleep", "1000"] });
    sleeping.kill("SIGKILL");
    assert.equal(await sleeping.exit, 137);
    assert.equal((await shell(machine, "true")).code, 0);
  });

  it("passes a signal to the whole group of a command and reports how it ended", async () => {
    const machine = await boot();
    const script = "trap 'echo heard; exit 3' TERM; sleep 1000 & echo ready; wait";
    const child = machine.run({ command: ["/bin/bash", "-c", script] });
    child.stdout.setEncoding("utf8");
    let output = "";
    child.stdout.on("data", (data: string) => (output += data));
    while (!output.includes("ready")) await once(child.stdout, "data");
    child.kill("SIGTERM");
    assert.equal(await child.exit, 3);
    assert.match(output, /heard/);
    assert.doesNotMatch((await shell(machine, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")).stdout, /sleep 1000/);
  });

  it("takes all of its processes along when it stops, detached ones too", async () => {
    const machine = await boot();
    const mark = `7${process.pid}`;
    await shell(machine, `setsid sleep ${mark} > /dev/null 2>&1 & disown`);
    await until(() => sleepers(mark) === 1);
    await machine.stop();
    assert.equal(sleepers(mark), 0);
    assert.equal(machine.running, false);
    assert.throws(() => machine.run({ command: ["true"] }), /is stopped/);
  });

  it("stands still while something is done to it, and goes on afterwards", async () => {
    const machine = await boot();
    await shell(machine, "(i=0; while :; do i=$((i + 1)); echo $i > /tmp/count; done) > /dev/null 2>&1 & disown");
    const file = path.join(directory, fs.readdirSync(directory)[0] ?? "", "tmp", "count");
    const count = (): string => fs.readFileSync(file, "utf8");
    await until(() => fs.existsSync(file) && count() !== "");
    const [first, last] = await machine.paused(async () => {
      const before = count();
      // Long enough for a thousand more, if it went on.
      for (let look = 0; look < 1_000; look++) count();
      return [before, count()];
    });
    assert.equal(first, last);
    await until(() => count() !== last && count() !== "");
  });

  it("shows a folder as a device, and takes it away again", async () => {
    const machine = await boot();
    const folder = path.join(directory, "disk");
    fs.mkdirSync(folder);
    await machine.attach("sdf", folder);
    assert.equal((await shell(machine, "mkdir /mnt/data; mount /dev/sdf /mnt/data; echo x > /mnt/data/file")).code, 0);
    assert.equal(fs.readFileSync(path.join(folder, "file"), "utf8"), "x\n");
    assert.equal(machine.isMounted("sdf"), true);
    assert.match((await shell(machine, "mkfs -t xfs -f /dev/sdf")).stderr, /contains a mounted filesystem/);
    await shell(machine, "umount /dev/sdf");
    assert.equal(machine.isMounted("sdf"), false);
    assert.match((await shell(machine, "mkfs -t xfs /dev/sdf")).stderr, /existing filesystem/);
    assert.equal((await shell(machine, "mkfs.xfs -f /dev/sdf; ls -A /dev/sdf; blkid /dev/sdf")).code, 0);
    assert.deepEqual(fs.readdirSync(folder), []);
    await machine.detach("sdf");
    const gone = await shell(machine, "ls -d /dev/sdf; blkid /dev/sdf; echo $?; mount /dev/sdf /mnt/data; echo $?");
    assert.equal(gone.stdout, "2\n32\n");
    assert.match((await shell(machine, "fsfreeze --freeze /tmp")).stderr, /not supported/);
  });

  describe("with a gate", () => {
    let server: net.Server;
    let place: Place;

    before(async () => {
      server = net.createServer((socket) => socket.end("hello\n"));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      place = { address: "127.0.0.1", port: (server.address() as net.AddressInfo).port };
    });

    after(() => server.close());

    it("reaches what its gatekeeper lets it reach, at another address too, and nothing else", async () => {
      const elsewhere = { address: "169.254.169.254", port: 80 };
      const open = { reachable: () => [{ ...place, as: elsewhere }], admits: () => false };
      const ask = (address: string, port: number) => `(exec 3<>/dev/tcp/${address}/${port} && cat <&3) 2>&1`;
      const machine = await boot({ network: open });
      assert.equal((await shell(machine, ask(elsewhere.address, elsewhere.port))).stdout, "hello\n");
      assert.match((await shell(machine, ask(place.address, place.port))).stdout, /Connection refused/);
    });

    it("is asked anew for each connection", async () => {
      let allowed = true;
      const network = { reachable: () => (allowed ? [place] : []), admits: () => false };
      const machine = await boot({ network });
      const script = `exec 3<>/dev/tcp/${place.address}/${place.port}; cat <&3`;
      assert.equal((await shell(machine, script)).stdout, "hello\n");
      allowed = false;
      assert.equal((await shell(machine, script)).stdout, "");
    });

    it("is reached at its address on the ports that are admitted, and takes its listeners along", async () => {
      const address = "127.63.7.9";
      const network = { address, reachable: () => [], admits: (port: number) => port !== 9001 };
      const machine = await boot({ network });
      const program = `const answer = (socket) => socket.end("inside"); for (const port of [9000, 9001]) require("net").createServer(answer).listen(port)`;
      await shell(machine, `setsid node -e '${program}' > /dev/null 2>&1 < /dev/null &`);
      await until(() => machine.ports.includes(9000));
      assert.equal(await received(address, 9000), "inside");
      assert.equal(await received(address, 9001), undefined);
      await machine.stop();
      assert.equal(await received(address, 9000), undefined);
    });
  });

  it("leaves no mount on the host", async () => {
    const machine = await boot();
    assert.doesNotMatch(fs.readFileSync("/proc/self/mountinfo", "utf8"), new RegExp(directory));
    await machine.stop();
  });

  it("ends with the process that made it, even when that is killed", async () => {
    const mark = `8${process.pid}`;
    const program = `
      const { bootMachine } = require(${JSON.stringify(path.resolve("emulator/machines/namespaces"))});
      const options = { hostname: "x", directory: ${JSON.stringify(directory)}, hosts: {}, network: true, environment: {} };
      bootMachine(options).then((machine) => {
        machine.run({ command: ["sh", "-c", "echo started; exec sleep ${mark}"] }).stdout.pipe(process.stdout);
      });`;
    const parent = spawn(process.execPath, ["-r", "ts-node/register/transpile-only", "-e", program]);
    const gone = once(parent, "exit");
    try {
      await once(parent.stdout, "data");
      await until(() => sleepers(mark) === 1);
    } finally {
      parent.kill("SIGKILL");
    }
    await gone;
    await until(() => sleepers(mark) === 0);
  });

  it("says in one line what to do where the host does not let it", function () {
    const program = `
      require("./emulator/machines/namespaces").checkNamespaces().then((problem) => console.log(problem));`;
    const node = `"${process.execPath}" -r ts-node/register/transpile-only -e '${program}'`;
    const refusing = `echo 0 > /proc/sys/user/max_mnt_namespaces && exec ${node}`;
    const said = spawnSync("unshare", ["--user", "--map-root-user", "sh", "-c", refusing], { encoding: "utf8" });
    if (/unshare: unshare failed|max_mnt_namespaces/.test(said.stderr)) return this.skip();
    assert.match(
      said.stdout,
      /^Cannot start a machine in Linux namespaces: unshare: unshare failed: .*--privileged.*\n$/,
    );
  });

  it("works for a user who is not root", function () {
    if (process.getuid?.() !== 0 || !canBeNobody()) return this.skip();
    const program = `
      require("./emulator/machines/namespaces").checkNamespaces().then((problem) => console.log(problem ?? "fine"));`;
    const user = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath];
    const args = [...user, "-r", "ts-node/register/transpile-only", "-e", program];
    assert.equal(execFileSync("setpriv", args, { encoding: "utf8", env: { ...process.env, HOME: "/tmp" } }), "fine\n");
  });
});

/** What is read from there; undefined when nobody answers. */
function received(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    let text = "";
    socket.on("data", (data: Buffer) => (text += data.toString()));
    socket.once("error", () => resolve(undefined));
    socket.once("end", () => resolve(text === "" ? undefined : text));
  });
}

/** Waits for a condition, with a deadline. */
async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !condition();) {
    assert.ok(Date.now() < end, "waited too long");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The processes of the host that sleep for that long. */
function sleepers(seconds: string): number {
  const pids = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => commandLine(pid) === `sleep\0${seconds}\0`).length;
}

function commandLine(pid: string): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

/** Whether another user can read this repository. */
function canBeNobody(): boolean {
  try {
    execFileSync("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "cat", "package.json"]);
    return true;
  } catch {
    return false;
  }
}
