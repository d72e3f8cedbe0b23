/**
 * A machine's own network, and the way between it and the host's. It is a network namespace with a loopback and nothing
 * else; the gate's process is the first in it, so it can be there before its machine. The gate listens there at every address that the machine may connect to, and
 * joins what connects with the real place on the host; and it listens on the host at the machine's address, on the ports
 * on which something in the machine listens, and joins what connects with that. Whether a connection may be is asked
 * for each one: {@link Gatekeeper}.
 *
 * What may not be reached refuses connections, at once; on AWS they would wait until they time out. TCP only.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as net from "node:net";
import * as path from "node:path";
import type { Readable } from "node:stream";
import { Listeners } from "./listeners";

/** Where something listens. */
export interface Place {
  /** An IPv4 address. */
  readonly address: string;
  readonly port: number;
}

/** Decides what a machine reaches, and what reaches it. Asked again and again: the answers may change. */
export interface Gatekeeper {
  /** The address by which the machine is reached; undefined when it is not. */
  readonly address?: string;
  /** All that the machine may connect to. With `as`: it finds it at another place than the host does. */
  reachable(): readonly (Place & { readonly as?: Place })[];
  /** Whether a port of the machine may be reached from the host. */
  admits(port: number): boolean;
}

/** What the inside says: it has taken a connection; something has connected to a place; or it follows the list. */
type Told = { readonly took: number } | Place | { readonly listening: true };

/** How often the rules, and the number of the machine's sockets, are looked at. */
const PERIOD_MS = 50;

export class Gate {
  private readonly servers = new Map<number, net.Server>();
  private readonly sockets = new Set<net.Socket>();
  /** Connections that are handed to the inside, until it says that it has them. */
  private readonly handed = new Map<number, net.Socket>();
  private lastHanded = 0;
  private readonly inside: ChildProcess & { stdout: Readable; stderr: Readable };
  private listeners: Listeners | undefined;
  private timer: NodeJS.Timeout | undefined;
  private targets: ReadonlyMap<string, Place> | undefined;
  private complaint = "";
  private closed = false;
  /** Resolves when the network is there: machines can be made in it. Rejects where the host does not let it. */
  readonly made: Promise<void>;
  /** Resolves when what is in the network reaches what it may reach now. */
  readonly opened: Promise<void>;
  /** The ports on which the machine's programs can be reached. */
  ports: readonly number[] = [];

  /** `enter`: the command that makes the network, writes a line when it has, and then becomes the command after it. */
  constructor(
    private readonly keeper: Gatekeeper,
    enter: readonly [string, ...string[]],
  ) {
    const [command, ...args] = enter;
    this.inside = spawn(command, [...args, process.execPath, path.join(__dirname, "gate-inside.js")], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: {},
      cwd: "/",
      detached: true,
    }) as typeof this.inside;
    const ended = new Promise<never>((_, reject) => {
      this.inside.once("error", reject);
      this.inside.once("close", () => reject(new Error(this.complaint.trim() || "the gate has ended")));
    });
    this.inside.stderr.on(
      "data",
      (data: Buffer) => (this.complaint = (this.complaint + data.toString()).slice(-2_000)),
    );
    this.made = Promise.race([once(this.inside.stdout, "data"), ended]).then(() => this.start());
    const listening = new Promise<void>((resolve) => {
      this.inside.on("message", (message: Told, socket) => {
        if ("took" in message) this.release(message.took);
        else if ("address" in message) this.connect(message, socket as net.Socket);
        else resolve();
      });
    });
    this.opened = Promise.race([this.made.then(() => listening), ended]);
    // Whoever wants to know waits for it.
    for (const promise of [ended, this.made, this.opened]) promise.catch(() => undefined);
  }

  /** A process in the network. */
  get pid(): number {
    return this.inside.pid ?? 0;
  }

  private start(): void {
    if (this.closed) return;
    this.listeners = new Listeners(this.pid, this.keeper.address);
    this.timer = setInterval(() => this.refresh(), PERIOD_MS).unref();
    this.refresh();
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    this.inside.kill("SIGKILL");
    for (const server of this.servers.values()) server.close();
    for (const socket of [...this.sockets, ...this.handed.values()]) socket.destroy();
  }

  private refresh(): void {
    const reachable = this.keeper.reachable();
    const targets = new Map(reachable.map(({ as, ...place }) => [nameOf(as ?? place), place]));
    const known = this.targets;
    const same = targets.size === known?.size && [...targets.keys()].every((name) => known.has(name));
    this.targets = targets;
    if (!same) this.tell({ listen: reachable.map(({ as, address, port }) => as ?? { address, port }) });
    this.openPorts(targets);
  }

  private openPorts(targets: ReadonlyMap<string, Place>): void {
    const { address } = this.keeper;
    if (address === undefined) return;
    const ports = this.listeners?.ports() ?? [];
    this.ports = ports.filter((port) => !targets.has(nameOf({ address, port })));
    const wanted = new Set(this.ports.filter((port) => this.keeper.admits(port)));
    for (const [port, server] of this.servers) {
      if (wanted.has(port)) continue;
      this.servers.delete(port);
      server.close();
    }
    for (const port of wanted) {
      if (!this.servers.has(port)) this.servers.set(port, this.serverFor({ address, port }));
    }
  }

  private serverFor(place: Place): net.Server {
    const server = net.createServer({ pauseOnConnect: true }, (socket) => {
      if (!this.keeper.admits(place.port)) socket.destroy();
      else this.hand(place, socket);
    });
    // The port is still, or already, in use on the host: tried again at the next look.
    server.on("error", () => this.servers.delete(place.port));
    server.unref();
    return server.listen(place.port, place.address);
  }

  /** Something in the machine has connected to a place. */
  private connect(place: Place, inside: net.Socket): void {
    const target = this.keeper.reachable().find((each) => nameOf(each.as ?? each) === nameOf(place));
    if (target === undefined || this.closed) {
      inside.destroy();
      return;
    }
    inside.allowHalfOpen = true;
    const outside = net.connect({ host: target.address, port: target.port, allowHalfOpen: true, noDelay: true });
    inside.setNoDelay();
    const end = (): void => {
      inside.destroy();
      outside.destroy();
    };
    for (const socket of [inside, outside]) {
      this.sockets.add(socket);
      socket.on("error", end);
      socket.on("close", () => this.sockets.delete(socket));
    }
    inside.pipe(outside);
    outside.pipe(inside);
    inside.resume();
  }

  /** Keeps a copy until the inside has the connection: else one that is on its way when the gate closes never ends. */
  private hand(place: Place, socket: net.Socket): void {
    const id = ++this.lastHanded;
    this.handed.set(id, socket);
    if (!this.inside.connected) return this.release(id);
    this.inside.send({ deliver: place, id }, socket, { keepOpen: true }, (error) => {
      if (error) this.release(id);
    });
  }

  private release(id: number): void {
    this.handed.get(id)?.destroy();
    this.handed.delete(id);
  }

  private tell(message: object): void {
    // Who has ended does not need to know.
    if (this.inside.connected) this.inside.send(message, () => undefined);
  }
}

function nameOf({ address, port }: Place): string {
  return `${address}:${port}`;
}
