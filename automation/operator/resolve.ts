/** Settles a run by hand: the fact `resolution`, written once, says who did it, how the environment is, and why. */
import { BatchGetBuildsCommand } from "@aws-sdk/client-codebuild";
import { GetCallerIdentityCommand } from "@aws-sdk/client-sts";
import type { Resolution } from "../../run/facts";
import type { RunFacts } from "../../run/state";
import { Refusal } from "../refusal";
import type { OperatorClients } from "./clients";
import type { RunStore } from "./run-store";
import { needsSettling, type Run, standing } from "./story";
import { minute } from "./text";

export const outcomes = ["healthy", "healed", "abandoned"] as const;

export interface Settlement {
  readonly as: Resolution["as"];
  readonly reason: string;
}

/** Who is calling, as AWS knows them. */
export async function callerOf({ sts }: Pick<OperatorClients, "sts">): Promise<string> {
  const { Arn } = await sts.send(new GetCallerIdentityCommand({}));
  if (Arn === undefined) throw new Error("STS does not say who is calling");
  return Arn;
}

/**
 * Writes the resolution. Refuses a run that needs none, and one that a build is still working on.
 *
 * @returns lines for the operator, and whether this settlement is the one that stands
 */
export async function settle(
  store: RunStore,
  clients: OperatorClients,
  { run, facts }: Run,
  { as, reason }: Settlement,
): Promise<{ readonly lines: string[]; readonly mine: boolean }> {
  if (facts.resolution !== undefined) return standingAlready(facts.resolution, as);
  if (!needsSettling(facts)) {
    const { state, meaning } = standing(facts);
    throw new Refusal(`run ${run} needs no settling: it is ${state} (${meaning})`);
  }
  const working = await runningBuild(clients, facts);
  if (working !== undefined) {
    throw new Refusal(`build ${working} is at work on run ${run}: wait for its end, or stop it, and look again`);
  }
  const by = await callerOf(clients);
  const fact: Resolution = { at: new Date().toISOString(), by, as, reason };
  const written = await store.write(run, "resolution", fact);
  if (!written.mine) return standingAlready(written.fact, as);
  return { mine: true, lines: [`run ${run} is settled as ${as} by ${by}: the next run may protect`, ...kept(facts)] };
}

function standingAlready({ by, at, as, reason }: Resolution, asked: Resolution["as"]) {
  const lines = [`the run was settled as ${as} already, by ${by} on ${minute(new Date(at))}: ${reason}`];
  return { mine: as === asked, lines };
}

function kept(facts: RunFacts): string[] {
  const frozen = Object.entries(facts.targets).filter(([, each]) => each.frozen !== undefined);
  const staged = Object.values(facts.targets).flatMap(({ staged: each, cutOver }) =>
    each?.kind === "database" && cutOver === undefined ? [each.database] : [],
  );
  return [
    ...frozen.map(([id]) => `${id}: its users' writes were being refused in this run: see that they are allowed again`),
    ...staged.map((database) => `${database} stays on the server until the retention is over`),
  ];
}

/** A build that the run's facts name and that has not ended. */
async function runningBuild({ codeBuild }: OperatorClients, facts: RunFacts): Promise<string | undefined> {
  const named = [facts.opened, facts.ticket, facts.admitted, ...facts.claims].flatMap((fact) => fact?.build ?? []);
  const ids = [...new Set(named)];
  if (ids.length === 0) return undefined;
  const { builds = [] } = await codeBuild.send(new BatchGetBuildsCommand({ ids }));
  return builds.find(({ buildComplete }) => buildComplete === false)?.id;
}
