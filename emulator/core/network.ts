import { createServer, type Server } from "node:net";
import { randomInt } from "node:crypto";
import type { Network } from "./definitions";

/** Blocks of addresses: 127.<first>..<last>.x.y. Low ones are left to what the machine itself uses (127.0, 127.0.53). */
const firstBlock = 64;
const lastBlock = 250;
/** The port on a block's first address that its owner holds. It serves nothing: it only marks the block as taken. */
const markerPort = 47_474;

/**
 * Loopback addresses out of a /16 of 127.0.0.0/8 that no other emulator on this machine uses. The block is held by a
 * listening socket, so that it is free again when the process ends, however it ends.
 */
export class LoopbackNetwork implements Network {
  private readonly addresses = new Map<string, string>();
  private readonly taken = new Set<string>();
  private next = 1 + randomInt(200) * 256;

  private constructor(
    private readonly block: number,
    private readonly marker: Server,
  ) {}

  static async open(): Promise<LoopbackNetwork> {
    const count = lastBlock - firstBlock + 1;
    const start = randomInt(count);
    for (let index = 0; index < count; index++) {
      const block = firstBlock + ((start + index) % count);
      const marker = await mark(block);
      if (marker) return new LoopbackNetwork(block, marker);
    }
    throw new Error(
      `All ${count} blocks of loopback addresses are in use (port ${markerPort} of 127.${firstBlock}.0.1 to 127.${lastBlock}.0.1). ` +
        "End other emulators on this machine.",
    );
  }

  allocate(dnsName: string): string {
    const known = this.addresses.get(dnsName);
    if (known !== undefined) return known;
    // Round robin: an address that was released rests as long as possible.
    for (let tries = 0; tries < 65_000; tries++) {
      const address = this.address(this.next);
      this.next = this.next >= 65_000 ? 256 : this.next + 1;
      if (address === undefined || this.taken.has(address)) continue;
      this.taken.add(address);
      this.addresses.set(dnsName, address);
      return address;
    }
    throw new Error(`No loopback address is left for ${dnsName}`);
  }

  release(dnsName: string): void {
    const address = this.addresses.get(dnsName);
    if (address === undefined) return;
    this.addresses.delete(dnsName);
    this.taken.delete(address);
  }

  hosts(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.addresses);
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.marker.close(() => resolve()));
  }

  /** Skips what looks like a network's or a broadcast address, and the marker's own. */
  private address(host: number): string | undefined {
    const [third, fourth] = [host >> 8, host & 0xff];
    return third === 0 || fourth === 0 || fourth === 255 ? undefined : `127.${this.block}.${third}.${fourth}`;
  }
}

function mark(block: number): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(undefined) : reject(error),
    );
    server.listen(markerPort, `127.${block}.0.1`, () => resolve(server));
  });
}
