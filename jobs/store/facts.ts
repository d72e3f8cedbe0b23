/** A run's facts in the recovery store: parsed by their schemas when read, written once. */
import * as z from "zod/mini";
import * as schemas from "../../run/facts";
import { type RunId, runId } from "../../run/ids";
import type { RunFacts, TargetFacts } from "../../run/state";
import { Failure } from "../failure";
import type { Listed, Objects } from "./objects";

type RunFact<N extends schemas.RunFactName> = z.infer<(typeof schemas.runFacts)[N]>;
type TargetFact<N extends schemas.TargetFactName> = z.infer<(typeof schemas.targetFacts)[N]>;

export class FactStore {
  constructor(private readonly objects: Objects) {}

  run<N extends schemas.RunFactName>(run: RunId, name: N): Promise<RunFact<N> | undefined> {
    return this.read(schemas.runFactKey(run, name), schemas.runFacts[name] as unknown as Schema<RunFact<N>>);
  }

  target<N extends schemas.TargetFactName>(run: RunId, target: string, name: N): Promise<TargetFact<N> | undefined> {
    const schema = schemas.targetFacts[name] as unknown as Schema<TargetFact<N>>;
    return this.read(schemas.targetFactKey(run, target, name), schema);
  }

  /**
   * Writes a fact about the run, unless there is one: then that one stands, whoever wrote it.
   *
   * @returns the fact that stands, and whether it is this one
   */
  writeRun<N extends schemas.RunFactName>(run: RunId, name: N, fact: RunFact<N>): Promise<Written<RunFact<N>>> {
    const schema = schemas.runFacts[name] as unknown as Schema<RunFact<N>>;
    return this.write(schemas.runFactKey(run, name), schema, fact);
  }

  writeTarget<N extends schemas.TargetFactName>(
    run: RunId,
    target: string,
    name: N,
    fact: TargetFact<N>,
  ): Promise<Written<TargetFact<N>>> {
    const schema = schemas.targetFacts[name] as unknown as Schema<TargetFact<N>>;
    return this.write(schemas.targetFactKey(run, target, name), schema, fact);
  }

  writeClaim(run: RunId, number: number, fact: schemas.Claim): Promise<Written<schemas.Claim>> {
    return this.write(schemas.claimKey(run, number), schemas.claim, fact);
  }

  /** Everything that is known of a run. A run that was never opened has no target. */
  async load(run: RunId): Promise<RunFacts> {
    const [opened, listed] = await Promise.all([this.run(run, "opened"), this.objects.list(`runs/${run}/`)]);
    const keys = new Set(listed.map(({ key }) => key));
    const known = async <N extends schemas.RunFactName>(name: N): Promise<RunFact<N> | undefined> =>
      keys.has(schemas.runFactKey(run, name)) ? this.run(run, name) : undefined;
    const ids = opened?.plan.targets.map((target) => target.id) ?? [];
    const targets = await Promise.all(ids.map(async (id) => [id, await this.loadTarget(run, id, keys)] as const));
    const [ticket, admitted, decided, fenced, verdict, resolution, cleared, claims] = await Promise.all([
      known("ticket"),
      known("admitted"),
      known("decided"),
      known("fenced"),
      known("verdict"),
      known("resolution"),
      known("cleared"),
      this.claims(run, keys),
    ]);
    const about = { opened, ticket, admitted, decided, claims, fenced, verdict, resolution, cleared };
    return { ...about, targets: Object.fromEntries(targets) };
  }

  private async loadTarget(run: RunId, target: string, keys: ReadonlySet<string>): Promise<TargetFacts> {
    const known = async <N extends schemas.TargetFactName>(name: N): Promise<TargetFact<N> | undefined> =>
      keys.has(schemas.targetFactKey(run, target, name)) ? this.target(run, target, name) : undefined;
    const [frozen, isProtected, staged, proven, restored, cutOver] = await Promise.all([
      known("frozen"),
      known("protected"),
      known("staged"),
      known("proven"),
      known("restored"),
      known("cut-over"),
    ]);
    return { frozen, protected: isProtected, staged, proven, restored, cutOver };
  }

  private async claims(run: RunId, keys: ReadonlySet<string>): Promise<schemas.Claim[]> {
    const claims: schemas.Claim[] = [];
    for (let number = 1; keys.has(schemas.claimKey(run, number)); number++) {
      const claim = await this.read(schemas.claimKey(run, number), schemas.claim);
      if (claim !== undefined) claims.push(claim);
    }
    return claims;
  }

  /** The runs that nobody has ended, and those that have ended and may have left something. Looks at names only. */
  async runs(): Promise<Runs> {
    return runsOf(await this.objects.list("runs/"));
  }

  private async read<T>(key: string, schema: Schema<T>): Promise<T | undefined> {
    const text = await this.objects.get(key);
    return text === undefined ? undefined : parse(key, schema, text);
  }

  private async write<T>(key: string, schema: Schema<T>, fact: T): Promise<Written<T>> {
    // What could not be read back must not be written.
    const body = JSON.stringify(parse(key, schema, JSON.stringify(fact)));
    if ((await this.objects.create(key, body)) === "created") return { fact, mine: true };
    const standing = await this.read(key, schema);
    if (standing === undefined) throw new Failure(`the fact ${key} exists and cannot be read`);
    return { fact: standing, mine: false };
  }
}

export interface Written<T> {
  /** The fact that stands. */
  readonly fact: T;
  /** Whether this call wrote it. */
  readonly mine: boolean;
}

type Schema<T> = z.ZodMiniType<T>;

function parse<T>(key: string, schema: Schema<T>, text: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Failure(`the fact ${key} is not JSON; it was not written by these jobs`);
  }
  const result = z.safeParse(schema, value);
  if (!result.success) throw new Failure(`the fact ${key} is not valid: ${z.prettifyError(result.error)}`);
  return result.data;
}

export interface Runs {
  /** Opened, without a verdict, and not settled by hand. */
  readonly open: RunId[];
  /** Those of which nobody has seen yet that nothing is left. */
  readonly ended: EndedRun[];
}

export interface EndedRun {
  readonly run: RunId;
  /** When its last word was written. */
  readonly at: Date;
}

/** What the store's keys say of the runs. */
export function runsOf(objects: readonly Listed[]): Runs {
  const having = (fact: schemas.RunFactName): Map<string, Date> =>
    new Map(
      objects.flatMap(({ key, at }) => {
        const run = new RegExp(`^runs/([^/]+)/${fact}\\.json$`).exec(key)?.[1];
        return run === undefined ? [] : [[run, at]];
      }),
    );
  const [ended, cleared] = [new Map([...having("verdict"), ...having("resolution")]), having("cleared")];
  const all = [...having("opened").keys()].map(runId);
  return {
    open: all.filter((run) => !ended.has(run)),
    ended: all.flatMap((run) => {
      const at = ended.get(run);
      return at === undefined || cleared.has(run) ? [] : [{ run, at }];
    }),
  };
}
