import { randomBytes } from "node:crypto";
import type { Clock, Credentials, Principal } from "./definitions";

interface Issued {
  readonly credentials: Credentials;
  readonly principal: Principal;
}

/** Access keys by their id. Those of sessions expire. */
export class CredentialStore {
  private readonly issued = new Map<string, Issued>();

  constructor(private readonly clock: Clock) {}

  issue(principal: Principal, lifetimeSeconds: number): Credentials {
    this.forgetExpired();
    const credentials: Credentials = {
      accessKeyId: `ASIA${randomLetters(16)}`,
      secretAccessKey: randomBytes(30).toString("base64"),
      sessionToken: randomBytes(96).toString("base64"),
      expiration: new Date(this.clock.now().getTime() + lifetimeSeconds * 1000),
    };
    this.issued.set(credentials.accessKeyId, { credentials, principal });
    return credentials;
  }

  /** The keys of the account's administrator: they have no session and do not expire. */
  issuePermanent(principal: Principal): { readonly accessKeyId: string; readonly secretAccessKey: string } {
    const credentials = {
      accessKeyId: `AKIA${randomLetters(16)}`,
      secretAccessKey: randomBytes(30).toString("base64"),
      sessionToken: "",
      expiration: new Date(8.64e15),
    };
    this.issued.set(credentials.accessKeyId, { credentials, principal });
    return credentials;
  }

  /** Whose key this is; `expired` when its time is over. */
  find(accessKeyId: string): Issued | "expired" | undefined {
    const found = this.issued.get(accessKeyId);
    if (!found) return undefined;
    return found.credentials.expiration > this.clock.now() ? found : "expired";
  }

  /** A key that expired long ago is unknown, as on AWS; until then it is known as expired. */
  private forgetExpired(): void {
    const longAgo = this.clock.now().getTime() - 3_600_000;
    for (const [id, { credentials }] of this.issued) {
      if (credentials.expiration.getTime() < longAgo) this.issued.delete(id);
    }
  }
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

function randomLetters(count: number): string {
  return [...randomBytes(count)].map((byte) => letters[byte % letters.length] ?? "A").join("");
}
