/**
 * Sabotages: what is done to the system from outside so that a drill has to fail. The product has no branch for them:
 * they use what an administrator of the account has.
 *
 * | sabotage | moment | what is done |
 * |---|---|---|
 * | `heal` | the deploy is admitted | the Guard and its rescue may no longer replace volumes nor read the database's secret, and their sessions on the database's server are ended |
 * | `verify` | the staged database is proven | one row of it is altered, and it is closed again |
 * | `leak` | | the release itself prints the database's password |
 */
import { BatchGetProjectsCommand } from "@aws-sdk/client-codebuild";
import { DeleteRolePolicyCommand, PutRolePolicyCommand } from "@aws-sdk/client-iam";
import { runFactKey, runFacts, targetFactKey } from "../../run/facts";
import { runId, stagedDatabase } from "../../run/ids";
import { finishBuild, startBuild, type BuildOptions } from "../builds";
import type { Clients } from "../clients";
import { findFact } from "../judge/run";
import { waitFor } from "../wait";
import type { Sabotage } from "./options";

export interface SabotageContext {
  readonly clients: Clients;
  readonly run: string;
  readonly recoveryBucket: string;
  readonly databaseName: string;
  /** CodeBuild projects whose roles lose the right to heal. */
  readonly healers: readonly string[];
  readonly sabotageProject: string;
  /** Takes what has to be undone before the stack is destroyed: it does not know what the sabotage has added. */
  readonly afterwards: (undo: () => Promise<void>) => void;
  readonly pollMilliseconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** A sabotage in two parts: its preparation before the execution starts, and the deed. */
export interface Saboteur {
  /** Commands of the job that works on the database, absent where none is needed. */
  readonly commands?: string;
  /** Runs beside the execution, from its start. Says what it did. */
  readonly act?: (context: SabotageContext) => Promise<string>;
}

const deadlineSeconds = 1800;

const connect = String.raw`set -euo pipefail
export PGSSLMODE=verify-full PGAPPNAME=sabotage PGSSLROOTCERT="$(mktemp)"
aws s3 cp --quiet "s3://$TRUTH_BUCKET/$CA_KEY" "$PGSSLROOTCERT"
admin() { psql -XqAt -v ON_ERROR_STOP=1 -d "$ADMIN_DATABASE" "$@"; }`;

/**
 * Started early, because the time between the proof and the ticket is too short to start a build. Waits for the seal
 * inside of the server, which costs little, and then for the fact that says that the proof is over.
 */
const alterStagedRow = String.raw`(
${connect}
sealed="SELECT count(*) FROM pg_database WHERE datname = '$STAGED' AND (NOT datallowconn OR datconnlimit = 0)"
for attempt in $(seq 6000); do
  [ "$(admin -c "$sealed; SELECT pg_sleep(0.1)" | head -n 1)" = 1 ] && break
done
until aws s3 cp --quiet "s3://$RECOVERY_BUCKET/$PROVEN" - > /dev/null 2>&1; do sleep 0.1; done
as_it_was=$(admin -c "SELECT format('ALTER DATABASE %I WITH ALLOW_CONNECTIONS %s CONNECTION LIMIT %s', datname, datallowconn::text, datconnlimit) FROM pg_database WHERE datname = '$STAGED'")
admin -c "ALTER DATABASE \"$STAGED\" WITH ALLOW_CONNECTIONS true CONNECTION LIMIT -1"
psql -XqAt -v ON_ERROR_STOP=1 -d "$STAGED" <<'SQL'
DO $$
DECLARE place record;
BEGIN
  SELECT c.oid::regclass AS name, a.attname AS column_name INTO STRICT place
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace AND a.atttypid = 'text'::regtype
      AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f', 'u', 'p') AND a.attnum = ANY (k.conkey))
    ORDER BY c.reltuples DESC LIMIT 1;
  EXECUTE format('UPDATE %s SET %I = %I || '' altered'' WHERE ctid = (SELECT min(ctid) FROM %s WHERE %I IS NOT NULL)',
    place.name, place.column_name, place.column_name, place.name, place.column_name);
END $$
SQL
admin -c "$as_it_was"
echo "altered a row of $STAGED"
)`;

const endSessions = String.raw`(
${connect}
admin -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
  WHERE usename = current_user AND pid <> pg_backend_pid() AND datname IS DISTINCT FROM '$DATABASE'"
)`;

/** The call that replaces a volume, what it is made with, and the secret that a new session would need. */
const healingActions = ["ec2:CreateReplaceRootVolumeTask", "ec2:CreateVolume", "secretsmanager:GetSecretValue"];

async function takeHealingAway(context: SabotageContext): Promise<string> {
  await waitFor(
    () => findFact(context.clients, context.recoveryBucket, runFactKey(context.run, "admitted"), runFacts.admitted),
    waiting(context, "the deploy to be admitted"),
  );
  const roles = await rolesOf(context);
  const document = JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: "Deny", Action: healingActions, Resource: "*" }],
  });
  const { iam } = context.clients;
  const name = { PolicyName: "sabotage" };
  for (const role of roles) {
    await iam.send(new PutRolePolicyCommand({ RoleName: role, ...name, PolicyDocument: document }));
    context.afterwards(async () => {
      await iam.send(new DeleteRolePolicyCommand({ RoleName: role, ...name }));
    });
  }
  await runJob(context, {});
  return `took ${healingActions.join(", ")} from ${roles.join(" and ")}, and ended their sessions`;
}

async function rolesOf({ clients, healers }: SabotageContext): Promise<string[]> {
  const answer = await clients.codeBuild.send(new BatchGetProjectsCommand({ names: [...healers] }));
  const roles = (answer.projects ?? []).map((project) => project.serviceRole?.split("/").at(-1) ?? "");
  if (roles.length !== healers.length || roles.includes("")) {
    throw new Error(`the roles of ${healers.join(", ")} were not found`);
  }
  return roles;
}

async function alterStaged(context: SabotageContext): Promise<string> {
  const staged = stagedDatabase(context.databaseName, runId(context.run));
  const opened = await waitFor(
    () => findFact(context.clients, context.recoveryBucket, runFactKey(context.run, "opened"), runFacts.opened),
    waiting(context, "the run to be opened"),
  );
  const target = opened.plan.targets.find((each) => each.kind === "database");
  if (target === undefined) throw new Error("the plan of the run names no database");
  await runJob(context, { STAGED: staged, PROVEN: targetFactKey(context.run, target.id, "proven") });
  return `altered a row of ${staged} after it had been proven`;
}

async function runJob(context: SabotageContext, environment: Record<string, string>): Promise<void> {
  const options: BuildOptions = {
    project: context.sabotageProject,
    environment,
    deadlineSeconds,
    pollMilliseconds: context.pollMilliseconds,
    signal: context.signal,
  };
  await finishBuild(context.clients, await startBuild(context.clients, options), options);
}

function waiting({ pollMilliseconds, signal }: SabotageContext, what: string) {
  return { what, deadlineSeconds, pollMilliseconds, signal };
}

export const saboteurs: Readonly<Record<Sabotage, Saboteur>> = {
  heal: { commands: endSessions, act: takeHealingAway },
  verify: { commands: alterStagedRow, act: alterStaged },
  leak: {},
};
