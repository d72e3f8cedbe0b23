/**
 * Machines made of Linux namespaces, with the tools of util-linux: `unshare` makes the namespaces, a short shell script
 * builds the root and becomes process 1, `nsenter` runs the commands. Works as root, and as a normal user where user
 * namespaces are permitted.
 *
 * What a machine shows inside:
 * - the host's /usr, /bin, /sbin and /lib*, read-only; /etc as symbolic links into the host's, read-only;
 * - its volume at {@link volumePlaces} and in /etc/fstab, writable: only what is written there outlives the machine;
 * - its data volumes in /dev, as folders, which the image's `mount` mounts where they are wanted;
 * - a /proc, /dev, /tmp and /run of its own, and its own /etc/hosts and /etc/hostname;
 * - the image (`emulator/image`) at /.image: its programs come first on PATH.
 *
 * Nothing of it is visible outside: the mounts live in the machine's mount namespaces, and end with it. There are two,
 * because a machine that runs sees nothing of the host any more: in the outer one, which `unshare` itself stays in, a
 * folder of the host can still be mounted below /dev, and the mount appears in the inner one. Process 1 reads a pipe of
 * this process. When this process ends, however it ends, the pipe closes, process 1 exits, and the kernel
 * ends everything else inside.
 *
 * This keeps accidents in, such as a release that deletes what it should not. It is no boundary against an attacker.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as readline from "node:readline";
import { promisify } from "node:util";
import type { Readable, Writable } from "node:stream";
import { Gate, type Gatekeeper } from "./gate";
import type { CommandOptions, Machine, MachineOptions, MachineProcess } from "./machine";
import { findProgram, postgresFolder } from "./programs";

/** The places of the root file system that are on the volume. All else is the image's, or goes away at a reboot. */
export const volumePlaces = ["/etc/systemd/system", "/home", "/opt", "/root", "/srv", "/var"] as const;

const REPOSITORY = path.resolve(__dirname, "..", "..");
const BOOT_DEADLINE_MS = 15_000;
const STOP_DEADLINE_MS = 10_000;
const CHARACTER_DEVICES = ["full", "null", "random", "tty", "urandom", "zero"];
const HOST_FOLDERS = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/** Entries of /etc that are not the host's: the machine's own, and those that a mount of its own replaces. */
const OWN_ETC = new Set(["fstab", "hosts", "hostname", "mtab", "systemd"]);
/** Where instances find their metadata: link-local, as on AWS. */
export const METADATA_ADDRESS = "169.254.169.254";
/** The name of a disk in /dev. */
const DEVICE_NAME = /^[a-z][a-z0-9]*$/;

const execute = promisify(execFile);

/** What a machine is made with: its network, if it has one of its own, is there or on its way. */
interface Booting extends MachineOptions {
  readonly network: boolean | Gate;
}

interface Mount {
  readonly source: string;
  readonly target: string;
  readonly type: "bind" | "proc" | "tmpfs";
  readonly writable: boolean;
}

/** Starts a machine. Rejects with a one-line reason where the host does not let it. */
export async function bootMachine(options: MachineOptions): Promise<Machine> {
  const { network } = options;
  const gate = typeof network === "boolean" || network instanceof Gate ? network : openGate(network);
  const machine = await startMachine({ ...options, network: gate });
  await machine.booted();
  return machine;
}

/**
 * A network for a machine. Making one takes longer than the rest of a boot: where a machine takes the place of another
 * one, its network is made before the other goes down.
 */
export function openGate(keeper: Gatekeeper): Gate {
  const { unshare, sh } = machineTools();
  const user = needsUserNamespace() ? ["--map-root-user"] : [];
  return new Gate(keeper, [unshare, ...user, "--net", "--", sh, "-c", `${loopbackUp()} && echo && exec "$@"`, "sh"]);
}

async function startMachine(options: Booting): Promise<NamespaceMachine> {
  try {
    const tools = machineTools();
    prepareFolders(options);
    const mounts = planMounts(options);
    const root = path.join(options.directory, "root");
    const fstab = mounts.map((mount) => fstabLine(root, mount)).join("");
    fs.writeFileSync(path.join(options.directory, "fstab"), fstab);
    const inner = [tools.unshare, "--mount", "--propagation", "slave", tools.sh, "-c", bootScript(options, mounts)];
    const script = [tools.sh, "-c", outerScript(options), "sh", ...inner];
    if (options.network instanceof Gate) await options.network.made.catch(refuse);
    const [command, ...args] = [...outerCommand(tools, options), ...script];
    const supervisor = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      cwd: "/",
      // In a session of its own: a terminal's Ctrl-C goes to a whole process group, and would end the machine by itself.
      detached: true,
    });
    return new NamespaceMachine(options, tools, supervisor);
  } catch (error) {
    if (options.network instanceof Gate) options.network.close();
    throw error;
  }
}

/** Why machines cannot run on this host, as one line that says what to do; undefined when they can. */
export async function checkNamespaces(): Promise<string | undefined> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "protected-pipeline-check-"));
  try {
    const network = { reachable: () => [], admits: () => false };
    const machine = await bootMachine({ hostname: "check", directory, hosts: {}, network, environment: {} });
    const code = await machine.run({ command: ["true"] }).exit;
    await machine.stop();
    return code === 0 ? undefined : `a command in a new namespace ended with ${code}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/** Contents of an /etc/hosts file. */
export function hostsFile(hosts: Readonly<Record<string, string>>): string {
  const named = Object.entries(hosts).map(([name, address]) => `${address} ${name}\n`);
  return ["127.0.0.1 localhost\n", ...named].join("");
}

/** The PATH of every process in a machine. */
export function machinePath(): string {
  const folders = [
    "/.image/bin",
    "/.image/sbin",
    "/.image/node",
    postgresFolder(),
    "/usr/local/sbin",
    "/usr/local/bin",
  ];
  return [...folders, "/usr/sbin", "/usr/bin", "/sbin", "/bin"].filter((folder) => folder !== undefined).join(":");
}

class NamespaceMachine implements Machine {
  private readonly ended: Promise<void>;
  private readonly environment: Readonly<Record<string, string>>;
  private initPid = 0;
  private alive = true;
  private complaint = "";
  private readonly gate: Gate | undefined;

  constructor(
    private readonly options: Booting,
    private readonly tools: Tools,
    private readonly supervisor: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable },
  ) {
    this.gate = options.network instanceof Gate ? options.network : undefined;
    this.environment = {
      PATH: machinePath(),
      HOME: "/root",
      LANG: "C.UTF-8",
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
      ...options.environment,
    };
    this.ended = new Promise((resolve) => {
      supervisor.once("exit", () => resolve());
      supervisor.once("error", (error) => {
        this.complaint = error.message;
        resolve();
      });
    });
    void this.ended.then(() => {
      this.alive = false;
      this.gate?.close();
    });
    supervisor.stderr.on("data", (data: Buffer) => (this.complaint = (this.complaint + data.toString()).slice(-2_000)));
    // Process 1 may be gone already when its pipe is closed.
    supervisor.stdin.on("error", () => undefined);
  }

  get running(): boolean {
    return this.alive;
  }

  /** Waits for the script's word that the root is complete. */
  async booted(): Promise<void> {
    const lines = readline.createInterface({ input: this.supervisor.stdout });
    const ready = new Promise<number>((resolve) => lines.once("line", (line) => resolve(Number(line))));
    const pid = await Promise.race([ready, this.ended, deadline(BOOT_DEADLINE_MS)]);
    lines.close();
    this.supervisor.stdout.resume();
    if (typeof pid === "number" && pid > 0) {
      this.initPid = pid;
      await this.connected();
      return;
    }
    await this.stop();
    refuse(new Error(this.complaint.trim() || "no answer within its deadline"));
  }

  private async connected(): Promise<void> {
    if (this.gate === undefined) return;
    try {
      await Promise.race([this.gate.opened, failAfter(BOOT_DEADLINE_MS, "no answer within its deadline")]);
    } catch (error) {
      await this.stop();
      throw new Error(`Cannot connect a machine to its network: ${(error as Error).message}`, { cause: error });
    }
  }

  get ports(): readonly number[] {
    return this.gate?.ports ?? [];
  }

  run({ command, environment, directory }: CommandOptions): MachineProcess {
    if (!this.alive) throw new Error(`Machine ${this.options.hostname} is stopped: cannot run ${command[0]}.`);
    const change = 'cd -- "$1" || exit 126; shift; exec "$@"';
    const inner = [this.tools.setsid, this.tools.sh, "-c", change, "sh", directory ?? "/root", ...command];
    const child = spawn(this.tools.nsenter, [...nsenterArguments(this.initPid, this.options), "--", ...inner], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...this.environment, ...environment },
      cwd: "/",
      detached: true,
    });
    child.stdin.on("error", () => undefined);
    return new NamespaceProcess(child);
  }

  async paused<T>(work: () => Promise<T>): Promise<T> {
    await this.signalAll("STOP");
    try {
      return await work();
    } finally {
      await this.signalAll("CONT");
    }
  }

  /** To every process inside but the first. There may be none. */
  private async signalAll(signal: string): Promise<void> {
    if (!this.alive) return;
    const child = this.run({ command: ["sh", "-c", `kill -${signal} -1`], directory: "/" });
    child.stdout.resume();
    child.stderr.resume();
    await child.exit;
  }

  setHosts(hosts: Readonly<Record<string, string>>): void {
    writeHosts(this.options.directory, hosts);
  }

  async attach(name: string, folder: string): Promise<void> {
    const point = this.devicePoint(name);
    fs.mkdirSync(point, { recursive: true });
    await this.mountOutside("mount", "--bind", folder, point);
  }

  isMounted(name: string): boolean {
    const mounts = mountsOf(this.initPid);
    const device = mounts.find(({ point }) => point === `/dev/${name}`);
    return mounts.some(({ point, file }) => device !== undefined && point !== device.point && file === device.file);
  }

  async detach(name: string): Promise<void> {
    const point = this.devicePoint(name);
    await this.mountOutside("umount", "--lazy", point);
    fs.rmdirSync(point);
  }

  private devicePoint(name: string): string {
    if (!DEVICE_NAME.test(name)) throw new Error(`${name} is no name of a disk`);
    return path.join(this.options.directory, "dev", name);
  }

  /** In the outer mount namespace, from where it spreads to the inner one. */
  private async mountOutside(...command: string[]): Promise<void> {
    const target = ["--target", String(this.supervisor.pid), ...userArguments(), "--mount", "--"];
    await execute(this.tools.nsenter, [...target, ...command]);
  }

  async stop(): Promise<void> {
    this.supervisor.stdin.destroy();
    await Promise.race([this.ended, deadline(STOP_DEADLINE_MS)]);
    if (!this.alive) return;
    // `unshare --kill-child` takes process 1 along.
    this.supervisor.kill("SIGKILL");
    await this.ended;
  }
}

class NamespaceProcess implements MachineProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exit: Promise<number>;
  private over = false;

  constructor(private readonly child: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable }) {
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    this.exit = new Promise((resolve) => {
      child.once("exit", (code, signal) => resolve(code ?? 128 + signalNumber(signal)));
      child.once("error", () => resolve(127));
    });
    void this.exit.then(() => (this.over = true));
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    void this.signalGroup(signal);
  }

  /**
   * The command leads a session, thus a process group, of its own: `nsenter` stays outside of it, so that it lives to
   * report the command's end. The group exists some milliseconds after the start; a kill may come earlier.
   */
  private async signalGroup(signal: NodeJS.Signals): Promise<void> {
    for (let attempt = 0; attempt < 200 && !this.over; attempt++) {
      const leader = sessionLeader(this.child.pid);
      if (leader !== undefined) return signalQuietly(-leader, signal);
      await deadline(5);
    }
    if (!this.over && this.child.pid !== undefined) signalQuietly(this.child.pid, "SIGKILL");
  }
}

interface Tools {
  readonly unshare: string;
  readonly nsenter: string;
  readonly setsid: string;
  readonly sh: string;
}

function machineTools(): Tools {
  if (process.platform !== "linux") throw new Error("Machines need Linux namespaces: run this on Linux.");
  const names = ["unshare", "nsenter", "setsid", "sh", "mount", "umount", "pivot_root", "env", "cat"];
  const found = new Map(names.map((name) => [name, findProgram(name)]));
  const missing = names.filter((name) => found.get(name) === undefined);
  if (missing.length > 0) {
    throw new Error(`Machines need ${missing.join(", ")}: install the packages util-linux and coreutils.`);
  }
  const tool = (name: string): string => found.get(name) ?? name;
  return { unshare: tool("unshare"), nsenter: tool("nsenter"), setsid: tool("setsid"), sh: tool("sh") };
}

function prepareFolders({ directory, volume, hostname, hosts }: MachineOptions): void {
  const places = [...volumePlaces, "/var/lib", "/var/log", "/var/tmp"];
  for (const place of places) fs.mkdirSync(path.join(volumeFolder(directory, volume), place), { recursive: true });
  fs.closeSync(fs.openSync(path.join(volumeFolder(directory, volume), "etc", "fstab"), "a"));
  for (const folder of ["root", "names"]) fs.mkdirSync(path.join(directory, folder), { recursive: true });
  const devices = path.join(directory, "dev");
  fs.rmSync(devices, { recursive: true, force: true });
  fs.mkdirSync(path.join(devices, "shm"), { recursive: true });
  fs.chmodSync(path.join(devices, "shm"), 0o1777);
  fs.symlinkSync("/proc/self/fd", path.join(devices, "fd"));
  for (const device of CHARACTER_DEVICES) fs.writeFileSync(path.join(devices, device), "");
  fs.rmSync(path.join(directory, "tmp"), { recursive: true, force: true });
  fs.mkdirSync(path.join(directory, "tmp"));
  fs.chmodSync(path.join(directory, "tmp"), 0o1777);
  fs.writeFileSync(path.join(directory, "names", "hostname"), `${hostname}\n`);
  writeHosts(directory, hosts);
}

function writeHosts(directory: string, hosts: Readonly<Record<string, string>>): void {
  const file = path.join(directory, "names", "hosts");
  fs.writeFileSync(`${file}.new`, hostsFile(hosts));
  fs.renameSync(`${file}.new`, file);
}

function volumeFolder(directory: string, volume: string | undefined): string {
  return volume ?? path.join(directory, "volume");
}

/** Everything that is mounted under the new root, in order. */
function planMounts(options: MachineOptions): Mount[] {
  const bind = (source: string, target: string, writable = false): Mount => ({
    source,
    target,
    type: "bind",
    writable,
  });
  const volume = volumeFolder(options.directory, options.volume);
  return [
    ...HOST_FOLDERS.filter((name) => isRealFolder(`/${name}`)).map((name) => bind(`/${name}`, `/${name}`)),
    bind("/etc", "/.host/etc"),
    { source: "proc", target: "/proc", type: "proc", writable: true },
    ...["/proc/sys", "/proc/sysrq-trigger"].filter((file) => fs.existsSync(file)).map((file) => bind(file, file)),
    bind(path.join(options.directory, "dev"), "/dev", true),
    ...CHARACTER_DEVICES.map((device) => bind(`/dev/${device}`, `/dev/${device}`, true)),
    bind(path.join(options.directory, "tmp"), "/tmp", true),
    bind(path.join(options.directory, "names"), "/.host/names"),
    ...[...volumePlaces, "/etc/fstab"].map((place) => bind(path.join(volume, place), place, true)),
    ...["bin", "sbin", "lib"].map((name) => bind(path.join(REPOSITORY, "emulator", "image", name), `/.image/${name}`)),
    bind(path.join(REPOSITORY, "node_modules"), "/.image/node_modules"),
    bind(process.execPath, "/.image/node/node"),
    ...(options.binds ?? []).map(({ source, target, writable }) => bind(source, target, writable ?? false)),
  ];
}

/** As fstab(5) wants it: one process mounts them all, which is much faster than one process each. */
function fstabLine(root: string, { source, target, type, writable }: Mount): string {
  // What is bound from /proc must come from the machine's own /proc, which is mounted a line earlier.
  const from = type === "bind" && source.startsWith("/proc/") ? `${root}${source}` : source;
  const flags = type === "bind" ? (writable ? "rbind" : readOnlyFlags()) : "nosuid,nodev,noexec";
  return `${fstabField(from)} ${fstabField(root + target)} ${type === "bind" ? "none" : type} ${flags} 0 0\n`;
}

/**
 * Recursive, because a user namespace may not take a folder without what is mounted in it (in containers, /etc/hosts).
 * A normal user may not drop flags that the source is mounted with when making it read-only, so it sets the usual ones.
 */
function readOnlyFlags(): string {
  return needsUserNamespace() ? "rbind,ro,nosuid,nodev" : "rbind,ro";
}

function fstabField(text: string): string {
  return text.replace(/[\\\s]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

/** Makes /dev a mount of its own whose changes spread to the inner namespace, and goes on there. */
function outerScript({ directory }: MachineOptions): string {
  const devices = shellWord(path.join(directory, "dev"));
  return `mount --bind ${devices} ${devices} && mount --make-shared ${devices} && exec "$@"`;
}

/**
 * Brings the loopback of a new network namespace up, and gives it the address at which instances look for their
 * metadata. Where there is no `ip`, by the calls that `ip` would make: perl is part of every Debian.
 */
function loopbackUp(): string {
  const ip = findProgram("ip");
  if (ip !== undefined) return `${ip} link set lo up && ${ip} address add ${METADATA_ADDRESS}/32 dev lo`;
  const perl = findProgram("perl");
  if (perl === undefined) throw new Error("Machines need ip to have a network: install the package iproute2.");
  const address = METADATA_ADDRESS.split(".").join(",");
  const calls = [
    'sub call { my ($number, $request) = @_; ioctl(S, $number, $request) or die "the loopback: $!\\n" }',
    'socket(S, 2, 2, 0) or die "a socket: $!\\n"',
    // SIOCSIFFLAGS with IFF_UP and IFF_RUNNING; SIOCSIFADDR and SIOCSIFNETMASK of an alias.
    'call(0x8914, pack("a16sx22", "lo", 0x41))',
    `call(0x8916, pack("a16Sx2C4x16", "lo:1", 2, ${address}))`,
    'call(0x891c, pack("a16Sx2C4x16", "lo:1", 2, 255, 255, 255, 255))',
  ];
  return `${perl} -e ${shellWord(calls.join("; "))}`;
}

/**
 * Builds the root and becomes process 1. SIGCHLD is ignored, so that the kernel reaps orphans; `cat` ends when the
 * pipe from this process closes.
 */
function bootScript(options: MachineOptions, mounts: readonly Mount[]): string {
  const root = shellWord(path.join(options.directory, "root"));
  const hostname = shellWord(options.hostname);
  // The kernel makes what is below /proc; what is below /dev is there when that is mounted.
  const made = mounts.filter(({ target }) => !/^\/(proc|dev)\//.test(target));
  const files = made.filter(isFileMount).map(({ target }) => target);
  const folders = made.filter((mount) => !isFileMount(mount)).map(({ target }) => target);
  const parents = files.map((file) => path.dirname(file));
  const all = new Set([...folders, ...parents, "/run", "/mnt", "/etc"]);
  return [
    "set -e",
    "read -r pid rest </proc/self/stat",
    `mount -t tmpfs -o mode=755 tmpfs ${root}`,
    `cd ${root}`,
    `mkdir -p ${[...all].map((folder) => shellWord(`.${folder}`)).join(" ")}`,
    ...files.map((file) => `: > ${shellWord(`.${file}`)}`),
    ...linkCommands(),
    `hostname ${hostname} 2>/dev/null || echo ${hostname} > /proc/sys/kernel/hostname`,
    `mount -a -T ${shellWord(path.join(options.directory, "fstab"))}`,
    // The new root stacks on the old one in place, and the old one is taken away from below it: pivot_root(2).
    "pivot_root . .",
    "umount -l .",
    "cd /",
    'echo "$pid"',
    "exec env --ignore-signal=CHLD cat >/dev/null",
  ].join("\n");
}

/** The symbolic links of the root: /bin where the host has one, and /etc into the host's. */
function linkCommands(): string[] {
  const folders = HOST_FOLDERS.filter((name) => !isRealFolder(`/${name}`) && fs.existsSync(`/${name}`));
  const top = folders.map((name) => `ln -s ${shellWord(fs.readlinkSync(`/${name}`))} ${name}`);
  // Relative links of the host's /etc, such as os-release, go through /.host.
  const host = `ln -s ${HOST_FOLDERS.map((name) => `/${name}`).join(" ")} .host/`;
  const entries = fs.readdirSync("/etc").filter((name) => !OWN_ETC.has(name));
  const etc = [...entries.map((name) => `/.host/etc/${name}`), "/.host/names/hosts", "/.host/names/hostname"];
  return [...top, host, `ln -s ${etc.map(shellWord).join(" ")} etc/`];
}

function isRealFolder(folder: string): boolean {
  return fs.lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function isFileMount({ source, type }: Mount): boolean {
  return type === "bind" && !fs.statSync(source).isDirectory();
}

function shellWord(text: string): string {
  return `'${text.replace(/'/g, `'\\''`)}'`;
}

/** A user namespace is what gives a normal user the right to make the others. */
function needsUserNamespace(): boolean {
  return process.getuid?.() !== 0;
}

/** Enters the namespaces of the gate, if there is one, and makes the others. */
function outerCommand({ nsenter, unshare }: Tools, { network }: Booting): [string, ...string[]] {
  const own = ["--mount", "--pid", "--uts", ...(network === false ? ["--net"] : []), "--fork", "--kill-child", "--"];
  if (network instanceof Gate) {
    return [nsenter, "--target", String(network.pid), ...userArguments(), "--net", "--", unshare, ...own];
  }
  return [unshare, ...(needsUserNamespace() ? ["--map-root-user"] : []), ...own];
}

function nsenterArguments(pid: number, { network }: MachineOptions): string[] {
  const own = network === true ? [] : ["--net"];
  return ["--target", String(pid), ...userArguments(), "--mount", "--pid", "--uts", ...own];
}

/** A normal user is already root by its mapping; setting the ids again is not permitted. */
function userArguments(): string[] {
  return needsUserNamespace() ? ["--user", "--preserve-credentials"] : [];
}

/** What is mounted in a process's namespace: where, and which file or folder of which file system. */
function mountsOf(pid: number): { readonly point: string; readonly file: string }[] {
  const lines = fs.readFileSync(`/proc/${pid}/mountinfo`, "utf8").trim().split("\n");
  return lines.map((line) => {
    const [, , device = "", root = "", point = ""] = line.split(" ");
    return { point, file: `${device} ${root}` };
  });
}

/** The only child of `nsenter`, once it leads its own session. */
function sessionLeader(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined;
  try {
    const child = Number(fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
    if (!(child > 0)) return undefined;
    // Fields after the name, which is in brackets and may hold anything: state, parent, process group.
    const stat = fs.readFileSync(`/proc/${child}/stat`, "utf8");
    const group = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2]);
    return group === child ? child : undefined;
  } catch {
    return undefined;
  }
}

function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended in the meantime.
  }
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : os.constants.signals[signal];
}

function deadline(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}

function failAfter(milliseconds: number, message: string): Promise<never> {
  return deadline(milliseconds).then(() => {
    throw new Error(message);
  });
}

/** Throws what the host has against namespaces, as one line. */
function refuse(error: Error): never {
  const reason = error.message.replace(/\s*\n\s*/g, "; ");
  throw new Error(`Cannot start a machine in Linux namespaces: ${reason}. ${namespaceAdvice()}`, { cause: error });
}

function namespaceAdvice(): string {
  return needsUserNamespace()
    ? "Permit user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run as root"
    : "In a container, start it with --privileged (or --cap-add SYS_ADMIN and no seccomp profile)";
}
