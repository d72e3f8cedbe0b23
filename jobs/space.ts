/**
 * Whether the databases that are to be staged fit beside the live ones, and their dumps into the vault. A server that
 * runs out of storage is an outage, so what is not known is refused, unless the owner accepts it.
 */
import type { DatabaseTarget } from "../run/plan";
import type { Clients } from "./clients";
import { databaseSpace, serverSize, spaceProblem, streamProblem } from "./database";
import type { BackupEngine } from "./engines/engine";
import { reasonOf } from "./failure";
import { type Job, accessTo, databasesOf, forEach, together } from "./job";
import { serversOf } from "./servers";

/** Codes that an owner may accept for a database, beside those of the preflight. */
export const spaceCodes = ["no-space", "space-unknown", "dump-too-large"] as const;
type SpaceCode = (typeof spaceCodes)[number];

interface Problem {
  readonly code: SpaceCode;
  readonly text: string;
}

/** Whether a code is this module's. */
export function isSpaceCode(code: string): code is SpaceCode {
  return (spaceCodes as readonly string[]).includes(code);
}

/** @returns why there is not enough space, one sentence for each server or dump; what the owner accepts is told only */
export async function spaceProblems(
  job: Job,
  { longestStream }: Pick<BackupEngine, "longestStream">,
): Promise<string[]> {
  const staged = databasesOf(job.plan).filter(({ stage }) => stage !== "on-failure");
  const found = await together([
    forEach(job, serversOf(staged), async (targets) => unaccepted(job, targets, await problemOf(job, targets))),
    forEach(job, databasesOf(job.plan), async (target) =>
      unaccepted(job, [target], await dumpProblem(job, target, longestStream)),
    ),
  ]);
  return found.flat(2);
}

function unaccepted(job: Job, targets: readonly DatabaseTarget[], problem: Problem | undefined): string[] {
  if (problem === undefined) return [];
  const { code, text } = problem;
  if (!targets.every(({ accept }) => accept.includes(code)))
    return [`${text} (to go on nevertheless, accept "${code}")`];
  job.log(`note: accepted (${code}): ${text}`);
  return [];
}

async function dumpProblem(job: Job, target: DatabaseTarget, longest?: number): Promise<Problem | undefined> {
  if (longest === undefined) return undefined;
  const { database } = await databaseSpace(accessTo(job, target));
  const text = streamProblem(database, longest);
  return text === undefined ? undefined : { code: "dump-too-large", text: `${target.id}: ${text}` };
}

async function problemOf(job: Job, targets: readonly DatabaseTarget[]): Promise<Problem | undefined> {
  const [first] = targets;
  if (first === undefined) return undefined;
  try {
    const free = await freeStorage(job.clients, first.arn.split(":").at(-1) ?? "");
    const needs = await forEach(job, targets, (target) => databaseSpace(accessTo(job, target)));
    // What is not free is taken, by databases above all: so much is allocated at least.
    const allocated = free + (await serverSize(accessTo(job, first)));
    const text = spaceProblem(needs, { free, allocated });
    return text === undefined ? undefined : { code: "no-space", text: `${first.host}: ${text}` };
  } catch (error) {
    const text = `${first.host}: how much storage is left is not known: ${reasonOf(error)}`;
    return { code: "space-unknown", text };
  }
}

/** RDS tells CloudWatch once a minute. */
const metricMinutes = 10;

/** @returns bytes, as RDS told CloudWatch last */
export async function freeStorage(clients: Pick<Clients, "cloudwatch">, identifier: string): Promise<number> {
  const { GetMetricStatisticsCommand } = await import("@aws-sdk/client-cloudwatch");
  const answer = await (
    await clients.cloudwatch()
  ).send(
    new GetMetricStatisticsCommand({
      Namespace: "AWS/RDS",
      MetricName: "FreeStorageSpace",
      Dimensions: [{ Name: "DBInstanceIdentifier", Value: identifier }],
      StartTime: new Date(Date.now() - metricMinutes * 60_000),
      EndTime: new Date(),
      Period: 60,
      Statistics: ["Minimum"],
    }),
  );
  const time = (at: Date | undefined): number => at?.getTime() ?? 0;
  const [newest] = [...(answer.Datapoints ?? [])].sort((a, b) => time(b.Timestamp) - time(a.Timestamp));
  if (newest?.Minimum === undefined) throw new Error(`CloudWatch has no FreeStorageSpace of ${identifier}`);
  return newest.Minimum;
}
