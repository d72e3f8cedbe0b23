/**
 * Sequences that never go back. A healed database gives out the numbers again that were given out since the snapshot;
 * where other systems have seen them, that is wrong. So each sequence goes on from the further of its two values: the
 * failed database's and the healed one's.
 *
 * That is done between the two halves of the exchange of names: the failed database has its evidence's name and takes
 * no connections, the healed one is open under a name that no client knows. Both halves are judged by OIDs, the values
 * come from the closed evidence, and taking the further one twice changes nothing: a healer that was interrupted
 * anywhere is followed by one that does the same again.
 */
import { escapeIdentifier as quoted, escapeLiteral as literal, type Client } from "pg";
import { withConnection } from "./connection";
import { userSchema } from "./fingerprint";
import type { DatabaseAccess, SwapPair } from "./types";

interface Sequence {
  readonly name: string;
  readonly descends: boolean;
  readonly cycles: boolean;
  readonly least: string;
  readonly most: string;
  readonly value: string;
  readonly called: boolean;
}

/** Sets the sequences of the healed database, which still bears its staged name. */
export async function advanceSequences(access: DatabaseAccess, admin: Client, pair: SwapPair): Promise<void> {
  const failed = await readFailed(access, admin, pair);
  const advanced = await withConnection(access, pair.staged.database, async (client) => {
    const told: string[] = [];
    for (const sequence of await readAll(client)) {
      const value = further(sequence, failed.get(sequence.name));
      if (value === undefined) continue;
      await client.query(`SELECT pg_catalog.setval(${literal(sequence.name)}, ${value}, true)`);
      told.push(`${sequence.name} to ${value}`);
    }
    return told;
  });
  access.log(`sequences of ${pair.database} that go on behind the numbers given out: ${advanced.join(", ") || "none"}`);
}

/** Opens the evidence for one reader, and closes it again whatever happens. */
async function readFailed(access: DatabaseAccess, admin: Client, pair: SwapPair): Promise<Map<string, Sequence>> {
  const evidence = quoted(pair.evidence);
  await admin.query(`ALTER DATABASE ${evidence} ALLOW_CONNECTIONS true CONNECTION LIMIT 1`);
  try {
    const sequences = await withConnection(access, pair.evidence, readAll);
    return new Map(sequences.map((each) => [each.name, each]));
  } finally {
    await admin.query(`ALTER DATABASE ${evidence} ALLOW_CONNECTIONS false CONNECTION LIMIT 0`);
  }
}

async function readAll(client: Client): Promise<Sequence[]> {
  const { rows: sequences } = await client.query<Omit<Sequence, "value" | "called">>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, s.seqincrement < 0 AS descends,
            s.seqcycle AS cycles, s.seqmin::text AS least, s.seqmax::text AS most
       FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relpersistence <> 't' AND ${userSchema} ORDER BY 1`,
  );
  const all: Sequence[] = [];
  for (const sequence of sequences) {
    const { rows } = await client.query<{ value: string; called: boolean }>(
      `SELECT last_value::text AS value, is_called AS called FROM ${sequence.name}`,
    );
    for (const row of rows) all.push({ ...sequence, ...row });
  }
  return all;
}

/**
 * The value that the failed database's sequence got to, when that is further than the healed one's, and within its
 * bounds. One that starts anew at its end is left as it was: nothing says which of two values is the further one.
 */
export function further(healed: Sequence, failed: Sequence | undefined): string | undefined {
  if (failed?.called !== true || healed.cycles) return undefined;
  const [was, is, least, most] = [healed.value, failed.value, healed.least, healed.most].map(BigInt) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const ahead = healed.descends ? is < was : is > was;
  if (!ahead && !(is === was && !healed.called)) return undefined;
  if (healed.descends) return String(is < least ? least : is);
  return String(is > most ? most : is);
}
