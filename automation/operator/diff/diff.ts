/** `diff`: the rows in which the failed database and the live one differ, table by table. */
import type { Client } from "pg";
import Cursor from "pg-cursor";
import { Refusal } from "../../refusal";
import * as databases from "../kept-databases";
import type { KeptDatabase } from "../evidence";
import { connected, type Connect } from "../server";
import { age, minute } from "../text";
import { changedMembers, type Difference, differences, type Row } from "./merge";
import { digestSql, type Reading, readingOf, rowsSql, type Table, tablesOf } from "./tables";

export interface DiffOptions {
  /** Only this table, as `schema.table` or a name of the schema `public`. */
  readonly table?: string | undefined;
  /** How many rows of each table are printed. All are counted. */
  readonly limit: number;
  readonly print: (line: string) => void;
  readonly now: Date;
}

/**
 * Compares the failed database with the one that is live now, and prints. The failed one is opened for this one session
 * and closed again, if it was closed. Memory does not depend on the size of the tables.
 *
 * @returns whether there is any difference
 */
export async function diff(connect: Connect, kept: KeptDatabase, options: DiffOptions): Promise<boolean> {
  const { target, name, since } = kept;
  const { print, now } = options;
  print(
    `${name} is what the deploy left of ${target.database}; the healing took it out ${age(since, now)} ago (${minute(since)}).`,
  );
  print(
    `The live database ${target.database} has moved on since: a difference may be its users' work after the healing.`,
  );
  print(`+ only in the failed database   - only in the live one   ~ in both, live → failed`);
  return opened(connect, kept, () =>
    connected(connect, target, target.database, (live) =>
      connected(connect, target, name, async (failed) => {
        await Promise.all([live, failed].map(readConsistently));
        return compareAll(live, failed, options);
      }),
    ),
  );
}

async function opened<T>(connect: Connect, kept: KeptDatabase, work: () => Promise<T>): Promise<T> {
  return databases.beside(connect, kept, async (admin) => {
    const found = await databases.look(admin, kept);
    if (found === undefined)
      throw new Refusal(`${kept.name} at ${kept.target.host} is gone: there is nothing to compare`);
    if (found.open) return work();
    await databases.open(admin, kept, 1);
    try {
      return await work();
    } finally {
      await databases.close(admin, kept);
    }
  });
}

/** One state of the database for the whole comparison, read whole or refused, and written in one form on both sides. */
async function readConsistently(client: Client): Promise<void> {
  await client.query(
    `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
     SET LOCAL search_path = ''; SET LOCAL row_security = off; SET LOCAL timezone = 'UTC'; SET LOCAL statement_timeout = 0;
     SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '10s'; SET LOCAL datestyle = 'ISO, YMD';
     SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'`,
  );
}

async function compareAll(live: Client, failed: Client, options: DiffOptions): Promise<boolean> {
  const [before, after] = await Promise.all([tablesOf(live), tablesOf(failed)]);
  const names = [...new Set([...before.keys(), ...after.keys()])].filter((name) => isMeant(name, options.table)).sort();
  if (names.length === 0) throw new Refusal(`neither database has a table ${options.table ?? ""}`);
  let differs = false;
  for (const name of names) {
    const [mine, theirs] = [before.get(name), after.get(name)];
    const found =
      mine !== undefined && theirs !== undefined
        ? await compareTable(live, failed, readingOf(mine, theirs), options)
        : await onlyOne(name, mine, mine === undefined ? failed : live, options);
    differs ||= found;
  }
  if (!differs) options.print("no difference");
  return differs;
}

function isMeant(name: string, asked: string | undefined): boolean {
  return asked === undefined || name === asked || name === `public.${asked}`;
}

async function onlyOne(name: string, live: Table | undefined, client: Client, { print }: DiffOptions): Promise<true> {
  const { rows } = await client.query<{ count: string }>(`SELECT count(*) AS count FROM ${name}`);
  const where = live === undefined ? "failed database" : "live database";
  print(`${name}: only the ${where} has this table, with ${rows[0]?.count ?? "?"} rows`);
  return true;
}

async function compareTable(live: Client, failed: Client, reading: Reading, options: DiffOptions): Promise<boolean> {
  const { table, columns, key, differing } = reading;
  const { print, limit } = options;
  const structure = differing.length === 0 ? "" : `; columns that differ are not compared: ${differing.join(", ")}`;
  if (columns.length === 0) {
    print(`${table.name}: no column in common`);
    return true;
  }
  const [mine, theirs] = await Promise.all([digest(live, reading), digest(failed, reading)]);
  if (mine === theirs) {
    if (differing.length > 0) print(`${table.name}: equal rows${structure}`);
    return differing.length > 0;
  }
  print(
    `${table.name}, ${key.length === 0 ? "whole rows, as it has no primary key" : `by ${key.join(", ")}`}${structure}`,
  );
  const counts = { "failed-only": 0, "live-only": 0, changed: 0 };
  let printed = 0;
  for await (const each of differences(rowsOf(live, reading), rowsOf(failed, reading))) {
    counts[each.kind]++;
    if (printed++ < limit) print(`  ${lineOf(each)}`);
  }
  const more = printed > limit ? ` (${limit} shown; --limit shows more)` : "";
  print(
    `  ${counts["failed-only"]} only in the failed database, ${counts["live-only"]} only in the live one, ${counts.changed} changed${more}`,
  );
  return true;
}

async function digest(client: Client, reading: Reading): Promise<string | undefined> {
  return (await client.query<{ digest: string }>(digestSql(reading))).rows[0]?.digest;
}

/** So few rows at a time that wide ones do not add up. */
const batch = 100;

async function* rowsOf(client: Client, reading: Reading): AsyncGenerator<Row> {
  const cursor = client.query(new Cursor<Row>(rowsSql(reading)));
  try {
    for (;;) {
      const rows = await cursor.read(batch);
      if (rows.length === 0) return;
      yield* rows;
    }
  } finally {
    await cursor.close();
  }
}

function lineOf(difference: Difference): string {
  switch (difference.kind) {
    case "failed-only":
      return `+ ${difference.row}`;
    case "live-only":
      return `- ${difference.row}`;
    case "changed":
      return `~ ${difference.key} ${changedMembers(difference.live, difference.failed)}`;
  }
}
