/** The machines of running instances. */
import * as fs from "node:fs/promises";
import { createWriteStream } from "node:fs";
import * as path from "node:path";
import { AwsError, type Cloud, type Principal } from "../../../core/definitions";
import type { Machine } from "../../../machines/machine";
import { bootMachine, METADATA_ADDRESS, openGate } from "../../../machines/namespaces";
import type { Attachment, InstanceRecord } from "../store";
import type { Disks } from "./disks";
import { Firewall } from "./firewall";
import { MetadataServer } from "./metadata";

interface Running {
  readonly machine: Machine;
  readonly metadata: MetadataServer;
  /** A volume that /etc/fstab asks for is missing: nothing was started, and nobody can get in, as on AWS. */
  emergency: boolean;
}

const POLL_MS = 50;

/** Where cloud-init notes for which instance it has run. */
const CLOUD_INIT = "var/lib/cloud";

export class Fleet {
  private readonly running = new Map<string, Running>();
  /** Those that were online when they last went down. */
  private readonly seen = new Set<string>();
  private readonly queues = new Map<string, Promise<unknown>>();
  private closed = false;
  readonly firewall: Firewall;

  constructor(
    private readonly cloud: Cloud,
    private readonly disks: Disks,
    private readonly directory: string,
  ) {
    this.firewall = new Firewall(cloud, (id) => this.machine(id)?.ports ?? []);
    cloud.onClose(() => this.close());
    // A database that was created since an instance booted has a name that the instance must find.
    const end = cloud.listen(() => this.refreshHosts());
    cloud.onClose(end);
  }

  /** Changes of one instance happen one after the other, in the order of the requests. */
  change<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.queues.get(id) ?? Promise.resolve();
    const after = before.then(work, work);
    this.queues.set(
      id,
      after.catch(() => undefined),
    );
    return after;
  }

  /** The machine, while it runs. */
  machine(id: string): Machine | undefined {
    const machine = this.running.get(id)?.machine;
    return machine?.running === true ? machine : undefined;
  }

  /** Whether the instance runs and can reach AWS. */
  isOnline(id: string): boolean {
    const running = this.running.get(id);
    const groups = this.cloud.stores.ec2.instances.find(id)?.securityGroupIds ?? [];
    return running?.machine.running === true && !running.emergency && this.firewall.reachesAws(groups);
  }

  /** Whether the instance was online when it last went down. */
  wasOnline(id: string): boolean {
    return this.seen.has(id);
  }

  refreshHosts(): void {
    const hosts = this.cloud.network.hosts();
    for (const { machine } of this.running.values()) machine.setHosts(hosts);
  }

  /**
   * Starts the machine on the instance's root volume, its enabled units, and at its first boot its user data. A machine
   * that runs goes down first; then, while none runs, `exchange` is called.
   */
  async boot(instance: InstanceRecord, exchange: () => void = () => undefined): Promise<void> {
    if (this.closed) throw new AwsError("Server.InternalError", "The emulator closes");
    const userData = decodeUserData(instance.userData);
    const metadata = new MetadataServer(this.cloud, instance, userData, this.principal(instance));
    const gate = openGate(this.firewall.forInstance(instance, await metadata.listen()));
    try {
      if (this.running.has(instance.id)) await gate.opened;
      await this.halt(instance.id);
      exchange();
      const volume = await this.disks.open(rootOf(instance).volumeId);
      const directory = path.join(this.directory, instance.id);
      await fs.mkdir(directory, { recursive: true });
      const machine = await bootMachine({
        hostname: instance.privateDnsName,
        directory,
        volume,
        hosts: this.cloud.network.hosts(),
        network: gate,
        environment: this.environment(),
      });
      const running = { machine, metadata, emergency: false };
      this.running.set(instance.id, running);
      for (const [device, { volumeId, state }] of instance.devices) {
        // What is attaching comes by itself.
        if (device === instance.rootDeviceName || state === "attaching") continue;
        await machine.attach(deviceName(device), await this.disks.open(volumeId));
      }
      running.emergency = !(await mountVolumes(machine, volume));
      if (running.emergency) return;
      await startUnits(machine, volume);
      await this.startUserData(instance, machine, volume, userData);
    } catch (error) {
      gate.close();
      await metadata.close();
      await this.halt(instance.id);
      throw error;
    }
  }

  /** Does something while nothing on the instance moves, if it runs. */
  async whileStill<T>(id: string, work: () => Promise<T>): Promise<T> {
    const machine = this.machine(id);
    return machine === undefined ? work() : machine.paused(work);
  }

  /** Shows the volume in the instance, if that runs. */
  async attachDevice(id: string, device: string, volumeId: string): Promise<void> {
    const machine = this.machine(id);
    if (machine !== undefined) await machine.attach(deviceName(device), await this.disks.open(volumeId));
  }

  /** Whether the volume is mounted in the running instance. */
  isMounted(id: string, device: string): boolean {
    return this.machine(id)?.isMounted(deviceName(device)) ?? false;
  }

  /** Resolves when the volume is not mounted in the instance any more; that may be never. */
  async untilUnmounted(id: string, device: string): Promise<void> {
    while (this.isMounted(id, device)) await this.cloud.clock.sleep(POLL_MS);
  }

  async detachDevice(id: string, device: string): Promise<void> {
    await this.machine(id)?.detach(deviceName(device));
  }

  /** Ends everything that runs on the instance, as pulling the plug would. */
  async halt(id: string): Promise<void> {
    const running = this.running.get(id);
    if (running === undefined) return;
    if (this.isOnline(id)) this.seen.add(id);
    else this.seen.delete(id);
    this.running.delete(id);
    await running.machine.stop();
    await running.metadata.close();
  }

  private async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.queues.values());
    await Promise.all([...this.running.keys()].map((id) => this.halt(id)));
  }

  private principal({ id, profile }: InstanceRecord): Principal | undefined {
    if (profile === undefined) return undefined;
    try {
      return this.cloud.assumeRole(profile.roleArn, id, "ec2.amazonaws.com");
    } catch {
      // The instance starts; its metadata says that the role cannot be assumed.
      return undefined;
    }
  }

  private environment(): Record<string, string> {
    return {
      AWS_ENDPOINT_URL: this.cloud.endpoint,
      AWS_REGION: this.cloud.region,
      AWS_DEFAULT_REGION: this.cloud.region,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://${METADATA_ADDRESS}`,
    };
  }

  /** As cloud-init does it: once per instance id and volume, as root, without holding up the boot. */
  private async startUserData(
    instance: InstanceRecord,
    machine: Machine,
    volume: string,
    userData: string | undefined,
  ): Promise<void> {
    const folder = path.join(volume, CLOUD_INIT, "instances", instance.id);
    const done = await fs.access(folder).then(
      () => true,
      () => false,
    );
    if (done) return;
    await fs.mkdir(folder, { recursive: true });
    await fs.mkdir(path.join(volume, CLOUD_INIT, "data"), { recursive: true });
    await fs.writeFile(path.join(volume, CLOUD_INIT, "data", "instance-id"), `${instance.id}\n`);
    if (userData === undefined) return;
    await fs.writeFile(path.join(folder, "user-data.txt"), userData, { mode: 0o700 });
    this.cloud.background(`user data of ${instance.id}`, runUserData(instance.id, machine, volume));
  }
}

function rootOf({ id, devices, rootDeviceName }: InstanceRecord): Attachment {
  const root = devices.get(rootDeviceName);
  if (root !== undefined) return root;
  const message = `Invalid value '${id}' for instanceId. Instance does not have a volume attached at root (${rootDeviceName})`;
  throw new AwsError("IncorrectInstanceState", message);
}

function decodeUserData(base64: string | undefined): string | undefined {
  const text = base64 === undefined ? "" : Buffer.from(base64, "base64").toString("utf8");
  return text === "" ? undefined : text;
}

/** `/dev/sdf` is `sdf` inside. */
function deviceName(device: string): string {
  return path.basename(device);
}

/** Mounts what /etc/fstab lists; whether all of it could be mounted. */
async function mountVolumes(machine: Machine, volume: string): Promise<boolean> {
  const { size } = await fs.stat(path.join(volume, "etc/fstab"));
  if (size === 0) return true;
  const mount = machine.run({ command: ["mount", "-a"] });
  mount.stdout.resume();
  mount.stderr.resume();
  return (await mount.exit) === 0;
}

async function startUnits(machine: Machine, volume: string): Promise<void> {
  const wants = path.join(volume, "etc/systemd/system/multi-user.target.wants");
  const enabled = await fs.readdir(wants).catch(() => []);
  if (enabled.length === 0) return;
  const systemctl = machine.run({ command: ["systemctl", "default"] });
  systemctl.stdout.resume();
  systemctl.stderr.resume();
  await systemctl.exit;
}

async function runUserData(id: string, machine: Machine, volume: string): Promise<void> {
  const log = createWriteStream(path.join(volume, "var/log/cloud-init-output.log"), { flags: "a" });
  const script = `/${CLOUD_INIT}/instances/${id}/user-data.txt`;
  // cloud-init runs what starts with #!, and says that it does not know the rest.
  const command = `case "$(head -c 2 ${script})" in '#!') exec ${script} ;; *) echo "Unhandled non-multipart userdata starting with $(head -c 20 ${script})" ;; esac`;
  const run = machine.run({ command: ["/bin/bash", "-c", command], directory: "/" });
  run.stdin.end();
  run.stdout.pipe(log, { end: false });
  run.stderr.pipe(log, { end: false });
  const code = await run.exit;
  log.end(code === 0 ? undefined : `Failed to run ${script}: exit code ${code}\n`);
  // A failed user data leaves the instance running, as on AWS; whoever waits for its effect finds none.
}
