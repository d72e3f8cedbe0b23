/** All or none of several servers, as far as that is possible: no transaction spans servers. */
import type { AdminSession, SwapPair, Swapped } from "./types";

/** Where all of a number of parties wait for each other. One that fails lets nobody pass. */
export class Barrier {
  private readonly arrived = new Set<object>();
  private open: () => void = () => undefined;
  private refuse: (error: Error) => void = () => undefined;
  private readonly opened = new Promise<void>((resolve, reject) => {
    this.open = resolve;
    this.refuse = reject;
  });

  constructor(private readonly parties: number) {
    this.opened.catch(() => undefined);
  }

  /** Resolves when all have come. Whoever comes again afterwards passes. */
  async pass(party: object, deadline: Date): Promise<void> {
    this.arrived.add(party);
    if (this.arrived.size === this.parties) this.open();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      const wait = Math.max(0, deadline.getTime() - Date.now());
      timer = setTimeout(() => reject(new Error("another server was not ready in time")), wait);
    });
    await Promise.race([this.opened, late]).finally(() => clearTimeout(timer));
  }

  /** Nobody passes any more, unless all have. */
  break(error: Error): void {
    this.refuse(error);
  }
}

export interface ServerSwap {
  readonly session: AdminSession;
  readonly pairs: readonly SwapPair[];
}

/**
 * Exchanges the databases of several servers. Each server makes its exchange in a transaction and does everything in it
 * that can fail; it commits only when all are that far. When one cannot, the others roll back and nothing has changed.
 * What is left between the first commit and the last is a lost connection or server: then the same call, by this healer
 * or another one, finds what is done and does the rest.
 */
export async function swapAll(servers: readonly ServerSwap[], deadline: Date): Promise<Swapped[]> {
  const barrier = new Barrier(servers.length);
  const results = await Promise.allSettled(
    servers.map(async ({ session, pairs }) => {
      try {
        return await session.swap(pairs, deadline, () => barrier.pass(session, deadline));
      } catch (error) {
        barrier.break(new Error(`nothing was exchanged here, because elsewhere: ${(error as Error).message}`));
        throw error;
      }
    }),
  );
  const failures = results.flatMap((result) => (result.status === "rejected" ? [result.reason as Error] : []));
  if (failures.length > 0) {
    throw new Error([...new Set(failures.map(({ message }) => message))].join("; "), { cause: failures[0] });
  }
  return results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}
