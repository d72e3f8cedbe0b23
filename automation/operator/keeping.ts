/** The commands on evidence: list, open, close, drop, sweep. */
import type { Cleared } from "../../run/facts";
import { messageOf, Refusal } from "../refusal";
import type { OperatorClients } from "./clients";
import { type Evidence, evidenceOf, isExpired, type KeptDatabase, nameOf } from "./evidence";
import * as databases from "./kept-databases";
import * as volumes from "./kept-volumes";
import { callerOf } from "./resolve";
import type { RunStore } from "./run-store";
import { type Connect, credentialsOf, passwordLine, psqlLine, type ServerOptions } from "./server";
import type { Run } from "./story";
import { age, bytes, columns, minute } from "./text";

export interface Place {
  readonly store: RunStore;
  readonly clients: OperatorClients;
  readonly connect: Connect;
}

/** Every kept thing with what is found of it: its size, and whether it is open. */
export async function list(place: Place, runs: readonly Run[], now: Date): Promise<string[]> {
  const kept = runs.flatMap(evidenceOf);
  if (kept.length === 0) return ["no evidence is kept"];
  const rows: string[][] = [];
  for (const each of kept) {
    const { size, state } = await found(place, each);
    const until = `${minute(each.until)}${isExpired(each, now) ? " (over)" : ""}`;
    rows.push([each.run, each.kind, each.target.id, nameOf(each), size, age(each.since, now), until, state]);
  }
  return columns([["RUN", "KIND", "TARGET", "NAME", "SIZE", "AGE", "KEPT UNTIL", "STATE"], ...rows]);
}

async function found({ connect, clients }: Place, evidence: Evidence): Promise<{ size: string; state: string }> {
  const gone = { size: "-", state: "gone" };
  try {
    if (evidence.kind === "volume") {
      const volume = await volumes.lookAtVolume(clients.ec2, evidence.volumeId);
      return volume === undefined ? gone : { size: `${volume.Size ?? "?"} GiB`, state: volume.State ?? "?" };
    }
    const row = await databases.beside(connect, evidence, (admin) => databases.look(admin, evidence));
    return row === undefined ? gone : { size: bytes(row.bytes), state: row.open ? "open" : "closed" };
  } catch (error) {
    return { size: "?", state: `unknown: ${messageOf(error)}` };
  }
}

/** The kept database that the operator means: of this run, and of this target where there are several. */
export function chosenDatabase(run: Run, target: string | undefined): KeptDatabase {
  const kept = evidenceOf(run).filter((each): each is KeptDatabase => each.kind === "failed");
  const chosen = kept.filter((each) => target === undefined || each.target.id === target);
  const [only, ...others] = chosen;
  if (only === undefined) {
    const of = target === undefined ? "" : ` of the target ${target}`;
    throw new Refusal(
      `run ${run.run} has no failed database${of}: \`protected-pipeline evidence list\` shows what is kept`,
    );
  }
  if (others.length === 0) return only;
  const ids = chosen.map((each) => each.target.id).join(", ");
  throw new Refusal(`run ${run.run} has several failed databases: give --target with one of ${ids}`);
}

/** How many sessions an operator gets. */
const sessions = 2;

export async function open({ connect, clients }: Place, kept: KeptDatabase, options: ServerOptions): Promise<string[]> {
  const { username } = await credentialsOf(clients.secrets, kept.target);
  await databases.beside(connect, kept, (admin) => databases.open(admin, kept, sessions));
  return [
    `${kept.name} is open for ${sessions} sessions of its owner, who reads; it is evidence, so let it be as it is:`,
    `  ${passwordLine(kept.target)}`,
    `  ${psqlLine(kept.target, kept.name, username, options)}`,
    `\`protected-pipeline evidence close ${kept.run.slice(0, 8)}\` closes it again`,
  ];
}

export async function close({ connect }: Place, kept: KeptDatabase): Promise<string[]> {
  await databases.beside(connect, kept, (admin) => databases.close(admin, kept));
  return [`${kept.name} is closed`];
}

/** What may be removed of these runs. @throws Refusal when something must be kept */
export function removable(runs: readonly Run[]): { readonly run: Run; readonly things: readonly Evidence[] }[] {
  return runs.map((run) => {
    const things = evidenceOf(run);
    const held = things.find((each) => each.held !== undefined)?.held;
    if (held !== undefined) throw new Refusal(held);
    return { run, things };
  });
}

/** The runs whose evidence is older than its retention, and may be removed. */
export function overdue(runs: readonly Run[], now: Date): Run[] {
  return runs.filter((run) => {
    const things = evidenceOf(run);
    return things.length > 0 && things.every((each) => each.held === undefined && isExpired(each, now));
  });
}

/**
 * Removes everything that a run has left. When nothing of it remains, the fact `cleared` says so and by whom; what could
 * not be removed is told, and stays for the next attempt.
 */
export async function remove(
  place: Place,
  { run, things }: { readonly run: Run; readonly things: readonly Evidence[] },
) {
  const removed: string[] = [];
  const failed: string[] = [];
  const attempt = async (what: string, work: () => Promise<boolean>): Promise<void> => {
    try {
      removed.push(`${what}${(await work()) ? "" : " (was gone already)"}`);
    } catch (error) {
      failed.push(`${what} could not be removed: ${messageOf(error)}`);
    }
  };
  for (const each of things) {
    if (each.kind === "volume") {
      await attempt(`volume ${each.volumeId}`, () => volumes.deleteVolume(place.clients.ec2, each));
    } else {
      await attempt(`database ${each.name} at ${each.target.host}`, () =>
        databases.beside(place.connect, each, (admin) => databases.drop(admin, each)),
      );
    }
  }
  if (failed.length === 0 && run.facts.opened?.plan.engine === "aws") {
    await attempt("snapshots", async () => {
      const ids = await volumes.deleteSnapshots(place.clients.ec2, run.run);
      removed.push(...ids.map((id) => `snapshot ${id}`));
      return ids.length > 0;
    });
  }
  if (failed.length === 0) {
    const fact: Cleared = { at: new Date().toISOString(), by: await callerOf(place.clients), removed };
    await place.store.write(run.run, "cleared", fact);
  }
  return { removed, failed };
}
