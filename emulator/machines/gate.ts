/**
 * The way between a machine's own network and the host's. A machine with a gate has a network namespace of its own: it
 * sees its own loopback and nothing else. The gate listens there at every address that the machine may connect to, and
 * joins what connects with the real place on the host; and it listens on the host at the machine's address, on the ports
 * on which something in the machine listens, and joins what connects with that. Whether a connection may be is asked
 * for each one: {@link Gatekeeper}.
 *
 * What may not be reached refuses connections, at once; on AWS they would wait until they time out. TCP only.
 */
import { spawn, type ChildProcess } from "node:child_process";
import * as net from "node:net";
import * as path from "node:path";
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

/** How often the rules, and the number of the machine's sockets, are looked at. */
const PERIOD_MS = 50;

export class Gate {
  private readonly servers = new Map<number, net.Server>();
  private readonly sockets = new Set<net.Socket>();
  private readonly inside: ChildProcess;
  private readonly timer: NodeJS.Timeout;
  private readonly listeners: Listeners;
  private targets: ReadonlyMap<string, Place> | undefined;
  private closed = false;
  /** Resolves when the machine can reach what it may reach now. */
  readonly opened: Promise<void>;
  /** The ports on which the machine's programs can be reached. */
  ports: readonly number[] = [];

  /** `pid`: process 1 of the machine. `enter`: the command that starts another in its network namespace. */
  constructor(
    private readonly keeper: Gatekeeper,
    pid: number,
    enter: readonly [string, ...string[]],
  ) {
    this.listeners = new Listeners(pid, keeper.address);
    const [command, ...args] = enter;
    this.inside = spawn(command, [...args, process.execPath, path.join(__dirname, "gate-inside.js")], {
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: {},
      cwd: "/",
      detached: true,
    });
    this.opened = new Promise((resolve, reject) => {
      this.inside.on("message", (message, socket) => {
        if (socket === undefined) resolve();
        else this.connect(message as Place, socket as net.Socket);
      });
      this.inside.once("error", reject);
      this.inside.once("exit", (code, signal) => reject(new Error(`the gate ended with ${code ?? signal}`)));
    });
    // Whoever wants to know waits for it.
    this.opened.catch(() => undefined);
    this.timer = setInterval(() => this.refresh(), PERIOD_MS).unref();
    this.refresh();
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    this.inside.kill("SIGKILL");
    for (const server of this.servers.values()) server.close();
    for (const socket of this.sockets) socket.destroy();
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
    this.ports = this.listeners.ports().filter((port) => !targets.has(nameOf({ address, port })));
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
      else this.tell({ deliver: place }, socket);
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

  private tell(message: object, socket?: net.Socket): void {
    if (!this.inside.connected) return void socket?.destroy();
    this.inside.send(message, socket, {}, (error) => {
      if (error) socket?.destroy();
    });
  }
}

function nameOf({ address, port }: Place): string {
  return `${address}:${port}`;
}
