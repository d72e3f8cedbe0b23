/** What the jobs say to, and hear from, the work on a PostgreSQL server. */
import type { DatabaseProtected, UndoneTable } from "../../run/facts";
import type { RunId } from "../../run/ids";
import type { DatabaseTarget, Plan, Pooler } from "../../run/plan";
import type { Readable } from "node:stream";
import type { EarlyRows } from "./early";

/** A user of the server, as the master's secret has it. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** How a job gets at one database. */
export interface DatabaseAccess {
  readonly target: Pick<DatabaseTarget, "host" | "port" | "database" | "adminDatabase"> &
    Partial<Pick<DatabaseTarget, "accept">>;
  /** Whether the run keeps its users from writing. Default `continue`. */
  readonly writes?: Plan["writes"];
  /** Reads the secret anew at every call: a rotation changes it under a running job. */
  readonly credentials: () => Promise<Credentials>;
  /** PEM file with the certificate authorities that the server's certificate is verified against, name included. */
  readonly caFile: string;
  readonly run: RunId;
  /** The job's name; the server shows it with the run's id as `application_name`. */
  readonly job: string;
  /** One line for the build's log. Never holds a secret. */
  readonly log: (line: string) => void;
}

/** What stands in the way of a database's exact return (`stop`), or what its owner should know (`warn`). */
export interface Finding {
  readonly severity: "stop" | "warn";
  /** The kind of finding, for example `replication-slot`. */
  readonly code: string;
  /** What it is about, for example `public.orders`. */
  readonly object: string;
  /** What it is, why it matters, what to do. */
  readonly message: string;
}

/** How much of a server, on which others work at the same time, a job may take. */
export interface Limits {
  /** How many connections work at the same time. */
  readonly workers: number;
  /** Bytes of the dump per second, read or restored. Undefined: as fast as it goes. */
  readonly maxRate?: number | undefined;
}

export interface ProtectOptions {
  /** Everything, the vault included, is given up at this time. */
  readonly deadline: Date;
  /**
   * Stores the stream. Must read it to its end, and resolve only when the recovery point exists; the stream is
   * destroyed with an error when pg_dump fails, and what was stored until then must not become a recovery point.
   */
  readonly vault: (dump: Readable) => Promise<{ readonly recoveryPoint: string }>;
  /** How the vault's end of the pipe reads in the log, for example `elastio stream backup ...`. */
  readonly vaultCommand?: string;
  /** OID of the live database, where the one that is read is a copy of it. */
  readonly original?: number;
  readonly limits?: Limits;
}

/** The fact `protected` of a database, without its times. */
export type ProtectedDatabase = Omit<DatabaseProtected, "at" | "milliseconds">;

export interface StageOptions {
  readonly deadline: Date;
  readonly protected: ProtectedDatabase;
  /** Opens the recovery point's stream from the vault. Called once. */
  readonly dump: () => Promise<Readable>;
  readonly limits?: Limits;
}

/** A staged database. */
export interface StagedDatabase {
  readonly database: string;
  readonly oid: number;
}

/** A database that was staged a moment ago, by this very process. */
export interface FreshlyStaged extends StagedDatabase {
  /** What was read of it while it was restored. */
  readonly early?: EarlyRows | undefined;
}

export interface ProveOptions {
  readonly deadline: Date;
  readonly limits?: Limits;
  readonly protected: ProtectedDatabase;
  /** Without what was read early, everything is read. */
  readonly staged: FreshlyStaged;
}

/** What a proof says. */
export interface ProvenDatabase {
  /** For example `14 tables, 231,004 rows`. */
  readonly compared: string;
  /** When it was closed to connections; the comparison was made after that, by sessions opened before. */
  readonly sealedAt: string;
  /** What any change to a sealed database changes; see seal.ts. */
  readonly seal: string;
}

/** The console of a PgBouncer that clients reach the database through. */
export interface PoolerAccess extends Omit<Pooler, "secretArn"> {
  /** Of a user that is one of PgBouncer's `admin_users`. */
  readonly credentials: () => Promise<Credentials>;
}

/** A database that a healing would put in place, and how it is known. */
export interface SwapPair {
  /** The name that both change hands about: the live database's. */
  readonly database: string;
  readonly liveOid: number;
  readonly staged: StagedDatabase;
  readonly seal: string;
  /** The name under which the failed database is kept. */
  readonly evidence: string;
  /** Paused before the fence, and resumed after the exchange or whatever ends this session. */
  readonly pooler?: PoolerAccess | undefined;
  /** `advance`: sequences never go back, so that no number is given out twice. Default `exact`. */
  readonly sequences?: DatabaseTarget["sequences"];
}

export interface Fenced {
  /** How many sessions were ended. */
  readonly sessionsEnded: number;
}

export interface Swapped {
  /** When the exchange was committed, or was found committed. */
  readonly at: string;
  /** From the start of this call to the commit; 0 when an earlier healer had done it. */
  readonly milliseconds: number;
  /** True when an earlier healer had done it. */
  readonly resumed: boolean;
}

/** What a healing took out of the live database. */
export interface Undone {
  readonly tables: UndoneTable[];
  /** Objects of the schema, and properties of the database, that differed. One line each. */
  readonly objects: string[];
}

/**
 * The Guard's connection to one server, opened before the deploy: a deploy can use up all connections, and a database
 * cannot be closed from within. It reconnects by itself. One operation runs at a time; others wait.
 */
export interface AdminSession {
  /** Fails unless the server answers. Also ends what earlier jobs of the run may have left connected. */
  ready(deadline: Date): Promise<void>;
  /**
   * Fails unless each staged database is sealed as it was proven: same OID, same name, closed, no session, and not
   * written to or reopened since. Takes a millisecond, whatever the size.
   */
  checkSeal(pairs: readonly SwapPair[], deadline: Date): Promise<void>;
  /**
   * Closes the live databases, by OID, to new connections and ends the open ones, until none is left. Can be repeated.
   * A session that cannot be ended by the deadline is named in the error.
   */
  fence(pairs: readonly SwapPair[], deadline: Date): Promise<Fenced>;
  /** Opens the live databases, by OID, that {@link fence} closed. For a run that heals nothing after all. */
  unfence(pairs: readonly SwapPair[], deadline: Date): Promise<void>;
  /**
   * Puts the staged databases in place of the failed ones: all of them in one transaction, or none. Fences again
   * first. Can be called at every point of an earlier, interrupted call: what is done is judged by OIDs.
   * @param ready - awaited when only the commit remains; a rejection rolls everything back
   */
  swap(pairs: readonly SwapPair[], deadline: Date, ready?: () => Promise<void>): Promise<Swapped>;
  /** True when the database that now bears the name is the proven one, and the failed one is kept and closed. */
  isSwapped(pairs: readonly SwapPair[], deadline: Date): Promise<boolean>;
  /**
   * What the healing took out: the failed database against the one that was put in its place. What could not be counted
   * by the deadline is told without its rows.
   */
  undone(pair: SwapPair, before: ProtectedDatabase, deadline: Date): Promise<Undone>;
  /** What a healing cannot undo and differs from then: roles, their memberships and settings, other databases. One line each. */
  notUndone(server: Readonly<Record<string, string>>, deadline: Date): Promise<string[]>;
  /** Removes the staged database of a run that needs no healing. Nothing happens when it is gone already. */
  discardStaged(staged: StagedDatabase, deadline: Date): Promise<void>;
  close(): Promise<void>;
}
