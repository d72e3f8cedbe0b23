/** Finds out, from outside, where the programs in a network namespace listen. */
import * as fs from "node:fs";

const LISTENING = "0A";
/**
 * The kernel looks through the whole host's connections to tell those of one namespace, which takes milliseconds. The
 * number of sockets in use is told at once; so the table is read when that number has changed, and now and then, because
 * it can be the same again.
 */
const READ_AGAIN_MS = 250;
const READ_ANYWAY_MS = 2_000;
/** The other figures beside this one are those of the whole host. */
const SOCKETS_IN_USE = /^TCP6?: inuse \d+/m;

export class Listeners {
  private readonly addresses: ReadonlySet<string>;
  private known: readonly number[] = [];
  private counts = "";
  private readAt = -Infinity;

  /** `pid`: a process in the namespace. `address`: programs that listen at others than this one do not count. */
  constructor(
    private readonly pid: number,
    address = "0.0.0.0",
  ) {
    const own = hexAddress(address);
    this.addresses = new Set(["00000000", own, "0".repeat(32), `0000000000000000FFFF0000${own}`]);
  }

  /** The ports. May be late by a fraction of a second. */
  ports(): readonly number[] {
    const age = performance.now() - this.readAt;
    // Somebody waits for the first one.
    if (this.known.length > 0 && age < READ_AGAIN_MS) return this.known;
    const counts = ["sockstat", "sockstat6"].flatMap((file) => SOCKETS_IN_USE.exec(this.read(file)) ?? []).join();
    if (counts === this.counts && age < READ_ANYWAY_MS) return this.known;
    this.counts = counts;
    this.readAt = performance.now();
    this.known = [
      ...new Set([...this.portsIn("tcp"), ...(counts.endsWith("TCP6: inuse 0") ? [] : this.portsIn("tcp6"))]),
    ];
    return this.known;
  }

  private portsIn(table: string): number[] {
    return this.read(table)
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state]) => state === LISTENING)
      .map(([, local = ""]) => local.split(":"))
      .filter(([address = ""]) => this.addresses.has(address))
      .map(([, port = ""]) => parseInt(port, 16));
  }

  private read(file: string): string {
    try {
      return fs.readFileSync(`/proc/${this.pid}/net/${file}`, "utf8");
    } catch {
      // The machine has ended, or the host has no IPv6.
      return "";
    }
  }
}

/** As the kernel prints it: the bytes of the address as a number of this host, little-endian. */
function hexAddress(address: string): string {
  const bytes = address.split(".").reverse();
  return bytes.map((byte) => Number(byte).toString(16).padStart(2, "0").toUpperCase()).join("");
}
