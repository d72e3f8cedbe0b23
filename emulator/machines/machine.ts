/**
 * A machine: a process tree in its own mount, PID and UTS namespace, on its own root. EC2 instances and CodeBuild
 * builds are machines. When the machine stops, every process in it is gone.
 */
import type { Readable, Writable } from "node:stream";
import type { Gate, Gatekeeper } from "./gate";

export interface MachineOptions {
  /** Host name inside, for example `ip-10-0-1-23.ec2.internal`. */
  readonly hostname: string;
  /** Scratch folder of this machine on the host; made by the caller, removed by the caller. */
  readonly directory: string;
  /** Folder of the host that holds the root volume's writable places; absent: a scratch volume that goes away. */
  readonly volume?: string;
  /** More folders or files of the host to show inside. */
  readonly binds?: readonly { readonly source: string; readonly target: string; readonly writable?: boolean }[];
  /** Contents of /etc/hosts: name to loopback address. */
  readonly hosts: Readonly<Record<string, string>>;
  /**
   * False: no network at all, not even loopback (a subnet without a route). True: the host's own network, its loopback
   * included. A gatekeeper: a network of its own, from which and to which only what the gatekeeper lets through goes. A
   * gate: such a network that has been made before. It ends with the machine, and when that cannot be started.
   */
  readonly network: boolean | Gatekeeper | Gate;
  /** The environment of every process, unless a command adds to it. Nothing of the host's environment is inherited. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface CommandOptions {
  readonly command: readonly [string, ...string[]];
  readonly environment?: Readonly<Record<string, string>>;
  /** Folder inside the machine. Default `/root`. */
  readonly directory?: string;
}

export interface MachineProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** The exit code, or 128 + the signal's number. */
  readonly exit: Promise<number>;
  /** Ends the command and everything that it started in its process group. */
  kill(signal?: NodeJS.Signals): void;
}

export interface Machine {
  /** Starts a command inside. Throws when the machine is stopped. */
  run(options: CommandOptions): MachineProcess;
  /** Ends every process inside and waits for that. May be called twice. */
  stop(): Promise<void>;
  readonly running: boolean;
  /** Replaces the names in /etc/hosts; running processes see it at their next look-up. */
  setHosts(hosts: Readonly<Record<string, string>>): void;
  /** Does something while everything inside stands still. */
  paused<T>(work: () => Promise<T>): Promise<T>;
  /** The ports on which programs inside can be reached, where the machine has a gate. */
  readonly ports: readonly number[];
  /** Shows a folder of the host as the device `/dev/<name>`: a folder too, which `mount` mounts elsewhere. */
  attach(name: string, folder: string): Promise<void>;
  /** Whether the device is mounted anywhere inside. */
  isMounted(name: string): boolean;
  /** Takes the device away. Where it is still mounted, it stays until it is unmounted there, or the machine stops. */
  detach(name: string): Promise<void>;
}
